"""Noise level of a picture, estimated blindly (documents A 3.3, D 2.3).

NumPy images float32 `[H, W, C]`, nominally in [0, 1]. A restorer is told the noise
level; where nobody knows, this module finds out.
"""

import statistics

import numpy as np

from gan_transfer import errors

# With holes at random, nearly all clean photographs are estimated to be cleaner.
CLEAN = 5 / 255
_PATCH = 7
_PATCHES = 2**16
_FEWEST_PATCHES = 500
_FEWEST_FLAT = 200
_FLAT_CONFIDENCE = 1 - 1e-6

_WINDOWS = 2**13
_WINDOW_PIXELS = 40
_FLATTEST = 0.001


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
    check(image)
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


def check(image: np.ndarray) -> None:
    """Raise `InputError` for what is no picture `[H, W, C]` (document A 3.3)."""
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
