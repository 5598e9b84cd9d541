"""Sparse codes and dictionaries, classical (documents A 2.2, D 2.3 "SR").

A signal x is written as D z, z with few entries that are not 0: by orthogonal matching
pursuit (an l0 constraint) or by ISTA and FISTA (an l1 penalty); K-SVD learns D. All
functions work on all signals at once; `patch_sparse` applies them to pictures, and
`unrolled` makes ISTA a network. Signals are rows `[N, d]`, dictionaries `[d, K]` with
atoms of norm 1, codes `[N, K]`; everything is computed in the signals' float type.
"""

import numpy as np

from gan_transfer import errors


def dct_dictionary(patch: int = 8, atoms: int = 256) -> np.ndarray:
    """Overcomplete separable DCT for patches of patch x patch pixels (A 2.2).

    Products of q = sqrt(atoms) cosines cos(pi (2 i + 1) k / (2 q)) per side, those of
    k > 0 without their mean, scaled to norm 1. With q = patch it is the orthonormal
    DCT-II. The first atom is constant, the others have the mean 0.

    Args:
        patch: side of the patches in pixels, >= 1.
        atoms: a square number, >= patch^2.

    Returns:
        float32 `[patch^2, atoms]`; patches are flattened row by row.

    Raises:
        InputError: `atoms` is no such number.

    Source: Elad, Aharon, "Image Denoising Via Sparse and Redundant Representations Over
    Learned Dictionaries", IEEE TIP 2006.
    """
    side = round(atoms**0.5)
    if side * side != atoms or side < patch or patch < 1:
        raise errors.InputError(
            f"{atoms} atoms for patches of {patch}x{patch}: use a square number of at "
            f"least {patch * patch}"
        )
    steps = np.outer(2 * np.arange(patch) + 1, np.arange(side))
    lines = np.cos(np.pi * steps / (2 * side))
    lines[:, 1:] -= lines[:, 1:].mean(axis=0)
    lines /= np.linalg.norm(lines, axis=0)
    return np.kron(lines, lines).astype(np.float32)


def omp(
    dictionary: np.ndarray,
    signals: np.ndarray,
    *,
    tolerance: float | np.ndarray = 0.0,
    sparsity: int | None = None,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """Orthogonal matching pursuit of all signals at once (A 2.2, D 2.3 "SR").

    In turn: take the atom that correlates best with the residual, project the signal on
    all atoms taken; until ||x - D z|| <= tolerance or ||z||_0 = sparsity. The atoms are
    orthogonalised one by one (a QR decomposition per signal): with fewer entries than
    atoms this is cheaper than the Gram matrix of Batch-OMP, and more accurate.

    With `known`, a signal is coded from its known entries alone: residuals are taken
    there, and the atoms, which lose entries too, compete at the norm 1 again. D z then
    tells the missing entries (A 2.2).

    Args:
        dictionary: `[d, K]`, atoms of norm 1.
        signals: `[N, d]`, float.
        tolerance: norm of the residual, scalar or `[N]`.
        sparsity: largest number of atoms per signal; None for d.
        known: bool `[N, d]`; what stands at the other entries does not matter. None if
            all are known.

    Returns:
        Codes `[N, K]`.

    Raises:
        InputError: shapes that do not belong together.

    Sources: Pati, Rezaiifar, Krishnaprasad, "Orthogonal Matching Pursuit", 1993; with
    missing entries: Mairal, Elad, Sapiro, "Sparse Representation for Color Image
    Restoration", IEEE TIP 2008.
    """
    _check(dictionary, signals)
    if known is not None:
        _check_known(known, signals)
        signals = np.where(known, signals, signals.dtype.type(0))
        shares = known.astype(signals.dtype) @ np.square(dictionary)
        # An atom of which nothing is known is not taken.
        scale = np.where(shares > 1e-6, 1.0 / np.sqrt(np.maximum(shares, 1e-6)), 0.0)
        scale = scale.astype(signals.dtype)
    dictionary = dictionary.astype(signals.dtype, copy=False)
    count, size = signals.shape
    most = min(size if sparsity is None else sparsity, *dictionary.shape)
    codes = np.zeros((count, dictionary.shape[1]), signals.dtype)
    limit = np.broadcast_to(np.square(tolerance), (count,))
    # Of each signal still in work: its row, the residual, the orthonormal vectors, the
    # triangle R of their QR decomposition, the signal's coordinates in them, the atoms.
    rows = np.flatnonzero(np.einsum("nd,nd->n", signals, signals) > limit)
    left = len(rows)
    residual = signals[rows]
    basis = np.zeros((left, 0, size), signals.dtype)
    triangle = np.zeros((left, 0, 0), signals.dtype)
    coordinates = np.zeros((left, 0), signals.dtype)
    chosen = np.zeros((left, 0), np.int64)
    atoms = np.ascontiguousarray(dictionary.T)
    tiny = np.sqrt(np.finfo(signals.dtype).eps)
    for step in range(1, most + 1):
        match = np.abs(residual @ dictionary)
        if known is not None:
            match *= scale[rows]
        best = match.argmax(axis=1)
        atom = atoms[best]
        if known is not None:
            atom *= known[rows] * scale[rows, best][:, None]
        overlap = np.einsum("nkd,nd->nk", basis, atom)
        fresh = atom - np.einsum("nk,nkd->nd", overlap, basis)
        length = np.sqrt(np.einsum("nd,nd->n", fresh, fresh))
        # An atom that depends on those taken before gets the coefficient 0.
        stuck = length <= tiny
        length[stuck] = 1.0
        fresh /= length[:, None]
        coordinate = np.einsum("nd,nd->n", fresh, residual)
        coordinate[stuck] = 0.0
        residual = residual - coordinate[:, None] * fresh
        grown = np.zeros((len(rows), step, step), signals.dtype)
        grown[:, :-1, :-1] = triangle
        grown[:, :-1, -1] = overlap
        grown[:, -1, -1] = length
        triangle = grown
        coordinates = np.concatenate([coordinates, coordinate[:, None]], axis=1)
        chosen = np.concatenate([chosen, best[:, None]], axis=1)
        basis = np.concatenate([basis, fresh[:, None]], axis=1)
        going = np.einsum("nd,nd->n", residual, residual) > limit[rows]
        going &= ~stuck & (step < most)
        done = ~going
        values = np.linalg.solve(triangle[done], coordinates[done][..., None])[..., 0]
        np.add.at(codes, (rows[done][:, None], chosen[done]), values)
        if not going.any():
            break
        rows, residual, basis = rows[going], residual[going], basis[going]
        triangle, coordinates = triangle[going], coordinates[going]
        chosen = chosen[going]
    return codes if known is None else codes * scale


def ista(
    dictionary: np.ndarray,
    signals: np.ndarray,
    penalty: float,
    *,
    iterations: int = 1000,
    tolerance: float = 1e-4,
) -> np.ndarray:
    """Iterative shrinkage and thresholding for the lasso (A 2.2, D 2.3 "SR").

    Minimises 1/2 ||x - D z||^2 + penalty ||z||_1 from z = 0 by

    z <- soft(z + D^T (x - D z) / L, penalty / L), L the largest eigenvalue of D^T D.

    Args:
        dictionary: `[d, K]`.
        signals: `[N, d]`, float.
        penalty: weight of the l1 norm, > 0.
        iterations: at most so many.
        tolerance: stop when the duality gap of every signal, an upper bound of its
            distance from the minimum, is at most this share of 1/2 ||x||^2.

    Returns:
        Codes `[N, K]`.

    Raises:
        InputError: shapes that do not belong together.

    Source: Daubechies, Defrise, De Mol, CPAM 2004.
    """
    return _shrink(dictionary, signals, penalty, iterations, tolerance, False)


def fista(
    dictionary: np.ndarray,
    signals: np.ndarray,
    penalty: float,
    *,
    iterations: int = 1000,
    tolerance: float = 1e-4,
) -> np.ndarray:
    """`ista` with Nesterov's momentum: error 1/k^2 instead of 1/k (A 2.2, D 2.3 "SR").

    The step starts from w = z + (t - 1) / t' (z - z_before), t' = (1 + sqrt(1 + 4 t^2))
    / 2, t = 1 at first. Source: Beck, Teboulle, SIAM J. Imaging Sciences 2009.
    """
    return _shrink(dictionary, signals, penalty, iterations, tolerance, True)


def _shrink(dictionary, signals, penalty, iterations, tolerance, accelerated):
    _check(dictionary, signals)
    dictionary = dictionary.astype(signals.dtype, copy=False)
    step = signals.dtype.type(1.0 / np.linalg.norm(dictionary, 2) ** 2)
    energy = 0.5 * np.einsum("nd,nd->n", signals, signals)
    codes = start = np.zeros((len(signals), dictionary.shape[1]), signals.dtype)
    momentum = 1.0
    for _ in range(iterations):
        residual = signals - start @ dictionary.T
        gradient = residual @ dictionary
        # The residual, scaled to fulfil the dual's constraints, is a dual point.
        largest = np.maximum(np.abs(gradient).max(axis=1), penalty)
        dual = signals - residual * (penalty / largest)[:, None]
        gap = 0.5 * np.einsum("nd,nd->n", residual, residual) - energy
        gap += penalty * np.abs(start).sum(axis=1)
        gap += 0.5 * np.einsum("nd,nd->n", dual, dual)
        if (gap <= tolerance * energy).all():
            return start
        moved = start + step * gradient
        moved -= np.clip(moved, -penalty * step, penalty * step)
        before, codes, start = codes, moved, moved
        if accelerated:
            following = 0.5 * (1.0 + (1.0 + 4.0 * momentum**2) ** 0.5)
            start = codes + (momentum - 1.0) / following * (codes - before)
            momentum = following
    return codes


def ksvd(
    signals: np.ndarray,
    dictionary: np.ndarray,
    *,
    iterations: int,
    tolerance: float = 0.0,
    sparsity: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Dictionary learning by approximate K-SVD (A 2.2, D 2.3 "SR").

    In turn: codes by `omp`; then each atom d and its coefficients g by one step towards
    the best rank-1 fit of E, the residual without this atom of the signals that use it:
    d = E^T g / ||E^T g||, g = E d. An atom that no signal uses, or that repeats another
    one (a cosine over 0.99), becomes the signal that is represented worst.

    Args:
        signals: `[N, d]`, float.
        dictionary: `[d, K]` to start from, atoms of norm 1.
        iterations: sweeps, >= 0.
        tolerance: of `omp`.
        sparsity: of `omp`.

    Returns:
        The dictionary `[d, K]`, and the codes `[N, K]` of the last sweep.

    Raises:
        InputError: shapes that do not belong together.

    Sources: Aharon, Elad, Bruckstein, "K-SVD", IEEE TSP 2006; Rubinstein, Zibulevsky,
    Elad, "Efficient Implementation of the K-SVD Algorithm", Technion 2008.
    """
    _check(dictionary, signals)
    atoms = dictionary.T.astype(signals.dtype)
    codes = np.zeros((len(atoms), len(signals)), signals.dtype)
    worst = []
    for _ in range(iterations):
        twins = np.triu(np.abs(atoms @ atoms.T), 1).max(axis=0) > 0.99
        for number in np.flatnonzero(twins)[: len(worst)]:
            _point(atoms[number], signals[worst.pop()])
        rows = omp(atoms.T, signals, tolerance=tolerance, sparsity=sparsity)
        residual = signals - rows @ atoms
        codes = np.ascontiguousarray(rows.T)
        worst = np.argsort(np.einsum("nd,nd->n", residual, residual)).tolist()
        for atom, weights in zip(atoms, codes, strict=True):
            users = np.flatnonzero(weights)
            without = residual[users] + weights[users, None] * atom
            if len(users):
                _point(atom, weights[users] @ without)
            elif worst:
                _point(atom, signals[worst.pop()])
            weights[users] = without @ atom
            residual[users] = without - weights[users, None] * atom
    return atoms.T, codes.T


def _point(atom, direction):
    norm = np.linalg.norm(direction)
    if norm > 0:
        atom[:] = direction / norm


def _check_known(known, signals):
    if known.shape != signals.shape or known.dtype != bool:
        raise errors.InputError(
            f"known entries {known.dtype} {list(known.shape)} of signals "
            f"{list(signals.shape)}: they must be bool, of one shape"
        )


def _check(dictionary, signals):
    if dictionary.ndim != 2 or signals.ndim != 2 or len(dictionary) != signals.shape[1]:
        raise errors.InputError(
            f"dictionary {list(dictionary.shape)} and signals {list(signals.shape)}: "
            "they must be [d, K] and [N, d]"
        )
