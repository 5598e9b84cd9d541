"""Pictures put together from images and lines of text, in whole pixels."""

import functools
import pathlib
from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan_transfer import errors

GAP = 2  # pixels between tiles
MARGIN = 16  # pixels around a sheet
INK, GREY = (33, 33, 33), (110, 110, 110)
_WHITE = 255


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Lays images out in rows, from left to right.

    Args:
        images: uint8 [N, H, W, C], N >= 1, C 1 or 3; small ones are enlarged by a
            whole factor.
        columns: images in a row, at least 1.

    Returns:
        uint8 [rows * (h + 2) - 2, columns * (w + 2) - 2, 3], h and w as enlarged, white
        between the images and where the last row is short.

    Raises:
        errors.InputError: images of another type or shape, or no image.
    """
    cells = enlarged(images)
    count, height, width, _ = cells.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    tiled = np.full(
        (rows * (height + GAP), columns * (width + GAP), 3), _WHITE, np.uint8
    )
    for index, cell in enumerate(cells):
        top = index // columns * (height + GAP)
        left = index % columns * (width + GAP)
        tiled[top : top + height, left : left + width] = cell
    return tiled[:-GAP, :-GAP]


def enlarged(images: np.ndarray) -> np.ndarray:
    """Checks images and returns them in RGB, small ones enlarged.

    Args:
        images: uint8 [N, H, W, C], N >= 1, C 1 or 3.

    Returns:
        uint8 [N, f * H, f * W, 3]; f is the largest whole factor that keeps the longer
        side within 64 pixels, at least 1.

    Raises:
        errors.InputError: images of another type or shape, or no image.
    """
    images = np.asarray(images)
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[3] not in (1, 3)
        or not images.size
    ):
        raise errors.InputError(
            f"cannot draw {images.dtype} images of shape {images.shape}; give uint8 "
            "[N, H, W, C] with N >= 1 and C 1 or 3"
        )
    factor = max(1, 64 // max(images.shape[1:3]))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    return np.broadcast_to(images, (*images.shape[:3], 3))


def centred(cells: np.ndarray, height: int, width: int) -> np.ndarray:
    """Enlarges cells by a whole factor to fit, white around them."""
    factor = min(height // cells.shape[1], width // cells.shape[2])
    cells = cells.repeat(factor, axis=1).repeat(factor, axis=2)
    down, right = height - cells.shape[1], width - cells.shape[2]
    around = [
        (0, 0),
        (down // 2, down - down // 2),
        (right // 2, right - right // 2),
        (0, 0),
    ]
    return np.pad(cells, around, constant_values=_WHITE)


@functools.cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Returns one of the fonts that Matplotlib ships, in pixels of height."""
    folder = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf")
    return ImageFont.truetype(str(folder / f"{name}.ttf"), size)


def text_line(
    text: str, colour: tuple[int, int, int], *, bold: bool = False, width: int = 0
) -> np.ndarray:
    """Draws one line of text on white.

    Returns:
        uint8 [h, w, 3]; h is one for all texts of a weight, w at least `width`.
    """
    face = font("DejaVuSans-Bold", 15) if bold else font("DejaVuSans", 13)
    needed = round(face.getlength(text)) + 2
    size = (max(needed, width), sum(face.getmetrics()))
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).text((0, 0), text, fill=colour, font=face)
    return np.asarray(picture)


def wrapped(title: str, width: int) -> list[np.ndarray]:
    """Breaks a title at its spaces into lines of at most `width` pixels."""
    lines = [""]
    for word in title.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_line(longer, INK, bold=True).shape[1] > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [text_line(line, INK, bold=True) for line in lines]


def framed(array: np.ndarray) -> np.ndarray:
    """Adds the white margin around a sheet."""
    margins = [(MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)]
    return np.pad(array, margins, constant_values=_WHITE)


def stack(parts: Sequence[np.ndarray], axis: int, gap: int = 6) -> np.ndarray:
    """Puts pictures below (axis 0) or beside (axis 1) each other, white between."""
    across = max(part.shape[1 - axis] for part in parts)
    filled = []
    for part in parts:
        margins = [(0, 0), (0, 0), (0, 0)]
        margins[axis] = (0, gap)
        margins[1 - axis] = (0, across - part.shape[1 - axis])
        filled.append(np.pad(part, margins, constant_values=_WHITE))
    whole = np.concatenate(filled, axis=axis)
    end = whole.shape[axis] - gap
    return whole[:end] if axis == 0 else whole[:, :end]


def with_labels(grid: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Writes a text left of each row of a grid, against the grid, half-way up."""
    texts = [text_line(label, GREY) for label in labels]
    width = max(text.shape[1] for text in texts)
    column = np.full((grid.shape[0], width, 3), _WHITE, np.uint8)
    row = (grid.shape[0] + GAP) / len(labels)
    for index, text in enumerate(texts):
        top = max(0, round((index + 0.5) * row - GAP / 2 - text.shape[0] / 2))
        text = text[: grid.shape[0] - top]
        column[top : top + text.shape[0], width - text.shape[1] :] = text
    return stack([column, grid], 1, gap=8)
