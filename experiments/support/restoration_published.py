"""The published classical peer, the floor and the goal of the restoration benchmark.

Sources: BM3D, CBM3D, DnCNN and FFDNet from the tables of Zhang et al., "Beyond a
Gaussian Denoiser" (TIP 2017) and "FFDNet" (TIP 2018); CDLNet from Janjusevic et al.
(2022); K-SVD on BSD68 as reported with TNRD (Chen and Pock 2017), not checked. Nobody
publishes the tests of Set12 01-07: biharmonic (scikit-image 0.26), OMP and K-SVD are
reference runs under this protocol, apart from this code. Floors and goals were set for
this project before it was measured.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Bar:
    """What one method is compared with on one test; decibels, blank where unknown."""

    peer: str
    floor: str
    goal: str = ""


# A peer that is measured here; the floor is so much above it.
_TV, _TWO_MORE = Bar("total variation", "total variation + 2"), 2.0
# (test, method) -> bar.
BARS = {
    ("bsd68-noise-15", "restorer"): Bar(
        "BM3D 31.07", "31.40", "DnCNN 31.73, FFDNet 31.63"
    ),
    ("bsd68-noise-25", "restorer"): Bar(
        "BM3D 28.57", "28.95", "DnCNN 29.23, FFDNet 29.19"
    ),
    ("bsd68-noise-50", "restorer"): Bar(
        "BM3D 25.62", "26.05", "DnCNN 26.23, FFDNet 26.29"
    ),
    ("set12-noise-25", "restorer"): Bar("BM3D 29.97", "30.05", "DnCNN 30.44"),
    ("cbsd68-noise-15", "restorer"): Bar("CBM3D 33.52", "33.65", "FFDNet 33.87"),
    ("cbsd68-noise-25", "restorer"): Bar("CBM3D 30.71", "30.95", "FFDNet 31.21"),
    ("cbsd68-noise-50", "restorer"): Bar("CBM3D 27.38", "27.60", "FFDNet 27.96"),
    ("cbsd68-noise-25", "restorer synthetic"): Bar("CBM3D 30.71", "30.5", "30.9"),
    ("bsd68-noise-25", "unrolled sparse"): Bar(
        "K-SVD 28.28, BM3D 28.57", "28.75", "CDLNet 28.99"
    ),
    ("set12_small-missing-50", "restorer"): Bar("biharmonic 30.35", "31.5"),
    ("set12_small-missing-80", "restorer"): Bar("biharmonic 25.20", "26.5"),
    ("set12_small-impulses-30", "restorer"): Bar("extremes + biharmonic 32.86", "33.5"),
    ("set12_small-impulses-50", "restorer"): Bar("extremes + biharmonic 29.65", "30.5"),
    ("set12_small-impulses-70", "restorer"): Bar("extremes + biharmonic 26.64", "27.5"),
    ("set12_small-blur-2.55", "restorer"): _TV,
    ("set12_small-blur-7.65", "restorer"): _TV,
    ("set12_small-noise-25", "k-svd"): Bar("K-SVD 28.94", "28.8", "28.94"),
    ("set12_small-noise-25", "omp-dct"): Bar("OMP 28.45", "28.4", "28.45"),
}


def table(measured: dict[tuple[str, str], float]) -> list[str]:
    """Lines of Markdown: what was measured beside its bar.

    Args:
        measured: (test, method) -> PSNR in dB.

    Returns:
        A row for each of `BARS` that was measured, below a header; nothing if none was.
    """
    rows = []
    for (test, method), bar in BARS.items():
        if bar is _TV and (test, _TV.peer) in measured:
            value = measured[test, _TV.peer]
            bar = Bar(f"{_TV.peer} {value:.2f}", f"{value + _TWO_MORE:.2f}")
        if (test, method) in measured:
            rows.append(
                f"| {test} | {method} | {measured[test, method]:.2f} | {bar.peer} "
                f"| {bar.floor} | {bar.goal} |"
            )
    header = (
        "| PSNR (dB) | method | measured | classical peer, published or reference run "
        "| floor | goal |"
    )
    return [header, "|---" * 6 + "|", *rows] if rows else []
