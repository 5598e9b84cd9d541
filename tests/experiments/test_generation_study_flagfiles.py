"""The studies whose cells are runs of other scripts (documents E 2, E 3.3)."""

import json
import pathlib
import re

import numpy as np
import pytest

from experiments.support import cells, figures, generalisation_report, run, systems
from gan_transfer import metrics, pretrained

ROOT = pathlib.Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))
TINY = {
    "generalisation_study": ("--scale=0.0015", "--seeds=1", "--methods=plain,pruned"),
    "systems_study": ("--scale=0.0002", "--seeds=1", "--methods=non_saturating,vae"),
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("mnist", "fashion_mnist"):
        arrays = {"y_train": np.arange(120) % 10, "y_test": np.arange(60) % 10}
        for part, count in (("train", 120), ("test", 60)):
            pixels = rng.integers(0, 256, (count, 28, 28, 1), np.uint8)
            arrays[f"x_{part}"] = pixels
        np.savez(folder / f"{name}.npz", **arrays)
    return folder


@pytest.fixture(scope="module")
def studied(command, data_dir, tmp_path_factory):
    """Folder of a tiny generalisation study, and what it printed."""
    out = tmp_path_factory.mktemp("study") / "run"
    words = [*TINY["generalisation_study"], "--counts=20", f"--data_dir={data_dir}"]
    words += ["--dataset=fashion_mnist", f"--out_dir={out}"]
    done = command("generalisation_study", *words)
    assert done.returncode == 0, done.stderr
    return out, words, done


@pytest.mark.slow
@pytest.mark.parametrize(
    "flagfile",
    [path for path in FLAGFILES if path.parent.name in TINY],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_flagfile_runs_its_first_cells(command, data_dir, flagfile, tmp_path):
    script = flagfile.parent.name
    words = [f"--flagfile={flagfile}", *TINY[script], f"--data_dir={data_dir}"]
    if script == "generalisation_study":
        words.append("--counts=20")
    else:
        words.append("--datasets=mnist")
    done = command(script, *words, f"--out_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    written = {path.name for path in tmp_path.iterdir()}
    assert written >= {"flags.txt", "summary.json", "table.md", "cells"}
    assert any(name.endswith(".png") for name in written)


def test_study_measures_the_stored_generator(studied, data_dir):
    out, _, _ = studied
    folder = out / "cells" / "plain-20-seed0"
    found = json.loads((folder / "generalisation.json").read_text())
    from experiments.support import judging
    from gan_transfer import data, features

    images = data.load("fashion_mnist", data_dir=data_dir, limit=20, seed=0)
    extractor = judging.extractors(images.test)["pca"]
    fake = data.to_uint8(pretrained.load(folder).generate(5000, seed=2))
    for part, real in (("train", images.train), ("test", images.test)):
        pair = features.extract(extractor, real), features.extract(extractor, fake)
        expected = metrics.kernel_distance(*pair)[0]
        assert found[f"{part}_pca"] == pytest.approx(expected, rel=1e-6)
    assert found["gap_pca"] == found["test_pca"] - found["train_pca"]


def test_pruned_cell_keeps_its_share_of_the_weights(studied):
    out, _, _ = studied
    summary = json.loads((out / "cells" / "pruned-20-seed0/summary.json").read_text())
    density = summary["density"]
    assert density["generator"] == pytest.approx(0.3, abs=0.01)


def test_study_tells_the_updates_of_its_cells(studied):
    out, _, _ = studied
    found = json.loads((out / "summary.json").read_text())["cells"]
    updates = {name: [each["updates"] for each in row] for name, row in found.items()}
    # The last of the three phases is as long as all of a plain run.
    assert updates == {"plain, 20 images": [3], "pruned, 20 images": [9]}


def test_a_seed_that_diverged_is_left_out_of_the_plot(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        figures, "dots", lambda path, series, *rest, **more: drawn.update(series)
    )
    lost, whole = (
        {"outcome": "diverged"},
        {"outcome": "completed", "train_pca": 2.0, "test_pca": 3.0},
    )
    results = {
        ("100", "plain"): [whole, lost],
        ("100", "R1"): [lost, lost],
        ("100", "pruned"): [whole, whole | {"test_pca": 5.0}],
        ("1000", "plain"): [whole],  # none of its other cells could be run
    }
    directory = run.RunDirectory(tmp_path, resumed=False)
    generalisation_report.draw(directory, results, "toy", "pca")
    assert drawn == {
        "100 images, to train": {"plain": [2.0], "R1": [], "pruned": [2.0, 2.0]},
        "100 images, to test": {"plain": [3.0], "R1": [], "pruned": [3.0, 5.0]},
        "1000 images, to train": {"plain": [2.0]},
        "1000 images, to test": {"plain": [3.0]},
    }


def test_finished_cells_are_read_not_run(studied, command):
    out, words, before = studied
    times = {path: path.stat().st_mtime_ns for path in out.rglob("cells/*/*")}
    done = command("generalisation_study", *words)
    assert done.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("cells/*/*")} == times
    table = [line for line in before.stdout.splitlines() if line.startswith("|")]
    assert [line for line in done.stdout.splitlines() if line.startswith("|")] == table


def test_stability_table_of_hand_written_histories(tmp_path):
    histories = {
        "wgan-mnist-seed0": "step,mode_coverage\n1,0.5\n2,0.25\n3,0.9\n",
        "wgan-mnist-seed1": "step,mode_coverage\n1,0.5\n2,0.0\n3,nan\n",
        "vae-mnist-seed0": "step,loss\n1,99\n",
    }
    for name, text in histories.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text(text)

    def found(name, outcomes):
        return {
            seed: (
                cells.Cell(f"{name}-mnist-seed{seed}", "pretrain", "wgan_mnist"),
                {"outcome": outcome, "scores": {}},
            )
            for seed, outcome in outcomes.items()
        }

    ends = {0: "completed", 1: "collapsed", 2: "diverged"}
    results = {
        ("wgan", "mnist"): found("wgan", ends),
        ("lsgan", "mnist"): found("lsgan", {1: "completed"}),  # 0 could not be run
        ("vae", "mnist"): found("vae", {0: "completed"}),
    }
    assert systems.stability(results, tmp_path).splitlines() == [
        "| system | data | seed 0 | seed 1 | seed 2 |",
        "| --- | --- | --- | --- | --- |",
        "| WGAN, clipped weights | mnist | completed, lowest 0.25, last 0.90 | "
        "collapsed, lowest 0.00, last 0.00 | diverged |",
        "| LSGAN | mnist | - | completed | - |",
        "| VAE, dense | mnist | completed | - | - |",
    ]


def test_rows_with_images_of_their_own_have_the_scores_that_there_are(tmp_path):
    colour = {"pca_kernel_bsds500_train_50": 1.5, "precision_pca_bsds500_train_50": 0.5}
    pairs = {"forward_truth_l1": 0.25, "forward_kcd_outline_5k": 0.5}
    results = {}
    for name, dataset, scores in (
        ("document_b", "bsds500_train", colour),
        ("cyclegan", "mnist to outline", pairs),
    ):
        summary = {"outcome": "completed", "dataset": dataset, "scores": scores}
        cell = cells.Cell(f"{name}-seed0", "pretrain", "any")
        results[name, None] = {0: (cell, summary)}
    header, _, *rows = systems._table(results, tmp_path).splitlines()
    names = [each.strip() for each in header.split("|")]
    found = [
        dict(zip(names, (each.strip() for each in row.split("|")), strict=True))
        for row in rows
    ]
    targets = [
        "`make pretrain-document-b-256`",
        "`make pretrain-cyclegan-mnist-outline`",
    ]
    assert [row["make target"] for row in found] == targets
    assert [row["data"] for row in found] == ["bsds500_train", "mnist to outline"]
    assert [row["kernel, pixels"] for row in found] == ["1.5", "-"]
    assert [row["precision, pixels"] for row in found] == ["0.5", "-"]
    assert [row["error to the truth"] for row in found] == ["-", "0.25"]
    assert {row["fcd"] + row["pca"] for row in found} == {"--"}
    assert found[1]["pictures"] == "[grid](cells/cyclegan-seed0/samples.png)"


def test_unknown_rows_are_refused(command, tmp_path):
    for script, words, said in (
        ("systems_study", "--methods=wgan,typo", "--methods=typo: should be among"),
        ("systems_study", "--datasets=mnist,a/b.npz", "--datasets=a/b.npz: give names"),
        ("systems_study", "--datasets=mine.npz", "--datasets=mine.npz: give names"),
        ("generalisation_study", "--methods=typo", "--methods=typo: should be among"),
        ("generalisation_study", "--counts=few", "--counts=few: should be numbers"),
    ):
        done = command(script, words, f"--out_dir={tmp_path / 'out'}")
        assert done.returncode == 1
        assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_lengths_follow_the_flagfile():
    cell = cells.Cell("any", "pretrain", "mnist")
    assert cell.lengths(1.0) == ("--steps=5500", "--evaluations=11")
    assert cell.lengths(0.1) == ("--steps=550", "--evaluations=11")
    assert cell.lengths(0.0002) == ("--steps=1", "--evaluations=1")


def test_no_flag_is_defined_twice():
    """All scripts must be importable into one process: notebooks, tests, tools."""
    names = [
        name
        for path in sorted((ROOT / "experiments").rglob("*.py"))
        for name in re.findall(r'DEFINE_\w+\(\s*"(\w+)"', path.read_text())
    ]
    assert [name for name in names if names.count(name) > 1] == []
