"""Score restored pictures against the originals: PSNR and SSIM (document A 2.2).

A picture of the folder --input is compared with the one of the folder --truth that has
its name, of any suffix. The metrics are those of `restoration.metrics`, on the files as
they are: grey pictures have psnr_grey and ssim_grey, colour ones psnr_rgb (over all
three channels), psnr_y (over the luma, about 1.5 dB higher), ssim_rgb and ssim_y, no
SSIM below 11 pixels a side. In the mean a PSNR above 100 dB counts with 100.
--output is one .csv file, also for folders.

Example:
    python -m experiments.score --input=restored --truth=originals --output=scores.csv
"""

import csv
import pathlib
import sys

import numpy as np
from absl import flags as absl_flags

from experiments.support import console, flags, picture_jobs, run
from gan_transfer import errors, picture_files, pictures
from restoration import metrics

_TRUTH = absl_flags.DEFINE_string(
    "truth", None, "original, or folder of originals, of the same names as --input"
)
flags.adopt(picture_jobs.INPUT, picture_jobs.OUTPUT, flags.OVERWRITE)
_METRICS = {1: ("psnr_grey", "ssim_grey")}
_METRICS |= {3: ("psnr_rgb", "psnr_y", "ssim_rgb", "ssim_y")}


def main(argv):
    """Print a table, and write it to --output if given."""
    flags.require(picture_jobs.INPUT, _TRUTH)
    restored, truth = (
        pathlib.Path(each.value) for each in (picture_jobs.INPUT, _TRUTH)
    )
    output = run.output_file(
        picture_jobs.OUTPUT.value, (".csv",), flags.OVERWRITE.value
    )
    if restored.is_dir() != truth.is_dir():
        raise errors.InputError(
            f"{restored} and {truth}: one is a folder; compare two files or two folders"
        )
    if not restored.is_dir():
        _report({restored.name: _scores(restored, truth)}, output)
        return 0
    table, failed = {}, []
    originals = picture_jobs.listing(truth)
    for path in picture_jobs.listing(restored):
        try:
            table[path.name] = _scores(path, _original(path, originals, truth))
        except errors.InputError as error:
            print(f"error: {error}", file=sys.stderr)
            failed.append(path.name)
    if table:
        _report(table, output)
    named = {path.stem for path in picture_jobs.listing(restored)}
    left = [path.name for path in originals if path.stem not in named]
    if left:
        print(
            f"note: {len(left)} of {len(originals)} originals have no restored picture "
            f"and do not count: {', '.join(left)}"
        )
    if failed:
        print(
            f"error: {len(table)} of {len(table) + len(failed)} pictures scored, not "
            f"{', '.join(failed)}",
            file=sys.stderr,
        )
    return 1 if failed else 0


def _original(path, originals, folder) -> pathlib.Path:
    """The original of the same name, else the only one that differs in its suffix."""
    same = [each for each in originals if each.name == path.name]
    same = same or [each for each in originals if each.stem == path.stem]
    if len(same) != 1:
        raise errors.InputError(
            f"{path}: {folder} holds {len(same)} pictures called {path.stem}; there "
            "must be one"
        )
    return same[0]


def _scores(restored: pathlib.Path, truth: pathlib.Path) -> dict[str, float]:
    image, clean = (pictures.read(path).pixels for path in (restored, truth))
    try:
        return {
            name: getattr(metrics, name)(clean, image)
            for name in _METRICS[clean.shape[2]]
            if name.startswith("psnr") or min(clean.shape[:2]) >= metrics.SSIM_WINDOW
        }
    except errors.InputError as error:
        raise errors.InputError(f"{restored}: {error}") from error


def _mean(name: str, values: list[float]) -> float:
    """Mean over pictures; one that is perfect is not all of it."""
    most = metrics.MOST_PSNR if name.startswith("psnr") else np.inf
    return float(np.mean(np.minimum(values, most)))


def _report(table: dict[str, dict[str, float]], output: pathlib.Path | None) -> None:
    names = [each for kind in _METRICS.values() for each in kind]
    names = [each for each in names if any(each in row for row in table.values())]
    columns = {
        each: [row[each] for row in table.values() if each in row] for each in names
    }
    rows = dict(table)
    if len(table) > 1:
        rows["mean"] = {each: _mean(each, columns[each]) for each in names}
    wide = max(map(len, ("file", *rows)))
    print(f"{'file':<{wide}}", *(f"{each:>9}" for each in names))
    for file, row in rows.items():
        cells = [f"{row[each]:.4f}" if each in row else "" for each in names]
        print(f"{file:<{wide}}", *(f"{cell:>9}" for cell in cells))
    print("PSNR in dB over whole pictures, peak 255; SSIM over 11x11 Gaussian windows")
    if output is None:
        return
    with picture_files.replacing(output) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, ["file", *names], restval="")
            writer.writeheader()
            writer.writerows({"file": file, **row} for file, row in rows.items())
    print(f"wrote {output}")


if __name__ == "__main__":
    console.run(main)
