"""One CycleGAN run from two domains to its summary: measures, pictures, files."""

import dataclasses

import numpy as np

from experiments.support import domains, figures, flags, generation, judging
from gan_transfer import errors, writing

_SHOWN = 12
_JUDGED = 5000


@dataclasses.dataclass
class Session:
    """One run: its folder, domains and model.

    Attributes:
        script: `argv[0]`, whose flags are the run's configuration.
        images: the data set of domain A as loaded.
        gan: a `cyclic.CycleGAN`, in the strategy's scope.
        a, b: the domains.
        steps: updates asked for.
        run: the run directory, opened when all else is known to fit.
    """

    script: str
    images: object
    gan: object
    a: domains.Domain
    b: domains.Domain
    steps: int

    def __post_init__(self):
        self._extractors = {
            "forward": judging.extractors(self.b.train),
            "backward": judging.extractors(self.a.train),
        }
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
    def title(self) -> str:
        """The domains, for titles."""
        return f"CycleGAN {self.a.name} <-> {self.b.name}"

    def batches(self, start: int):
        """Pairs of unpaired batches from update `start` on."""
        import tensorflow as tf

        from gan_transfer import data

        parts = [
            data.batches(domain.train, flags.BATCH_SIZE.value, seed=seed, start=start)
            for seed, domain in enumerate((self.a, self.b), 2 * flags.SEED.value)
        ]
        return tf.data.Dataset.zip(*parts)

    def fit(self, compile_phase) -> None:
        """`schedule.train` of the model, `compile_phase(phase)` compiling it.

        A run that a guard stops is finished with its last good state, then the error
        goes on.
        """
        from gan_transfer import callbacks, schedule

        try:
            schedule.train(
                self.gan,
                [schedule.Phase("pretrain", 1.0, lambda: None)],
                compile_phase,
                self.batches,
                self.run.folder,
                epochs=self.epochs,
                epoch_steps=self.epoch_steps,
                images_per_step=2 * flags.BATCH_SIZE.value,
                extra=self._watchers(),
                loggers=self.run.loggers(),
                verbose=generation.progress(),
            )
        except errors.Diverged as error:
            if callbacks.restore(self.gan, self.run.folder):
                self.finish({"outcome": error.outcome, "stopped": str(error)})
                print(f"the last state and its scores are in {self.run.folder}")
            raise

    def _watchers(self) -> tuple:
        """Callbacks of every epoch: a picture of both directions, the guard."""
        import keras

        from gan_transfer import stability, subsets

        def watch(epoch, logs):
            step = int(self.gan.updates.numpy())
            self.draw(self.run.samples / f"step_{step:06d}.png", f"{step:,} updates")

        ways = []
        for direction, domain in self._ways():
            shown = subsets.some(domain.train, judging.COVERED)
            measure = judging.coverage(
                self._target(domain).train, self._extractors[direction]
            )
            # A translation keeps the source's variety: more is not to be expected.
            most = min(1.0, max(measure(shown), 1e-6))
            ways.append((direction, shown, measure, most))

        def covered() -> float:
            return min(
                measure(self.translated(shown, direction)) / most
                for direction, shown, measure, most in ways
            )

        guard = stability.CollapseGuard(
            self.run.folder, covered, "a higher --cycle_weight"
        )
        return keras.callbacks.LambdaCallback(on_epoch_end=watch), guard

    def draw(self, path, about: str) -> None:
        """Rows of test images: there, there and back, the truth; both directions."""
        from gan_transfer import subsets

        rows, labels = [], []
        for direction, domain in self._ways():
            way, back = "GF" if direction == "forward" else "FG"
            source = subsets.some(domain.test, _SHOWN)
            there = self.translated(source, direction)
            rows += [source, there, self.translated(there, _other(direction))]
            name = f"{way}({domain.name})"
            labels += [domain.name, name, f"{back}({name})"]
            if domain.truth is not None:
                rows.append(subsets.some(domain.truth, _SHOWN))
                labels.append("truth")
        shown = min(map(len, rows))
        figures.pairs(
            path, [row[:shown] for row in rows], labels, f"{self.title}, {about}"
        )

    def translated(self, images: np.ndarray, direction: str) -> np.ndarray:
        """Translations of uint8 images by the averaged weights, as uint8."""
        from gan_transfer import data

        return data.to_uint8(self.gan.translate(data.to_float(images), direction))

    def _ways(self):
        return zip(("forward", "backward"), (self.a, self.b), strict=True)

    def _target(self, domain: domains.Domain) -> domains.Domain:
        return self.b if domain is self.a else self.a

    def finish(self, about: dict) -> dict[str, float]:
        """Save the models, measure, draw, summarise.

        Args:
            about: what the summary says beside the scores: the `outcome`.

        Returns:
            The scores, as in `summary.json`.
        """
        from gan_transfer import cyclic

        for name in cyclic.NETWORKS:
            with writing.partial(self.run.path(f"{name}.keras")) as temporary:
                getattr(self.gan, name).save(temporary)
        scores = {}
        for direction, domain in self._ways():
            found = self._measure(direction, domain, self._target(domain))
            scores |= {f"{direction}_{name}": value for name, value in found.items()}
        updates = int(self.gan.updates.numpy())
        self.draw(self.run.path("samples.png"), f"{updates:,} updates, test images")
        self.run.write_summary(
            {
                "dataset": f"{self.a.name} to {self.b.name}",
                "domains": [self.a.name, self.b.name],
                "training_images": [len(self.a.train), len(self.b.train)],
                "updates": updates,
                "seed": flags.SEED.value,
                **about,
                "image_shape": self.gan.image_shape,
                "scores": scores,
                "protocol": "averaged translators of the last update on test images; "
                "l1: mean absolute difference of pixels in [0, 1] (cycle_l1: there and "
                "back; truth_l1: to the true translation; identity_l1: of the "
                "untranslated image to it; constant_l1: of the median training image "
                "of the target to it); kernel distances: translated test images "
                "to other test images of the target, untranslated ones beside them",
            }
        )
        return scores

    def _measure(self, direction: str, source, target) -> dict[str, float]:
        from gan_transfer import evaluation, features, metrics, subsets

        there = self.translated(source.test, direction)
        back = self.translated(there, _other(direction))
        scores = {"cycle_l1": _l1(back, source.test)}
        if source.truth is not None:
            median = np.median(subsets.some(target.train, _JUDGED), axis=0)
            scores["truth_l1"] = _l1(there, source.truth)
            scores["identity_l1"] = _l1(source.test, source.truth)
            scores["constant_l1"] = _l1(median, source.truth)
        for name, extractor in self._extractors[direction].items():
            kernel = evaluation.distance_names(name)[1]
            real = features.extract(extractor, subsets.some(target.test, _JUDGED))
            key = evaluation.metric_name(kernel, target.name, len(real))
            for tail, images in (("", there), ("_untranslated", source.test)):
                found = features.extract(extractor, subsets.some(images, _JUDGED))
                scores[key + tail] = metrics.kernel_distance(real, found)[0]
        return scores


def _l1(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(np.float64(found) - wanted).mean() / 255)


def _other(direction: str) -> str:
    return "backward" if direction == "forward" else "forward"
