"""Few-shot generation by a VAE that gradient steps adapt (document D 3.1.2, D 3.1.3).

The networks are those of `networks.meta`, the learners those of `meta_learning`.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from gan_transfer import inner_loop, variational
from gan_transfer.networks import meta

_PIXELS = variational.Bernoulli()


@dataclasses.dataclass(frozen=True)
class MinusBound:
    """The objective -L of a task's images, nats per image (documents D 3.1.3, C 3.3.2).

    Attributes:
        latent_dim: length of the noise vectors.
        weighted: K: importance-weighted bound log 1/K sum_k p(x, z_k) / q(z_k | x) of
            Burda et al. 2016; 1 is L with one draw and the closed-form KL divergence.
    """

    latent_dim: int
    weighted: int = 1

    def __call__(self, call, batch, key) -> tf.Tensor:
        """As of `inner_loop.Objective`, for batches `(images,)` or `(images, context)`.

        Every image is made binary at random, anew with each key.
        """
        images, *context = batch
        target = _PIXELS.target(images, key)
        # Rows of one image follow each other.
        target, *context = (
            tf.repeat(each, self.weighted, axis=0) for each in (target, *context)
        )
        shape = [tf.shape(target)[0], self.latent_dim]
        noise = tf.random.stateless_normal(shape, key + tf.constant([0, 1]))
        logits, mean, log_variance = call([2.0 * target - 1.0, noise, *context])
        log_p = _PIXELS.log_probability(target, logits)
        if self.weighted == 1:
            divergence = variational.kl_divergence(mean, log_variance)
            return tf.reduce_mean(divergence - log_p)
        latents = variational.reparametrised(mean, log_variance, noise)
        weights = log_p + variational.log_importance(latents, noise, log_variance)
        logs = tf.reduce_logsumexp(tf.reshape(weights, [-1, self.weighted]), axis=1)
        return tf.reduce_mean(math.log(self.weighted) - logs)


@dataclasses.dataclass(frozen=True)
class ContextBound:
    """The objective of a network with a context input (document D 3.1.2, zero-shot).

    The context of a task is the mean over some of its images of the posterior mean
    that the network itself gives them at context 0; without any image it is 0. In
    training the first c of a task's images are those, c uniform in 0 .. `most`, and the
    bound of the others is the loss: every image runs through the network once (where c
    is 0 the first one twice). After
    Edwards and Storkey, "Towards a Neural Statistician", ICLR 2017.

    Attributes:
        latent_dim: length of the noise vectors, and of the context.
        most: images that make a context, less than a task has.
    """

    latent_dim: int
    most: int

    def __call__(self, call, batch, key) -> tf.Tensor:
        """As of `inner_loop.Objective`, for batches `(images,)`."""
        (images,) = batch
        chosen = key + tf.constant([0, 3])
        count = tf.random.stateless_uniform([], chosen, 0, self.most + 1, tf.int32)
        # One image at least: TensorFlow cannot add biases to none.
        shown = images[: tf.maximum(count, 1)]
        vector = self.context(call, shown, key + tf.constant([0, 2]))
        vector *= tf.cast(count > 0, vector.dtype)
        rest = images[count:]
        vectors = tf.repeat(vector[None], tf.shape(rest)[0], axis=0)
        return MinusBound(self.latent_dim)(call, (rest, vectors), key)

    def context(self, call, images, key) -> tf.Tensor:
        """The context `[latent_dim]` of some images `[N, ...]`, N >= 1."""
        nothing = tf.zeros([tf.shape(images)[0], self.latent_dim])
        target = 2.0 * _PIXELS.target(images, key) - 1.0
        _, mean, _ = call([target, nothing, nothing])
        return tf.reduce_mean(mean, axis=0)


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What a task's network is after some steps (document D 3.1.2).

    Attributes:
        bound: -L of the query images, nats per image.
        weighted: minus the importance-weighted bound of the same.
        values: the parameters.
    """

    bound: float
    weighted: float
    values: list


class Adapter:
    """Adapts one network to tasks from any start, traced once (document D 3.1.2).

    A start is a list of arrays, the network's trainable weights, so the starts of
    several methods share the compiled steps; neither another task nor another number
    of steps traces them anew, only another number of examples does.

    Args:
        network: of `networks.meta`, without context; its own weights stay.
        adapting: patterns of the layers that adapt.
        optimizer: that of `inner_loop.InnerLoop`.
        weighted: K of the importance-weighted bound.
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        adapting: Sequence[str] = (".*",),
        optimizer: str = "adam",
        weighted: int = 32,
    ):
        latent_dim = network.inputs[1].shape[-1]
        self.network = network
        self.bounds = MinusBound(latent_dim), MinusBound(latent_dim, weighted)
        self.inner = inner_loop.InnerLoop(
            network,
            self.bounds[0],
            dict.fromkeys(adapting, 1.0),
            optimizer=optimizer,
        )
        self.sampler = meta.sampler(network)
        paths = [variable.path for variable in network.trainable_variables]
        self._places = [paths.index(v.path) for v in self.sampler.trainable_variables]
        self._fit = tf.function(self.inner.run, autograph=False)
        self._score = tf.function(self._bounds, autograph=False)
        self._draw = tf.function(self._images, autograph=False)

    def outcomes(
        self,
        start: Sequence[np.ndarray],
        rates: Sequence[float],
        support: tuple,
        query: tuple,
        steps: Sequence[int],
        *,
        seed: int = 0,
    ) -> Iterator[Outcome]:
        """One task from one start: an outcome per number of steps (document D 3.1.2).

        Args:
            start: the trainable weights.
            rates: of the adapting parameters, in the order of `inner.adapting`.
            support: `(images,)` to adapt to, float32 `[shots, H, W, C]` in [-1, 1].
            query: `(images,)` to measure with.
            steps: rising numbers of updates.
            seed: fixes the draws; those of the query are the same for any start.
        """
        support, query = (
            tf.nest.map_structure(tf.convert_to_tensor, each)
            for each in (support, query)
        )
        values = [tf.convert_to_tensor(each) for each in start]
        moments, done = self.inner.moments(values), 0
        rates = [tf.constant(rate, tf.float32) for rate in rates]
        for count in steps:
            values, moments, _ = self._fit(
                values,
                moments,
                rates,
                support,
                tf.constant([seed, 0]),
                tf.constant(done),
                tf.constant(count),
            )
            done = count
            bounds = self._score(values, query, tf.constant([seed, 1]))
            yield Outcome(*(float(each) for each in bounds), values)

    def images(self, values: Sequence, noise: np.ndarray) -> np.ndarray:
        """Images `[N, H, W, C]` in [-1, 1] of noise `[N, latent_dim]` (D 3.1.3)."""
        return self._draw(list(values), tf.convert_to_tensor(noise)).numpy()

    def _bounds(self, values, query, key) -> list[tf.Tensor]:
        return [self.inner.loss(values, query, key, each) for each in self.bounds]

    def _images(self, values, noise) -> tf.Tensor:
        chosen = [values[place] for place in self._places]
        return self.sampler.stateless_call(chosen, [], noise, training=False)[0]
