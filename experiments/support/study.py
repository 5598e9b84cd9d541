"""The cells of the transfer study: what is trained, and how it is measured."""

import dataclasses
import json
import pathlib

from experiments.support import figures, flags, generation, judging, transferring
from gan_transfer import errors, writing

# Row of the table -> recipe and augmentation.
METHODS = {
    "scratch": ("scratch", "none"),
    "scratch+augmentation": ("scratch", "diffaugment"),
    "fine-tune": ("fine_tune", "none"),
    "fine-tune+augmentation": ("fine_tune", "diffaugment"),
    "FreezeD": ("freeze_discriminator", "none"),
    "FreezeD+augmentation": ("freeze_discriminator", "diffaugment"),
    "scale-and-shift+augmentation": ("scale_shift", "diffaugment"),
}
DONE, COMPLETED = "cell.json", "completed"
# A test part of fewer images is no reference for distances.
_REFERENCE = 1000


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training of the study."""

    method: str
    count: int
    seed: int

    @property
    def name(self) -> str:
        """Folder of the cell."""
        return f"{self.method}-{self.count}-seed{self.seed}"


def check_methods(names: list[str]) -> None:
    """Refuse rows that do not exist.

    Raises:
        InputError: no method or an unknown one; the message lists them.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise errors.InputError(
            f"--methods: no method {', '.join(unknown) or 'given'}; there are "
            f"{', '.join(METHODS)}"
        )


def check_counts(texts: list[str], images) -> list[int]:
    """Numbers of target images, each of which leaves some to measure with.

    Raises:
        InputError: none, no number, or more than there are.
    """
    available = len(images.train)
    if len(images.test) < _REFERENCE:
        available += len(images.test)
    counts = [int(text) if text.isdecimal() else 0 for text in texts]
    if not counts or not all(1 <= count <= available - 2 for count in counts):
        raise errors.InputError(
            f"--counts={','.join(texts)}: {images.name} has {available} images, and "
            f"some must be left to measure the distance; choose 1 to {available - 2}"
        )
    return counts


def choose_measures(images, extractors: dict) -> dict[str, str]:
    """Name of every extractor -> kind of `evaluation.distance`, for all cells.

    The test part decides, so that all cells have the same columns, also those of
    numbers of images that are asked for later.
    """
    from gan_transfer import evaluation, features

    return {
        name: evaluation.judging_distance(
            _samples(images.test), features.extract(each, images.test[:1]).shape[1]
        )
        for name, each in extractors.items()
    }


def train_cell(
    cell: Cell,
    folder: pathlib.Path,
    images,
    extractors: dict,
    measures: dict[str, str],
    *,
    source: str,
    depth: int,
    steps: int,
) -> None:
    """Train one cell, or continue it; `cell.json` marks it as done.

    Distances are measured at equal numbers of images shown, on images the cell does not
    train on; nothing is selected by them. A cell that diverges is done as well.
    """
    import keras

    from gan_transfer import callbacks, pretrained, schedule

    train, reference = _split(images, cell)
    recipe, augment = METHODS[cell.method]
    settings = generation.settings_with(augment)
    pretrained_gan = pretrained.load_gan(source)
    keras.utils.set_random_seed(cell.seed)
    gan, phases, _ = transferring.start(
        pretrained_gan,
        pretrained.describe(source),
        images,
        recipe,
        classes=0,
        depth=depth,
        batch_norm="adapt",
        seed=cell.seed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    epochs, epoch_steps = generation.evaluations(steps)
    try:
        rows = schedule.train(
            gan,
            phases,
            lambda phase: settings.compile(gan, phase),
            lambda first: _batches(train, cell.seed, first),
            folder,
            epochs=epochs,
            epoch_steps=epoch_steps,
            images_per_step=flags.BATCH_SIZE.value,
            extra=(_Distances(gan, reference, extractors, measures).callback(),),
            verbose=generation.progress(),
        )
    except errors.Diverged as error:
        _close(cell, folder, error.outcome, callbacks.read_history(folder))
        return
    figures.sample_grid(
        folder / "samples.png",
        judging.pixels(gan, 64),
        f"{cell.method}, {cell.count} images, seed {cell.seed}",
        reference=train[:64],
        reference_title="images trained on",
    )
    _close(cell, folder, COMPLETED, rows)


def _close(cell: Cell, folder: pathlib.Path, outcome: str, rows: list[dict]) -> None:
    found = {**dataclasses.asdict(cell), "outcome": outcome, "rows": rows}
    with writing.replacing(folder / DONE) as path:
        path.write_text(json.dumps(found))


def read_cell(folder: pathlib.Path) -> dict:
    """A cell that is done: `method`, `count`, `seed`, `outcome`, `rows`."""
    return {"outcome": COMPLETED, **json.loads((folder / DONE).read_text())}


def _split(images, cell: Cell):
    """`cell.count` seeded training images, and the reference the cell never sees.

    The reference is the test part; where that has less than `_REFERENCE` images, it is
    every image that is not trained on.
    """
    import numpy as np

    from gan_transfer import subsets

    train, labels, reference = images.train, images.train_labels, images.test
    if len(reference) < _REFERENCE:
        train, labels = np.concatenate([train, reference]), None
    rest, _, chosen, _ = subsets.hold_out(train, labels, cell.count, cell.seed)
    return chosen, rest if len(reference) < _REFERENCE else reference


def _batches(train, seed: int, start: int):
    from gan_transfer import data

    return data.batches(train, flags.BATCH_SIZE.value, seed=seed, start=start)


class _Distances:
    """Distance of samples to the reference, by every extractor, at each evaluation."""

    def __init__(self, gan, reference, extractors: dict, measures: dict[str, str]):
        from gan_transfer import features, subsets

        self.gan, self.extractors, self.measures = gan, extractors, measures
        self.count = max(_REFERENCE, _samples(reference))
        self.real = {
            name: features.extract(each, subsets.some(reference, 10_000))
            for name, each in extractors.items()
        }

    def callback(self):
        """The Keras callback that adds `<kind>_<extractor>` to the logs."""
        import keras

        return keras.callbacks.LambdaCallback(on_epoch_end=self._measure)

    def _measure(self, epoch, logs):
        from gan_transfer import evaluation, features

        generated = judging.pixels(self.gan, self.count, seed=1)
        for name, extractor in self.extractors.items():
            kind, fake = self.measures[name], features.extract(extractor, generated)
            logs[f"{kind}_{name}"] = evaluation.distance(kind, self.real[name], fake)


def _samples(reference) -> int:
    """Samples, of a reference or like it, that a distance is taken of."""
    return min(5000, len(reference))
