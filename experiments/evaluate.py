"""Score a trained GAN against the test part of a data set (document E 6).

Example:
    python -m experiments.evaluate --source=mnist --dataset=mnist
"""

from experiments.support import console, figures, flags, generation, judging

flags.adopt(*generation.DATA_FLAGS, generation.BACKBONE, generation.SOURCE)


def main(argv):
    """Score, check for memorised images, write `summary.json`."""
    with console.quiet_tensorflow():
        import numpy as np

        from gan_transfer import data, features, metrics, pretrained

    gan = pretrained.load(generation.SOURCE.value)
    size, _, channels = gan.image_shape
    images = generation.load_images(size, channels)
    extractors = judging.extractors(images.train)
    directory = generation.open_run(argv[0], images)
    scores = judging.evaluate(gan, images, extractors)
    name, judge = next(iter(extractors.items()))
    generated = data.to_uint8(gan.generate(1000, seed=2))
    check = metrics.memorisation(
        *(
            features.extract(judge, part[:10_000])
            for part in (generated, images.train, images.test)
        )
    )
    nearest = np.asarray(check.nearest)[:12]
    figures.pairs(
        directory.path("nearest.png"),
        [generated[:12], images.train[:10_000][nearest]],
        ["generated", "nearest training image"],
        f"{generation.SOURCE.value}: nearest of {min(10_000, len(images.train)):,} "
        f"training images by {name} features",
    )
    # The share of unseen real images is the neutral value: about 0.4, not 0.
    scores[f"memorised_{name}_1k"] = check.share
    scores[f"memorised_{name}_unseen"] = check.held_out_share
    scores[f"memorised_{name}_ratio"] = check.ratio
    directory.write_summary(
        {"source": generation.SOURCE.value, "dataset": images.name, "scores": scores}
    )
    print(f"{generation.SOURCE.value} against the test part of {images.name}:")
    judging.print_scores(scores)


if __name__ == "__main__":
    console.run(main)
