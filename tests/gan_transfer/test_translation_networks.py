import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import transfer
from gan_transfer.networks import translation


def images(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")


@pytest.mark.parametrize("channels", [1, 3])
def test_translator_keeps_shape_range_and_stages(channels):
    network = translation.translator(channels, width=2, blocks=2, name="there")
    assert network.name == "there"
    for shape in ((2, 8, 12, channels), (1, 28, 28, channels)):
        found = network(images(*shape)).numpy()
        assert found.shape == shape and found.dtype == np.float32
        assert np.abs(found).max() <= 1
    assert transfer.stages(network) == [
        *("stem", "down1", "down2", "block1", "block2", "up1", "up2", "head")
    ]
    assert all(isinstance(layer, keras.layers.Layer) for layer in network.layers)
    assert not any(isinstance(layer, keras.Model) for layer in network.layers)


def test_translator_in_numbers():
    network = translation.translator(1, width=2, blocks=1)
    kernels = 25 * 2 + 16 * 2 * 4 + 16 * 4 * 8 + 2 * 9 * 8 * 8 + 16 * 8 * 4
    kernels += 16 * 4 * 2 + 25 * 2
    scales_and_shifts = 2 * (2 + 4 + 8 + 2 * 8 + 4 + 2)
    # Only the last convolution has a bias.
    assert network.count_params() == kernels + scales_and_shifts + 1


def test_each_image_is_normalised_by_itself():
    network = translation.translator(1, width=2, blocks=1)
    batch = images(3, 8, 12, 1)
    alone = [network(batch[i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(network(batch), np.concatenate(alone), atol=1e-5)
    middle = keras.Model(network.inputs[0], network.get_layer("down1_norm").output)
    found = middle(batch).numpy()
    np.testing.assert_allclose(found.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=(1, 2)), 1, atol=0.05)


def test_a_block_without_weights_passes_its_input_on():
    network = translation.translator(1, width=2, blocks=2)
    for number in (1, 2):
        norm = network.get_layer(f"block{number}_norm2")
        norm.set_weights([np.zeros(8), np.zeros(8)])
    ends = [network.get_layer(name).output for name in ("down2_relu", "block2_add")]
    one, other = keras.Model(network.inputs[0], ends)(images(2, 8, 12, 1))
    np.testing.assert_array_equal(one, other)


def test_translator_computes_in_float16_and_returns_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        network = translation.translator(3, width=2, blocks=1)
    finally:
        keras.config.set_dtype_policy("float32")
    batch = tf.constant(images(2, 8, 12, 3))
    assert network.get_layer("block1_conv").compute_dtype == "float16"
    assert network(batch).dtype == tf.float32
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(network(batch), again(batch))
