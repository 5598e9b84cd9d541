"""Encoder and decoder of the variational autoencoder (documents A 2.1, C 3.1.2).

The decoders are the generators of `fully_connected` and `convolutional`: a decoder can
start from a GAN's generator and a generator from a decoder (`copying.copy_weights`).
The encoders have the discriminators' stages with another head.
"""

import keras
from keras import layers

from gan_transfer import errors
from gan_transfer.networks import convolutional, fully_connected

Pair = tuple[keras.Model, keras.Model]


def dense_encoder(
    image_shape: tuple[int, int, int], *, latent_dim: int, units: tuple[int, ...]
) -> keras.Model:
    """Dense encoder: pixels -> hidden layers -> q(z | x) (document C 3.1.2).

    Args:
        image_shape: `(H, W, C)` of the images.
        latent_dim: length of the latent vectors.
        units: widths of the hidden layers.

    Returns:
        A Functional model from images `[B, H, W, C]` in [-1, 1] to float32
        `[B, 2 latent_dim]`: means, then log variances.
    """
    images = keras.Input(image_shape, name="images")
    x = layers.Flatten(name="block1_flatten")(images)
    for number, width in enumerate(units, 1):
        x = layers.Dense(width, name=f"block{number}_dense")(x)
        x = layers.LeakyReLU(0.2, name=f"block{number}_act")(x)
    return _encoder(images, x, latent_dim)


def convolutional_encoder(
    size: int, channels: int = 1, *, latent_dim: int, filters: tuple[int, ...]
) -> keras.Model:
    """Strided-convolution encoder with a dense layer of 256 (document C 3.1.2).

    Args:
        size: side of the square images.
        channels: 1 or 3.
        latent_dim: length of the latent vectors.
        filters: of each halving block, from the image inwards.

    Returns:
        As `dense_encoder`.
    """
    x = images = keras.Input((size, size, channels), name="images")
    for number, width in enumerate(filters, 1):
        stage = f"block{number}"
        x = layers.Conv2D(width, 4, 2, padding="same", name=f"{stage}_conv")(x)
        x = layers.LeakyReLU(0.2, name=f"{stage}_act")(x)
    x = layers.Flatten(name="neck_flatten")(x)
    x = layers.Dense(256, name="neck_dense")(x)
    x = layers.LeakyReLU(0.2, name="neck_act")(x)
    return _encoder(images, x, latent_dim)


def _encoder(images, features, latent_dim: int) -> keras.Model:
    # Small log variances and means at the start: q is close to the prior.
    heads = layers.Dense(
        2 * latent_dim,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        dtype="float32",
        name="head_dense",
    )
    return keras.Model(images, heads(features), name="encoder")


def dense(size: int, channels: int, *, latent_dim: int = 50) -> Pair:
    """Encoder and decoder with two hidden layers of 200 (document C 3.1.2).

    The one-layer model of Burda et al., "Importance Weighted Autoencoders", 2016, with
    LeakyReLU for their tanh.
    """
    shape, units = (size, size, channels), (200, 200)
    return (
        dense_encoder(shape, latent_dim=latent_dim, units=units),
        fully_connected.generator(shape, latent_dim=latent_dim, units=units),
    )


def convolutional_pair(
    size: int, channels: int, *, latent_dim: int = 32, width: int = 32
) -> Pair:
    """Strided encoder and the generator of `convolutional` as decoder (A 2.1).

    The decoder is that of `presets.dcgan` at equal `latent_dim` and `width`.

    Raises:
        InputError: a size that `convolutional.stage_filters` refuses.
    """
    return (
        convolutional_encoder(
            size,
            channels,
            latent_dim=latent_dim,
            filters=convolutional.halving_filters(size, width),
        ),
        convolutional.generator(
            size,
            channels,
            latent_dim=latent_dim,
            filters=convolutional.stage_filters(size, width),
        ),
    )


MODELS = {"vae_dense": dense, "vae_conv": convolutional_pair}


def logits(decoder: keras.Model) -> keras.Model:
    """The decoder without its last activation, as Bernoulli logits (document C 3.3.2).

    For an image y in [-1, 1] these are l with sigmoid(l) = (1 + y) / 2: twice the
    argument of a tanh, the argument of a sigmoid. The layers are shared.

    Raises:
        InputError: the decoder ends in neither of these.
    """
    scales = {"tanh": 2.0, "sigmoid": 1.0}
    ends = [x for x in decoder.layers if isinstance(x, layers.Activation)]
    name = keras.activations.serialize(ends[-1].activation) if ends else None
    if name not in scales:
        raise errors.InputError(
            f"{decoder.name} does not end in a tanh or sigmoid activation layer, so it "
            "has no Bernoulli logits; use a decoder of networks"
        )
    values = ends[-1].input
    scaled = layers.Rescaling(scales[name], dtype="float32", name="logits")(values)
    return keras.Model(decoder.input, scaled, name="logits")
