"""Damage of single images, for studies (documents A 2.2, C 2.3, D 2.3).

NumPy images float32 `[H, W, C]`, C = 1 or 3, nominally in [0, 1]. Random damage is
fixed by its generator: a `numpy.random.Generator`, or the `RandomState` of published
protocols. Training draws its damage in `restoration.mixture` and
`restoration.unmarked`, linear damage as TensorFlow ops is in `restoration.operators`,
masks of missing pixels are in `restoration.masks`.
"""

import io

import numpy as np
from PIL import Image

from gan_transfer import errors, pictures
from restoration import operators, overlays

Random = np.random.Generator | np.random.RandomState

# RGB of what lies on the picture.
COLOURS = {
    "rust": (0.45, 0.24, 0.11),
    "stain": (0.60, 0.50, 0.32),
    "dirt": (0.22, 0.21, 0.19),
    "dust": (0.92, 0.91, 0.88),
}
# Below, an overlay changes an 8-bit image by at most 5 steps.
_VISIBLE = 0.02


def gaussian_noise(image: np.ndarray, sigma: float, rng: Random) -> np.ndarray:
    """Add white Gaussian noise, y = x + n, n ~ N(0, sigma^2) (document A 2.2).

    Args:
        image: `[H, W, C]` or a batch.
        sigma: standard deviation on the image's scale, such as 25 / 255.
        rng: fixes the noise.

    Returns:
        float32 of the same shape, not clipped: clipping would raise every score.

    Raises:
        errors.InputError: sigma is negative or not finite.
    """
    if not 0 <= sigma < np.inf:
        raise errors.InputError(f"noise level sigma is {sigma}; it must be >= 0")
    return (image + rng.normal(0, sigma, image.shape)).astype(np.float32)


def blur(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve circularly with a known kernel, y = k * x (document A 2.2).

    What `operators.Blur` does, which is for training.

    Args:
        image: `[H, W, C]`.
        kernel: `[h, w]` as of `operators.read_kernel`, no larger than the image.

    Returns:
        float32 `[H, W, C]`.

    Raises:
        errors.InputError: not a kernel, or an image smaller than it.
    """
    sides = image.shape[:2]
    transfer = operators.Blur(kernel).transfer(sides)[..., None]
    spectrum = np.fft.rfft2(image, axes=(0, 1)) * transfer
    return np.fft.irfft2(spectrum, sides, axes=(0, 1)).astype(np.float32)


def salt_and_pepper(
    image: np.ndarray, density: float, rng: Random, per_channel: bool = False
) -> np.ndarray:
    """Set pixels to 0 or 1, each with probability density / 2 (document D 2.3).

    Args:
        image: `[H, W, C]`.
        density: probability of a pixel to be struck, in [0, 1].
        rng: fixes the pixels.
        per_channel: whether the channels of a pixel are struck apart.

    Returns:
        float32 `[H, W, C]`; the values that were not struck are unchanged.

    Raises:
        errors.InputError: a density outside [0, 1].
    """
    if not 0 <= density <= 1:
        raise errors.InputError(f"density {density} of impulses is not in [0, 1]")
    height, width, channels = image.shape
    draws = rng.uniform(size=(height, width, channels if per_channel else 1))
    struck = np.where(draws < density / 2, 0, image)
    salt = (draws >= density / 2) & (draws < density)
    return np.where(salt, 1, struck).astype(np.float32)


def overlay(
    image: np.ndarray, alpha: np.ndarray, colour: str | tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Cover an image by rust, a stain, dirt or dust (document C 2.3).

    y = (1 - a) x + a c with the opacity a and the colour c; a grey image takes the
    colour's luma.

    Args:
        image: `[H, W, C]`.
        alpha: opacity `[h, w]` in [0, 1], as of `overlays.read` or a mask without its
            last axis; resampled to the size of the image if it has another.
        colour: one of `COLOURS`, or red, green, blue in [0, 1].

    Returns:
        float32 `[H, W, C]`, and the mask float32 `[H, W, 1]`, 1 where a > 0.02.

    Raises:
        errors.InputError: an unknown colour, or an opacity of another kind.
    """
    if isinstance(colour, str):
        if colour not in COLOURS:
            raise errors.InputError(
                f"no overlay colour called {colour}; there are {', '.join(COLOURS)}"
            )
        colour = COLOURS[colour]
    if alpha.ndim != 2 or not (alpha.min() >= 0 and alpha.max() <= 1):
        raise errors.InputError(
            f"opacity of shape {alpha.shape}; it must be [h, w] with values in [0, 1]"
        )
    height, width, channels = image.shape
    alpha = overlays.resampled(alpha, (height, width))[..., None]
    shade = np.array(colour, np.float32)
    if channels == 1:
        shade = shade @ pictures.LUMA
    covered = image + alpha * (shade - image)
    return covered.astype(np.float32), (alpha > _VISIBLE).astype(np.float32)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Compress and decompress by JPEG, colour at half resolution (document A 2.2).

    Args:
        image: `[H, W, C]`, C = 1 or 3; clipped to [0, 1] and rounded to 8 bits first.
        quality: of libjpeg, 1 to 95.

    Returns:
        float32 `[H, W, C]`, multiples of 1/255.

    Raises:
        errors.InputError: another quality.
    """
    if not 1 <= quality <= 95:
        raise errors.InputError(f"JPEG quality {quality} is not in 1..95")
    pixels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    stream = io.BytesIO()
    picture = Image.fromarray(pixels[..., 0] if image.shape[2] == 1 else pixels)
    picture.save(stream, "JPEG", quality=quality)
    with Image.open(stream) as decoded:
        return np.asarray(decoded, np.float32).reshape(image.shape) / 255
