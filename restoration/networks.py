"""Restoring networks: document A 4.2's generator, the compact restorer (C 2.3, D 2.3).

A restorer takes `[image, level, mask]`: the damaged image `[B, H, W, C]` with missing
pixels filled (`filling.fill`), the noise level `[B, H, W, 1]` on the image's scale, and
the mask `[B, H, W, C]`, 1 = missing. It returns the restored image, for any H and W.
"""

import keras
import tensorflow as tf

_PACKAGE = "restoration"


@keras.saving.register_keras_serializable(package=_PACKAGE)
class PadToMultiple(keras.layers.Layer):
    """Repeat the last row and column until both sides divide by `multiple` (C 2.3)."""

    def __init__(self, multiple: int, **arguments):
        super().__init__(**arguments)
        self.multiple = multiple

    def call(self, x):
        """Pad `[B, H, W, C]` below and on the right."""
        for axis in (1, 2):
            if x.shape[axis] is None or x.shape[axis] % self.multiple:
                size = tf.shape(x)[axis]
                padded = -(-size // self.multiple) * self.multiple
                x = tf.gather(x, tf.minimum(tf.range(padded), size - 1), axis=axis)
        return x

    def compute_output_shape(self, shape):
        """Sides rounded up, unknown ones stay unknown."""
        sides = [n and -(-n // self.multiple) * self.multiple for n in shape[1:3]]
        return (shape[0], *sides, shape[3])

    def get_config(self) -> dict:
        """Keras configuration."""
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class CropLike(keras.layers.Layer):
    """Crop the first input to the height and width of the second (document C 2.3)."""

    def call(self, inputs):
        """`[x, like]` -> x without the rows and columns that padding added."""
        x, like = inputs
        shape = tf.shape(like)
        return x[:, : shape[1], : shape[2]]

    def compute_output_shape(self, shapes):
        """Batch and channels of the first, sides of the second."""
        return (shapes[0][0], *shapes[1][1:3], shapes[0][3])


@keras.saving.register_keras_serializable(package=_PACKAGE)
class PixelUnshuffle(keras.layers.Layer):
    """Move 2x2 pixels into channels: `[B, H, W, C]` -> `[B, H/2, W/2, 4C]` (C 2.3)."""

    def call(self, x):
        """Space to depth; both sides must be even."""
        return tf.nn.space_to_depth(x, 2)

    def compute_output_shape(self, shape):
        """Half the sides, four times the channels."""
        return (shape[0], *(n and n // 2 for n in shape[1:3]), 4 * shape[3])


@keras.saving.register_keras_serializable(package=_PACKAGE)
class PixelShuffle(keras.layers.Layer):
    """Move channels into 2x2 pixels: `[B, H, W, 4C]` -> `[B, 2H, 2W, C]` (C 2.3)."""

    def call(self, x):
        """Depth to space."""
        return tf.nn.depth_to_space(x, 2)

    def compute_output_shape(self, shape):
        """Twice the sides, a quarter of the channels."""
        return (shape[0], *(n and 2 * n for n in shape[1:3]), shape[3] // 4)


@keras.saving.register_keras_serializable(package=_PACKAGE)
class Gain(keras.layers.Layer):
    """One trainable factor per channel, 1 at first (document A 3.3(2))."""

    def build(self, input_shape):
        """Create the factors `[C]`."""
        self.factor = self.add_weight(
            name="factor", shape=(input_shape[-1],), initializer="ones"
        )

    def call(self, x):
        """`[B, H, W, C]` times the factors."""
        return x * tf.cast(self.factor, x.dtype)


def with_gains(network: keras.Model) -> keras.Model:
    """The network with a `Gain` behind every `Conv2D` (document A 3.3(2)).

    Weights are copied; `fold_gains` makes it a plain network again.
    """

    def call(layer, *arguments, **named):
        x = layer(*arguments, **named)
        if isinstance(layer, keras.layers.Conv2D):
            return Gain(name=f"{layer.name}_gain", dtype=layer.dtype_policy.name)(x)
        return x

    copy = keras.models.clone_model(network, call_function=call)
    for layer in network.layers:
        copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def fold_gains(gained: keras.Model, network: keras.Model) -> None:
    """Multiply the gains into the kernels of the plain network (document A 3.3(2)).

    Args:
        gained: as from `with_gains`.
        network: a network of the plain architecture, whose weights are replaced.
    """
    for layer in network.layers:
        values = gained.get_layer(layer.name).get_weights()
        if isinstance(layer, keras.layers.Conv2D):
            factor = gained.get_layer(f"{layer.name}_gain").get_weights()[0]
            # Kernel and bias both end with the output channels.
            values = [value * factor for value in values]
        layer.set_weights(values)


def in_policy(network: keras.Model, policy: str) -> keras.Model:
    """A copy of the network and its weights under a dtype policy (document A 4.2).

    Layers next to the pictures, those that come in and those that go out, stay in
    float32: their values must not be rounded to 16 bits.

    Args:
        network: of this module, of `unrolled` or from `pretrained.load`.
        policy: `float32`, `mixed_bfloat16` or `mixed_float16`.
    """
    first = {id(each) for each in network.inputs}

    def clone(layer):
        seen = {id(each) for each in keras.tree.flatten(layer.input)}
        at_edge = layer.name in network.output_names or not first.isdisjoint(seen)
        dtype = "float32" if at_edge and not layer.weights else policy
        return layer.__class__.from_config({**layer.get_config(), "dtype": dtype})

    copy = keras.models.clone_model(network, clone_function=clone)
    copy.set_weights(network.get_weights())
    return copy


def inputs(channels: int) -> tuple[keras.KerasTensor, ...]:
    """The three inputs of every restorer: image, level, mask (document C 2.3)."""
    return tuple(
        keras.Input((None, None, count), name=name)
        for name, count in (("image", channels), ("level", 1), ("mask", channels))
    )


def _conv(filters: int, name: str, size: int = 3, gain: float = 2.0):
    start = "zeros"
    if gain:
        start = keras.initializers.VarianceScaling(gain, "fan_in", "truncated_normal")
    return keras.layers.Conv2D(
        filters,
        size,
        padding="same",
        use_bias=False,
        kernel_initializer=start,
        name=name,
    )


def _residual_blocks(x, filters: int, count: int, first: int):
    """`count` times x + conv(relu(conv(x))), named block<first>, block<first + 1>..."""
    for number in range(first, first + count):
        stage = f"block{number}"
        y = _conv(filters, f"{stage}_conv1")(x)
        y = keras.layers.ReLU(name=f"{stage}_relu")(y)
        # A small second convolution starts the block near the identity.
        y = _conv(filters, f"{stage}_conv2", gain=0.02)(y)
        x = keras.layers.Add(name=f"{stage}_add")([x, y])
    return x


def restorer(
    channels: int = 1,
    *,
    widths: tuple[int, ...] = (32, 64, 96),
    blocks: int = 2,
    late_blocks: int | None = None,
) -> keras.Model:
    """The compact restorer: a bias-free residual U-Net on unshuffled pixels (C 2.3).

    Pixels are unshuffled 2x, so the finest convolutions run on a quarter of the
    positions; each further width is one scale down (2x2 convolution, stride 2) and back
    (1x1 convolution and pixel shuffle: no checkerboard), with a skip connection. No
    biases and no batch norm, so without missing pixels the network is homogeneous,
    f(a y, a sigma) = a f(y, sigma), and works at noise levels never trained (Mohan et
    al. 2020). The noise-level map makes one network serve all levels (FFDNet).

    Args:
        channels: 1 (grey) or 3 (colour).
        widths: filters per scale, finest first; (32, 64, 96) costs 45 k multiply-adds a
            pixel, with 3 late blocks 57 k; (64, 128, 256, 512) with 4 blocks is for
            GPUs.
        blocks: residual blocks per scale on the way down.
        late_blocks: as many from the coarsest scale on, on the way up; default: blocks.

    Returns:
        A model `[image, level, mask] -> image`, output float32.

    Sources: Zhang et al., "FFDNet", 2018; Zhang et al., "Plug-and-Play Image
    Restoration with Deep Denoiser Prior" (DRUNet), 2021; Mohan et al., "Robust and
    Interpretable Blind Image Denoising via Bias-Free CNNs", 2020.
    """
    late_blocks = blocks if late_blocks is None else late_blocks
    image, level, mask = inputs(channels)
    multiple = 2 ** len(widths)
    pixels = keras.layers.Concatenate(name="stem_concat")([image, mask])
    pixels = PixelUnshuffle(name="stem_unshuffle")(
        PadToMultiple(multiple, name="stem_pad")(pixels)
    )
    levels = keras.layers.AveragePooling2D(2, name="stem_level")(
        PadToMultiple(multiple, name="stem_level_pad")(level)
    )
    x = keras.layers.Concatenate(name="stem_inputs")([pixels, levels])
    x = _conv(widths[0], "stem_conv")(x)
    number, skips = 1, []
    for scale, width in enumerate(widths):
        if scale:
            skips.append(x)
            x = keras.layers.Conv2D(
                width, 2, strides=2, use_bias=False, name=f"down{scale}_conv"
            )(x)
        count = late_blocks if scale == len(widths) - 1 else blocks
        x = _residual_blocks(x, width, count, number)
        number += count
    for scale in range(len(widths) - 2, -1, -1):
        x = _conv(4 * widths[scale], f"up{scale + 1}_conv", size=1)(x)
        x = PixelShuffle(name=f"up{scale + 1}_shuffle")(x)
        x = keras.layers.Add(name=f"up{scale + 1}_add")([x, skips[scale]])
        x = _residual_blocks(x, widths[scale], late_blocks, number)
        number += late_blocks
    x = _conv(4 * channels, "head_conv", gain=0.0)(x)
    x = PixelShuffle(name="head_shuffle")(x)
    x = CropLike(name="head_crop")([x, image])
    # Float32, also where the layers compute in 16 bits: the sum is the picture.
    x = keras.layers.Add(name="head_add", dtype="float32")([image, x])
    return keras.Model([image, level, mask], x, name="restorer")


def document_a(channels: int = 3) -> keras.Model:
    """Document A 4.2's transposed-convolution generator, corrected.

    As printed, three transposed convolutions of stride 2 turn 64x64 into 512x512, which
    cannot be compared with the 64x64 clean image, and tanh cannot reach pictures in
    [0, 1]. Here three strided convolutions, mirror images of the printed ones, come
    first, and the output is unbounded. Kernel 4 at stride 2 keeps checkerboards small;
    filters, kernels, batch norm and LeakyReLU are the printed ones.

    Args:
        channels: 1 or 3.

    Returns:
        A model `[image, level, mask] -> image`.
    """
    image, level, mask = inputs(channels)
    x = keras.layers.Concatenate(name="stem_concat")([image, level, mask])
    x = PadToMultiple(8, name="stem_pad")(x)
    for number in range(1, 7):
        stage = f"block{number}"
        kind = keras.layers.Conv2D if number <= 3 else keras.layers.Conv2DTranspose
        filters = 64 if number < 6 else channels
        x = kind(filters, 4, strides=2, padding="same", name=f"{stage}_conv")(x)
        if number < 6:
            x = keras.layers.BatchNormalization(name=f"{stage}_bn")(x)
            x = keras.layers.LeakyReLU(0.2, name=f"{stage}_relu")(x)
    x = CropLike(name="head_crop", dtype="float32")([x, image])
    return keras.Model([image, level, mask], x, name="document_a")


def multiply_adds(network: keras.Model) -> float:
    """Multiply-adds per pixel of the input, over all convolutions (document C 2.3).

    Counted on an input of 64x64; pointwise operations are left out.
    """
    probe = [tf.TensorSpec((1, 64, 64, x.shape[-1])) for x in network.inputs]
    graph = tf.function(network).get_concrete_function(probe).graph
    total = 0
    for operation in graph.get_operations():
        if operation.type == "Conv2D":
            kernel, output = operation.inputs[1].shape, operation.outputs[0].shape
            total += kernel.num_elements() * output[1] * output[2]
        elif operation.type == "Conv2DBackpropInput":
            kernel, source = operation.inputs[1].shape, operation.inputs[2].shape
            total += kernel.num_elements() * source[1] * source[2]
    return total / 64**2
