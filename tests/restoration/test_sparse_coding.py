import numpy as np
import pytest
import scipy.fft
from sklearn import linear_model

from gan_transfer import errors
from restoration import sparse_coding


def _dictionary(size=12, atoms=30, seed=0):
    draws = np.random.default_rng(seed).normal(size=(size, atoms))
    return draws / np.linalg.norm(draws, axis=0)


def _signals(count=40, size=12, seed=1):
    return np.random.default_rng(seed).normal(size=(count, size))


def _sparse(dictionary, count, sparsity, seed=2):
    """Signals that are exactly sparse, and their codes."""
    rng = np.random.default_rng(seed)
    codes = np.zeros((count, dictionary.shape[1]))
    for row in codes:
        place = rng.choice(len(row), sparsity, replace=False)
        row[place] = rng.choice([-1, 1], sparsity) * rng.uniform(0.5, 1.5, sparsity)
    return codes @ dictionary.T, codes


def test_dct_with_as_many_atoms_as_pixels_is_the_orthonormal_dct():
    basis = sparse_coding.dct_dictionary(4, 16).astype(np.float64)
    image = _signals(4, 4)
    expected = scipy.fft.dctn(image, norm="ortho").ravel()
    np.testing.assert_allclose(basis.T @ image.ravel(), expected, atol=1e-6)


def test_overcomplete_dct_has_unit_atoms_and_one_constant():
    basis = sparse_coding.dct_dictionary()
    assert (basis.shape, basis.dtype) == ((64, 256), np.float32)
    np.testing.assert_allclose(np.linalg.norm(basis, axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(basis[:, 0], 1 / 8)
    np.testing.assert_allclose(basis[:, 1:].mean(axis=0), 0, atol=1e-7)
    # No atom twice.
    assert np.abs(basis.T @ basis - np.eye(256)).max() < 0.999


@pytest.mark.parametrize("sparsity", [1, 4, 12])
def test_omp_equals_scikit_learn_by_sparsity(sparsity):
    dictionary, signals = _dictionary(), _signals()
    codes = sparse_coding.omp(dictionary, signals, sparsity=sparsity)
    expected = linear_model.orthogonal_mp(
        dictionary, signals.T, n_nonzero_coefs=sparsity
    )
    np.testing.assert_allclose(codes, expected.T, atol=1e-10)


def test_omp_equals_scikit_learn_by_tolerance_of_each_signal():
    dictionary, signals = _dictionary(), _signals()
    tolerance = np.linspace(0.3, 2.0, len(signals))
    codes = sparse_coding.omp(dictionary, signals, tolerance=tolerance)
    for row, signal, limit in zip(codes, signals, tolerance, strict=True):
        expected = linear_model.orthogonal_mp(dictionary, signal, tol=limit**2)
        np.testing.assert_allclose(row, expected, atol=1e-10)
    residual = np.linalg.norm(signals - codes @ dictionary.T, axis=1)
    assert (residual <= tolerance).all()
    assert len(set(np.count_nonzero(codes, axis=1))) > 3


def test_omp_finds_exactly_sparse_codes_and_leaves_zero_alone():
    dictionary = _dictionary(40, 60)
    signals, codes = _sparse(dictionary, 20, 3)
    signals[7], codes[7] = 0, 0
    found = sparse_coding.omp(dictionary, signals, tolerance=1e-8)
    np.testing.assert_allclose(found, codes, atol=1e-9)


def test_omp_recovers_sparse_signals_from_some_of_their_entries():
    dictionary = _dictionary(40, 60)
    signals, codes = _sparse(dictionary, 20, 3)
    known = np.random.default_rng(3).random(signals.shape) < 0.6
    seen = np.where(known, signals, np.nan)
    found = sparse_coding.omp(dictionary, seen, tolerance=1e-8, known=known)
    np.testing.assert_allclose(found, codes, atol=1e-9)
    np.testing.assert_allclose(found @ dictionary.T, signals, atol=1e-9)


def test_omp_of_known_entries_equals_scikit_learn_signal_by_signal():
    dictionary, signals = _dictionary(), _signals()
    known = np.random.default_rng(3).random(signals.shape) < 0.6
    codes = sparse_coding.omp(dictionary, signals, tolerance=0.7, known=known)
    for row, signal, seen in zip(codes, signals, known, strict=True):
        part = dictionary[seen]
        norms = np.linalg.norm(part, axis=0)
        expected = linear_model.orthogonal_mp(part / norms, signal[seen], tol=0.49)
        np.testing.assert_allclose(row, expected / norms, atol=1e-9)


def test_omp_takes_no_atom_of_which_nothing_is_known():
    known = np.array([[False, True, True]] * 2 + [[False] * 3])
    signals = np.array([[9.0, 2, 3], [9, 0, 0], [9, 9, 9]])
    codes = sparse_coding.omp(np.eye(3), signals, known=known)
    np.testing.assert_array_equal(codes, [[0, 2, 3], [0, 0, 0], [0, 0, 0]])
    everything = np.ones((40, 12), bool)
    codes = sparse_coding.omp(_dictionary(), _signals(), sparsity=4, known=everything)
    expected = sparse_coding.omp(_dictionary(), _signals(), sparsity=4)
    np.testing.assert_allclose(codes, expected, atol=1e-10)


@pytest.mark.parametrize(
    ("known", "message"),
    [(np.ones((2, 12), bool), r"bool \[2, 12\] of"), (np.ones((3, 12)), "float64")],
)
def test_known_entries_of_another_kind_are_refused(known, message):
    with pytest.raises(errors.InputError, match=message):
        sparse_coding.omp(_dictionary(), _signals(3), known=known)


def test_omp_does_not_take_what_it_has_already():
    dictionary = np.eye(3)[:, [0, 0, 1]]
    codes = sparse_coding.omp(dictionary, np.array([[2.0, 3, 5], [0, 0, 1]]))
    np.testing.assert_allclose(codes, [[2, 0, 3], [0, 0, 0]])


def test_omp_keeps_the_type_of_the_signals():
    dictionary, signals = _dictionary(), _signals().astype(np.float32)
    codes = sparse_coding.omp(dictionary, signals, sparsity=5)
    assert codes.dtype == np.float32
    expected = sparse_coding.omp(dictionary, _signals(), sparsity=5)
    np.testing.assert_allclose(codes, expected, atol=1e-5)


@pytest.mark.parametrize("solver", [sparse_coding.ista, sparse_coding.fista])
def test_shrinkage_equals_coordinate_descent(solver):
    dictionary, signals = _dictionary(), _signals(6)
    codes = solver(dictionary, signals, 0.3, iterations=20_000, tolerance=1e-12)
    lasso = linear_model.Lasso(
        alpha=0.3 / 12, fit_intercept=False, tol=1e-12, max_iter=100_000
    )
    expected = [lasso.fit(dictionary, signal).coef_ for signal in signals]
    np.testing.assert_allclose(codes, expected, atol=1e-5)


def _costs(dictionary, signals, codes, penalty):
    residual = signals - codes @ dictionary.T
    l1 = np.abs(codes).sum(axis=1)
    return 0.5 * np.square(residual).sum(axis=1) + penalty * l1


def test_duality_gap_bounds_the_distance_from_the_minimum():
    dictionary, signals = _dictionary(), _signals(6)
    best = sparse_coding.fista(dictionary, signals, 0.3, tolerance=1e-12)
    least = _costs(dictionary, signals, best, 0.3)
    energy = 0.5 * np.square(signals).sum(axis=1)
    for tolerance in (1e-1, 1e-3):
        near = sparse_coding.fista(dictionary, signals, 0.3, tolerance=tolerance)
        excess = _costs(dictionary, signals, near, 0.3) - least
        assert (excess > 0).all()
        assert (excess <= tolerance * energy).all()


def test_ista_and_fista_keep_their_rates():
    dictionary, signals = _dictionary(), _signals(6)
    best = sparse_coding.fista(dictionary, signals, 0.05, tolerance=1e-12)
    least = _costs(dictionary, signals, best, 0.05)
    scale = np.linalg.norm(dictionary, 2) ** 2 * np.square(best).sum(axis=1)
    slow, fast = (
        _costs(dictionary, signals, codes, 0.05) - least
        for codes in (
            solver(dictionary, signals, 0.05, iterations=60, tolerance=0)
            for solver in (sparse_coding.ista, sparse_coding.fista)
        )
    )
    assert (slow <= scale / (2 * 60)).all()
    assert (fast <= 2 * scale / 61**2).all()
    assert (fast < slow).all()


@pytest.mark.parametrize("solver", [sparse_coding.ista, sparse_coding.fista])
def test_shrinkage_in_closed_form(solver):
    signals = np.array([[3.0, -2, 0.5], [0, 0, 0]])
    codes = solver(np.eye(3), signals, 1.0)
    np.testing.assert_allclose(codes, [[2, -1, 0], [0, 0, 0]], atol=1e-12)
    largest = np.abs(signals[:1]).max()
    assert not solver(np.eye(3), signals, largest).any()


def test_ksvd_sweep_never_loses_to_its_codes():
    signals, _ = _sparse(_dictionary(), 200, 3)
    dictionary = _dictionary(seed=5)
    for _ in range(5):
        codes = sparse_coding.omp(dictionary, signals, sparsity=3)
        before = np.linalg.norm(signals - codes @ dictionary.T)
        dictionary, codes = sparse_coding.ksvd(
            signals, dictionary, iterations=1, sparsity=3
        )
        assert np.linalg.norm(signals - codes @ dictionary.T) < before
        np.testing.assert_allclose(np.linalg.norm(dictionary, axis=0), 1)
        assert np.count_nonzero(codes, axis=1).max() <= 3


def test_ksvd_recovers_the_dictionary_of_sparse_signals():
    truth = _dictionary(20, 30)
    signals, _ = _sparse(truth, 1500, 3)
    start = signals[:30].T / np.linalg.norm(signals[:30], axis=1)
    found, _ = sparse_coding.ksvd(signals, start, iterations=60, sparsity=3)
    match = np.abs(truth.T @ found).max(axis=1)
    assert (match > 0.99).all()


def test_ksvd_replaces_an_unused_atom_by_the_worst_signal():
    signals = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 3, 0]])
    # The last atom correlates with nothing.
    start = np.eye(4)[:, [0, 1, 3]]
    found, _ = sparse_coding.ksvd(signals, start, iterations=1, sparsity=1)
    np.testing.assert_allclose(found[:, 2], signals[2] / 10**0.5)
    same, codes = sparse_coding.ksvd(0 * signals, start, iterations=2)
    assert (same == start).all()
    assert not codes.any()


def test_ksvd_replaces_an_atom_that_repeats_another():
    signals = np.array([[1.0, 0.05, 0], [1, -0.05, 0], [0, 0, 2]])
    start = signals[:2].T / np.linalg.norm(signals[0])
    once, _ = sparse_coding.ksvd(signals, start, iterations=1, sparsity=1)
    np.testing.assert_allclose(once, start)
    found, codes = sparse_coding.ksvd(signals, start, iterations=9, sparsity=1)
    np.testing.assert_allclose(found, np.eye(3)[:, [0, 2]], atol=1e-6)
    np.testing.assert_allclose(codes, [[1, 0], [1, 0], [0, 2]], atol=1e-6)


@pytest.mark.parametrize(("patch", "atoms"), [(4, 9), (3, 10), (0, 1)])
def test_impossible_dct_is_refused(patch, atoms):
    with pytest.raises(errors.InputError, match="square number"):
        sparse_coding.dct_dictionary(patch, atoms)


@pytest.mark.parametrize(
    "call",
    [
        lambda d, x: sparse_coding.omp(d, x),
        lambda d, x: sparse_coding.fista(d, x, 0.1),
        lambda d, x: sparse_coding.ksvd(x, d, iterations=1),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(call):
    with pytest.raises(errors.InputError, match=r"\[d, K\] and \[N, d\]"):
        call(_dictionary(12), _signals(3, 11))
