"""Score a trained GAN against the test part of a data set (document E 6).

Samples are also looked for among the images that a run on --dataset trains on: from
1,000 on without the tenth (5,000 at most) that is held out to select by. Those of a run
directory on its own --dataset are its own; --limit, --seed and --without say otherwise.

Example:
    python -m experiments.evaluate --source=mnist --dataset=mnist
"""

import pathlib

from absl import flags as absl_flags

from experiments.support import (
    console,
    figures,
    flags,
    generation,
    judging,
    run,
    session,
)

flags.adopt(
    *generation.DATA_FLAGS, generation.BACKBONE, generation.SOURCE, generation.WITHOUT
)

_COMPARED = 10_000  # images that samples are compared with


def main(argv):
    """Score, check for memorised images, write `summary.json`."""
    with console.quiet_tensorflow():
        import numpy as np

        from gan_transfer import data, features, metrics, pretrained, subsets

    gan = pretrained.load(generation.SOURCE.value)
    _train_as_the_source()
    size, _, channels = gan.image_shape
    images = generation.load_images(size, channels)
    train = session.parts(images)[0]
    extractors, trained_on = session.extractors(images), len(train)
    directory = generation.open_run(argv[0], images)
    scores = judging.evaluate(gan, images, extractors)
    name, judge = next(iter(extractors.items()))
    generated = data.to_uint8(gan.generate(1000, seed=2))
    train, test = (subsets.some(part, _COMPARED) for part in (train, images.test))
    check = metrics.memorisation(
        *(features.extract(judge, part) for part in (generated, train, test))
    )
    nearest = np.asarray(check.nearest)[:12]
    figures.pairs(
        directory.path("nearest.png"),
        [generated[:12], train[nearest]],
        ["generated", "nearest training image"],
        f"{generation.SOURCE.value}: nearest of {len(train):,} "
        f"training images by {name} features",
    )
    # The share of unseen real images is the neutral value: about 0.4, not 0.
    scores[f"memorised_{name}_1k"] = check.share
    scores[f"memorised_{name}_unseen"] = check.held_out_share
    scores[f"memorised_{name}_ratio"] = check.ratio
    directory.write_summary(
        {
            "source": generation.SOURCE.value,
            "dataset": images.name,
            "training_images": trained_on,
            "test_images": len(images.test),
            "seed": flags.SEED.value,
            "protocol": "samples against the test part; memorised: 1,000 samples "
            f"against {len(train):,} training images",
            "scores": scores,
        }
    )
    print(f"{generation.SOURCE.value} against the test part of {images.name}:")
    judging.print_scores(scores)


def _train_as_the_source() -> None:
    """Fill in what the command line leaves open of a run's choice of images."""
    source = pathlib.Path(generation.SOURCE.value)
    held = (run.held_configuration(source) if source.is_dir() else None) or {}
    if held.get(flags.DATASET.name) == flags.DATASET.value:
        for holder in (flags.LIMIT, flags.SEED, generation.WITHOUT):
            if holder.name in held and not holder.present:
                absl_flags.FLAGS[holder.name].parse(held[holder.name])


if __name__ == "__main__":
    console.run(main)
