"""The transfer study: measures and runs that stop (documents A 6.1, B 6)."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.support import generation

SHORT = ("--steps=2", "--evaluations=1", "--batch_size=4", "--noverbose")


@pytest.fixture
def study(command, material, tmp_path):
    """Runs a study in `tmp_path / "run"` on 1,020 grey images."""
    draws = np.random.default_rng(0)
    np.savez(tmp_path / "many.npz", x=draws.integers(0, 256, (1020, 16, 16), np.uint8))

    def run(*words):
        return command(
            *("transfer_study", f"--source={material}/tiny.gan.npz", *SHORT, *words),
            *(f"--dataset={tmp_path}/many.npz", f"--out_dir={tmp_path}/run"),
        )

    return run


def cells(folder):
    return json.loads((folder / "run" / "summary.json").read_text())["cells"]


def test_all_cells_have_one_measure_also_those_added_later(study, tmp_path):
    # 1,010 images are left to measure with, and 970; 102 are the test part.
    for counts in ("10", "10,50"):
        done = study(f"--counts={counts}", "--seeds=1", "--methods=scratch")
        assert done.returncode == 0, done.stderr
        assert len(cells(tmp_path)) == len(counts.split(","))
        assert all("kernel_pca" in cell for cell in cells(tmp_path))
        assert "| images | method | kernel_pca | runs |" in done.stdout.splitlines()


def test_a_cell_that_diverges_is_in_the_table_and_the_study_goes_on(
    study, tmp_path, monkeypatch
):
    whole = generation.settings_with

    def spoiled(augment):
        settings = whole(augment)
        if augment == "none":
            return dataclasses.replace(settings, learning_rate=1e38)
        return settings

    monkeypatch.setattr(generation, "settings_with", spoiled)
    words = ("--counts=10", "--seeds=1", "--methods=scratch,scratch+augmentation")
    done = study(*words)
    assert done.returncode == 0, done.stderr
    lost, kept = cells(tmp_path)
    assert lost == {"method": "scratch", "count": 10, "seed": 0, "outcome": "diverged"}
    assert kept["outcome"] == "completed" and kept["step"] == 2
    rows = [line for line in done.stdout.splitlines() if line.startswith("| 10 |")]
    assert rows[0] == "| 10 | scratch | - | 1 diverged |"
    distance = f"{kept['kernel_pca']:.4g}"
    assert rows[1] == f"| 10 | scratch+augmentation | {distance} | 1 completed |"
    assert "10 images: no verdict without both controls" in done.stdout
    # A cell that is done is not tried again.
    monkeypatch.setattr(generation, "settings_with", None)
    again = study(*words)
    assert (again.returncode, again.stderr) == (0, "")
    assert rows[0] in again.stdout
