"""RestorationGAN: reconstruction and adversarial loss (documents A 2.2, A 3.3).

The discriminator judges patches, so that the restored picture has the texture of clean
ones everywhere; the reconstruction loss keeps it at the picture that was damaged.
"""

import keras
import tensorflow as tf

from gan_transfer import losses, regularization
from restoration import supervised


class RestorationGAN(supervised.Restorer):
    """A `Restorer` with a patch discriminator (documents A 2.2, A 3.3).

    min_R L(R(y), x) + w L_adv(D(R(y))), where D tells clean x from restored R(y).
    Perception is bought with distortion: PSNR falls as w grows (Blau, Michaeli 2018).

    Attributes:
        discriminator: `[B, H, W, C]` -> scores `[B, h, w, 1]` of patches, see
            `gan_transfer.networks.translation.patch_discriminator`.
    """

    def __init__(
        self,
        network: keras.Model,
        discriminator: keras.Model,
        averaged_network: keras.Model | None = None,
        *,
        seed: int = 0,
    ):
        super().__init__(network, averaged_network, seed=seed)
        self.discriminator = discriminator
        self.trackers.append(keras.metrics.Mean(name="d_loss"))

    def networks(self) -> dict[str, keras.Model]:
        """`network` and `discriminator`."""
        return {"network": self.network, "discriminator": self.discriminator}

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        *,
        adversarial_loss: losses.AdversarialLoss = losses.hinge,
        weight: float = 0.005,
        **arguments,
    ) -> None:
        """Fix both losses, optimizers and trainable flags (document A 3.3).

        Args:
            optimizer: of the restorer, fresh.
            discriminator_optimizer: another one.
            adversarial_loss: a family that needs no real scores for the restorer.
            weight: w of the adversarial loss.
            **arguments: of `supervised.Restorer.compile`.
        """
        self.discriminator_optimizer = discriminator_optimizer
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        self.adversarial_loss = adversarial_loss
        self.weight = weight
        super().compile(optimizer, **arguments)

    def update(self, inputs, clean) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """One step of the discriminator, then one of the restorer."""
        d_loss = self.update_discriminator(inputs, clean)
        loss, restored = self.update_network(inputs, clean)
        return {"loss": loss, "d_loss": d_loss}, restored

    def update_discriminator(self, inputs, clean) -> tf.Tensor:
        """One gradient step of D on clean and restored images."""
        regularization.update_spectral_norms(self.discriminator)
        restored = self.network(inputs, training=True)
        with tf.GradientTape() as tape:
            loss = self.adversarial_loss.discriminator(
                self.discriminator(clean, training=True),
                self.discriminator(restored, training=True),
            )
            total = self.scaled(loss, self.discriminator_optimizer)
        variables = self.discriminator.trainable_variables
        self.step(
            self.discriminator_optimizer, tape.gradient(total, variables), variables
        )
        return loss

    def objective(self, restored, clean) -> tf.Tensor:
        """Reconstruction loss plus w times the adversarial one."""
        scores = self.discriminator(restored, training=True)
        adversarial = self.adversarial_loss.generator(None, scores)
        return super().objective(restored, clean) + self.weight * adversarial
