"""Regularisers: R1, R2, gradient penalty, spectral norm, L2 (document E 2(2)).

A penalty is a small frozen dataclass called as `penalty(score, real, fake, key)`, where
`score` maps images to unbounded scores. It returns an unweighted-by-batch scalar in
float32 with its weight already applied.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

Score = Callable[[tf.Tensor], tf.Tensor]


def squared_gradient_norms(score: Score, images: tf.Tensor) -> tf.Tensor:
    """||grad_x D(x)||^2 of every image, `[B]`, float32 (document E 2(2)).

    The sum over the batch is differentiated, so each image's gradient is its own as
    long as the discriminator does not mix images (no batch normalisation).
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(tf.cast(score(images), tf.float32))
    gradient = tf.cast(tape.gradient(total, images), tf.float32)
    return tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3])


@dataclasses.dataclass(frozen=True)
class R1:
    """Zero-centred penalty on real images: w/2 E||grad D(x)||^2 (document E 2(2)).

    Source: Mescheder, Geiger, Nowozin, "Which Training Methods for GANs do actually
    Converge?", ICML 2018.
    """

    weight: float

    def __call__(self, score: Score, real: tf.Tensor, fake: tf.Tensor, key):
        """Return the penalty, a float32 scalar; `fake` and `key` are not used."""
        return 0.5 * self.weight * tf.reduce_mean(squared_gradient_norms(score, real))


@dataclasses.dataclass(frozen=True)
class R2:
    """Zero-centred penalty on generated images: w/2 E||grad D(G(z))||^2 (document E).

    Source: Mescheder et al., ICML 2018; with R1 in Huang et al., "The GAN is dead; long
    live the GAN!", NeurIPS 2024.
    """

    weight: float

    def __call__(self, score: Score, real: tf.Tensor, fake: tf.Tensor, key):
        """Return the penalty, a float32 scalar; `real` and `key` are not used."""
        return 0.5 * self.weight * tf.reduce_mean(squared_gradient_norms(score, fake))


@dataclasses.dataclass(frozen=True)
class GradientPenalty:
    """One-centred penalty on segments: w E(||grad D(x_hat)|| - 1)^2 (document E 3.3).

    x_hat = a x + (1 - a) G(z) with a ~ U(0, 1) per image. The epsilon stands inside the
    root: the derivative of sqrt at 0 is infinite and would make the first step NaN.
    Source: Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017.
    """

    weight: float = 10.0
    epsilon: float = 1e-12

    def __call__(self, score: Score, real: tf.Tensor, fake: tf.Tensor, key):
        """Return the penalty, a float32 scalar; `key` (int `[2]`) draws `a`."""
        shape = [tf.shape(real)[0], 1, 1, 1]
        a = tf.random.stateless_uniform(shape, key, dtype=real.dtype)
        between = a * real + (1.0 - a) * fake
        norms = tf.sqrt(squared_gradient_norms(score, between) + self.epsilon)
        return self.weight * tf.reduce_mean(tf.square(norms - 1.0))


def clip_weights(variables: list, limit: float) -> None:
    """Clip every variable to [-limit, limit] in place: the first WGAN (document E 3.3).

    Source: Arjovsky, Chintala, Bottou, "Wasserstein GAN", ICML 2017, Algorithm 1.
    """
    for variable in variables:
        variable.assign(tf.clip_by_value(variable, -limit, limit))


@dataclasses.dataclass(frozen=True)
class L2ToSource:
    """Pull weights to where transfer started: w/2 sum (W - W_0)^2 (document A 3.2(2)).

    `anchors` maps variable paths to the source's arrays; variables without an anchor
    (new layers) are left free. Source: Li, Grandvalet, Davoine, "Explicit inductive
    bias for transfer learning" (L2-SP), ICML 2018.
    """

    weight: float
    anchors: dict[str, np.ndarray]

    def __call__(self, variables: list) -> tf.Tensor:
        """Return the penalty over `variables`, a float32 scalar."""
        distances = [
            tf.reduce_sum(tf.square(tf.cast(v, tf.float32) - self.anchors[v.path]))
            for v in variables
            if v.path in self.anchors
        ]
        return 0.5 * self.weight * tf.add_n(distances)


def directions(kernel: tf.Tensor, u: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """One power iteration from `u` on a kernel `[..., C]` (document E 2(2)).

    Returns:
        The kernel as a float32 matrix, the new `u` `[C]`, and `v`; no gradient flows
        through the last two.
    """
    matrix = tf.reshape(tf.cast(kernel, tf.float32), [-1, kernel.shape[-1]])
    v = tf.linalg.l2_normalize(tf.linalg.matvec(matrix, u))
    u = tf.linalg.l2_normalize(tf.linalg.matvec(matrix, v, transpose_a=True))
    return matrix, tf.stop_gradient(u), tf.stop_gradient(v)


def normalised(kernel: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
    """Return kernel / sigma, sigma from the stored `u`, in its dtype (E 2(2))."""
    matrix, u, v = directions(kernel, u)
    sigma = tf.tensordot(v, tf.linalg.matvec(matrix, u), 1)
    return kernel / tf.cast(sigma, kernel.dtype)


class _Spectral:
    """Divide the kernel by its largest singular value (document E 2(2)).

    W_sn = W / sigma, sigma = |u^T W v|. The forward pass never writes: `u` moves
    only in `update_spectral_norm`, once per discriminator update and only when the
    layer is trainable, so real and generated images meet the same weights and a frozen
    layer stays as it is, bit for bit (`keras.layers.SpectralNormalization` rewrites its
    kernel in every training call, frozen or not). Gradients flow through sigma, not
    through u and v. Source: Miyato et al., ICLR 2018.
    """

    def build(self, input_shape):
        super().build(input_shape)
        self.u = self.add_weight(
            name="u",
            shape=(self.kernel.shape[-1],),
            initializer=keras.initializers.RandomNormal(seed=0),
            trainable=False,
            autocast=False,
        )

    def save_own_variables(self, store):
        """Kernel, bias and `u`, which Keras' own layers would leave out."""
        super().save_own_variables(store)
        store["u"] = self.u

    def load_own_variables(self, store):
        """Counterpart of `save_own_variables`."""
        super().load_own_variables(store)
        self.u.assign(store["u"])

    def normalised_kernel(self, kernel):
        """Return kernel / sigma, sigma from the stored `u`, in the kernel's dtype."""
        return normalised(kernel, self.u)

    def update_spectral_norm(self) -> None:
        """One step of the power iteration on `u`; nothing when the layer is frozen."""
        if self.trainable:
            kernel = tf.convert_to_tensor(self.kernel)
            self.u.assign(directions(kernel, self.u)[1])


@keras.saving.register_keras_serializable(package="gan_transfer")
class SpectralConv2D(_Spectral, keras.layers.Conv2D):
    """Conv2D with a spectrally normalised kernel (document E 2(2)); see `_Spectral`."""

    def convolution_op(self, inputs, kernel):
        """Convolve with the normalised kernel."""
        kernel = self.normalised_kernel(tf.convert_to_tensor(kernel))
        return super().convolution_op(inputs, kernel)


@keras.saving.register_keras_serializable(package="gan_transfer")
class SpectralDense(_Spectral, keras.layers.Dense):
    """Dense with a spectrally normalised kernel (document E 2(2)); see `_Spectral`."""

    def call(self, inputs, training=None):
        """Return activation(inputs W / sigma + b), `[B, units]`."""
        kernel = tf.cast(self.kernel, self.compute_dtype)
        outputs = tf.matmul(inputs, self.normalised_kernel(kernel))
        if self.bias is not None:
            outputs = outputs + tf.cast(self.bias, outputs.dtype)
        return outputs if self.activation is None else self.activation(outputs)


def update_spectral_norms(model: keras.Model) -> None:
    """One power iteration in every trainable spectral layer (document E 2(2))."""
    for layer in model.layers:
        if hasattr(layer, "update_spectral_norm"):
            layer.update_spectral_norm()
