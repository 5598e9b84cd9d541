"""Table, numbers, plots and verdict of few-shot translation (document D 3.1)."""

from experiments.support import meta_reptile, meta_study, meta_translation
from gan_transfer import writing

_UNIT = "mean absolute error to the true translation, pixels in [0, 1]"


def write(directory, cells: list[dict], settings, about: str) -> list[str]:
    """Write `table.md`, `results.csv` and plots; return the verdict's sentences."""
    values, verdicts = meta_study.collect(cells), []
    methods = meta_translation.CONTROLS + meta_reptile.METHODS
    last = settings.adaptation[-1]
    for shots in settings.shots:
        meta_study.plot(
            directory.path(f"error_{shots}.png"),
            values,
            meta_translation.PART,
            shots,
            methods,
            f"{shots} example(s): {about}",
            _UNIT,
        )
        gain = meta_study.difference(
            values[meta_translation.PART, "reptile", shots, last],
            values[meta_translation.PART, "pretrain", shots, last],
            "(below 0: better)",
            shared=False,
            digits=4,
        )
        verdicts.append(
            f"- {shots} example(s), {last} steps: reptile - pretrain {gain}"
        )
    lines = [
        about,
        "",
        *meta_study.table(values, meta_translation.PART, methods, _UNIT, 4),
        *verdicts,
    ]
    with writing.replacing(directory.path("table.md")) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    count = next(iter(values.values())).shape[1]
    names = {meta_translation.PART: [str(number) for number in range(count)]}
    meta_study.write_csv(directory.path("results.csv"), values, names)
    return verdicts
