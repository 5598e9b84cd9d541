"""Table, plots and verdict of the transfer study."""

import collections

from experiments.support import cells, figures, study
from gan_transfer import writing


def write(
    directory, results: list[dict], measures: dict[str, str], target: str, source: str
) -> list[str]:
    """Write `table.md` and one plot per image count; return the verdict's sentences.

    Distances are means over the cells that were completed; the last column says how
    many were not.

    Args:
        directory: the run directory.
        results: of `study.read_cell`.
        measures: of `study.choose_measures`.
        target: name of the images.
        source: the pretrained model.
    """
    import numpy as np

    columns = [f"{kind}_{name}" for name, kind in measures.items()]
    groups = collections.defaultdict(list)
    for result in results:
        groups[result["count"], result["method"]].append(result)
    curves = {}
    for key, group in groups.items():
        whole = [each["rows"] for each in group if each["outcome"] == study.COMPLETED]
        if whole:
            values = [[[row[name] for name in columns] for row in r] for r in whole]
            curves[key] = np.asarray(values)
    longest = max((result["rows"] for result in results), key=len)
    shown = [row["images"] for row in longest]
    seeds = max(map(len, groups.values()))
    lines = [
        f"{source} -> {target}: distance after {max(shown, default=0):,.0f} images "
        "shown, "
        + (f"mean +- standard deviation of {seeds} seeds" if seeds > 1 else "one seed"),
        "",
        f"| images | method | {' | '.join(columns)} | runs |",
        "|---|---|" + "---|" * (len(columns) + 1),
    ]
    for (count, method), group in groups.items():
        entries = ["-"] * len(columns)
        if (count, method) in curves:
            entries = [_spread(each) for each in curves[count, method][:, -1].T]
        entries = " | ".join([*entries, cells.outcomes(group)])
        lines.append(f"| {count:,} | {method} | {entries} |")
    with writing.replacing(directory.path("table.md")) as path:
        path.write_text("\n".join(lines) + "\n")
    for count in dict.fromkeys(count for count, _ in curves):
        series = {}
        for (n, method), values in curves.items():
            if n == count:
                low, high = values[..., 0].min(0), values[..., 0].max(0)
                series[method] = (shown, values[..., 0].mean(0), (low, high))
        figures.curves(
            directory.path(f"distance_{count}.png"),
            series,
            f"{source} -> {target}, {count:,} images: "
            + (f"mean and range of {seeds} seeds" if seeds > 1 else "one seed"),
            "images shown",
            columns[0],
            log=True,
        )
    return [
        _verdict(curves, count, shown, columns[0])
        for count in dict.fromkeys(count for count, _ in groups)
    ]


def _spread(values) -> str:
    """Mean and, of several seeds, standard deviation."""
    mean = f"{values.mean():.4g}"
    return f"{mean} +- {values.std(ddof=1):.2g}" if len(values) > 1 else mean


def _verdict(curves: dict, count: int, shown: list, measure: str) -> str:
    """What held for `count` images, by the mean over seeds of the first measure."""
    means = {m: v[..., 0].mean(0) for (n, m), v in curves.items() if n == count}
    controls = ("scratch", "scratch+augmentation")
    transfers = {name: mean for name, mean in means.items() if name not in controls}
    if not transfers or any(name not in means for name in controls):
        return f"{count:,} images: no verdict without both controls and a transfer row"
    best = min(transfers, key=lambda name: transfers[name][-1])
    goal = means["scratch+augmentation"].min()
    goal_at = shown[int(means["scratch+augmentation"].argmin())]
    times = {
        name: next((x for x, y in zip(shown, mean, strict=True) if y <= goal), None)
        for name, mean in transfers.items()
    }
    reached = {name: x for name, x in times.items() if x is not None}
    if reached:
        fastest = min(reached, key=reached.get)
        speed = (
            f"{fastest} reaches the best of scratch+augmentation with "
            f"{goal_at / reached[fastest]:.1f}x fewer images shown"
        )
    else:
        speed = "no transfer method reaches the best of scratch+augmentation"
    ends, scratch = transfers[best][-1], means["scratch"][-1]
    # Unbiased kernel distances may be negative: then a ratio says nothing.
    gain = "against"
    if min(ends, scratch) > 0:
        gain = f"{abs(1 - ends / scratch):.0%} {'below' if ends < scratch else 'above'}"
    return (
        f"{count:,} images: {speed}; the best transfer, {best}, ends at {measure} "
        f"{ends:.4g}, {gain} plain scratch at {scratch:.4g} (scratch+augmentation "
        f"{means['scratch+augmentation'][-1]:.4g})."
    )
