"""Table, numbers, plots, pictures and verdict of few-shot generation (document D 3.1).

What the cells of `meta_vae` and `meta_gan` found is turned into rows of `meta_study`.
"""

import itertools
import math

import numpy as np

from experiments.support import meta_stored, meta_study
from gan_transfer import writing

# Measure -> what it is; the first two are per character, the others per seed.
MEASURES = {
    "bound": "minus bound (nats per held-out drawing)",
    "weighted": "minus importance-weighted bound, K = 32 (nats per held-out drawing)",
    "kcd": "kernel distance, classifier features, pooled over the characters",
    "pca_kernel": "kernel distance, pixel PCA (64), pooled over the characters",
}
BASELINE = "pretrain"
_SHOWN, _EACH = 3, 2  # characters of the picture, samples of a method there


def values_of(results: dict, splits: list, settings) -> meta_study.Values:
    """Every measure of every budget: `(measure, method, examples, steps)` -> values.

    Args:
        results: (method, number of the split) -> what the method's test found.
        splits: of the seeds.
        settings: with `shots` and `adaptation`.

    Returns:
        Arrays `[seeds, T]`, `[seeds, 1]` for the kernel distances.
    """
    judges = [_judges(split) for split in splits]
    found = {}
    for method in dict.fromkeys(name for name, _ in results):
        parts = [results[method, number] for number in range(len(splits))]
        for row, shots in enumerate(settings.shots):
            for column, steps in enumerate(settings.adaptation):
                place = _measured(parts[0], row, column)
                if place is None:
                    continue
                key = method, shots, steps
                for name in ("bound", "weighted"):
                    if name in parts[0]:
                        found[name, *key] = np.stack(
                            [part[name][:, *place] for part in parts]
                        )
                scores = [
                    judge(part["samples"][:, *place])
                    for judge, part in zip(judges, parts, strict=True)
                ]
                for name in scores[0]:
                    found[name, *key] = np.array([[each[name]] for each in scores])
    return found


def _measured(part: dict, row: int, column: int) -> tuple[int, int] | None:
    """Where a test holds a budget: 0 steps may be measured with 0 examples only.

    No sampler's images are all black; those never measured are.
    """
    for place in ((row, column), (0, column)):
        if (place == (row, column) or column == 0) and part["samples"][:, *place].any():
            return place
    return None


def _judges(split):
    """Kernel distances of samples `[T, 10, H, W, C]` to the held-out drawings."""
    from gan_transfer import features, metrics

    extractors = {"pca_kernel": features.PixelPCA(split.drawings(), 64)}
    real = split.held_out(split.test)
    if real.shape[1:] == (28, 28, 1):
        extractors["kcd"] = features.classifier_features()
    held_out = {name: features.extract(each, real) for name, each in extractors.items()}

    def judge(samples) -> dict[str, float]:
        pooled = samples.reshape(-1, *samples.shape[2:])
        return {
            name: metrics.kernel_distance(
                held_out[name], features.extract(extractors[name], pooled)
            )[0]
            for name in MEASURES
            if name in extractors
        }

    return judge


def write(directory, results: dict, splits: list, settings, about: str) -> list[str]:
    """Write `table.md`, `results.csv`, plots and the picture; return the verdict.

    Args:
        directory: the run directory.
        results: as of `values_of`.
        splits: likewise.
        settings: likewise.
        about: what was run, for the titles.
    """
    values = values_of(results, splits, settings)
    methods = list(dict.fromkeys(name for name, _ in results))
    # Networks from scratch are so far off that the others would be one line.
    drawn = [name for name in methods if name != "scratch"] or methods
    lines = [about, ""]
    for part in dict.fromkeys(key[0] for key in values):
        digits = 2 if part in ("bound", "weighted") else 4
        title = MEASURES[part]
        if meta_stored.PREDICTOR in methods:
            title += (
                "; the predictor's are of the steps it chose, whatever the row says"
            )
        lines += meta_study.table(values, part, methods, title, digits)
        if BASELINE in methods:
            lines += _gains(values, part, methods, digits)
        for examples in settings.shots[1:]:
            meta_study.plot(
                directory.path(f"{part}_{examples}.png"),
                values,
                part,
                examples,
                drawn,
                f"{examples} example{'s' * (examples > 1)}, unseen characters: {about}",
                MEASURES[part],
            )
    verdicts = _verdicts(values, methods, settings)
    with writing.replacing(directory.path("table.md")) as temporary:
        temporary.write_text("\n".join([*lines, *verdicts]) + "\n", encoding="utf-8")
    names = {
        key[0]: [str(n) for n in range(array.shape[1])] for key, array in values.items()
    }
    meta_study.write_csv(directory.path("results.csv"), values, names)
    _picture(directory, results, splits[0], methods, settings, about)
    return verdicts


def _gains(values, part: str, methods: list[str], digits: int) -> list[str]:
    """Lines of a table: paired differences from plain pretraining + fine-tuning."""
    # The predictor's column of 0 steps is of the number of steps that it chose.
    without = BASELINE, meta_stored.PREDICTOR
    others = [method for method in methods if method not in without]
    lines = [
        f"difference from {BASELINE} + fine-tuning, paired by character, +- standard "
        "error (below 0: better)",
        "",
        "| examples | steps | " + " | ".join(others) + " |",
        "|---|---|" + "---|" * len(others),
    ]
    for examples, steps in meta_study.budgets(values, part):
        base, texts = values[part, BASELINE, examples, steps], []
        for method in others:
            mine = values.get((part, method, examples, steps))
            if mine is None:
                texts.append("-")
                continue
            found = meta_study.paired(mine, base, shared=False)
            texts.append(meta_study.signed(*found, digits))
        lines.append(f"| {examples} | {steps} | " + " | ".join(texts) + " |")
    return [*lines, ""]


def seconds(results: dict) -> dict[str, float]:
    """Median seconds of adapting to a task, of every method that takes steps."""
    found = {}
    for (name, seed), each in results.items():
        measured = each.get("seconds", np.array([]))
        if np.isfinite(measured).any():
            found[f"{name}-seed{seed}"] = round(float(np.nanmedian(measured)), 3)
    return found


def _verdicts(values, methods: list[str], settings) -> list[str]:
    """A sentence per measure, budget and method: lower than the baseline or not.

    Budgets are fixed beforehand, the same for both sides: every number of examples with
    the last two numbers of steps. Methods that take no steps have one value for both.
    """
    lines = []
    parts = dict.fromkeys(key[0] for key in values)
    fixed = settings.adaptation[1:][-2:]
    for part, examples, steps in itertools.product(parts, settings.shots[1:], fixed):
        base = values.get((part, BASELINE, examples, steps))
        for method in methods:
            mine, taken = values.get((part, method, examples, steps)), f"{steps} steps"
            if not any(key[1] == method and key[3] for key in values):
                mine, taken = values.get((part, method, examples, 0)), "no steps"
            if method == meta_stored.PREDICTOR:
                taken = "its own choice of steps"
            if base is None or mine is None or method in (BASELINE, "scratch"):
                continue
            mean, error = meta_study.paired(mine, base, shared=False)
            held = "lower than" if mean < 0 else "higher than"
            if math.isnan(error):
                held += " (one number each)"
            elif abs(mean) < 2 * error:
                held = "not told from"
            digits = 2 if part in ("bound", "weighted") else 4
            number = meta_study.difference(mine, base, "", shared=False, digits=digits)
            lines.append(
                f"- {part}, {examples} examples: {method} ({taken}) is {held} "
                f"{BASELINE} ({steps} steps): {number}"
            )
    return lines


def _picture(directory, results, split, methods, settings, about) -> None:
    """Three unseen characters: samples by method, for every budget of any of them."""
    from gan_transfer import data

    budgets = [
        (row, column)
        for row, column in np.ndindex(len(settings.shots), len(settings.adaptation))
        if any(results[m, 0]["samples"][:, row, column].any() for m in methods)
    ]
    blocks = []
    for number in dict.fromkeys(np.linspace(0, len(split.test) - 1, _SHOWN, dtype=int)):
        task, lines = split.test[number], []
        white = np.full((_EACH, *task.pixels.shape[1:]), 255, np.uint8)
        for row, column in budgets:
            images = [white]
            if settings.shots[row]:
                (shown,), _ = split.divided(task, settings.shots[row])
                images = [data.to_uint8(shown[np.arange(_EACH) % len(shown)])]
            for method in methods:
                result = results[method, 0]
                place = _measured(result, row, column)
                samples = white if place is None else result["samples"][number, *place]
                images.append(samples[:_EACH])
            lines.append(np.concatenate(images))
        name = task.name.removeprefix("omniglot/")
        blocks.append((name, ["examples", *methods], np.stack(lines)))
    meta_study.picture_grid(
        directory.path("samples.png"),
        blocks,
        [
            f"{settings.shots[row]} examples, {settings.adaptation[column]} steps"
            for row, column in budgets
        ],
        f"samples for unseen characters by examples and steps: {about}",
    )
