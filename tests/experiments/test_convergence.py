"""The plot of a cyclic minimisation, alone and beside what the commands write."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments.support import convergence, figures
from restoration import data_terms, iterative, priors


def write(path, shape=(20, 30), seed=0):
    pixels = np.random.default_rng(seed).integers(60, 200, shape, np.uint8)
    Image.fromarray(pixels).save(path)


def names(folder):
    return {path.name for path in folder.iterdir()}


def is_drawn(path):
    with Image.open(path) as picture:
        return min(picture.size) > 300 and picture.convert("L").getextrema()[0] < 50


def test_what_is_drawn_is_the_record(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(figures, "curves", lambda *args, **kwargs: drawn.append(args))
    y = tf.random.stateless_uniform((1, 9, 12, 1), (0, 0))
    _, record = iterative.minimise(
        data_terms.Denoise(y, 0.1),
        priors.TotalVariation(8.0),
        schedule=iterative.constant_schedule(100.0, 4),
    )
    convergence.write(tmp_path / "a.png", "photo.png", record)
    ((path, series, title, *_),) = drawn
    assert path == tmp_path / "a.png"
    assert title == "photo.png: convergence in 4 iterations"
    assert [label.partition(" ")[0] for label in series] == ["misfit:", "change", "gap"]
    for key, (x, values, band) in zip(
        ("misfit", "change", "gap"), series.values(), strict=True
    ):
        assert (x, band) == ([1, 2, 3, 4], None)
        assert values == [each[key] for each in record]


def test_a_picture_that_needs_no_change_is_drawn_too(tmp_path):
    record = [dict(iteration=n, misfit=0.0, change=0.0, gap=0.0) for n in range(1, 4)]
    convergence.write(tmp_path / "a.png", "flat.png", record)
    assert is_drawn(tmp_path / "a.png")


@pytest.mark.parametrize("method", ["sparse", "total_variation"])
def test_deblur_plots_its_convergence(command, tmp_path, method):
    write(tmp_path / "soft.png")
    np.save(tmp_path / "kernel.npy", np.full((3, 5), 1 / 15))
    line = [f"--kernel={tmp_path}/kernel.npy", f"--method={method}", "--sigma=2"]
    line += [f"--input={tmp_path}/soft.png", f"--output={tmp_path}/out/sharp.png"]
    (tmp_path / "out").mkdir()
    done = command("deblur", *line)
    assert (done.returncode, done.stderr) == (0, "")
    plot = tmp_path / "out" / "sharp_convergence.png"
    assert is_drawn(plot)
    # It is an output like the others: not replaced unasked, not asked for with
    # --nostrip, and no input when a folder is restored.
    for name in ("sharp.png", "sharp_before_after.png"):
        (tmp_path / "out" / name).unlink()
    done = command("deblur", *line)
    assert done.returncode == 2
    assert f"{plot}: exists already; add --overwrite" in done.stderr
    done = command("deblur", *line, "--nostrip")
    assert (done.returncode, done.stderr) == (0, "")
    line[3:] = [f"--input={tmp_path}/out", f"--output={tmp_path}/again", "--nostrip"]
    assert command("deblur", *line).returncode == 0
    assert names(tmp_path / "again") == {"sharp.png"}


@pytest.mark.parametrize("method", ["sparse", "total_variation"])
@pytest.mark.parametrize(
    ("sigma", "holes"), [(0, False), (9, False), (0, True), (9, True)]
)
def test_restore_by_classical_methods(command, tmp_path, method, sigma, holes):
    write(tmp_path / "old.png", (20, 30, 3))
    mask = np.zeros((20, 30), np.uint8)
    mask[5:11, 8:14] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (tmp_path / "out").mkdir()
    line = [f"--input={tmp_path}/old.png", f"--output={tmp_path}/out/new.png"]
    line += [f"--mask={tmp_path}/mask.png"] if holes else []
    done = command("restore", *line, f"--method={method}", f"--sigma={sigma}")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"0.0% impulses, noise {sigma} of 255 (given)" in done.stdout
    plotted = holes and method == "total_variation"
    plot = {"new_convergence.png"} if plotted else set()
    assert names(tmp_path / "out") == {"new.png", "new_before_after.png"} | plot
    before = np.asarray(Image.open(tmp_path / "old.png"))
    after = np.asarray(Image.open(tmp_path / "out" / "new.png"))
    kept = (after == before).all(axis=2)
    known = mask == 0
    # Without noise known pixels stay; with it everything is smoothed.
    assert kept[known].all() if sigma == 0 else kept[known].mean() < 0.1
    if holes:
        assert kept[~known].mean() < 0.1
        # Nothing of what stood in the hole is left: it was noise.
        assert after[~known].std() < 0.7 * before[~known].std()
