"""What makes a generator generalise: document E's four levers, measured (E 2, E 6).

Data augmentation, regularisation, architecture and training strategy, each alone, at
--counts training images of --dataset, --seeds times; every cell is a run of pretrain
with as many updates. Reported are the distances to the training and to the test images,
their gap, memorised samples, precision and recall, and how runs ended. Stopped, the
study goes on with the cell it was at.

Example:
    python -m experiments.generalisation_study --counts=100 --seeds=1
"""

import itertools
import math
import statistics

from absl import flags as absl_flags

from experiments.support import cells, console, figures, flags, generalisation, run
from gan_transfer import writing

# Row -> lever of the document, flags of pretrain.
LEVERS = {
    "plain": ("none", ("--penalty=none",)),
    "augmentation": ("1 augmentation", ("--penalty=none", "--augment=diffaugment")),
    "R1": ("2 regularisation", ("--penalty=r1",)),
    "spectral norm": ("2 regularisation", ("--penalty=none", "--model=sngan")),
    "half width": ("3 architecture", ("--penalty=none", "--width=16")),
    "attention": ("3 architecture", ("--penalty=none", "--model=sagan")),
    "two stages": ("4 strategy", ("--penalty=none", "--training=two_stage")),
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

    name = load(counts[0], 0).name
    directory = run.RunDirectory.open(
        flags.OUT_DIR.value, flags.configuration(argv[0]), flags.OVERWRITE.value
    )
    keys = list(itertools.product(range(flags.SEEDS.value), counts, methods))
    results = {}
    for number, (seed, count, method) in enumerate(keys, 1):
        cell = _cell(method, count, seed)
        place = f"[{number}/{len(keys)}]"
        folder = directory.folder / "cells"
        summary = cells.run(cell, folder, flags.SCALE.value, place)
        found = {key: summary[key] for key in _KEPT if key in summary}
        if summary["scores"]:
            images = load(count, seed)
            found |= generalisation.measure(folder / cell.name, images)
        results.setdefault((count, method), []).append(found)
    judge = "classifier" if _has(results, "test_classifier") else "pca"
    table = _table(results)
    verdict = _verdict(results, judge)
    with writing.partial(directory.path("table.md")) as temporary:
        temporary.write_text(table + "\n" + "\n".join(verdict) + "\n")
    _draw(directory, results, name, judge)
    directory.write_summary(
        {
            "dataset": name,
            "protocol": "kernel distance of 5,000 samples to the training images and "
            "to 5,000 test images",
            "cells": {
                f"{method}, {count} images": found
                for (count, method), found in results.items()
            },
            "verdict": verdict,
        }
    )
    print(table, *verdict, sep="\n")
    print(f"table, plot and cells are in {directory.folder}")


def _cell(method: str, count: str, seed: int) -> cells.Cell:
    arguments = [f"--seed={seed}", "--noverbose", f"--dataset={flags.DATASET.value}"]
    if count != ALL:
        arguments.append(f"--limit={count}")
    if flags.DATA_DIR.value is not None:
        arguments.append(f"--data_dir={flags.DATA_DIR.value}")
    label = f"{method.replace(' ', '_')}-{count}-seed{seed}"
    words = (*arguments, *LEVERS[method][1])
    return cells.Cell(label, "pretrain", "generalisation", words)


def _has(results, name: str) -> bool:
    return any(name in found for row in results.values() for found in row)


def _finite(row: list[dict], name: str) -> list[float]:
    """The values of the runs that have one."""
    values = (found.get(name, math.nan) for found in row)
    return [value for value in values if math.isfinite(value)]


def _table(results) -> str:
    kinds = [kind for kind in ("classifier", "pca") if _has(results, f"test_{kind}")]
    columns = [
        (f"{label} ({kind})", f"{key}_{kind}")
        for kind in kinds
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


def _verdict(results, judge: str) -> list[str]:
    """For every count, which rows beat plain by more than the spread of both."""
    lines = []
    for count in dict.fromkeys(count for count, _ in results):
        plain = results.get((count, "plain"))
        if plain is None:
            continue
        base = _finite(plain, f"test_{judge}")
        better, worse = [], []
        for (number, method), row in results.items():
            values = _finite(row, f"test_{judge}")
            if number != count or method == "plain" or not values or not base:
                continue
            if max(values) < min(base):
                better.append(method)
            elif min(values) > max(base):
                worse.append(method)
        lines.append(
            f"{count} images, distance to the test images against plain "
            f"({statistics.fmean(base):.3g}), all seeds apart: better "
            f"{', '.join(better) or 'none'}; worse {', '.join(worse) or 'none'}."
            if base
            else f"{count} images: no plain run ended well."
        )
    return lines


def _draw(directory, results, dataset: str, judge: str) -> None:
    """Distance to training and test images of every row, a line per count."""
    counts = list(dict.fromkeys(count for count, _ in results))
    methods = list(dict.fromkeys(method for _, method in results))
    series = {}
    for count in counts:
        for part in ("train", "test"):
            found = {
                number: _finite(results[count, method], f"{part}_{judge}")
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
