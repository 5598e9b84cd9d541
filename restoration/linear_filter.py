"""The linear filter fitted to a task's examples in closed form (document D 3.2.2).

What meta-learning must be measured against: it needs no training at all.
"""

import numpy as np

from gan_transfer import errors


def fit(
    damaged: np.ndarray, clean: np.ndarray, penalty: float = 1e-4, side: int = 7
) -> np.ndarray:
    """The filter and bias of the least square error (document D 3.2.2).

    w = argmin mean (clean - damaged - (w * damaged))^2 + penalty |w|^2, * with the
    image mirrored at its edges and a constant 1 as one more pixel of each window:
    without evidence the image stays as it is.

    Args:
        damaged: `[N, H, W, 1]`, N >= 1, both sides at least (side + 1) / 2.
        clean: likewise.
        penalty: > 0.
        side: of the filter, odd.

    Returns:
        float64 `[side^2 + 1]`, the bias last; for `apply`.

    Raises:
        InputError: shapes that differ, or numbers out of these bounds.
    """
    if damaged.shape != clean.shape or not len(clean) or penalty <= 0 or side % 2 == 0:
        raise errors.InputError(
            f"a filter of {side} pixels with penalty {penalty} for images "
            f"{list(damaged.shape)} and {list(clean.shape)}; give pairs of one shape, "
            "an odd side and a positive penalty"
        )
    windows = _windows(damaged, side)
    missed = (clean.astype(np.float64) - damaged).reshape(-1)
    square = windows.T @ windows / len(windows) + penalty * np.eye(windows.shape[1])
    return np.linalg.solve(square, windows.T @ missed / len(windows))


def apply(weights: np.ndarray, damaged: np.ndarray) -> np.ndarray:
    """The filtered images, float32 of the shape of `damaged` (document D 3.2.2)."""
    side = round((len(weights) - 1) ** 0.5)
    change = (_windows(damaged, side) @ weights).reshape(damaged.shape)
    return (damaged + change).astype(np.float32)


def _windows(images: np.ndarray, side: int) -> np.ndarray:
    """A row per pixel: its window and a 1, float64 `[N H W, side^2 + 1]`."""
    edge = side // 2
    around = ((0, 0), (edge, edge), (edge, edge))
    padded = np.pad(images[..., 0].astype(np.float64), around, mode="symmetric")
    views = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    rows = views.reshape(-1, side * side)
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
