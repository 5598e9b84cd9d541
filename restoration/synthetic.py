"""Dead-leaves pictures: training data without a download (documents A 3.1, A 3.3).

A picture is a pile of opaque leaves of all sizes that hide one another, each with a
texture of its own. Sizes follow a power law, which gives the statistics of natural
images: objects, edges and smooth regions at all scales, a power spectrum near 1/f^2.
No picture is read: all constants are written here, set by eye and by a few averages
over BSDS500's training photographs (contrast, edges, colour). Sources: Lee, Mumford and
Huang, "Occlusion Models for Natural Images", IJCV 2001; Achddou, Gousseau and Ladjal,
"Synthetic images as a regularity prior for image restoration neural networks", SSVM
2021, whose later work (arXiv 2504.10201) adds shapes, textures and depth of field.
"""

import dataclasses

import numpy as np
from PIL import Image, ImageDraw

from gan_transfer import errors

# Pictures in a row that cut their textures from the same noise fields.
_SHARED = 16
_SLOPES = np.linspace(0.5, 2.5, 17)
_CORNERS = 24
# Luminance, orange-blue, green-magenta: the principal axes of natural colours.
_AXES = np.array([[1, 1, 1], [1, 0, -1], [0.5, -1, 0.5]], np.float32)


@dataclasses.dataclass(frozen=True)
class _Leaves:
    """From back to front: outlines `[N, K, 2]`, centres `[N, 2]`, radii `[N]`."""

    outlines: np.ndarray
    centres: np.ndarray
    radii: np.ndarray


def dead_leaves(count: int, size: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Draw textured dead-leaves pictures (document A 3.1, data for pretraining).

    Radii have the density r^-3; leaves are ellipses, polygons, irregular and bent thin
    shapes, with coloured noise (amplitude 1/f^0.5 to 1/f^2.5), waves, mixes of both or
    none. Some pictures have a second, nearer layer with another focus. Drawn at twice
    the size and averaged, then blurred slightly, then contrast and gamma vary.

    Args:
        count: pictures, >= 1.
        size: pixels per side, >= 16.
        channels: 1 or 3.
        seed: fixes the pictures; more pictures begin with the same ones.

    Returns:
        uint8 `[count, size, size, channels]`.

    Raises:
        errors.InputError: a count, a size or a number of channels that cannot be drawn.
    """
    if count < 1 or size < 16 or channels not in (1, 3):
        raise errors.InputError(
            f"{count} dead-leaves pictures of {size} pixels with {channels} channels; "
            "take at least 1 of at least 16 pixels, with 1 or 3 channels"
        )
    pictures = np.empty((count, size, size, channels), np.uint8)
    for index in range(count):
        if index % _SHARED == 0:
            fields = _noise_fields(2 * size, np.random.default_rng([seed, 0, index]))
        rng = np.random.default_rng([seed, 1, index])
        pictures[index] = _picture(fields, channels, rng)
    return pictures


def _picture(fields: np.ndarray, channels: int, rng: np.random.Generator) -> np.ndarray:
    side = fields.shape[1]
    palette = _palette(channels, rng)
    smallest = np.exp(rng.uniform(np.log(2), np.log(0.16 * side)))
    picture, _ = _layer(fields, palette, smallest, 5.0, rng)
    if rng.uniform() < 0.25:
        smallest = side * rng.uniform(0.03, 0.1)
        near, alpha = _layer(fields, palette, smallest, rng.uniform(0.2, 0.8), rng)
        out_of_focus = rng.uniform(0.5, 2.5)
        if rng.uniform() < 0.7:
            picture = _blurred(picture, out_of_focus)
        else:
            near, alpha = _blurred(near, out_of_focus), _blurred(alpha, out_of_focus)
        picture = picture * (1 - alpha) + near
    if rng.uniform() < 0.5:
        picture = _blurred(picture, rng.uniform(0.25, 0.5))
    return _developed(picture, rng)


def _layer(
    fields: np.ndarray,
    palette: np.ndarray,
    smallest: float,
    cover: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """One layer of leaves whose areas sum to `cover` canvases.

    Returns:
        Colours times opacity, float32 `[S, S, C]`, and opacity `[S, S, 1]`; S is half
        of the canvas. A layer with `cover` > 1 has a leaf behind all others.
    """
    side = fields.shape[1]
    leaves = _leaves(side, smallest, cover, rng)
    leaves.radii[0] = side  # The ground's light falls off across all of it.
    canvas = Image.new("I", (side, side), int(cover > 1) - 1)
    draw = ImageDraw.Draw(canvas)
    for index, outline in enumerate(leaves.outlines.reshape(-1, 2 * _CORNERS).tolist()):
        draw.polygon(outline, index)
    labels = np.asarray(canvas)
    colours = _textured(labels, leaves, fields, palette, rng)
    if cover > 1:
        return _halved(colours), np.ones((side // 2, side // 2, 1), np.float32)
    alpha = (labels >= 0).astype(np.float32)[..., None]
    return _halved(colours * alpha), _halved(alpha)


def _leaves(
    side: int, smallest: float, cover: float, rng: np.random.Generator
) -> _Leaves:
    """Radii with density r^-3 in [smallest, side], all shapes from one formula."""
    ratio = (smallest / side) ** 2
    mean_area = np.pi * smallest**2 * np.log(1 / ratio) / (1 - ratio)
    count = max(2, round(cover * side**2 / mean_area))
    radii = smallest / np.sqrt(1 - rng.uniform(0, 1 - ratio, count))
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    # A regular n-gon's outline, where n divides the number of corners; 24 is a disc.
    edges = rng.choice((24, 24, 24, 3, 4, 4, 6), count)[:, None]
    step = 2 * np.pi / edges
    reach = np.cos(step / 2) / np.cos(angles % step - step / 2)
    # A third each has lobes, has teeth.
    waves = rng.normal(0, 0.5, (count, 3, 1)) * (rng.uniform(size=(count, 1, 1)) < 0.35)
    orders = np.arange(2, 5)[:, None]
    phases = rng.uniform(0, 2 * np.pi, (count, 3, 1))
    lobes = (waves / orders * np.cos(orders * angles + phases)).sum(1)
    teeth = rng.normal(0, 0.25, (count, _CORNERS))
    teeth *= rng.uniform(size=(count, 1)) < 0.3
    reach = reach * np.exp(lobes + teeth) * radii[:, None]
    # Stretched at constant area; a fifth are thin and bent.
    thin = rng.uniform(size=(count, 1)) < 0.2
    longer = rng.uniform(0, 0.5, (count, 1)) + thin * rng.uniform(0.7, 1.6, (count, 1))
    stretch = np.exp(longer)
    x, y = reach * np.cos(angles) * stretch, reach * np.sin(angles) / stretch
    bend = thin * rng.normal(0, 0.15, (count, 1)) / radii[:, None]
    y = y + bend * x**2 / stretch
    turn = rng.uniform(0, 2 * np.pi, (count, 1))
    outlines = np.stack(
        [x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], -1
    )
    room = side + radii[:, None]
    centres = rng.uniform(size=(count, 2)) * room - radii[:, None] / 2
    return _Leaves(outlines + centres[:, None], centres, radii)


def _textured(
    labels: np.ndarray,
    leaves: _Leaves,
    fields: np.ndarray,
    palette: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Colour of every pixel from its leaf's parameters: float32 `[S, S, C]`."""
    count, side = len(leaves.radii), len(labels)

    def of_leaf(values):
        return np.asarray(values, np.float32)[labels]

    kind = rng.choice(4, count, p=(0.1, 0.15, 0.5, 0.25))  # flat, waves, noise, both
    y, x = np.mgrid[:side, :side].astype(np.float32)
    x -= of_leaf(leaves.centres[:, 0])
    y -= of_leaf(leaves.centres[:, 1])

    # Noise: cut anywhere out of a field, turned, enlarged and stretched.
    turn = rng.uniform(0, 2 * np.pi, count)
    zoom = np.exp(rng.uniform(-0.7, 0.7, (2, count)))
    row = of_leaf(np.cos(turn) * zoom[0]) * x + of_leaf(np.sin(turn) * zoom[0]) * y
    column = of_leaf(np.cos(turn) * zoom[1]) * y - of_leaf(np.sin(turn) * zoom[1]) * x
    place = rng.integers(side, size=(2, count))[:, labels]
    row = (row.astype(np.int32) + place[0]) % side
    column = (column.astype(np.int32) + place[1]) % side
    field = rng.integers(len(fields), size=count)[labels]
    noise = fields[field, row, column]

    # Waves of 4 to 64 canvas pixels, warped by the noise, some of them steep.
    turn = rng.uniform(0, 2 * np.pi, count)
    pulse = 2 * np.pi / np.exp(rng.uniform(np.log(4), np.log(64), count))
    warp = rng.uniform(0, 2, count) * (kind == 3)
    phase = of_leaf(np.cos(turn) * pulse) * x + of_leaf(np.sin(turn) * pulse) * y
    phase += of_leaf(warp) * noise
    steep = of_leaf(np.exp(rng.uniform(-2, 1.5, count)))
    waves = np.tanh(steep * np.sin(phase)) / np.tanh(steep)

    contrast = np.minimum(np.exp(rng.normal(np.log(0.05), 1.1, count)), 0.25)
    value = of_leaf(contrast * (kind >= 2)) * noise
    value += of_leaf(contrast * np.isin(kind, (1, 3)) * rng.uniform(0.3, 1)) * waves
    # Light falls off across every leaf.
    light = rng.normal(0, 0.05, (2, count)) / leaves.radii
    value += of_leaf(light[0]) * x + of_leaf(light[1]) * y

    # Leaves of one region have colours near one another on the palette.
    row, column = np.clip(leaves.centres, 0, side - 1).astype(int).T[::-1]
    region = fields[-1, row, column] + rng.normal(0, 0.3, count)
    hue = np.clip((region + 2) / 4 * len(palette), 0, len(palette) - 1).astype(int)
    base = palette[hue] + _colours(count, palette.shape[1], (0.09, 0.008, 0.004), rng)
    tint = _colours(count, palette.shape[1], (0, 0.1, 0.05), rng)
    return of_leaf(base) + value[..., None] * of_leaf(1 + tint)


def _colours(
    count: int, channels: int, spread: tuple[float, ...], rng: np.random.Generator
) -> np.ndarray:
    """Normal draws along the natural axes `[count, channels]`; grey has only one."""
    draws = rng.normal(0, 1, (count, 3)) * spread
    return draws[:, :1] if channels == 1 else draws @ _AXES


def _palette(channels: int, rng: np.random.Generator) -> np.ndarray:
    """A random walk through mostly pale colours around one cast `[K, C]`."""
    count = rng.integers(8, 24)
    cast = _colours(1, channels, (0.12, 0.07, 0.025), rng)
    vivid = np.exp(rng.normal(0, 0.6))
    spread = (0.19, 0.04 * vivid, 0.02 * vivid)
    steps = _colours(count, channels, spread, rng)
    # 0.6^2 + 0.8^2 = 1: the spread stays the same along the walk.
    for index in range(1, count):
        steps[index] = 0.6 * steps[index - 1] + 0.8 * steps[index]
    return 0.42 + cast + steps


def _noise_fields(side: int, rng: np.random.Generator) -> np.ndarray:
    """Periodic Gaussian noise of amplitude 1/f^slope, `[slopes, side, side]`, std 1."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = np.inf
    fields = np.empty((len(_SLOPES), side, side), np.float32)
    for index, slope in enumerate(_SLOPES):
        white = np.fft.rfft2(rng.standard_normal((side, side), np.float32))
        field = np.fft.irfft2(white * frequency**-slope, (side, side))
        fields[index] = field / field.std()
    return fields


def _halved(image: np.ndarray) -> np.ndarray:
    """Mean of 2x2 pixels."""
    rows = image[::2] + image[1::2]
    return (rows[:, ::2] + rows[:, 1::2]) / 4


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of `[H, W, C]`, edges continued."""
    radius = int(np.ceil(3 * sigma))
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        length = image.shape[axis]
        pad = [(0, 0)] * 3
        pad[axis] = (radius, radius)
        padded = np.moveaxis(np.pad(image, pad, mode="edge"), axis, 0)
        image = sum(w * padded[i : i + length] for i, w in enumerate(weights))
        image = np.moveaxis(image, 0, axis)
    return image


def _developed(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Contrast and gamma of a camera, then uint8."""
    contrast, gamma = np.exp(rng.normal(0, 0.2, 2))
    picture = (0.5 + 0.5 * np.tanh(2.2 * contrast * (picture - 0.45))) ** gamma
    return np.round(255 * picture).astype(np.uint8)
