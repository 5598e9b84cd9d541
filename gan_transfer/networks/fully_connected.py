"""Fully connected generator and discriminator (documents A 4.1, C 4.1, E 3.1 and 4)."""

import math

import keras
from keras import layers


def generator(
    image_shape: tuple[int, int, int],
    *,
    latent_dim: int,
    units: tuple[int, ...],
    slope: float = 0.2,
    output: str = "tanh",
) -> keras.Model:
    """Dense generator: z -> hidden layers -> pixels (documents A 4.1 and E 3.1).

    Args:
        image_shape: `(H, W, C)` of the images.
        latent_dim: length of the latent vectors.
        units: widths of the hidden layers.
        slope: of the LeakyReLU after each; 0 makes it the ReLU that E 4 prints.
        output: `tanh`, or `sigmoid` as A 4.1 and E 4 print it, rescaled to [-1, 1].

    Returns:
        A Functional model from latents `[B, latent_dim]` to float32 images
        `[B, H, W, C]` in [-1, 1].
    """
    x = latents = keras.Input((latent_dim,), name="latents")
    for number, width in enumerate(units, 1):
        x = layers.Dense(width, name=f"block{number}_dense")(x)
        x = layers.LeakyReLU(slope, name=f"block{number}_act")(x)
    pixels = math.prod(image_shape)
    x = layers.Dense(pixels, dtype="float32", name="head_dense")(x)
    x = layers.Reshape(image_shape, dtype="float32", name="head_reshape")(x)
    x = layers.Activation(output, dtype="float32", name=f"head_{output}")(x)
    if output == "sigmoid":
        x = layers.Rescaling(2.0, -1.0, dtype="float32", name="head_rescale")(x)
    return keras.Model(latents, x, name="generator")


def discriminator(
    image_shape: tuple[int, int, int], *, units: tuple[int, ...], slope: float = 0.2
) -> keras.Model:
    """Dense discriminator: pixels -> hidden layers -> score (documents A 4.1, E 3.1).

    The documents end in a sigmoid; the score here is its argument (the logit), since
    every loss works on logits.

    Args:
        image_shape: `(H, W, C)` of the images.
        units: widths of the hidden layers.
        slope: of the LeakyReLU after each; 0 makes it the ReLU that E 4 prints.

    Returns:
        A Functional model from images `[B, H, W, C]` to float32 scores `[B, 1]`.
    """
    images = keras.Input(image_shape, name="images")
    x = layers.Flatten(name="block1_flatten")(images)
    for number, width in enumerate(units, 1):
        x = layers.Dense(width, name=f"block{number}_dense")(x)
        x = layers.LeakyReLU(slope, name=f"block{number}_act")(x)
    scores = layers.Dense(1, dtype="float32", name="head_dense")(x)
    return keras.Model(images, scores, name="discriminator")
