"""Samples, feature extractors and scores of the generation scripts."""

import sys
from collections.abc import Callable

from experiments.support import generation
from gan_transfer import errors

COVERED = 256  # samples that show whether a generator has collapsed


def pixels(gan, count: int, seed: int = 0):
    """uint8 samples of the averaged generator `[count, H, W, C]`."""
    from gan_transfer import data

    return data.to_uint8(gan.generate(count, seed))


def extractors(train, others=()) -> dict:
    """Two unrelated feature extractors for images like uint8 `train` `[N, H, W, C]`.

    The first one judges while training: what `--backbone` names, the shipped classifier
    for 28x28 grey images, else none stands before the pixel PCA, which is fitted on
    `train`, or on `others` where they are more.

    Raises:
        InputError: fewer than two images, or no such backbone.
    """
    from gan_transfer import features

    if len(train) < 2:
        raise errors.InputError(
            "only 1 image to train on, and at least 2 are needed; add pictures to "
            "--dataset, or raise --limit"
        )
    chosen = {}
    backbone = generation.BACKBONE.value
    if backbone == "inception":
        chosen["inception"] = features.inception()
    elif backbone is not None and backbone.endswith(".keras"):
        chosen["backbone"] = features.from_keras(backbone)
    elif backbone is not None:
        chosen["mobilenet"] = features.mobilenet_v2(backbone)
    elif train.shape[1:] == (28, 28, 1):
        chosen["classifier"] = features.classifier_features()
    fitted = max(train, others, key=len)
    chosen["pca"] = features.PixelPCA(fitted, max(1, min(64, len(fitted) // 4)))
    return chosen


def coverage(train, chosen: dict) -> Callable:
    """A function from samples, uint8 `[M, H, W, C]`, to their `mode_coverage`.

    As of `stability`, by the judging extractor and, where it judges, the classes of the
    shipped classifier.

    Args:
        train: training images, uint8 `[N, H, W, C]`; `COVERED` of them are compared.
        chosen: as of `extractors`.
    """
    from gan_transfer import features, stability, subsets

    kinds = [next(iter(chosen.values()))]
    if "classifier" in chosen:
        kinds.append(features.classifier_probabilities())
    shown = subsets.some(train, COVERED)
    real = [features.extract(kind, shown) for kind in kinds]

    def measure(samples) -> float:
        fake = [features.extract(kind, samples) for kind in kinds]
        pairs = zip(real, fake, strict=True)
        return stability.mode_coverage(*(part for pair in pairs for part in pair))

    return measure


def evaluate(gan, images, chosen: dict) -> dict[str, float]:
    """`evaluation.report`: 10,000 samples, or 1,000 for less than 1,000 test images."""
    from gan_transfer import evaluation, features, subsets

    if len(images.test) <= evaluation.NEIGHBOURS:
        print(
            f"WARNING: {images.name} has only {len(images.test)} test images: no "
            "precision and recall, and distances mean little or are missing",
            file=sys.stderr,
        )
    count = 10_000 if len(images.test) >= 1000 else 1000
    generated = pixels(gan, count, seed=2)
    judge = features.classifier_probabilities() if "classifier" in chosen else None
    return evaluation.report(
        chosen,
        subsets.some(images.test, 10_000),
        generated,
        images.name,
        probabilities=judge,
    )


def print_scores(scores: dict[str, float]) -> None:
    """The scores as aligned lines on stdout."""
    for name, value in scores.items():
        print(f"  {name:<32}{value:12.5g}")
