"""Meta-training and meta-test of a GAN on characters, cell by cell."""

import dataclasses
import functools
import itertools
import time

from experiments.support import flags, meta_characters, meta_reptile
from gan_transfer import errors

RATES = (5e-5, 2e-4, 1e-3)  # of the adaptation, to choose from
_RATE = 2e-4  # of pretraining and of Reptile's own inner loop
_NOISE, _LATENT, _COMPONENTS = 1000, 64, 64


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

        And `seconds` `[T, shots]` of the longest adaptation, `rates` `[shots, steps]`.
        """
        import numpy as np

        learners = {rate: self._learner(gan, rate) for rate in RATES}
        rates = self._chosen_rates(learners)
        shape = len(self.split.test), *rates.shape
        image = self.split.test[0].pixels.shape[1:]
        found = np.zeros((*shape, meta_characters.QUERY, *image), np.uint8)
        seconds = np.full(shape[:2], np.nan)
        for number, task in enumerate(self.split.test):
            for row, column in self._budgets():
                # Without steps every rate gives the same.
                learner = learners[rates[row, column] or RATES[0]]
                begun = time.perf_counter()
                images = self._samples(learner, task, number, row, column)
                # Numbers of steps rise: the longest stays.
                seconds[number, row] = time.perf_counter() - begun
                found[number, row, column] = images
        return {"samples": found, "seconds": seconds, "rates": rates}

    def _budgets(self) -> list[tuple[int, int]]:
        """Places among the shots and the steps: no steps go with no examples."""
        places = itertools.product(
            range(len(self.settings.shots)), range(len(self.settings.adaptation))
        )
        return [(row, column) for row, column in places if (row == 0) == (column == 0)]

    def _learner(self, gan, rate: float):
        """What adapts the trained GAN at a rate."""
        twin = self._gan(True)
        for name, network in gan.stored_networks().items():
            twin.stored_networks()[name].set_weights(network.get_weights())
        _compile(twin, rate)
        return meta_reptile.learner(twin)

    def _samples(self, learner, task, number: int, row: int, column: int):
        """What the GAN, adapted to a task within a budget, makes: uint8 `[10, ...]`."""
        import numpy as np

        from gan_transfer import data, sampling

        noise = sampling.sample_latents(
            meta_characters.QUERY,
            learner.procedure.latent_dim,
            _NOISE * self.split.seed + number,
        )
        (images,), _ = self.split.divided(task, max(self.settings.shots[row], 1))
        # Batches of one size: no other number of examples traces anew.
        batch = images[np.arange(meta_reptile.BATCH) % len(images)]
        network = learner.adapt(batch[None], self.settings.adaptation[column])
        return data.to_uint8(network(noise, training=False).numpy())

    def _chosen_rates(self, learners: dict):
        """The rate of every budget, `[shots, steps]`; 0 where nothing adapts.

        That of the lowest kernel distance, by pixel components, of the validation
        characters' pooled samples to their held-out drawings.
        """
        import numpy as np

        from gan_transfer import features, metrics

        tasks = self.split.validation
        pca = features.PixelPCA(self.split.drawings(), _COMPONENTS)
        real = features.extract(pca, self.split.held_out(tasks))
        shape = len(self.settings.shots), len(self.settings.adaptation)
        rates = np.zeros(shape)
        for row, column in self._budgets()[1:]:
            missed = {}
            for rate, learner in learners.items():
                try:
                    made = [
                        self._samples(learner, task, number, row, column)
                        for number, task in enumerate(tasks)
                    ]
                except errors.Diverged:
                    missed[rate] = np.inf
                    continue
                fake = features.extract(pca, np.concatenate(made))
                missed[rate] = metrics.kernel_distance(real, fake)[0]
            rates[row, column] = min(missed, key=missed.get)
        return rates


def _compile(gan, rate: float = _RATE) -> None:
    import keras

    optimizers = (keras.optimizers.Adam(rate, 0.5) for _ in range(2))
    gan.compile(*optimizers, averaging=0.0)
