"""Our order of the generative families beside the published one (document E 3.3).

Lucic et al. 2018, "Are GANs created equal?", compare families with one architecture,
one budget and the same data. So do these rows of `systems_study`: the VAE's decoder is
the GANs' generator, and each is shown as many images.
"""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence

from experiments.support import cells

KINDS = ("fcd", "pca")  # our distances; the first sorts the table
# FID of the best settings of a search of 100, Lucic et al. 2018 as reprinted by Dai and
# Wipf 2019, table 1; the VAE is theirs, cross-entropy, untuned.
PUBLISHED = {
    "mnist": {
        "non_saturating": 6.8,
        "lsgan": 7.8,
        "wgan": 6.7,
        "wgan_gp": 20.3,
        "vae_matched": 16.6,
    },
    "fashion_mnist": {
        "non_saturating": 26.5,
        "lsgan": 30.7,
        "wgan": 21.5,
        "wgan_gp": 24.5,
        "vae_matched": 43.6,
    },
}


def report(results: Mapping[tuple[str, str], Sequence[dict]]) -> str:
    """Markdown: a table per data set, and which pairs are in the published order.

    That for both distances, the classifier's and that of the pixels. A pair counts
    where every seed of one is better than every seed of the other; a run without a
    distance, one that diverged before it had any, is worse than any; one that was
    stopped later counts by the best state that it kept.

    Args:
        results: (row, data set) -> summaries of its seeds. Rows and data sets that the
            publication has not are left out, and so is a data set with fewer than two.
    """
    parts = []
    for dataset, published in PUBLISHED.items():
        runs = {
            name: results[name, dataset]
            for name in published
            if results.get((name, dataset))
        }
        if len(runs) < 2:
            continue
        ours = {
            kind: {name: _distances(found, kind) for name, found in runs.items()}
            for kind in KINDS
        }
        rows = [
            [
                name,
                *(cells.spread(ours[kind][name]) for kind in KINDS),
                f"{published[name]}",
                f"{max(s.get('images_shown', 0) for s in runs[name]):,}",
            ]
            for name in _ordered(ours[KINDS[0]])
        ]
        header = [f"row, {dataset}", *KINDS, "FID, published", "images shown"]
        parts.append(cells.markdown(header, rows))
        parts += [f"{kind}: {_agreement(ours[kind], published)}" for kind in KINDS]
    return "\n".join(parts) + "\n" * bool(parts)


def _distances(summaries: Sequence[dict], kind: str) -> list[float]:
    """A distance of every run, infinite where there is none."""
    values = (cells.score(summary, kind) for summary in summaries)
    return [value if math.isfinite(value) else math.inf for value in values]


def _ordered(ours: Mapping[str, Sequence[float]]) -> list[str]:
    return sorted(ours, key=lambda name: statistics.fmean(ours[name]))


def _agreement(ours, published) -> str:
    agree, differ, open_ = 0, [], []
    pairs = list(itertools.combinations(_ordered(ours), 2))
    for low, high in pairs:
        if max(ours[low]) >= min(ours[high]):
            open_.append(f"{low} and {high}")
        elif published[low] < published[high]:
            agree += 1
        else:
            differ.append(f"{low} and {high}")
    line = f"{agree} of {len(pairs)} pairs in the published order"
    line += f"; the other way round: {', '.join(differ)}" * bool(differ)
    line += f"; not told apart, seeds overlap: {', '.join(open_)}" * bool(open_)
    return f"{line}."
