"""Salt and pepper found in a picture: dead and stuck pixels (documents A 2.2, D 2.3).

A restorer is told which pixels are missing; where nobody knows, this module finds out.
"""

import numpy as np

from restoration import noise

_BLOCK = 64
_FEWEST = 6
_MOST = 0.97
_MISS = 3.5
_REACH = 2.5  # standard deviations that noise goes
_TAIL = 0.1  # of the extremes, that lie beside them at least
_LEVEL = 3  # pixels on all sides that tell the level around one
_BAND = 512  # rows looked at together, for the memory of large pictures


def find(image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Find salt and pepper: pixels set to 0 or 1 at random (document D 2.3).

    Impulses are exactly 0 or 1, both alike often, everywhere and independent of their
    neighbours. Their density is the share of the rarer extreme in the blocks that have
    least of it; where that is none, or where its neighbours are of its kind more or
    less often than chance would have it (text), there are no impulses; nor are there in
    pictures of two levels (dithering). Extremes that the picture's noise explains,
    clipped where it was written to a file, are none: those within 2.5 standard
    deviations of the level around, if other values lie beside them. Of the others a
    pixel is an impulse if around it that extreme is no more frequent than the density
    explains; else it belongs to a black or white part of the picture. The window is as
    large as telling the two apart needs: 5x5 at low density, 31x31 at 0.9.

    On photographs it works from a density of 0.005 to 0.9 and finds over 0.99 of the
    impulses on average, of 0.3 beside noise of 25 of 255 over 0.9. Among black strokes
    on white it finds about 0.9 of them, and none at low density. Clipped noise of 75 of
    255 it takes for impulses in half of the pictures, in up to 0.025 of the pixels.

    Args:
        image: float `[H, W, C]`, 0 and 1 the ends of its scale. Channels are searched
            apart.
        mask: `[H, W, C]`, 1 = missing: what stands there is not looked at.

    Returns:
        float32 `[H, W, C]`, 1 = impulse; usable as a mask.

    Raises:
        errors.InputError: another shape.
    """
    noise.check(image)
    known = np.ones(image.shape, bool) if mask is None else mask == 0
    channels = [
        _of_channel(image[..., c], known[..., c]) for c in range(image.shape[2])
    ]
    return np.stack(channels, axis=-1).astype(np.float32)


def _of_channel(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Impulses of one channel `[H, W]`, as booleans."""
    extremes = [(values == end) & known for end in (0, 1)]
    found = np.zeros(values.shape, bool)
    either = extremes[0] | extremes[1]
    if either.sum() > _MOST * known.sum():
        return found
    density = _density(extremes, [known, known])
    if density:
        sigma = noise.estimate_sigma(values[..., None], (either | ~known)[..., None])
        if sigma > noise.CLEAN:
            places = _out_of_reach(values, known & ~either, _REACH * sigma)
            if _go_on(values, extremes, places, sigma / 4):
                places = [known & each for each in places]
                extremes = [e & p for e, p in zip(extremes, places, strict=True)]
                density = _density(extremes, places)
    if not 0 < density <= _MOST:
        return found
    # Three standard deviations from either explanation to the middle of both.
    radius = max(5, int(np.ceil(3 / (1 - density))) | 1) // 2
    each = density / 2
    pixels = np.arange((2 * radius + 1) ** 2)
    limit = pixels * each + _MISS * np.sqrt(pixels * each * (1 - each)) + 1
    limit = limit.astype(np.int32)
    for top in range(0, len(values), _BAND):
        first = max(0, top - radius)
        rows = slice(top - first, top - first + _BAND)
        for extreme in extremes:
            seen = extreme[first : top + _BAND + radius]
            same, inside = _neighbours(seen, radius)
            found[top : top + _BAND] |= (seen & (same <= limit[inside]))[rows]
    return found


def _out_of_reach(
    values: np.ndarray, between: np.ndarray, reach: float
) -> list[np.ndarray]:
    """Where the level is further than `reach` from 0, and from 1, as booleans.

    The level is the mean of what lies `between` the extremes, in 7x7 pixels; where
    nothing does, nothing is in reach.
    """
    places = [np.ones(values.shape, bool) for _ in range(2)]
    for top in range(0, len(values), _BAND):
        first = max(0, top - _LEVEL)
        seen = slice(first, top + _BAND + _LEVEL)
        rows = slice(top - first, top - first + _BAND)
        total = _window_sums(np.where(between[seen], values[seen], 0.0), _LEVEL)[rows]
        count = _window_sums(between[seen].astype(np.int32), _LEVEL)[rows]
        level = total / np.maximum(count, 1)
        for end, place in enumerate(places):
            near = np.abs(level - end) <= reach
            place[top : top + _BAND] = ~near | (count == 0)
    return places


def _go_on(
    values: np.ndarray,
    extremes: list[np.ndarray],
    places: list[np.ndarray],
    step: float,
) -> bool:
    """Whether the extremes that noise would explain look like the end of its tail.

    With it there are values next to them: within a quarter of sigma a fifth as many and
    more, were it Gaussian. The edges of a page let sigma seem high; it has none.
    """
    beside, at = 0, 0
    for end, (extreme, place) in enumerate(zip(extremes, places, strict=True)):
        near = ~place & (np.abs(values - end) <= step)
        at += np.sum(near & extreme)
        beside += np.sum(near & (values != end))
    return beside > _TAIL * at


def _density(extremes: list[np.ndarray], places: list[np.ndarray]) -> float:
    """Share of impulses in a channel, 0 where there are none.

    Args:
        extremes: pixels at 0, and at 1.
        places: where an impulse to 0, and to 1, could be told.
    """
    whole = _block_sums(np.ones(places[0].shape, np.int8))
    pixels, counts = (
        np.stack([_block_sums(each.view(np.int8)) for each in kind])
        for kind in (places, extremes)
    )
    pairs = np.stack([_block_sums(_equal_pairs(each)) for each in extremes])
    # Blocks of which half does not count tell little.
    shares = np.where(2 * pixels >= whole, counts / np.maximum(pixels, 1), np.inf)
    rarer = shares.argmin(axis=0)[None]
    share, pixels, pair = (
        np.take_along_axis(each, rarer, axis=0)[0] for each in (shares, pixels, pairs)
    )
    used = np.isfinite(share)
    if not used.any():
        return 0.0
    share, pixels, pair = share[used], pixels[used], pair[used]
    least, size = np.quantile(share, 0.25), np.median(pixels)
    if least * size < _FEWEST:
        return 0.0
    chosen = share <= least
    expected = np.sum(2 * share**2 * pixels, where=chosen)
    off = abs(np.sum(pair, where=chosen) - expected)
    if off > 0.25 * expected + 4 * np.sqrt(expected) + 2:
        return 0.0
    # The lower quartile of binomial shares lies 0.67 deviations below their mean.
    low = 0.67 * np.sqrt(least / size) if len(share) > 1 else 0.0
    return 2 * float(least + low)


def _equal_pairs(extreme: np.ndarray) -> np.ndarray:
    """How many of the neighbours above and to the left share an extreme, int8."""
    pairs = np.zeros(extreme.shape, np.int8)
    pairs[1:] += extreme[1:] & extreme[:-1]
    pairs[:, 1:] += extreme[:, 1:] & extreme[:, :-1]
    return pairs


def _block_sums(counts: np.ndarray) -> np.ndarray:
    """Sums over blocks of about 64x64 that cover `[H, W]`, flat."""
    for axis, length in enumerate(counts.shape):
        blocks = max(1, round(length / _BLOCK))
        starts = np.arange(blocks) * length // blocks
        counts = np.add.reduceat(counts, starts, axis=axis, dtype=np.int64)
    return counts.ravel()


def _neighbours(extreme: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Around each pixel, itself left out: equal extremes, and pixels inside, int32."""
    sums = _window_sums(extreme.astype(np.int32), radius)
    inside = [
        _window_sums(np.ones(length, np.int32), radius) for length in extreme.shape
    ]
    return sums - extreme, np.multiply.outer(*inside) - 1


def _window_sums(values: np.ndarray, radius: int) -> np.ndarray:
    """Sums over windows of `2 radius + 1` a side, cut off at the borders."""
    for axis, length in enumerate(values.shape):
        position = np.arange(length)
        start = np.maximum(position - radius, 0)
        stop = np.minimum(position + radius + 1, length)
        edge = [(0, 0)] * values.ndim
        edge[axis] = (1, 0)
        running = np.pad(np.cumsum(values, axis=axis, dtype=values.dtype), edge)
        values = running.take(stop, axis) - running.take(start, axis)
    return values
