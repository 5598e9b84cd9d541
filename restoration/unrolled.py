"""Learned ISTA: convolutional sparse coding, unrolled (documents A 2.2, D 2.3 "SR").

A fixed number of iterations of convolutional ISTA is the network; filters, dictionary
and thresholds are its weights. The thresholds follow the noise level, and the data term
looks at known pixels only, so that one network denoises at any level and inpaints.
Sources: Gregor, LeCun, "Learning Fast Approximations of Sparse Coding", ICML 2010;
Janjusevic, Khalilian-Gourtani, Wang, "CDLNet: Noise-Adaptive Convolutional Dictionary
Learning Network for Blind Denoising and Demosaicing", IEEE OJSP 2022.

A stride s and a k x k kernel are computed as a stride 1 and a ceil(k/s) x ceil(k/s)
kernel on s x s blocks of pixels: the same numbers, 2.6 times as fast on a CPU as
strided convolutions of one channel.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from gan_transfer import errors
from restoration import networks


def unrolled_sparse(
    channels: int = 1,
    filters: int = 64,
    iterations: int = 10,
    kernel: int = 7,
    stride: int = 2,
) -> keras.Model:
    """Unrolled convolutional ISTA with noise-adaptive thresholds (D 2.3 "SR").

    y = V (x - mean), V = 1 - mask, mean over the known pixels of each channel
    z_1 = soft(A_1 y, theta_1)
    z_k = soft(z_(k-1) - A_k (V B_k z_(k-1) - y), theta_k), theta_k = a_k + b_k level
    restored = D z_K + mean

    A_k are strided convolutions to `filters` sparse feature maps, B_k and D transposed
    ones back to the image; a_k, b_k >= 0 per feature map; no filter exceeds the norm 1.
    The values of missing pixels are not looked at.

    At the start all A_k^T, B_k and D are one random dictionary divided by the root of
    L, the largest eigenvalue of D D^T, a_k = 0 and b_k is the norm of each filter: the
    network begins as plain ISTA with the step 1/L, whose thresholds are the standard
    deviation of the noise in the codes (CDLNet's constant 0.01 starts far slower).

    The default has 64,000 weights; 2 `iterations` channels kernel^2 filters / stride^2
    = 15,680 multiply-adds per pixel. CDLNet trains it with Adam at 1e-3, gradient norm
    clipped to 1, batches of 10 crops of 128x128; the published variant of this size
    reaches 28.99 dB on BSD68 at noise level 25/255.

    Args:
        channels: of the images, 1 or 3.
        filters: number of feature maps, >= 1.
        iterations: K, >= 1. Holes wider than about kernel x K pixels stay at the mean.
        kernel: side of the filters in pixels, >= stride.
        stride: pixels between neighbouring codes, >= 1.

    Returns:
        A Functional model from [image `[B, H, W, C]` in [0, 1], level `[B, H, W, 1]`,
        mask `[B, H, W, C]`, 1 = missing] to "restored" `[B, H, W, C]`, any H, W >= 1.

    Raises:
        InputError: numbers out of these bounds.
    """
    if min(channels, filters, iterations, stride) < 1 or kernel < stride:
        raise errors.InputError(
            f"channels {channels}, filters {filters}, iterations {iterations}, stride "
            f"{stride}, kernel {kernel}: all must be >= 1, and the kernel >= the stride"
        )
    image, level, mask = networks.inputs(channels)
    y, known, sigma, mean = Observe(stride, dtype="float32", name="stem_observe")(
        [image, level, mask]
    )
    step = Analysis(filters, kernel, stride, name="iterate1_analysis")(y)
    codes = Threshold(name="iterate1_threshold")([step, sigma])
    for number in range(2, iterations + 1):
        stage = f"iterate{number}"
        seen = Synthesis(channels, kernel, stride, name=f"{stage}_synthesis")(codes)
        seen = layers.Multiply(name=f"{stage}_known")([seen, known])
        residual = layers.Subtract(name=f"{stage}_residual")([y, seen])
        step = Analysis(filters, kernel, stride, name=f"{stage}_analysis")(residual)
        step = layers.Add(name=f"{stage}_step")([codes, step])
        codes = Threshold(name=f"{stage}_threshold")([step, sigma])
    blocks = Synthesis(channels, kernel, stride, name="head_dictionary")(codes)
    restored = Assemble(stride, dtype="float32", name="head_restored")(
        [blocks, mean, image]
    )
    model = keras.Model([image, level, mask], restored, name="unrolled_sparse")
    _start_as_ista(model, (kernel, kernel, channels, filters), stride)
    return model


def with_mean(network: keras.Model) -> keras.Model | None:
    """The network that is told the mean y is made with (document D 2.3 "SR").

    For the tiles of a picture, which are then treated as in the whole picture.

    Returns:
        A model from [image, level, mask, mean `[B, 1, 1, C]`] that shares the weights;
        None for a network without `Observe`, which subtracts no mean.
    """
    observing = [each for each in network.layers if isinstance(each, Observe)]
    if not observing:
        return None
    (observe,) = observing
    image, level, mask = network.inputs
    mean = keras.Input((1, 1, image.shape[-1]), name="mean")
    rest = keras.Model([*observe.output, image], network.output)
    observed = Observe(observe.stride, dtype="float32")([image, level, mask, mean])
    return keras.Model([image, level, mask, mean], rest([*observed, image]))


def _start_as_ista(model: keras.Model, shape: tuple[int, ...], stride: int) -> None:
    dictionary = keras.ops.convert_to_numpy(keras.random.normal(shape))
    dictionary /= np.sqrt(largest_eigenvalue(dictionary, stride))
    norms = np.sqrt(np.sum(np.square(dictionary), axis=(0, 1, 2)))
    for layer in model.layers:
        if isinstance(layer, _Filters):
            layer.kernel.assign(dictionary)
        elif isinstance(layer, Threshold):
            layer.slope.assign(norms)


def largest_eigenvalue(kernel: np.ndarray, stride: int) -> float:
    """Largest eigenvalue L of D D^T, the Lipschitz constant of ISTA (A 2.2).

    D is the transposed convolution with `kernel` `[k, k, C, M]` and `stride` on an
    endless image. In the frequency domain of the blocks D D^T falls apart into small
    matrices, whose largest eigenvalue over all frequencies (on a grid of 64x64) is L;
    a finite image has at most this one.
    """
    folded = keras.ops.convert_to_numpy(_fold_kernel(kernel, stride))
    spectrum = np.fft.fft2(folded, (64, 64), axes=(0, 1))
    gram = spectrum @ spectrum.conj().swapaxes(2, 3)
    return float(np.linalg.eigvalsh(gram).max())


def _fold_kernel(kernel, stride: int) -> tf.Tensor:
    """`[k, k, C, M]` to the kernel on blocks, `[ceil(k/s), ceil(k/s), s s C, M]`."""
    side, _, channels, filters = kernel.shape
    taps = -(-side // stride)
    missing = taps * stride - side
    kernel = tf.pad(kernel, [[0, missing], [0, missing], [0, 0], [0, 0]])
    kernel = tf.reshape(kernel, [taps, stride, taps, stride, channels, filters])
    kernel = tf.transpose(kernel, [0, 2, 1, 3, 4, 5])
    return tf.reshape(kernel, [taps, taps, stride * stride * channels, filters])


def _fold(images: tf.Tensor, stride: int) -> tf.Tensor:
    """`[B, H, W, C]` to blocks `[B, ceil(H/s), ceil(W/s), s s C]`, zeros at the end."""
    if stride == 1:
        return images
    shape = tf.shape(images)
    ends = [[0, -shape[1] % stride], [0, -shape[2] % stride]]
    return tf.nn.space_to_depth(tf.pad(images, [[0, 0], *ends, [0, 0]]), stride)


@keras.saving.register_keras_serializable(package="restoration")
class Observe(layers.Layer):
    """What the iterations need to know of the input, in blocks (D 2.3 "SR").

    [image, level, mask] to y = V (image - mean) and V, both `[B, h, w, s s C]`, the
    level of each block `[B, h, w, 1]`, and the mean of the known pixels
    `[B, 1, 1, C]`, 0 where there are none. Pixels that fill up the last blocks count as
    missing. A fourth input is the mean to use instead.
    """

    def __init__(self, stride: int, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, inputs):
        """Return y, V, the level and the mean."""
        image, level, mask, *told = inputs
        known = 1.0 - mask
        count = tf.reduce_sum(known, axis=[1, 2], keepdims=True)
        total = tf.reduce_sum(known * image, axis=[1, 2], keepdims=True)
        mean = told[0] if told else tf.math.divide_no_nan(total, count)
        y = _fold(known * (image - mean), self.stride)
        inside = _fold(tf.ones_like(level), self.stride)
        total = tf.reduce_sum(_fold(level, self.stride), axis=3, keepdims=True)
        level = total / tf.reduce_sum(inside, axis=3, keepdims=True)
        return y, _fold(known, self.stride), level, mean

    def get_config(self):
        """Arguments of the constructor."""
        return super().get_config() | {"stride": self.stride}


class _Filters(layers.Layer):
    """Filters `[k, k, C, M]`, each of a norm of at most 1."""

    def __init__(self, size: int, kernel: int, stride: int, **kwargs):
        super().__init__(**kwargs)
        self.size, self.side, self.stride = size, kernel, stride

    def _build(self, channels: int, filters: int):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.side, self.side, channels, filters),
            constraint=keras.constraints.MaxNorm(1.0, axis=[0, 1, 2]),
        )

    def _folded(self):
        return _fold_kernel(tf.convert_to_tensor(self.kernel), self.stride)


@keras.saving.register_keras_serializable(package="restoration")
class Analysis(_Filters):
    """Convolution of an image in blocks `[B, h, w, s s C]` to codes (D 2.3 "SR").

    The transpose of `Synthesis` with the same kernel; `[B, h, w, filters]`.
    """

    def __init__(self, filters: int, kernel: int, stride: int, **kwargs):
        super().__init__(filters, kernel, stride, **kwargs)

    def build(self, shape):
        """Create the kernel."""
        self._build(shape[-1] // self.stride**2, self.size)

    def call(self, blocks):
        """Return the codes."""
        return tf.nn.conv2d(blocks, self._folded(), 1, "SAME")

    def get_config(self):
        """Arguments of the constructor."""
        config = {"filters": self.size, "kernel": self.side, "stride": self.stride}
        return super().get_config() | config


@keras.saving.register_keras_serializable(package="restoration")
class Synthesis(_Filters):
    """Sum of filters weighted by codes `[B, h, w, M]`: the dictionary (D 2.3 "SR").

    A transposed convolution with stride s; the image is returned in blocks,
    `[B, h, w, s s channels]`.
    """

    def __init__(self, channels: int, kernel: int, stride: int, **kwargs):
        super().__init__(channels, kernel, stride, **kwargs)

    def build(self, shape):
        """Create the kernel."""
        self._build(self.size, shape[-1])

    def call(self, codes):
        """Return the image in blocks."""
        kernel = self._folded()
        shape = tf.concat([tf.shape(codes)[:3], [kernel.shape[2]]], axis=0)
        blocks = tf.nn.conv2d_transpose(codes, kernel, shape, 1, "SAME")
        return tf.ensure_shape(blocks, [*codes.shape[:3], kernel.shape[2]])

    def get_config(self):
        """Arguments of the constructor."""
        config = {"channels": self.size, "kernel": self.side, "stride": self.stride}
        return super().get_config() | config


def soft_threshold(codes: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """sign(z) max(|z| - theta, 0), the proximal map of theta ||z||_1 (A 2.2).

    theta >= 0, of a shape that broadcasts.
    """
    return tf.nn.relu(codes - threshold) - tf.nn.relu(-codes - threshold)


@keras.saving.register_keras_serializable(package="restoration")
class Threshold(layers.Layer):
    """Soft threshold a + b level, a and b >= 0 per feature map (D 2.3 "SR").

    [codes `[B, h, w, M]`, level `[B, h, w, 1]`] to `[B, h, w, M]`.
    """

    def build(self, shapes):
        """Create a and b."""
        kwargs = {
            "shape": (shapes[0][-1],),
            "initializer": "zeros",
            "constraint": keras.constraints.NonNeg(),
        }
        self.offset = self.add_weight(name="offset", **kwargs)
        self.slope = self.add_weight(name="slope", **kwargs)

    def call(self, inputs):
        """Return the codes after thresholding."""
        codes, level = inputs
        return soft_threshold(codes, self.offset + self.slope * level)


@keras.saving.register_keras_serializable(package="restoration")
class Assemble(layers.Layer):
    """[image in blocks, mean, input image] to the image of the input's size (D 2.3)."""

    def __init__(self, stride: int, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, inputs):
        """Return blocks, unfolded and cropped, plus the mean."""
        blocks, mean, image = inputs
        if self.stride > 1:
            blocks = tf.nn.depth_to_space(blocks, self.stride)
        shape = tf.shape(image)
        return blocks[:, : shape[1], : shape[2]] + mean

    def get_config(self):
        """Arguments of the constructor."""
        return super().get_config() | {"stride": self.stride}
