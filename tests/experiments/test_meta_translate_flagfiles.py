"""The flagfiles of few-shot translation: run briefly, stopped, resumed, recomputed."""

import csv
import json
import pathlib

import keras
import numpy as np
import pytest

from experiments.support import meta_reptile, meta_study, meta_translation
from gan_transfer import cyclic, tasks, translation_tasks

ROOT = pathlib.Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))
TINY = {
    "meta_translate": (
        *("--steps=4", "--batch_size=4", "--evaluations=1", "--width=4", "--noverbose"),
        *("--shots=1,5", "--adaptation=1,2", "--tasks=8", "--test_tasks=5"),
        "--validation_tasks=4",
    )
}
MINE = [path for path in FLAGFILES if path.parent.name in TINY]
REPORT = {"flags.txt", "summary.json", "table.md", "results.csv", "pictures.png"}
REPORT |= {"error_1.png", "error_5.png"}


RATES = (3e-3,)


@pytest.fixture(autouse=True)
def one_rate(monkeypatch):
    """Every rate is a graph to trace."""
    monkeypatch.setattr(meta_translation, "RATES", RATES)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    np.savez(
        folder / "mnist.npz",
        x_train=generator.integers(0, 256, (60, 28, 28), np.uint8),
        x_test=generator.integers(0, 256, (60, 28, 28), np.uint8),
    )
    np.savez(folder / "odd.npz", x=np.zeros((60, 26, 26), np.uint8))
    return folder


def rows_of(folder):
    with open(folder / "results.csv", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    "flagfile",
    [
        pytest.param(path, marks=[pytest.mark.slow] * ("quick" in path.stem))
        for path in MINE
    ],
    ids=lambda path: path.stem,
)
def test_flagfile_runs_and_a_missing_cell_is_found_again(
    command, data_dir, tmp_path, flagfile
):
    words = (f"--flagfile={flagfile}", *TINY["meta_translate"])
    words += (f"--data_dir={data_dir}", f"--out_dir={tmp_path}")
    done = command("meta_translate", *words)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} >= REPORT
    unseen = json.loads((tmp_path / "summary.json").read_text())["unseen"]
    assert unseen == [translation_tasks.split(5, 0)[1]]
    rows = rows_of(tmp_path)
    methods = meta_reptile.METHODS
    assert len(rows) == 5 * 2 * (len(meta_translation.CONTROLS) + 3 * len(methods))
    assert all(0 < float(row["value"]) < 1 for row in rows)
    # The controls, from the data alone.
    with np.load(data_dir / "mnist.npz") as archive:
        pixels = archive["x_test"][..., None]
    drawn = translation_tasks.draw(pixels, unseen[0], 5, 20, 0)
    for task, row in zip(drawn, rows, strict=False):
        (_, given), (shown, _) = tasks.split(task, 1, 10, 0)
        assert (row["method"], row["examples"]) == ("untranslated", "1")
        error = np.abs(shown - task.mapping(shown)).mean(dtype="float64") / 2
        assert float(row["value"]) == pytest.approx(error, rel=1e-5)
    check_rates(tmp_path)
    # Both ways and both discriminators of a trained start can be loaded.
    kept = tmp_path / "seed0" / "reptile"
    assert {path.stem for path in kept.glob("*.keras")} == set(cyclic.NETWORKS[:4])
    translator = keras.saving.load_model(kept / "forward_generator.keras")
    assert translator(np.zeros((2, 28, 28, 3), np.float32)).shape == (2, 28, 28, 3)
    cell = meta_study.Cell(0, meta_translation.PART, "reptile", 5)
    (path,) = tmp_path.rglob(f"*-{cell.method}-{cell.examples}.json")
    before = json.loads(path.read_text())
    assert len(before["rates"]) == 2
    path.unlink()
    again = command("meta_translate", *words)
    assert again.returncode == 0, again.stderr
    after = json.loads(path.read_text())
    assert after["rates"] == before["rates"]
    for step, values in before["values"].items():
        np.testing.assert_allclose(after["values"][step], values, atol=1e-5)


def check_rates(folder):
    """Every trained method and scratch have a rate for each budget."""
    rates = json.loads((folder / "summary.json").read_text())["rates"]
    assert set(rates) == {
        f"{method}, {shots} examples, seed 0"
        for method in meta_reptile.METHODS
        for shots in (1, 5)
    }
    assert {rate for row in rates.values() for rate in row} <= set(RATES)


class Missing(meta_translation.Study):
    """Tasks are numbers; a rate misses each by its own amount."""

    wrong = {3e-4: (0.1, np.nan), 1e-3: (0.3, 0.3), 3e-3: (0.2, 0.1)}

    def _missed(self, method, task, shots, steps, rate=None):
        return self.wrong[rate][steps - 1] + task


def test_rates_are_those_of_the_lowest_finite_error_on_validation_tasks(monkeypatch):
    monkeypatch.setattr(meta_translation, "RATES", (3e-4, 1e-3, 3e-3))
    settings = meta_translation.Settings(4, 1, (1,), (0, 1, 2))
    study = Missing(None, settings, [], [1, 2], [], 0)
    assert study._chosen_rates("scratch", 1) == [3e-4, 3e-3]


def test_bad_input_is_refused_before_anything_is_written(command, data_dir, tmp_path):
    place = tmp_path / "run"
    for words, message in (
        (("--dataset=odd",), "images are 26x26, and translators need sides"),
        (("--shots=5,1",), "--shots=5,1: give rising numbers from 1 on up to 10"),
        (("--adaptation=0",), "--adaptation=0: give rising numbers from 1 on"),
    ):
        done = command(
            "meta_translate", *words, f"--data_dir={data_dir}", f"--out_dir={place}"
        )
        assert done.returncode == 2 and message in done.stderr
        assert not place.exists()
