"""Noise level and impulses of a picture, estimated blindly (documents A 3.3, D 2.3).

NumPy images float32 `[H, W, C]`, nominally in [0, 1]. A restorer is told the noise
level and which pixels are missing; where nobody knows, this module finds out.
"""

import statistics

import numpy as np

from gan_transfer import errors

_PATCH = 7
_PATCHES = 2**16
_FEWEST_PATCHES = 500
_FEWEST_FLAT = 200
_FLAT_CONFIDENCE = 1 - 1e-6

_WINDOWS = 2**13
_WINDOW_PIXELS = 40
_FLATTEST = 0.001

_BLOCK = 64
_FEWEST_IMPULSES = 6
_MOST_IMPULSES = 0.97
_MISS = 3.5
_NOISY = 5 / 255  # beside missing pixels, clean pictures are estimated to be cleaner
_REACH = 2.5  # standard deviations that noise goes
_TAIL = 0.1  # of the extremes, that lie beside them at least
_LEVEL = 3  # pixels on all sides that tell the level around one
_BAND = 512  # rows looked at together, for the memory of large pictures


def estimate_sigma(image: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Standard deviation of white noise, from the picture alone (document A 3.3).

    Texture is no noise: it fills few directions of the space of 7x7 patches, and it is
    weak somewhere. So sigma^2 is the least variance of the patches along any
    direction, over the patches whose differences between neighbours are no larger than
    this noise makes them: a fixed point, reached from all patches. The direction comes
    from one half of the patches and the variance from the other, which removes the bias
    of a minimum. Patches that touch 0 or 1 are left out while others remain, since
    clipping hides noise.

    Where missing pixels leave too few whole patches, sigma^2 is the variance about a
    plane in the flattest windows: on photographs sigma is then 1 to 2 of 255 too high,
    against 0.3. At most 2^16 patches are looked at, always the same ones.

    Args:
        image: float `[H, W, C]`, not necessarily clipped. Values that are not finite
            count as missing.
        mask: `[H, W, 1]` or `[H, W, C]`, 1 = missing.

    Returns:
        sigma on the image's scale, the root mean square over the channels; 0 where
        nothing can be estimated (a side below 7 pixels, almost nothing known).

    Raises:
        errors.InputError: shapes that do not fit.

    Source: the fixed point follows Liu, Tanaka and Okutomi, "Single-Image Noise Level
    Estimation for Blind Denoising", IEEE TIP 2013.
    """
    _check(image)
    known = np.isfinite(image)
    if mask is not None:
        if mask.shape not in (image.shape, (*image.shape[:2], 1)):
            raise errors.InputError(
                f"mask of shape {mask.shape} for an image of shape {image.shape}; it "
                "must have the same height and width, and 1 channel or as many"
            )
        known &= ~(mask > 0.5)
    channels = range(image.shape[2])
    variances = [_variance(image[..., c], known[..., c]) for c in channels]
    return float(np.sqrt(np.mean(variances)))


def _check(image: np.ndarray) -> None:
    if image.ndim != 3 or image.size == 0:
        raise errors.InputError(
            f"image of shape {image.shape}; it must be [H, W, C] and not empty"
        )


def _variance(values: np.ndarray, known: np.ndarray) -> float:
    """Noise variance of one channel `[H, W]`."""
    inside = known & (values != 0) & (values != 1)
    for usable in (inside, known):
        patches = _sample(np.where(usable, values, np.nan), _PATCH, _PATCHES)
        patches = patches[np.isfinite(patches).all(axis=(1, 2))]
        if len(patches) >= _FEWEST_PATCHES:
            return _least_variance(patches)
    usable = inside if 2 * inside.sum() > known.sum() else known
    return _variance_about_planes(np.where(usable, values, np.float32(np.nan)))


def _sample(values: np.ndarray, side: int, count: int) -> np.ndarray:
    """At most `count` windows of the picture, in random order, `[N, side, side]`."""
    height, width = (max(0, length - side + 1) for length in values.shape)
    if height * width == 0:
        return np.empty((0, side, side), values.dtype)
    generator = np.random.default_rng(0)
    if height * width > count:
        chosen = generator.integers(0, height * width, count)
    else:
        chosen = generator.permutation(height * width)
    windows = np.lib.stride_tricks.sliding_window_view(values, (side, side))
    return windows[chosen // width, chosen % width]


def _gamma_quantile(shape, probability: float):
    """Quantile of a gamma distribution over its mean (Wilson and Hilferty 1931)."""
    z = statistics.NormalDist().inv_cdf(probability)
    return np.maximum(1 - 1 / (9 * shape) + z / (3 * np.sqrt(shape)), 0) ** 3


def _flat_limit() -> float:
    """Sum of squared differences in a patch of unit noise that is hardly exceeded."""
    step = np.diff(np.eye(_PATCH), axis=0)
    along, same = step.T @ step, np.eye(_PATCH)
    quadratic = np.kron(along, same) + np.kron(same, along)
    mean, variance = np.trace(quadratic), 2 * np.sum(quadratic**2)
    return mean * float(_gamma_quantile(mean**2 / variance, _FLAT_CONFIDENCE))


def _least_variance(patches: np.ndarray) -> float:
    """Noise variance from whole patches `[N, 7, 7]` in random order."""
    texture = sum(np.square(np.diff(patches, axis=k)).sum(axis=(1, 2)) for k in (1, 2))
    patches, limit = patches.reshape(len(patches), -1), _flat_limit()
    variance = _least_eigenvalue(patches)
    for _ in range(20):
        flat = texture <= limit * variance
        if flat.sum() < _FEWEST_FLAT:
            break
        previous, variance = variance, _least_eigenvalue(patches[flat])
        if abs(variance - previous) <= 1e-3 * previous:
            break
    return variance


def _least_eigenvalue(rows: np.ndarray) -> float:
    """Least variance along a direction, crosswise between two halves of the rows."""
    halves = [np.cov(half, rowvar=False) for half in (rows[::2], rows[1::2])]
    total = 0.0
    for a, b in (halves, halves[::-1]):
        direction = np.linalg.eigh(a)[1][:, 0]
        total += direction @ b @ direction
    return max(float(total) / 2, 0.0)


def _variance_about_planes(values: np.ndarray) -> float:
    """Noise variance from windows with holes (NaN), fitted by planes: the flattest."""
    share = np.isfinite(values).mean()
    if share == 0:
        return 0.0
    side = max(_PATCH, int(np.ceil(np.sqrt(_WINDOW_PIXELS / share))) | 1)
    windows = _sample(values, side, min(_WINDOWS, 2**22 // side**2 + 1))
    windows = windows.reshape(-1, side**2)
    known = np.isfinite(windows)
    freedom = known.sum(axis=1) - 3
    enough = freedom >= _WINDOW_PIXELS // 4
    if not enough.any():
        return 0.0
    windows, known, freedom = windows[enough], known[enough], freedom[enough]
    windows = np.where(known, windows, 0).astype(np.float64)
    ramp = np.linspace(-1, 1, side)
    basis = [np.ones(side**2), np.repeat(ramp, side), np.tile(ramp, side)]
    basis = np.stack(basis, axis=1)
    products = (basis[:, :, None] * basis[:, None, :]).reshape(-1, 9)
    normal = (known @ products).reshape(-1, 3, 3)
    projected = windows @ basis
    # All known pixels on one line leave a slope open: the smallest one is taken.
    plane = np.linalg.pinv(normal, 1e-9, hermitian=True) @ projected[..., None]
    residual = np.square(windows).sum(axis=1) - (projected * plane[..., 0]).sum(axis=1)
    # A quantile below one independent window would be the minimum of too few.
    quantile = min(0.5, max(_FLATTEST, side**2 / values.size))
    variances = np.maximum(residual, 0) / freedom
    variances /= _gamma_quantile(freedom / 2, quantile)
    return float(np.quantile(variances, quantile))


def find_impulses(image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
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
    _check(image)
    known = np.ones(image.shape, bool) if mask is None else mask == 0
    channels = [_impulses(image[..., c], known[..., c]) for c in range(image.shape[2])]
    return np.stack(channels, axis=-1).astype(np.float32)


def _impulses(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Impulses of one channel `[H, W]`, as booleans."""
    extremes = [(values == end) & known for end in (0, 1)]
    found = np.zeros(values.shape, bool)
    either = extremes[0] | extremes[1]
    if either.sum() > _MOST_IMPULSES * known.sum():
        return found
    density = _density(extremes, [known, known])
    if density:
        sigma = estimate_sigma(values[..., None], (either | ~known)[..., None])
        if sigma > _NOISY:
            places = _out_of_reach(values, known & ~either, _REACH * sigma)
            if _go_on(values, extremes, places, sigma / 4):
                places = [known & each for each in places]
                extremes = [e & p for e, p in zip(extremes, places, strict=True)]
                density = _density(extremes, places)
    if not 0 < density <= _MOST_IMPULSES:
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
    if least * size < _FEWEST_IMPULSES:
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
