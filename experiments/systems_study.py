"""Every generative system of the documents in one table (documents A 2, B, C 3, E 3.3).

Each row is a make target run in a process of its own: --seeds times on every one of
--datasets where its images are 28x28, and once, with the first seed, where they are its
own. Stopped, the study goes on with the cell it was at. Written are `table.md`, how the
distances rank beside those of Lucic et al. 2018, `stability.md` with how every single
run went, and samples of each system.

Example:
    python -m experiments.systems_study --seeds=1 --scale=0.1
"""

import itertools
import pathlib

from absl import flags as absl_flags

from experiments.support import cells, console, flags, run, systems
from gan_transfer import errors

_DATASETS = absl_flags.DEFINE_list(
    "datasets", ["mnist", "fashion_mnist"], "28x28 data sets of the portable rows"
)
flags.adopt(
    flags.SCALE,
    flags.METHODS,
    flags.SEEDS,
    flags.DATA_DIR,
    flags.OUT_DIR,
    flags.OVERWRITE,
)


def main(argv):
    """Run the cells that are missing, then write table, ranking and pictures."""
    methods = flags.given(flags.METHODS, list(systems.ROWS))
    for name in methods:
        if name not in systems.ROWS:
            raise absl_flags.Error(
                f"--methods={name}: should be among {', '.join(systems.ROWS)}"
            )
    for name in _DATASETS.value:
        if name != pathlib.Path(name).stem:
            raise absl_flags.Error(
                f"--datasets={name}: give names, without folder and ending, of files "
                "in --data_dir"
            )
    directory = run.RunDirectory.open(
        flags.OUT_DIR.value, flags.configuration(argv[0]), flags.OVERWRITE.value
    )
    folder, results = directory.folder / "cells", {}

    def done(key, cell, summary):
        seed, name, dataset = key
        used = summary.get("dataset")
        if dataset is not None and used not in (dataset, None):
            raise errors.InputError(
                f"{cell.name} was trained on {used}: {dataset} was not found; name its "
                "folder (--data_dir) and delete that cell"
            )
        results.setdefault((name, dataset), {})[seed] = cell, summary

    status = cells.run_all(
        list(_cells(methods)),
        folder,
        flags.SCALE.value,
        done,
        lambda: systems.report(directory, results),
    )
    print(directory.path("table.md").read_text(), end="")
    print(f"table, pictures and cells are in {directory.folder}")
    return status


def _cells(methods):
    """`((seed, row, data set), cell)` of the study, seed by seed."""
    data_dir = flags.DATA_DIR.value
    for seed, name in itertools.product(range(flags.SEEDS.value), methods):
        row = systems.ROWS[name]
        own = [] if seed else [None]
        for dataset in _DATASETS.value if row.portable else own:
            arguments = [f"--seed={seed}", "--noverbose"]
            if dataset is not None:
                arguments.append(f"--dataset={dataset}")
            if data_dir is not None:
                arguments.append(f"--data_dir={data_dir}")
            label = "-".join(filter(None, [name, dataset, f"seed{seed}"]))
            cell = cells.Cell(label, row.script, row.flagfile, tuple(arguments))
            yield (seed, name, dataset), cell


if __name__ == "__main__":
    console.run(main)
