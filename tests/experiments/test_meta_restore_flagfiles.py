"""The flagfiles of the restoration study, run briefly; its table, CSV, cells."""

import csv
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments.support import (
    meta_adaptation,
    meta_restoration,
    meta_restoration_study,
    meta_study,
)
from gan_transfer import meta_database
from restoration import meta_networks

ROOT = pathlib.Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))
TINY = {
    "meta_restore": (
        *("--steps=2", "--evaluations=1", "--seeds=1", "--tasks=8", "--noverbose"),
        *("--test_tasks=4", "--stored_tasks=4", "--validation_tasks=4"),
    ),
}
FOLDERS = ("bsds500_train", "bsds500_test", "bsd68_gray")
QUICK = ROOT / "experiments" / "flags" / "meta_restore" / "quick.flags"


@pytest.fixture(scope="module", autouse=True)
def brief():
    """Few steps, rates and images, small networks and pictures."""
    with pytest.MonkeyPatch.context() as patched:
        shorten(patched)
        yield


def shorten(monkeypatch):
    monkeypatch.setattr("experiments.meta_restore._DRAWN", 2)
    monkeypatch.setattr("experiments.meta_restore._SIDE", 64)
    monkeypatch.setattr(meta_adaptation, "EXAMPLES", (1, 2))
    monkeypatch.setattr(meta_adaptation, "STEPS", (0, 1, 2))
    monkeypatch.setattr(meta_adaptation, "LONG", 3)
    monkeypatch.setattr(meta_adaptation, "CHOSEN_AT", 2)
    monkeypatch.setattr(meta_adaptation, "RATES", {"sgd": (0.01,), "adam": (1e-3,)})
    monkeypatch.setattr(meta_restoration, "SHOTS", 2)
    monkeypatch.setattr(meta_restoration, "QUERY", 2)
    monkeypatch.setattr(meta_restoration_study, "SHOWN", (2,))
    drawn = meta_restoration_study.DRAWN[-1:]
    monkeypatch.setattr(meta_restoration_study, "DRAWN", drawn)
    small = meta_networks.meta_cnn
    monkeypatch.setattr(meta_networks, "meta_cnn", lambda **given: small(4, **given))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name in FOLDERS:
        place = folder / "restoration" / name
        place.mkdir(parents=True)
        for number in range(2):
            pixels = np.random.default_rng(number).integers(0, 256, (64, 70), np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def run(command, folder, *words, flagfile=QUICK):
    words = [f"--flagfile={flagfile}", *TINY["meta_restore"], *words]
    done = command("meta_restore", *words, f"--out_dir={folder}")
    assert done.returncode == 0, done.stderr
    return done


def cells_of(folder):
    found = [
        json.loads(path.read_text()) for path in sorted(folder.glob("seed0/cells/*"))
    ]
    # Times differ from run to run.
    return [{k: v for k, v in cell.items() if k != "seconds"} for cell in found]


@pytest.mark.slow
@pytest.mark.parametrize(
    "flagfile",
    [path for path in FLAGFILES if path.parent.name in TINY],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_flagfile_runs_briefly_and_leaves_its_artefacts(
    command, data_dir, flagfile, tmp_path
):
    run(command, tmp_path, f"--data_dir={data_dir}", flagfile=flagfile)
    check_artefacts(tmp_path)


@pytest.mark.slow
def test_fully_connected_network_is_meta_learned_too(command, data_dir, tmp_path):
    run(command, tmp_path, f"--data_dir={data_dir}", "--model=meta_nn")
    check_artefacts(tmp_path)
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert all("meta_nn" in line for line in lines if line.startswith("unseen "))


def check_artefacts(folder):
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary["verdict"]) == set(meta_restoration_study.PARTS)
    plots = [f"results_{p}_{n}.png" for p in meta_restoration_study.PARTS for n in (1,)]
    for name in ("pictures.png", *plots):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 60, name
            assert picture.convert("L").getextrema() != (255, 255), name


@pytest.fixture(scope="module")
def finished(command, data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "run"
    run(command, folder, "--inner=head")
    return folder


def test_study_leaves_its_artefacts(finished):
    check_artefacts(finished)
    seconds = json.loads((finished / "summary.json").read_text())
    seconds = seconds["seconds_to_adapt_to_a_task"]
    assert seconds.keys() == {
        f"{method}, {examples} examples"
        for method in meta_restoration_study.STARTS
        for examples in (1, 2)
    }
    assert min(seconds.values()) > 0


def test_trained_starts_load_from_the_run_with_equal_outputs(finished):
    image = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    folder = finished / "database" / "seed0"
    with meta_database.MetaDatabase.open(folder, read_only=True) as database:
        parents = {
            model.algorithm: database.load(model.parent)
            for model in database.tasks("restoration")[0].models
            if model.parent
        }
    assert parents.keys() == {"pretraining", "maml", "reptile"}
    for method, weights in parents.items():
        path = finished / "seed0" / method / "network.keras"
        network = meta_networks.meta_cnn()
        network.set_weights([weights[name] for name in sorted(weights)])
        loaded = keras.saving.load_model(path)
        np.testing.assert_array_equal(loaded(image), network(image))


@pytest.mark.slow
def test_killed_and_resumed_study_ends_like_one_that_was_not(
    command, finished, tmp_path, monkeypatch
):
    if not finished.exists():
        run(command, finished, "--inner=head")
    broken, measured = tmp_path / "killed", meta_study.measured

    def killed(directory, cell, measure):
        if (cell.part, cell.method) == ("unseen_kinds", "nearest"):
            raise KeyboardInterrupt
        return measured(directory, cell, measure)

    with monkeypatch.context() as patch:
        patch.setattr(meta_study, "measured", killed)
        words = [f"--flagfile={QUICK}", *TINY["meta_restore"], "--inner=head"]
        done = command("meta_restore", *words, f"--out_dir={broken}")
        assert done.returncode == 130
    before = {path.name for path in broken.glob("seed0/cells/*")}
    assert 0 < len(before) < len(cells_of(finished))
    run(command, broken, "--inner=head")
    assert cells_of(broken) == cells_of(finished)
    for name in ("table.md", "results.csv", "pictures.png"):
        assert (broken / name).read_bytes() == (finished / name).read_bytes(), name


def test_table_and_csv_hold_the_means_of_the_cells(finished):
    table = (finished / "table.md").read_text().splitlines()
    heads = [each.strip() for each in table[2].split("|")[1:-1]]
    assert heads == ["examples", "steps", *meta_restoration_study.COLUMNS]
    cells = {
        (cell["part"], cell["method"], cell["examples"]): cell["values"]
        for cell in cells_of(finished)
    }
    rows = {}
    for line in table[4:]:
        if not line.startswith("|"):
            break
        examples, steps, *texts = (each.strip() for each in line.split("|")[1:-1])
        rows[int(examples), int(steps)] = dict(zip(heads[2:], texts, strict=True))
    assert set(rows) == {(0, 0), *((n, s) for n in (1, 2) for s in range(4))}
    for (examples, steps), row in rows.items():
        for method, text in row.items():
            cell = cells.get(("unseen_strengths", method, examples), {})
            found = cell.get(str(steps))
            assert text == ("-" if found is None else f"{np.mean(found):.2f}")
    with open(finished / "results.csv", newline="") as stream:
        written = list(csv.DictReader(stream))
    assert len(written) == sum(
        len(row) for values in cells.values() for row in values.values()
    )
    first = written[0]
    values = cells[first["part"], first["method"], int(first["examples"])]
    assert float(first["value"]) == values[first["steps"]][0]


def test_database_holds_models_labels_and_what_the_predictor_chose(finished):
    folder = finished / "database" / "seed0"
    with meta_database.MetaDatabase.open(folder, read_only=True) as database:
        stored = database.tasks("restoration")
        assert len(stored) == 4 and database.verify() == []
        methods = {model.algorithm for model in stored[0].models}
        assert methods == {"filter", "pretraining", "maml", "reptile"}
        # The baseline always adapts all layers, the others what --inner says.
    inners = {model.algorithm: model.configuration for model in stored[0].models}
    assert {name: each.get("inner") for name, each in inners.items()} == {
        "filter": None,
        **{"pretraining": "all", "maml": "head", "reptile": "head"},
    }
    # The filter for 1 and 2 examples, three methods for as many and 3 steps.
    assert [len(task.labels) for task in stored] == [2 + 3 * 2 * 3] * 4
    cells = {
        (cell["part"], cell["method"], cell["examples"]): cell["values"]
        for cell in cells_of(finished)
    }
    for number, value in enumerate(cells["unseen_kinds", "predictor", 2]["1"]):
        possible = [
            cells["unseen_kinds", method, 2]["0" if method == "filter" else "1"][number]
            for method in methods
        ]
        assert value in possible


def test_equal_budgets_in_gradients_of_ten_images():
    budgets = {
        name: way.updates(60, False) * way.gradients(False)
        for name, way in meta_restoration.TRAININGS.items()
    }
    full = 60 * (meta_restoration.INNER_STEPS + 1)
    assert budgets["pretraining"] == budgets["descriptor"] == full
    for name in ("maml", "reptile"):
        assert budgets["warm"] + budgets[name] == full
    # A second derivative costs as much as two gradients.
    maml = meta_restoration.TRAININGS["maml"]
    assert maml.gradients(True) == 3 * meta_restoration.INNER_STEPS + 1


def held(count):
    """Tasks whose every pixel is the task's number."""
    pixels = np.full((4, 8, 8, 1), 1, np.float32)
    return [
        meta_restoration.Held(f"{n}", "group", {}, (n * pixels, n * pixels))
        for n in range(count)
    ]


def test_pretraining_mixes_as_many_tasks_as_it_is_shown_images():
    ways = meta_restoration.TRAININGS
    count = meta_restoration.TASKS * meta_restoration.SHOTS
    stream = meta_restoration._batches(ways["pretraining"], held(count + 5), 0)
    _, (damaged, clean) = next(iter(stream(0)))
    assert damaged.shape == clean.shape == (1, count, 8, 8, 1)
    numbers = damaged.numpy()[0, :, 0, 0, 0]
    assert len(set(numbers)) == count
    stream = meta_restoration._batches(ways["maml"], held(count + 5), 0)
    for part in next(iter(stream(0))):
        shape = (meta_restoration.TASKS, meta_restoration.SHOTS, 8, 8, 1)
        assert part[0].shape == shape


def test_learned_rates_move_fifty_times_as_fast_as_weights():
    keras.utils.set_random_seed(0)
    network = meta_restoration.build("meta_cnn", "all")
    learner = meta_restoration.learner("maml", network, 0)
    meta_restoration._compile("maml", learner, "all", None, False, 10)
    before = learner.network.get_weights()
    draw = np.random.default_rng(0).uniform(0, 1, (2, 2, 2, 8, 8, 1))
    support, query = (tuple(np.float32(part)) for part in draw[:, :, None])
    learner.train_step(tuple(tuple(map(tf.constant, p)) for p in (support, query)))
    after = learner.network.get_weights()
    moved = max(np.abs(a - b).max() for a, b in zip(after, before, strict=True))
    # The first step of Adam is its rate for whatever has a gradient.
    assert np.abs(learner.log_rates).max() == pytest.approx(50 * moved, rel=0.01)


def test_equal_compute_needs_a_task_for_every_image(command, tmp_path):
    done = command("meta_restore", "--tasks=7", f"--out_dir={tmp_path / 'out'}")
    assert done.returncode == 1
    assert "--tasks=7: should be at least 8" in done.stderr
    assert not (tmp_path / "out").exists()


def test_pictures_of_the_training_are_not_tested_on(refused, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    flags = "--photographs={0}/a --photographs={0}/b --test_photographs={0}/c/../b"
    (tmp_path / "c").mkdir()
    part = f"{tmp_path}/b is among --photographs and --test_photographs"
    refused("meta_restore " + flags.format(tmp_path), part)
    mixed = f"--test_photographs={tmp_path}/a --test_photographs=synthetic"
    refused(f"meta_restore {mixed}", "'synthetic' not found")
