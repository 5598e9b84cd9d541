"""Presets: printed sizes, names, ranges (documents A 4.1, B 4, C 4.1, E 4)."""

import re

import keras
import numpy as np
import pytest

from gan_transfer import errors, transfer
from gan_transfer.networks import presets

DOCUMENTS = {
    "document_a_mnist": (28, 1, 100),
    "document_b_256": (256, 3, 100),
    "document_c_64": (64, 3, 100),
    "document_e_mnist": (28, 1, 100),
    "tensorflow_tutorial": (28, 1, 100),
}

SCALABLE = {
    "dcgan": (16, 3, 8),
    "sngan": (20, 1, 8),
    "sagan": (28, 3, 8),
    "attention": (20, 1, 8),
    "prelu": (24, 1, 8),
    "relu": (16, 1, 8),
}

FORMATS = DOCUMENTS | SCALABLE


@pytest.fixture(scope="module")
def pairs():
    """Every preset, built once."""
    return {
        name: presets.build(name, size, channels, width=2, latent_dim=8)
        for name, (size, channels, _) in FORMATS.items()
    }


def _latents(width, count=3, scale=1.0):
    values = np.random.default_rng(0).normal(size=(count, width))
    return (scale * values).astype("float32")


def _images(size, channels, count=3):
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (count, size, size, channels)).astype("float32")


def test_all_presets_are_covered():
    assert set(presets.NAMES) == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_shapes_types_and_range(pairs, name):
    size, channels, width = FORMATS[name]
    generator, discriminator = pairs[name]
    assert (generator.name, discriminator.name) == ("generator", "discriminator")
    # Far latents reach both ends of the range.
    images = generator(_latents(width, scale=1e3)).numpy()
    assert images.shape == (3, size, size, channels) and images.dtype == np.float32
    assert -1 <= images.min() < -0.9 and 0.9 < images.max() <= 1
    scores = discriminator(10 * _images(size, channels)).numpy()
    assert scores.shape == (3, 1) and scores.dtype == np.float32
    assert len(np.unique(scores)) == 3


@pytest.mark.parametrize("name", FORMATS)
def test_scores_are_logits(pairs, name):
    discriminator = pairs[name][1]
    head = discriminator.get_layer("head_dense")
    assert discriminator.layers[-1] is head
    assert head.activation is keras.activations.linear


@pytest.mark.parametrize("name", FORMATS)
def test_layers_are_flat_and_named_by_stage_in_data_order(pairs, name):
    for network in pairs[name]:
        assert network.layers[0].name in ("latents", "images")
        for layer in network.layers[1:]:
            assert not isinstance(layer, keras.Model)
            assert re.fullmatch(r"(stem|block\d+|head)_[a-z]+", layer.name)
        order = [transfer.stage_of(layer) for layer in network.layers[1:]]
        blocks = sorted(
            {stage for stage in order if stage.startswith("block")},
            key=lambda stage: int(stage.removeprefix("block")),
        )
        assert blocks == [f"block{n}" for n in range(1, len(blocks) + 1)]
        stages = [s for s in ("stem", *blocks, "head") if s in order]
        assert order == sorted(order, key=stages.index)
        assert transfer.stages(network) == stages


def _of(network, kind):
    return [layer for layer in network.layers if isinstance(layer, kind)]


def _units(network):
    return [layer.units for layer in _of(network, keras.layers.Dense)]


def _slopes(network):
    return {round(a.negative_slope, 6) for a in _of(network, keras.layers.LeakyReLU)}


def test_document_a(pairs):
    generator, discriminator = pairs["document_a_mnist"]
    assert _units(generator) == [128, 1024, 1024, 784]
    head = generator.get_layer("head_sigmoid")
    assert head.activation is keras.activations.sigmoid
    assert _units(discriminator) == [1024, 1024, 1]
    assert _slopes(generator) == _slopes(discriminator) == {0.2}


def test_document_b(pairs):
    generator, discriminator = pairs["document_b_256"]
    convolutions = _of(discriminator, keras.layers.Conv2D)
    assert [layer.filters for layer in convolutions] == [64, 128, 256]
    assert {layer.kernel_size for layer in convolutions} == {(4, 4)}
    assert {layer.strides for layer in convolutions} == {(2, 2)}
    dropouts = _of(discriminator, keras.layers.Dropout)
    assert [layer.rate for layer in dropouts] == [0.3, 0.3, 0.3]
    assert _slopes(discriminator) == {0.3}
    assert _units(generator) == [4096]
    widths = [layer.filters for layer in _of(generator, keras.layers.Conv2DTranspose)]
    assert widths == [256, 128, 64, 32, 16, 8]


def test_document_c(pairs):
    generator, discriminator = pairs["document_c_64"]
    assert _units(generator) == [128, 128, 64 * 64 * 3]
    assert generator.get_layer("head_tanh").activation is keras.activations.tanh
    convolutions = _of(discriminator, keras.layers.Conv2D)
    assert [layer.filters for layer in convolutions] == [64, 128, 256, 512]
    assert {layer.kernel_size for layer in convolutions} == {(5, 5)}
    assert {layer.strides for layer in convolutions} == {(2, 2)}
    assert _units(discriminator) == [1]
    assert _slopes(generator) == _slopes(discriminator) == {0.2}


def test_document_e(pairs):
    generator, discriminator = pairs["document_e_mnist"]
    assert _units(generator) == [128, 128, 100, 784]
    head = generator.get_layer("head_sigmoid")
    assert head.activation is keras.activations.sigmoid
    assert _units(discriminator) == [128, 128, 1]
    # A slope of 0 is the printed ReLU.
    assert _slopes(generator) == _slopes(discriminator) == {0.0}


def test_tensorflow_tutorial(pairs):
    generator, discriminator = pairs["tensorflow_tutorial"]
    assert _units(generator) == [7 * 7 * 256]
    convolutions = _of(generator, keras.layers.Conv2DTranspose)
    assert [layer.filters for layer in convolutions] == [128, 64, 1]
    assert [layer.strides[0] for layer in convolutions] == [1, 2, 2]
    assert {layer.kernel_size for layer in convolutions} == {(5, 5)}
    filters = [layer.filters for layer in _of(discriminator, keras.layers.Conv2D)]
    assert filters == [64, 128]
    assert [d.rate for d in _of(discriminator, keras.layers.Dropout)] == [0.3, 0.3]
    # The numbers that the tutorial's own model summaries print.
    assert (generator.count_params(), discriminator.count_params()) == (
        2_330_944,
        212_865,
    )


def test_wrong_names_and_formats_are_refused():
    with pytest.raises(errors.InputError, match="'stylegan'.*dcgan.*document_c_64"):
        presets.build("stylegan", 28, 1)
    for size, channels, classes in ((32, 1, 0), (28, 3, 0), (28, 1, 10)):
        with pytest.raises(errors.InputError, match="28x28x1.*--model=dcgan"):
            presets.build("document_a_mnist", size, channels, classes=classes)


def test_image_formats():
    assert presets.image_format("dcgan") == (None, None)
    for name, (size, channels, _) in DOCUMENTS.items():
        assert presets.image_format(name) == (size, channels)


@pytest.mark.parametrize("name", [*SCALABLE, "document_a_mnist", "document_e_mnist"])
def test_heads_are_float32_in_mixed_precision(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        size, channels, width = FORMATS[name]
        classes = 3 if name in SCALABLE else 0
        generator, discriminator = presets.build(
            name, size, channels, classes=classes, width=2, latent_dim=8
        )
    finally:
        keras.config.set_dtype_policy(before)
    labels = [np.array([0, 1, 2])] if classes else []
    images = generator(
        [_latents(width), *labels] if classes else _latents(width)
    ).numpy()
    assert images.dtype == np.float32
    scores = discriminator([images, *labels] if classes else images)
    assert scores.dtype == "float32"
    assert discriminator.get_layer("head_dense").compute_dtype == "float32"
    assert generator.get_layer("block1_act").compute_dtype == "bfloat16"
    assert {variable.dtype for variable in generator.weights} == {"float32"}


@pytest.mark.parametrize("name", SCALABLE)
def test_conditional_networks_keep_names_and_order(name):
    for network in presets.build(name, 16, 1, classes=4, width=2, latent_dim=8):
        named = [
            n for n in network.layers if not isinstance(n, keras.layers.InputLayer)
        ]
        assert all(re.fullmatch(r"(stem|block\d+|head)_[a-z]+", n.name) for n in named)
        assert not any(isinstance(layer, keras.Model) for layer in named)
        stages = transfer.stages(network)
        assert stages == sorted(stages, key=["stem", "block1", "block2", "head"].index)
        assert stages[-1] == "head"
