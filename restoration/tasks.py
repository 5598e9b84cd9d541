"""Tasks of image restoration: one damage on one kind of content (document D 3.2.1).

Meta-training sees some strengths of some kinds of damage; meta-testing asks for
strengths and for kinds that it never saw. Meta-batches are drawn by
`gan_transfer.tasks`.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from gan_transfer import errors, tasks
from restoration import degradations, masks, operators, patches

# The strength of a kind, from its weakest to its strongest damage.
RANGES = {
    "noise": (5 / 255, 60 / 255),  # standard deviation
    "blur": (0.6, 2.4),  # pixels, the larger width of a Gaussian kernel
    "pixels": (0.1, 0.8),  # missing share
    "impulses": (0.05, 0.6),  # density
    "jpeg": (60, 5),  # quality
    "strokes": (0.05, 0.35),  # missing share
}
KINDS = tuple(RANGES)
TRAINED_KINDS = ("noise", "blur", "pixels", "impulses")
UNSEEN_KINDS = ("jpeg", "strokes")
# Part of each range, between 0 and 1, that meta-training leaves out.
UNSEEN_STRENGTHS = (0.4, 0.6)
PARTS = ("train", "unseen_strengths", "unseen_kinds")
# A blur without noise could be undone exactly.
_BLUR_NOISE = 2 / 255


@dataclasses.dataclass(frozen=True)
class Damage:
    """One way to damage images (documents C 2.3, D 3.2.1).

    What is 0 is not applied; in this order: blur, noise, impulses, JPEG, missing pixels
    (they become 0).

    Attributes:
        kind: one of `KINDS`, for its name.
        sigma: standard deviation of Gaussian noise, on [0, 1].
        along: standard deviation of a Gaussian blur in pixels, in its direction.
        across: the same at right angles to it, positive as well.
        angle: of that direction against the rows, in radians.
        impulses: density of salt and pepper.
        quality: of JPEG, 0 = no compression.
        missing: share of isolated missing pixels.
        strokes: share of pixels missing under brush strokes.
    """

    kind: str
    sigma: float = 0.0
    along: float = 0.0
    across: float = 0.0
    angle: float = 0.0
    impulses: float = 0.0
    quality: int = 0
    missing: float = 0.0
    strokes: float = 0.0

    @property
    def descriptor(self) -> dict[str, float | str]:
        """The damage as numbers, 0 = none, and the name of its kind (D 3.2.1).

        The blur is told by the covariance of its kernel, `blur_xx`, `blur_yy` and
        `blur_xy` in squared pixels (x along the rows): unlike an angle it has no jump
        at 180 degrees. `jpeg` is 1 - quality / 100.
        """
        (yy, xy), (_, xx) = self._covariance().tolist()
        return {
            "kind": self.kind,
            "sigma": self.sigma,
            "blur_xx": xx,
            "blur_yy": yy,
            "blur_xy": xy,
            "impulses": self.impulses,
            "jpeg": 1 - self.quality / 100 if self.quality else 0.0,
            "missing": self.missing,
            "strokes": self.strokes,
        }

    def _covariance(self) -> np.ndarray:
        """Of the blur in squared pixels, rows (y) first."""
        direction = np.array([np.sin(self.angle), np.cos(self.angle)])
        normal = np.array([np.cos(self.angle), -np.sin(self.angle)])
        return self.along**2 * np.outer(direction, direction) + (
            self.across**2 * np.outer(normal, normal)
        )

    @property
    def margin(self) -> int:
        """Pixels around a patch that its blur brings in (document D 3.2.1)."""
        return int(np.ceil(3 * max(self.along, self.across)))

    def kernel(self) -> np.ndarray:
        """The blur, k(d) ~ exp(-d' C^-1 d / 2) with sum 1, on 3 widths (D 3.2.1).

        Returns:
            float64 `[2 margin + 1, 2 margin + 1]`; one pixel without a blur.
        """
        if not self.margin:
            return np.ones((1, 1))
        steps = np.arange(-self.margin, self.margin + 1)
        places = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1)
        inverse = np.linalg.inv(self._covariance())
        exponent = np.einsum("hwi,ij,hwj->hw", places, inverse, places)
        weights = np.exp(-exponent / 2)
        return weights / weights.sum()

    def __call__(
        self, surrounded: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Damage a patch.

        Args:
            surrounded: float32 `[H + 2 margin, W + 2 margin, C]` in [0, 1].
            rng: fixes the damage.

        Returns:
            The damaged and the clean patch, float32 `[H, W, C]`.
        """
        clean = damaged = surrounded
        if edge := self.margin:
            transfer = operators.Blur(self.kernel()).transfer(clean.shape[:2])
            spectrum = np.fft.rfft2(clean, axes=(0, 1)) * transfer[..., None]
            damaged = np.fft.irfft2(spectrum, clean.shape[:2], axes=(0, 1))
            damaged, clean = (each[edge:-edge, edge:-edge] for each in (damaged, clean))
        if self.sigma:
            damaged = degradations.gaussian_noise(damaged, self.sigma, rng)
        if self.impulses:
            damaged = degradations.salt_and_pepper(damaged, self.impulses, rng)
        if self.quality:
            damaged = degradations.jpeg(damaged, self.quality)
        for draw, share in (
            (masks.random_pixels, self.missing),
            (masks.strokes, self.strokes),
        ):
            if share:
                damaged = damaged * (1 - draw(clean.shape[:2], share, rng))
        return damaged.astype(np.float32), np.ascontiguousarray(clean)


def draw_damage(kind: str, strength: float, rng: np.random.Generator) -> Damage:
    """A damage of a kind and strength (document D 3.2.1).

    A blur's smaller width is 0.3 to 1 of its larger one, at any angle; the noise with
    it has the standard deviation 2 / 255.

    Args:
        kind: one of `KINDS`.
        strength: 0 to 1, over the range that `RANGES` gives.
        rng: fixes what the strength leaves open.

    Raises:
        errors.InputError: another kind, or a strength outside [0, 1].
    """
    if kind not in RANGES or not 0 <= strength <= 1:
        raise errors.InputError(
            f"damage {kind!r} of strength {strength}; give one of {', '.join(KINDS)}, "
            "and a strength from 0 to 1"
        )
    weakest, strongest = RANGES[kind]
    value = weakest + strength * (strongest - weakest)
    if kind == "blur":
        across, angle = value * rng.uniform(0.3, 1), rng.uniform(0, np.pi)
        return Damage(kind, _BLUR_NOISE, value, across, angle)
    if kind == "jpeg":
        return Damage(kind, quality=round(value))
    field = {"noise": "sigma", "pixels": "missing"}.get(kind, kind)
    return Damage(kind, **{field: value})


@dataclasses.dataclass(frozen=True, eq=False)
class RestorationTask:
    """Undo one damage on one kind of content (document D 3.2.1): a `tasks.Task`.

    Attributes:
        name: as of `tasks.Task`.
        group: the kind of damage.
        damage: what was done to the patches.
        content: name of the pictures.
        pictures: uint8 `[H, W, C]`, or float32 in [0, 1].
        size: pixels per side of a patch.
        count: examples.
        seed: fixes patches and damage.
        kind: `restoration`.
    """

    name: str
    group: str
    damage: Damage
    content: str
    pictures: list[np.ndarray]
    size: int
    count: int
    seed: int
    kind: str = "restoration"

    @property
    def descriptor(self) -> Mapping[str, float | str]:
        """Of the damage, and the content (document D 3.2.1)."""
        return {**self.damage.descriptor, "content": self.content}

    def __len__(self) -> int:
        """How many examples there are."""
        return self.count

    def examples(self, numbers: Sequence[int]) -> tasks.Examples:
        """Damaged and clean patches, float32 `[len(numbers), size, size, C]` each.

        Example i is always the same patch with the same damage; clean is in [0, 1],
        damaged may leave it.
        """
        size = self.size + 2 * self.damage.margin
        pairs = []
        for number in np.asarray(numbers, int):
            patch = patches.batch(self.pictures, 1, size, self.seed, number)[0]
            rng = np.random.default_rng((self.seed, number, 1))
            pairs.append(self.damage(patch, rng))
        if not pairs:
            empty = np.zeros((0, self.size, self.size, self.pictures[0].shape[2]))
            return empty.astype(np.float32), empty.astype(np.float32)
        damaged, clean = zip(*pairs, strict=True)
        return np.stack(damaged), np.stack(clean)


def draw(
    contents: Mapping[str, list[np.ndarray]],
    part: str,
    count: int,
    *,
    size: int = 32,
    examples: int = 64,
    seed: int = 0,
) -> list[RestorationTask]:
    """Draws tasks of one part of the distribution (documents D 3.2.1, D 3.2.2).

    Kinds of damage and contents take turns; strengths are uniform over their ranges.
    `train` has the `TRAINED_KINDS` without the `UNSEEN_STRENGTHS`; `unseen_strengths`
    the same kinds with only those; `unseen_kinds` the `UNSEEN_KINDS`, any strength.
    Give the parts that test other pictures than `train`.

    Args:
        contents: pictures by the name of their kind, as of `patches.read_folders`.
        part: one of `PARTS`.
        count: tasks.
        size: pixels per side of a patch.
        examples: per task.
        seed: fixes tasks and examples; task i is the same for every count.

    Raises:
        errors.InputError: an unknown part, no pictures, or pictures too small for a
            patch with the surroundings that the strongest blur needs.
    """
    if part not in PARTS or count < 1 or not contents:
        raise errors.InputError(
            f"{count} tasks of the part {part!r} from {len(contents)} contents; give "
            f"at least one of each, and one of the parts {', '.join(PARTS)}"
        )
    # At most: the margin of the widest blur on either side.
    needed = size + 2 * Damage("blur", along=RANGES["blur"][1]).margin
    for name, pictures in contents.items():
        smallest = min((min(each.shape[:2]) for each in pictures), default=0)
        if smallest < needed:
            raise errors.InputError(
                f"{name}: {len(pictures)} pictures, the smallest side {smallest}; "
                f"patches of {size} need {needed} pixels with the surroundings of a "
                "blur: use smaller patches, or larger pictures"
            )
    kinds = UNSEEN_KINDS if part == "unseen_kinds" else TRAINED_KINDS
    found = []
    for number in range(count):
        rng = np.random.default_rng((seed, PARTS.index(part), number))
        turn, place = divmod(number, len(kinds))
        content = list(contents)[turn % len(contents)]
        damage = draw_damage(kinds[place], _strength(part, rng), rng)
        name = f"{part}-{seed}/{number:04d}-{damage.kind}-{content}"
        where = damage.kind, damage, content, contents[content]
        own = int(rng.integers(2**31))
        found.append(RestorationTask(name, *where, size, examples, own))
    return found


def _strength(part: str, rng: np.random.Generator) -> float:
    low, high = UNSEEN_STRENGTHS
    draw = rng.uniform()
    if part == "unseen_kinds":
        return draw
    if part == "unseen_strengths":
        return low + draw * (high - low)
    # The range without its middle, pushed together and pulled apart again.
    draw *= 1 - (high - low)
    return draw if draw < low else draw + (high - low)
