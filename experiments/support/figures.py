"""Pictures that explain themselves: sample grids, pairs, curves, animations."""

import os
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import figure, ticker
from matplotlib.backends import backend_agg
from PIL import Image

from experiments.support import sheet
from gan_transfer import errors, writing

# Okabe and Ito (2008): told apart by colour-blind readers too.
_COLOURS = "#0072B2 #D55E00 #009E73 #CC79A7 #E69F00 #56B4E9 #000000".split()
_STYLES = ("-", "--", ":")

Band = tuple[np.ndarray, np.ndarray]
Curve = tuple[Sequence[float], Sequence[float], Band | None]


def sample_grid(
    path: str | os.PathLike[str],
    images: np.ndarray,
    title: str,
    *,
    columns: int = 8,
    reference: np.ndarray | None = None,
    reference_title: str = "real images",
) -> None:
    """Writes generated images as a PNG, real ones beside them.

    Args:
        path: the file to write.
        images: uint8 [N, H, W, C], C 1 or 3.
        title: what the picture shows: model, data, step; long ones are wrapped.
        columns: images in a row, of each of the two grids.
        reference: uint8 [M, H', W', C'], the images to compare with.
        reference_title: what `reference` is.

    Raises:
        errors.InputError: images of another type or shape.
    """
    grid = sheet.tile(images, columns)
    if reference is not None:
        beside = sheet.stack(
            [
                sheet.text_line(reference_title, sheet.GREY),
                sheet.tile(reference, columns),
            ],
            0,
        )
        grid = sheet.stack([sheet.text_line("generated", sheet.GREY), grid], 0)
        grid = sheet.stack([grid, beside], 1, gap=2 * sheet.MARGIN)
    _write_sheet(path, title, grid)


def pairs(
    path: str | os.PathLike[str],
    rows: Sequence[np.ndarray],
    labels: Sequence[str],
    title: str,
) -> None:
    """Writes rows of images that belong together by column as a PNG.

    Source above target, or damaged, restored and true pictures.

    Args:
        path: the file to write.
        rows: for each row uint8 [N, H, W, C]; N is the same in all rows, the sizes and
            channels may differ.
        labels: one text for each row, written left of it.
        title: what the picture shows; long ones are wrapped.

    Raises:
        errors.InputError: rows of other types, shapes or lengths, or labels that do
            not match them.
    """
    counts = sorted({len(row) for row in rows})
    if len(counts) != 1 or len(labels) != len(rows):
        raise errors.InputError(
            f"{path}: {len(rows)} rows of {counts} images with {len(labels)} labels; "
            "give rows of one length, one label each"
        )
    cells = [sheet.enlarged(row) for row in rows]
    height, width = np.max([row.shape[1:3] for row in cells], axis=0)
    strips = [sheet.tile(sheet.centred(row, height, width), counts[0]) for row in cells]
    grid = sheet.stack(strips, 0, gap=sheet.GAP)
    _write_sheet(path, title, sheet.with_labels(grid, labels))


def curves(
    path: str | os.PathLike[str],
    series: Mapping[str, Curve],
    title: str,
    x_label: str,
    y_label: str,
    log: bool = False,
    log_x: bool = False,
) -> None:
    """Writes a line plot as a PNG: learning curves, or numbers with their spread.

    Args:
        path: the file to write.
        series: name -> (x, y, band); x and y of one length, band None or (low, high),
            the ends of a shaded range at each x.
        title: what the plot shows.
        x_label: quantity and unit of x.
        y_label: quantity and unit of y.
        log_x: logarithmic x axis, with a tick at every x of the first curve.
        log: logarithmic y axis. It cannot show values <= 0; the axis then says so, and
            it is linear where there are no others.

    Raises:
        errors.InputError: no series, or lengths that do not match.
    """
    if not series:
        raise errors.InputError(f"{path}: no curve to draw; give at least one series")
    plot = figure.Figure(figsize=(7.2, 4.4), dpi=120, layout="constrained")
    backend_agg.FigureCanvasAgg(plot)
    axes = plot.add_subplot()
    for index, (name, curve) in enumerate(series.items()):
        style = {
            "color": _COLOURS[index % len(_COLOURS)],
            "linestyle": _STYLES[index // len(_COLOURS) % len(_STYLES)],
        }
        _draw_curve(path, axes, name, curve, style)
    positive = [np.asarray(y) > 0 for _, y, _ in series.values()]
    if log and any(np.any(each) for each in positive):
        axes.set_yscale("log", nonpositive="mask")
        for axis_part in (
            axes.yaxis.set_major_formatter,
            axes.yaxis.set_minor_formatter,
        ):
            axis_part(ticker.LogFormatter(minor_thresholds=(2, 0.5)))
        if not all(np.all(each) for each in positive):
            y_label += " (values <= 0 not shown)"
    axes.set_xlabel(x_label)
    axes.set_ylabel(textwrap.fill(y_label, 44))  # longer lines leave the picture
    whole = all(np.all(np.mod(x, 1) == 0) for x, _, _ in series.values())
    if log_x:
        ticks = next(iter(series.values()))[0]
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.xaxis.set_minor_locator(ticker.NullLocator())
    else:
        axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=8, integer=whole))
    _write_plot(path, plot, axes, title, list(series))


def _write_plot(path, plot, axes, title: str, names: Sequence[str], lines="both"):
    """Title, grid and, where there are several names, the legend of a plot; its PNG."""
    plot.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=lines, which="both", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    if len(names) > 1:
        columns = 3 if max(map(len, names)) < 28 else 2
        plot.legend(loc="outside lower left", ncols=columns, frameon=False, fontsize=9)
    with writing.replacing(path) as temporary:
        plot.savefig(temporary, format="png")


def dots(
    path: str | os.PathLike[str],
    series: Mapping[str, Mapping[str, Sequence[float]]],
    title: str,
    label: str,
) -> None:
    """Writes a plot of rows: a dot for each value, a line through their mean.

    Args:
        path: the PNG to write.
        series: text -> row -> values, a colour each.
        title: what the picture shows.
        label: of the values' axis, which is logarithmic from 1 on and linear below.
    """
    rows = list(dict.fromkeys(row for each in series.values() for row in each))
    lanes = len(series) + 1
    size = 8.6, 1.5 + 0.15 * lanes * len(rows)
    plot = figure.Figure(figsize=size, layout="constrained")
    backend_agg.FigureCanvasAgg(plot)
    axes = plot.subplots()
    for number, (text, found) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        for row, values in found.items():
            y = rows.index(row) + (number + 1) / lanes - 0.5
            axes.plot(values, [y] * len(values), "o", color=colour, markersize=4)
            if len(values):
                mean = [np.mean(values)] * 2
                ends = [y - 0.4 / lanes, y + 0.4 / lanes]
                axes.plot(mean, ends, color=colour, linewidth=1.8)
        axes.plot([], [], "o", color=colour, markersize=4, label=text)
    axes.set_xscale("symlog", linthresh=1.0)
    low, high = axes.get_xlim()
    marks = [n * 10**e for e in range(5) for n in (1, 2, 5)]
    ticks = [0, 0.5, *marks, *(-mark for mark in marks)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(label)
    _write_plot(path, plot, axes, title, list(series), lines="x")


def gif(
    path: str | os.PathLike[str],
    frames: Sequence[np.ndarray],
    duration_ms: int = 200,
    *,
    captions: Sequence[str] | None = None,
) -> None:
    """Writes an animation that repeats for ever and rests on its last frame.

    Args:
        path: the file to write.
        frames: uint8 [H, W, C] of one shape, C 1 or 3 (grids: `sheet.tile`). Equal
            frames in a row become one that lasts as long.
        duration_ms: milliseconds each frame is shown; the last one five times that.
        captions: one text for each frame, written above it.

    Raises:
        errors.InputError: frames of other types or shapes, or captions that do not
            match them.
    """
    if len({np.shape(frame) for frame in frames}) != 1:
        raise errors.InputError(
            f"{path}: {len(frames)} frames of {len({np.shape(f) for f in frames})} "
            "shapes; give at least one frame, all of one shape"
        )
    if captions is not None and len(captions) != len(frames):
        raise errors.InputError(
            f"{path}: {len(captions)} captions for {len(frames)} frames; give one each"
        )
    pictures = list(sheet.enlarged(np.stack(frames)))
    if captions is not None:
        width = max(sheet.text_line(text, sheet.INK).shape[1] for text in captions)
        lines = [sheet.text_line(text, sheet.INK, width=width) for text in captions]
        pictures = [
            sheet.framed(sheet.stack([line, picture], 0))
            for line, picture in zip(lines, pictures, strict=True)
        ]
    first, *others = [Image.fromarray(picture) for picture in pictures]
    with writing.replacing(path) as temporary:
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=[duration_ms] * len(others) + [5 * duration_ms],
            loop=0,
        )


def _draw_curve(
    path: str | os.PathLike[str],
    axes: figure.Axes,
    name: str,
    curve: Curve,
    style: dict[str, str],
) -> None:
    x, y, band = curve
    ends = [] if band is None else list(band)
    if any(len(values) != len(x) for values in [y, *ends]):
        raise errors.InputError(
            f"{path}: curve '{name}' has {[len(v) for v in [x, y, *ends]]} values; "
            "give x, y and the ends of the band one length"
        )
    marker = "o" if len(x) <= 20 else ""
    axes.plot(x, y, label=name, linewidth=1.8, marker=marker, markersize=4, **style)
    if band is not None:
        axes.fill_between(x, *band, color=style["color"], alpha=0.18, linewidth=0)


def _write_sheet(path: str | os.PathLike[str], title: str, body: np.ndarray) -> None:
    lines = sheet.wrapped(title, max(body.shape[1], 360))
    picture = Image.fromarray(sheet.framed(sheet.stack([*lines, body], 0)))
    with writing.replacing(path) as temporary:
        picture.save(temporary, format="PNG")
