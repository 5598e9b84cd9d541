"""Heat over pictures: where a map is high, and which point it belongs to."""

import numpy as np

from gan_transfer import errors

_COLD, _HOT = np.array([60.0, 60.0, 60.0]), np.array([230.0, 97.0, 0.0])
_POINT = np.array([0, 114, 178], np.uint8)  # the blue of Okabe and Ito (2008)


def overlay(images: np.ndarray, maps: np.ndarray, point: tuple[int, int]) -> np.ndarray:
    """Lays a map over each image and marks the point that it belongs to.

    Args:
        images: uint8 [N, H, W, C], C 1 or 3; drawn in grey.
        maps: [N, h, w], not negative; each is scaled so that its highest value is the
            full colour.
        point: row and column in the h x w map, marked as a blue cell.

    Returns:
        uint8 [N, H', W', 3] in RGB, H' and W' the smallest multiples of H and of h (W
        and w) that hold a cell of the map in whole pixels.

    Raises:
        errors.InputError: another number of maps than of images, or a point outside.
    """
    if len(maps) != len(images) or not all(
        0 <= at < side for at, side in zip(point, maps.shape[1:], strict=True)
    ):
        raise errors.InputError(
            f"cannot lay maps {maps.shape} with point {point} over images "
            f"{images.shape}; give one map per image and a point inside it"
        )
    sides = [
        np.lcm(*pair) for pair in zip(images.shape[1:3], maps.shape[1:], strict=True)
    ]
    grey = _enlarged(images.mean(axis=3), sides) / 255.0
    heat = _enlarged(maps / maps.max(axis=(1, 2), keepdims=True), sides)
    ground = 0.6 * 255.0 * grey[..., None] + 0.4 * _COLD
    pictures = np.rint(ground + heat[..., None] * 0.8 * (_HOT - ground))
    pictures = np.clip(pictures, 0, 255).astype(np.uint8)
    height, width = np.floor_divide(sides, maps.shape[1:])
    top, left = point[0] * height, point[1] * width
    pictures[:, top : top + height, left : left + width] = _POINT
    return pictures


def _enlarged(planes: np.ndarray, sides: list[int]) -> np.ndarray:
    """Planes [N, h, w] with every pixel repeated up to the given sides."""
    for axis, side in enumerate(sides, start=1):
        planes = planes.repeat(side // planes.shape[axis], axis=axis)
    return planes
