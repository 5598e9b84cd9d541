"""Train the classifier whose features judge 28x28 grey images (document E 6).

The package ships the result; the same command makes it again.

Example:
    python -m experiments.train_classifier --out_dir=runs/classifier
"""

from absl import flags as absl_flags

from experiments.support import console, flags, generation, run

_EPOCHS = absl_flags.DEFINE_integer(
    "epochs", 12, "passes over the 120,000 training images", lower_bound=1
)
flags.adopt(
    flags.DATA_DIR,
    flags.LIMIT,
    flags.OUT_DIR,
    flags.OVERWRITE,
    flags.SEED,
    flags.VERBOSE,
)
_SETS = ("mnist", "fashion_mnist")


def main(argv):
    """Train, score, write `classifier_28.npz` and `summary.json`."""
    with console.quiet_tensorflow():
        from gan_transfer import archive, classifiers, data, errors

    sets = {
        name: data.load(
            name,
            data_dir=flags.DATA_DIR.value,
            size=28,
            channels=1,
            limit=flags.LIMIT.value,
            seed=flags.SEED.value,
        )
        for name in _SETS
    }
    for name, each in sets.items():
        if each.train_labels is None:
            raise errors.InputError(
                f"{name}: has no labels to learn; add y_train to {name}.npz"
            )
    directory = run.RunDirectory.open(
        flags.OUT_DIR.value, flags.configuration(argv[0]), flags.OVERWRITE.value
    )
    model, accuracies = classifiers.train_classifier(
        {name: (each.train, each.train_labels) for name, each in sets.items()},
        {name: (each.test, each.test_labels) for name, each in sets.items()},
        epochs=_EPOCHS.value,
        seed=flags.SEED.value,
        verbose=generation.progress(),
    )
    path = directory.path("classifier_28.npz")
    shown = {name: f"{value:.4f}" for name, value in accuracies.items()}
    archive.save(path, {"classifier": model}, metadata=shown)
    directory.write_summary(
        {"accuracy": accuracies, "dataset": list(_SETS), "seed": flags.SEED.value}
    )
    print(f"test accuracy {shown}; wrote {path}")


if __name__ == "__main__":
    console.run(main)
