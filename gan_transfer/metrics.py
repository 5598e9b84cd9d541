"""Scores of generated images, from features (document E 6).

Pure NumPy in float64: an extractor (`gan_transfer.features`) has already turned every
image into a row. `gan_transfer.evaluation` names each number by its protocol.
"""

import dataclasses

import numpy as np

from gan_transfer import errors, nearest_neighbours


class FeatureStatistics:
    """Streaming mean and covariance of feature rows (document E 6).

    Chunks are merged by the pairwise update of Chan, Golub and LeVeque (1979), so
    neither the chunk size nor their order matters beyond rounding, and a large mean
    does not eat the digits of the covariance.

    Attributes:
        count: rows seen.
        mean: float64 [D].
    """

    def __init__(self) -> None:
        """Start with no rows."""
        self.count = 0
        self.mean = np.zeros(0)
        self._scatter = np.zeros((0, 0))

    def update(self, features: np.ndarray) -> "FeatureStatistics":
        """Add rows `features` [B, D], finite, one D; returns self, for chaining."""
        (rows,) = _matrices(1, features=features)
        width = rows.shape[1]
        if self.count == 0:
            self.mean, self._scatter = np.zeros(width), np.zeros((width, width))
        _same_width(width, len(self.mean))
        mean = rows.mean(axis=0)
        centred = rows - mean
        shift = mean - self.mean
        total = self.count + len(rows)
        self._scatter += centred.T @ centred
        self._scatter += np.outer(shift, shift) * (self.count * len(rows) / total)
        self.mean = self.mean + shift * (len(rows) / total)
        self.count = total
        return self

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance, float64 [D, D], of at least two rows."""
        _at_least("features", self.count, 2)
        return self._scatter / (self.count - 1)


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Frechet distance between two Gaussians (document E 6, "FID").

    ||mu_a - mu_b||^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2)), where the last trace is the
    sum of the square roots of the eigenvalues of S_a^(1/2) S_b S_a^(1/2), which is
    symmetric: no complex square root. Named FID on InceptionV3's features only. Biased
    upwards by about 1/count: compare numbers of one count. Heusel et al. 2017, "GANs
    Trained by a Two Time-Scale Update Rule".

    Args:
        a: statistics of D features over more than D samples.
        b: likewise.

    Returns:
        The squared distance, >= 0, in squared feature units.

    Raises:
        errors.InputError: different D, or count <= D.
    """
    for statistics in (a, b):
        if statistics.count <= len(statistics.mean):
            raise errors.InputError(
                f"{statistics.count} samples for {len(statistics.mean)} features is too"
                " few: use kernel_distance"
            )
    _same_width(len(a.mean), len(b.mean))
    first, second = a.covariance, b.covariance
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.maximum(values, 0))
    product = np.linalg.eigvalsh(root.T @ second @ root)
    trace = np.trace(first + second) - 2 * np.sqrt(np.maximum(product, 0)).sum()
    return max(float(np.sum((a.mean - b.mean) ** 2) + trace), 0.0)


def kernel_distance(
    a: np.ndarray,
    b: np.ndarray,
    *,
    subsets: int = 50,
    subset_size: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Unbiased squared MMD with a cubic kernel, over subsets (document E 6).

    k(x, y) = (x.y / D + 1)^3; Binkowski et al. 2018, "Demystifying MMD GANs" (KID when
    the features are InceptionV3's). Unlike the Frechet distance its expectation does
    not depend on the counts, and it may be negative. Each subset takes
    n = min(subset_size, N, M) rows of either set without replacement; where both sets
    have just n rows there is one, and the spread is 0.

    Args:
        a: features [N, D], N >= 2.
        b: features [M, D], M >= 2.
        subsets: number of subsets, >= 1.
        subset_size: rows per subset, >= 2.
        seed: fixes the subsets.

    Returns:
        Mean and standard deviation over the subsets (no standard error of the mean).

    Raises:
        errors.InputError: fewer than two rows, different D, or not finite.
    """
    a, b = _matrices(2, a=a, b=b)
    _at_least("subset_size", subset_size, 2)
    _at_least("subsets", subsets, 1)
    size = min(subset_size, len(a), len(b))
    if size == len(a) == len(b):
        return _squared_mmd(a, b), 0.0
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        chosen = (generator.choice(x, size, replace=False) for x in (a, b))
        values.append(_squared_mmd(*chosen))
    return float(np.mean(values)), float(np.std(values))


def _squared_mmd(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD of two sets of equal size [n, D]."""
    n = len(a)
    within = _cubic_kernel(a, a) + _cubic_kernel(b, b)
    within = (within.sum() - np.trace(within)) / (n * (n - 1))
    return float(within - 2 * _cubic_kernel(a, b).mean())


def _cubic_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    base = a @ b.T / a.shape[1] + 1
    return base * base * base


def inception_score(probabilities: np.ndarray, splits: int = 10) -> tuple[float, float]:
    """Exponential of the mean KL(p(y|x) || p(y)), per split (document E 6, "IS").

    1 when every image gets the same prediction, K when the K classes are predicted
    with certainty and equally often. Comparable with published scores only for
    InceptionV3. Salimans et al. 2016, "Improved Techniques for Training GANs".

    Args:
        probabilities: class probabilities [N, K] of generated images, rows sum to 1.
            Splits are consecutive: shuffle first if the order means something.
        splits: number of parts scored separately, >= 1.

    Returns:
        Mean and standard deviation over the splits.

    Raises:
        errors.InputError: N < splits, or rows that are no distributions.
    """
    _at_least("splits", splits, 1)
    (rows,) = _matrices(splits, probabilities=probabilities)
    if rows.min() < 0 or np.abs(rows.sum(axis=1) - 1).max() > 1e-3:
        raise errors.InputError(
            "probabilities: rows must be >= 0 and sum to 1; apply softmax to logits"
        )
    tiny = np.finfo(np.float64).tiny
    scores = []
    for part in np.array_split(rows, splits):
        ratio = np.log(part + tiny) - np.log(part.mean(axis=0) + tiny)
        scores.append(np.exp(np.sum(part * ratio, axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Fidelity (precision, density) and diversity (recall, coverage) (document E 6)."""

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall_density_coverage(
    real: np.ndarray, fake: np.ndarray, *, neighbours: int = 5
) -> Coverage:
    """Four scores from balls around the samples (document E 6).

    The ball of a sample reaches to its k-th nearest other sample of its own set.
    precision: share of fakes in some real ball; recall: share of reals in some fake
    ball (Kynkaanniemi et al. 2019, balls closed). density: real balls per fake, over
    k; coverage: share of reals with a fake in their ball (Naeem et al. 2020, balls
    open). Two samples of one distribution do not give 1: print a real-against-real
    row of the same counts beside these numbers.

    Args:
        real: features [N, D], N > neighbours.
        fake: features [M, D], M > neighbours.
        neighbours: k, >= 1; the papers use 3 and 5.

    Raises:
        errors.InputError: too few rows, different D, or not finite.
    """
    _at_least("neighbours", neighbours, 1)
    real, fake = _matrices(neighbours + 1, real=real, fake=fake)
    real_radius = nearest_neighbours.squared_radii(real, neighbours)
    fake_radius = nearest_neighbours.squared_radii(fake, neighbours)
    in_real_ball = np.zeros(len(fake), bool)
    recalled, covered, inside = 0, 0, 0
    for rows, squared in nearest_neighbours.squared_distance_blocks(real, fake):
        radius = real_radius[rows, None]
        in_real_ball |= (squared <= radius).any(axis=0)
        recalled += int((squared <= fake_radius).any(axis=1).sum())
        within = squared < radius
        inside += int(within.sum())
        covered += int(within.any(axis=1).sum())
    return Coverage(
        precision=float(in_real_ball.mean()),
        recall=recalled / len(real),
        density=inside / (neighbours * len(fake)),
        coverage=covered / len(real),
    )


@dataclasses.dataclass(frozen=True)
class Memorisation:
    """How close generated samples are to training images (document E 6).

    Attributes:
        share: share of generated samples that count as copies, 0..1.
        held_out_share: the same share for unseen real images: the neutral value,
            about 0.4 on MNIST, and far from 0.
        ratio: median distance of generated samples to the nearest training image over
            that of held-out images; 0 for copies, 1 for new images, more off the data.
        nearest: int64 [N], the training image nearest to each generated sample.
        distance: float64 [N], how far it is.
    """

    share: float
    held_out_share: float
    ratio: float
    nearest: np.ndarray
    distance: np.ndarray


def memorisation(
    fake: np.ndarray, train: np.ndarray, held_out: np.ndarray
) -> Memorisation:
    """Nearest-neighbour check for copied training images (document E 6).

    A sample counts as a copy when it is at least as close to its nearest training
    image as that image is to its own nearest other training image: the complement of
    the authenticity of Alaa et al. 2022, "How Faithful is your Synthetic Data?". Look
    at the pairs as well: features see only part of an image.

    Args:
        fake: features of generated samples [N, D].
        train: features of the generator's training images [T, D], T >= 2.
        held_out: features of real images that it never saw [H, D].

    Raises:
        errors.InputError: too few rows, different D, not finite, or held-out images
            that are training images.
    """
    fake, train, held_out = _matrices(1, fake=fake, train=train, held_out=held_out)
    _at_least("train", len(train), 2)
    nearest, distance = nearest_neighbours.search(fake, train)
    held_nearest, held_distance = nearest_neighbours.search(held_out, train)
    median = np.median(held_distance)
    if median == 0:
        raise errors.InputError(
            "held_out: at least half of it are training images; give unseen images"
        )
    both = np.concatenate([nearest, held_nearest])
    used, where = np.unique(both, return_inverse=True)
    spacing = nearest_neighbours.search(train[used], train, own=used)[1][where]
    copied = distance <= spacing[: len(fake)]
    return Memorisation(
        share=float(copied.mean()),
        held_out_share=float((held_distance <= spacing[len(fake) :]).mean()),
        ratio=float(np.median(distance) / median),
        nearest=nearest,
        distance=distance,
    )


def _matrices(minimum: int, **sets: np.ndarray) -> list[np.ndarray]:
    """The sets as float64 [N, D], one D, N >= minimum, all finite."""
    matrices = [np.asarray(values, np.float64) for values in sets.values()]
    for label, matrix in zip(sets, matrices, strict=True):
        if matrix.ndim != 2 or matrix.shape[1] == 0:
            raise errors.InputError(
                f"{label}: shape {matrix.shape} is not [samples, features]; reshape it"
            )
        _at_least(label, len(matrix), minimum)
        finite = np.isfinite(matrix).all(axis=1)
        if not finite.all():
            raise errors.InputError(
                f"{label}: row {int(finite.argmin())} is not finite; look at its image"
            )
        _same_width(matrices[0].shape[1], matrix.shape[1])
    return matrices


def _at_least(label: str, value: int, minimum: int) -> None:
    """Refuse counts below a minimum."""
    if value < minimum:
        raise errors.InputError(f"{label}: {value} given, at least {minimum} needed")


def _same_width(first: int, second: int) -> None:
    """Refuse features of different extractors."""
    if first != second:
        raise errors.InputError(
            f"{first} features against {second}: use one extractor for both"
        )
