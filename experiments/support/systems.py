"""The documents' systems, a row each: table, stability, samples (A 2 to E 3.3)."""

import dataclasses
import math
import pathlib

from experiments.support import cells, console, figures, flags, ranking
from gan_transfer import writing


@dataclasses.dataclass(frozen=True)
class Row:
    """A system: what it is, its document section, and its make target.

    Attributes:
        what: for the table and the pictures.
        section: of the documents.
        flagfile: the configuration of `script` that trains it.
        script: of `experiments`.
        portable: runs --seeds times on every one of --datasets, not only once on the
            flagfile's own.
    """

    what: str
    section: str
    flagfile: str
    script: str = "pretrain"
    portable: bool = True


ROWS = {
    "minimax": Row("GAN, minimax loss", "A 3, C 3.3.1", "minimax_mnist"),
    "non_saturating": Row("DCGAN, non-saturating", "B 3.1", "mnist"),
    "lsgan": Row("LSGAN", "E 3.3", "lsgan_mnist"),
    "wgan": Row("WGAN, clipped weights", "E 3.3", "wgan_mnist"),
    "wgan_gp": Row("WGAN, gradient penalty", "E 3.3", "wgan_gp_mnist"),
    "huber": Row("Huber loss", "E 3.3", "huber_mnist"),
    "relativistic": Row("relativistic, R1 and R2", "E 2(2)", "relativistic_mnist"),
    "prelu": Row("PReLU in both networks", "E 3.3", "prelu_mnist"),
    "relu": Row("ReLU in both networks", "E 3.3", "relu_mnist"),
    "sngan": Row("spectral normalisation", "E 2(2)", "sngan_mnist"),
    "agan": Row("AGAN, self-attention", "E 3.3", "sagan_mnist"),
    "cgan": Row("CGAN, with classes", "A 2.1", "conditional_mnist"),
    "vae": Row("VAE, dense", "A 2.1, C 3.3.2", "mnist", "pretrain_vae"),
    "vae_conv": Row("VAE, convolutional", "C 3.1.2", "conv_mnist", "pretrain_vae"),
    "vae_matched": Row(
        "VAE, the GANs' latents and images", "E 3.3", "matched_mnist", "pretrain_vae"
    ),
    "document_a": Row("A's networks", "A 4.1", "document_a"),
    "document_e": Row("E's networks", "E 4", "document_e_mnist"),
    "document_b": Row("B's networks", "B 4", "document_b_256", portable=False),
    "document_c": Row("C's networks", "C 4.1", "document_c_64", portable=False),
    "cyclegan": Row(
        "CycleGAN, digits to outlines",
        "C 3.1.3",
        "mnist_outline",
        "pretrain_cyclegan",
        portable=False,
    ),
}
_SHOWN = 12
# Column -> the score that it shows. A CycleGAN's distances are to the images of another
# domain, so its error to the true translation stands in a column of its own.
_SCORES = {
    "fcd": "fcd",
    "pca": "pca",
    "kernel, classifier": "kcd",
    "kernel, pixels": "pca_kernel",
    "precision, classifier": "precision_classifier",
    "recall, classifier": "recall_classifier",
    "precision, pixels": "precision_pca",
    "recall, pixels": "recall_pca",
    "error to the truth": "forward_truth",
}


def report(directory, results) -> None:
    """Write table, ranking, stability, pictures and summary of what ended so far.

    Args:
        directory: the run directory.
        results: (row, data set) -> seed -> cell and summary.
    """
    folder = directory.folder / "cells"
    with console.quiet_tensorflow():
        table = _table(results, folder)
    found = {key: [s for _, s in row.values()] for key, row in results.items()}
    with writing.partial(directory.path("table.md")) as temporary:
        temporary.write_text(f"{table}\n{ranking.report(found)}")
    with writing.partial(directory.path("stability.md")) as temporary:
        temporary.write_text(stability(results, folder))
    _draw(directory, results)
    directory.write_summary(
        {
            "scale": flags.SCALE.value,
            "cells": {
                cell.name: {"outcome": each["outcome"], "scores": each["scores"]}
                for row in results.values()
                for cell, each in row.values()
            },
        }
    )


def _table(results, folder: pathlib.Path) -> str:
    rows = []
    for (name, dataset), found in results.items():
        row = ROWS[name]
        runs, summaries = zip(*found.values(), strict=True)
        first = summaries[0]
        target = f"{row.script}-{row.flagfile}".replace("_", "-")
        rows.append(
            [
                row.what,
                row.section,
                f"`make {target}`",
                dataset or first.get("dataset", "-"),
                *(
                    cells.spread([cells.score(s, kind) for s in summaries])
                    for kind in _SCORES.values()
                ),
                cells.spread([cells.cpu_minutes(folder / c.name) for c in runs], 2),
                cells.outcomes(summaries),
                f"[grid](cells/{runs[0].name}/samples.png)",
            ]
        )
    header = ["system", "document", "make target", "data", *_SCORES]
    header += ["CPU minutes", "runs", "pictures"]
    return cells.markdown(header, rows)


def stability(results, folder: pathlib.Path) -> str:
    """A row per system and data set, a column per seed: how its run went.

    The outcome, and of the runs with a guard the lowest and the last mode coverage: the
    variety of the samples over that of the training images.
    """
    with console.quiet_tensorflow():
        from gan_transfer import callbacks
        from gan_transfer.stability import COVERAGE

    rows, key = [], COVERAGE
    seeds = sorted({seed for found in results.values() for seed in found})
    for (name, dataset), found in results.items():
        texts = dict.fromkeys(seeds, "-")
        for seed, (cell, summary) in found.items():
            history = callbacks.read_history(folder / cell.name)
            seen = [
                row[key] for row in history if math.isfinite(row.get(key, math.nan))
            ]
            text = summary["outcome"]
            if seen:
                text += f", lowest {min(seen):.2f}, last {seen[-1]:.2f}"
            texts[seed] = text
        on = dataset or summary.get("dataset", "-")
        rows.append([ROWS[name].what, on, *texts.values()])
    header = ["system", "data", *(f"seed {seed}" for seed in seeds)]
    return cells.markdown(header, rows)


def _draw(directory, results) -> None:
    """Samples of each system's first seed, one row each, a sheet per image format."""
    sheets = {}
    with console.quiet_tensorflow():  # many models: it takes their traces for a mistake
        from gan_transfer import data, pretrained

        for (name, dataset), found in results.items():
            cell, summary = next(iter(found.values()))
            # One that diverged before it was ever scored left no networks.
            if ROWS[name].script == "pretrain_cyclegan" or not summary["scores"]:
                continue
            gan = pretrained.load(directory.folder / "cells" / cell.name)
            samples = data.to_uint8(gan.generate(_SHOWN, seed=0))
            on = dataset or summary["dataset"]
            sheets.setdefault(on, []).append((ROWS[name].what, samples))
    for dataset, rows in sheets.items():
        figures.pairs(
            directory.path(f"systems_{dataset}.png"),
            [samples for _, samples in rows],
            [label for label, _ in rows],
            f"samples of every system, {dataset}, first seed, latents of seed 0",
        )
