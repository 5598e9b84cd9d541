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
    less often than chance would have it (text, dithering), there are no impulses. A
    pixel at an extreme is an impulse if around it that extreme is no more frequent than
    the density explains; else it belongs to a black or white part of the picture. The
    window is as large as telling the two apart needs: 5x5 at low density, 31x31 at 0.9.

    On photographs it works from a density of 0.005 to 0.9 and finds over 0.99 of the
    impulses on average. Among black strokes on white it finds about 0.9 of them, and
    none at low density.

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
    extremes = (values == 0) & known, (values == 1) & known
    found = np.zeros(values.shape, bool)
    density = _density(extremes, known)
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


def _density(extremes: tuple[np.ndarray, np.ndarray], known: np.ndarray) -> float:
    """Share of impulses in a channel, 0 where there are none."""
    pixels = _block_sums(known.view(np.int8))
    # Blocks of which half is missing tell little.
    used = 2 * pixels >= _block_sums(np.ones(known.shape, np.int8))
    if not used.any():
        return 0.0
    pixels = pixels[used]
    counts = np.stack([_block_sums(each.view(np.int8))[used] for each in extremes])
    pairs = np.stack([_block_sums(_equal_pairs(each))[used] for each in extremes])
    rarer = counts.argmin(axis=0)[None]
    count = np.take_along_axis(counts, rarer, axis=0)[0]
    pair = np.take_along_axis(pairs, rarer, axis=0)[0]
    share = count / pixels
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
    sums, inside = extreme.view(np.int8), np.ones((1, 1), np.int32)
    for axis, length in enumerate(extreme.shape):
        position = np.arange(length)
        start = np.maximum(position - radius, 0)
        stop = np.minimum(position + radius + 1, length)
        edge = [(0, 0), (0, 0)]
        edge[axis] = (1, 0)
        running = np.pad(np.cumsum(sums, axis=axis, dtype=np.int32), edge)
        sums = running.take(stop, axis) - running.take(start, axis)
        reach = np.expand_dims((stop - start).astype(np.int32), 1 - axis)
        inside = inside * reach
    return sums - extreme, inside - 1
