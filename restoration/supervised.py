"""Restorer: the supervised training step (document A 4.2).

Clean patches are damaged afresh in every update and the network learns to undo it; or
given pairs of damaged and clean images are used as they are.
"""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from gan_transfer import errors, regularization, training

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Damage = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


def l1(restored: tf.Tensor, clean: tf.Tensor) -> tf.Tensor:
    """Mean absolute error, the loss document A 4.2 prints."""
    return tf.reduce_mean(tf.abs(restored - clean))


def l2(restored: tf.Tensor, clean: tf.Tensor) -> tf.Tensor:
    """Mean square error (document C 2.3): best PSNR at one noise level."""
    return tf.reduce_mean(tf.square(restored - clean))


def charbonnier(restored: tf.Tensor, clean: tf.Tensor) -> tf.Tensor:
    """Mean of sqrt(d^2 + eps^2), eps = 1e-3: a smooth L1 (document C 2.3)."""
    return tf.reduce_mean(tf.sqrt(tf.square(restored - clean) + 1e-6))


def huber(restored: tf.Tensor, clean: tf.Tensor) -> tf.Tensor:
    """Huber loss with its corner at 0.05 (document C 2.3).

    d^2 / 2 for |d| <= 0.05, 0.05 (|d| - 0.025) beyond.
    """
    size = tf.abs(restored - clean)
    inner = tf.minimum(size, 0.05)
    return tf.reduce_mean(inner * (size - 0.5 * inner))


def root_mean_square(restored: tf.Tensor, clean: tf.Tensor) -> tf.Tensor:
    """Mean over the images of sqrt(mean square error + eps^2), eps = 1e-3 (C 2.3).

    Within an image it is L2, hence made for PSNR; across images, heavy damage weighs
    as its error and not as the error's square. For mixtures of damages.
    """
    square = tf.reduce_mean(tf.square(restored - clean), axis=[1, 2, 3])
    return tf.reduce_mean(tf.sqrt(square + 1e-6))


LOSSES: dict[str, Loss] = {
    loss.__name__: loss for loss in (l1, l2, charbonnier, huber, root_mean_square)
}


class Restorer(training.Procedure):
    """Supervised restoration as one Keras model (document A 4.2).

    After `compile`, `fit` takes batches of clean images `[B, H, W, C]` in [0, 1], or,
    without a damage, of `(damaged, level, mask, clean)`.

    Attributes:
        network: the trained restorer, `[image, level, mask] -> image`.
        averaged_network: moving average of its weights, the result of a run.
    """

    # Of the two ends that see pictures: recipes that spare what lies near the image
    # keep the damaged one's.
    IMAGE_ENDS = {"network": "input"}

    def __init__(
        self,
        network: keras.Model,
        averaged_network: keras.Model | None = None,
        *,
        seed: int = 0,
    ):
        super().__init__(seed, name="restorer")
        self.network = network
        self.averaged_network = averaged_network or self.averaged_copy(network)
        self.averaged_network.trainable = False
        self.trackers = [keras.metrics.Mean(name="loss"), keras.metrics.Mean("psnr")]

    def networks(self) -> dict[str, keras.Model]:
        """`network` alone."""
        return {"network": self.network}

    @property
    def result(self) -> keras.Model:
        """The averaged network."""
        return self.averaged_network

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer,
        *,
        loss: Loss = charbonnier,
        damage: Damage | None = None,
        averaging: float = 0.999,
        anchors: dict[str, regularization.L2ToSource] | None = None,
    ) -> None:
        """Fix loss, damage, optimizer and trainable flags (document A 4.2).

        Args:
            optimizer: a fresh Keras optimizer.
            loss: of this module, or any function of (restored, clean).
            damage: (clean, key) -> (damaged, level, mask), see `mixture.Mixture`;
                None for data that comes in pairs.
            averaging: decay of the weight average, in [0, 1); 0 copies.
            anchors: L2 to the source of `network`, added to its loss.

        Raises:
            InputError: everything is frozen.
        """
        if not self.network.trainable_variables:
            raise errors.InputError(
                "every layer of the restorer is frozen; unfreeze some (transfer)"
            )
        self.network_optimizer = optimizer
        self.network_optimizer.build(self.network.trainable_variables)
        self.loss_function = loss
        self.damage = damage
        self.averaging = averaging
        self.anchors = anchors or {}
        self.fix_flags()

    def train_step(self, data) -> dict[str, tf.Tensor]:
        """One update of everything; Keras compiles it into a `tf.function`."""
        self.check_flags()
        self.key_dropout()
        if self.damage is None:
            *inputs, clean = data
        else:
            clean = data
            inputs = list(self.damage(clean, self.key(0)))
        logs, restored = self.update(inputs, clean)
        self.move_average(self.network, self.averaged_network, self.averaging)
        self.updates.assign_add(1)
        square = tf.reduce_mean(tf.square(restored - clean), axis=[1, 2, 3])
        psnr = -10.0 * tf.math.log(tf.maximum(square, 1e-10)) / tf.math.log(10.0)
        return self.logs(psnr=tf.reduce_mean(psnr), **logs)

    def update(self, inputs, clean) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """The gradient steps of one update: values for the log, restored images."""
        loss, restored = self.update_network(inputs, clean)
        return {"loss": loss}, restored

    def update_network(self, inputs, clean) -> tuple[tf.Tensor, tf.Tensor]:
        """One gradient step of the network; returns its loss and the images."""
        with tf.GradientTape() as tape:
            restored = self.network(inputs, training=True)
            loss = self.objective(restored, clean)
            if "network" in self.anchors:
                loss += self.anchors["network"](self.network.trainable_variables)
            total = self.scaled(loss, self.network_optimizer)
        variables = self.network.trainable_variables
        self.step(self.network_optimizer, tape.gradient(total, variables), variables)
        return loss, restored

    def objective(self, restored, clean) -> tf.Tensor:
        """What the network minimises: the reconstruction loss."""
        return self.loss_function(restored, clean)


@keras.saving.register_keras_serializable(package="restoration")
class Cosine(keras.optimizers.schedules.LearningRateSchedule):
    """Warm-up, then half a cosine down to 1/1000 of the peak (document E 2(4)).

    rate(t) = peak min(1, (t + 1) / warm_up) (0.001 + 0.999 (1 + cos(pi t / T)) / 2),
    with t counted from `first`: a later phase goes on where the one before ended.

    Args:
        peak: highest rate.
        steps: T, updates of the whole run.
        first: update at which the optimizer starts.
        warm_up: updates, at least 1.
    """

    def __init__(self, peak: float, steps: int, first: int = 0, warm_up: int = 200):
        self.peak, self.steps = peak, steps
        self.first, self.warm_up = first, warm_up

    def __call__(self, step):
        """Rate at an update of the optimizer."""
        t = tf.cast(step, tf.float32) + self.first
        share = tf.minimum(t / self.steps, 1.0)
        falling = 0.001 + 0.999 * 0.5 * (1.0 + tf.cos(math.pi * share))
        return self.peak * tf.minimum((t + 1.0) / self.warm_up, 1.0) * falling

    def get_config(self) -> dict:
        """Keras configuration."""
        return {
            "peak": self.peak,
            "steps": self.steps,
            "first": self.first,
            "warm_up": self.warm_up,
        }
