"""Omniglot characters as tasks: parts by whole alphabets, rotations, budgets."""

import dataclasses
import pathlib

from experiments.support import restoration_data
from gan_transfer import errors, writing

QUERY = 10  # held-out drawings of a character, and samples that stand against them
_DONE = "test.npz"


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Characters of disjoint alphabets; another seed, another split.

    Those of the meta-database are of the alphabets of training, but no start was
    trained on them: what it stores about them is what an unseen character would get.

    Attributes:
        path: file that they come from.
        seed: of the split.
        training: to learn from.
        stored: for the meta-database.
        validation: the inner rates are chosen on these.
        test: never seen before they are tested on.
    """

    path: pathlib.Path
    seed: int
    training: list
    stored: list
    validation: list
    test: list

    @classmethod
    def load(
        cls, name: str, seed: int, test: int, validation: int, stored: int
    ) -> "Split":
        """Read the characters; hold out whole alphabets, and take that many of them.

        Raises:
            InputError: no such file, no characters in it, too few alphabets, or nothing
                left to learn from.
        """
        from gan_transfer import image_tasks, tasks

        path = restoration_data.find(name)
        rest, tested = tasks.hold_out(image_tasks.characters(path), test, seed)
        training, validated = tasks.hold_out(rest, validation, seed)
        if stored >= len(training):
            raise errors.InputError(
                f"{path} has {len(training)} characters to learn from and "
                f"{stored} of them are for the meta-database: none is left; lower "
                "--stored_characters"
            )
        tested, _ = _chosen(tested, test, seed)
        stored, training = _chosen(training, stored, seed)
        return cls(path, seed, training, stored, validated[:validation], tested)

    def rotated(self) -> list:
        """The training characters turned by 0, 90, 180 and 270 degrees.

        A turned character is another one: Santoro et al., "Meta-Learning with
        Memory-Augmented Neural Networks", ICML 2016.
        """
        import numpy as np

        return [
            dataclasses.replace(
                task,
                name=f"{task.name}/{90 * turns}",
                pixels=np.ascontiguousarray(np.rot90(task.pixels, turns, (1, 2))),
            )
            for task in self.training
            for turns in range(4)
        ]

    def drawings(self):
        """All drawings of `rotated`, uint8 `[N, H, W, 1]`."""
        import numpy as np

        return np.concatenate([task.pixels for task in self.rotated()])

    def held_out(self, tasks: list):
        """Query drawings of characters, uint8 `[T * 10, H, W, 1]`."""
        import numpy as np

        from gan_transfer import data

        parts = [self.divided(task, 1)[1][0] for task in tasks]
        return data.to_uint8(np.concatenate(parts))

    def divided(self, task, shots: int):
        """Support and query drawings of a character, `(images,)` each."""
        from gan_transfer import tasks

        return tasks.split(task, shots, QUERY, self.seed)


def _chosen(found: list, count: int, seed: int) -> tuple[list, list]:
    """A seeded choice and the rest, both in their order."""
    import numpy as np

    chosen = set(np.random.default_rng(seed).permutation(len(found))[:count])
    return tuple(
        [task for number, task in enumerate(found) if (number in chosen) == wanted]
        for wanted in (True, False)
    )


def updates(steps: float, images: int, per_update: int) -> int:
    """Updates that make as many gradients of an image as `steps` of `images` each."""
    return max(1, round(steps * images / per_update))


class Study:
    """The cells of one seed: a folder per method, what its test found in one file.

    Attributes:
        settings: what the cells have in common.
        split: the characters of this seed.
        folder: the run directory.
    """

    def __init__(self, settings, split: Split, folder: pathlib.Path):
        self.settings, self.split, self.folder = settings, split, folder

    def find(self, method: str) -> dict:
        """Train and test a method, or go on with it; subclasses say how."""
        raise NotImplementedError

    def cell(self, method: str) -> pathlib.Path:
        """Folder of a method's training and test."""
        return self.folder / "cells" / f"{method}-seed{self.split.seed}"

    def is_done(self, method: str) -> bool:
        """Whether a method's test is stored."""
        return (self.cell(method) / _DONE).exists()

    def result(self, method: str) -> dict:
        """What a method's test found, read or found now."""
        import numpy as np

        if self.is_done(method):
            with np.load(self.cell(method) / _DONE) as stored:
                return dict(stored)
        print(f"seed {self.split.seed}: {method}", flush=True)
        found = self.find(method)
        self.store(method, found)
        return found

    def store(self, method: str, found: dict) -> None:
        """Write what a method's test found."""
        import numpy as np

        path = self.cell(method) / _DONE
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing.partial(path) as temporary:
            np.savez_compressed(temporary, **found)
