"""Pictures whose opacity is a damage: rust, dust, hairs, stains (document C 2.3)."""

import os
import pathlib

import numpy as np
from PIL import Image

from gan_transfer import errors, images, pictures


def read(folder: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the opacities of a folder of overlays (document C 2.3).

    Args:
        folder: pictures with an alpha channel, in it or in its direct sub-folders.

    Returns:
        float32 alphas `[H, W]` in [0, 1], 1 = fully covered, by the file's path inside
        the folder, such as `dirt/dirt-007.png`.

    Raises:
        errors.InputError: no pictures, or one that is broken or has no alpha.
    """
    found = {}
    for path in images.list_folder(folder):
        alpha = pictures.read(path).alpha
        if alpha is None:
            raise errors.InputError(
                f"{path}: has no alpha channel; an overlay's opacity is the damage"
            )
        name = path.relative_to(pathlib.Path(folder)).as_posix()
        found[name] = alpha / np.float32(np.iinfo(alpha.dtype).max)
    return found


def bank(alphas: list[np.ndarray], size: int) -> np.ndarray:
    """A bank of opacities of one size, to train with (document C 2.3).

    Args:
        alphas: `[H, W]` in [0, 1], as of `read`; the middle of each is taken.
        size: pixels per side that are needed, >= 1; smaller ones are enlarged.

    Returns:
        uint8 `[N, S, S, 1]`, 255 covers; S is the smallest side, but not less than
        `size` nor more than twice that.
    """
    size = min(max(size, min(min(alpha.shape) for alpha in alphas)), 2 * size)
    found = np.empty((len(alphas), size, size, 1), np.uint8)
    for place, alpha in zip(found, alphas, strict=True):
        grown = max(size / min(alpha.shape), 1)
        shape = tuple(max(size, round(grown * side)) for side in alpha.shape)
        top, left = ((side - size) // 2 for side in shape)
        part = resampled(alpha, shape)[top : top + size, left : left + size]
        place[..., 0] = np.round(255 * part)
    return found


def resampled(alpha: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An opacity `[h, w]` stretched to another height and width, float32 (C 2.3)."""
    alpha = alpha.astype(np.float32)
    if alpha.shape == shape:
        return alpha
    resized = Image.fromarray(alpha).resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized)
