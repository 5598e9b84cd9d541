"""The documents' `noisy_images.npy` and `clean_images.npy` (document A 4.2).

Nobody knows the damage but by the pairs: a network that learned from them is told none,
`inference.restore(network, image, sigma=0)`.
"""

import os
import pathlib

import numpy as np

from gan_transfer import array_files, errors, pictures
from restoration import inference


def read(
    noisy: str | os.PathLike, clean: str | os.PathLike, channels: int
) -> list[np.ndarray]:
    """Read `noisy_images.npy` and `clean_images.npy`, unrounded (document A 4.2).

    Both are on one scale, where 0 is black and 1 is white: floats as they are, integers
    divided by their full scale (`array_files.read_floats`). Noise may leave [0, 1], as
    far as `inference.restore` takes it. Colour becomes grey by the luma of ITU-R
    BT.601, grey is repeated.

    Args:
        noisy: array file, `[N, H, W]` or `[N, H, W, C]`, C = 1 or 3.
        clean: the same images without the damage, in the same order.
        channels: wanted, 1 or 3.

    Returns:
        float32 `[H, W, 2 channels]` each, noisy before clean.

    Raises:
        InputError: files that cannot be read, alpha, other scales, or files that hold
            other numbers or sizes of images.
    """
    both = []
    for path, limits in ((noisy, inference.RANGE), (clean, (0, 1))):
        values = array_files.read_floats(pathlib.Path(path))
        if values.min() < limits[0] or values.max() > limits[1]:
            raise errors.InputError(
                f"{path}: values from {values.min():.4g} to {values.max():.4g} instead "
                f"of {limits[0]} to {limits[1]}; rescale the images of both files "
                "alike, black to 0 and white to 1"
            )
        if values.shape[-1] == 4:
            raise errors.InputError(
                f"{path}: images with alpha; leave the fourth channel out"
            )
        if values.shape[-1] > channels:
            values = (values @ pictures.LUMA)[..., None]
        both.append(np.broadcast_to(values, (*values.shape[:3], channels)))
    if both[0].shape != both[1].shape:
        raise errors.InputError(
            f"{noisy} holds {list(both[0].shape)} and {clean} {list(both[1].shape)}; "
            "pairs need as many images of the same size"
        )
    return list(np.concatenate(both, axis=-1))
