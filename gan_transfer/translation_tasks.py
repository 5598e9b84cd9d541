"""Tasks of translation without pairs: redrawing in two colours (document D 3.1).

Domain A is drawings, bright on dark; domain B is other drawings, redrawn as plain, bold
or outlined strokes and coloured. The mapping is known, so what a CycleGAN learns can be
measured against the truth. Meta-batches are drawn by `gan_transfer.tasks`.
"""

import colorsys
import dataclasses
from collections.abc import Sequence

import numpy as np

from gan_transfer import data, errors, tasks

STROKES = ("plain", "bold", "outline")
_HUES = 6
# Tasks of a group share their strokes and the sector of the ink's hue.
GROUPS = tuple(f"{strokes}/{hue}" for strokes in STROKES for hue in range(_HUES))
_PAPERS = (0.85, 1.0), (0.0, 0.25)  # brightness, light or dark


def bold(drawings: np.ndarray) -> np.ndarray:
    """Maximum over 3x3 pixels of bright drawings `[N, H, W, C]` (document D 3.1.1)."""
    height, width = drawings.shape[1:3]
    padded = np.pad(drawings, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    parts = [
        padded[:, top : top + height, left : left + width]
        for top in range(3)
        for left in range(3)
    ]
    return np.max(parts, axis=0)


@dataclasses.dataclass(frozen=True)
class Redrawing:
    """Strokes and two colours: what a translator has to learn (document D 3.1.1).

    y = s(x) * ink + (1 - s(x)) * paper, with x and y in [0, 1] and s the drawing itself
    (plain), its 3x3 maximum (bold) or the difference of both (outline).

    Attributes:
        strokes: of `STROKES`.
        ink: red, green, blue of full strokes, in [0, 1].
        paper: the same of no stroke.
    """

    strokes: str
    ink: tuple[float, float, float]
    paper: tuple[float, float, float]

    def __call__(self, drawings: np.ndarray) -> np.ndarray:
        """Redraw grey drawings, float32 `[N, H, W, 3]` in [-1, 1], same shape out."""
        x = (drawings[..., :1] + 1) / 2
        if self.strokes != "plain":
            x = bold(x) if self.strokes == "bold" else bold(x) - x
        y = x * np.float32(self.ink) + (1 - x) * np.float32(self.paper)
        return np.float32(2 * y - 1)


@dataclasses.dataclass(frozen=True, eq=False)
class TranslationTask:
    """Translate drawings as these are redrawn (document D 3.1.1): a `tasks.Task`.

    Attributes:
        name: as of `tasks.Task`.
        group: likewise: strokes and sector of the ink's hue.
        mapping: the truth.
        pixels: uint8 `[2 N, H, W, 1]`; the first half is domain A, the second is
            redrawn to domain B, so that no image has a partner.
        kind: `generation`.
    """

    name: str
    group: str
    mapping: Redrawing
    pixels: np.ndarray
    kind: str = "generation"

    @property
    def descriptor(self) -> dict[str, float | str]:
        """Strokes and colours."""
        numbers = {
            f"{what}_{channel}": value
            for what in ("ink", "paper")
            for channel, value in zip("rgb", getattr(self.mapping, what), strict=True)
        }
        return {"strokes": self.mapping.strokes, **numbers}

    def __len__(self) -> int:
        """How many images either domain has."""
        return len(self.pixels) // 2

    def examples(self, numbers: Sequence[int]) -> tasks.Examples:
        """Images of A and, no partners, of B: float32 `[n, H, W, 3]` in [-1, 1]."""
        numbers = np.asarray(numbers, int)
        first, second = (
            np.repeat(data.to_float(self.pixels[chosen]), 3, axis=3)
            for chosen in (numbers, len(self) + numbers)
        )
        return first, self.mapping(second)


def split(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Splits `GROUPS` into those to learn from and `count` unseen ones (D 3.1.2).

    Every stroke and every hue is among those to learn from: unseen are combinations.

    Raises:
        errors.InputError: so many that this cannot be.
    """
    rng, parts = np.random.default_rng(seed), _parts(GROUPS)
    if count > len(GROUPS) - max(map(len, parts)):
        raise errors.InputError(
            f"{count} of {len(GROUPS)} groups cannot be held out with every stroke and "
            "hue left to learn from; hold out fewer"
        )
    while True:
        order = rng.permutation(len(GROUPS))
        held = {GROUPS[number] for number in order[:count]}
        known = [each for each in GROUPS if each not in held]
        if _parts(known) == parts:
            return known, sorted(held)


def _parts(groups: Sequence[str]) -> list[set[str]]:
    """The strokes and the hues of groups."""
    return [set(each) for each in zip(*(g.split("/") for g in groups), strict=True)]


def draw(
    pixels: np.ndarray, groups: Sequence[str], count: int, examples: int, seed: int
) -> list[TranslationTask]:
    """Draw tasks: strokes, colours and drawings (document D 3.1.1).

    The ink is a saturated colour, the paper a pale or a dark one.

    Args:
        pixels: drawings, bright on dark, uint8 `[M, H, W, 1]`.
        groups: of `GROUPS`; the tasks are theirs in turn.
        count: of tasks.
        examples: images of either domain of a task; no task has an image twice.
        seed: same seed, same tasks.

    Raises:
        errors.InputError: images in colour, or too few.
    """
    if pixels.shape[3] != 1 or len(pixels) < 2 * examples:
        raise errors.InputError(
            f"translation tasks need grey drawings, {2 * examples} or more, not "
            f"{len(pixels)} with {pixels.shape[3]} channel(s)"
        )
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        group = groups[number % len(groups)]
        strokes, sector = group.split("/")
        hue = (int(sector) + rng.uniform()) / _HUES
        ink = colorsys.hsv_to_rgb(hue, 0.9, rng.uniform(0.6, 1.0))
        brightness = rng.uniform(*_PAPERS[rng.integers(len(_PAPERS))])
        paper = colorsys.hsv_to_rgb(rng.uniform(), 0.3, brightness)
        chosen = rng.choice(len(pixels), 2 * examples, replace=False)
        mapping = Redrawing(strokes, ink, paper)
        found.append(
            TranslationTask(f"{group}-{number}", group, mapping, pixels[chosen])
        )
    return found
