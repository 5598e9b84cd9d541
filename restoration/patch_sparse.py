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
import tensorflow as tf

from gan_transfer import errors
from restoration import cosine_patches, filling, sparse_coding

# Patches that K-SVD learns from, and patches restored at once: enough to keep the
# matrix products busy.
_SAMPLE = 20_000
_BATCH = 2**15
# Root mean square error of patches without noise: of 0.01, 0.02 and 0.03 the best on
# Set12 01-03.
_LEAST_ERROR = 0.01

Restore = Callable[..., tuple[np.ndarray, np.ndarray]]


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
    start, side = _atoms(dictionary)
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

        return _overlapped(
            [plane], side, lambda patches: _coded(atoms, 1.1 * sigma, patches)
        )

    restored = cosine_patches.by_channel(
        tf.constant(image), lambda plane: channel(plane.numpy())
    )
    return restored.numpy()


def sliding_dct(image: np.ndarray, sigma: float) -> np.ndarray:
    """Denoise by thresholding the DCT of all 8x8 patches (A 2.2, D 2.3 "SR").

    Coefficients up to 2.7 sigma become 0, see `cosine_patches`.

    Args:
        image: float32 `[H, W, C]`, noisy.
        sigma: standard deviation of the noise, on the image's scale, >= 0.

    Returns:
        float32 `[H, W, C]`.

    Raises:
        InputError: no such image or level.
    """
    _check(image, sigma)
    return cosine_patches.thresholded(tf.constant(image[None]), 2.7 * sigma)[0].numpy()


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
    _check_mask(image, mask, (1, image.shape[2]))
    mask = np.broadcast_to(mask, image.shape)
    generator = np.random.default_rng(0)
    missing = tf.constant(mask[None] > 0.5)
    image = tf.constant(image[None])
    filled = filling.fill(image, tf.constant(mask[None]))
    last = max(0.02, 2.7 * sigma)
    for threshold in np.geomspace(max(0.5, last), last, 80):
        # Half the side from grid to grid.
        first = generator.integers(0, 8, 2)
        grids = first + [(0, 0), (0, 8), (8, 0), (8, 8)]
        filled = tf.where(
            missing, cosine_patches.thresholded(filled, threshold, 16, grids), image
        )
    if sigma:
        filled = cosine_patches.thresholded(filled, 2.7 * sigma)
    return filled[0].numpy()


def inpaint_known(
    image: np.ndarray,
    mask: np.ndarray,
    sigma: float = 0.0,
    *,
    dictionary: np.ndarray | None = None,
) -> np.ndarray:
    """Inpaint by OMP over the known pixels of every patch (A 2.2, D 2.3 "SR").

    Each 8x8 patch, less the mean of its known pixels, is written with the fewest atoms
    (12 at most) that leave an error of max(1.1 sigma, 0.01) sqrt(known pixels) on them;
    the atoms tell the missing ones. A patch of which nothing is known takes the
    pull-push filling for known. At once rather than step by step, it is worse than
    `inpaint`: 31.7 against 33.9 dB on Set12 01-03 with half the pixels missing.

    Args:
        image: float32 `[H, W, C]`; what stands at missing pixels does not matter.
        mask: float32 `[H, W, 1]`, 1 = missing.
        sigma: standard deviation of the noise on the known pixels, on the image's
            scale; if it is not 0, known pixels are denoised too.
        dictionary: as for `denoise`.

    Returns:
        float32 `[H, W, C]`; with sigma = 0, known pixels are those of the image.

    Raises:
        InputError: no such image, mask, level or dictionary.

    Source: Mairal, Elad, Sapiro, "Sparse Representation for Color Image Restoration",
    IEEE TIP 2008.
    """
    _check(image, sigma)
    _check_mask(image, mask, (1,))
    atoms, side = _atoms(dictionary)
    missing = np.broadcast_to(mask, image.shape) > 0.5
    filled = filling.fill(image[None], missing[None].astype(np.float32))[0]
    known = ~missing[..., 0]

    def restore(patches, seen):
        seen = seen | ~seen.any(axis=1, keepdims=True)
        return _coded(atoms, max(1.1 * sigma, _LEAST_ERROR), patches, seen, 12)

    restored = cosine_patches.by_channel(
        filled, lambda plane: _overlapped([plane.numpy(), known], side, restore)
    ).numpy()
    return restored if sigma else np.where(missing, restored, image)


def _coded(atoms, error, patches, known=None, sparsity=None):
    """Patches written with few atoms, with a root mean square error; their weights."""
    mean = patches.mean(axis=1, keepdims=True, where=True if known is None else known)
    count = patches.shape[1] if known is None else known.sum(axis=1)
    codes = sparse_coding.omp(
        atoms,
        patches - mean,
        tolerance=error * np.sqrt(count),
        sparsity=sparsity,
        known=known,
    )
    weights = 1.0 / (1.0 + np.count_nonzero(codes, axis=1))
    return codes @ atoms.T.astype(codes.dtype) + mean, weights


def _windows(plane: np.ndarray, side: int) -> np.ndarray:
    """All patches of the mirrored plane, `[rows, columns, side, side]`."""
    # So every pixel is covered, however small the picture.
    padded = np.pad(plane, (side + 1) // 2, mode="symmetric")
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side))


def _overlapped(planes: list[np.ndarray], side: int, restore: Restore) -> np.ndarray:
    """Weighted mean of all patches, restored from those of each plane `[H, W]`."""
    plane = planes[0]
    windows = [_windows(each, side) for each in planes]
    rows, columns = windows[0].shape[:2]
    total, weight = np.zeros((2, rows + side - 1, columns + side - 1), plane.dtype)
    band = max(1, _BATCH // columns)
    for start in range(0, rows, band):
        parts = [each[start : start + band] for each in windows]
        patches, weights = restore(*(each.reshape(-1, side * side) for each in parts))
        count = len(parts[0])
        patches = np.ascontiguousarray((patches * weights[:, None]).T, plane.dtype)
        patches = patches.reshape(side, side, count, columns)
        weights = weights.reshape(count, columns)
        for i in range(side):
            for j in range(side):
                place = np.s_[start + i : start + i + count, j : j + columns]
                total[place] += patches[i, j]
                weight[place] += weights
    inside = (side + 1) // 2
    place = np.s_[inside : inside + plane.shape[0], inside : inside + plane.shape[1]]
    return total[place] / weight[place]


def _check(image, sigma):
    if image.ndim != 3 or image.dtype != np.float32 or not image.size:
        raise errors.InputError(
            f"image {image.dtype} {list(image.shape)}: it must be float32 [H, W, C]"
        )
    if not 0 <= sigma < np.inf:
        raise errors.InputError(f"noise level {sigma} must be a number >= 0")


def _check_mask(image, mask, channels):
    if mask.shape not in [(*image.shape[:2], count) for count in channels]:
        wanted = " or ".join("[H, W, 1]" if c == 1 else "[H, W, C]" for c in channels)
        raise errors.InputError(
            f"mask {list(mask.shape)} for an image {list(image.shape)}: it must be "
            f"{wanted}"
        )


def _atoms(dictionary):
    """The dictionary, by default the overcomplete DCT, and the side of its patches."""
    atoms = sparse_coding.dct_dictionary() if dictionary is None else dictionary
    side = round(len(atoms) ** 0.5)
    if side * side != len(atoms):
        raise errors.InputError(
            f"the dictionary has {len(atoms)} rows; square patches need a square number"
        )
    return atoms, side
