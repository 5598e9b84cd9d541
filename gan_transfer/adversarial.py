"""GAN: the training step of all adversarial families (documents A 3.2, B 3.1.3, C 3.2).

One step: n discriminator updates, each on fresh real images and fresh latents, then one
generator update, then the moving average of the generator's weights.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from gan_transfer import augmentation as augmentations
from gan_transfer import errors, losses, regularization, sampling, training

# Numbers of the random draws of one update (`training.Procedure.key`): discriminator
# update k draws from D_DRAWS (1 + k) on, so there is room for 7 of them.
G_DRAWS, D_DRAWS = 0, 8


class GAN(sampling.Generative):
    """Generative adversarial network as one Keras model (documents A 3.2, B 3.1).

    Generator and discriminator are Functional models as `networks` makes them; latent
    size, image shape and classes are read off them. After `compile`, `fit` takes
    batches of float32 images `[n B, H, W, C]` in [-1, 1] (or `(images, labels)` for
    conditional networks), n = `discriminator_steps`.

    Attributes:
        generator, discriminator: the trained networks.
        averaged_generator: moving average of the generator's weights; what `generate`
            uses. The constructor takes that of a stored GAN; None begins with a copy of
            the generator.
        augment_probability: float32 scalar weight, see `augmentation.Augmentation`.
        seed: fixes latents, augmentation and dropout together with `updates`.

    Raises:
        InputError: one of the networks takes class labels and the other does not.
    """

    IMAGE_ENDS = {"generator": "output", "discriminator": "input"}

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        averaged_generator: keras.Model | None = None,
        *,
        seed: int = 0,
    ):
        super().__init__(seed, name="gan")
        self.generator = generator
        self.discriminator = discriminator
        self.averaged_generator = averaged_generator or self.averaged_copy(generator)
        self.averaged_generator.trainable = False
        self.augment_probability = self.add_weight(
            name="augment_probability", shape=(), initializer="zeros", trainable=False
        )
        if len(generator.inputs) != len(discriminator.inputs):
            raise errors.InputError(
                "one of generator and discriminator takes class labels and the other "
                "does not; build both with the same number of classes"
            )
        self.fix_format()
        self.trackers = [
            keras.metrics.Mean(name=name)
            for name in ("d_loss", "g_loss", "d_real", "d_fake")
        ]

    def networks(self) -> dict[str, keras.Model]:
        """`generator` and `discriminator`."""
        return {"generator": self.generator, "discriminator": self.discriminator}

    def stored_networks(self) -> dict[str, keras.Model]:
        """`generator`, `discriminator` and `averaged_generator`."""
        return {**self.networks(), "averaged_generator": self.averaged_generator}

    @property
    def sampler(self) -> keras.Model:
        """The averaged generator."""
        return self.averaged_generator

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        *,
        loss: losses.AdversarialLoss = losses.non_saturating,
        discriminator_steps: int = 1,
        penalties: tuple = (),
        penalize_every: int = 1,
        clip: float | None = None,
        anchors: dict[str, regularization.L2ToSource] | None = None,
        generator_terms: tuple[Callable, ...] = (),
        augmentation: augmentations.Augmentation | None = None,
        averaging: float = 0.995,
    ) -> None:
        """Fix losses, regularisers, optimizers and trainable flags (document A 3.1).

        Args:
            generator_optimizer: a fresh Keras optimizer.
            discriminator_optimizer: another one.
            loss: the adversarial family.
            discriminator_steps: discriminator updates per generator update, 1 to 7.
            penalties: of `regularization`, added to the discriminator's loss.
            penalize_every: lazy: on every k-th update, times k (Karras et al. 2020).
            clip: limit for the discriminator's trainable weights, or None.
            anchors: L2 to the source by network name (`generator`, `discriminator`).
            generator_terms: added to the generator's loss; each is called with fresh
                inputs of the generator and returns a scalar (`correspondence`).
            augmentation: of every image the discriminator sees, or None.
            averaging: decay of the generator's weight average, in [0, 1); 0 copies. It
                starts lower, min(averaging, (1 + t) / (10 + t)).

        Raises:
            InputError: too many discriminator steps, or an adaptive augmentation with a
                loss that has no threshold to see overfitting by.
        """
        if not 1 <= discriminator_steps < training.DRAWS // D_DRAWS:
            raise errors.InputError(
                f"discriminator_steps is {discriminator_steps}; choose 1 to 7"
            )
        adaptive = augmentation is not None and augmentation.target is not None
        if adaptive and loss.threshold is None:
            raise errors.InputError(
                f"scores of the {loss.name} loss have no threshold, which the adaptive "
                "augmentation needs; use another one (--augment=diffaugment)"
            )
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        self.loss_family = loss
        self.discriminator_steps = discriminator_steps
        self.penalties = tuple(penalties)
        self.penalize_every = penalize_every
        self.clip = clip
        self.anchors = anchors or {}
        self.generator_terms = tuple(generator_terms)
        self.augmentation = augmentation
        # A later phase goes on with the adapted probability.
        if augmentation and (augmentation.target is None or not self.updates.numpy()):
            self.augment_probability.assign(augmentation.probability)
        self.averaging = averaging
        self.fix_flags()

    def train_step(self, data) -> dict[str, tf.Tensor]:
        """One update of everything; Keras compiles it into a `tf.function`."""
        self.check_flags()
        self.key_dropout()
        images, labels = data if self.classes else (data, None)
        parts = self.discriminator_steps
        real_parts = tf.split(images, parts)
        label_parts = [None] * parts if labels is None else tf.split(labels, parts)
        for number, (real, real_labels) in enumerate(
            zip(real_parts, label_parts, strict=True)
        ):
            d_logs = self.update_discriminator(real, real_labels, number)
        g_loss = self.update_generator(real, real_labels)
        self.move_average(self.generator, self.averaged_generator, self.averaging)
        self.updates.assign_add(1)
        return self.logs(g_loss=g_loss, **d_logs)

    def score(self, images, labels, key) -> tf.Tensor:
        """D(T(x)) in training mode: float32 scores `[B, 1]` of augmented images."""
        if self.augmentation is not None:
            images = self.augmentation(images, key, self.augment_probability)
        inputs = images if labels is None else [images, labels]
        return self.discriminator(inputs, training=True)

    def fakes(self, count, labels, draw: int) -> tf.Tensor:
        """G(z) in training mode, float32 `[count, H, W, C]` in [-1, 1]."""
        return self.generator(self._inputs(count, labels, draw), training=True)

    def _inputs(self, count, labels, draw: int) -> tf.Tensor | list[tf.Tensor]:
        latents = self.normal(count, self.latent_dim, draw)
        return latents if labels is None else [latents, labels]

    def update_discriminator(self, real, labels, number: int) -> dict[str, tf.Tensor]:
        """One gradient step of D on real and generated images (document B 3.1.3)."""
        draw = D_DRAWS * (1 + number)
        regularization.update_spectral_norms(self.discriminator)
        fake = self.fakes(tf.shape(real)[0], labels, draw)

        def gradients(with_penalties: bool):
            with tf.GradientTape() as tape:
                real_scores = self.score(real, labels, self.key(draw + 1))
                fake_scores = self.score(fake, labels, self.key(draw + 2))
                loss = total = self.loss_family.discriminator(real_scores, fake_scores)
                if with_penalties:
                    total += self.penalty(real, fake, labels, draw)
                total = self._step_loss(total, "discriminator")
            found = tape.gradient(total, self.discriminator.trainable_variables)
            return loss, real_scores, fake_scores, found

        if self.penalties and self.penalize_every > 1:
            due = tf.equal(self.updates % self.penalize_every, 0)
            results = tf.cond(due, lambda: gradients(True), lambda: gradients(False))
        else:
            results = gradients(bool(self.penalties))
        loss, real_scores, fake_scores, found = results
        variables = self.discriminator.trainable_variables
        self.step(self.discriminator_optimizer, found, variables)
        if self.clip is not None:
            regularization.clip_weights(variables, self.clip)
        self._adapt_augmentation(real_scores)
        return {
            "d_loss": loss,
            "d_real": tf.reduce_mean(real_scores),
            "d_fake": tf.reduce_mean(fake_scores),
        }

    def penalty(self, real, fake, labels, draw: int) -> tf.Tensor:
        """Sum of the penalties on D at augmented images, times `penalize_every`."""

        def score(images):
            return self.score(images, labels, self.key(draw + 1))

        key = self.key(draw + 3)
        terms = [each(score, real, fake, key) for each in self.penalties]
        return self.penalize_every * tf.add_n(terms)

    def update_generator(self, real, labels) -> tf.Tensor:
        """One gradient step of G against the updated D (document B 3.1.3)."""
        with tf.GradientTape() as tape:
            fake = self.fakes(tf.shape(real)[0], labels, G_DRAWS)
            fake_scores = self.score(fake, labels, self.key(G_DRAWS + 1))
            real_scores = None
            if self.loss_family.needs_real:
                real_scores = self.score(real, labels, self.key(G_DRAWS + 2))
            loss = total = self.loss_family.generator(real_scores, fake_scores)
            if self.generator_terms:
                inputs = self._inputs(tf.shape(real)[0], labels, G_DRAWS + 3)
                total += tf.add_n([term(inputs) for term in self.generator_terms])
            total = self._step_loss(total, "generator")
        variables = self.generator.trainable_variables
        found = tape.gradient(total, variables)
        self.step(self.generator_optimizer, found, variables)
        return loss

    def _step_loss(self, loss: tf.Tensor, network: str) -> tf.Tensor:
        if network in self.anchors:
            variables = self.networks()[network].trainable_variables
            loss += self.anchors[network](variables)
        return self.scaled(loss, getattr(self, f"{network}_optimizer"))

    def _adapt_augmentation(self, real_scores: tf.Tensor) -> None:
        if self.augmentation is None or self.augmentation.target is None:
            return
        context = tf.distribute.get_replica_context()
        shown = tf.shape(real_scores)[0] * context.num_replicas_in_sync
        if context.num_replicas_in_sync > 1:  # one probability for all
            real_scores = context.all_gather(real_scores, axis=0)
        self.augment_probability.assign(
            self.augmentation.adapted(
                self.augment_probability,
                real_scores,
                shown,
                self.loss_family.threshold,
            )
        )

    @property
    def result(self) -> keras.Model:
        """The averaged generator: what is kept of a run."""
        return self.averaged_generator
