"""Tasks of image generation: a character, a class, a row of emoji (document D 3.1.1).

Meta-batches of them are drawn by `gan_transfer.tasks`.
"""

import collections
import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np

from gan_transfer import archive, data, errors, tasks

_SKIN_TONES = frozenset(range(0x1F3FB, 0x1F400))
_JOINER = 0x200D
_MIN_EMOJI = 12


@dataclasses.dataclass(frozen=True, eq=False)
class ImageTask:
    """Generate images like these (document D 3.1.1): a `tasks.Task`.

    Attributes:
        name: as of `tasks.Task`.
        group: as of `tasks.Task`.
        descriptor: as of `tasks.Task`.
        pixels: uint8 `[N, H, W, C]`.
        kind: `generation`.
    """

    name: str
    group: str
    descriptor: Mapping[str, float | str]
    pixels: np.ndarray
    kind: str = "generation"

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self.pixels)

    def examples(self, numbers: Sequence[int]) -> tasks.Examples:
        """One array, float32 `[len(numbers), H, W, C]` in [-1, 1]."""
        return (data.to_float(self.pixels[np.asarray(numbers, int)]),)


def characters(path: str | os.PathLike) -> list[ImageTask]:
    """One Omniglot character per task, grouped by alphabet (document D 3.1.1).

    Args:
        path: `.npz` with `x` uint8 `[N, H, W]`, strokes bright; `alphabet` and
            `character`, integers `[N]`; `alphabet_names` and `character_names`.

    Returns:
        A task per character, 20 drawings each in the published set.

    Raises:
        errors.InputError: no such file, or no such arrays in it.

    Lake, Salakhutdinov and Tenenbaum, Human-level concept learning, Science 2015.
    """
    keys = ("x", "alphabet", "character", "alphabet_names", "character_names")
    x, alphabet, character, alphabets, names = _arrays(path, keys)
    found = []
    for number in np.unique(character):
        chosen = character == number
        group = str(alphabets[alphabet[chosen][0]])
        descriptor = {"set": "omniglot", "group": group}
        name = f"omniglot/{names[number]}"
        found.append(ImageTask(name, group, descriptor, x[chosen][..., None]))
    return found


def classes(images: data.Images, *, test: bool = False) -> list[ImageTask]:
    """One class of a labelled set per task, each a group (document D 3.1.1).

    Args:
        images: MNIST, Fashion-MNIST, glyphs, a folder of folders, ...
        test: whether to take the test images: those of the meta-test tasks, so that
            reported numbers are of images that no training saw.

    Raises:
        errors.InputError: no labels.
    """
    if images.train_labels is None:
        raise errors.InputError(
            f"{images.name} has no labels; tasks are made of its classes, so use a "
            "labelled set or a folder with a sub-folder per class"
        )
    pixels = images.test if test else images.train
    labels = images.test_labels if test else images.train_labels
    return [
        ImageTask(
            f"{images.name}/{name}",
            name,
            {"set": images.name, "group": name},
            pixels[labels == number],
        )
        for number, name in enumerate(images.class_names)
        if np.any(labels == number)
    ]


def emoji(path: str | os.PathLike) -> list[ImageTask]:
    """One row of the Unicode chart per task: 16 related emoji (document D 3.1.1).

    Variants by skin tone and joined sequences (professions, families) are left out:
    they are near copies, and a query example would be known from the support. So are
    rows with less than 12 emoji.

    Args:
        path: `.npz` with `x` uint8 `[N, H, W, 3]` and `file_names`, in which the code
            points stand: `emoji_u1f430.png`.

    Raises:
        errors.InputError: no such file, no such arrays, or other names.
    """
    pixels, names = _arrays(path, ("x", "file_names"))
    rows = collections.defaultdict(list)
    for number, name in enumerate(names):
        try:
            stem = str(name).removeprefix("emoji_u").removesuffix(".png")
            points = [int(point, 16) for point in stem.split("_")]
        except ValueError:
            raise errors.InputError(
                f"{path}: {name} names no code points; use the names of Noto emoji"
            ) from None
        if _JOINER not in points and not _SKIN_TONES & set(points[1:]):
            rows[points[0] // 16].append(number)
    found = []
    for row, numbers in sorted(rows.items()):
        if len(numbers) >= _MIN_EMOJI:
            group = f"u{16 * row:x}"
            descriptor = {"set": "emoji", "group": group}
            found.append(
                ImageTask(f"emoji/{group}", group, descriptor, pixels[numbers])
            )
    return found


def _arrays(path: str | os.PathLike, keys: Sequence[str]) -> list[np.ndarray]:
    arrays = archive.read(path, only=tuple(keys))
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise errors.InputError(
            f"{path}: has no array {missing[0]!r}; there must be {', '.join(keys)}"
        )
    return [arrays[key] for key in keys]
