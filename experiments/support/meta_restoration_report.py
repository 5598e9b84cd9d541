"""Table, numbers, plots and verdict of the restoration study (documents D 3.2, D 5)."""

import dataclasses

from experiments.support import meta_adaptation, meta_restoration_study, meta_study
from gan_transfer import writing


def write(directory, cells: list[dict], study, seeds: int, pictures: dict) -> None:
    """Write `table.md`, `results.csv`, plots and `summary.json`.

    Args:
        directory: the run directory.
        cells: of all seeds measured so far.
        study: of the last of them.
        seeds: how many they are.
        pictures: what the tasks were drawn from, for the summary.
    """
    tasks = study.tasks
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
            f"{len(tasks[part])} tasks, {spread}; {study.settings.model}, maml and "
            f"reptile adapt {study.settings.inner}; rates chosen at "
            f"{meta_adaptation.CHOSEN_AT} steps, of scratch at {meta_adaptation.LONG}"
        )
        if study.settings.model == "restorer_gray":
            title += "; the shipped restorer has seen most of these damages"
        lines += meta_study.table(values, part, columns, title)
        lines += by_kind(values, part, [task.group for task in tasks[part]], columns)
        verdict[part] = _verdict(values, part)
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
    # Median of the tasks, all numbers of steps and their measures together.
    seconds = {
        f"{cell['method']}, {cell['examples']} examples": round(cell["seconds"], 3)
        for cell in cells
        if "seconds" in cell
    }
    found = {"verdict": verdict, "seconds_to_adapt_to_a_task": seconds}
    directory.write_summary(_summary(study, seeds) | pictures | found)
    print(f"adapting to one task took {max(seconds.values())} s or less (median)")


def by_kind(
    values: meta_study.Values, part: str, kinds: list[str], columns: list[str]
) -> list[str]:
    """Lines of a table with a row per kind of damage, which a mean can hide.

    Args:
        values: as from `meta_study.collect`.
        part: of the tasks.
        kinds: of every task.
        columns: methods; the fixed number of steps of those that take steps.
    """
    most, few = meta_adaptation.EXAMPLES[-1], meta_adaptation.CHOSEN_AT
    lines = [
        f"by kind of damage, {most} examples, {few} steps where a method takes any",
        "",
        "| kind | tasks | " + " | ".join(columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for kind in sorted(set(kinds)):
        places = [number for number, each in enumerate(kinds) if each == kind]
        texts = [f"{len(places)}"]
        for method in columns:
            budgets = (most, few), (most, 0), (0, 0)
            keys = [(part, method, *budget) for budget in budgets]
            row = next((values[key] for key in keys if key in values), None)
            texts.append("-" if row is None else f"{row[:, places].mean():.2f}")
        lines.append(f"| {kind} | " + " | ".join(texts) + " |")
    return [*lines, ""]


def _summary(study, seeds: int) -> dict:
    """What was done, for `summary.json`; times and ways are the last seed's."""
    return {
        "seeds": seeds,
        "tasks": {name: len(found) for name, found in study.tasks.items()},
        "training_cpu_seconds": study.seconds,
        "gradients_of_ten_images": study.gradients(),
        "ways": {
            f"{method}, {examples} examples": dataclasses.asdict(way)
            for (method, examples), way in study.ways.items()
        },
        "protocol": "rates chosen on validation tasks at 10 steps (scratch: 100) for "
        "each number of examples; the same query images for all rows",
    }


def _verdict(values: meta_study.Values, part: str) -> list[str]:
    """What held on a part, paired over its tasks: sentences with their numbers."""
    most, few = meta_adaptation.EXAMPLES[-1], meta_adaptation.CHOSEN_AT
    slow = meta_adaptation.LONG

    def row(method, examples=most, steps=few):
        return part, method, examples, steps

    def gain(first, second):
        return meta_study.difference(values[first], values[second], "dB", shared=True)

    lines = [f"{most} examples, {few} steps unless said; mean +- standard error"]
    for method in ("maml", "reptile"):
        for name, other, wanted in (
            ("pretraining", row("pretraining"), 0.5),
            (f"{slow} steps from scratch", row("scratch", steps=slow), 3.0),
        ):
            mean, _ = meta_study.paired(values[row(method)], values[other], shared=True)
            lines.append(
                f"{method} against {name}: {gain(row(method), other)}; {wanted} dB "
                f"{'is' if mean >= wanted else 'is not'} reached"
            )
    for first, second in (
        ("maml", "reptile"),
        ("maml", "filter"),
        ("pretraining", "filter"),
        ("nearest", "pretraining"),
        ("nearest_told", "pretraining"),
        ("nearest", "maml"),
        ("predictor", "maml"),
        ("predictor", "pretraining"),
    ):
        other = row(second, steps=0) if second == "filter" else row(second)
        lines.append(f"{first} against {second}: {gain(row(first), other)}")
    zero = row("descriptor", 0, 0)
    if zero in values:
        blind = row("pretraining", 0, 0)
        lines.append(f"zero-shot, descriptor against blind: {gain(zero, blind)}")
    return lines
