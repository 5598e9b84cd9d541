"""Cells of a study that are runs of other scripts, each in a process of its own.

A cell is a make target with another seed, data set or length. Its folder is a run
directory: killed in the middle it goes on, finished it is read.
"""

import collections
import dataclasses
import json
import math
import pathlib
import statistics
import subprocess
import sys

from gan_transfer import errors

FLAGS = pathlib.Path(__file__).parents[1] / "flags"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a script.

    Attributes:
        name: of its folder.
        script: module in `experiments`.
        flagfile: name of its flagfile, without the ending.
        arguments: further flags, which override the flagfile's.
    """

    name: str
    script: str
    flagfile: str
    arguments: tuple[str, ...] = ()

    def lengths(self, scale: float) -> tuple[str, ...]:
        """`--steps` and `--evaluations` for this share of the flagfile's updates."""
        path = FLAGS / self.script / f"{self.flagfile}.flags"
        given = dict(
            line.removeprefix("--").split("=", 1)
            for line in path.read_text().splitlines()
            if line.startswith("--") and "=" in line
        )
        steps = max(1, round(scale * int(given["steps"])))
        evaluations = min(int(given["evaluations"]), max(3, steps // 200), steps)
        return f"--steps={steps}", f"--evaluations={evaluations}"


def run(cell: Cell, folder: pathlib.Path, scale: float, place: str) -> dict:
    """Run a cell to its end, unless it is there, and return its summary.

    What the script prints goes to `<cell>.log` beside its folder.

    Args:
        cell: what to run.
        folder: of all cells.
        scale: share of the flagfile's updates, above 0.
        place: of the cell among all, for the progress line.

    Returns:
        `summary.json`; of a run that diverged before its first evaluation only
        `outcome`.

    Raises:
        InputError: the script refused something; its own line is the message.
    """
    target = folder / cell.name
    summary = target / "summary.json"
    if summary.exists():
        return json.loads(summary.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{place} {cell.name} ...", flush=True)
    command = [sys.executable, "-m", f"experiments.{cell.script}"]
    command += [f"--flagfile={FLAGS / cell.script / cell.flagfile}.flags"]
    command += [*cell.lengths(scale), *cell.arguments, f"--out_dir={target}"]
    with (folder / f"{cell.name}.log").open("w") as log:
        done = subprocess.run(
            command, stdout=log, stderr=subprocess.PIPE, text=True, check=False
        )
    if summary.exists():
        return json.loads(summary.read_text())
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    line = said[-1] if said else done.stderr.strip()[-300:]
    if "training diverged" not in line:
        raise errors.InputError(f"{cell.name} ended without a summary: {line}")
    return {"outcome": "diverged", "scores": {}}


def score(summary: dict, kinds: tuple[str, ...]) -> float:
    """The first score of a run whose name starts with one of `kinds`, else NaN."""
    scores = summary.get("scores", {})
    found = [
        value
        for kind in kinds
        for name, value in scores.items()
        if name.startswith(f"{kind}_") and not _is_another(name.removeprefix(kind))
    ]
    return found[0] if found else math.nan


def _is_another(rest: str) -> bool:
    """`pca_kernel` and `kcd_sd` are scores of their own, no `pca` and no `kcd`."""
    return rest.startswith(("_sd_", "_kernel_"))


def spread(values: list[float], digits: int = 3) -> str:
    """`mean +- standard deviation (n)` of the finite values, for tables."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "-"
    mean = f"{statistics.fmean(finite):.{digits}g}"
    if len(finite) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(finite):.2g}"


def outcomes(summaries: list[dict]) -> str:
    """How the runs of one row ended: `3 completed` or `2 completed, 1 collapsed`."""
    counted = collections.Counter(summary["outcome"] for summary in summaries)
    return ", ".join(f"{count} {outcome}" for outcome, count in counted.most_common())


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
