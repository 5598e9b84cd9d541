"""Scores against closed forms, naive loops and SciPy (document E 6)."""

import numpy as np
import pytest
import scipy.linalg

from gan_transfer import errors, metrics, nearest_neighbours


def _normal(seed, count, width):
    return np.random.default_rng(seed).normal(size=(count, width))


def _with_moments(mean, covariance, count=40):
    """Statistics of rows whose sample moments are exactly these."""
    rows = _normal(3, count, len(mean))
    rows -= rows.mean(axis=0)
    whitened = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T
    coloured = whitened @ np.linalg.cholesky(covariance).T + mean
    return metrics.FeatureStatistics().update(coloured)


def test_statistics_equal_numpy_whatever_the_chunks():
    rows = _normal(0, 101, 7) * np.arange(1, 8) + 1000
    covariance = np.cov(rows.T)
    for size, order in ((1, 1), (13, 1), (13, -1), (101, 1)):
        statistics = metrics.FeatureStatistics()
        for start in list(range(0, 101, size))[::order]:
            statistics.update(rows[start : start + size])
        assert statistics.count == 101
        np.testing.assert_allclose(statistics.mean, rows.mean(axis=0), rtol=1e-12)
        error = np.abs(statistics.covariance - covariance).max()
        assert error < 1e-12 * np.abs(covariance).max()


def test_statistics_take_float32_into_float64():
    rows = (_normal(0, 4000, 2) + 4096).astype(np.float32)
    statistics = metrics.FeatureStatistics().update(rows)
    expected = np.cov(rows.astype(np.float64).T)
    np.testing.assert_allclose(statistics.covariance, expected, rtol=1e-9)


def test_frechet_of_diagonal_gaussians():
    a = _with_moments([0.0, 1.0, 2.0], np.diag([1.0, 4.0, 9.0]))
    b = _with_moments([2.0, 1.0, 0.0], np.diag([4.0, 4.0, 1.0]))
    # Squared differences of means (4 + 0 + 4) and of deviations (1 + 0 + 4).
    assert metrics.frechet_distance(a, b) == pytest.approx(13.0, rel=1e-9)


def test_frechet_of_one_mean_and_scaled_covariance():
    covariance = np.array([[2.0, 0.6], [0.6, 1.0]])
    a = _with_moments([5.0, -1.0], covariance)
    b = _with_moments([5.0, -1.0], 9 * covariance)
    assert metrics.frechet_distance(a, b) == pytest.approx((3 - 1) ** 2 * 3.0, rel=1e-9)


def test_frechet_agrees_with_the_matrix_square_root():
    mix = _normal(9, 12, 12)
    a = metrics.FeatureStatistics().update(_normal(1, 60, 12) @ mix)
    b = metrics.FeatureStatistics().update(_normal(2, 80, 12) + 0.3)
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(
        a.covariance + b.covariance - 2 * root
    )
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert metrics.frechet_distance(b, a) == pytest.approx(expected, rel=1e-6)
    assert metrics.frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)


def test_frechet_survives_a_dead_feature():
    rows = _normal(1, 60, 5)
    rows[:, 2] = 0
    a = metrics.FeatureStatistics().update(rows)
    b = metrics.FeatureStatistics().update(rows + np.array([3.0, 0, 0, 0, 4.0]))
    assert metrics.frechet_distance(a, b) == pytest.approx(25.0, rel=1e-6)


def test_frechet_refuses_no_more_samples_than_features():
    enough = metrics.FeatureStatistics().update(_normal(0, 6, 5))
    few = metrics.FeatureStatistics().update(_normal(0, 5, 5))
    for pair in ((enough, few), (few, enough)):
        with pytest.raises(errors.InputError, match="use kernel_distance"):
            metrics.frechet_distance(*pair)


def _naive_squared_mmd(a, b):
    def kernel(x, y):
        return (sum(x * y) / len(x) + 1) ** 3

    n = len(a)
    pairs = [(i, j) for i in range(n) for j in range(n)]
    apart = [(i, j) for i, j in pairs if i != j]
    within = sum(kernel(a[i], a[j]) + kernel(b[i], b[j]) for i, j in apart)
    between = sum(kernel(a[i], b[j]) for i, j in pairs)
    return within / (n * (n - 1)) - 2 * between / n**2


def test_kernel_distance_equals_the_double_loop():
    a, b = _normal(0, 9, 4), _normal(1, 9, 4) + 0.5
    mean, spread = metrics.kernel_distance(a, b)
    assert mean == pytest.approx(_naive_squared_mmd(a, b), rel=1e-12)
    assert spread == 0


def test_kernel_distance_uses_the_smaller_set_whole():
    a, b = _normal(0, 3, 4), _normal(1, 4, 4)
    values = [_naive_squared_mmd(a, np.delete(b, i, axis=0)) for i in range(4)]
    mean, spread = metrics.kernel_distance(a, b, subsets=400)
    assert min(values) < mean < max(values)
    # 400 draws of four equally likely values: 4 standard errors.
    assert abs(mean - np.mean(values)) < 4 * np.std(values) / 20
    assert spread == pytest.approx(np.std(values), rel=0.15)


def test_kernel_distance_expects_zero_for_one_distribution():
    rows = np.random.default_rng(0).permutation(_normal(0, 2000, 8))
    values = [
        metrics.kernel_distance(rows[i : i + 50], rows[i + 50 : i + 100])[0]
        for i in range(0, 2000, 100)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(20)
    shifted = metrics.kernel_distance(rows[:1000], rows[1000:] + 1)[0]
    assert shifted > 10 * np.std(values)


def test_kernel_distance_is_fixed_by_its_seed():
    a, b = _normal(0, 60, 4), _normal(1, 60, 4)
    runs = [
        metrics.kernel_distance(a, b, subsets=5, subset_size=20, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]
    assert runs[0][1] > 0


def test_inception_score_closed_forms():
    assert metrics.inception_score(np.full((40, 8), 1 / 8)) == pytest.approx((1, 0))
    one_hot = np.eye(5)[np.arange(100) % 5]
    mean, spread = metrics.inception_score(one_hot, splits=4)
    assert (mean, spread) == pytest.approx((5, 0), rel=1e-12, abs=1e-12)


def test_inception_score_of_two_different_splits():
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.5, 0.5]])
    mean, spread = metrics.inception_score(rows, splits=2)
    assert (mean, spread) == pytest.approx((1.5, 0.5))


@pytest.mark.parametrize(
    "rows", [np.full((10, 3), 0.5), np.tile([1.5, -0.5, 0], (10, 1))]
)
def test_inception_score_refuses_logits(rows):
    with pytest.raises(errors.InputError, match="softmax"):
        metrics.inception_score(rows)


def _naive_coverage(real, fake, k):
    def distances(x, y):
        return np.array([[np.linalg.norm(p - q) for q in y] for p in x])

    real_radius = np.sort(distances(real, real), axis=1)[:, k]
    fake_radius = np.sort(distances(fake, fake), axis=1)[:, k]
    cross = distances(real, fake)
    precision = recall = density = coverage = 0
    for j in range(len(fake)):
        precision += any(cross[i, j] <= real_radius[i] for i in range(len(real)))
        density += sum(cross[i, j] < real_radius[i] for i in range(len(real))) / k
    for i in range(len(real)):
        recall += any(cross[i, j] <= fake_radius[j] for j in range(len(fake)))
        coverage += cross[i].min() < real_radius[i]
    n, m = len(real), len(fake)
    return precision / m, recall / n, density / m, coverage / n


def test_precision_recall_density_coverage_equal_the_loops(monkeypatch):
    monkeypatch.setattr(nearest_neighbours, "_BLOCK_ROWS", 7)
    real, fake = _normal(0, 30, 3), 0.7 * _normal(1, 23, 3) + 0.8
    scores = metrics.precision_recall_density_coverage(real, fake, neighbours=3)
    expected = _naive_coverage(real, fake, 3)
    assert tuple(vars(scores).values()) == pytest.approx(expected, rel=1e-12)
    assert len(set(expected)) == 4


def test_coverage_of_identical_and_of_far_sets():
    real = _normal(0, 40, 3)
    same = metrics.precision_recall_density_coverage(real, real)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    assert same.density == pytest.approx(1, abs=0.01)
    far = metrics.precision_recall_density_coverage(real, real + 100)
    assert far == metrics.Coverage(0, 0, 0, 0)


def test_precision_and_recall_are_not_swapped():
    wide, tight = _normal(0, 200, 2), 0.05 * _normal(1, 200, 2)
    scores = metrics.precision_recall_density_coverage(real=wide, fake=tight)
    assert scores.precision > 0.8
    assert scores.recall < 0.3


def test_nearest_neighbours_of_copies_are_exact():
    rows = _normal(0, 50, 6) + 1e4
    index, distance = nearest_neighbours.search(rows[::-1].copy(), rows)
    assert index.tolist() == list(range(49, -1, -1))
    assert (distance == 0).all()


def test_memorisation_of_copies_is_one():
    train, held_out = _normal(0, 60, 6), _normal(1, 60, 6)
    train[1] = train[0]
    copied = metrics.memorisation(train[5::-1], train, held_out)
    assert (copied.share, copied.ratio) == (1, 0)
    assert copied.nearest.tolist()[:4] == [5, 4, 3, 2]
    assert (copied.distance == 0).all()


def test_memorisation_by_hand():
    train = np.array([[0.0], [4.0], [5.0]])
    held_out = np.array([[2.0], [7.0]])
    fake = np.array([[-1.0], [3.5], [8.0], [-4.0]])
    result = metrics.memorisation(fake, train, held_out)
    assert result.nearest.tolist() == [0, 1, 2, 0]
    np.testing.assert_allclose(result.distance, [1, 0.5, 3, 4])
    # Spacings of the training rows: 4, 1, 1.
    assert result.share == 0.75
    assert result.held_out_share == 0.5
    assert result.ratio == pytest.approx(2.0 / 2.0)


def test_memorisation_ratio_of_new_images_is_about_one():
    rows = _normal(0, 900, 4)
    result = metrics.memorisation(rows[:300], rows[300:600], rows[600:])
    assert result.share == pytest.approx(result.held_out_share, abs=0.12)
    assert result.ratio == pytest.approx(1, abs=0.15)


def test_memorisation_refuses_held_out_images_that_were_trained_on():
    train = _normal(0, 20, 3)
    with pytest.raises(errors.InputError, match="unseen"):
        metrics.memorisation(_normal(1, 5, 3), train, train)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.kernel_distance(np.ones((1, 3)), np.ones((9, 3))), "a: 1"),
        (
            lambda: metrics.kernel_distance(np.ones((4, 3)), np.ones((4, 2))),
            "3 features against 2",
        ),
        (lambda: metrics.inception_score(np.eye(3)), "at least 10 needed"),
        (
            lambda: metrics.precision_recall_density_coverage(
                np.ones((5, 2)), np.ones((6, 2))
            ),
            "real: 5 given, at least 6",
        ),
        (
            lambda: metrics.memorisation(np.eye(2), np.eye(2)[:1], np.eye(2)),
            "train: 1 given",
        ),
        (lambda: metrics.FeatureStatistics().update(np.ones(3)), "shape"),
        (lambda: metrics.FeatureStatistics().update(np.eye(1)).covariance, "at least"),
        (
            lambda: metrics.FeatureStatistics().update([[0.0], [np.nan]]),
            "row 1 is not finite",
        ),
        (
            lambda: metrics.FeatureStatistics().update(np.eye(2)).update(np.eye(3)),
            "3 features against 2",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(errors.InputError, match=message):
        call()


def test_duplicates_are_in_closed_balls_only():
    rows = np.repeat(_normal(0, 8, 3), 10, axis=0)
    scores = metrics.precision_recall_density_coverage(rows, rows)
    assert scores == metrics.Coverage(precision=1, recall=1, density=0, coverage=0)
