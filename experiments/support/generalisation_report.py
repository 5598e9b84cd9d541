"""Table, plot and verdict of the generalisation study (document E 2, E 6)."""

import itertools
import math
import statistics
from collections.abc import Mapping

from experiments.support import cells, figures, generalisation
from gan_transfer import writing

# Measures of the verdict, all the better the smaller. A generator that has learned
# nothing is near no training image either, so below none the last two do not count.
_JUDGED = {
    "test": "distance to the test images",
    "gap": "gap from the training to the test images, where above 0",
    "excess": "share memorised, where above that of real images",
}
_ENOUGH_SEEDS = 3
_EXTRACTORS = ("classifier", "pca")  # the first that there is, is drawn


def write(directory, levers: Mapping[str, str], results, name: str) -> None:
    """Write table, verdict, plot and summary of what ended so far.

    Args:
        directory: the run directory.
        levers: row -> lever of the document.
        results: (images, row) -> measures and outcome of its seeds.
        name: of the data set.
    """
    judges = [kind for kind in _EXTRACTORS if _has(results, f"test_{kind}")] or ["pca"]
    lines = verdict(results, judges)
    parts = [_table(levers, results, judges), "\n".join(lines), generalisation.STATES]
    with writing.partial(directory.path("table.md")) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n")
    draw(directory, results, name, judges[0])
    directory.write_summary(
        {
            "dataset": name,
            "protocol": "kernel distance of 5,000 samples to up to 5,000 training "
            f"images and to 5,000 test images; {generalisation.STATES}",
            "cells": {
                f"{method}, {count} images": found
                for (count, method), found in results.items()
            },
            "verdict": lines,
        }
    )


def _has(results, name: str) -> bool:
    return any(name in found for row in results.values() for found in row)


def _values(row: list[dict], name: str) -> list[float]:
    """The values of the runs that nothing stopped, NaN for the others."""
    return [
        found.get(name, math.nan) if found["outcome"] == "completed" else math.nan
        for found in row
    ]


def _finite(row: list[dict], name: str) -> list[float]:
    return [value for value in _values(row, name) if math.isfinite(value)]


def _table(levers, results, judges: list[str]) -> str:
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
            levers[method],
            method,
            *(cells.spread(_values(row, key)) for _, key in columns),
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


def verdict(results, judges: list[str]) -> list[str]:
    """For every count and measure, the rows all of whose seeds lie beside plain's."""
    lines, compared, fewest = [], 0, math.inf
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
            fewest = min(fewest, len(base), *map(len, values.values()))
            better = [m for m, each in values.items() if max(each) < min(base)]
            worse = [m for m, each in values.items() if min(each) > max(base)]
            lines.append(
                f"{count} images, {text} ({judge}) against plain "
                f"({statistics.fmean(base):.3g}), all seeds apart: better "
                f"{', '.join(better) or 'none'}; worse {', '.join(worse) or 'none'}."
            )
    if lines:
        cases = math.comb(2 * fewest, fewest) // 2
        chance = (
            f"These are {compared} comparisons; of two rows that do not differ, "
            f"{fewest} against {fewest} seeds lie apart in one of {cases} cases."
        )
        return [*lines, chance]
    return [f"No verdict: plain and another row need {_ENOUGH_SEEDS} whole runs each."]


def draw(directory, results, dataset: str, judge: str) -> None:
    """Distance to training and test images: a row per lever, a dot per seed."""
    series = {}
    for count in dict.fromkeys(count for count, _ in results):
        for part in ("train", "test"):
            series[f"{count} images, to {part}"] = {
                method: _finite(row, f"{part}_{judge}")
                for (number, method), row in results.items()
                if number == count
            }
    figures.dots(
        directory.path("distances.png"),
        series,
        f"{dataset}: samples to the training and to the test images, a dot per seed",
        f"kernel distance ({judge})",
    )
