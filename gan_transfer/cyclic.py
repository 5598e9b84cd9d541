"""CycleGAN: translation between two domains without pairs (documents A 2.1, C 3.1.3).

Source: Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using
Cycle-Consistent Adversarial Networks", ICCV 2017.
"""

import keras
import numpy as np
import tensorflow as tf

from gan_transfer import (
    errors,
    losses,
    picture_pool,
    regularization,
    training,
)
from gan_transfer.networks import translation

POOL = 50
DIRECTIONS = ("forward", "backward")
NETWORKS = (
    "forward_generator",
    "backward_generator",
    "discriminator_a",
    "discriminator_b",
    "averaged_forward",
    "averaged_backward",
)
# Numbers of the random draws of one update: pool a from 0 on, pool b from 2 on.
_POOL_DRAWS = {"a": 0, "b": 2}


class CycleGAN(training.Procedure):
    """Two translators that undo each other, as one Keras model (document C 3.1.3).

    G: A -> B and F: B -> A fool the discriminators of B and A, and bring every image
    back: min_{G,F} L_adv(D_B(G(a))) + L_adv(D_A(F(b))) + w (|F(G(a)) - a| + |G(F(b)) -
    b|) + w_i (|G(b) - b| + |F(a) - a|), with means over pixels. L_adv of least squares
    is halved, here for G and F too: w counts twice what it does in the source. After
    `compile`, `fit` takes batches `(a, b)` of float32 images `[B, H, W, C]` in [-1, 1].

    Args:
        image_shape: `(H, W, C)` of the images trained on, which the pools hold.

    Attributes:
        forward_generator, backward_generator: G and F, see
            `networks.translation.translator`.
        discriminator_a, discriminator_b: scores of images, or of their patches.
        averaged_forward, averaged_backward: moving averages of the weights of G and F;
            what `translate` uses.
        pool_a, pool_b: float32 weights `[50, H, W, C]`, translated images kept for the
            discriminators.
        pooled: int64 scalar weight, how many of them are there.
    """

    def __init__(
        self,
        forward_generator: keras.Model,
        backward_generator: keras.Model,
        discriminator_a: keras.Model,
        discriminator_b: keras.Model,
        averaged_forward: keras.Model | None = None,
        averaged_backward: keras.Model | None = None,
        *,
        image_shape: tuple[int, int, int],
        seed: int = 0,
    ):
        super().__init__(seed, name="cyclegan")
        self.image_shape = _checked(image_shape, forward_generator, backward_generator)
        self.forward_generator = forward_generator
        self.backward_generator = backward_generator
        self.discriminator_a = discriminator_a
        self.discriminator_b = discriminator_b
        self.averaged_forward = averaged_forward or self.averaged_copy(
            forward_generator
        )
        self.averaged_backward = averaged_backward or self.averaged_copy(
            backward_generator
        )
        self.averaged_forward.trainable = False
        self.averaged_backward.trainable = False
        self.pool_a, self.pool_b = (
            self.add_weight(
                name=f"pool_{domain}",
                shape=(POOL, *self.image_shape),
                dtype="float32",
                initializer="zeros",
                trainable=False,
            )
            for domain in "ab"
        )
        self.pooled = self.add_weight(
            name="pooled", shape=(), dtype="int64", initializer="zeros", trainable=False
        )
        self.trackers = [
            keras.metrics.Mean(name=name)
            for name in ("d_loss", "g_loss", "cycle", "identity")
        ]

    def networks(self) -> dict[str, keras.Model]:
        """Both generators and both discriminators."""
        return {name: getattr(self, name) for name in NETWORKS[:4]}

    @property
    def result(self) -> keras.Model:
        """`averaged_forward`: the way from domain A to domain B."""
        return self.averaged_forward

    def forget(self) -> None:
        """Empties the pools: their images belong to the domains trained on so far."""
        self.pooled.assign(0)

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        *,
        loss: losses.AdversarialLoss = losses.least_squares,
        cycle_weight: float = 10.0,
        identity_weight: float = 0.0,
        averaging: float = 0.995,
    ) -> None:
        """Fix losses, optimizers and trainable flags (document C 3.1.3).

        One device only: every device would fill a pool of its own, and one be stored.

        Args:
            generator_optimizer: of G and F, fresh.
            discriminator_optimizer: of both discriminators, another one.
            loss: the adversarial family.
            cycle_weight: w, 0 or more.
            identity_weight: w_i, 0 or more: keeps what belongs to both domains, such as
                colours. At 0 its forward passes are left out.
            averaging: as for `adversarial.GAN.compile`.

        Raises:
            InputError: a negative weight, or several devices.
        """
        if min(cycle_weight, identity_weight) < 0:
            raise errors.InputError(
                f"cycle_weight {cycle_weight} and identity_weight {identity_weight} "
                "must be 0 or more"
            )
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise errors.InputError(
                "a CycleGAN trains on one device; give it no strategy"
            )
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_optimizer.build(self._generator_variables())
        self.discriminator_optimizer.build(self._discriminator_variables())
        self.loss_family = loss
        self.cycle_weight = cycle_weight
        self.identity_weight = identity_weight
        self.averaging = averaging
        self.fix_flags()

    def _generator_variables(self) -> list:
        return (
            self.forward_generator.trainable_variables
            + self.backward_generator.trainable_variables
        )

    def _discriminator_variables(self) -> list:
        return (
            self.discriminator_a.trainable_variables
            + self.discriminator_b.trainable_variables
        )

    def train_step(self, data) -> dict[str, tf.Tensor]:
        """One update of both generators, then one of both discriminators."""
        self.check_flags()
        self.key_dropout()
        a, b = data
        g_logs, fake_a, fake_b = self.update_generators(a, b)
        shown_a, shown_b = self.exchange(fake_a, "a"), self.exchange(fake_b, "b")
        count = tf.cast(tf.shape(fake_a)[0], tf.int64)
        self.pooled.assign(tf.minimum(self.pooled + count, POOL))
        d_loss = self.update_discriminators(a, b, shown_a, shown_b)
        self.move_average(self.forward_generator, self.averaged_forward, self.averaging)
        self.move_average(
            self.backward_generator, self.averaged_backward, self.averaging
        )
        self.updates.assign_add(1)
        return self.logs(d_loss=d_loss, **g_logs)

    def update_generators(self, a, b) -> tuple[dict[str, tf.Tensor], tf.Tensor, ...]:
        """One gradient step of G and F against the discriminators (document C 3.1.3).

        Returns:
            The losses, F(b) and G(a).
        """
        forward, backward = self.forward_generator, self.backward_generator
        with tf.GradientTape() as tape:
            fake_b, fake_a = forward(a, training=True), backward(b, training=True)
            g_loss = self._fooling(self.discriminator_b, b, fake_b)
            g_loss += self._fooling(self.discriminator_a, a, fake_a)
            cycle = _l1(backward(fake_b, training=True), a)
            cycle += _l1(forward(fake_a, training=True), b)
            identity = tf.zeros(())
            if self.identity_weight:
                identity = _l1(forward(b, training=True), b)
                identity += _l1(backward(a, training=True), a)
            total = g_loss + self.cycle_weight * cycle + self.identity_weight * identity
            total = self.scaled(total, self.generator_optimizer)
        variables = self._generator_variables()
        found = tape.gradient(total, variables)
        self.step(self.generator_optimizer, found, variables)
        return {"g_loss": g_loss, "cycle": cycle, "identity": identity}, fake_a, fake_b

    def _fooling(self, discriminator, real, fake) -> tf.Tensor:
        scores = None
        if self.loss_family.needs_real:
            scores = discriminator(real, training=True)
        return self.loss_family.generator(scores, discriminator(fake, training=True))

    def update_discriminators(self, a, b, fake_a, fake_b) -> tf.Tensor:
        """One gradient step of both D on real and kept images (document C 3.1.3)."""
        pairs = ((self.discriminator_a, a, fake_a), (self.discriminator_b, b, fake_b))
        for discriminator, _, _ in pairs:
            regularization.update_spectral_norms(discriminator)
        with tf.GradientTape() as tape:
            loss = tf.add_n(
                [
                    self.loss_family.discriminator(
                        discriminator(real, training=True),
                        discriminator(fake, training=True),
                    )
                    for discriminator, real, fake in pairs
                ]
            )
            total = self.scaled(loss, self.discriminator_optimizer)
        variables = self._discriminator_variables()
        found = tape.gradient(total, variables)
        self.step(self.discriminator_optimizer, found, variables)
        return loss

    def exchange(self, images: tf.Tensor, domain: str) -> tf.Tensor:
        """What the discriminator of a domain sees: `picture_pool.exchange`."""
        pool, draw = getattr(self, f"pool_{domain}"), _POOL_DRAWS[domain]
        shown, kept = picture_pool.exchange(
            images,
            tf.convert_to_tensor(pool),
            tf.cast(self.pooled, tf.int32),
            (self.key(draw), self.key(draw + 1)),
        )
        pool.assign(kept)
        return shown

    def translate(
        self,
        images: np.ndarray,
        direction: str = "forward",
        *,
        batch_size: int = 64,
    ) -> np.ndarray:
        """Translate images by the averaged weights (documents C 3.1.3, E 6).

        Args:
            images: float32 `[N, H, W, C]` in [-1, 1], of any size; sides that are no
                multiples of 4 are mirrored beyond the border meanwhile.
            direction: `forward` (A -> B) or `backward`.
            batch_size: images per call of the network.

        Returns:
            float32, same shape and range.

        Raises:
            InputError: another direction, or images with other channels.
        """
        if direction not in DIRECTIONS:
            raise errors.InputError(
                f"direction {direction!r} is not one of {', '.join(DIRECTIONS)}"
            )
        if images.ndim != 4 or images.shape[3] != self.image_shape[2]:
            raise errors.InputError(
                f"images are {list(images.shape)}, but the translator takes [N, H, W, "
                f"{self.image_shape[2]}]; convert them"
            )
        height, width = images.shape[1:3]
        beyond = ((0, -side % translation.STRIDE) for side in (height, width))
        padded = np.pad(images, ((0, 0), *beyond, (0, 0)), "symmetric")
        network = getattr(self, f"averaged_{direction}")
        parts = [
            network(tf.constant(padded[s : s + batch_size]), training=False).numpy()
            for s in range(0, len(images), batch_size)
        ]
        return np.concatenate([padded[:0], *parts])[:, :height, :width]

    def cycle_error(self, images: np.ndarray, direction: str = "forward") -> float:
        """Mean |F(G(a)) - a| in [0, 2] of images there and back (document C 3.1.3).

        Args:
            images: of the domain where `direction` starts, as for `translate`.
            direction: the first of the two ways.
        """
        there = self.translate(images, direction)
        back = DIRECTIONS[1 - DIRECTIONS.index(direction)]
        return float(np.abs(self.translate(there, back) - images).mean(dtype="float64"))


def _l1(found: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.abs(tf.cast(found, tf.float32) - wanted))


def _checked(shape, *generators: keras.Model) -> tuple[int, int, int]:
    height, width, channels = shape
    translation.check_sides(height, width)
    for generator in generators:
        for tensor in (generator.inputs[0], generator.outputs[0]):
            if tensor.shape[-1] != channels:
                raise errors.InputError(
                    f"{generator.name} takes or returns images with {tensor.shape[-1]} "
                    f"channels, and {channels} are needed; build both for {channels}"
                )
    return height, width, channels
