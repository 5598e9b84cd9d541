"""Our restorers beside what a user would pick instead (documents A 6, C 2.3, D 2.3).

A second table sets what was measured beside the published classical peer, the floor
and the goal. Every cell, a method on a test set, is kept in a file of its own: the
command can be stopped and continued. --methods chooses columns, --tests rows, --limit
how many pictures of each test set.

Example:
    python -m experiments.benchmark_restoration --limit=4
"""

import json
import re
import time

from absl import flags as absl_flags

from experiments.support import (
    console,
    flags,
    restoration,
    restoration_methods,
    restoration_published,
    restoration_study,
    restoration_tests,
    run,
)
from gan_transfer import errors, writing

_TESTS = absl_flags.DEFINE_list(
    "tests",
    None,
    "rows of the table (bsd68-noise-25, set12_small-missing-50, ...); default: all",
)
flags.adopt(
    flags.METHODS,
    flags.LIMIT,
    flags.DATA_DIR,
    flags.OUT_DIR,
    flags.OVERWRITE,
)


def main(argv):
    """Measure the cells that are missing, then print and write the table."""
    known_tests, known = restoration_tests.TESTS, restoration_methods.METHODS
    names = flags.given(flags.METHODS, list(known))
    restoration_study.check("methods", names, known)
    tests = flags.given(_TESTS, list(known_tests))
    restoration_study.check("tests", tests, known_tests)
    with console.quiet_tensorflow():
        from restoration import pretrained

    directory = restoration.open_run(argv[0])
    cells = run.make_folder(directory.path("cells"))
    results, absent = {}, []
    for name in names:
        method = known[name]
        if not method.installed():
            absent.append(f"{name} ({method.needs} is not installed)")
            continue
        for test in (known_tests[each] for each in tests):
            if not method.fits(test):
                continue
            model = method.model and method.model[test.channels]
            if model and model not in pretrained.names():
                absent.append(f"{name} on {test.name} ({model} is not shipped)")
                continue
            path = cells / f"{test.name}--{re.sub('[^a-z0-9]+', '_', name)}.json"
            if not path.exists():
                _write(path, _measure(test, method, model))
            results[test.name, name] = json.loads(path.read_text())
    if not results:
        raise errors.InputError(
            "none of the --methods can be asked any of the --tests: "
            + ("; ".join(absent) or "choose others")
        )
    table = _table(results, tests, names)
    measured = {key: cell["psnr"] for key, cell in results.items()}
    bars = restoration_published.table(measured)
    if bars and flags.LIMIT.value is None:  # they are of whole sets
        table += ["", *bars]
    with writing.replacing(directory.path("table.md")) as path:
        path.write_text("\n".join(table) + "\n")
    directory.write_summary(
        {
            "protocol": restoration_tests.PROTOCOL,
            "cells": {
                f"{test}, {name}": cell for (test, name), cell in results.items()
            },
            "left_out": absent,
        }
    )
    print("\n".join(table))
    for line in absent:
        print(f"left out: {line}")


def _measure(test, method, model: str | None) -> dict:
    """PSNR, seconds per megapixel, multiply-adds per pixel of one cell."""
    from restoration import metrics, networks, pretrained

    network = pretrained.load(model) if model else None
    psnr = metrics.psnr_rgb if test.channels == 3 else metrics.psnr_grey
    values, seconds, pixels, shapes = [], 0.0, 0, set()
    for case in restoration_tests.cases(test, flags.LIMIT.value):
        if case.clean.shape not in shapes:
            method.run(case, network)  # compiles what has to be compiled
            shapes.add(case.clean.shape)
        start = time.perf_counter()
        restored = method.run(case, network)
        seconds += time.perf_counter() - start
        pixels += case.clean.shape[0] * case.clean.shape[1]
        values.append(psnr(metrics.quantise(case.clean), metrics.quantise(restored)))
    cost = networks.multiply_adds(network) if network else None
    print(f"{test.name}: {sum(values) / len(values):.2f} dB", flush=True)
    return {
        "psnr": sum(values) / len(values),
        "pictures": len(values),
        "seconds_per_megapixel": 1e6 * seconds / pixels,
        "multiply_adds_per_pixel": cost,
    }


def _write(path, cell: dict) -> None:
    with writing.replacing(path) as temporary:
        temporary.write_text(json.dumps(cell))


def _table(results: dict, tests: list[str], names: list[str]) -> list[str]:
    """Rows: tests, seconds per megapixel by damage, multiply-adds of one pass."""
    columns = [name for name in names if any(key[1] == name for key in results)]
    rows = [test for test in tests if any(key[0] == test for key in results)]
    limit = flags.LIMIT.value
    of = f", first {limit} pictures of each set" if limit else ""
    lines = [
        f"| PSNR (dB){of} | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for test in rows:
        cells = [results.get((test, name)) for name in columns]
        shown = [f"{cell['psnr']:.2f}" if cell else "" for cell in cells]
        lines.append(f"| {test} | " + " | ".join(shown) + " |")
    kinds = dict.fromkeys(_kind(row) for row in rows)
    for kind in kinds:
        key = "seconds_per_megapixel"
        shown = [_mean(results, kind, name, key) for name in columns]
        shown = [f"{value:.2g}" if value else "" for value in shown]
        lines.append(f"| s / megapixel, {kind} | " + " | ".join(shown) + " |")
    for colour in dict.fromkeys(kind.split()[0] for kind in kinds):
        key = "multiply_adds_per_pixel"
        shown = [_mean(results, colour, name, key) for name in columns]
        shown = [f"{value / 1000:.0f}" if value else "" for value in shown]
        lines.append(f"| k multiply-adds / {colour} pixel and pass | ")
        lines[-1] += " | ".join(shown) + " |"
    return lines


def _kind(name: str) -> str:
    """`grey noise`: what costs alike."""
    test = restoration_tests.TESTS[name]
    return f"{'grey' if test.channels == 1 else 'colour'} {test.damage}"


def _mean(results: dict, kind: str, name: str, key: str) -> float | None:
    """Mean over a method's tests whose kind begins so; None where it has none."""
    values = [
        cell[key]
        for (test, other), cell in results.items()
        if other == name and _kind(test).startswith(kind) and cell[key]
    ]
    return sum(values) / len(values) if values else None


if __name__ == "__main__":
    console.run(main)
