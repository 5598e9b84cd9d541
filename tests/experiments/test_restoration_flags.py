"""Command lines of the restoration scripts that are wrong before any file is read."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from experiments import inpaint

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("inpaint --masc=a.png", ["Unknown command line flag 'masc'", "mask"]),
        (
            "denoise --sigma=much",
            ["--sigma=much", "auto, or a number from 0 to below 255"],
        ),
        ("denoise --sigma=-1", ["--sigma=-1", "from 0 to below 255"]),
        ("denoise --sigma=255", ["--sigma=255", "from 0 to below 255"]),
        ("denoise --sigma=nan", ["--sigma=nan", "from 0 to below 255"]),
        ("deblur --ensemble", ["--ensemble has no effect on"]),
        ("denoise --mask=a.png", ["--mask has no effect on"]),
        ("inpaint --sigma=25", ["--sigma has no effect on"]),
        ("score --model=a", ["--model has no effect on"]),
        ("denoise photo.png", ["'photo.png' is not a flag: write --name=value"]),
        (
            "denoise --method=magic",
            ["--method=magic: should be one of learned, sparse"],
        ),
        (
            "restore --method=ksvd",
            ["--method=ksvd: should be one of learned, sparse, total_variation"],
        ),
        (
            "restore --method=sparse --ensemble",
            ["--ensemble has no effect on --method=sparse: leave it out"],
        ),
        (
            "denoise --method=ksvd --model=restorer_gray",
            ["--model has no effect on --method=ksvd: leave it out"],
        ),
        (
            "inpaint --method=pull_push --ensemble",
            ["--ensemble has no effect on --method=pull_push"],
        ),
        ("denoise --output=b.png", ["--input is missing: add --input=... --output="]),
        ("denoise --input=a.png", ["--output is missing: add --input=..."]),
        ("denoise --input= --output=b.png", ["--input is missing"]),
        ("inpaint --input=a.png --output=b.png", ["--mask is missing: add --input"]),
        ("deblur --input=a.png --output=b.png", ["--kernel is missing: add --input"]),
        ("score --input=a.png", ["--truth is missing: add --input=... --truth=..."]),
        (
            "inpaint --input=a.png --output=b.png --mask=c.png --mask_alpha",
            ["give --mask or --mask_alpha, not both"],
        ),
        (
            "restore --input=a.png --output=b.png --mask_invert",
            ["--mask_invert has no effect without --mask or --mask_alpha"],
        ),
    ],
)
def test_wrong_flags_end_with_status_1(command, contents, tmp_path, line, parts):
    done = command(*line.split())
    assert (done.returncode, done.stdout) == (1, "")
    for part in parts:
        assert part in done.stderr
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("script", ["inpaint", "denoise", "deblur", "restore"])
def test_a_make_target_without_its_arguments_says_what_to_add(command, script):
    flagfile = ROOT / "experiments" / "flags" / script / "photo.flags"
    done = command(script, f"--flagfile={flagfile}")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: --input is missing: add --input=... --output=...")
    # In a process of its own the script's name stands before the flagfile's.
    assert '-photo ARGS="--input=... --output=...' in line


def test_a_mistyped_flag_does_not_wait_for_tensorflow():
    code = "import sys; sys.argv = ['inpaint']\n"
    code += "from experiments import deblur, denoise, inpaint, restore, score\n"
    code += "from experiments import benchmark_restoration, perception_study\n"
    code += "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize(
    ("sides", "wide"), [((48, 48), True), ((48, 47), False), ((80, 30), False)]
)
def test_holes_too_wide_to_fill_are_named(sides, wide):
    mask = np.zeros((90, 100, 1), np.float32)
    mask[5 : 5 + sides[0], 20 : 20 + sides[1]] = 1
    assert bool(inpaint._remarks(mask)) == wide
    assert inpaint._remarks(mask[:40]) == []
