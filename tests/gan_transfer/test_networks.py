"""Convolutional and dense networks: sizes, classes (documents B 3.1, E 3.1)."""

import keras
import numpy as np
import pytest

from gan_transfer import errors
from gan_transfer.networks import convolutional, fully_connected, presets

SCALABLE = {"dcgan": (16, 3, 8), "sngan": (20, 1, 8)}


def _latents(width, count=3, scale=1.0):
    values = np.random.default_rng(0).normal(size=(count, width))
    return (scale * values).astype("float32")


def _images(size, channels, count=3):
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (count, size, size, channels)).astype("float32")


def _of(network, kind):
    return [layer for layer in network.layers if isinstance(layer, kind)]


def test_dcgan_parameter_counts():
    generator, discriminator = presets.build("dcgan", 28, 1, width=32)
    assert generator.count_params() == 566_433
    assert discriminator.count_params() == 166_625


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (16, (12, 6, 3)),
        (20, (12, 6, 3)),
        (28, (12, 6, 3)),
        (32, (24, 12, 6, 3)),
        (48, (24, 12, 6, 3)),
        (64, (24, 24, 12, 6, 3)),
        (256, (24, 24, 24, 24, 12, 6, 3)),
    ],
)
def test_stage_filters(size, expected):
    assert convolutional.stage_filters(size, 3) == expected


@pytest.mark.parametrize("size", [16, 20, 28, 32, 48, 64, 256])
@pytest.mark.parametrize("name", SCALABLE)
def test_sizes(name, size):
    generator, discriminator = presets.build(name, size, 3, width=1, latent_dim=4)
    assert generator.output_shape == (None, size, size, 3)
    assert discriminator.input_shape == (None, size, size, 3)
    start = generator.get_layer("stem_reshape").target_shape
    assert 4 <= start[0] <= 7
    convolutions = _of(discriminator, keras.layers.Conv2D)
    widths = [min(2**i, 8) for i in range(len(convolutions))]
    assert [layer.filters for layer in convolutions] == widths
    # Halved, rounding up, until 4 pixels or 3 are left.
    side = convolutions[-1].output.shape[1]
    assert side in (3, 4) and convolutions[-1].output.shape[2] == side


@pytest.mark.parametrize("size", [15, 17, 44, 300, 8, 512, 0])
@pytest.mark.parametrize("name", SCALABLE)
def test_impossible_sizes_are_refused_with_a_remedy(name, size):
    with pytest.raises(errors.InputError, match=rf"size {size} .*choose .*28, 32"):
        presets.build(name, size, 1)


def test_sigmoid_output_is_rescaled():
    sigmoid = fully_connected.generator(
        (4, 6, 2), latent_dim=5, units=(7,), output="sigmoid"
    )
    tanh = fully_connected.generator((4, 6, 2), latent_dim=5, units=(7,))
    tanh.set_weights(sigmoid.get_weights())
    # 2 sigmoid(t) - 1 = tanh(t / 2)
    expected = np.tanh(np.arctanh(tanh(_latents(5)).numpy()) / 2)
    found = sigmoid(_latents(5)).numpy()
    assert found.shape == (3, 4, 6, 2)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_dense_networks_take_any_shape():
    discriminator = fully_connected.discriminator((4, 6, 2), units=(7, 5))
    assert discriminator.count_params() == 48 * 7 + 7 + 7 * 5 + 5 + 5 + 1
    images = np.random.default_rng(0).normal(size=(3, 4, 6, 2)).astype("float32")
    x = images.reshape(3, -1)
    for name in ("block1_dense", "block2_dense"):
        kernel, bias = discriminator.get_layer(name).get_weights()
        x = x @ kernel + bias
        x = np.where(x > 0, x, 0.2 * x)
    kernel, bias = discriminator.get_layer("head_dense").get_weights()
    np.testing.assert_allclose(
        discriminator(images), x @ kernel + bias, rtol=1e-4, atol=1e-5
    )


def test_dropout_follows_every_block_only_when_asked_for():
    without = convolutional.discriminator(16, filters=(2, 3))
    assert not _of(without, keras.layers.Dropout)
    images = _images(16, 1)
    np.testing.assert_array_equal(
        without(images, training=True), without(images, training=False)
    )
    dropping = convolutional.discriminator(16, filters=(2, 3), dropout=0.5)
    names = [layer.name for layer in _of(dropping, keras.layers.Dropout)]
    assert names == ["block1_dropout", "block2_dropout"]


def test_labels_change_the_images():
    generator, _ = presets.build("dcgan", 16, 1, classes=4, width=2, latent_dim=8)
    latents = np.repeat(_latents(8, count=1), 4, axis=0)
    images = generator([latents, np.arange(4)]).numpy()
    assert len({image.tobytes() for image in images}) == 4
    # The class enters as its embedding beside the latents.
    embedding = generator.get_layer("stem_classes").get_weights()[0]
    kernel = generator.get_layer("stem_dense").get_weights()[0]
    stem = keras.Model(generator.inputs, generator.get_layer("stem_dense").output)
    expected = np.concatenate([latents, embedding], axis=1) @ kernel
    np.testing.assert_allclose(stem([latents, np.arange(4)]), expected, atol=1e-5)


@pytest.mark.parametrize("name", SCALABLE)
def test_conditional_score_is_the_dense_score_plus_the_projection(name):
    size, channels, _ = SCALABLE[name]
    _, discriminator = presets.build(name, size, channels, classes=4, width=2)
    images, labels = _images(size, channels, count=4), np.array([3, 0, 2, 2])
    last = [n.name for n in discriminator.layers if n.name.endswith("_act")][-1]
    inside = keras.Model(
        discriminator.inputs,
        [
            discriminator.get_layer(last).output,
            discriminator.get_layer("head_dense").output,
        ],
    )
    features, plain = (x.numpy() for x in inside([images, labels]))
    embedding = discriminator.get_layer("head_classes").get_weights()[0]
    projection = np.sum(features.mean(axis=(1, 2)) * embedding[labels], axis=1)
    scores = discriminator([images, labels]).numpy()
    assert scores.shape == (4, 1)
    assert np.abs(projection).min() > 1e-5
    np.testing.assert_allclose(scores, plain + projection[:, None], atol=1e-6)
