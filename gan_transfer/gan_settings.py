"""How a GAN is compiled for a phase of training (documents A 3.1, E 2)."""

import dataclasses

import keras

from gan_transfer import adversarial, losses, regularization, schedule, transfer
from gan_transfer import augmentation as augmentations


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a GAN is compiled: our default recipe, or another one (document A 3.1).

    Attributes are those of `adversarial.GAN.compile`, and of Adam for both networks.
    """

    learning_rate: float = 1e-3
    beta_1: float = 0.5
    beta_2: float = 0.99
    loss: losses.AdversarialLoss = losses.non_saturating
    discriminator_steps: int = 1
    penalties: tuple = (regularization.R1(0.1),)
    penalize_every: int = 8
    clip: float | None = None
    augmentation: augmentations.Augmentation | None = None
    averaging: float = 0.995

    def compile(self, gan: adversarial.GAN, phase: schedule.Phase) -> None:
        """Compile `gan` for a phase, with fresh optimizers (document A 3.1)."""
        rates = {
            name: transfer.layerwise_rates(network, phase.rates.get(name, {}))
            for name, network in gan.networks().items()
        }
        gan.compile(
            *(self._optimizer(rates[name]) for name in ("generator", "discriminator")),
            loss=self.loss,
            discriminator_steps=self.discriminator_steps,
            penalties=self.penalties,
            penalize_every=self.penalize_every,
            clip=self.clip,
            anchors=phase.anchors,
            generator_terms=phase.generator_terms,
            augmentation=self.augmentation if phase.augmented else None,
            averaging=self.averaging,
        )

    def _optimizer(self, rates: dict[str, float]) -> keras.optimizers.Optimizer:
        return transfer.adam(
            rates,
            learning_rate=self.learning_rate,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
        )
