import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import errors, transfer
from restoration import networks

STAGES = (
    "stem block1 block2 down1 block3 block4 down2 block5 block6 "
    "up2 block7 block8 up1 block9 block10 head"
).split()


@pytest.fixture
def policy():
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def _tiny(channels=1):
    """A small restorer of two scales with random weights, the head's too."""
    network = networks.restorer(channels, widths=(4, 6), blocks=1)
    rng = np.random.default_rng(0)
    for weight in network.weights:
        fan_in = np.prod(weight.shape[:-1])
        weight.assign(rng.normal(0, fan_in**-0.5, weight.shape))
    return network


def _inputs(height, width, channels=1, batch=2, missing=0.3):
    rng = np.random.default_rng(1)
    image = rng.random((batch, height, width, channels), np.float32)
    level = 0.2 * rng.random((batch, height, width, 1), np.float32)
    mask = (rng.random(image.shape) < missing).astype(np.float32)
    return [image, level, mask]


# Sums of kernel sizes at a quarter, a sixteenth and a 64th of the positions.
@pytest.mark.parametrize(("channels", "stem", "head"), [(1, 9, 4), (3, 25, 12)])
def test_default_counts_by_hand(channels, stem, head):
    network = networks.restorer(channels)
    quarter = 9 * stem * 32 + 2 * 4 * 9 * 32 * 32 + 9 * 32 * head
    sixteenth = 4 * 32 * 64 + 2 * 4 * 9 * 64 * 64 + 64 * 4 * 32
    rest = 4 * 64 * 96 + 4 * 9 * 96 * 96 + 96 * 4 * 64
    assert network.count_params() == quarter + sixteenth + rest
    counted = networks.multiply_adds(network)
    assert counted == quarter / 4 + sixteenth / 16 + rest / 64
    assert [x.name for x in network.inputs] == ["image", "level", "mask"]
    assert [x.shape[-1] for x in network.inputs] == [channels, 1, channels]
    assert network.output_shape == (None, None, None, channels)


def test_default_grey_restorer_costs_what_was_measured():
    network = networks.restorer()
    assert network.count_params() == 769_696
    assert networks.multiply_adds(network) == 44_776


@pytest.mark.parametrize("network", [networks.restorer, networks.document_a])
def test_every_layer_is_named_by_stage_and_role(network):
    model = network(3)
    names = {layer.name for layer in model.layers}
    names -= {"image", "level", "mask"}
    assert len(names) == len(model.layers) - 3 > 15
    odd = [name for name in names if not re.fullmatch(r"[a-z]+\d*_[a-z_]+\d?", name)]
    assert odd == []


def test_restorer_has_no_biases_and_no_batch_norm():
    network = networks.restorer()
    assert {weight.name for weight in network.weights} == {"kernel"}
    assert not network.non_trainable_variables


def test_stages_follow_the_data_and_freeze_from_either_end():
    network = networks.restorer()
    assert transfer.stages(network) == STAGES
    assert transfer.freeze_to_depth(network, 3, end="input") == STAGES[:3]
    frozen = {v.path for v in network.weights}
    frozen -= {v.path for v in network.trainable_variables}
    stem = {"stem_conv/kernel"}
    blocks = {f"block{n}_conv{k}/kernel" for n in (1, 2) for k in (1, 2)}
    assert frozen == stem | blocks  # block10 is another stage than block1
    other = networks.restorer()
    assert transfer.freeze_to_depth(other, 15, end="output") == STAGES[1:]
    assert [v.path for v in other.trainable_variables] == ["stem_conv/kernel"]
    with pytest.raises(errors.InputError, match="cannot freeze 16 of the 16 stages"):
        transfer.freeze_to_depth(other, 16, end="output")


@pytest.mark.parametrize("channels", [1, 3])
def test_restorer_starts_as_the_identity(channels):
    inputs = _inputs(9, 14, channels)
    restored = networks.restorer(channels)(inputs)
    np.testing.assert_array_equal(restored, inputs[0])


def test_start_has_the_variance_of_its_kind():
    for weight in networks.restorer().weights:
        deviation = weight.numpy().std() * np.prod(weight.shape[:-1]) ** 0.5
        gain = 0.02 if "_conv2" in weight.path and "block" in weight.path else 2.0
        if weight.path.startswith("head"):
            gain = 0.0
        if not weight.path.startswith("down"):  # Keras' own start
            assert deviation == pytest.approx(gain**0.5, rel=0.05), weight.path


def test_every_kernel_gets_a_gradient():
    network = _tiny()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(network(_inputs(8, 12))))
    gradients = tape.gradient(loss, network.trainable_variables)
    assert len(gradients) == 10
    assert all(np.abs(gradient).max() > 1e-3 for gradient in gradients)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (37, 31), (6, 4), (2, 9)])
@pytest.mark.parametrize("network", ["restorer", "document_a"])
def test_any_size_comes_back_at_its_size(network, size):
    model = _tiny(3) if network == "restorer" else networks.document_a(3)
    inputs = _inputs(*size, channels=3)
    assert model(inputs).shape == (2, *size, 3)
    graph = tf.function(model, reduce_retracing=True)
    np.testing.assert_allclose(graph(inputs), model(inputs), atol=2e-5)


@pytest.mark.parametrize("network", [_tiny, networks.document_a])
def test_one_image_equals_itself_in_a_batch(network):
    model, inputs = network(1), _inputs(7, 13, batch=3)
    together = model(inputs)
    for number in range(3):
        one = model([x[[number]] for x in inputs])
        np.testing.assert_allclose(together[number], one[0], atol=1e-5)


def test_padding_repeats_the_last_row_and_column_of_every_input():
    network, inputs = _tiny(), _inputs(5, 10)
    padded = [np.pad(x, [(0, 0), (0, 3), (0, 2), (0, 0)], "edge") for x in inputs]
    expected = network(padded)[:, :5, :10]
    np.testing.assert_allclose(network(inputs), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 12), (7, 13)])
def test_restorer_is_homogeneous_where_nothing_is_missing(size):
    network = _tiny(3)
    image, level, mask = _inputs(*size, channels=3, missing=0)
    restored = network([image, level, mask])
    assert np.abs(restored - image).max() > 0.1
    for factor in (0.25, 4.0):  # powers of two round nothing
        scaled = network([factor * image, factor * level, mask])
        np.testing.assert_array_equal(scaled, factor * restored)
    scaled = network([0.3 * image, 0.3 * level, mask])
    np.testing.assert_allclose(scaled, 0.3 * restored, atol=1e-6)
    dark = network([0 * image, 0 * level, mask])
    np.testing.assert_array_equal(dark, np.zeros_like(image))


def test_level_and_mask_are_looked_at():
    network, (image, level, mask) = _tiny(), _inputs(8, 12)
    restored = network([image, level, mask])
    assert np.abs(restored - network([image, 2 * level, mask])).max() > 1e-3
    assert np.abs(restored - network([image, level, 1 - mask])).max() > 1e-2


def test_widths_and_blocks_make_the_scales():
    network = networks.restorer(2, widths=(4,), blocks=3)
    assert transfer.stages(network) == ["stem", "block1", "block2", "block3", "head"]
    # 4 (2 + 2) + 1 channels in, 4 times 2 out, a quarter of the positions.
    kernels = 9 * 17 * 4 + 3 * 2 * 9 * 4 * 4 + 9 * 4 * 8
    assert network.count_params() == kernels
    assert networks.multiply_adds(network) == kernels / 4
    deep = networks.restorer(1, widths=(2, 3, 4, 5), blocks=1)
    assert deep(_inputs(17, 3)).shape == (2, 17, 3, 1)


@pytest.mark.parametrize("network", [_tiny, networks.document_a])
def test_saved_and_cloned_networks_are_the_same(network, tmp_path):
    model, inputs = network(1), _inputs(7, 6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    cloned = keras.models.clone_model(model)
    cloned.set_weights(model.get_weights())
    assert model.name == loaded.name == cloned.name
    for other in (loaded, cloned):
        np.testing.assert_array_equal(other(inputs), model(inputs))


@pytest.mark.parametrize("network", [networks.restorer, networks.document_a])
def test_mixed_precision_computes_in_16_bits_and_returns_float32(network, policy):
    policy("mixed_bfloat16")
    model, inputs = network(1), _inputs(8, 12)
    restored = model(inputs)
    assert restored.dtype == tf.float32
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    computing = [layer for layer in model.layers if layer.name.endswith("_conv")]
    assert {layer.compute_dtype for layer in computing} == {"bfloat16"}
    if model.name == "restorer":
        # Nothing of the picture is lost where the network adds nothing.
        np.testing.assert_array_equal(restored, inputs[0])


def test_document_a_keeps_the_size_and_the_printed_layers():
    model = networks.document_a(3)
    assert model(_inputs(64, 64, 3)).shape == (2, 64, 64, 3)
    assert transfer.stages(model) == [f"block{n}" for n in range(1, 7)]
    kinds = [type(model.get_layer(f"block{n}_conv")).__name__ for n in range(1, 7)]
    assert kinds == 3 * ["Conv2D"] + 3 * ["Conv2DTranspose"]
    for number in range(1, 6):
        layer = model.get_layer(f"block{number}_conv")
        assert (layer.filters, layer.kernel_size, layer.strides) == (64, (4, 4), (2, 2))
        assert model.get_layer(f"block{number}_relu").negative_slope == 0.2
    assert model.get_layer("block6_conv").filters == 3
    names = [layer.name for layer in model.layers]
    assert sum(name.endswith("_bn") for name in names) == 5


def test_document_a_counts_by_hand():
    model = networks.document_a(1)
    # Image, level and mask in; a transposed convolution works on its source's sides.
    outer, inner, last = 16 * 3 * 64, 16 * 64 * 64, 16 * 64 * 1
    halves = outer / 4 + inner / 16 + inner / 64
    assert networks.multiply_adds(model) == halves + inner / 64 + inner / 16 + last / 4
    biases, norms = 5 * 64 + 1, 5 * 4 * 64
    assert model.count_params() == outer + 4 * inner + last + biases + norms


def test_pixels_are_moved_into_channels_and_back():
    x = tf.reshape(tf.range(4 * 6 * 3), (1, 4, 6, 3))
    moved = networks.PixelUnshuffle()(x)
    assert moved.shape == networks.PixelUnshuffle().compute_output_shape(x.shape)
    np.testing.assert_array_equal(moved[0, 1, 2], np.reshape(x[0, 2:4, 4:6], -1))
    np.testing.assert_array_equal(networks.PixelShuffle()(moved), x)
    assert networks.PixelShuffle().compute_output_shape(moved.shape) == x.shape
    unknown = networks.PixelUnshuffle().compute_output_shape((None, None, 6, 3))
    assert unknown == (None, None, 3, 12)


@pytest.mark.parametrize(("multiple", "sides"), [(1, (5, 7)), (2, (6, 8)), (8, (8, 8))])
def test_padding_reaches_the_next_multiple(multiple, sides):
    layer, x = networks.PadToMultiple(multiple), _inputs(5, 7)[0]
    assert layer(x).shape == layer.compute_output_shape(x.shape) == (2, *sides, 1)
    ends = [(0, after - before) for before, after in zip((5, 7), sides, strict=True)]
    np.testing.assert_array_equal(layer(x), np.pad(x, [(0, 0), *ends, (0, 0)], "edge"))
    assert layer.compute_output_shape((None, None, None, 2)) == (None, None, None, 2)
    copy = networks.PadToMultiple.from_config(layer.get_config())
    assert copy.multiple == multiple
    np.testing.assert_array_equal(networks.CropLike()([layer(x), x]), x)


@pytest.mark.parametrize("make", [networks.restorer, networks.document_a])
def test_a_network_keeps_its_weights_and_edges_under_another_policy(make):
    plain = make(1)
    draws = np.random.default_rng(0)
    plain.set_weights([0.1 * draws.random(w.shape) for w in plain.get_weights()])
    keras.config.set_dtype_policy("mixed_bfloat16")
    built = make(1)
    keras.config.set_dtype_policy("float32")
    built.set_weights(plain.get_weights())
    mixed = networks.in_policy(plain, "mixed_bfloat16")
    back = networks.in_policy(mixed, "float32")
    image = draws.random((1, 10, 13, 1), np.float32)
    inputs = [image, 0.1 + 0 * image, 0 * image]
    np.testing.assert_array_equal(mixed(inputs), built(inputs))
    np.testing.assert_array_equal(back(inputs), plain(inputs))
    assert (mixed(inputs).numpy() != plain(inputs).numpy()).any()
    assert {layer.dtype_policy.name for layer in back.layers} == {"float32"}
