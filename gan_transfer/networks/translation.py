"""Discriminator of patches for image-to-image networks (documents A 2.2, C 3.1.3).

Source: Isola et al., "Image-to-Image Translation with Conditional Adversarial
Networks" (pix2pix), 2017; spectral normalisation: Miyato et al., 2018.
"""

import keras
from keras import layers

from gan_transfer import regularization


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
