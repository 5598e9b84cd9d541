"""Exact nearest neighbours by brute force, in blocks that fit memory (document E 6)."""

from collections.abc import Iterator

import numpy as np

_BLOCK_ROWS = 512
# Squared distances below this share of the squared norms are rounding noise.
_DUPLICATE = 1e-12


def search(
    a: np.ndarray, b: np.ndarray, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest row of `b` for each row of `a`, and how far it is (document E 6).

    Args:
        a: float64 [N, D].
        b: float64 [M, D].
        own: int [N], for each row of `a` the row of `b` to pass over.

    Returns:
        Indices into `b`, int64 [N], and Euclidean distances, float64 [N].
    """
    index = np.empty(len(a), np.int64)
    distance = np.empty(len(a))
    for rows, squared in squared_distance_blocks(a, b):
        if own is not None:
            squared[np.arange(len(squared)), own[rows]] = np.inf
        index[rows] = squared.argmin(axis=1)
        distance[rows] = np.sqrt(squared.min(axis=1))
    return index, distance


def squared_radii(a: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each row of `a` [N, D] to its k-th nearest other row, [N]."""
    radii = np.empty(len(a))
    for rows, squared in squared_distance_blocks(a, a):
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
        radii[rows] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    return radii


def squared_distance_blocks(
    a: np.ndarray, b: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of rows of `a` with their squared distances to all rows of `b`.

    By ||a||^2 + ||b||^2 - 2 a.b after centring (document E 6). The distance of equal
    rows is exactly 0.

    Args:
        a: float64 [N, D].
        b: float64 [M, D].

    Yields:
        The slice of rows of `a` and a new float64 array [rows, M].
    """
    centre = b.mean(axis=0)
    a, b = a - centre, b - centre
    a_norms = np.einsum("nd,nd->n", a, a)
    b_norms = np.einsum("nd,nd->n", b, b)
    for start in range(0, len(a), _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, len(a)))
        norms = a_norms[rows, None] + b_norms
        squared = a[rows] @ b.T
        squared *= -2
        squared += norms
        squared[squared < _DUPLICATE * norms] = 0
        yield rows, squared
