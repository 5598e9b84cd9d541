"""Cells, table, plots and verdict of the restoration transfer study."""

import collections
import dataclasses
import json
import pathlib

from experiments.support import figures, flags, restoration_targets
from gan_transfer import errors, writing

# Row of the table -> recipe and learning rate; scratch trains all, from random weights.
METHODS = {
    "scratch": ("fine_tune", 1e-3),
    "head": ("head_only", 1e-3),
    "gains": ("gains", 5e-3),
    "all": ("fine_tune", 3e-4),
}
DONE = "cell.json"
_PATCH, _SEED_OF_TEST = 64, 12345


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training of the study."""

    target: str
    method: str
    count: int
    seed: int

    @property
    def name(self) -> str:
        """Folder of the cell."""
        return f"{self.target}-{self.method}-{self.count}-seed{self.seed}"


def check(kind: str, names: list[str], known) -> None:
    """Refuse rows and targets that do not exist.

    Raises:
        errors.InputError: none or an unknown one; the message lists them.
    """
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise errors.InputError(
            f"--{kind}: no {', '.join(unknown) or 'name given'}; there are "
            f"{', '.join(map(str, known))}"
        )


class Measure:
    """PSNR of a network on a target's test pictures, always damaged alike."""

    def __init__(self, target: restoration_targets.Target):
        import numpy as np
        import tensorflow as tf

        self.clean = np.stack(target.test) / np.float32(255)
        inputs = target.test_damage(
            tf.constant(self.clean), tf.constant([_SEED_OF_TEST, 0])
        )
        self.inputs = [each.numpy() for each in inputs]

    def restored(self, network):
        """Restored test pictures, uint8 `[N, H, W, 1]`."""
        from restoration import metrics

        return metrics.quantise(network.predict_on_batch(self.inputs))

    def psnr(self, network) -> float:
        """Mean PSNR in dB of the quantised output."""
        return self.psnr_of(self.restored(network))

    def psnr_of(self, pixels) -> float:
        """Mean PSNR in dB of uint8 pictures, as of `metrics.mean_psnr`."""
        import numpy as np

        from restoration import metrics

        difference = pixels / 255.0 - self.clean
        return metrics.mean_psnr(np.mean(difference**2, axis=(1, 2, 3)))

    def damaged(self):
        """The pictures as given, uint8."""
        from restoration import metrics

        return metrics.quantise(self.inputs[0])


def start(method: str, source: str, seed: int) -> tuple:
    """A method's restorer and the phases of its recipe, the first one prepared.

    Args:
        method: of `METHODS`.
        source: of `pretrained.load`; scratch has its architecture and random weights.
        seed: of the restorer and of these weights.

    Raises:
        errors.InputError: the recipe does not fit that architecture.
    """
    import keras

    from gan_transfer import recipes
    from restoration import networks, pretrained, supervised

    keras.utils.set_random_seed(seed)
    recipe, _ = METHODS[method]
    network = pretrained.load(source)
    if method == "scratch":
        network = keras.models.clone_model(network)
    if recipe == "gains":
        network = networks.with_gains(network)
    restorer = supervised.Restorer(network, seed=seed)
    phases = recipes.RESTORATION_RECIPES[recipe](restorer, 0, "frozen")
    phases[0].prepare()
    return restorer, phases


def train_cell(cell: Cell, folder: pathlib.Path, target, measure, source, steps: int):
    """Train one cell, or continue it; `cell.json` marks it as done.

    Nothing is selected by the test pictures: the numbers are those of fixed steps.
    """
    import keras
    import numpy as np

    from gan_transfer import schedule, transfer
    from restoration import metrics, patches, supervised

    _, rate = METHODS[cell.method]
    restorer, phases = start(cell.method, source, cell.seed)
    order = np.random.default_rng(cell.seed).permutation(len(target.train))
    pictures = [target.train[number] for number in order[: cell.count]]

    def compile_phase(phase):
        cosine = supervised.Cosine(rate, steps, warm_up=20)
        optimizer = transfer.LayerwiseAdam(learning_rate=cosine, global_clipnorm=1.0)
        restorer.compile(
            optimizer,
            loss=supervised.root_mean_square,
            damage=target.damage,
            averaging=0.98,
        )

    def watch(epoch, logs):
        logs["test_psnr"] = measure.psnr(restorer.averaged_network)

    folder.mkdir(parents=True, exist_ok=True)
    evaluations = flags.EVALUATIONS.value
    rows = schedule.train(
        restorer,
        phases,
        compile_phase,
        lambda start: patches.batches(
            pictures, flags.BATCH_SIZE.value, _PATCH, seed=cell.seed, start=start
        ),
        folder,
        epochs=evaluations,
        epoch_steps=-(-steps // evaluations),
        images_per_step=flags.BATCH_SIZE.value,
        extra=(keras.callbacks.LambdaCallback(on_epoch_end=watch),),
        verbose=0,
    )
    figures.pairs(
        folder / "samples.png",
        [
            measure.damaged()[:6],
            measure.restored(restorer.averaged_network)[:6],
            metrics.quantise(measure.clean[:6]),
        ],
        ["damaged", "restored", "truth"],
        f"{cell.target}: {cell.method}, {cell.count} images, seed {cell.seed}",
    )
    with writing.replacing(folder / DONE) as path:
        path.write_text(json.dumps({**dataclasses.asdict(cell), "rows": rows}))


def report(directory, results: list[dict], references: dict) -> list[str]:
    """Write `table.md`, two plots per target; return a sentence per target.

    Args:
        directory: the run directory.
        results: of the cells.
        references: target -> PSNR of `damaged` pictures and of the `pretrained`
            network.
    """
    import numpy as np

    groups = collections.defaultdict(list)
    for result in results:
        key = result["target"], result["method"], result["count"]
        groups[key].append([row["test_psnr"] for row in result["rows"]])
    curves = {key: np.asarray(value) for key, value in groups.items()}
    steps = [row["step"] for row in results[0]["rows"]]
    seeds = max(map(len, curves.values()))
    lines = [
        f"PSNR in dB after {steps[-1]:,.0f} updates, 16 test pictures, "
        + (f"mean of {seeds} seeds +- standard deviation" if seeds > 1 else "one seed"),
        "",
    ]
    sentences = []
    for target in dict.fromkeys(key[0] for key in curves):
        methods = [m for m in METHODS if any(k[:2] == (target, m) for k in curves)]
        counts = sorted({key[2] for key in curves if key[0] == target})
        known = references[target]
        start = [
            "-" if m == "scratch" else f"{known['pretrained']:.2f}" for m in methods
        ]
        lines += [
            f"| {target} ({known['damaged']:.2f} damaged): images | "
            + " | ".join(methods)
            + " |",
            "|---|" + "---|" * len(methods),
            "| 0 | " + " | ".join(start) + " |",
        ]
        for count in counts:
            cells = []
            for method in methods:
                last = curves[target, method, count][:, -1]
                spread = f" +- {last.std(ddof=1):.2f}" if len(last) > 1 else ""
                cells.append(f"{last.mean():.2f}{spread}")
            lines.append(f"| {count} | " + " | ".join(cells) + " |")
        lines.append("")
        _plot(directory, target, methods, counts, steps, curves, known["pretrained"])
        sentences.append(_verdict(target, methods, counts, curves, known["pretrained"]))
    with writing.replacing(directory.path("table.md")) as path:
        path.write_text("\n".join(lines) + "\n")
    return sentences


def _plot(directory, target, methods, counts, steps, curves, pretrained) -> None:
    by_count, by_step = {}, {}
    for method in methods:
        values = [curves[target, method, count][:, -1] for count in counts]
        band = [v.min() for v in values], [v.max() for v in values]
        by_count[method] = (counts, [v.mean() for v in values], band)
        most = curves[target, method, counts[-1]]
        by_step[method] = (steps, most.mean(0), (most.min(0), most.max(0)))
    for name, series, axis, x_label in (
        ("images", by_count, counts, "training images"),
        ("steps", by_step, steps, f"updates, with {counts[-1]} images"),
    ):
        series = {**series, "pretrained": (axis, [pretrained] * len(axis), None)}
        figures.curves(
            directory.path(f"{target}_{name}.png"),
            series,
            f"{target}: test pictures, " + _seeds_text(curves),
            x_label,
            "PSNR (dB)",
            log_x=name == "images",
        )


def _seeds_text(curves) -> str:
    count = max(map(len, curves.values()))
    return f"mean and range of {count} seeds" if count > 1 else "one seed"


def _verdict(target, methods, counts, curves, pretrained: float) -> str:
    """What held for a target, by the means over seeds after the last step."""
    ends = {
        (method, count): curves[target, method, count][:, -1].mean()
        for method in methods
        for count in counts
    }
    kept = [method for method in methods if method != "scratch"]
    parts = []
    for count in dict.fromkeys((counts[0], counts[-1])) if kept else ():
        best = max(kept, key=lambda method: ends[method, count])
        part = f"with {count} image{'s' * (count > 1)} {best} is best, "
        part += f"{ends[best, count] - pretrained:+.2f} dB on the pretrained network"
        if "scratch" in methods:
            gain = ends[best, count] - ends["scratch", count]
            part += f" and {gain:+.2f} dB on scratch"
        parts.append(part)
    return f"{target}: {'; '.join(parts) or 'no verdict without a transfer row'}."
