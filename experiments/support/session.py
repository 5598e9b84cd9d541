"""One generation run from images to summary: measures, pictures, files."""

import dataclasses

from experiments.support import figures, flags, generation, judging
from gan_transfer import errors, writing

# Fewer training images than this are not split for selection: all are needed.
_SELECT_FROM = 1000
_SHOWN = 64


@dataclasses.dataclass
class Session:
    """One generation run: its folder, images, model and measures.

    Attributes:
        script: `argv[0]`, whose flags are the run's configuration.
        images: the data set.
        gan: the model, already in the strategy's scope.
        description: what `pretrained.describe` will return of the run.
        steps: updates asked for.
        phases: of the recipe.
        run: the run directory, opened when all else is known to fit.
        train, labels: the images trained on, without the validation part.
        validation: images that choose the best generator; None below 1,000 images.
    """

    script: str
    images: object
    gan: object
    description: dict
    steps: int
    phases: list

    def __post_init__(self):
        from gan_transfer import data, features

        if self.epochs < len(self.phases):
            raise errors.InputError(
                f"the recipe has {len(self.phases)} phases, which begin at "
                f"evaluations, and there are {self.epochs} of these; raise "
                "--evaluations and --steps, or lower --depth"
            )
        self.train, self.labels = self.images.train, self.images.train_labels
        self.validation = None
        if len(self.train) >= _SELECT_FROM:
            self.train, self.labels, self.validation, _ = data.hold_out(
                self.train, self.labels, min(5000, len(self.train) // 10), 0
            )
        self.extractors = judging.extractors(self.train)
        self.judge = next(iter(self.extractors.values()))
        if self.validation is not None:
            self._real = features.extract(self.judge, self.validation)
        self.run = generation.open_run(self.script, self.images)

    @property
    def epoch_steps(self) -> int:
        """Updates between two evaluations."""
        return -(-self.steps // flags.EVALUATIONS.value)

    @property
    def epochs(self) -> int:
        """Evaluations of the run."""
        return -(-self.steps // self.epoch_steps)

    @property
    def images_per_step(self) -> int:
        """Real images one update looks at."""
        return flags.BATCH_SIZE.value * generation.DISCRIMINATOR_STEPS.value

    @property
    def monitor(self) -> str | None:
        """Name of the validation distance, None without a validation part."""
        return None if self.validation is None else "val_distance"

    def batches(self, start: int):
        """Training batches from update `start` on."""
        from gan_transfer import data

        return data.batches(
            self.train,
            self.images_per_step,
            labels=self.labels if self.gan.classes else None,
            seed=flags.SEED.value,
            start=start,
        )

    def watchers(self) -> tuple:
        """Callbacks of every epoch: validation distance, then a sample grid."""
        import keras

        def watch(epoch, logs):
            if self.validation is not None:
                logs["val_distance"] = self.validation_distance()
            step = int(self.gan.updates.numpy())
            figures.sample_grid(
                self.run.samples / f"step_{step:06d}.png",
                judging.pixels(self.gan, _SHOWN),
                f"{self.title}: fixed latents after {step:,} updates",
                reference=some(self.train),
                reference_title=f"training images ({self.images.name})",
            )

        return (keras.callbacks.LambdaCallback(on_epoch_end=watch),)

    @property
    def title(self) -> str:
        """Model and data, for titles."""
        return f"{self.description['model']} on {self.images.name}"

    def validation_distance(self) -> float:
        """Distance of samples to the validation part.

        As many samples as validation images; the Frechet distance from 1,000 on, the
        kernel distance below.
        """
        from gan_transfer import features, metrics

        count = len(self.validation)
        fake = features.extract(self.judge, judging.pixels(self.gan, count, seed=1))
        if count < 1000:
            return metrics.kernel_distance(self._real, fake)[0]
        statistics = metrics.FeatureStatistics
        return metrics.frechet_distance(
            statistics().update(self._real), statistics().update(fake)
        )

    def finish(self, rows: list[dict], extra: dict) -> dict:
        """Load the best generator, save the models, evaluate, draw, summarise.

        Returns:
            The scores, as in `summary.json`.
        """
        best = self.run.path("best.weights.h5")
        chosen = int(rows[-1]["step"])
        if self.monitor is not None and best.exists():
            self.gan.averaged_generator.load_weights(best)
            chosen = int(min(rows, key=lambda row: row[self.monitor])["step"])
        for name in ("generator", "discriminator", "averaged_generator"):
            with writing.partial(self.run.path(f"{name}.keras")) as temporary:
                getattr(self.gan, name).save(temporary)
        scores = judging.evaluate(self.gan, self.images, self.extractors)
        self._draw(rows, scores, chosen)
        self.run.write_summary(
            {
                "description": {**self.description, "scores": scores},
                "dataset": self.images.name,
                "training_images": len(self.train),
                "updates": int(self.gan.updates.numpy()),
                "best_update": chosen,
                "images_shown": int(self.gan.updates.numpy()) * self.images_per_step,
                "seed": flags.SEED.value,
                "scores": scores,
                "protocol": "samples of the averaged generator against the test part; "
                + (
                    "best epoch by the distance to a validation part of the data"
                    if self.monitor
                    else "last epoch, nothing selected"
                ),
                **extra,
            }
        )
        return scores

    def _draw(self, rows: list[dict], scores: dict, chosen: int) -> None:
        first = next(iter(scores))
        figures.sample_grid(
            self.run.path("samples.png"),
            judging.pixels(self.gan, _SHOWN),
            f"{self.title} ({chosen:,} updates, {first} = {scores[first]:.3g})",
            reference=some(self.images.test),
            reference_title=f"test images ({self.images.name})",
        )
        steps = [row["step"] for row in rows]
        losses = {
            label: (steps, [row[name] for row in rows], None)
            for label, name in (("discriminator", "d_loss"), ("generator", "g_loss"))
        }
        figures.curves(
            self.run.path("losses.png"),
            losses,
            f"{self.title}: losses",
            "updates",
            "loss",
        )
        if self.monitor is not None:
            figures.curves(
                self.run.path("distance.png"),
                {"validation": (steps, [row["val_distance"] for row in rows], None)},
                f"{self.title}: {len(self.validation):,} samples to validation images",
                "updates",
                "distance",
                log=True,
            )


def some(images):
    """A seeded choice of the images to show: data sets are often sorted."""
    import numpy as np

    return images[np.random.default_rng(0).permutation(len(images))[:_SHOWN]]
