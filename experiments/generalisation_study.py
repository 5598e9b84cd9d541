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
import math
import statistics

from absl import flags as absl_flags

from experiments.support import cells, console, figures, flags, generalisation, run
from gan_transfer import writing

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
# Measures of the verdict, all the better the smaller. A generator that has learned
# nothing is near no training image either, so below none the last two do not count.
_JUDGED = {
    "test": "distance to the test images",
    "gap": "gap from the training to the test images, where above 0",
    "excess": "share memorised, where above that of real images",
}
_ENOUGH_SEEDS = 3
_EXTRACTORS = ("classifier", "pca")  # the first that there is, is drawn
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
        lambda: _report(directory, results, name),
    )
    print(directory.path("table.md").read_text(), end="")
    print(f"table, plot and cells are in {directory.folder}")
    return status


def _report(directory, results, name: str) -> None:
    """Write table, verdict, plot and summary of what ended so far."""
    judges = [kind for kind in _EXTRACTORS if _has(results, f"test_{kind}")] or ["pca"]
    verdict = _verdict(results, judges)
    parts = [_table(results, judges), "\n".join(verdict), generalisation.STATES]
    with writing.partial(directory.path("table.md")) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n")
    _draw(directory, results, name, judges[0])
    directory.write_summary(
        {
            "dataset": name,
            "protocol": "kernel distance of 5,000 samples to up to 5,000 training "
            f"images and to 5,000 test images; {generalisation.STATES}",
            "cells": {
                f"{method}, {count} images": found
                for (count, method), found in results.items()
            },
            "verdict": verdict,
        }
    )


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


def _has(results, name: str) -> bool:
    return any(name in found for row in results.values() for found in row)


def _finite(row: list[dict], name: str) -> list[float]:
    """The values of the runs that have one."""
    values = (found.get(name, math.nan) for found in row)
    return [value for value in values if math.isfinite(value)]


def _table(results, judges: list[str]) -> str:
    columns = [
        (f"{label} ({kind})", f"{key}_{kind}")
        for kind in judges
        for label, key in (
            ("train", "train"),
            ("test", "test"),
            ("gap", "gap"),
            ("memorised", "memorised"),
            ("of real", "memorised_real"),
            ("precision", "precision"),
            ("recall", "recall"),
        )
    ]
    header = ["images", "lever", "row", *(label for label, _ in columns), "runs"]
    rows = [
        [
            count,
            LEVERS[method][0],
            method,
            *(cells.spread(_finite(row, key)) for _, key in columns),
            cells.outcomes(row),
        ]
        for (count, method), row in results.items()
    ]
    return cells.markdown(header, rows)


def _judged(row: list[dict], measure: str, judge: str) -> list[float]:
    """A measure of the verdict, of the runs that have it."""
    if measure == "test":
        return _finite(row, f"test_{judge}")
    if measure == "gap":
        return [max(0.0, gap) for gap in _finite(row, f"gap_{judge}")]
    pairs = zip(
        _finite(row, f"memorised_{judge}"),
        _finite(row, f"memorised_real_{judge}"),
        strict=True,
    )
    return [max(0.0, share - real) for share, real in pairs]


def _verdict(results, judges: list[str]) -> list[str]:
    """For every count and measure, the rows all of whose seeds lie beside plain's."""
    lines, compared = [], 0
    for count in dict.fromkeys(count for count, _ in results):
        rows = {m: row for (number, m), row in results.items() if number == count}
        plain = rows.pop("plain", [])
        for judge, (measure, text) in itertools.product(judges, _JUDGED.items()):
            base = _judged(plain, measure, judge)
            values = {m: _judged(row, measure, judge) for m, row in rows.items()}
            values = {m: v for m, v in values.items() if len(v) >= _ENOUGH_SEEDS}
            if not values or len(base) < _ENOUGH_SEEDS:
                continue
            compared += len(values)
            better = [m for m, each in values.items() if max(each) < min(base)]
            worse = [m for m, each in values.items() if min(each) > max(base)]
            lines.append(
                f"{count} images, {text} ({judge}) against plain "
                f"({statistics.fmean(base):.3g}), all seeds apart: better "
                f"{', '.join(better) or 'none'}; worse {', '.join(worse) or 'none'}."
            )
    if lines:
        chance = f"These are {compared} comparisons; of two rows that do not differ, 3 "
        return [*lines, chance + "against 3 seeds lie apart in one of 10 cases."]
    return [f"No verdict: plain and another row need {_ENOUGH_SEEDS} whole runs each."]


def _draw(directory, results, dataset: str, judge: str) -> None:
    """Distance to training and test images of every row, a line per count."""
    counts = list(dict.fromkeys(count for count, _ in results))
    methods = list(dict.fromkeys(method for _, method in results))
    series = {}
    for count in counts:
        for part in ("train", "test"):
            found = {
                number: _finite(results.get((count, method), []), f"{part}_{judge}")
                for number, method in enumerate(methods)
            }
            means = {n: statistics.fmean(each) for n, each in found.items() if each}
            label = f"{count} images, to {part}"
            series[label] = (list(means), list(means.values()), None)
    figures.curves(
        directory.path("distances.png"),
        series,
        f"{dataset}: kernel distance ({judge}) by lever: "
        + ", ".join(f"{number} {name}" for number, name in enumerate(methods)),
        "row",
        "distance",
        log=True,
    )


if __name__ == "__main__":
    console.run(main)
