"""What a trained generator took over from its training images (document E 2, E 6)."""

import json

from experiments.support import judging, session
from gan_transfer import writing

_SAMPLES = 5000
STORED = "generalisation.json"
STATES = (
    f"below {session.SELECT_FROM:,} training images the last state is measured; from "
    "there on the best one by a tenth of them (at most 5,000) that is held out"
)


def measure(folder, images) -> dict[str, float]:
    """Distances to training and test images, copies, precision and recall.

    5,000 samples of the state that the run kept. Distances are kernel distances:
    unbiased, so those to 100 training images and to 5,000 test images can be compared;
    the pixel PCA is fitted to the test images, so its gap is between two different
    parts. Memorised is the share of samples at least as near to a training image (of
    all) as that one is to its own nearest other one; beside it the share of real test
    images. Stored in the run's folder and read from there the next time.

    Args:
        folder: of a finished run of pretrain.
        images: the data set as the run loaded it.
    """
    from gan_transfer import features, metrics, pretrained, subsets

    path = folder / STORED
    if path.exists():
        return json.loads(path.read_text())
    train = session.parts(images)[0]
    extractors = judging.extractors(images.test)
    shown = judging.pixels(pretrained.load(folder), _SAMPLES, seed=2)
    parts = [shown, train, subsets.some(images.test, _SAMPLES)]
    found = {}
    for name, extractor in extractors.items():
        fake, seen, unseen = (features.extract(extractor, each) for each in parts)
        to_train = metrics.kernel_distance(subsets.some(seen, _SAMPLES), fake)[0]
        to_test = metrics.kernel_distance(unseen, fake)[0]
        copied = metrics.memorisation(fake, seen, unseen)
        shares = metrics.precision_recall_density_coverage(unseen, fake, neighbours=5)
        found |= {
            f"train_{name}": to_train,
            f"test_{name}": to_test,
            f"gap_{name}": to_test - to_train,
            f"memorised_{name}": copied.share,
            f"memorised_real_{name}": copied.held_out_share,
            f"precision_{name}": shares.precision,
            f"recall_{name}": shares.recall,
        }
    with writing.partial(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1))
    return found
