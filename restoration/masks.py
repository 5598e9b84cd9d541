"""Masks of missing pixels, by kind of damage (documents C 2.3, D 2.3).

All masks are float32 `[H, W, 1]`, 1 = missing. Every kind takes the share of pixels to
lose and a generator that fixes the drawing. `random_pixels` and `blobs` lose exactly
round(share H W) pixels; the others add marks until that many are covered, and the last
marks may cover more.
"""

import functools
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan_transfer import errors

_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:!?"
_MIN_SHARE, _MAX_SHARE = 0.02, 0.4


def random_pixels(
    shape: tuple[int, int], share: float, rng: np.random.Generator
) -> np.ndarray:
    """Isolated pixels, round(share H W) of them, anywhere (document D 2.3).

    Args:
        shape: H, W.
        share: of the pixels, in [0, 1]; where marks are drawn, at most 0.9.
        rng: fixes the drawing.

    Returns:
        float32 `[H, W, 1]`, 1 = missing.

    Raises:
        errors.InputError: an empty shape, or a share outside [0, 1].
    """
    size = _checked(shape, share, 1)
    mask = np.zeros(size, np.float32)
    mask[rng.permutation(size)[: round(share * size)]] = 1
    return mask.reshape(*shape, 1)


def blobs(shape: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """Rust and stains: smooth noise of many scales above a threshold (document C 2.3).

    The largest scale is a random part of the shorter side, each octave below it is
    weaker by its scale to a random power in (0.6, 1.4): from frayed to smooth edges.
    Arguments, result and errors as for `random_pixels`.
    """
    size = _checked(shape, share, 1)
    height, width = shape
    scale = max(min(shape) / rng.uniform(1.5, 6), 2.0)
    roughness = rng.uniform(0.6, 1.4)
    # Single pixels of noise decide between equal heights.
    field = rng.normal(0, 1e-3, shape)
    while scale >= 1:
        grid = (int(np.ceil(height / scale)) + 3, int(np.ceil(width / scale)) + 3)
        noise = Image.fromarray(rng.standard_normal(grid, dtype=np.float32))
        left, top = rng.uniform(0, 1, 2) + 1
        box = (left, top, left + width / scale, top + height / scale)
        smooth = noise.resize((width, height), Image.Resampling.BICUBIC, box)
        field += scale**roughness * np.asarray(smooth)
        scale /= 2
    order = np.argsort(field, axis=None)
    mask = np.zeros(size, np.float32)
    mask[order[size - round(share * size) :]] = 1
    return mask.reshape(*shape, 1)


def strokes(
    shape: tuple[int, int], share: float, rng: np.random.Generator
) -> np.ndarray:
    """Curved brush strokes, each of its own width (document C 2.3).

    Widths between 2 pixels and a tenth of the shorter side, heading a random walk.
    Arguments, result and errors as for `random_pixels`; the last stroke may exceed the
    share.
    """
    side = min(shape)

    def mark(draw):
        width = max(2, round(side * 0.1 * rng.uniform() ** 2))
        points = _walk(shape, rng, rng.integers(4, 16), max(2, side / 12), 0.5)
        draw.line(points, 255, width, joint="curve")
        for x, y in (points[0], points[-1]):
            radius = (width - 1) / 2
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), 255)

    return _drawn(shape, share, mark)


def blocks(
    shape: tuple[int, int], share: float, rng: np.random.Generator
) -> np.ndarray:
    """Upright rectangles (document C 2.3, missing regions).

    Sides between 2 pixels and a third of the picture's. Arguments, result and errors as
    for `random_pixels`; the last rectangle may exceed the share.
    """
    height, width = shape

    def mark(draw):
        tall, wide = (
            round(max(2, side * rng.uniform(0.04, 0.33))) for side in (height, width)
        )
        top = rng.integers(min(0, 1 - tall // 2), max(1, height - tall // 2))
        left = rng.integers(min(0, 1 - wide // 2), max(1, width - wide // 2))
        draw.rectangle((left, top, left + wide - 1, top + tall - 1), 255)

    return _drawn(shape, share, mark)


def text(shape: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """Lines of text as printed over a picture (document C 2.3, occlusion).

    Random characters in Pillow's own font, letters between 8 pixels and a sixth of the
    shorter side high, thin or bold. Arguments, result and errors as for
    `random_pixels`; the last line may exceed the share.
    """
    height, width = shape

    def mark(draw):
        size = round(rng.uniform(8, max(9, min(shape) / 6)))
        length = rng.integers(4, 8 + 2 * width // size)
        # Two blanks for each dozen letters part the line into words.
        line = "".join(rng.choice(list(_CHARACTERS + " " * 12), length))
        # A line may be cut by any edge of the picture.
        corner = (rng.uniform(-4 * size, 0.6 * width), rng.uniform(-size, height))
        bold = int(rng.integers(0, 1 + (size > 16)))
        draw.text(corner, line, 255, _font(size), stroke_width=bold)

    return _drawn(shape, share, mark)


def scratches(
    shape: tuple[int, int], share: float, rng: np.random.Generator
) -> np.ndarray:
    """Long thin lines, slightly wavy, with breaks (document C 2.3, scratches).

    One to three pixels wide; most of one mask run in about the same direction.
    Arguments, result and errors as for `random_pixels`; the last line may exceed the
    share.
    """
    common = rng.uniform(0, np.pi)
    step = max(2, min(shape) / 20)

    def mark(draw):
        width = int(rng.choice((1, 1, 2, 3)))
        heading = common + rng.normal(0, 0.15)
        if rng.uniform() < 0.2:
            heading = rng.uniform(0, np.pi)
        points = _walk(shape, rng, rng.integers(5, 30), step, 0.06, heading)
        broken = rng.uniform(0, 0.3)
        for start, end in zip(points, points[1:], strict=False):
            if rng.uniform() >= broken:
                draw.line((start, end), 255, width)

    return _drawn(shape, share, mark)


def dirt(shape: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """Many small specks, half of them in clusters (document C 2.3, dirt).

    Triangles to pentagons of radius 0.5 to 4 pixels, small ones the most frequent.
    Arguments, result and errors as for `random_pixels`; the last speck may exceed the
    share.
    """
    extent = np.array(shape[::-1], float)
    centres = rng.uniform(0, 1, (4, 2)) * extent
    spread = rng.uniform(0.03, 0.15, (4, 1)) * min(shape)

    def mark(draw):
        centre = rng.uniform(0, 1, 2) * extent
        if rng.uniform() < 0.5:
            cluster = rng.integers(4)
            centre = centres[cluster] + rng.normal(0, 1, 2) * spread[cluster]
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 6)))
        radius = min(4, 0.5 * (1 - rng.uniform()) ** -0.6)
        corners = centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        draw.polygon(corners.ravel().tolist(), 255)

    return _drawn(shape, share, mark)


# The largest share that still looks like its kind.
_KINDS = {
    strokes: 0.4,
    blocks: 0.4,
    text: 0.2,
    blobs: 0.4,
    scratches: 0.15,
    dirt: 0.2,
}


def bank(count: int, size: int, seed: int) -> np.ndarray:
    """Masks to train with: all shapes in equal numbers, in turn (document C 2.3).

    Strokes, blocks, text, blobs, scratches, dirt; the missing share is drawn
    log-uniformly and lies between 2 % and 40 %.

    Args:
        count: masks, >= 1.
        size: pixels per side, >= 16.
        seed: fixes the bank; a longer bank begins with the shorter one.

    Returns:
        uint8 `[count, size, size, 1]`, 1 = missing.

    Raises:
        errors.InputError: a count or a size below its minimum.
    """
    if count < 1 or size < 16:
        raise errors.InputError(
            f"a bank of {count} masks of {size} pixels; take at least 1 of at least 16"
        )
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, size, size, 1), np.uint8)
    kinds = tuple(_KINDS.items())
    for index in range(count):
        kind, most = kinds[index % len(kinds)]
        while not _MIN_SHARE <= masks[index].mean() <= _MAX_SHARE:
            share = np.exp(rng.uniform(np.log(_MIN_SHARE), np.log(most)))
            masks[index] = kind((size, size), share, rng)
    return masks


def _checked(shape: tuple[int, int], share: float, most: float) -> int:
    """Returns the number of pixels."""
    if len(shape) != 2 or min(shape) < 1:
        raise errors.InputError(f"a mask of shape {tuple(shape)}; give (height, width)")
    if not 0 <= share <= most:
        raise errors.InputError(f"missing share {share} is not in [0, {most}]")
    return shape[0] * shape[1]


def _drawn(
    shape: tuple[int, int], share: float, mark: Callable[[ImageDraw.ImageDraw], None]
) -> np.ndarray:
    """Adds marks until `share` of the pixels is covered."""
    wanted = round(share * _checked(shape, share, 0.9))
    canvas = Image.new("L", shape[::-1])
    draw = ImageDraw.Draw(canvas)
    covered = marks = 0
    while covered < wanted:
        # Counting is slow: after half of the marks that are likely to be needed.
        likely = (wanted - covered) * marks // (2 * covered) if covered else 1
        for _ in range(max(1, min(marks, likely))):
            mark(draw)
            marks += 1
        covered = sum(canvas.histogram()[128:])
    # Letters have grey edges; a pixel is missing or not.
    return (np.asarray(canvas)[..., None] > 127).astype(np.float32)


def _walk(
    shape: tuple[int, int],
    rng: np.random.Generator,
    steps: int,
    length: float,
    turn: float,
    heading: float | None = None,
) -> list[tuple[float, float]]:
    """Points (x, y) of a path from anywhere whose heading is a random walk."""
    first = rng.uniform(0, 2 * np.pi) if heading is None else heading
    headings = first + np.cumsum(rng.normal(0, turn, steps))
    moves = np.stack([np.cos(headings), np.sin(headings)], 1) * length
    path = rng.uniform(0, 1, 2) * shape[::-1] + np.cumsum(moves, 0) - moves.sum(0) / 2
    return [tuple(point) for point in path.tolist()]


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
