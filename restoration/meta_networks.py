"""Small networks that adapt to a task in seconds (document D 3.2.3).

All are instances of f(x) = R(E(x)) for grey patches, E an encoder and R a recoverer,
without batch norm: MetaNN (`meta_nn`), MetaCNN (`meta_cnn`), and two whose weights are
the parameters of a classical method: CIR (`meta_iterative`: data weights, filters,
thresholds) and SR (`meta_sparse`: dictionary, filters, thresholds).
"""

import keras
import numpy as np
import tensorflow as tf

from gan_transfer import errors
from restoration import networks, unrolled

_PACKAGE = "restoration"


@keras.saving.register_keras_serializable(package=_PACKAGE)
class Modulate(keras.layers.Layer):
    """Feature-wise scale and shift: x (1 + a) + b (document D 3.2.2, zero-shot).

    [features `[B, ..., F]`, a and b beside each other `[B, 2 F]`] to `[B, ..., F]`.
    Source: Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer",
    2018.
    """

    def call(self, inputs):
        """Return the modulated features."""
        x, both = inputs
        both = tf.reshape(both, [-1, *[1] * (len(x.shape) - 2), 2 * x.shape[-1]])
        scale, shift = tf.split(both, 2, axis=-1)
        return x * (1.0 + scale) + shift

    def compute_output_shape(self, shapes):
        """That of the features."""
        return shapes[0]


def _start(descriptor: int, shape: tuple):
    """Inputs of a network, with the descriptor if there is one."""
    image = keras.Input(shape, name="image")
    if not descriptor:
        return image, None, image
    told = keras.Input((descriptor,), name="descriptor")
    return image, told, [image, told]


def _stage(x, layer, stage: str, told):
    """A layer, the modulation by what is told, and a ReLU."""
    x = layer(x)
    if told is not None:
        both = keras.layers.Dense(
            2 * x.shape[-1], kernel_initializer="zeros", name=f"{stage}_condition"
        )(told)
        x = Modulate(name=f"{stage}_modulate")([x, both])
    return keras.layers.ReLU(name=f"{stage}_relu")(x)


# Near zero: the network begins near the identity, and all of it gets a gradient.
def _small():
    return keras.initializers.VarianceScaling(0.02, "fan_in", "truncated_normal")


def meta_cnn(
    filters: int = 32, encoder: int = 2, recoverer: int = 1, descriptor: int = 0
) -> keras.Model:
    """MetaCNN: convolutional f(x) = x + R(E(x)) (document D 3.2.3).

    E and R are 3x3 convolutions with ReLU on 2x2 blocks of pixels; the head of R
    returns to pixels.

    Args:
        filters: of every convolution but the head, >= 1.
        encoder: convolutions of E, >= 1.
        recoverer: convolutions of R before the head, >= 0.
        descriptor: length of the task's descriptor, which scales and shifts all
            features; 0 = the network is blind.

    Returns:
        A model from image `[B, H, W, 1]`, H and W even, or from [image, descriptor
        `[B, descriptor]`], to the image.

    Raises:
        InputError: numbers out of these bounds.
    """
    if min(filters, encoder) < 1 or min(recoverer, descriptor) < 0:
        raise errors.InputError(
            f"filters {filters}, encoder {encoder}, recoverer {recoverer}, descriptor "
            f"{descriptor}: the first two must be >= 1, the others >= 0"
        )
    image, told, inputs = _start(descriptor, (None, None, 1))
    x = networks.PixelUnshuffle(name="encoder1_unshuffle")(image)
    stages = [f"encoder{n + 1}" for n in range(encoder)]
    stages += [f"recoverer{n + 1}" for n in range(recoverer)]
    for stage in stages:
        layer = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            kernel_initializer="he_normal",
            name=f"{stage}_conv",
        )
        x = _stage(x, layer, stage, told)
    x = keras.layers.Conv2D(
        4, 3, padding="same", kernel_initializer=_small(), name="head_conv"
    )(x)
    x = networks.PixelShuffle(name="head_shuffle")(x)
    x = keras.layers.Add(name="head_add")([image, x])
    return keras.Model(inputs, x, name="meta_cnn")


def meta_nn(size: int = 32, units: int = 256, descriptor: int = 0) -> keras.Model:
    """MetaNN: fully connected f(x) = x + R(E(x)) on whole patches (document D 3.2.3).

    Args:
        size: pixels per side of a patch.
        units: of the encoder's and the recoverer's hidden layer, >= 1.
        descriptor: as of `meta_cnn`.

    Returns:
        A model from image `[B, size, size, 1]`, or from [image, descriptor], to the
        image.

    Raises:
        InputError: numbers below 1, or a negative length.
    """
    if min(size, units) < 1 or descriptor < 0:
        raise errors.InputError(
            f"size {size}, units {units}, descriptor {descriptor}: the first two must "
            "be >= 1, the last >= 0"
        )
    image, told, inputs = _start(descriptor, (size, size, 1))
    x = keras.layers.Flatten(name="encoder1_flatten")(image)
    for stage in ("encoder1", "recoverer1"):
        layer = keras.layers.Dense(
            units, kernel_initializer="he_normal", name=f"{stage}_dense"
        )
        x = _stage(x, layer, stage, told)
    x = keras.layers.Dense(size**2, kernel_initializer=_small(), name="head_dense")(x)
    x = keras.layers.Reshape((size, size, 1), name="head_reshape")(x)
    x = keras.layers.Add(name="head_add")([image, x])
    return keras.Model(inputs, x, name="meta_nn")


@keras.saving.register_keras_serializable(package=_PACKAGE)
class DataStep(keras.layers.Layer):
    """A gradient step on a robust data term: x - t A' clip(A x - y) (D 2.3 "CIR").

    [x, y] `[B, H, W, 1]` to x. A is a convolution with a learned `[k, k]` kernel, A'
    its adjoint; clip to +-theta is the slope of the Huber loss, so that impulses and
    missing pixels weigh no more than theta. The start is A = 1, t = 0.2, theta = 0.1.
    """

    def __init__(self, kernel: int, **arguments):
        super().__init__(**arguments)
        self.side = kernel

    def build(self, shapes):
        """Create the kernel, t and theta."""
        one = np.zeros((self.side, self.side, 1, 1), np.float32)
        one[self.side // 2, self.side // 2] = 1
        constant = keras.initializers.Constant
        self.kernel = self.add_weight(
            name="kernel", shape=one.shape, initializer=constant(one)
        )
        self.rate = self.add_weight(name="rate", shape=(), initializer=constant(0.2))
        self.threshold = self.add_weight(
            name="threshold",
            shape=(),
            initializer=constant(0.1),
            constraint=keras.constraints.NonNeg(),
        )

    def call(self, inputs):
        """Return x after the step."""
        x, y = inputs
        kernel = tf.convert_to_tensor(self.kernel)
        missed = _clip(tf.nn.conv2d(x, kernel, 1, "SAME") - y, self.threshold)
        adjoint = tf.nn.conv2d(missed, tf.reverse(kernel, [0, 1]), 1, "SAME")
        return x - self.rate * adjoint

    def get_config(self) -> dict:
        """Keras configuration."""
        return {**super().get_config(), "kernel": self.side}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class PriorStep(keras.layers.Layer):
    """A gradient step on a learned prior: x - sum_i W_i' clip(W_i x) (D 2.3 "CIR").

    W_i are convolutions with learned `[k, k]` kernels, clip to +-theta_i the slope of
    the Huber penalty of their responses. `[B, H, W, 1]` to the same.
    Source: Chen and Pock, "Trainable Nonlinear Reaction Diffusion", 2017.
    """

    def __init__(self, filters: int, kernel: int, **arguments):
        super().__init__(**arguments)
        self.filters, self.side = filters, kernel

    def build(self, shape):
        """Create the kernels and thresholds."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.side, self.side, 1, self.filters),
            initializer=keras.initializers.RandomNormal(
                stddev=0.3 / (self.side * self.filters**0.5)
            ),
        )
        self.threshold = self.add_weight(
            name="threshold",
            shape=(self.filters,),
            initializer=keras.initializers.Constant(0.05),
            constraint=keras.constraints.NonNeg(),
        )

    def call(self, x):
        """Return x after the step."""
        kernel = tf.convert_to_tensor(self.kernel)
        response = _clip(tf.nn.conv2d(x, kernel, 1, "SAME"), self.threshold)
        back = tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
        return x - tf.nn.conv2d(response, back, 1, "SAME")

    def get_config(self) -> dict:
        """Keras configuration."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel": self.side,
        }


def _clip(x, threshold):
    # Neither clip_by_value nor a maximum passes the gradient to both: relu does.
    return tf.nn.relu(x + threshold) - tf.nn.relu(x - threshold) - threshold


def meta_iterative(
    iterations: int = 4, filters: int = 16, kernel: int = 5, blur: int = 7
) -> keras.Model:
    """CIR: some iterations of data and prior steps, their parameters learned (D 2.3).

    x_0 = y, x_(k+1) = prior_k(data_k(x_k, y)): `DataStep`, `PriorStep`. What adapts to
    a task: the blur A_k, the step sizes, the filters, the thresholds.

    Args:
        iterations: >= 1.
        filters: of the prior, >= 1.
        kernel: side of those, odd.
        blur: side of A_k, odd.

    Returns:
        A model from image `[B, H, W, 1]` to the image.

    Raises:
        InputError: numbers below 1, or even sides.
    """
    if min(iterations, filters, kernel, blur) < 1 or not (kernel % 2 and blur % 2):
        raise errors.InputError(
            f"iterations {iterations}, filters {filters}, kernel {kernel}, blur {blur}:"
            " all must be >= 1, and the last two odd"
        )
    image = keras.Input((None, None, 1), name="image")
    x = image
    for number in range(1, iterations + 1):
        x = DataStep(blur, name=f"iterate{number}_data")([x, image])
        x = PriorStep(filters, kernel, name=f"iterate{number}_prior")(x)
    return keras.Model(image, x, name="meta_iterative")


def meta_sparse(filters: int = 24, iterations: int = 4) -> keras.Model:
    """SR: a small `unrolled.unrolled_sparse` (document D 2.3).

    What adapts to a task: the dictionary, the analysis filters, the thresholds.

    Args:
        filters: feature maps, >= 1.
        iterations: >= 1.

    Returns:
        A model [image, level, mask] -> image, grey.
    """
    return unrolled.unrolled_sparse(1, filters, iterations)
