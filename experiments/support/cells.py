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
from collections.abc import Callable, Sequence

from gan_transfer import errors, writing

Key = tuple  # (seed, ...)
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
        """`--steps` and `--evaluations` for this share of the flagfile's updates.

        The evaluations stay as many as they are there, so that at scale 1 a cell is its
        make target, and the best state is chosen among as many in every row.
        """
        path = FLAGS / self.script / f"{self.flagfile}.flags"
        given = dict(
            line.removeprefix("--").split("=", 1)
            for line in path.read_text().splitlines()
            if line.startswith("--") and "=" in line
        )
        steps = max(1, round(scale * int(given["steps"])))
        evaluations = min(int(given["evaluations"]), steps)
        return f"--steps={steps}", f"--evaluations={evaluations}"


def run(cell: Cell, folder: pathlib.Path, scale: float, place: str) -> dict:
    """Run a cell to its end, unless it is there, and return its summary.

    What the script prints is added to `<cell>.log` beside its folder.

    Args:
        cell: what to run.
        folder: of all cells.
        scale: share of the flagfile's updates, above 0.
        place: of the cell among all, for the progress line.

    Returns:
        `summary.json`; of a run that diverged before its first evaluation only
        `outcome`.

    Raises:
        InputError: it ended without a summary; the message is the script's own line, or
            names the log.
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
    log = folder / f"{cell.name}.log"
    with log.open("a") as file:
        done = subprocess.run(
            command, stdout=file, stderr=subprocess.PIPE, text=True, check=False
        )
        file.write(done.stderr)
    if summary.exists():
        return json.loads(summary.read_text())
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    line = said[-1].removeprefix("error: ") if said else f"see {log}"
    if "training diverged" not in line:
        raise errors.InputError(f"{cell.name} ended without a summary: {line}")
    found = {"outcome": "diverged", "scores": {}}
    with writing.replacing(summary) as temporary:
        temporary.write_text(json.dumps(found))
    return found


def run_all(
    planned: Sequence[tuple[Key, Cell]],
    folder: pathlib.Path,
    scale: float,
    done: Callable[[Key, Cell, dict], None],
    report: Callable[[], None],
) -> int:
    """Run the cells of a study seed by seed, and return the exit status.

    A cell that cannot be run is named, and the others go on.

    Args:
        planned: what a cell belongs to, and the cell. `Key` begins with the seed.
        folder: of all cells.
        scale: as for `run`.
        done: called with every cell that ended, and its summary.
        report: called after every seed, so that a study of hours has something to show
            early, if any cell ended.

    Returns:
        0; or 1 where cells could not be run.

    Raises:
        InputError: none could.
    """
    failed, ended = [], 0
    for number, (key, cell) in enumerate(planned, 1):
        try:
            place = f"[{number}/{len(planned)}]"
            done(key, cell, run(cell, folder, scale, place))
            ended += 1
        except errors.InputError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            failed.append(cell.name)
        last = number == len(planned) or planned[number][0][0] != key[0]
        if last and ended:
            report()
    if not ended:
        raise errors.InputError("no cell of the study could be run")
    if failed:
        names = ", ".join(failed)
        print(
            f"error: {ended} of {len(planned)} cells ended, not {names}; mend what "
            "the lines above say and run the same command again",
            file=sys.stderr,
        )
    return 1 if failed else 0


def cpu_minutes(folder: pathlib.Path) -> float:
    """CPU minutes of a run with all its parts, if it was stopped; NaN without any.

    Unlike `summary.json`'s, which are of the last part, those of the history go on.
    """
    from gan_transfer import callbacks

    rows = callbacks.read_history(folder)
    return rows[-1]["cpu_seconds"] / 60 if rows else math.nan


def score(summary: dict, kind: str) -> float:
    """The score of a run whose name starts with `kind`, else NaN."""
    scores = summary.get("scores", {})
    found = [
        value
        for name, value in scores.items()
        if name.startswith(f"{kind}_") and not _is_another(name.removeprefix(kind))
    ]
    return found[0] if found else math.nan


def _is_another(rest: str) -> bool:
    """`pca_kernel` and `kcd_sd` are scores of their own, no `pca` and no `kcd`."""
    return rest.startswith(("_sd_", "_kernel_"))


def spread(values: list[float], digits: int = 3) -> str:
    """`mean ± standard deviation` of the finite values, for tables.

    Where some are not finite, how many are is said: `2 ± 1.4 (2 of 3)`.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "-"
    mean = f"{statistics.fmean(finite):.{digits}g}"
    if len(finite) > 1:
        mean += f" ± {statistics.stdev(finite):.2g}"
    lost = len(finite) < len(values)
    return mean + f" ({len(finite)} of {len(values)})" * lost


def outcomes(summaries: list[dict]) -> str:
    """How the runs of one row ended: `3 completed` or `2 completed, 1 collapsed`."""
    counted = collections.Counter(summary["outcome"] for summary in summaries)
    return ", ".join(f"{count} {outcome}" for outcome, count in counted.most_common())


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
