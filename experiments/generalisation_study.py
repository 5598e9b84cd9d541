"""What makes a generator generalise: document E's four levers, measured (E 2, E 6).

Data augmentation, regularisation, architecture and training strategy, at --counts
training images of --dataset, --seeds times; every cell is a run of pretrain.
All train their final networks for as many updates; two stages and pruning first take as
many again in each of two phases that look for the network. Reported are the distances
to the training and to the test images, their gap, memorised samples, precision and
recall, and how runs ended. Stopped, the study goes on with the cell it was at.

Example:
    python -m experiments.generalisation_study --counts=100 --seeds=1
"""

import itertools

from absl import flags as absl_flags

from experiments.support import (
    cells,
    console,
    flags,
    generalisation,
    generalisation_report,
    run,
)

# Of pretrain: the rows' configuration, and that of rows of three phases.
_FLAGFILE, _PHASES = "generalisation", "generalisation_phases"
# Row -> lever of the document, flags of pretrain.
LEVERS = {
    "plain": ("none", ("--penalty=none",)),
    "augmentation": ("1 augmentation", ("--penalty=none", "--augment=diffaugment")),
    "R1": ("2 regularisation", ("--penalty=r1",)),
    "spectral norm": ("2 regularisation", ("--penalty=none", "--model=sngan")),
    "half width": ("3 architecture", ("--penalty=none", "--width=16")),
    "attention": ("3 architecture", ("--penalty=none", "--model=attention")),
    "two stages": ("4 and 1", ("--penalty=none", "--training=two_stage")),
    "pruned": ("4 strategy", ("--penalty=none", "--training=pruned")),
    "dynamic sparse": ("4 strategy", ("--penalty=none", "--training=dynamic_sparse")),
    "augmentation + R1": ("1 and 2", ("--penalty=r1", "--augment=diffaugment")),
}
ALL = "all"
_KEPT = ("outcome", "updates")  # a run that diverges at once has no updates
flags.adopt(
    flags.SCALE,
    flags.METHODS,
    flags.COUNTS,
    flags.SEEDS,
    flags.DATASET,
    flags.DATA_DIR,
    flags.OUT_DIR,
    flags.OVERWRITE,
)


def main(argv):
    """Run the cells that are missing, then write table, plot and verdict."""
    methods = flags.given(flags.METHODS, list(LEVERS))
    counts = flags.given(flags.COUNTS, ["100", "1000", ALL])
    for text in methods:
        if text not in LEVERS:
            known = ", ".join(LEVERS)
            raise absl_flags.Error(f"--methods={text}: should be among {known}")
    for text in counts:
        if text != ALL and not text.isdecimal():
            raise absl_flags.Error(f"--counts={text}: should be numbers or {ALL}")
    with console.quiet_tensorflow():
        from gan_transfer import data

    def load(count: str, seed: int):
        """The images as `pretrain --seed --limit` draws them."""
        return data.load(
            flags.DATASET.value,
            data_dir=flags.DATA_DIR.value,
            limit=None if count == ALL else int(count),
            seed=seed,
        )

    # Data that are not there, or fewer than a count asks for, are refused now.
    (name,) = {load(count, 0).name for count in counts}
    directory = run.RunDirectory.open(
        flags.OUT_DIR.value, flags.configuration(argv[0]), flags.OVERWRITE.value
    )
    folder, results = directory.folder / "cells", {}
    levers = {method: lever for method, (lever, _) in LEVERS.items()}

    def done(key, cell, summary):
        seed, count, method = key
        found = {key: summary[key] for key in _KEPT if key in summary}
        if summary["scores"]:
            images = load(count, seed)
            found |= generalisation.measure(folder / cell.name, images)
        results.setdefault((count, method), []).append(found)

    status = cells.run_all(
        [
            (key, _cell(key[2], key[1], key[0]))
            for key in itertools.product(range(flags.SEEDS.value), counts, methods)
        ],
        folder,
        flags.SCALE.value,
        done,
        lambda: generalisation_report.write(directory, levers, results, name),
    )
    print(directory.path("table.md").read_text(), end="")
    print(f"table, plot and cells are in {directory.folder}")
    return status


def _cell(method: str, count: str, seed: int) -> cells.Cell:
    arguments = [f"--seed={seed}", "--noverbose", f"--dataset={flags.DATASET.value}"]
    if count != ALL:
        arguments.append(f"--limit={count}")
    if flags.DATA_DIR.value is not None:
        arguments.append(f"--data_dir={flags.DATA_DIR.value}")
    label = f"{method.replace(' ', '_')}-{count}-seed{seed}"
    words = LEVERS[method][1]
    in_phases = {"--training=two_stage", "--training=pruned"} & set(words)
    flagfile = _PHASES if in_phases else _FLAGFILE
    return cells.Cell(label, "pretrain", flagfile, (*arguments, *words))


if __name__ == "__main__":
    console.run(main)
