"""Self-attention: identity at the start, maps, symmetry, storage (document E 3.3)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import adversarial, archive, errors, pretrained, regularization
from gan_transfer.networks import attention, convolutional, presets

SHAPE = (2, 3, 5, 16)

spectral = pytest.mark.parametrize("spectral", [False, True])


def _features(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def _layer(spectral=False, gamma=0.5):
    layer = attention.SelfAttention(spectral, name="block1_attention")
    layer.build(SHAPE)
    layer.gamma.assign(gamma)
    return layer


def _pair(size=16, gamma=0.5, classes=0):
    pair = presets.build("sagan", size, 1, classes=classes, width=4, latent_dim=8)
    for network in pair:
        for layer in network.layers:
            if isinstance(layer, attention.SelfAttention):
                layer.gamma.assign(gamma)
    return pair


@spectral
def test_a_fresh_layer_is_the_identity_bit_for_bit(spectral):
    layer = attention.SelfAttention(spectral)
    np.testing.assert_array_equal(layer(_features()), _features())
    assert float(layer.gamma) == 0


@spectral
def test_value_against_the_equation(spectral):
    layer, x = _layer(spectral), _features().reshape(2, 15, 16)
    kernels = {role: kernel.numpy() for role, kernel in layer.kernels.items()}
    assert {role: k.shape for role, k in kernels.items()} == {
        "query": (16, 2),
        "key": (16, 2),
        "value": (16, 16),
    }
    if spectral:
        for _ in range(200):
            layer.update_spectral_norm()
        kernels = {
            role: kernel / np.linalg.svd(kernel, compute_uv=False)[0]
            for role, kernel in kernels.items()
        }
    scores = np.einsum(
        "bic,bjc->bij", x @ kernels["query"], x @ kernels["key"], dtype=np.float64
    )
    maps = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
    expected = x + 0.5 * maps @ (x @ kernels["value"])
    np.testing.assert_allclose(layer.attention(_features()), maps, atol=1e-5)
    np.testing.assert_allclose(
        layer(_features()), expected.reshape(SHAPE), atol=1e-4, rtol=1e-4
    )


@spectral
def test_rows_sum_to_one(spectral):
    maps = _layer(spectral).attention(100 * _features()).numpy()
    assert maps.shape == (2, 15, 15) and maps.dtype == np.float32
    np.testing.assert_allclose(maps.sum(axis=2), 1.0, atol=1e-5)
    assert maps.min() >= 0


def test_permuted_positions_give_permuted_outputs():
    layer, order = _layer(), np.random.default_rng(1).permutation(15)
    permuted = _features().reshape(2, 15, 16)[:, order].reshape(SHAPE)
    expected = layer(_features()).numpy().reshape(2, 15, 16)[:, order]
    np.testing.assert_allclose(
        layer(permuted).numpy().reshape(2, 15, 16), expected, atol=1e-5
    )


def test_only_a_trainable_spectral_layer_moves_u():
    layer = _layer(spectral=True)
    network = keras.Model(inputs := keras.Input(SHAPE[1:]), layer(inputs))
    before = [weight.numpy() for weight in layer.weights]
    assert [v.name for v in layer.non_trainable_variables] == [
        f"{role}_u" for role in ("query", "key", "value")
    ]
    layer.trainable = False
    regularization.update_spectral_norms(network)
    for weight, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    layer.trainable = True
    regularization.update_spectral_norms(network)
    kernel, u = before[0], layer.directions["query"].numpy()
    v = kernel @ before[-3] / np.linalg.norm(kernel @ before[-3])
    expected = kernel.T @ v / np.linalg.norm(kernel.T @ v)
    np.testing.assert_allclose(u, expected, rtol=1e-4, atol=1e-6)
    for weight, value in zip(layer.trainable_variables, before, strict=False):
        np.testing.assert_array_equal(weight.numpy(), value)


@pytest.mark.parametrize("form", ["keras", "archive"])
def test_saving_keeps_the_network(form, tmp_path):
    generator, discriminator = _pair()
    regularization.update_spectral_norms(discriminator)
    if form == "keras":
        discriminator.save(tmp_path / "d.keras")
        loaded = keras.saving.load_model(tmp_path / "d.keras")
    else:
        archive.save(tmp_path / "d.npz", {"d": discriminator})
        loaded = archive.load(tmp_path / "d.npz")[0]["d"]
    assert loaded.get_layer("block1_attention").spectral
    for old, new in zip(discriminator.weights, loaded.weights, strict=True):
        assert old.path == new.path
        np.testing.assert_array_equal(old.numpy(), new.numpy())
    images = _features(shape=(3, 16, 16, 1))
    np.testing.assert_array_equal(discriminator(images), loaded(images))


def test_a_stored_gan_is_loaded_with_its_attention(tmp_path):
    gan = adversarial.GAN(*_pair())
    described = dict.fromkeys(pretrained.DESCRIBED, 0)
    pretrained.save(gan, tmp_path / "a.gan.npz", described)
    loaded = pretrained.load(tmp_path / "a.gan.npz")
    np.testing.assert_array_equal(loaded.generate(2), gan.generate(2))


def test_frozen_attention_stays_and_the_rest_trains():
    pair = _pair()
    for network in pair:
        network.get_layer("block1_attention").trainable = False
    gan = adversarial.GAN(*pair)
    before = [[weight.numpy() for weight in network.weights] for network in pair]
    gan.compile(*(keras.optimizers.Adam(1e-2) for _ in pair))
    gan.train_step(tf.constant(_features(shape=(2, 16, 16, 1))))
    for network, values in zip(pair, before, strict=True):
        for weight, value in zip(network.weights, values, strict=True):
            same = np.array_equal(weight.numpy(), value)
            assert same == ("attention" in weight.path), weight.path


@pytest.mark.parametrize(
    ("size", "side"),
    [(16, 8), (20, 10), (28, 14), (32, 16), (48, 12), (64, 16), (256, 16)],
)
def test_both_networks_attend_at_the_same_side(size, side):
    assert attention.attention_side(size) == side
    pair = presets.build("sagan", size, 1, width=1, latent_dim=2)
    for network, normalised in zip(pair, (False, True), strict=True):
        (layer,) = (
            each for each in network.layers if isinstance(each, attention.SelfAttention)
        )
        assert layer.output.shape[1:3] == (side, side)
        assert layer.spectral == normalised


def test_a_side_that_no_block_has_is_refused():
    with pytest.raises(errors.InputError, match="no block of the generator has 5 pix"):
        convolutional.generator(16, filters=(4, 4, 4), attention=5)
    with pytest.raises(errors.InputError, match="no block of the discriminator has"):
        convolutional.discriminator(16, filters=(4, 4), attention=16)


@pytest.mark.parametrize("classes", [0, 3])
def test_attention_maps_of_both_networks(classes):
    generator, discriminator = _pair(classes=classes)
    latents, labels = _features(shape=(2, 8)), np.array([0, 2])
    inputs = [latents, labels] if classes else latents
    maps = attention.attention_maps(generator, inputs)
    assert maps.shape == (2, 8, 8, 8, 8)
    np.testing.assert_allclose(maps.sum(axis=(3, 4)), 1.0, atol=1e-5)
    assert np.ptp(maps) > 1e-4
    images = generator(inputs)
    inputs = [images, labels] if classes else images
    assert attention.attention_maps(discriminator, inputs).shape == (2, 8, 8, 8, 8)


def test_maps_of_a_network_without_attention_are_refused():
    generator, _ = presets.build("dcgan", 16, 1, width=2, latent_dim=8)
    with pytest.raises(errors.InputError, match="generator has no self-attention"):
        attention.attention_maps(generator, _features(shape=(2, 8)))


def test_relu_stands_in_both_networks():
    for network in presets.build("relu", 16, 1, width=2, latent_dim=8):
        found = [each for each in network.layers if each.name.endswith("_act")]
        assert found and all(isinstance(each, keras.layers.ReLU) for each in found)


def test_learned_slopes_per_channel():
    pair = presets.build("prelu", 16, 1, width=2, latent_dim=8)
    for network in pair:
        found = [n for n in network.layers if isinstance(n, keras.layers.PReLU)]
        assert len(found) == len([n for n in network.layers if "_act" in n.name])
        for layer in found:
            assert layer.alpha.shape == (1, 1, layer.output.shape[-1])
            np.testing.assert_array_equal(layer.alpha.numpy(), np.float32(0.25))
    message = "'gelu' is not leaky_relu, prelu or relu"
    with pytest.raises(errors.InputError, match=message):
        convolutional.discriminator(16, filters=(4,), activation="gelu")


def test_mixed_precision_attends_in_float32():
    reference = _layer(spectral=True)
    mixed = attention.SelfAttention(True, dtype="mixed_bfloat16")
    mixed.build(SHAPE)
    mixed.set_weights(reference.get_weights())
    features = tf.constant(_features())
    outputs = mixed(features)
    assert outputs.dtype == tf.bfloat16
    assert mixed.attention(tf.cast(features, tf.bfloat16)).dtype == tf.float32
    assert {variable.dtype for variable in mixed.weights} == {"float32"}
    np.testing.assert_allclose(
        tf.cast(outputs, tf.float32), reference(features), rtol=0.05, atol=0.05
    )
