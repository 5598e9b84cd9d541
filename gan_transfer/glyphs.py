"""The embedded data set: digits and letters drawn from fonts (for document A 3.2).

Stands in for MNIST where there is no network: the same shape, range, box and centring
(LeCun et al., 1998), about the same brightness, drawn from the fonts that Matplotlib
brings along. It is always called `glyphs`, never `mnist`.
"""

import contextlib
import io
import os
import pathlib

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from gan_transfer import errors, writing

DIGITS = "0123456789"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# By name, so that another Matplotlib does not silently give other data. Left out are
# fonts without digits and those that draw something else in their place.
FONTS = (
    *(f"DejaVuSans{s}" for s in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{s}" for s in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{s}" for s in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{s}" for s in ("", "Bol", "Italic", "BolIta")),
    *("cmb10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)

_VERSION = 1  # Of the drawing: a new one leaves old cache files alone.
_SIDE, _BOX = 28, 20
_MASTER, _MARGIN = 96, 16

Part = tuple[np.ndarray, np.ndarray]


def load(
    letters: bool = False, *, samples_per_class: int = 1000, seed: int = 0
) -> tuple[Part, Part]:
    """Returns the embedded data set, drawing it on first use (embedded data set).

    Kept in `$XDG_CACHE_HOME/gan_transfer` or `~/.cache/gan_transfer`; a cache that is
    broken or cannot be written costs only the time to draw again.

    Args:
      letters: the 26 capital letters instead of the 10 digits.
      samples_per_class: training images of each class; there are a tenth as many test
        images, at least one, drawn apart from them.
      seed: of the drawing.

    Returns:
      `(x_train, y_train), (x_test, y_test)`: uint8 `[N, 28, 28, 1]`, bright on black,
      in random order; int32 `[N]`.

    Raises:
      errors.InputError: fewer than one sample, or a font is missing.
    """
    if samples_per_class < 1:
        raise errors.InputError(
            f"samples_per_class is {samples_per_class}; it must be at least 1"
        )
    characters = LETTERS if letters else DIGITS
    counts = (samples_per_class, max(1, samples_per_class // 10))
    kind = "letters" if letters else "digits"
    cache = _cache_folder() / f"{kind}-v{_VERSION}-{samples_per_class}-{seed}.npz"
    parts = _read_cache(cache, [n * len(characters) for n in counts])
    if parts is None:
        masters = _masters(characters)
        parts = [
            _draw(masters, count, np.random.default_rng([seed, index]))
            for index, count in enumerate(counts)
        ]
        _write_cache(cache, parts)
    return tuple(parts)


def _masters(characters: str) -> list[list[list[Image.Image]]]:
    """Draws each character large, indexed by class, font and thickness."""
    folder = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf")
    inside = _MASTER - 2 * _MARGIN
    masters = [[] for _ in characters]
    for name in FONTS:
        try:
            # Given a path that does not exist, Pillow would take the system's font.
            content = io.BytesIO((folder / f"{name}.ttf").read_bytes())
            font = ImageFont.truetype(content, inside)
        except OSError as error:
            raise errors.InputError(
                f"{folder / name}.ttf: font missing; install matplotlib again"
            ) from error
        for drawn, character in zip(masters, characters, strict=True):
            picture = Image.new("L", (_MASTER, _MASTER))
            ImageDraw.Draw(picture).text(
                (_MASTER // 2, _MASTER // 2), character, 255, font, anchor="mm"
            )
            drawn.append([picture.filter(stroke) for stroke in _strokes(name)])
    return masters


def _strokes(font: str) -> list[ImageFilter.RankFilter]:
    """Returns filters that make the strokes of a font about as wide as MNIST's."""
    if "Bol" not in font and font != "cmb10":
        return [ImageFilter.MaxFilter(width) for width in (1, 3, 5)]
    # Thinning would break the hairlines of a bold face with serifs.
    widths = (1, 3, 5) if "Sans" in font else (1, 1, 1)
    return [ImageFilter.MinFilter(width) for width in widths]


def _draw(masters, per_class: int, rng: np.random.Generator) -> Part:
    """Draws `per_class` distorted samples of each class, in random order."""
    labels = rng.permutation(np.repeat(np.arange(len(masters)), per_class))
    fonts = rng.integers(len(FONTS), size=len(labels))
    strokes = rng.integers(3, size=len(labels))
    pixels = np.zeros((len(labels), _SIDE, _SIDE, 1), np.uint8)
    for index, label in enumerate(labels):
        master = masters[label][fonts[index]][strokes[index]]
        pixels[index, :, :, 0] = _centred(_distorted(master, rng), rng)
    return pixels, labels.astype(np.int32)


def _distorted(master: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Rotates, shears, stretches and warps: bilinear between 3x3 moved points."""
    angle, shear = rng.normal(0, 0.15), rng.normal(0, 0.2)
    stretch = np.exp(rng.normal(0, 0.12))
    rotation = [
        [np.cos(angle), -np.sin(angle)],
        [np.sin(angle), np.cos(angle)],
    ]
    matrix = np.array(rotation) @ [[stretch, shear], [0, 1 / stretch]]
    half = _MASTER // 2
    grid = np.stack(np.meshgrid([-half, 0, half], [-half, 0, half]), -1)
    points = grid @ matrix.T + half + rng.normal(0, 4.0, grid.shape)
    cells = []
    for row in (0, 1):
        for column in (0, 1):
            box = (column * half, row * half, (column + 1) * half, (row + 1) * half)
            # The order Pillow wants: upper left, lower left, lower right, upper right.
            corners = points[
                [row, row + 1, row + 1, row], [column] * 2 + [column + 1] * 2
            ]
            cells.append((box, corners.ravel().tolist()))
    return master.transform(
        master.size, Image.Transform.MESH, cells, Image.Resampling.BILINEAR
    )


def _centred(picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Shrinks into the 20x20 box and puts the centre of mass into the middle."""
    left, top, right, bottom = picture.getbbox()
    scale = _BOX / max(right - left, bottom - top) * rng.uniform(0.88, 1.0)
    width = max(2, round((right - left) * scale))
    height = max(2, round((bottom - top) * scale))
    small = picture.resize(
        (width, height), Image.Resampling.BICUBIC, (left, top, right, bottom)
    )
    ink = np.asarray(small, np.float32)
    ink = np.clip(ink * rng.uniform(1.0, 1.5), 0, 255)
    rows, columns = ink.sum(1), ink.sum(0)
    x, y = (
        int(np.clip(round(_SIDE / 2 - centre), 0, _SIDE - length))
        for centre, length in (
            (np.average(np.arange(width), weights=columns), width),
            (np.average(np.arange(height), weights=rows), height),
        )
    )
    result = np.zeros((_SIDE, _SIDE), np.uint8)
    result[y : y + height, x : x + width] = ink
    return result


def _cache_folder() -> pathlib.Path:
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root, "gan_transfer")


def _read_cache(path: pathlib.Path, counts: list[int]) -> list[Part] | None:
    # Whatever is wrong with a cache, drawing again mends it.
    with (
        contextlib.suppress(Exception),
        open(path, "rb") as stream,
        np.load(stream, allow_pickle=False) as loaded,
    ):
        parts = [(loaded["x_train"], loaded["y_train"])]
        parts.append((loaded["x_test"], loaded["y_test"]))
        if all(
            x.shape == (count, _SIDE, _SIDE, 1)
            and x.dtype == np.uint8
            and y.shape == (count,)
            and y.dtype == np.int32
            for (x, y), count in zip(parts, counts, strict=True)
        ):
            return parts
    return None


def _write_cache(path: pathlib.Path, parts: list[Part]) -> None:
    (x_train, y_train), (x_test, y_test) = parts
    # A home that cannot be written is no reason not to train.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing.replacing(path) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(
                stream, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test
            )
