"""Tables, plots, pictures and cells of the meta-learning studies (documents D 3.1.2).

A study measures tasks never seen: a value per task for every method, number of examples
and number of steps. Every cell (one method with one number of examples on one part of
the tasks) is a file, so that a study that was stopped goes on.
"""

import csv
import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from absl import flags as absl_flags
from PIL import Image

from experiments.support import figures, sheet
from gan_transfer import errors, writing

# Row of one part, one method, some examples, some steps -> values [seeds, tasks].
Key = tuple[str, str, int, int]
Values = dict[Key, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One method with one number of examples on one part of the unseen tasks."""

    seed: int
    part: str
    method: str
    examples: int

    def path(self, directory) -> pathlib.Path:
        """The file of the cell in a run directory."""
        folder = directory.path(f"seed{self.seed}") / "cells"
        return folder / f"{self.part}-{self.method}-{self.examples}.json"


def save_networks(folder: pathlib.Path, procedure) -> None:
    """Keep the networks of a finished training as `<name>.keras` in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, network in procedure.networks().items():
        path = folder / f"{name}.keras"
        if not path.exists():
            with writing.partial(path) as temporary:
                network.save(temporary)


def measured(directory, cell: Cell, measure: Callable[[], Mapping]) -> dict:
    """What a cell holds; it is measured and stored first where it is missing.

    Args:
        directory: the run directory.
        cell: which one.
        measure: returns `values`, step -> one finite number per task, and what else
            should be kept, as JSON can hold it.
    """
    path = cell.path(directory)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = dict(measure())
        found["values"] = {
            str(step): [float(each) for each in row]
            for step, row in found["values"].items()
        }
        with writing.replacing(path) as temporary:
            temporary.write_text(json.dumps(found | dataclasses.asdict(cell)))
    return json.loads(path.read_text())


def collect(cells: Sequence[Mapping]) -> Values:
    """The values of cells as `measured` returns them, seeds stacked in their order."""
    found: dict[Key, dict[int, list]] = {}
    for cell in cells:
        for step, row in cell["values"].items():
            key = cell["part"], cell["method"], cell["examples"], int(step)
            found.setdefault(key, {})[cell["seed"]] = row
    return {
        key: np.stack([rows[seed] for seed in sorted(rows)])
        for key, rows in found.items()
    }


def rising(holder: absl_flags.FlagHolder, most: int | None = None) -> tuple[int, ...]:
    """Returns 0 and the numbers of `flags.SHOTS` or `flags.ADAPTATION`.

    Args:
        holder: the flag.
        most: the largest number it may have.

    Raises:
        errors.InputError: no numbers, or they do not rise from 1 on.
    """
    try:
        numbers = [int(each) for each in holder.value]
    except ValueError:
        numbers = []
    if (
        not numbers
        or numbers != sorted(set(numbers))
        or numbers[0] < 1
        or (most is not None and numbers[-1] > most)
    ):
        limit = "" if most is None else f" up to {most}"
        raise errors.InputError(
            f"--{holder.name}={','.join(holder.value)}: give rising numbers from 1 on"
            f"{limit}, separated by commas"
        )
    return 0, *numbers


def paired(
    first: np.ndarray, second: np.ndarray, *, shared: bool
) -> tuple[float, float]:
    """Mean of `first` - `second` `[seeds, tasks]` and its standard error.

    Args:
        first: one measure of every seed and task.
        second: the same, of another method.
        shared: whether the seeds have the same tasks: these are the sample then, each
            with its mean over the seeds. Otherwise every task of every seed is one.

    Returns:
        Mean, and error over the sample, NaN where that is a single one.
    """
    each = np.subtract(first, second)
    sample = each.mean(axis=0) if shared else each.ravel()
    count = len(sample)
    error = sample.std(ddof=1) / count**0.5 if count > 1 else np.nan
    return float(sample.mean()), float(error)


def signed(mean: float, error: float, digits: int = 2) -> str:
    """`+0.52 +- 0.03`, or `+0.52` where there is no error."""
    text = f"{mean:+.{digits}f}"
    return text if np.isnan(error) else f"{text} +- {error:.{digits}f}"


def difference(
    first: np.ndarray, second: np.ndarray, unit: str, *, shared: bool, digits: int = 2
) -> str:
    """`paired` as text: `+0.52 +- 0.03 dB (seeds +0.40, +0.64)`.

    The seeds' own differences show the spread of the trainings; the error does not.
    """
    text = f"{signed(*paired(first, second, shared=shared), digits)} {unit}".rstrip()
    each = np.subtract(first, second).mean(axis=1)
    if len(each) == 1:
        return text
    return f"{text} (seeds {', '.join(f'{x:+.{digits}f}' for x in each)})"


def budgets(values: Values, part: str) -> list[tuple[int, int]]:
    """Numbers of examples and of steps that a part's rows have, in rising order."""
    return sorted({(key[2], key[3]) for key in values if key[0] == part})


def table(
    values: Values, part: str, methods: Sequence[str], title: str, digits: int = 2
) -> list[str]:
    """Lines of a Markdown table: mean over tasks and seeds, `-` where there is none.

    Args:
        values: as from `collect`.
        part: of the tasks.
        methods: the columns.
        title: first line: what was measured, in which unit.
        digits: after the point.
    """
    lines = [title, "", "| examples | steps | " + " | ".join(methods) + " |"]
    lines.append("|---|---|" + "---|" * len(methods))
    for examples, steps in budgets(values, part):
        row = [values.get((part, method, examples, steps)) for method in methods]
        texts = ["-" if each is None else f"{each.mean():.{digits}f}" for each in row]
        lines.append(f"| {examples} | {steps} | " + " | ".join(texts) + " |")
    return [*lines, ""]


def write_csv(path: pathlib.Path, values: Values, names: Mapping[str, list]) -> None:
    """Every single number: a row per part, method, examples, steps, seed and task.

    Args:
        path: the file.
        values: as from `collect`.
        names: part -> names of its tasks.
    """
    with writing.replacing(path) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream)
            rows.writerow("part method examples steps seed task value".split())
            for key, array in values.items():
                for seed, row in enumerate(array):
                    for name, value in zip(names[key[0]], row, strict=True):
                        rows.writerow((*key, seed, name, repr(float(value))))


def plot(
    path: pathlib.Path,
    values: Values,
    part: str,
    examples: int,
    methods: Sequence[str],
    title: str,
    y_label: str,
) -> None:
    """The measure against steps, with two standard errors over tasks as bands.

    Methods that take no steps are level lines. Steps are on a logarithmic axis that
    shows n steps at n + 1.
    """
    all_steps = [s for count, s in budgets(values, part) if count == examples]
    series = {}
    for method in methods:
        rows = {s: values.get((part, method, examples, s)) for s in all_steps}
        rows = {s: row.mean(0) for s, row in rows.items() if row is not None}
        if not rows:
            continue
        if len(rows) == 1:
            rows = dict.fromkeys(all_steps, *rows.values())
        mean = np.array([row.mean() for row in rows.values()])
        error = [row.std() / max(1, len(row) - 1) ** 0.5 for row in rows.values()]
        band = mean - 2 * np.array(error), mean + 2 * np.array(error)
        series[method] = ([s + 1 for s in rows], mean, band)
    # The first curve sets the ticks.
    longest = dict(sorted(series.items(), key=lambda each: -len(each[1][0])))
    figures.curves(path, longest, title, "steps + 1", y_label, log_x=True)


def picture_grid(
    path: pathlib.Path,
    blocks: Sequence[tuple[str, Sequence[str], np.ndarray]],
    rows: Sequence[str],
    title: str,
) -> None:
    """Tasks beside each other: rows of examples and steps, columns of methods.

    Args:
        path: the PNG to write.
        blocks: per task its name, the names of the columns, and the images, uint8
            `[rows, columns, H, W, C]`.
        rows: a text for each row, such as `10 examples, 5 steps`.
        title: what the picture shows.
    """
    parts = []
    for name, columns, images in blocks:
        grid = sheet.tile(images.reshape(-1, *images.shape[2:]), images.shape[1])
        side = (grid.shape[1] + sheet.GAP) // len(columns)
        heads = [_head(text, side) for text in columns]
        height = max(head.shape[0] for head in heads)
        lines = np.full((height, grid.shape[1], 3), 255, np.uint8)
        for index, head in enumerate(heads):
            width = min(head.shape[1], grid.shape[1] - index * side)
            # At the bottom: a name of one line stands next to its column.
            lines[height - head.shape[0] :, index * side :][:, :width] = head[:, :width]
        parts.append(sheet.stack([sheet.text_line(name, sheet.INK), lines, grid], 0))
    body = sheet.stack(parts, 1, gap=sheet.MARGIN)
    above = body.shape[0] - grid.shape[0]
    labelled = sheet.with_labels(body[above:], rows)
    left = labelled.shape[1] - body.shape[1]
    whole = np.full((body.shape[0], labelled.shape[1], 3), 255, np.uint8)
    whole[above:], whole[:above, left:] = labelled, body[:above]
    lines = sheet.wrapped(title, whole.shape[1])
    picture = Image.fromarray(sheet.framed(sheet.stack([*lines, whole], 0)))
    with writing.replacing(path) as temporary:
        picture.save(temporary, format="PNG")


def _head(text: str, width: int) -> np.ndarray:
    """A column's name, a word per line, cut to the column."""
    lines = [sheet.text_line(word, sheet.GREY)[:, :width] for word in text.split()]
    return sheet.stack(lines, 0, gap=0)
