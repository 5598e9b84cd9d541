"""One generation run from images to summary: measures, pictures, files."""

import dataclasses

from experiments.support import figures, flags, generation, judging
from gan_transfer import errors, writing

# Fewer training images than this are not split for selection: all are needed.
SELECT_FROM = 1000
_SHOWN = 64
_LABELS = {
    "d_loss": "discriminator",
    "g_loss": "generator",
    "loss": "training: minus bound",
    "val_loss": "validation: minus bound",
    "reconstruction_loss": "reconstruction",
    "kl_loss": "KL divergence",
}


@dataclasses.dataclass
class Session:
    """One generation run: its folder, images, model and measures.

    Attributes:
        script: `argv[0]`, whose flags are the run's configuration.
        images: the data set.
        model: the `sampling.Generative` procedure, in the strategy's scope.
        description: what `pretrained.describe` will return of the run.
        steps: updates asked for.
        phases: of the recipe.
        measures: name in the history -> function of this session, on its validation
            images; the first one selects the best state, the smallest wins.
        run: the run directory, opened when all else is known to fit.
        train, labels: the images trained on, without the validation part.
        validation: images that choose the best generator; None below 1,000 images.
    """

    script: str
    images: object
    model: object
    description: dict
    steps: int
    phases: list
    measures: dict = dataclasses.field(
        default_factory=lambda: {"val_distance": Session.validation_distance}
    )

    def __post_init__(self):
        from gan_transfer import features

        if self.epochs < len(self.phases):
            raise errors.InputError(
                f"the recipe has {len(self.phases)} phases, which begin at "
                f"evaluations, and there are {self.epochs} of these; raise "
                "--evaluations and --steps, or lower --depth"
            )
        self.train, self.labels, self.validation = parts(self.images)
        self.extractors = extractors(self.images)
        self.judge = next(iter(self.extractors.values()))
        if self.validation is not None:
            self._real = features.extract(self.judge, self.validation)
        self.run = generation.open_run(self.script, self.images)

    @property
    def epoch_steps(self) -> int:
        """Updates between two evaluations."""
        return generation.evaluations(self.steps)[1]

    @property
    def epochs(self) -> int:
        """Evaluations of the run."""
        return generation.evaluations(self.steps)[0]

    @property
    def images_per_step(self) -> int:
        """Real images one update looks at."""
        return flags.BATCH_SIZE.value * generation.DISCRIMINATOR_STEPS.value

    @property
    def monitor(self) -> str | None:
        """Name of the measure that selects, None without a validation part."""
        return None if self.validation is None else next(iter(self.measures))

    def batches(self, start: int):
        """Training batches from update `start` on."""
        from gan_transfer import data

        return data.batches(
            self.train,
            self.images_per_step,
            labels=self.labels if self.model.classes else None,
            seed=flags.SEED.value,
            start=start,
        )

    def fit(self, compile_phase, about=dict) -> list[dict]:
        """`schedule.train` of the model, `compile_phase(phase)` compiling it.

        Args:
            compile_phase: see above.
            about: returns what the summary says beside the scores, also where a guard
                stops the run.

        Returns:
            The history's rows.
        """
        from gan_transfer import schedule

        try:
            return schedule.train(
                self.model,
                self.phases,
                compile_phase,
                self.batches,
                self.run.folder,
                epochs=self.epochs,
                epoch_steps=self.epoch_steps,
                images_per_step=self.images_per_step,
                monitor=self.monitor,
                extra=self.watchers(),
                loggers=self.run.loggers(),
                verbose=generation.progress(),
            )
        except errors.Diverged as error:
            self._salvage(error, about)
            raise

    def _salvage(self, error: errors.Diverged, about) -> None:
        """Finish a run that a guard stopped with the state it would have ended with."""
        from gan_transfer import callbacks

        try:
            rows = callbacks.restore(self.model, self.run.folder)
        except errors.InputError:  # saved in the phase before, other optimizers
            return
        # Nor are the networks of that phase what this run was to end with.
        if rows and int(self.model.updates.numpy()) > self.model.phase_start:
            stopped = {"outcome": error.outcome, "stopped": str(error)}
            self.finish(rows, lambda: about() | stopped)
            kept = "best" if self.best.exists() else "last"
            print(f"the {kept} state and its scores are in {self.run.folder}")

    def watchers(self) -> tuple:
        """Callbacks of every epoch: measures, a sample grid, a GAN's guard."""
        import keras

        from gan_transfer import stability

        def watch(epoch, logs):
            if self.validation is not None:
                for name, measure in self.measures.items():
                    logs[name] = measure(self)
            step = int(self.model.updates.numpy())
            figures.sample_grid(
                self.run.samples / f"step_{step:06d}.png",
                judging.pixels(self.model, _SHOWN),
                f"{self.title}: fixed latents after {step:,} updates",
                reference=some(self.train),
                reference_title=f"training images ({self.images.name})",
            )

        callbacks = (keras.callbacks.LambdaCallback(on_epoch_end=watch),)
        if "discriminator" in self.model.networks():
            judges = self.extractors
            if self.validation is None:  # no test image decides when a run stops
                judges = judging.extractors(self.train)
            measure = judging.coverage(self.train, judges)
            guard = stability.CollapseGuard(
                self.run.folder,
                lambda: measure(judging.pixels(self.model, judging.COVERED, seed=3)),
            )
            callbacks += (guard,)
        return callbacks

    @property
    def title(self) -> str:
        """Model and data, for titles."""
        return f"{self.description['model']} on {self.images.name}"

    def validation_distance(self) -> float:
        """Distance of samples to the validation part.

        As many samples as validation images; `evaluation.judging_distance` says which.
        """
        from gan_transfer import evaluation, features

        count = len(self.validation)
        fake = features.extract(self.judge, judging.pixels(self.model, count, seed=1))
        kind = evaluation.judging_distance(*self._real.shape)
        return evaluation.distance(kind, self._real, fake)

    @property
    def best(self):
        """File of the best state; there is none where nothing was selected."""
        return self.run.path("best.weights.h5")

    def _load_best(self, rows: list[dict]) -> int:
        """Load the best state, if one was selected; returns its update."""
        if not self.best.exists():
            return int(rows[-1]["step"])
        self.model.result.load_weights(self.best)
        # Rows of a search phase lack it.
        judged = [row for row in rows if self.monitor in row]
        return int(min(judged, key=lambda row: row[self.monitor])["step"])

    def finish(self, rows: list[dict], about=dict) -> dict:
        """Load the best state, save the models, evaluate, draw, summarise.

        Args:
            rows: of the history.
            about: as for `fit`; called when the best state is loaded.

        Returns:
            The scores, as in `summary.json`.
        """
        chosen = self._load_best(rows)
        for name, network in self.model.stored_networks().items():
            with writing.partial(self.run.path(f"{name}.keras")) as temporary:
                network.save(temporary)
        scores = judging.evaluate(self.model, self.images, self.extractors)
        self._draw(rows, scores, chosen)
        self.run.write_summary(
            {
                "description": {**self.description, "scores": scores},
                "dataset": self.images.name,
                "training_images": len(self.train),
                "updates": int(self.model.updates.numpy()),
                "best_update": chosen,
                "images_shown": int(self.model.updates.numpy()) * self.images_per_step,
                "seed": flags.SEED.value,
                "outcome": "completed",
                "scores": scores,
                "protocol": "samples against the test part; "
                + (
                    f"best epoch by {self.monitor} on a validation part of the data"
                    if self.monitor
                    else "last epoch, nothing selected"
                ),
                **about(),
            }
        )
        return scores

    def _draw(self, rows: list[dict], scores: dict, chosen: int) -> None:
        first = next(iter(scores))
        figures.sample_grid(
            self.run.path("samples.png"),
            judging.pixels(self.model, _SHOWN),
            f"{self.title} ({chosen:,} updates, {first} = {scores[first]:.3g})",
            reference=some(self.images.test),
            reference_title=f"test images ({self.images.name})",
        )
        names = [name for name in rows[-1] if name.endswith("loss")]
        figures.curves(
            self.run.path("losses.png"),
            {_LABELS[name]: _series(rows, name) for name in names},
            f"{self.title}: losses",
            "updates",
            "loss",
        )
        if "val_distance" in rows[-1]:
            figures.curves(
                self.run.path("distance.png"),
                {"validation": _series(rows, "val_distance")},
                f"{self.title}: {len(self.validation):,} samples to validation images",
                "updates",
                "distance",
                log=True,
            )


def parts(images) -> tuple:
    """Training images, their labels, and the validation part that selects.

    The validation part is None below 1,000 training images.
    """
    from gan_transfer import subsets

    train, labels = images.train, images.train_labels
    if len(train) < SELECT_FROM:
        return train, labels, None
    held_out = min(5000, len(train) // 10)
    return subsets.hold_out(train, labels, held_out, seed=0)[:3]


def extractors(images) -> dict:
    """`judging.extractors` of a data set, the pixel PCA fitted on its training part.

    Below 1,000 training images, where nothing is selected by it, it may be fitted on
    the test part: the few directions in which ten images differ do not show in what
    else samples do.
    """
    train, _, validation = parts(images)
    return judging.extractors(train, images.test if validation is None else ())


def _series(rows: list[dict], name: str) -> tuple:
    """Updates and values of a column, as `figures.curves` takes them."""
    found = [row for row in rows if name in row]
    return [row["step"] for row in found], [row[name] for row in found], None


def some(images):
    """A seeded choice of the images to show."""
    from gan_transfer import subsets

    return subsets.some(images, _SHOWN)
