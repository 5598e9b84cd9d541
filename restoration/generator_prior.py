"""The range of a generator as prior (documents A 2.2 "GAN", D 2.3).

What a pretrained generator can draw is what an image may look like: damaged images are
replaced by the nearest drawn ones. For the small, aligned images that the generators of
`gan_transfer` draw.
"""

import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf

from gan_transfer import errors


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
    """Images a generator can draw: R(z) = |latents|^2 / 2 (documents A 2.2, D 2.3).

    z = (G(v) + 1) / 2 with the latents v that minimise
    |z - x|^2 / (2 strength^2) + |v|^2 / 2, by Adam: an eighth of the steps from many
    random starts, then all of them from each image's best. Can be called as any prior
    of `restoration.priors`.

    Attributes:
        network: latents `[N, D]` -> images `[N, H, W, C]` in [-1, 1], not conditional.
        starts: random starts, the same for every image.
        steps: of Adam, its rate falling from `learning_rate` to 0 in half a cosine.
        learning_rate: in units of the latents.
        seed: of the starts.

    Raises:
        InputError: a network with several inputs.

    Source: Bora et al., "Compressed Sensing using Generative Models", 2017.
    """

    network: keras.Model
    starts: int = 16
    steps: int = 200
    learning_rate: float = 0.2
    seed: int = 0

    def __post_init__(self):
        if len(self.network.inputs) != 1:
            raise errors.InputError(
                f"the generator has {len(self.network.inputs)} inputs; as a prior it "
                "must take latents alone (no classes)"
            )

    def __call__(self, x: tf.Tensor, strength: float) -> tf.Tensor:
        """Most probable drawn images, given x with noise of `strength`.

        Args:
            x: float32 `[B, H, W, C]`, nominally in [0, 1].
            strength: standard deviation of the noise, on that scale.

        Returns:
            float32 `[B, H, W, C]` in [0, 1].

        Raises:
            InputError: images of another size than the generator's.
        """
        return self.complete(x, tf.zeros_like(x), strength)

    def complete(self, y: tf.Tensor, mask: tf.Tensor, sigma: float) -> tf.Tensor:
        """The same, from the known pixels alone.

        Better than `iterative.minimise` with `Inpaint` where much is missing: there,
        the first guess of the missing part counts as if it were seen.

        Args:
            y: float32 `[B, H, W, C]`; what stands at missing pixels does not matter.
            mask: `[B, H, W, 1]` or `[B, H, W, C]`, 1 = missing.
            sigma: noise of the known pixels, > 0; for clean ones the error with which
                the generator can draw them, such as 0.1.

        Returns:
            Drawn images `[B, H, W, C]`, in known pixels too.

        Raises:
            InputError: images of another size than the generator's, or sigma <= 0.
        """
        drawn = self.network.output_shape[1:]
        if tuple(y.shape[1:]) != drawn:
            raise errors.InputError(
                f"images are {tuple(y.shape[1:])}, the generator draws {drawn}; crop "
                "or resample them"
            )
        if not sigma > 0.0:
            raise errors.InputError(f"noise level is {sigma}; it must be > 0")
        missing = tf.broadcast_to(mask > 0.5, y.shape)
        known = tf.cast(~missing, tf.float32)
        return self._search(
            tf.where(missing, 0.0, y), known, tf.constant(sigma, tf.float32)
        )

    @functools.cached_property
    def _search(self):
        return tf.function(self._nearest, reduce_retracing=True)

    def _nearest(self, y: tf.Tensor, known: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        count, dimension = tf.shape(y)[0], self.network.input_shape[1]
        # One set of starts for all images: no image depends on its batch.
        latents = tf.random.stateless_normal(
            [self.starts, 1, dimension], [self.seed, 0]
        )
        latents = tf.reshape(tf.repeat(latents, count, axis=1), [-1, dimension])
        repeated = [tf.tile(each, [self.starts, 1, 1, 1]) for each in (y, known)]
        latents = self._descend(latents, *repeated, sigma, max(self.steps // 8, 1))
        costs = self._cost(latents, *repeated, sigma)
        best = tf.argmin(tf.reshape(costs, [self.starts, count]), output_type=tf.int32)
        latents = tf.gather(latents, best * count + tf.range(count))
        return self._draw(self._descend(latents, y, known, sigma, self.steps))

    def _draw(self, latents: tf.Tensor) -> tf.Tensor:
        return (self.network(latents, training=False) + 1.0) / 2.0

    def _cost(self, latents, y, known, sigma) -> tf.Tensor:
        """The minimised sum, times sigma^2, `[N]`."""
        square = tf.square(self._draw(latents) - y) * known
        length = tf.reduce_sum(tf.square(latents), axis=1)
        return 0.5 * (tf.reduce_sum(square, axis=[1, 2, 3]) + tf.square(sigma) * length)

    def _descend(self, latents, y, known, sigma, steps: int) -> tf.Tensor:
        """Adam, without Keras' optimizer: its state would outlive the call."""
        mean, square = tf.zeros_like(latents), tf.zeros_like(latents)
        for step in tf.range(1.0, steps + 1.0):
            with tf.GradientTape() as tape:
                tape.watch(latents)
                cost = tf.reduce_sum(self._cost(latents, y, known, sigma))
            slope = tape.gradient(cost, latents)
            mean = 0.9 * mean + 0.1 * slope
            square = 0.99 * square + 0.01 * tf.square(slope)
            rate = tf.cos(0.5 * np.pi * (step - 1.0) / steps) ** 2
            rate *= self.learning_rate / (1.0 - 0.9**step)
            latents -= rate * mean / (tf.sqrt(square / (1.0 - 0.99**step)) + 1e-8)
        return latents
