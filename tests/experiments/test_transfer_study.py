"""The transfer study: measures and runs that stop (documents A 6.1, B 6)."""

import json

import numpy as np
import pytest

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


def test_all_cells_have_the_measure_of_the_smallest_reference(study, tmp_path):
    # 1,010 images are left to measure with, and 970.
    done = study("--counts=10,50", "--seeds=1", "--methods=scratch")
    assert done.returncode == 0, done.stderr
    assert all("kernel_pca" in cell for cell in cells(tmp_path))
    assert "| images | method | kernel_pca |" in done.stdout.splitlines()
