"""Training patches from photographs of any size (documents A 3.2, D 3.2.1).

As `gan_transfer.data.batches`, a batch is a function of the seed and the number of the
update alone, so training resumes exactly.
"""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from gan_transfer import errors, images


def read_folders(
    folders: Sequence[str | os.PathLike], channels: int
) -> list[np.ndarray]:
    """Read every picture of some folders at its own size (document A 3.2).

    Returns:
        uint8 `[H, W, channels]` each, in sorted order folder by folder.

    Raises:
        InputError: a folder without pictures, or a picture that cannot be read.
    """
    paths = [path for folder in folders for path in images.list_folder(folder)]
    return [images.read(path, channels) for path in paths]


def hold_out(
    pictures: list[np.ndarray], count: int, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Split off `count` pictures for validation (document A 3.2).

    Returns:
        Training and validation pictures; no picture is in both.

    Raises:
        InputError: nothing would be left to train on.
    """
    if not 0 <= count < len(pictures):
        raise errors.InputError(
            f"{count} validation pictures cannot be split off {len(pictures)}, at least"
            " one must be left to train on; hold out fewer, or add pictures"
        )
    order = np.random.default_rng(seed).permutation(len(pictures))
    held = set(order[:count].tolist())
    rest = [each for number, each in enumerate(pictures) if number not in held]
    return rest, [pictures[number] for number in sorted(held)]


def batch(
    pictures: list[np.ndarray], count: int, size: int, seed: int, step: int
) -> np.ndarray:
    """The patches of one update: random places, flips and rotations (document E 2(1)).

    A picture is drawn with a probability in proportion to its area.

    Args:
        pictures: uint8 `[H, W, C]`, or float32; both sides at least `size`.
        count: patches.
        size: side of a patch in pixels.
        seed: of the run.
        step: number of the update.

    Returns:
        float32 `[count, size, size, C]`: uint8 as [0, 1], float32 as it is.
    """
    rng = np.random.default_rng((seed, step))
    areas = np.cumsum([each.shape[0] * each.shape[1] for each in pictures])
    chosen = np.searchsorted(areas, rng.integers(0, areas[-1], count), side="right")
    kind = pictures[0].dtype
    result = np.empty((count, size, size, pictures[0].shape[-1]), kind)
    for place, number in enumerate(chosen):
        height, width = pictures[number].shape[:2]
        top = rng.integers(0, height - size + 1)
        left = rng.integers(0, width - size + 1)
        patch = pictures[number][top : top + size, left : left + size]
        turns, flip = rng.integers(0, 4), rng.integers(0, 2)
        patch = np.rot90(patch, turns)
        result[place] = patch[:, ::-1] if flip else patch
    return result / np.float32(255) if kind == np.uint8 else result


def batches(
    pictures: list[np.ndarray], count: int, size: int, *, seed: int = 0, start: int = 0
) -> tf.data.Dataset:
    """Endless batches of `batch`, from update `start` on (document A 3.2).

    Raises:
        InputError: a picture smaller than a patch.
    """
    smallest = min((min(each.shape[:2]) for each in pictures), default=0)
    if smallest < size:
        raise errors.InputError(
            f"patches of {size} pixels do not fit pictures with a side of {smallest}; "
            f"use patches of at most {smallest}, or leave such pictures out"
        )

    shape = (count, size, size, pictures[0].shape[-1])

    def draw(step):
        drawn = tf.numpy_function(
            lambda t: batch(pictures, count, size, seed, int(t)), [step], tf.float32
        )
        return tf.ensure_shape(drawn, shape)

    return tf.data.Dataset.counter(start).map(draw).prefetch(4)
