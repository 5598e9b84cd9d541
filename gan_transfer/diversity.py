"""Does a generator of few images make more than those? (documents B 5, B 6).

Fidelity alone rewards a generator that repeats its training images, so the spread of
its samples stands beside the spread of unseen real images, at equal counts.
"""

import numpy as np

from gan_transfer import (
    errors,
    evaluation,
    features,
    metrics,
    nearest_neighbours,
    stability,
)

_LARGEST = 1000  # images of each set
_FEW = 100  # training images, for clusters around them


def intra_cluster_spread(generated: np.ndarray, train: np.ndarray) -> float:
    """Mean distance of samples that are nearest to the same training image (B 6).

    Every sample is assigned to its nearest training image; the mean Euclidean distance
    of all pairs of a cluster is averaged over the clusters of two or more. 0 for a
    generator that repeats its training images. On LPIPS distances this is the
    intra-LPIPS of Ojha et al., CVPR 2021.

    Args:
        generated: features of samples, `[N, D]`, N > M.
        train: features of the training images, `[M, D]`.

    Raises:
        InputError: no more samples than training images.
    """
    if len(generated) <= len(train):
        raise errors.InputError(
            f"{len(generated)} samples for {len(train)} training images leave clusters "
            "empty; give more samples than training images"
        )
    generated, train = (np.asarray(rows, np.float64) for rows in (generated, train))
    nearest, _ = nearest_neighbours.search(generated, train)
    means = []
    for number in np.unique(nearest):
        rows = generated[nearest == number]
        if len(rows) > 1:
            blocks = nearest_neighbours.squared_distance_blocks(rows, rows)
            total = sum(np.sqrt(squared).sum() for _, squared in blocks)
            means.append(total / (len(rows) * (len(rows) - 1)))
    return float(np.mean(means))


def report(
    extractors: dict[str, features.Extractor],
    train: np.ndarray,
    test: np.ndarray,
    generated: np.ndarray,
) -> dict[str, dict[str, dict[str, float]]]:
    """Precision, recall and spread of samples, and of real images (document B 6).

    Half of the test images, at most 1,000, is the reference; the other half is judged
    like as many samples, and says what a perfect generator gets. `spread` is
    `stability.spread`; `intra_cluster_spread` is there for up to 100 training images
    and more test images than twice that; precision and recall for halves of more than
    `evaluation.NEIGHBOURS`.

    Args:
        extractors: by name.
        train: what the generator was trained on, uint8 `[M, H, W, C]`.
        test: unseen real images, uint8 `[N, H, W, C]`.
        generated: samples, uint8 `[K, H, W, C]`, K at least min(1,000, N // 2).

    Returns:
        Per extractor the scores of `generated` and of `real`; empty below four test
        images.
    """
    count = min(_LARGEST, len(test) // 2)
    if count < 2:
        return {}
    test = test[np.random.default_rng(0).permutation(len(test))[: 2 * count]]
    table = {}
    for name, extractor in extractors.items():
        reference, real, fake, shown = (
            features.extract(extractor, images)
            for images in (test[:count], test[count:], generated[:count], train[:_FEW])
        )
        clusters = shown if len(train) <= _FEW and count > len(train) else None
        table[name] = {
            "generated": _scores(fake, reference, clusters),
            "real": _scores(real, reference, clusters),
        }
    return table


def _scores(rows, reference, clusters) -> dict[str, float]:
    scores = {"count": len(rows), "spread": stability.spread(rows)}
    if clusters is not None:
        scores["intra_cluster_spread"] = intra_cluster_spread(rows, clusters)
    if len(rows) > evaluation.NEIGHBOURS:
        shares = metrics.precision_recall_density_coverage(
            reference, rows, neighbours=evaluation.NEIGHBOURS
        )
        scores |= {"precision": shares.precision, "recall": shares.recall}
    return scores
