"""Meta-test of a VAE on characters, cell by cell."""

import dataclasses
import pathlib
import time

from experiments.support import meta_characters, meta_context, meta_vae_training

METHODS = ("scratch", "pretrain", "maml", "reptile", "context", "descriptor")
# The adaptation's rates; validation characters choose one per method and budget.
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
_ALL = (".*",)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the cells have in common.

    Attributes:
        model: of `networks.meta.NETWORKS`.
        steps: updates of plain pretraining.
        shots: numbers of examples, 0 first.
        adaptation: numbers of steps, 0 first.
        adapting: patterns of the layers that adapt; the baselines' are all.
    """

    model: str
    steps: int
    shots: tuple[int, ...]
    adaptation: tuple[int, ...]
    adapting: tuple[str, ...]


class Study(meta_characters.Study):
    """The cells of one seed, of a VAE.

    Attributes:
        rates: method -> `chosen_rates`.
    """

    def __init__(self, settings: Settings, split, folder: pathlib.Path):
        import keras

        from gan_transfer import few_shot_vae
        from gan_transfer.networks import meta

        super().__init__(settings, split, folder)
        side, _, channels = split.test[0].pixels.shape[1:]
        self._build = lambda **context: meta.NETWORKS[settings.model](
            side, channels, **context
        )
        keras.utils.set_random_seed(split.seed)
        network = self._build()
        self.latent_dim = network.inputs[1].shape[-1]
        self._first = network.get_weights()
        self.adapters = {
            adapting: few_shot_vae.Adapter(network, adapting=adapting)
            for adapting in dict.fromkeys((_ALL, settings.adapting))
        }
        self.starts, self.rates = {}, {}

    def adapter(self, method: str):
        """What adapts a start: only the meta-learned ones obey `settings.adapting`."""
        learned = method in ("maml", "reptile")
        return self.adapters[self.settings.adapting if learned else _ALL]

    def find(self, method: str) -> dict:
        """Train and test a method, or go on with it."""
        import numpy as np

        if method == "context":
            return meta_context.test(self, self.trained("context"))
        if method == "descriptor":
            return meta_context.zero_shot(self, self.trained("context"))
        rates = self.chosen_rates(method)
        start = self.start(method)
        found = self.test(method, self.split.test, lambda task, shots: start, rates)
        return found | {"rates": np.array(rates)}

    def start(self, method: str) -> list:
        """The weights a method starts from, meta-trained where they are not yet."""
        if method not in self.starts:
            if method == "scratch":
                self.starts[method] = self._first
            else:
                self.starts[method] = self.trained(method).get_weights()
        return self.starts[method]

    def trained(self, method: str):
        """The network of a training, trained on where it was stopped."""
        import keras

        from gan_transfer.networks import meta

        keras.utils.set_random_seed(self.split.seed)
        network = self._build(context=method == "context")
        if method == "context":
            meta.begin_blind(network, self.trained(meta_vae_training.WARM))
        elif meta_vae_training.TRAININGS[method].inner_steps:
            network.set_weights(self.start(meta_vae_training.WARM))
        meta_vae_training.train(
            network,
            method,
            self.split,
            self.cell(method),
            steps=self.settings.steps,
            adapting=self.settings.adapting,
        )
        return network

    def chosen_rates(self, method: str) -> list[list[float]]:
        """The rates that the validation characters chose.

        A row per number of examples above 0, a column per number of steps above 0.
        """
        import numpy as np

        if method not in self.rates:
            start, found = self.start(method), []
            for shots in self.settings.shots[1:]:
                divided = [self.split.divided(t, shots) for t in self.split.validation]
                bounds = [
                    [
                        [o.bound for o in self.outcomes(method, start, rate, each)]
                        for each in divided
                    ]
                    for rate in RATES
                ]
                found.append(np.mean(bounds, axis=1))
            best = np.argmin(np.where(np.isfinite(found), found, np.inf), axis=1)
            self.rates[method] = [[RATES[n] for n in row[1:]] for row in best]
        return self.rates[method]

    def outcomes(self, method: str, start, rate: float, divided, steps=None):
        """`few_shot_vae.Adapter.outcomes` at one rate for all that adapts."""
        adapter = self.adapter(method)
        rates = [rate] * len(adapter.inner.adapting)
        steps = self.settings.adaptation if steps is None else steps
        return adapter.outcomes(start, rates, *divided, steps, seed=self.split.seed)

    def noise(self, number: int):
        """Noise of the samples of test character `number`, the same for any method."""
        from gan_transfer import sampling

        count = meta_characters.QUERY
        return sampling.sample_latents(
            count, self.latent_dim, 1000 * self.split.seed + number
        )

    def empty(self, tasks: list) -> dict:
        """Arrays of a test, nothing measured: bounds NaN, samples 0.

        `bound` and `weighted` float64 `[T, shots, steps]`, `samples` uint8 `[T, shots,
        steps, 10, H, W, C]`; `seconds` float64 `[T, shots]`, of all adaptations to a
        task with their measures.
        """
        import numpy as np

        shape = len(tasks), len(self.settings.shots), len(self.settings.adaptation)
        count, image = meta_characters.QUERY, tasks[0].pixels.shape[1:]
        return {
            "bound": np.full(shape, np.nan),
            "weighted": np.full(shape, np.nan),
            "samples": np.zeros((*shape, count, *image), np.uint8),
            "seconds": np.full(shape[:2], np.nan),
        }

    def test(
        self, method: str, tasks: list, start_of, rates: list, depends=False
    ) -> dict:
        """Adapt to every task with every number of examples, and measure.

        Args:
            method: whose layers adapt, see `adapter`.
            tasks: characters.
            start_of: (task, examples) -> weights.
            rates: as of `chosen_rates`.
            depends: whether the start depends on the examples; if not, 0 steps are
                measured only once, with 0 examples.

        Returns:
            As `empty`, filled.
        """
        from gan_transfer import data

        found = self.empty(tasks)
        for number, task in enumerate(tasks):
            for row, shots in enumerate(self.settings.shots):
                if (shots == 0) != depends:
                    start = start_of(task, max(shots, 1))
                    divided = self.split.divided(task, max(shots, 1))
                    (outcome,) = self.outcomes(method, start, 0.0, divided, (0,))
                    measured = {0: outcome}
                elif shots == 0:
                    continue
                else:
                    start = start_of(task, shots)
                    divided, measured = self.split.divided(task, shots), {}
                if shots:
                    begun = time.perf_counter()
                    measured |= self._adapted(method, start, divided, rates[row - 1])
                    found["seconds"][number, row] = time.perf_counter() - begun
                for column, outcome in measured.items():
                    place = number, row, column
                    found["bound"][place] = outcome.bound
                    found["weighted"][place] = outcome.weighted
                    found["samples"][place] = data.to_uint8(
                        self.adapter(method).images(outcome.values, self.noise(number))
                    )
        return found

    def _adapted(self, method: str, start, divided, rates: list[float]) -> dict:
        """Outcomes by place of their number of steps; one run for each rate."""
        steps, found = self.settings.adaptation[1:], {}
        for rate in dict.fromkeys(rates):
            wanted = [s for s, each in zip(steps, rates, strict=True) if each == rate]
            outcomes = self.outcomes(method, start, rate, divided, wanted)
            for count, outcome in zip(wanted, outcomes, strict=True):
                found[self.settings.adaptation.index(count)] = outcome
        return found
