"""Denoising and inpainting by sparse patches (documents A 2.2, D 2.3 "SR").

Overlapping patches are restored one by one with few atoms of a dictionary, and each
pixel becomes the weighted mean of the patches that cover it. The weight is 1 / (number
of coefficients), the inverse of the noise variance that a projection on so many atoms
leaves: worth 0.2 dB over equal weights. Images are float32 `[H, W, C]` in [0, 1], of
any size; colour is restored channel by channel in an orthonormal opponent space, where
white noise keeps its level. The results are not clipped.
"""

from collections.abc import Callable

import numpy as np

from gan_transfer import errors
from restoration import filling, sparse_coding

# Luminance, red against blue, and green against both; orthonormal.
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], np.float32)
OPPONENT /= np.linalg.norm(OPPONENT, axis=1, keepdims=True)

# Patches that K-SVD learns from, and patches restored at once: enough to keep the
# matrix products busy.
_SAMPLE = 20_000
_BATCH = 2**15

Restore = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def denoise(
    image: np.ndarray,
    sigma: float,
    *,
    dictionary: np.ndarray | None = None,
    adapt: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Denoise by OMP over a fixed or an adapted dictionary (A 2.2, D 2.3 "SR").

    Each 8x8 patch, less its mean, is written with the fewest atoms that leave an error
    of 1.1 sigma sqrt(64). With `adapt`, K-SVD first fits the dictionary to the noisy
    image: 20 sweeps over 20,000 patches.

    Args:
        image: float32 `[H, W, C]`, noisy.
        sigma: standard deviation of the noise, on the image's scale, >= 0; 0 returns
            the image.
        dictionary: `[p * p, K]`, atoms of norm 1 for p x p patches; None for the
            overcomplete DCT, 8x8 pixels, 256 atoms.
        adapt: learn from this image, or take the dictionary as it is.
        seed: fixes the patches that K-SVD sees.

    Returns:
        float32 `[H, W, C]`.

    Raises:
        InputError: no such image, level or dictionary.

    Source: Elad, Aharon, "Image Denoising Via Sparse and Redundant Representations Over
    Learned Dictionaries", IEEE TIP 2006; weights: Guleryuz, "Weighted Averaging for
    Denoising With Overcomplete Dictionaries", IEEE TIP 2007.
    """
    _check(image, sigma)
    if sigma == 0:
        return image.copy()
    start = sparse_coding.dct_dictionary() if dictionary is None else dictionary
    side = round(len(start) ** 0.5)
    if side * side != len(start):
        raise errors.InputError(
            f"the dictionary has {len(start)} rows; square patches need a square number"
        )
    generator = np.random.default_rng(seed)
    noise = sigma * side

    def channel(plane):
        atoms = start
        if adapt:
            patches = _windows(plane, side)
            count = patches.shape[0] * patches.shape[1]
            number = generator.permutation(count)[:_SAMPLE]
            row, column = np.divmod(number, patches.shape[1])
            sample = patches[row, column].reshape(len(number), side * side)
            sample -= sample.mean(axis=1, keepdims=True)
            # A tighter bound would learn noise.
            atoms, _ = sparse_coding.ksvd(
                sample, atoms, iterations=20, tolerance=1.15 * noise
            )

        def restore(patches):
            mean = patches.mean(axis=1, keepdims=True)
            codes = sparse_coding.omp(atoms, patches - mean, tolerance=1.1 * noise)
            weights = 1.0 / (1.0 + np.count_nonzero(codes, axis=1))
            return codes @ atoms.T.astype(codes.dtype) + mean, weights

        return _overlapped(plane, side, restore)

    return _by_channel(image, channel)


def sliding_dct(image: np.ndarray, sigma: float) -> np.ndarray:
    """Denoise by thresholding the DCT of all 8x8 patches (A 2.2, D 2.3 "SR").

    Coefficients up to 2.7 sigma become 0, except the mean.

    Args:
        image: float32 `[H, W, C]`, noisy.
        sigma: standard deviation of the noise, on the image's scale, >= 0.

    Returns:
        float32 `[H, W, C]`.

    Raises:
        InputError: no such image or level.

    Source: Yaroslavsky, Egiazarian, Astola, "Transform Domain Image Restoration
    Methods", SPIE 2001.
    """
    _check(image, sigma)
    restore = _thresholding(sparse_coding.dct_dictionary(8, 64), 2.7 * sigma)
    return _by_channel(image, _overlapped, 8, restore)


def inpaint(image: np.ndarray, mask: np.ndarray, sigma: float = 0.0) -> np.ndarray:
    """Inpaint by iterated thresholding of 16x16 DCTs (A 2.2, D 2.3 "SR").

    From the pull-push filling on, 80 times: threshold the DCT of patches on a grid of 8
    pixels, which is shifted every time; put the known pixels back; lower the threshold,
    from 0.5 to 0.02 (or 2.7 sigma) in equal ratios. So the strong structures are
    continued into the holes first, and the faint ones later.

    Args:
        image: float32 `[H, W, C]`; what stands at missing pixels does not matter.
        mask: float32 `[H, W, 1]` or `[H, W, C]`, 1 = missing.
        sigma: standard deviation of the noise on the known pixels, on the image's
            scale. If it is not 0, the result goes through `sliding_dct`.

    Returns:
        float32 `[H, W, C]`; with sigma = 0, known pixels are those of the image.

    Raises:
        InputError: no such image, mask or level.

    Source: Guleryuz, "Nonlinear Approximation Based Image Recovery Using Adaptive
    Sparse Reconstructions and Iterated Denoising", IEEE TIP 2006.
    """
    _check(image, sigma)
    if mask.shape not in (image.shape, (*image.shape[:2], 1)):
        raise errors.InputError(
            f"mask {list(mask.shape)} for an image {list(image.shape)}: it must be "
            "[H, W, 1] or [H, W, C]"
        )
    mask = np.broadcast_to(mask, image.shape)
    basis = sparse_coding.dct_dictionary(16, 256)
    generator = np.random.default_rng(0)
    filled = filling.fill(image[None], mask[None]).numpy()[0]
    last = max(0.02, 2.7 * sigma)
    for threshold in np.geomspace(max(0.5, last), last, 80):
        restore = _thresholding(basis, float(threshold))
        first = generator.integers(0, 8, 2)
        restored = _by_channel(filled, _overlapped, 16, restore, 8, first)
        filled = np.where(mask > 0.5, restored, image)
    return sliding_dct(filled, sigma) if sigma else filled


def _thresholding(basis: np.ndarray, threshold: float) -> Restore:
    def restore(patches):
        codes = patches @ basis
        kept = np.abs(codes) > threshold
        kept[:, 0] = True
        return (codes * kept) @ basis.T, 1.0 / kept.sum(axis=1)

    return restore


def _padding(side: int, step: int = 1) -> int:
    # With so much mirror image around it, every pixel is covered, wherever the grid
    # starts and however small the picture.
    return (side + step) // 2


def _windows(plane: np.ndarray, side: int, step: int = 1) -> np.ndarray:
    """All patches of the padded plane, `[rows, columns, side, side]`."""
    padded = np.pad(plane, _padding(side, step), mode="symmetric")
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side))


def _overlapped(plane, side: int, restore: Restore, step: int = 1, first=(0, 0)):
    """Weighted mean of restored patches on a grid whose step divides the side."""
    windows = _windows(plane, side, step)[first[0] :: step, first[1] :: step]
    rows, columns = windows.shape[:2]
    share = side // step
    # Sums over blocks of step x step pixels, which lie in the same patches.
    shape = (rows + share - 1, step, columns + share - 1, step)
    total = np.zeros(shape, plane.dtype)
    weight = np.zeros((shape[0], 1, shape[2], 1), plane.dtype)
    band = max(1, _BATCH // columns)
    for start in range(0, rows, band):
        part = windows[start : start + band]
        count = len(part)
        patches, weights = restore(part.reshape(count * columns, side * side))
        patches = np.ascontiguousarray((patches * weights[:, None]).T, plane.dtype)
        patches = patches.reshape(share, step, share, step, count, columns)
        weights = weights.reshape(count, 1, columns, 1)
        for i in range(share):
            for j in range(share):
                place = np.s_[start + i : start + i + count, :, j : j + columns]
                total[place] += patches[i, :, j].transpose(2, 0, 3, 1)
                weight[place] += weights
    total /= weight
    top, left = (_padding(side, step) - offset for offset in first)
    restored = total.reshape(shape[0] * step, shape[2] * step)
    return restored[top : top + plane.shape[0], left : left + plane.shape[1]]


def _by_channel(image, function, *arguments):
    """Apply a function of `[H, W]` to each channel, colour in the opponent space."""
    colour = image.shape[2] == 3
    planes = image @ OPPONENT.T if colour else image
    planes = [function(planes[:, :, c], *arguments) for c in range(image.shape[2])]
    restored = np.stack(planes, axis=2)
    return restored @ OPPONENT if colour else restored


def _check(image, sigma):
    if image.ndim != 3 or image.dtype != np.float32 or not image.size:
        raise errors.InputError(
            f"image {image.dtype} {list(image.shape)}: it must be float32 [H, W, C]"
        )
    if not 0 <= sigma < np.inf:
        raise errors.InputError(f"noise level {sigma} must be a number >= 0")
