"""Generator-discriminator pairs by name (documents A 4.1, B 4, C 4.1, E 4).

`build` is what the experiments' `--model` flag selects. The document presets keep the
printed layer sizes wherever the shapes allow; each docstring lists what was corrected.
"""

import functools

import keras
from keras import layers

from gan_transfer import errors
from gan_transfer.networks import attention as attentions
from gan_transfer.networks import convolutional, fully_connected

Pair = tuple[keras.Model, keras.Model]


def dcgan(
    size: int,
    channels: int,
    classes: int,
    *,
    width: int,
    latent_dim: int,
    norm: str = "none",
    activation: str = "leaky_relu",
    attention: bool = False,
) -> Pair:
    """Our default pair: G narrows to w filters, D widens from w (document B 3.1).

    `attention` puts self-attention at 14 or 16 pixels (`attention.attention_side`) into
    both networks.

    Raises:
        InputError: a size that `convolutional.stage_filters` refuses.
    """
    side = attentions.attention_side(size) if attention else None
    generator = convolutional.generator(
        size,
        channels,
        latent_dim=latent_dim,
        filters=convolutional.stage_filters(size, width),
        classes=classes,
        activation=activation,
        attention=side,
    )
    discriminator = convolutional.discriminator(
        size,
        channels,
        filters=convolutional.halving_filters(size, width),
        classes=classes,
        norm=norm,
        activation=activation,
        attention=side,
    )
    return generator, discriminator


# `dcgan` with a spectrally normalised discriminator (document E 2(2)).
sngan = functools.partial(dcgan, norm="spectral")

# `sngan` with self-attention in both networks: "AGAN" (document E 3.3). The norm is the
# discriminator's alone; Zhang et al. 2019 put it into the generator as well.
sagan = functools.partial(dcgan, norm="spectral", attention=True)

# `dcgan` with self-attention alone: what it does without that norm (document E 3.3).
attention = functools.partial(dcgan, attention=True)

# `dcgan` with a learned slope per channel in both networks (document E 3.3).
prelu = functools.partial(dcgan, activation="prelu")

# `dcgan` with ReLU in both networks: what LeakyReLU is said to beat (document E 3.3).
relu = functools.partial(dcgan, activation="relu")


def document_a_mnist() -> Pair:
    """Document A 4.1: dense 100-128-1024-1024-784 against 784-1024-1024-1.

    Corrected: LeakyReLU alone (after the printed ReLU it does nothing); output 28x28x1
    as the discriminator wants it; the score is a logit, no sigmoid; the sigmoid image
    is rescaled from [0, 1] to [-1, 1]; no second, label-like argument.
    """
    shape = (28, 28, 1)
    return (
        fully_connected.generator(
            shape, latent_dim=100, units=(128, 1024, 1024), output="sigmoid"
        ),
        fully_connected.discriminator(shape, units=(1024, 1024)),
    )


def document_b_256() -> Pair:
    """Document B 4: convolutional pair for 256x256x3, dropout 0.3 in D.

    The discriminator is the printed one (64-128-256, kernel 4, LeakyReLU 0.3, dropout
    0.3) with a logit at the end. Corrected: the printed dense generator narrows to two
    units and ends in 256 values for a 196,608-value image; ours follows the text of B
    3.1.1 (transposed convolutions, batch norm, LeakyReLU) with the printed widths: the
    first dense layer's 4,096 units are the 4x4x256 stem, then 256, 128, 64, 32, 16, 8.
    """
    return (
        convolutional.generator(
            256,
            3,
            latent_dim=100,
            filters=(256, 256, 128, 64, 32, 16, 8),
            slope=0.3,
        ),
        convolutional.discriminator(
            256, 3, filters=(64, 128, 256), slope=0.3, dropout=0.3
        ),
    )


def document_c_64() -> Pair:
    """Document C 4.1: dense generator 100-128-128 against a 64-128-256-512 conv D.

    Corrected: the printed head has 784 units for a 64x64x3 image, ours 12,288; the
    printed sigmoid in front of a with-logits loss is left out.
    """
    return (
        fully_connected.generator((64, 64, 3), latent_dim=100, units=(128, 128)),
        convolutional.discriminator(64, 3, filters=(64, 128, 256, 512), kernel=5),
    )


def document_e_mnist() -> Pair:
    """Document E 4: dense 100-128-128-100-784 against 784-128-128-1, ReLU.

    Corrected: the score is a logit, the sigmoid image is rescaled to [-1, 1] and shaped
    28x28x1; the printed generator loss (mean square to real images) is not adversarial.
    """
    shape = (28, 28, 1)
    return (
        fully_connected.generator(
            shape, latent_dim=100, units=(128, 128, 100), slope=0.0, output="sigmoid"
        ),
        fully_connected.discriminator(shape, units=(128, 128), slope=0.0),
    )


def tensorflow_tutorial() -> Pair:
    """The tensorflow.org DCGAN for MNIST, our baseline (compare document B 3.1).

    Generator 100 -> 7x7x256 -> 128 -> 64 (28x28 after two stride-2 blocks), kernel 5,
    batch norm, LeakyReLU 0.3; discriminator 64-128, kernel 5, dropout 0.3.
    There both networks step at once on one noise batch; `GAN` updates D first, and G on
    fresh latents.
    """
    x = latents = keras.Input((100,), name="latents")
    x = layers.Dense(7 * 7 * 256, use_bias=False, name="stem_dense")(x)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.LeakyReLU(0.3, name="stem_act")(x)
    x = layers.Reshape((7, 7, 256), name="stem_reshape")(x)
    for number, (width, stride) in enumerate(((128, 1), (64, 2)), 1):
        stage = f"block{number}"
        x = layers.Conv2DTranspose(
            width, 5, stride, padding="same", use_bias=False, name=f"{stage}_conv"
        )(x)
        x = layers.BatchNormalization(name=f"{stage}_bn")(x)
        x = layers.LeakyReLU(0.3, name=f"{stage}_act")(x)
    x = layers.Conv2DTranspose(
        1, 5, 2, padding="same", use_bias=False, name="head_conv"
    )(x)
    images = layers.Activation("tanh", dtype="float32", name="head_tanh")(x)
    discriminator = convolutional.discriminator(
        28, 1, filters=(64, 128), kernel=5, slope=0.3, dropout=0.3
    )
    return keras.Model(latents, images, name="generator"), discriminator


_SCALABLE = {
    "dcgan": dcgan,
    "sngan": sngan,
    "sagan": sagan,
    "attention": attention,
    "prelu": prelu,
    "relu": relu,
}
_FIXED = {
    "document_a_mnist": (document_a_mnist, (28, 1)),
    "document_b_256": (document_b_256, (256, 3)),
    "document_c_64": (document_c_64, (64, 3)),
    "document_e_mnist": (document_e_mnist, (28, 1)),
    "tensorflow_tutorial": (tensorflow_tutorial, (28, 1)),
}
NAMES = (*_SCALABLE, *_FIXED)


def image_format(name: str) -> tuple[int | None, int | None]:
    """`(size, channels)` a preset insists on, `(None, None)` if any (documents A-E)."""
    return _FIXED[name][1] if name in _FIXED else (None, None)


def build(
    name: str,
    size: int,
    channels: int,
    *,
    classes: int = 0,
    width: int = 32,
    latent_dim: int = 64,
) -> Pair:
    """Build the pair called `name` for square images (documents A-E).

    `width`, `latent_dim` and `classes` belong to the scalable presets; the documents'
    own have the printed sizes.

    Returns:
        `(generator, discriminator)`, Functional models.

    Raises:
        InputError: unknown name, or a size or channel count the preset is not made for.
    """
    if name in _SCALABLE:
        return _SCALABLE[name](
            size, channels, classes, width=width, latent_dim=latent_dim
        )
    if name not in _FIXED:
        raise errors.InputError(f"no model called {name!r}; there are {NAMES}")
    make, (wanted_size, wanted_channels) = _FIXED[name]
    if (size, channels, classes) != (wanted_size, wanted_channels, 0):
        raise errors.InputError(
            f"model {name} is for {wanted_size}x{wanted_size}x{wanted_channels} images "
            f"without classes, not {size}x{size}x{channels} with {classes} classes; "
            "use --model=dcgan, or bring the images to that size"
        )
    return make()
