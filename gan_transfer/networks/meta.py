"""MetaNN and MetaCNN: f(x) = G(D(x)) with its encoder, one network (document D 3.1.3).

D, the decoder of the noise x, makes features of it (stages `decoder...`), the generator
G an image of these (stages `generator...`). To be trained by the variational bound the
network begins with an encoder (stages `encoder...` and `posterior...`). Being one flat
network without batch norm, it can be adapted by `meta_learning`.
"""

import math

import keras
import numpy as np
from keras import layers

from gan_transfer import errors


def dense(
    size: int, channels: int, *, latent_dim: int = 16, width: int = 128, context=False
) -> keras.Model:
    """MetaNN, the fully connected instance (document D 3.1.3).

    Args:
        size: side of the square images.
        channels: 1 or 3.
        latent_dim: length of the noise vectors.
        width: of the four hidden layers, two on either side.
        context: whether a vector `[B, latent_dim]` describing the task is a third
            input; it joins the features of the encoder and the noise.

    Returns:
        A Functional model from `[images, noise]` (and context), images `[B, H, W, C]`
        with values -1 and 1, to `[logits, mean, log variance]` of p(image | z), `[B, H,
        W, C]`, and of q(z | image), both `[B, latent_dim]`; z = mean + sd noise.
    """
    images = keras.Input((size, size, channels), name="images")
    x = layers.Flatten(name="encoder1_flatten")(images)
    for number in (1, 2):
        x = layers.Dense(width, name=f"encoder{number}_dense")(x)
        x = layers.LeakyReLU(0.2, name=f"encoder{number}_act")(x)

    def generate(x):
        x = layers.Dense(width, name="generator1_dense")(x)
        x = layers.LeakyReLU(0.2, name="generator1_act")(x)
        x = layers.Dense(size * size * channels, name="generator2_dense")(x)
        return layers.Reshape((size, size, channels), name="generator_logits")(x)

    return _joined(images, x, generate, width, latent_dim, context)


def convolutional(
    size: int, channels: int, *, latent_dim: int = 16, width: int = 16, context=False
) -> keras.Model:
    """MetaCNN, the convolutional instance (document D 3.1.3).

    Two strided convolutions of `width` and twice `width` filters and a dense layer of
    128 encode; D is dense up to `[size / 4, size / 4, 2 width]`, G mirrors the
    convolutions.

    Args:
        size: side of the square images, a multiple of 4.
        channels: as of `dense`.
        latent_dim: as of `dense`.
        width: filters at half the side.
        context: as of `dense`.

    Returns:
        As `dense`.

    Raises:
        InputError: another size.
    """
    if size % 4:
        raise errors.InputError(
            f"image size {size} is no multiple of 4, which MetaCNN needs; resize the "
            "images, or use the dense network"
        )
    x = images = keras.Input((size, size, channels), name="images")
    for number, filters in enumerate((width, 2 * width), 1):
        stage = f"encoder{number}"
        x = layers.Conv2D(filters, 4, 2, padding="same", name=f"{stage}_conv")(x)
        x = layers.LeakyReLU(0.2, name=f"{stage}_act")(x)
    x = layers.Flatten(name="encoder3_flatten")(x)
    x = layers.Dense(128, name="encoder3_dense")(x)
    x = layers.LeakyReLU(0.2, name="encoder3_act")(x)
    small = (size // 4, size // 4, 2 * width)

    def generate(x):
        x = layers.Reshape(small, name="generator1_reshape")(x)
        x = layers.Conv2DTranspose(width, 4, 2, padding="same", name="generator1_conv")(
            x
        )
        x = layers.LeakyReLU(0.2, name="generator1_act")(x)
        return layers.Conv2DTranspose(
            channels, 4, 2, padding="same", name="generator_logits"
        )(x)

    return _joined(images, x, generate, math.prod(small), latent_dim, context)


def _joined(images, features, generate, width, latent_dim, context) -> keras.Model:
    """Posterior, noise, D and G behind the encoder's features."""
    noise = keras.Input((latent_dim,), name="noise")
    inputs = [images, noise]
    if context:
        inputs.append(keras.Input((latent_dim,), name="context"))
        features = layers.Concatenate(name="encoder_join")([features, inputs[-1]])
    # Small means and log variances at the start: q is close to the prior.
    start = keras.initializers.RandomNormal(stddev=0.01)
    mean, log_variance = (
        layers.Dense(latent_dim, kernel_initializer=start, name=f"posterior_{name}")(
            features
        )
        for name in ("mean", "variance")
    )
    x = layers.Rescaling(0.5, name="latents_half")(log_variance)
    x = layers.Activation("exponential", name="latents_sd")(x)
    x = layers.Multiply(name="latents_noise")([x, noise])
    x = layers.Add(name="latents")([mean, x])
    if context:
        x = layers.Concatenate(name="decoder_join")([x, inputs[-1]])
    x = layers.Dense(width, name="decoder1_dense")(x)
    x = layers.LeakyReLU(0.2, name="decoder1_act")(x)
    return keras.Model(inputs, [generate(x), mean, log_variance], name="meta")


def begin_blind(network: keras.Model, blind: keras.Model) -> None:
    """Give a network with context the weights of a trained one without (D 3.1.2).

    The weights of the context begin at 0, so both compute the same whatever it is.

    Args:
        network: changes.
        blind: the same network without a context.
    """
    known = {weight.path: weight.numpy() for weight in blind.weights}
    for weight in network.weights:
        old = known[weight.path]
        # The context is the last part of what a layer takes.
        added = zip(weight.shape, old.shape, strict=True)
        weight.assign(np.pad(old, [(0, new - had) for new, had in added]))


def sampler(network: keras.Model) -> keras.Model:
    """f(x) = G(D(x)) of such a network; the layers are shared (document D 3.1.3).

    Returns:
        A model from noise `[B, latent_dim]` (or `[noise, context]`) to grey values
        `[B, H, W, C]` in [-1, 1]: 2 p - 1, p the probability of 1.
    """
    inputs = [network.get_layer("latents").output, *network.inputs[2:]]
    x = network.get_layer("generator_logits").output
    x = layers.Activation("sigmoid", name="pixels_sigmoid")(x)
    x = layers.Rescaling(2.0, -1.0, name="pixels_rescale")(x)
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], x, name="sampler")


NETWORKS = {"vae_dense": dense, "vae_conv": convolutional}
