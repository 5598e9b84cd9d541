"""Does meta-learning restore faster? Unseen damages, few examples (documents D 3.2, 5).

Meta-trains on many damages of photographs by MAML and Reptile, and tests on strengths
and kinds of damage never seen: examples x steps of adaptation, against training from
scratch, plain pretraining and fine-tuning at equal compute, a linear filter in closed
form, the nearest stored tasks and the predictor of the meta-database. --model is
meta_cnn (the default), meta_nn, meta_iterative (CIR), meta_sparse (SR), or
restorer_gray: the shipped restorer, meta-trained further. Run it again to continue
where it was stopped.

Example:
    python -m experiments.meta_restore --steps=100 --evaluations=2 --seeds=1
"""

import dataclasses

from absl import flags as absl_flags

from experiments.support import (
    console,
    flags,
    generation,
    meta_adaptation,
    meta_restoration,
    meta_restoration_study,
    meta_study,
    restoration,
)
from gan_transfer import writing

_TEST_PHOTOGRAPHS = absl_flags.DEFINE_multi_string(
    "test_photographs",
    [restoration.SYNTHETIC],
    "folder of photographs for the unseen tasks, as of --photographs; synthetic: "
    "other pictures that the package draws",
)
_INNER = absl_flags.DEFINE_enum(
    "inner",
    "all",
    list(meta_restoration.INNER),
    "what adapts to a task: all, the head only, or gains only (a factor per channel)",
)
_INNER_RATE = absl_flags.DEFINE_float(
    "inner_rate",
    None,
    "of the inner steps in meta-training; default: 3e-4 for MAML, by Adam, 0.02 for "
    "Reptile, by SGD",
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
_VALIDATION = absl_flags.DEFINE_integer(
    "validation_tasks", 12, "tasks to choose rates on, damages as trained", 4
)
flags.adopt(
    restoration.PHOTOGRAPHS,
    flags.MODEL,
    flags.TASKS,
    flags.TEST_TASKS,
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
    if _INNER.value == "gains" and model not in ("meta_cnn", "restorer_gray"):
        raise absl_flags.Error(f"--inner=gains: {model} has no convolutions to gain")
    with console.quiet_tensorflow():
        import keras  # noqa: F401
    names = restoration.PHOTOGRAPHS.value, _TEST_PHOTOGRAPHS.value
    tasks = _tasks(model, *map(_pictures, names, range(len(names))))
    directory = restoration.open_run(argv[0])
    settings = meta_restoration_study.Settings(
        model,
        "+".join(restoration.PHOTOGRAPHS.value),
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
        _report(directory, cells, tasks, study, seed + 1)
        print(directory.path("table.md").read_text(), flush=True)


def _pictures(names: list[str], number: int) -> list:
    """Grey pictures: number 0 to train on, 1 to test on."""
    from restoration import patches, synthetic

    if names == [restoration.SYNTHETIC]:
        return list(synthetic.dead_leaves(_DRAWN, _SIDE, 1, seed=number))
    return patches.read_folders([restoration.find(name) for name in names], 1)


def _tasks(model: str, train: list, test: list) -> dict:
    """Tasks of every part; validation and stored ones are new damages as trained."""
    wanted = {
        "train": (train, "train", flags.TASKS.value, 0),
        "validation": (train, "train", _VALIDATION.value, 1),
        "stored": (train, "train", _STORED.value, 2),
    }
    for part in meta_restoration_study.PARTS:
        wanted[part] = (test, part, flags.TEST_TASKS.value, 0)
    return {
        name: meta_restoration.draw(pictures, part, count, seed, model)
        for name, (pictures, part, count, seed) in wanted.items()
    }


def _report(directory, cells: list[dict], tasks: dict, study, seeds: int) -> None:
    """`table.md`, `results.csv`, plots, `summary.json`."""
    values = meta_study.collect(cells)
    parts = meta_restoration_study.PARTS
    known = {key[1] for key in values}
    columns = [name for name in meta_restoration_study.COLUMNS if name in known]
    spread = f"{seeds} seed{'s' * (seeds > 1)}"
    lines, verdict = [], {}
    for part in parts:
        name = part.replace("_", " ")
        title = (
            f"{name}: PSNR in dB (grey, clipped, mean over images), "
            f"{len(tasks[part])} tasks, {spread}; {study.settings.model}, adapts "
            f"{study.settings.inner}"
        )
        lines += meta_study.table(values, part, columns, title)
        verdict[part] = meta_restoration_study.verdict(values, part)
        lines += [*(f"- {line}" for line in verdict[part]), ""]
        for examples in meta_adaptation.EXAMPLES:
            meta_study.plot(
                directory.path(f"results_{part}_{examples}.png"),
                values,
                part,
                examples,
                columns,
                f"{name}, {examples} example{'s' * (examples > 1)}: mean of "
                f"{len(tasks[part])} tasks +- 2 standard errors, {spread}",
                "PSNR (dB)",
            )
    with writing.replacing(directory.path("table.md")) as path:
        path.write_text("\n".join(lines))
    names = {part: [task.name for task in tasks[part]] for part in parts}
    meta_study.write_csv(directory.path("results.csv"), values, names)
    directory.write_summary(_summary(tasks, study, seeds) | {"verdict": verdict})


def _summary(tasks: dict, study, seeds: int) -> dict:
    """What was done, for `summary.json`; times and ways are the last seed's."""
    return {
        "seeds": seeds,
        "tasks": {name: len(found) for name, found in tasks.items()},
        "pictures": restoration.PHOTOGRAPHS.value,
        "test_pictures": _TEST_PHOTOGRAPHS.value,
        "training_cpu_seconds": study.seconds,
        "gradients_of_ten_images": study.gradients(),
        "ways": {
            f"{method}, {examples} examples": dataclasses.asdict(way)
            for (method, examples), way in study.ways.items()
        },
        "protocol": "rates chosen on validation tasks at 10 steps (scratch: 100) for "
        "each number of examples; the same query images for all rows",
    }


if __name__ == "__main__":
    console.run(main)
