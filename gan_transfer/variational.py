"""VAE: the training step on the evidence lower bound (documents A 2.1, C 3.3.2).

    L(x) = E_q(z|x) [log p(x | z)] - KL(q(z | x) || p(z)),   p(z) = N(0, 1)

with q(z | x) = N(mean, exp(log variance)), in nats per image. Sources: Kingma and
Welling, "Auto-Encoding Variational Bayes", ICLR 2014; the importance-weighted bound:
Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016.
"""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from gan_transfer import errors, sampling
from gan_transfer.networks import autoencoder

_TARGET, _LATENT = 0, 1  # draws of one update


@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """Pixels are 0 or 1, drawn with the grey value as probability (document C 3.3.2).

    log p(x | z) = sum over pixels of x l - softplus(l), l the decoder's logits. A new
    binary image is drawn at each visit (dynamic binarisation): thresholding at one
    half instead makes the task easier by about 13 nats on MNIST, and grey values in
    place of x give no likelihood.
    """

    def target(self, images: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        """Binary x, float32 `[B, H, W, C]`, of images in [-1, 1]."""
        draws = tf.random.stateless_uniform(tf.shape(images), key)
        return tf.cast(draws < (images + 1.0) / 2.0, tf.float32)

    def log_probability(self, target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """`[B]`: log p(x | z)."""
        values = target * logits - tf.math.softplus(logits)
        return tf.reduce_sum(values, axis=[1, 2, 3])


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Pixels are N(decoded, sigma^2) on the scale of [-1, 1] (document C 3.3.2).

    log p(x | z) = -sum over pixels of (x - y)^2 / (2 sigma^2) + log(sigma sqrt(2 pi)).
    A density: its value depends on that scale and on `sigma`.
    """

    sigma: float = 0.2

    def target(self, images: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        """The images themselves."""
        return images

    def log_probability(self, target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """`[B]`: log p(x | z); the decoded image is tanh(logits / 2)."""
        error = (target - tf.tanh(logits / 2.0)) / self.sigma
        constant = math.log(self.sigma * math.sqrt(2.0 * math.pi))
        return -tf.reduce_sum(0.5 * tf.square(error) + constant, axis=[1, 2, 3])


LIKELIHOODS = {"bernoulli": Bernoulli(), "gaussian": Gaussian()}


def kl_divergence(mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """KL(N(mean, exp(log variance)) || N(0, 1)) in closed form, `[B]` (C 3.3.2).

    1/2 sum over latents of mean^2 + exp(log variance) - log variance - 1.
    """
    terms = tf.square(mean) + tf.exp(log_variance) - log_variance - 1.0
    return 0.5 * tf.reduce_sum(terms, axis=-1)


def reparametrised(
    mean: tf.Tensor, log_variance: tf.Tensor, noise: tf.Tensor
) -> tf.Tensor:
    """Latents z = mean + exp(log variance / 2) noise, `[B, latent_dim]` (C 3.3.2)."""
    return mean + tf.exp(0.5 * log_variance) * noise


def log_importance(
    latents: tf.Tensor, noise: tf.Tensor, log_variance: tf.Tensor
) -> tf.Tensor:
    """Return log p(z) - log q(z | x) at z = `reparametrised(...)`, `[B]` (C 3.3.2).

    1/2 sum over latents of noise^2 - z^2 + log variance; with log p(x | z) added it is
    the log weight of Burda et al. 2016, equation 8.
    """
    # The constants of both densities cancel.
    terms = tf.square(noise) - tf.square(latents) + log_variance
    return 0.5 * tf.reduce_sum(terms, axis=-1)


class VAE(sampling.Generative):
    """Variational autoencoder as one Keras model (documents A 2.1, C 3.3.2).

    After `compile`, `fit` takes batches of float32 images `[B, H, W, C]` in [-1, 1].
    Logged are the minus bound `loss` and its parts, in nats per image.

    Attributes:
        encoder: images -> `[B, 2 latent_dim]`, means and log variances.
        decoder: latents -> images in [-1, 1], any generator without classes.
        likelihood: of an image given its latents.
    """

    IMAGE_ENDS = {"encoder": "input", "decoder": "output"}

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        likelihood: Bernoulli | Gaussian = LIKELIHOODS["bernoulli"],
        seed: int = 0,
    ):
        super().__init__(seed, name="vae")
        latent_dim = decoder.inputs[0].shape[-1]
        if len(decoder.inputs) > 1 or encoder.outputs[0].shape[-1] != 2 * latent_dim:
            raise errors.InputError(
                f"the encoder has {encoder.outputs[0].shape[-1]} outputs; a decoder "
                f"without classes and with {latent_dim} latents needs {2 * latent_dim}"
            )
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.logits = autoencoder.logits(decoder)
        moments = encoder.outputs[0]
        self.autoencoder = keras.Model(
            encoder.input, decoder(moments[:, :latent_dim]), name="autoencoder"
        )
        self.fix_format()
        self.trackers = [
            keras.metrics.Mean(name=name)
            for name in ("loss", "reconstruction_loss", "kl_loss")
        ]

    def networks(self) -> dict[str, keras.Model]:
        """`encoder` and `decoder`."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    def stored_networks(self) -> dict[str, keras.Model]:
        """`encoder` and `decoder`."""
        return self.networks()

    @property
    def sampler(self) -> keras.Model:
        """The decoder."""
        return self.decoder

    @property
    def result(self) -> keras.Model:
        """Encoder and decoder as one model, images -> reconstructions."""
        return self.autoencoder

    def compile(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Fix the optimizer and the trainable flags (document A 3.1).

        Raises:
            InputError: everything is frozen.
        """
        if not self._trained():
            raise errors.InputError(
                "every layer of the VAE is frozen; unfreeze some (transfer)"
            )
        self.vae_optimizer = optimizer
        self.vae_optimizer.build(self._trained())
        self.fix_flags()

    def _trained(self) -> list[keras.Variable]:
        return self.encoder.trainable_variables + self.decoder.trainable_variables

    def train_step(self, images) -> dict[str, tf.Tensor]:
        """One update of everything; Keras compiles it into a `tf.function`."""
        self.check_flags()
        self.key_dropout()
        logs = self.update(images)
        self.updates.assign_add(1)
        return self.logs(**logs)

    def update(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """One gradient step on -L, one latent per image by reparametrisation."""
        target = self.likelihood.target(images, self.key(_TARGET))
        noise = self.normal(tf.shape(images)[0], self.latent_dim, _LATENT)
        with tf.GradientTape() as tape:
            log_likelihood, divergence = self.bound_parts(target, noise, training=True)
            reconstruction = -tf.reduce_mean(log_likelihood)
            kl = tf.reduce_mean(divergence)
            total = self.scaled(reconstruction + kl, self.vae_optimizer)
        variables = self._trained()
        self.step(self.vae_optimizer, tape.gradient(total, variables), variables)
        return {
            "loss": reconstruction + kl,
            "reconstruction_loss": reconstruction,
            "kl_loss": kl,
        }

    def bound_parts(
        self, target: tf.Tensor, noise: tf.Tensor, *, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Terms log p(x | z) and KL(q || p) at z = mean + sd noise, `[B]` (C 3.3.2).

        Args:
            target: x as the likelihood takes it, for a Bernoulli one 0 or 1.
            noise: `[B, latent_dim]` ~ N(0, 1).
            training: mode of the networks.
        """
        mean, log_variance = self.posterior(target, training)
        latents = reparametrised(mean, log_variance, noise)
        logits = self.logits(latents, training=training)
        log_likelihood = self.likelihood.log_probability(target, logits)
        return log_likelihood, kl_divergence(mean, log_variance)

    def posterior(
        self, target: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and log variance of q(z | x), both `[B, latent_dim]` (C 3.3.2).

        The encoder sees x in [-1, 1]: binary images as -1 and 1.
        """
        if isinstance(self.likelihood, Bernoulli):
            target = 2.0 * target - 1.0
        return tf.split(self.encoder(target, training=training), 2, axis=-1)

    def encode(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior means and log variances `[N, latent_dim]` of images (C 3.1.2).

        Grey images `[N, H, W, C]` in [-1, 1] are encoded as they are.
        """
        moments = self.encoder(tf.constant(images), training=False).numpy()
        return tuple(np.split(moments, 2, axis=-1))

    def reconstruct(self, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
        """Decoded posterior means of images `[N, H, W, C]` in [-1, 1] (C 3.1.2).

        Same shape and range as `images`.
        """
        parts = [
            self._reconstruct(tf.constant(images[start : start + batch_size])).numpy()
            for start in range(0, len(images), batch_size)
        ]
        return np.concatenate(parts)

    @tf.function(reduce_retracing=True, autograph=False)
    def _reconstruct(self, images: tf.Tensor) -> tf.Tensor:
        return self.autoencoder(images, training=False)

    def bound(self, images: np.ndarray, seed: int = 0, batch_size: int = 500) -> float:
        """The bound L in nats per image, mean over `images` (document C 3.3.2).

        One latent and, for a Bernoulli likelihood, one binary image each, fixed by
        `seed`: the same for every model.

        Args:
            images: float32 `[N, H, W, C]` in [-1, 1].
            seed: of the draws.
            batch_size: images per call.
        """
        total = 0.0
        for start in range(0, len(images), batch_size):
            part = tf.constant(images[start : start + batch_size])
            total += float(self._bound(part, tf.constant([seed, start])))
        return total / len(images)

    @tf.function(reduce_retracing=True, autograph=False)
    def _bound(self, images: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        target = self.likelihood.target(images, key)
        shape = [tf.shape(images)[0], self.latent_dim]
        noise = tf.random.stateless_normal(shape, key + [0, 1])
        log_likelihood, divergence = self.bound_parts(target, noise, training=False)
        return tf.reduce_sum(log_likelihood - divergence)

    def log_likelihood(
        self, images: np.ndarray, samples: int = 5000, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Importance-weighted estimate of log p(x), and L, per image (C 3.3.2).

        log 1/K sum_k w_k, w_k = p(x | z_k) p(z_k) / q(z_k | x) with z_k ~ q(z | x): a
        lower bound in expectation, tighter with every sample (Burda et al. 2016,
        equation 8). L is the mean of the log w_k; the gap between the two varies from
        image to image far less than either.

        Args:
            images: float32 `[N, H, W, C]` in [-1, 1].
            samples: K.
            seed: fixes the binary images and the latents.

        Returns:
            The estimates and the bounds, float64 `[N]` each.
        """
        block = min(samples, 500)
        estimates, bounds = [], []
        for number, image in enumerate(images):
            image = tf.constant(image[None])
            logs = [
                self._log_weights(image, tf.constant([seed, number, first]), block)
                for first in range(0, samples, block)
            ]
            values = np.concatenate(logs).astype(np.float64)[:samples]
            estimates.append(np.logaddexp.reduce(values) - math.log(samples))
            bounds.append(values.mean())
        return np.array(estimates), np.array(bounds)

    @tf.function(reduce_retracing=True, autograph=False)
    def _log_weights(self, image, key, count: int) -> tf.Tensor:
        target = self.likelihood.target(image, key[:2])
        key = tf.stack([key[0], (key[1] + 1) * 100_003 + key[2] + 1])
        noise = tf.random.stateless_normal([count, self.latent_dim], key)
        mean, log_variance = self.posterior(target)
        latents = reparametrised(mean, log_variance, noise)
        log_p = self.likelihood.log_probability(
            target, self.logits(latents, training=False)
        )
        return log_p + log_importance(latents, noise, log_variance)
