"""Meta-training and meta-test of a CycleGAN on redrawn drawings, cell by cell."""

import dataclasses
import functools
import pathlib

import numpy as np

from experiments.support import flags, meta_reptile, meta_study

# Rows without training: the drawing as it is; the median of the given examples of B.
CONTROLS = ("untranslated", "median")
PART = "error"
QUERY = 10  # held-out drawings of a task
_RATE = 1e-3  # of the trainings
# The adaptation's rates; validation tasks choose one per method and budget.
RATES = (3e-4, 1e-3, 3e-3)
_BLOCKS = 2  # residual blocks of a translator
_SHOWN, _EACH = 3, 2  # tasks of the picture, drawings of each


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the cells have in common.

    Attributes:
        width: filters of the finest convolutions of all four networks.
        steps: updates of plain pretraining.
        shots: numbers of examples of either domain.
        adaptation: numbers of steps, 0 first.
    """

    width: int
    steps: int
    shots: tuple[int, ...]
    adaptation: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """One seed: its tasks, its trainings, its cells (document D 3.1).

    Attributes:
        directory: the run directory.
        settings: of the study.
        train: tasks to learn from.
        validation: tasks of the same kinds and drawings, to choose rates on.
        test: other combinations of strokes and hue, on other drawings.
        seed: of the networks and the training.
        starts: method -> weights of its networks, once they were needed.
        learners: rate -> what adapts with it, likewise.
        rates: (method, examples) -> the rate for every number of steps above 0.
    """

    directory: object
    settings: Settings
    train: list
    validation: list
    test: list
    seed: int
    starts: dict = dataclasses.field(default_factory=dict, init=False)
    learners: dict = dataclasses.field(default_factory=dict, init=False)
    rates: dict = dataclasses.field(default_factory=dict, init=False)

    def cells(self) -> list[dict]:
        """Every cell, trained and measured where it is missing."""
        found = []
        for shots in self.settings.shots:
            for method in CONTROLS + meta_reptile.METHODS:
                cell = meta_study.Cell(self.seed, PART, method, shots)
                if not cell.path(self.directory).exists():
                    print(f"seed {self.seed}: {method}, {shots} examples", flush=True)
                found.append(
                    meta_study.measured(
                        self.directory,
                        cell,
                        functools.partial(self._measure, method, shots),
                    )
                )
                if method in meta_reptile.METHODS:
                    self.rates[method, shots] = found[-1]["rates"]
        return found

    def _measure(self, method: str, shots: int) -> dict:
        """Mean absolute errors in [0, 1] of the tasks, by number of steps."""
        if method in CONTROLS:
            return {"values": {0: [self._control(method, t, shots) for t in self.test]}}
        self.rates[method, shots] = rates = self._chosen_rates(method, shots)
        values = {
            steps: [self._missed(method, task, shots, steps) for task in self.test]
            for steps in self.settings.adaptation
        }
        return {"values": values, "rates": rates}

    def _chosen_rates(self, method: str, shots: int) -> list[float]:
        """The rates of the lowest mean error on the validation tasks."""
        errors = [
            [
                np.mean(
                    [
                        self._missed(method, task, shots, steps, rate)
                        for task in self.validation
                    ]
                )
                for steps in self.settings.adaptation[1:]
            ]
            for rate in RATES
        ]
        best = np.argmin(np.where(np.isfinite(errors), errors, np.inf), axis=0)
        return [RATES[number] for number in best]

    def _missed(self, method: str, task, shots: int, steps: int, rate=None) -> float:
        """The error of a method on the query drawings of a task."""
        made = self.translated(method, task, shots, steps, rate)
        return _error(made, self.truth(task))

    def _control(self, method: str, task, shots: int) -> float:
        (_, given), (drawings, _) = self.divided(task, shots)
        if method == "median":
            drawings = np.median(given, axis=0)
        return _error(drawings, self.truth(task))

    def divided(self, task, shots: int = 1):
        """Support `(a, b)` and query `(a, b)` of a task, b no partners of a."""
        from gan_transfer import tasks

        return tasks.split(task, shots, QUERY, self.seed)

    def truth(self, task):
        """What the query drawings of a task should become, float32 `[10, H, W, 3]`."""
        _, (drawings, _) = self.divided(task)
        return task.mapping(drawings)

    def translated(self, method: str, task, shots: int, steps: int, rate=None):
        """The query drawings of a task as a method translates them, `[10, H, W, 3]`.

        At the rate that was chosen for it, unless another is given.
        """
        if rate is None:
            # No steps take no rate; any learner will do.
            place = self.settings.adaptation.index(steps)
            rate = self.rates[method, shots][place - 1] if steps else RATES[0]
        learner = self.learner(rate)
        for name, weights in self.start(method).items():
            getattr(learner.procedure, name).set_weights(weights)
        support, query = self.divided(task, shots)
        # Batches of one size: no other number of examples traces anew.
        chosen = np.arange(meta_reptile.BATCH) % shots
        batches = tuple(part[chosen][None] for part in support)
        network = learner.adapt(batches, steps)
        return network(query[0], training=False).numpy()

    def learner(self, rate: float):
        """What adapts with a rate, the same for all methods: traced only once."""
        if rate not in self.learners:
            self.learners[rate] = meta_reptile.learner(self._gan(rate))
        return self.learners[rate]

    def start(self, method: str) -> dict[str, list]:
        """Weights that a method starts from: trained on where it was stopped."""
        from gan_transfer import cyclic

        if method not in self.starts:
            gan = self._gan(_RATE)
            meta_reptile.start(
                method,
                gan,
                functools.partial(_compile, gan, _RATE),
                self._batches,
                self.train,
                self.settings.steps,
                self.folder.joinpath,
            )
            self.starts[method] = {
                name: getattr(gan, name).get_weights() for name in cyclic.NETWORKS
            }
        return self.starts[method]

    def _gan(self, rate: float):
        import keras

        from gan_transfer import cyclic
        from gan_transfer.networks import translation

        keras.utils.set_random_seed(self.seed)
        sizes = {"width": self.settings.width}
        shape = self.divided(self.test[0])[0][0].shape[1:]
        networks = [
            *(
                translation.translator(3, blocks=_BLOCKS, name=name, **sizes)
                for name in cyclic.NETWORKS[:2]
            ),
            *(translation.patch_discriminator(3, **sizes) for _ in range(2)),
        ]
        gan = cyclic.CycleGAN(*networks, image_shape=shape, seed=self.seed)
        _compile(gan, rate)
        return gan

    @property
    def folder(self) -> pathlib.Path:
        """Of the seed."""
        return self.directory.path(f"seed{self.seed}")

    def _batches(self, start: int):
        """Batches mixed from all tasks, an image of each."""
        import tensorflow as tf

        from gan_transfer import tasks

        count, seed = flags.BATCH_SIZE.value, self.seed
        stream = tasks.batches(self.train, count, 1, 0, seed=seed, start=start)
        return stream.map(
            lambda support, query: tuple(tf.squeeze(part, 1) for part in support)
        )

    def draw(self, path: pathlib.Path) -> None:
        """Three unseen tasks: examples of B, drawings, what every method makes of them.

        With the most examples; rows are numbers of steps.
        """
        from gan_transfer import data

        shots, blocks = self.settings.shots[-1], []
        for place in np.linspace(0, len(self.test) - 1, _SHOWN, dtype=int):
            task = self.test[place]
            (_, given), (drawings, _) = self.divided(task, shots)
            truth, lines = self.truth(task), []
            for steps in self.settings.adaptation:
                made = [
                    self.translated(method, task, shots, steps)
                    for method in meta_reptile.METHODS
                ]
                columns = [given, drawings, *made, truth]
                lines.append(np.concatenate([each[:_EACH] for each in columns]))
            names = ["examples", "drawing", *meta_reptile.METHODS, "truth"]
            blocks.append((task.name, names, data.to_uint8(np.stack(lines))))
        meta_study.picture_grid(
            path,
            blocks,
            [f"{steps} steps" for steps in self.settings.adaptation],
            f"CycleGAN adapted to unseen ways of redrawing, {shots} unpaired examples "
            "of either domain",
        )


def _compile(gan, rate: float) -> None:
    import keras

    gan.compile(*(keras.optimizers.Adam(rate, 0.5) for _ in range(2)), averaging=0.0)


def _error(images, truth) -> float:
    """Mean absolute difference, pixels in [0, 1]."""
    return float(np.abs(images - truth).mean(dtype="float64")) / 2
