"""Flags of what restorers are trained on, and what they stand for: pictures, damage.

Import it at the top for the flags; TensorFlow and the packages are imported inside the
functions, after the flags are checked.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

from absl import flags as absl_flags

from experiments.support import flags
from gan_transfer import errors

SYNTHETIC = "synthetic"
_SYNTHETIC_COUNT, _SYNTHETIC_SIZE = 600, 256
_MOST_HELD = 16
PHOTOGRAPHS = absl_flags.DEFINE_multi_string(
    "photographs",
    [SYNTHETIC],
    "folder of photographs to train on, also looked for in --data_dir and in "
    "$GAN_TRANSFER_DATA; may be given several times; synthetic: dead-leaves pictures "
    "that the package draws",
)
DAMAGE = absl_flags.DEFINE_enum(
    "damage",
    "mixture",
    ["mixture", "noise", "overlays", "jpeg"],
    "what is learned: mixture (noise, salt-and-pepper, missing pixels and shapes) or "
    "Gaussian noise alone, both with levels from 0 to 55 of 255; or to find it by "
    "itself: overlays (rust, stains, scratches, dirt) or the traces of JPEG",
)
OVERLAYS = absl_flags.DEFINE_string(
    "overlays",
    None,
    "--damage=overlays: folder of pictures whose opacity is the damage, also looked "
    "for in --data_dir and in $GAN_TRANSFER_DATA; default: shapes that the package "
    "draws",
)
PATCH = absl_flags.DEFINE_integer(
    "patch", 64, "side of the training patches in pixels, 16 to 512", 16, 512
)
NOISY_IMAGES = absl_flags.DEFINE_string(
    "noisy_images",
    None,
    "array file of damaged images to train on as they are, with --clean_images",
)
CLEAN_IMAGES = absl_flags.DEFINE_string(
    "clean_images", None, "array file of the same images undamaged"
)
VALIDATION = absl_flags.DEFINE_integer(
    "validation",
    None,
    "pictures held out to select by; 0: none, the last weights are kept; default: a "
    "tenth, at most 16",
    lower_bound=0,
)
FLAGS = (PHOTOGRAPHS, DAMAGE, OVERLAYS, PATCH, NOISY_IMAGES, CLEAN_IMAGES, VALIDATION)
BANK = (384, 192)  # training masks and their side, where patches are no larger


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What a restorer learns from: pictures damaged afresh, or pairs as they are.

    Attributes:
        name: for titles and summaries.
        pictures: uint8 `[H, W, C]` each; of pairs, float32 `[H, W, 2 C]`, damaged
            before clean.
        damage: of clean batches, or None for pairs.
        held: pictures held out.
        judge: scores on these, or where there are none, on some of `pictures`.
        sides: of the patches in pixels, phase by phase.
    """

    name: str
    pictures: list
    damage: Callable | None
    held: int
    judge: Any
    sides: list[int]

    @property
    def judged(self) -> str:
        """How the scores' names begin: `val`, or `train` where nothing is held out."""
        return "val" if self.held else "train"

    def scores(self, network) -> dict[str, float]:
        """Scores of the judge, by what they were measured on."""
        found = self.judge.scores(network)
        return {name.replace("val", self.judged, 1): found[name] for name in found}

    def batches(self, count: int, side: int, start: int):
        """Batches for `supervised.Restorer` from update `start` on."""
        from restoration import patches

        found = patches.batches(
            self.pictures, count, side, seed=flags.SEED.value, start=start
        )
        return found if self.damage else found.map(_pair)


def _pair(both):
    import tensorflow as tf

    damaged, clean = tf.split(both, 2, axis=-1)
    # What is known of the damage is only what the pairs show.
    return damaged, tf.zeros_like(damaged[..., :1]), tf.zeros_like(damaged), clean


def training_data(channels: int, sides: list[int]) -> TrainingData:
    """The pairs or the photographs that the flags name, some of them held out.

    Args:
        channels: 1 or 3.
        sides: of the patches, phase by phase. Photographs smaller than the largest are
            refused, all of them and before anything is written; pairs leave out the
            phases that they are too small for, and say so.

    Raises:
        errors.InputError: nothing usable there, or flags that contradict each other.
    """
    import numpy as np

    from restoration import pairs, patches, pretrained, validation

    if OVERLAYS.value and DAMAGE.value != "overlays":
        raise errors.InputError(
            f"--overlays has no effect on --damage={DAMAGE.value}; leave it out, or "
            "ask for --damage=overlays"
        )
    if NOISY_IMAGES.value or CLEAN_IMAGES.value:
        noisy, clean = _pair_files()
        both = pairs.read(noisy, clean, channels)
        sides = _fitting(sides, both[0].shape)
        pictures, held, shown = _hold_out(both)
        parts = np.split(np.stack(shown), 2, axis=-1)
        judge = validation.PairValidation(*parts)
        return TrainingData(noisy.name, pictures, None, held, judge, sides)
    name = "+".join(pathlib.Path(each).name for each in PHOTOGRAPHS.value)
    pictures = photographs(
        PHOTOGRAPHS.value,
        channels,
        count=_SYNTHETIC_COUNT,
        side=_SYNTHETIC_SIZE,
        seed=flags.SEED.value,
    )
    patches.batches(pictures, 1, max(sides))
    pictures, held, shown = _hold_out(pictures)
    damage, unseen = _damages(sides)
    crop = min(160, min(min(each.shape[:2]) for each in shown) // 8 * 8)
    told = DAMAGE.value in pretrained.TOLD
    judge = validation.Validation(shown, crop, unseen, told=told)
    return TrainingData(name, pictures, damage, held, judge, sides)


def _damages(sides: list[int]) -> tuple[Callable, Callable]:
    """What --damage names, for patches of these sides: to train with, and to judge.

    What the network is told may be the same. What it has to find may not, and every
    fourth overlay, or a bank drawn apart, is kept for the judge.
    """
    from restoration import masks, mixture, overlays, unmarked

    if DAMAGE.value == "noise":
        return mixture.gaussian, mixture.gaussian
    if DAMAGE.value == "jpeg":
        return unmarked.jpeg, unmarked.jpeg
    count, side = BANK
    side = max(side, *sides)
    if DAMAGE.value == "mixture":
        damage = mixture.Mixture(masks.bank(count, side, seed=0))
        return damage, damage
    if OVERLAYS.value is None:
        banks = [255 * masks.bank(count, side, seed=seed) for seed in (0, 1)]
        return unmarked.Overlays(banks[0]), unmarked.Overlays(banks[1])
    alphas = list(overlays.read(find(OVERLAYS.value)).values())
    if len(alphas) < 2:
        raise errors.InputError(
            f"--overlays={OVERLAYS.value} holds {len(alphas)} picture; 2 or more are "
            "needed: a fourth, but one at least, is kept to judge by"
        )
    held = alphas[::4]
    rest = [alpha for number, alpha in enumerate(alphas) if number % 4]
    return tuple(unmarked.Overlays(overlays.bank(part, side)) for part in (rest, held))


def _hold_out(pictures: list) -> tuple[list, int, list]:
    """What is left to train on, how many are held out, and which to judge by."""
    from restoration import patches

    count = VALIDATION.value
    if count is None:
        count = min(_MOST_HELD, len(pictures) // 10)
    rest, held = patches.hold_out(pictures, count, 0)
    return rest, count, held or rest[:_MOST_HELD]


def _pair_files() -> list[pathlib.Path]:
    """Where --noisy_images and --clean_images are."""
    files = NOISY_IMAGES.value, CLEAN_IMAGES.value
    if None in files or any(map(flags.differs, (PHOTOGRAPHS, DAMAGE))):
        raise errors.InputError(
            "--noisy_images and --clean_images go together, without --photographs and "
            "--damage; give both or none"
        )
    return [find(file) for file in files]


def _fitting(sides: list[int], shape: tuple[int, ...]) -> list[int]:
    """The patch sides that pairs of a shape are large enough for, or their own side."""
    fitting = [side for side in sides if side <= min(shape[:2])] or [min(shape[:2])]
    if fitting != sides:
        left_out = ", ".join(str(side) for side in sides if side not in fitting)
        print(
            f"pairs of {shape[1]}x{shape[0]} pixels: patches of {fitting[0]} pixels, "
            f"none of {left_out}, which do not fit"
        )
    return fitting


def photographs(
    names: list[str], channels: int, *, count: int, side: int, seed: int
) -> list:
    """The pictures of some folders, or drawn ones where the name is `SYNTHETIC`.

    Args:
        names: folders, looked for by `find`.
        channels: 1 or 3.
        count: pictures to draw.
        side: their height and width.
        seed: fixes them.

    Returns:
        uint8 `[H, W, channels]` each.

    Raises:
        errors.InputError: a folder that is not there or holds no pictures, or both
            folders and drawn pictures.
    """
    from restoration import patches, synthetic

    if names == [SYNTHETIC]:
        return list(synthetic.dead_leaves(count, side, channels, seed))
    if SYNTHETIC in names:
        raise errors.InputError(
            f"photographs of {', '.join(names)}: synthetic cannot be mixed with "
            "folders; leave one out"
        )
    return patches.read_folders([find(name) for name in names], channels)


def find(name: str) -> pathlib.Path:
    """A folder or file as given, or inside --data_dir or $GAN_TRANSFER_DATA.

    Raises:
        errors.InputError: there is none.
    """
    from gan_transfer import sources

    places = [flags.DATA_DIR.value, os.environ.get(sources.DATA_DIR_VARIABLE)]
    tried = [pathlib.Path(name), *(pathlib.Path(p, name) for p in places if p)]
    for path in tried:
        if path.exists():
            return path
    raise errors.InputError(
        f"{name!r} not found: looked for {', '.join(map(str, tried))}; give what "
        "exists, or name the folder it lies in by --data_dir"
    )
