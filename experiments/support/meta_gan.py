"""Meta-training and meta-test of a GAN on characters, cell by cell."""

import dataclasses
import functools
import time

from experiments.support import flags, meta_characters, meta_reptile

_NOISE, _LATENT = 1000, 64


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the cells have in common.

    Attributes:
        start_from: pretrained GAN that all methods but `scratch` start from, or None.
        width: filters of a GAN that starts from scratch.
        steps: updates of plain pretraining.
        shots: numbers of examples, 0 first.
        adaptation: numbers of steps, 0 first.
    """

    start_from: str | None
    width: int
    steps: int
    shots: tuple[int, ...]
    adaptation: tuple[int, ...]


class Study(meta_characters.Study):
    """The cells of one seed, of a GAN."""

    def find(self, method: str) -> dict:
        """Train and test a method, or go on with it."""
        from gan_transfer import data

        gan, split = self._gan(method != "scratch"), self.split
        meta_reptile.start(
            method,
            gan,
            functools.partial(_compile, gan),
            lambda start: data.batches(
                split.drawings(), flags.BATCH_SIZE.value, seed=split.seed, start=start
            ),
            split.rotated(),
            self.settings.steps,
            self.cell,
        )
        return self._test(gan)

    def _gan(self, starts: bool):
        import keras

        from gan_transfer import adversarial, pretrained
        from gan_transfer.networks import presets

        keras.utils.set_random_seed(self.split.seed)
        source = self.settings.start_from
        if source is not None:
            loaded = pretrained.load_gan(source)
            networks = loaded.averaged_generator, loaded.discriminator
            if not starts:
                networks = map(keras.models.clone_model, networks)
        else:
            size, _, channels = self.split.test[0].pixels.shape[1:]
            networks = presets.dcgan(
                size, channels, 0, width=self.settings.width, latent_dim=_LATENT
            )
        generator, discriminator = networks
        generator.trainable = discriminator.trainable = True
        gan = adversarial.GAN(generator, discriminator, seed=self.split.seed)
        _compile(gan)
        return gan

    def _test(self, gan) -> dict:
        """Samples uint8 `[T, shots, steps, 10, H, W, C]` after every budget.

        And `seconds` `[T, shots]` of the longest adaptation.
        """
        import numpy as np

        from gan_transfer import data, sampling

        _compile(gan)
        learner = meta_reptile.learner(gan)
        count, image = meta_characters.QUERY, self.split.test[0].pixels.shape[1:]
        shape = len(self.settings.shots), len(self.settings.adaptation)
        found = np.zeros((len(self.split.test), *shape, count, *image), np.uint8)
        seconds = np.full((len(self.split.test), shape[0]), np.nan)
        for number, task in enumerate(self.split.test):
            noise = sampling.sample_latents(
                count, gan.latent_dim, _NOISE * self.split.seed + number
            )
            for row, shots in enumerate(self.settings.shots):
                for column, steps in enumerate(self.settings.adaptation):
                    if (shots == 0) != (steps == 0):
                        continue
                    (images,), _ = self.split.divided(task, max(shots, 1))
                    # Batches of one size: no other number of examples traces anew.
                    batch = images[np.arange(meta_reptile.BATCH) % len(images)]
                    begun = time.perf_counter()
                    network = learner.adapt(batch[None], steps)
                    # Numbers of steps rise: the longest stays.
                    seconds[number, row] = time.perf_counter() - begun
                    images = network(noise, training=False).numpy()
                    found[number, row, column] = data.to_uint8(images)
        return {"samples": found, "seconds": seconds}


def _compile(gan) -> None:
    import keras

    optimizers = (keras.optimizers.Adam(2e-4, 0.5) for _ in range(2))
    gan.compile(*optimizers, averaging=0.0)
