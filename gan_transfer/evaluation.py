"""The table of scores of a generator (document E 6).

A score means nothing without its protocol, so every key names the features, the
reference set and the number of samples.
"""

import numpy as np

from gan_transfer import features, metrics

# The k of precision, recall, density and coverage.
NEIGHBOURS = 5
# A Frechet distance that judges has so many samples, and so many per feature.
_JUDGING, _PER_FEATURE = 1000, 4
# Extractor -> names of its Frechet and of its kernel distance.
_DISTANCES = {
    "classifier": ("fcd", "kcd"),
    "pca": ("pca", "pca_kernel"),
    "inception": ("fid", "kid"),
    "mobilenet": ("fmd", "kmd"),
}


def report(
    extractors: dict[str, features.Extractor],
    real: np.ndarray,
    generated: np.ndarray,
    dataset: str,
    *,
    probabilities: features.Extractor | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """All scores of a generator, each named by its protocol (document E 6).

    Keys are `<score>_<dataset>_<number of generated samples>`. The Frechet and kernel
    distance of "classifier" are `fcd` and `kcd` (with `kcd_sd`, the spread over
    subsets), of "pca" `pca` and `pca_kernel`, of "inception" `fid` and `kid`, of
    "mobilenet" `fmd` and `kmd`, of any other `frechet_<name>` and `kernel_<name>`.
    The Frechet distance is absent where either set has no more samples than features.
    `precision_<extractor>` and so on follow. With one image in either set there are no
    distances, up to `NEIGHBOURS` images no precision and the like. To know what
    a perfect generator gets, call it with unseen real images as `generated`.

    Args:
        extractors: by name; give two unrelated ones.
        real: test images that neither training nor selection saw, [M, H, W, C].
        generated: [N, H, W, C], uint8 (as a reader would get them).
        dataset: name of `real`.
        probabilities: adds the Inception Score formula on this classifier,
            `classifier_score`.
        seed: fixes the subsets of the kernel distance.

    Returns:
        Flat table of numbers, `count_real` and `count_generated` among them.

    Raises:
        errors.InputError: images or counts that a score refuses.
    """
    scores = {}
    for name, extractor in extractors.items():
        pair = features.extract(extractor, real), features.extract(extractor, generated)
        smaller = min(len(real), len(generated))
        if smaller > 1:
            scores |= _distances(name, *pair, seed=seed)
        if smaller > NEIGHBOURS:
            shares = metrics.precision_recall_density_coverage(
                *pair, neighbours=NEIGHBOURS
            )
            for score, value in vars(shares).items():
                scores[f"{score}_{name}"] = value
    if probabilities is not None:
        rows = features.extract(probabilities, generated)
        scores["classifier_score"] = metrics.inception_score(rows)[0]
    table = {
        metric_name(kind, dataset, len(generated)): value
        for kind, value in scores.items()
    }
    return table | {"count_real": len(real), "count_generated": len(generated)}


def judging_distance(count: int, width: int) -> str:
    """Which distance chooses among generators: frechet or kernel (document E 6).

    The Frechet distance from 1,000 samples and more than 4 per feature on: with fewer
    it is mostly bias, and with no more samples than features it does not exist. The
    kernel distance is unbiased whatever the counts.

    Args:
        count: samples of the smaller set.
        width: of the features.
    """
    enough = count >= _JUDGING and count > _PER_FEATURE * width
    return "frechet" if enough else "kernel"


def distance(kind: str, real: np.ndarray, generated: np.ndarray) -> float:
    """Distance of two sets of features, by name (document E 6).

    Args:
        kind: `frechet` or `kernel`.
        real: [M, D].
        generated: [N, D].

    Raises:
        errors.InputError: counts that `metrics.frechet_distance` or
            `metrics.kernel_distance` refuses.
    """
    if kind == "kernel":
        return metrics.kernel_distance(real, generated)[0]
    statistics = [
        metrics.FeatureStatistics().update(rows) for rows in (real, generated)
    ]
    return metrics.frechet_distance(*statistics)


def distance_names(extractor: str) -> tuple[str, str]:
    """Names of the Frechet and the kernel distance on some features (document E 6).

    Args:
        extractor: its name in `report`.
    """
    return _DISTANCES.get(extractor, (f"frechet_{extractor}", f"kernel_{extractor}"))


def metric_name(kind: str, dataset: str, count: int) -> str:
    """Key of a reported number, such as `fcd_mnist_10k` (document E 6).

    Args:
        kind: the score, such as "fcd" or "precision_pca".
        dataset: name of the real images compared with.
        count: number of generated samples; whole thousands are written with a "k".
    """
    samples = f"{count // 1000}k" if count and count % 1000 == 0 else f"{count}"
    return f"{kind}_{dataset}_{samples}"


def _distances(
    name: str, real: np.ndarray, generated: np.ndarray, *, seed: int
) -> dict[str, float]:
    """Frechet distance, where the counts allow it, and kernel distance."""
    frechet, kernel = distance_names(name)
    scores = {}
    if min(len(real), len(generated)) > real.shape[1]:
        scores[frechet] = distance("frechet", real, generated)
    mean, spread = metrics.kernel_distance(real, generated, seed=seed)
    return scores | {kernel: mean, f"{kernel}_sd": spread}
