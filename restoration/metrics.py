"""PSNR and SSIM with the protocol in the name (documents A 2.2, D 2.3).

NumPy in float64. Images are `[H, W, C]`, uint8 or float in [0, 1], and are compared as
they are: published numbers are those of 8-bit outputs, `psnr_rgb(truth, quantise(x))`.
"""

import numpy as np

from gan_transfer import errors

SSIM_WINDOW = 11  # pixels, the least side of an image for SSIM
MOST_PSNR = 100.0  # dB, that an image counts with in a mean
_SIGMA = 1.5


def quantise(image: np.ndarray) -> np.ndarray:
    """Clip to [0, 1] and round to 8 bit: what a picture file holds (document A 2.2).

    Args:
        image: float, any shape, nominally in [0, 1]. uint8 comes back as it is.

    Returns:
        uint8 of the same shape; halves round to even.

    Raises:
        InputError: integers other than uint8, or a value that is not finite.
    """
    image = np.asarray(image)
    if image.dtype == np.uint8:
        return image
    scaled = _scaled("image", image)
    return np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)


def psnr_grey(truth: np.ndarray, image: np.ndarray) -> float:
    """Peak signal-to-noise ratio of grey images in dB (document A 2.2).

    PSNR = 10 log10(255^2 / mean((image - truth)^2)), both on the scale 0..255, over the
    whole image, no border left out.

    Args:
        truth: clean image `[H, W, 1]`, uint8 or float in [0, 1].
        image: likewise; floats may leave [0, 1], as an unclipped noisy image does.

    Returns:
        Decibels; infinity for equal images.

    Raises:
        InputError: shapes that differ or do not fit the name, or a wrong range.
    """
    return _psnr(*_pair(truth, image, 1))


def psnr_rgb(truth: np.ndarray, image: np.ndarray) -> float:
    """PSNR in dB over all three channels of colour images at once (document A 2.2).

    One mean square error over `[H, W, 3]`; otherwise as `psnr_grey`.
    """
    return _psnr(*_pair(truth, image, 3))


def psnr_y(truth: np.ndarray, image: np.ndarray) -> float:
    """PSNR in dB of the BT.601 studio-swing luma of colour images (document A 2.2).

    Y = 16 + (65.481 R + 128.553 G + 24.966 B), RGB in [0, 1], not rounded (MATLAB's
    rgb2ycbcr on doubles); the peak is 255 all the same, as in the literature on super-
    resolution. Since Y spans 16..235 only and averages channels, it is about 1.5 dB
    above `psnr_rgb`: never compare the two. Otherwise as `psnr_grey`.
    """
    return _psnr(*map(_luma, _pair(truth, image, 3)))


def mean_psnr(square_errors: np.ndarray) -> float:
    """Mean PSNR in dB of images in [0, 1], by their mean square errors (A 2.2).

    None counts with more than `MOST_PSNR`: a single perfect image would be the mean.

    Args:
        square_errors: `[N]`, not negative.
    """
    square_errors = np.asarray(square_errors, np.float64)
    psnr = -10.0 * np.log10(np.maximum(square_errors, 10 ** (-MOST_PSNR / 10)))
    return float(np.mean(psnr))


def psnr_missing(truth: np.ndarray, image: np.ndarray, mask: np.ndarray) -> float:
    """PSNR in dB over the missing pixels only (documents A 2.2, D 2.3, inpainting).

    Args:
        truth: clean image `[H, W, C]`, C = 1 or 3, uint8 or float in [0, 1].
        image: the restored one.
        mask: `[H, W, 1]` or `[H, W, C]`; above 0.5 = missing.

    Returns:
        Decibels over all channels of the missing pixels; infinity where they are equal.

    Raises:
        InputError: shapes that differ, or no pixel is missing.
    """
    truth, image = _pair(truth, image)
    mask = np.asarray(mask)
    if mask.shape not in (truth.shape, (*truth.shape[:2], 1)):
        raise errors.InputError(
            f"mask has shape {mask.shape}; for an image of {truth.shape} it must be "
            f"{(*truth.shape[:2], 1)} or {truth.shape}"
        )
    missing = np.broadcast_to(mask > 0.5, truth.shape)
    if not missing.any():
        raise errors.InputError(
            "no pixel is missing: the mask is nowhere above 0.5 (1 = missing)"
        )
    return _psnr(truth[missing], image[missing])


def ssim_grey(truth: np.ndarray, image: np.ndarray) -> float:
    """Structural similarity of grey images, 1 for equal ones (document A 2.2).

    Mean over all 11x11 windows inside the image of
    (2 m_x m_y + C1)(2 s_xy + C2) / ((m_x^2 + m_y^2 + C1)(s_x^2 + s_y^2 + C2)), with
    Gaussian weights of sigma 1.5, population (co)variances, C1 = (0.01 L)^2, C2 =
    (0.03 L)^2, L the range. Equals scikit-image's with `gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False`.

    Args:
        truth: clean image `[H, W, 1]`, uint8 or float in [0, 1], sides of at least 11.
        image: likewise; floats may leave [0, 1].

    Returns:
        A number in [-1, 1].

    Raises:
        InputError: shapes that differ, do not fit the name or are too small.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural
    Similarity", 2004.
    """
    return _ssim(*_pair(truth, image, 1))


def ssim_rgb(truth: np.ndarray, image: np.ndarray) -> float:
    """Mean of the three channels' SSIM of colour images (document A 2.2).

    Otherwise as `ssim_grey`.
    """
    return _ssim(*_pair(truth, image, 3))


def ssim_y(truth: np.ndarray, image: np.ndarray) -> float:
    """SSIM of the luma of colour images (document A 2.2).

    The luma is that of `psnr_y`, the range L = 255; otherwise as `ssim_grey`.
    """
    return _ssim(*map(_luma, _pair(truth, image, 3)))


def _scaled(name: str, image: np.ndarray) -> np.ndarray:
    """Float64 on the scale 0..255."""
    if image.dtype == np.uint8:
        return image.astype(np.float64)
    if not np.issubdtype(image.dtype, np.floating):
        raise errors.InputError(
            f"{name} is {image.dtype}; images are uint8, or float in [0, 1]"
        )
    if not np.isfinite(image).all():
        raise errors.InputError(f"{name} has values that are not finite")
    return image.astype(np.float64) * 255.0


def _pair(
    truth: np.ndarray, image: np.ndarray, channels: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Checked float64 images on the scale 0..255."""
    truth, image = np.asarray(truth), np.asarray(image)
    if truth.shape != image.shape:
        raise errors.InputError(
            f"images of {truth.shape} and {image.shape} cannot be compared; crop or "
            "resample one"
        )
    allowed = (channels,) if channels else (1, 3)
    if truth.ndim != 3 or truth.shape[2] not in allowed or not truth.size:
        raise errors.InputError(
            f"image has shape {truth.shape}; it must be [H, W, {channels or '1 or 3'}]"
        )
    first, second = _scaled("truth", truth), _scaled("image", image)
    if first.min() < -1e-3 or first.max() > 255.001:
        raise errors.InputError(
            "the true image must lie in [0, 1], or be uint8; divide 0..255 by 255"
        )
    return first, second


def _luma(image: np.ndarray) -> np.ndarray:
    """BT.601 luma `[H, W, 1]`, 16..235, of RGB on the scale 0..255."""
    weights = np.array([[65.481], [128.553], [24.966]]) / 255.0
    return image @ weights + 16.0


def _psnr(truth: np.ndarray, image: np.ndarray) -> float:
    error = float(np.mean(np.square(truth - image)))
    return float("inf") if error == 0.0 else 10.0 * float(np.log10(255.0**2 / error))


def _ssim(truth: np.ndarray, image: np.ndarray) -> float:
    if min(truth.shape[:2]) < SSIM_WINDOW:
        raise errors.InputError(
            f"image is {truth.shape[0]}x{truth.shape[1]} pixels; SSIM needs at least "
            f"{SSIM_WINDOW}x{SSIM_WINDOW}"
        )
    mean_x, mean_y = _window_mean(truth), _window_mean(image)
    variance_x = _window_mean(truth * truth) - mean_x * mean_x
    variance_y = _window_mean(image * image) - mean_y * mean_y
    covariance = _window_mean(truth * image) - mean_x * mean_y
    c1, c2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
    similarity = (2.0 * mean_x * mean_y + c1) * (2.0 * covariance + c2)
    similarity /= mean_x**2 + mean_y**2 + c1
    similarity /= variance_x + variance_y + c2
    return float(similarity.mean())


def _window_mean(image: np.ndarray) -> np.ndarray:
    """Gaussian-weighted means over the windows inside the image."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    weights = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        size = image.shape[axis] - SSIM_WINDOW + 1
        image = sum(
            weight * np.take(image, range(start, start + size), axis)
            for start, weight in enumerate(weights)
        )
    return image
