"""Image-to-image generator and discriminator of patches (documents A 2.2, C 3.1.3).

Source: Isola et al., "Image-to-Image Translation with Conditional Adversarial
Networks" (pix2pix), 2017; spectral normalisation: Miyato et al., 2018.
"""

import keras
from keras import layers

from gan_transfer import errors, regularization

# Sides of a translator's images are multiples of this.
STRIDE = 4


def patch_discriminator(
    channels: int, *, width: int = 32, depth: int = 3
) -> keras.Model:
    """Score overlapping patches of an image of any size (document A 2.2).

    `depth` spectrally normalised 4x4 convolutions of stride 2 with LeakyReLU, then a
    3x3 one to a score per position; with depth 3 a score sees 38x38 pixels.

    Args:
        channels: of the images, 1 or 3.
        width: filters of the first convolution; doubled at every further one.
        depth: strided convolutions.

    Returns:
        A model `[B, H, W, channels]` -> float32 scores `[B, H / 2^depth, W / 2^depth,
        1]`, sides rounded up.
    """
    images = keras.Input((None, None, channels), name="images")
    x = images
    for number in range(1, depth + 1):
        x = regularization.SpectralConv2D(
            width * 2 ** (number - 1),
            4,
            strides=2,
            padding="same",
            name=f"block{number}_conv",
        )(x)
        x = layers.LeakyReLU(0.2, name=f"block{number}_relu")(x)
    x = regularization.SpectralConv2D(
        1, 3, padding="same", dtype="float32", name="head_conv"
    )(x)
    return keras.Model(images, x, name="patch_discriminator")


def translator(
    channels: int, *, width: int = 16, blocks: int = 4, name: str = "translator"
) -> keras.Model:
    """Translate images from one domain into another (documents C 3.1.3, E 6).

    Two strided 4x4 convolutions, `blocks` residual blocks of 3x3 convolutions at a
    quarter of the sides, two transposed convolutions; instance normalisation (without
    it the first updates end at one colour everywhere), tanh. Convolutions do the same
    at every position, and a block widens what an output pixel sees by 16 pixels: it can
    change colours, strokes and textures, and remove damage, but turn or move nothing.

    Args:
        channels: of the images, 1 or 3.
        width: filters of the first convolution; four times as many in the blocks.
        blocks: residual blocks.
        name: of the model.

    Returns:
        A model `[B, H, W, channels]` -> the same, float32, both in [-1, 1]; H and W are
        multiples of `STRIDE`.

    Source: Johnson, Alahi, Fei-Fei, "Perceptual Losses", 2016, as the generator of Zhu
    et al., "Unpaired Image-to-Image Translation" (CycleGAN), 2017; smaller here.
    """
    images = keras.Input((None, None, channels), name="images")
    x = _activated(images, layers.Conv2D(width, 5, **_plain("stem_conv")))
    for number in (1, 2):
        convolution = layers.Conv2D(
            width * 2**number, 4, strides=2, **_plain(f"down{number}_conv")
        )
        x = _activated(x, convolution)
    for number in range(1, blocks + 1):
        stage = f"block{number}"
        y = _activated(x, layers.Conv2D(4 * width, 3, **_plain(f"{stage}_conv")))
        y = layers.Conv2D(4 * width, 3, **_plain(f"{stage}_conv2"))(y)
        y = layers.GroupNormalization(groups=-1, name=f"{stage}_norm2")(y)
        x = layers.Add(name=f"{stage}_add")([x, y])
    for number in (1, 2):
        convolution = layers.Conv2DTranspose(
            4 * width // 2**number, 4, strides=2, **_plain(f"up{number}_conv")
        )
        x = _activated(x, convolution)
    x = layers.Conv2D(channels, 5, padding="same", name="head_conv")(x)
    x = layers.Activation("tanh", dtype="float32", name="head_tanh")(x)
    return keras.Model(images, x, name=name)


def check_sides(height: int, width: int) -> None:
    """Refuse images that a `translator` cannot be trained on (document C 3.1.3).

    Raises:
        InputError: a side is no multiple of `STRIDE`.
    """
    if height % STRIDE or width % STRIDE:
        raise errors.InputError(
            f"images are {height}x{width}, and translators need sides that are "
            f"multiples of {STRIDE} for training; choose another size"
        )


def _plain(name: str) -> dict:
    # The normalisation that follows would take a bias away again.
    return {"padding": "same", "use_bias": False, "name": name}


def _activated(x: keras.KerasTensor, convolution: layers.Layer) -> keras.KerasTensor:
    """Convolution, instance normalisation, ReLU."""
    stage = convolution.name.removesuffix("_conv")
    x = layers.GroupNormalization(groups=-1, name=f"{stage}_norm")(convolution(x))
    return layers.ReLU(name=f"{stage}_relu")(x)
