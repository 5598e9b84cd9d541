"""Before and after in one picture: what a restoration did, at a glance."""

import os

import numpy as np
from PIL import Image

from experiments.support import sheet
from gan_transfer import picture_files
from restoration import metrics

_WIDTH, _HEIGHT = 1600, 1000  # pixels: of a strip, and at most of one picture in it
_SMALL = 128  # pixels: pictures below it are enlarged by a whole factor
_CELL = 16  # pixels: step in which the place of the detail is searched
_GAP = 8
_MAGENTA = (255, 0, 255)


def write(
    path: str | os.PathLike[str],
    before: np.ndarray,
    after: np.ndarray,
    mask: np.ndarray | None = None,
) -> None:
    """Writes a picture before and after its restoration as a PNG.

    A large picture is shrunk to a strip of at most 1600 pixels; below one shrunk by a
    quarter or more stands the part that changed most, at full size.

    Args:
        path: the file to write.
        before: float `[H, W, C]` in [0, 1], C = 1 or 3.
        after: likewise, of the same shape.
        mask: `[H, W, 1]`, 1 = missing; such pixels are magenta in `before`.

    Raises:
        errors.InputError: the file cannot be written.
    """
    shown = [_pixels(before), _pixels(after)]
    labels = ["before", "after"]
    if mask is not None:
        shown[0] = np.where(mask > 0.5, np.uint8(_MAGENTA), shown[0])
        labels[0] += ", missing pixels in magenta"
    height, width = before.shape[:2]
    beside = width <= 2 * height
    room = _WIDTH - 2 * sheet.MARGIN
    room = (room - _GAP) // 2 if beside else room
    axis = 1 if beside else 0
    rows = [_panels(labels, [_fitted(each, room) for each in shown], axis)]
    if width > 1.25 * room or height > 1.25 * _HEIGHT:
        size = min(height, room * 3 // 4), min(width, room)
        top, left = _most_changed(before, after, size)
        details = [each[top:, left:][: size[0], : size[1]] for each in shown]
        place = f"detail at full size, {size[1]}x{size[0]} pixels at ({left}, {top})"
        rows.append(_panels([f"before: {place}", "after"], details, axis))
    picture = sheet.framed(sheet.stack(rows, 0, gap=2 * _GAP))
    with picture_files.replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def _pixels(image: np.ndarray) -> np.ndarray:
    pixels = metrics.quantise(image)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _fitted(image: np.ndarray, room: int) -> np.ndarray:
    height, width = image.shape[:2]
    factor = max(1, _SMALL // max(height, width))
    if factor > 1:
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    scale = min(1, room / width, _HEIGHT / height)
    if scale == 1:
        return image
    size = max(1, round(scale * width)), max(1, round(scale * height))
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3))


def _panels(labels: list[str], panels: list[np.ndarray], axis: int) -> np.ndarray:
    labelled = [
        sheet.stack([sheet.text_line(label, sheet.INK), panel], 0)
        for label, panel in zip(labels, panels, strict=True)
    ]
    return sheet.stack(labelled, axis, gap=_GAP)


def _most_changed(
    before: np.ndarray, after: np.ndarray, size: tuple[int, int]
) -> tuple[int, int]:
    """Top and left of the window of this size with the largest sum of changes."""
    sums = np.abs(after - before).sum(axis=2)
    for axis in (0, 1):
        starts = np.arange(0, sums.shape[axis], _CELL)
        sums = np.add.reduceat(sums, starts, axis)
        window = max(1, size[axis] // _CELL)
        summed = np.cumsum(sums, axis, dtype=np.float64)
        ends = np.take(summed, range(window - 1, sums.shape[axis]), axis)
        before_it = np.take(summed, range(sums.shape[axis] - window), axis)
        margins = [(0, 0), (0, 0)]
        margins[axis] = (1, 0)
        sums = ends - np.pad(before_it, margins)
    place = np.unravel_index(np.argmax(sums), sums.shape)
    return tuple(
        min(_CELL * int(cell), side - extent)
        for cell, side, extent in zip(place, before.shape[:2], size, strict=True)
    )
