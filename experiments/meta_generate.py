"""Few-shot generation of characters never seen (documents D 3.1 and D 5).

Every seed holds out alphabets of Omniglot, by its own choice. Meta-training sees the
rest, turned by four angles (the VAEs' but for --stored_characters of it); every method
takes as many gradients of an image as --steps updates of plain pretraining with
--batch_size images. Meta-test adapts to --test_characters unseen characters with
--shots drawings and --adaptation steps; ten further drawings of each are held out.
--model is vae_dense (MetaNN, the default), vae_conv (MetaCNN) or gan. Methods of the
VAE: scratch, pretrain, maml, reptile; context (conditioned on the drawings' mean
embedding, no steps) and descriptor (on the alphabet's, no drawings; the test's are
unknown, so on the mean of all); nearest and predictor (from the meta-database). Of the
GAN: scratch, pretrain, reptile. Run it again to continue where it was stopped.

Example:
    python -m experiments.meta_generate --model=vae_conv --seeds=1 --steps=1000
"""

import pathlib

from absl import flags as absl_flags

from experiments.support import (
    console,
    flags,
    meta_characters,
    meta_gan,
    meta_reptile,
    meta_results,
    meta_stored,
    meta_study,
    meta_vae,
    run,
)
from gan_transfer import errors

MODELS = ("vae_dense", "vae_conv", "gan")
_CHARACTERS = absl_flags.DEFINE_string(
    "characters",
    "omniglot_small.npz",
    "file of characters; see gan_transfer.image_tasks",
)
_TEST = absl_flags.DEFINE_integer(
    "test_characters", 50, "unseen characters to test on, at least 2", lower_bound=2
)
_VALIDATION = absl_flags.DEFINE_integer(
    "validation_characters",
    20,
    "characters that choose the adaptation's rates; none are trained on",
    lower_bound=1,
)
_STORED = absl_flags.DEFINE_integer(
    "stored_characters",
    16,
    "characters in the meta-database, which the VAEs do not train on, at least 3",
    lower_bound=3,
)
_ADAPTING = absl_flags.DEFINE_list(
    "adapting",
    [".*"],
    "layers of the VAE that adapt from the starts by MAML and Reptile, as regular "
    "expressions: generator.* freezes all others; the baselines adapt all",
)
_WIDTH = absl_flags.DEFINE_integer("gan_width", 16, "filters of the GAN", 1, 256)
flags.adopt(
    flags.MODEL,
    flags.START_FROM,
    flags.METHODS,
    flags.SHOTS,
    flags.ADAPTATION,
    flags.SEEDS,
    flags.STEPS,
    flags.BATCH_SIZE,
    flags.LEARNING_RATE,
    flags.EVALUATIONS,
    flags.DATA_DIR,
    flags.OUT_DIR,
    flags.OVERWRITE,
    flags.VERBOSE,
)
_OF_VAES = _ADAPTING, _STORED, flags.LEARNING_RATE
_DEFAULT_STEPS = 4000


def main(argv):
    """Meta-train, meta-test, write database, table, plots, pictures and verdict."""
    model = flags.one_of(flags.MODEL, MODELS)
    known = (
        meta_reptile.METHODS
        if model == "gan"
        else (*meta_vae.METHODS, *meta_stored.METHODS)
    )
    methods = flags.given(flags.METHODS, list(known))
    for name in methods:
        if name not in known:
            raise absl_flags.Error(
                f"--methods={name}: should be among {', '.join(known)}"
            )
    useless, use = (flags.START_FROM, _WIDTH), "is for --model=gan"
    if model == "gan":
        useless, use = _OF_VAES, "is for the VAEs"
    for holder in useless:
        if flags.differs(holder):
            raise absl_flags.Error(f"--{holder.name} {use}: leave it out")
    if flags.START_FROM.value is not None and flags.differs(_WIDTH):
        raise absl_flags.Error("--gan_width is fixed by --start_from: leave it out")
    budgets = {
        "shots": meta_study.rising(flags.SHOTS, 10),
        "adaptation": meta_study.rising(flags.ADAPTATION),
    }
    budgets["steps"] = flags.STEPS.value or _DEFAULT_STEPS
    with console.quiet_tensorflow():
        from gan_transfer import pretrained

    counts = _TEST.value, _VALIDATION.value, 0 if model == "gan" else _STORED.value
    splits = [
        meta_characters.Split.load(_CHARACTERS.value, seed, *counts)
        for seed in range(flags.SEEDS.value)
    ]
    if flags.START_FROM.value is not None:
        pretrained.load_gan(flags.START_FROM.value)  # or refuse a VAE
        _check_source(
            pretrained.describe(flags.START_FROM.value),
            splits[0].test[0].pixels.shape[1:],
        )
    if model == "gan":
        settings = meta_gan.Settings(flags.START_FROM.value, _WIDTH.value, **budgets)
        kind = meta_gan.Study
    else:
        settings = meta_vae.Settings(model, adapting=tuple(_ADAPTING.value), **budgets)
        kind = meta_vae.Study
    # Before anything is written: what cannot be built is refused here.
    folder = pathlib.Path(flags.OUT_DIR.value)
    kind(settings, splits[0], folder)
    directory = run.RunDirectory.open(
        folder, flags.configuration(argv[0]), flags.OVERWRITE.value
    )
    results = {}
    for count, split in enumerate(splits, 1):
        found = _results(kind(settings, split, folder), methods, directory)
        results |= {(name, split.seed): found[name] for name in methods}
        # A study of hours has something to show after every seed.
        _report(directory, results, splits[:count], settings)
    print((directory.path("table.md")).read_text(encoding="utf-8"))
    seconds = meta_results.seconds(results)
    if seconds:
        print(f"adapting to one task took {max(seconds.values())} s or less (median)")
    print(f"table, plots, pictures and cells are in {directory.folder}")


def _report(directory, results: dict, splits: list, settings) -> None:
    """Write table, plots, pictures and summary of the seeds that ended."""
    about = (
        f"{flags.one_of(flags.MODEL, MODELS)}, {_TEST.value} characters of unseen "
        f"alphabets, seeds 0 to {len(splits) - 1}, {settings.steps:,} updates of "
        f"{flags.BATCH_SIZE.value} images"
    )
    verdicts = meta_results.write(directory, results, splits, settings, about)
    directory.write_summary(
        {
            "verdicts": verdicts,
            "characters": [[task.name for task in split.test] for split in splits],
            "alphabets": [sorted({t.group for t in split.test}) for split in splits],
            "rates": {
                f"{name}-seed{seed}": each["rates"]
                for (name, seed), each in results.items()
                if "rates" in each
            },
            "predictor_chose": {
                f"seed{seed}": meta_stored.choices(each, settings)
                for (name, seed), each in results.items()
                if name == meta_stored.PREDICTOR
            },
            "seconds_to_adapt_to_a_task": meta_results.seconds(results),
        }
    )


def _check_source(described: dict, shape: tuple[int, int, int]) -> None:
    """Refuse a GAN to start from that makes other images than the characters."""
    size, channels = described["size"], described["channels"]
    if (size, size, channels) != shape or described["classes"]:
        raise errors.InputError(
            f"--start_from={flags.START_FROM.value} makes {size}x{size}x{channels} "
            f"images with {described['classes']} classes; the characters are "
            f"{'x'.join(map(str, shape))} without: start from such a GAN, as mnist"
        )


def _results(study, methods: list[str], directory) -> dict:
    """Results of a seed's methods; fills the meta-database where one learns from it."""
    found = {
        name: study.result(name) for name in methods if name not in meta_stored.METHODS
    }
    learned = [name for name in methods if name in meta_stored.METHODS]
    if learned:
        seed = study.split.seed
        folder = directory.path("database" if seed == 0 else f"database_seed{seed}")
        missing = [name for name in learned if not study.is_done(name)]
        if missing:
            print(f"seed {seed}: meta-database", flush=True)
            meta_stored.fill(folder, study)
        for name in missing:
            if name == "nearest":
                study.store(name, meta_stored.nearest(folder, study))
            else:
                study.store(name, meta_stored.predicted(folder, study))
        found |= {name: study.result(name) for name in learned}
    return found


if __name__ == "__main__":
    console.run(main)
