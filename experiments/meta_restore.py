"""Does meta-learning restore faster? Unseen damages, few examples (documents D 3.2, 5).

Meta-trains on many damages of photographs by MAML and Reptile, and tests on strengths
and kinds of damage never seen: examples x steps of adaptation, against training from
scratch, plain pretraining and fine-tuning at equal compute, a linear filter in closed
form, the nearest stored tasks and the predictor of the meta-database. --model is
meta_cnn (the default), meta_nn, meta_iterative (CIR), meta_sparse (SR), or
restorer_gray: the shipped restorer, meta-trained further; that one has seen most of
these strengths and kinds when it was shipped. Run it again to continue where it was
stopped.

Example:
    python -m experiments.meta_restore --steps=100 --evaluations=2 --seeds=1
"""

from absl import flags as absl_flags

from experiments.support import (
    console,
    flags,
    generation,
    meta_restoration,
    meta_restoration_report,
    meta_restoration_study,
    restoration,
    restoration_data,
)
from gan_transfer import errors

_TEST_PHOTOGRAPHS = absl_flags.DEFINE_multi_string(
    "test_photographs",
    [restoration_data.SYNTHETIC],
    "folder of photographs for the unseen tasks, as of --photographs; synthetic: "
    "other pictures that the package draws",
)
_INNER = absl_flags.DEFINE_enum(
    "inner",
    "all",
    list(meta_restoration.INNER),
    "what of the starts by MAML and Reptile adapts to a task: all, the head only, or "
    "gains only (a factor per channel); the other starts adapt all",
)
_INNER_RATE = absl_flags.DEFINE_float(
    "inner_rate",
    None,
    "of MAML's inner steps in meta-training, by SGD, before the layers' rates are "
    "learned; default: 0.005, which is always Reptile's",
    lower_bound=1e-8,
)
_SECOND_ORDER = absl_flags.DEFINE_boolean(
    "second_order",
    False,
    "MAML with second derivatives, for fewer updates of the same cost",
)
_STORED = absl_flags.DEFINE_integer(
    "stored_tasks", 32, "tasks of the meta-database", lower_bound=4
)
flags.adopt(
    restoration_data.PHOTOGRAPHS,
    flags.MODEL,
    flags.TASKS,
    flags.TEST_TASKS,
    flags.VALIDATION_TASKS,
    flags.SEEDS,
    flags.STEPS,
    flags.EVALUATIONS,
    flags.DATA_DIR,
    flags.OUT_DIR,
    flags.OVERWRITE,
    flags.VERBOSE,
)
_DEFAULT_STEPS = 2000
_DRAWN, _SIDE = 100, 192  # synthetic pictures


def main(argv):
    """Train and measure what is missing, then write tables, plots and pictures."""
    model = flags.one_of(flags.MODEL, meta_restoration.MODELS)
    able = meta_restoration.INNER_MODELS[_INNER.value]
    if model not in able:
        raise absl_flags.Error(
            f"--inner={_INNER.value} is for {', '.join(able)}, not for {model}"
        )
    least = meta_restoration.TASKS * meta_restoration.SHOTS
    if flags.TASKS.value < least:
        raise absl_flags.Error(
            f"--tasks={flags.TASKS.value}: should be at least {least}: an update of "
            "plain pretraining looks at an image of as many"
        )
    with console.quiet_tensorflow():
        import keras  # noqa: F401
    names = restoration_data.PHOTOGRAPHS.value, _TEST_PHOTOGRAPHS.value
    tasks = _tasks(model, *_pictures(names))
    directory = restoration.open_run(argv[0])
    settings = meta_restoration_study.Settings(
        model,
        "+".join(restoration_data.PHOTOGRAPHS.value),
        _INNER.value,
        _INNER_RATE.value,
        _SECOND_ORDER.value,
        flags.STEPS.value or _DEFAULT_STEPS,
        flags.EVALUATIONS.value,
        generation.progress(),
    )
    cells = []
    for seed in range(flags.SEEDS.value):
        study = meta_restoration_study.Study(directory, settings, tasks, seed)
        study.train()
        study.choose()
        study.fill()
        cells += study.cells()
        if seed == 0:
            study.draw(directory.path("pictures.png"))
        # After every seed, so that a study of hours has something to show early.
        meta_restoration_report.write(
            *(directory, cells, study, seed + 1),
            dict(zip(("pictures", "test_pictures"), names, strict=True)),
        )
        print(directory.path("table.md").read_text(), flush=True)


def _pictures(names: tuple[list[str], ...]) -> list[list]:
    """Grey pictures to train on and to test on.

    Raises:
        errors.InputError: a folder is among both.
    """
    folders = [
        {restoration_data.find(name).resolve() for name in part}
        for part in names
        if part != [restoration_data.SYNTHETIC]
    ]
    if len(folders) == 2 and (both := folders[0] & folders[1]):
        raise errors.InputError(
            f"{min(both)} is among --photographs and --test_photographs; the tasks of "
            "the test must be of pictures never seen"
        )
    return [
        restoration_data.photographs(part, 1, count=_DRAWN, side=_SIDE, seed=seed)
        for seed, part in enumerate(names)
    ]


def _tasks(model: str, train: list, test: list) -> dict:
    """Tasks of every part; validation and stored ones are new damages as trained."""
    wanted = {
        "train": (train, "train", flags.TASKS.value, 0),
        "validation": (train, "train", flags.VALIDATION_TASKS.value, 1),
        "stored": (train, "train", _STORED.value, 2),
    }
    for part in meta_restoration_study.PARTS:
        wanted[part] = (test, part, flags.TEST_TASKS.value, 0)
    return {
        name: meta_restoration.draw(pictures, part, count, seed, model)
        for name, (pictures, part, count, seed) in wanted.items()
    }


if __name__ == "__main__":
    console.run(main)
