"""Convolutional generator and discriminator, DCGAN (documents B 3.1 and 4, C 4.1).

Any square size that is 4 to 7 pixels times a power of two, from 16 to 256 (28 = 7 x 4
among them), any channel count, optional classes. Source: Radford, Metz, Chintala,
"Unsupervised Representation Learning with Deep Convolutional GANs", ICLR 2016; classes
by projection: Miyato and Koyama, "cGANs with Projection Discriminator", ICLR 2018.
"""

import keras
import tensorflow as tf
from keras import layers

from gan_transfer import errors, regularization
from gan_transfer.networks import attention as attentions


def stage_filters(size: int, width: int) -> tuple[int, ...]:
    """Filters from the coarsest stage to the image: 8w .. 2w, w (document B 3.1.1).

    The first entry belongs to the stem (4 to 7 pixels a side), each further one to a
    block that doubles the side; no stage has more than 8 `width`.

    Raises:
        InputError: `size` is not 4..7 times a power of two within 16..256.
    """
    depth = _depth(size)
    return tuple(width * min(2 ** (depth - i), 8) for i in range(depth + 1))


def halving_filters(size: int, width: int) -> tuple[int, ...]:
    """Filters of a discriminator's blocks: w, 2w, .. 8w down to 4 pixels (B 3.1.2).

    28 pixels take three blocks (14, 7, 4): without the last one the discriminator
    falls behind the generator, see the README's ablation.
    """
    depth = (size - 1).bit_length() - 2
    return tuple(width * min(2**i, 8) for i in range(depth))


def _depth(size: int) -> int:
    start, depth = size, 0
    while start % 2 == 0 and start > 7:
        start, depth = start // 2, depth + 1
    if not (16 <= size <= 256 and 4 <= start <= 7):
        raise errors.InputError(
            f"image size {size} is not 4, 5, 6 or 7 times a power of two within "
            "16..256; choose for example 28, 32, 48, 64, 96, 128 or 256 (--size)"
        )
    return depth


def _batch_norm(name: str) -> layers.Layer:
    # On several replicas only a synchronised batch norm equals the global batch's.
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return layers.BatchNormalization(
        momentum=0.9, synchronized=replicas > 1, name=f"{name}_bn"
    )


def _activation(kind: str, slope: float, name: str) -> layers.Layer:
    if kind == "prelu":
        # One learned slope per channel; 0.25 is the start of He et al., ICCV 2015.
        start = keras.initializers.Constant(0.25)
        return layers.PReLU(start, shared_axes=[1, 2], name=f"{name}_act")
    if kind == "relu":
        return layers.ReLU(name=f"{name}_act")
    if kind != "leaky_relu":
        raise errors.InputError(f"activation {kind!r} is not leaky_relu, prelu or relu")
    return layers.LeakyReLU(slope, name=f"{name}_act")


def _attended(x, side: int | None, stage: str, spectral: bool = False):
    """`x` after self-attention, if its side is the one asked for."""
    if side is None or x.shape[1] != side:
        return x
    return attentions.SelfAttention(spectral, name=f"{stage}_attention")(x)


def _attending(network: keras.Model, side: int | None) -> keras.Model:
    kinds = {type(layer) for layer in network.layers}
    if side is not None and attentions.SelfAttention not in kinds:
        raise errors.InputError(
            f"no block of the {network.name} has {side} pixels a side to attend to; "
            "halve the image size as often as it takes"
        )
    return network


def generator(
    size: int,
    channels: int = 1,
    *,
    latent_dim: int = 64,
    filters: tuple[int, ...],
    slope: float = 0.0,
    classes: int = 0,
    activation: str = "leaky_relu",
    attention: int | None = None,
) -> keras.Model:
    """Transposed-convolution generator with batch norm (document B 3.1.1).

    Args:
        size: side of the square images, see `stage_filters`.
        channels: 1 or 3.
        latent_dim: length of the latent vectors.
        filters: of the stem and of each doubling block, as from `stage_filters`.
        slope: of the LeakyReLU; 0 is the ReLU of DCGAN.
        classes: number of classes; 0 for none. A learned embedding of the class joins
            the latents.
        activation: `leaky_relu`, `prelu` with learned slopes, or `relu` (document E
            3.3).
        attention: side of the block's output that gets self-attention, or None.

    Returns:
        A Functional model from latents `[B, latent_dim]` (or `[latents, labels]`,
        labels int32 `[B]`) to float32 images `[B, size, size, channels]` in [-1, 1].

    Raises:
        InputError: an unknown `activation`, or no block's output has the side
            `attention`.
    """
    start = size // 2 ** (len(filters) - 1)
    x = inputs = keras.Input((latent_dim,), name="latents")
    if classes:
        labels = keras.Input((), dtype="int32", name="labels")
        embedding = layers.Embedding(classes, latent_dim, name="stem_classes")(labels)
        x = layers.Concatenate(name="stem_join")([x, embedding])
        inputs = [inputs, labels]
    x = layers.Dense(start * start * filters[0], use_bias=False, name="stem_dense")(x)
    x = layers.Reshape((start, start, filters[0]), name="stem_reshape")(x)
    x = _batch_norm("stem")(x)
    x = _activation(activation, slope, "stem")(x)
    for number, width in enumerate(filters[1:], 1):
        stage = f"block{number}"
        x = layers.Conv2DTranspose(
            width, 4, 2, padding="same", use_bias=False, name=f"{stage}_conv"
        )(x)
        x = _batch_norm(stage)(x)
        x = _activation(activation, slope, stage)(x)
        x = _attended(x, attention, stage)
    x = layers.Conv2D(channels, 3, padding="same", name="head_conv")(x)
    images = layers.Activation("tanh", dtype="float32", name="head_tanh")(x)
    return _attending(keras.Model(inputs, images, name="generator"), attention)


def discriminator(
    size: int,
    channels: int = 1,
    *,
    filters: tuple[int, ...],
    kernel: int = 4,
    slope: float = 0.2,
    dropout: float = 0.0,
    norm: str = "none",
    classes: int = 0,
    activation: str = "leaky_relu",
    attention: int | None = None,
) -> keras.Model:
    """Strided-convolution discriminator (documents B 4 and C 4.1).

    Args:
        size: side of the square images.
        channels: 1 or 3.
        filters: of each halving block, from the image inwards.
        kernel: side of the convolution kernels.
        slope: of the LeakyReLU.
        dropout: rate after each block.
        norm: `none`, or `spectral` (every kernel, `regularization.SpectralConv2D`).
        classes: number of classes; 0 for none. The projection <embedding, features> is
            added to the score.
        activation: `leaky_relu`, `prelu` with learned slopes, or `relu` (document E
            3.3).
        attention: side of the block's output that gets self-attention, or None.

    Returns:
        A Functional model from images `[B, size, size, channels]` (or `[images,
        labels]`) to unbounded float32 scores `[B, 1]`.

    Raises:
        InputError: an unknown `norm` or `activation`, or no block's output has the side
            `attention`.
    """
    if norm not in ("none", "spectral"):
        raise errors.InputError(f"norm {norm!r} is not one of none, spectral")
    spectral = norm == "spectral"
    conv = regularization.SpectralConv2D if spectral else layers.Conv2D
    dense = regularization.SpectralDense if spectral else layers.Dense
    x = inputs = keras.Input((size, size, channels), name="images")
    for number, width in enumerate(filters, 1):
        stage = f"block{number}"
        x = conv(width, kernel, 2, padding="same", name=f"{stage}_conv")(x)
        x = _activation(activation, slope, stage)(x)
        x = _attended(x, attention, stage, spectral)
        if dropout:
            x = layers.Dropout(dropout, name=f"{stage}_dropout")(x)
    features = layers.Flatten(name="head_flatten")(x)
    scores = dense(1, dtype="float32", name="head_dense")(features)
    if classes:
        labels = keras.Input((), dtype="int32", name="labels")
        pooled = layers.GlobalAveragePooling2D(dtype="float32", name="head_pool")(x)
        embedding = layers.Embedding(
            classes, filters[-1], dtype="float32", name="head_classes"
        )(labels)
        match = layers.Dot(1, dtype="float32", name="head_project")([pooled, embedding])
        scores = layers.Add(dtype="float32", name="head_add")([scores, match])
        inputs = [inputs, labels]
    return _attending(keras.Model(inputs, scores, name="discriminator"), attention)
