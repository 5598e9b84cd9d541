import csv
import dataclasses
import errno
import json
import os
import pathlib

import numpy as np
import pytest

from gan_transfer import blobs, errors, meta_database, meta_records

ROOT = pathlib.Path(__file__).parents[2]
START = {"block1_conv/kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}


def weights(seed=0):
    draws = np.random.default_rng(seed)
    return {
        "generator/head_conv/kernel": draws.normal(size=(3, 2, 4)).astype(np.float32),
        "updates": np.int64(7),
        "half": draws.normal(size=5).astype(np.float16),
    }


def task(name="greek-01", seed=0, **changes):
    models = (
        meta_records.StoredModel(
            "reptile", "GAN", {"width": 8, "rate": 0.1}, weights(seed), START
        ),
        meta_records.StoredModel("filter", "SR", {}),
    )
    labels = (
        meta_records.MetaLabel("reptile", 5, 0, "kernel", 0.25 + seed),
        meta_records.MetaLabel("reptile", 5, 10, "kernel", 1 / 3),
        meta_records.MetaLabel("filter", 5, 0, "kernel", 0.5),
    )
    values = {
        "name": name,
        "kind": "generation",
        "descriptor": {"sigma": 0.1 * seed, "group": "Greek"},
        "data": "omniglot_small.npz",
        "data_sha256": "ab" * 32,
        "features": np.float32([seed, 1 / 3, -2]),
        "models": models,
        "labels": labels,
    }
    return meta_records.StoredTask(**values | changes)


@pytest.fixture
def database(tmp_path):
    with meta_database.MetaDatabase.open(tmp_path / "base") as opened:
        yield opened


# --- what is stored comes back -------------------------------------------------------


def test_a_task_comes_back_bit_for_bit(database):
    database.add(task())
    stored, given = database.get("greek-01"), task()
    for field in ("name", "kind", "descriptor", "data", "data_sha256", "labels"):
        assert getattr(stored, field) == getattr(given, field)
    assert stored.features.dtype == np.float32
    assert stored.features.tobytes() == given.features.tobytes()
    reptile, plain = stored.models
    assert (reptile.family, reptile.configuration) == ("GAN", {"width": 8, "rate": 0.1})
    assert (plain.weights, plain.parent) == (None, None)
    for arrays, expected in (
        (database.weights("greek-01", "reptile"), weights()),
        (database.load(reptile.parent), START),
    ):
        assert arrays.keys() == expected.keys()
        for name, array in arrays.items():
            assert array.dtype == np.asarray(expected[name]).dtype
            np.testing.assert_array_equal(array, expected[name])


def test_another_process_may_read_while_this_one_holds_the_database(database):
    database.add(task())
    with meta_database.MetaDatabase.open(database.folder, read_only=True) as other:
        assert [each.name for each in other.tasks()] == ["greek-01"]
        database.add(task("greek-02"))
        assert [each.name for each in other.tasks()] == ["greek-01", "greek-02"]
        with pytest.raises(OSError) as caught:
            other.add(task("greek-03"))
    assert caught.value.errno == errno.EACCES
    assert caught.value.filename == str(database.folder / "tasks.sqlite")


def test_a_write_protected_folder_can_be_read(database, monkeypatch):
    database.add(task())
    database.close()
    assert sorted(os.listdir(database.folder)) == ["blobs", "tasks.sqlite"]
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with meta_database.MetaDatabase.open(database.folder, read_only=True) as other:
        assert other.verify() == []
        assert len(other.tasks()) == 1
    assert sorted(os.listdir(database.folder)) == ["blobs", "tasks.sqlite"]


def test_tasks_are_in_order_and_of_one_kind(database):
    for name, kind in (("b", "restoration"), ("a", "generation"), ("c", "restoration")):
        database.add(task(name, kind=kind))
    assert [each.name for each in database.tasks()] == ["a", "b", "c"]
    assert [each.name for each in database.tasks("restoration")] == ["b", "c"]


def test_equal_weights_are_stored_once_and_may_be_named_by_address(database):
    database.add(task())
    before = sorted(os.listdir(database.folder / "blobs"))
    assert len(before) == 2
    first = database.get("greek-01")
    database.add(dataclasses.replace(first, name="greek-02"))
    database.add(task("greek-03"))
    assert sorted(os.listdir(database.folder / "blobs")) == before
    assert database.get("greek-02").models[0].weights == first.models[0].weights


def test_a_name_is_replaced_only_on_demand(database):
    database.add(task())
    with pytest.raises(errors.InputError, match="'greek-01' already; replace it"):
        database.add(task(seed=1))
    assert database.get("greek-01").labels == task().labels
    database.add(task(seed=1, models=task().models[1:], labels=()), replace=True)
    stored = database.get("greek-01")
    assert [each.algorithm for each in stored.models] == ["filter"]
    assert stored.labels == () and stored.descriptor["sigma"] == 0.1
    assert len(database.tasks()) == 1
    assert len(database.verify()) == len(database.collect()) == 2


# --- what cannot be stored -----------------------------------------------------------


def change(field, **changes):
    """The first model or label of a task, changed."""
    first, *rest = getattr(task(), field)
    return {field: (dataclasses.replace(first, **changes), *rest)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "give it a name"),
        ({"kind": "music"}, "of the kind 'music'; .* generation, restoration"),
        ({"descriptor": {"sigma": float("nan")}}, "cannot be stored as JSON"),
        ({"descriptor": {"sigma": np.float32(1)}}, "cannot be stored as JSON"),
        ({"features": np.ones((2, 2))}, r"features of shape \(2, 2\)"),
        ({"features": np.float32([np.inf])}, "finite numbers"),
        (change("labels", value=float("nan")), "kernel of reptile is nan; leave"),
        (change("labels", algorithm="maml"), "has no model .*FOREIGN KEY"),
        (change("labels", steps=10), "is there twice"),
        (change("models", algorithm="filter"), "is there twice"),
        (change("models", configuration={"net": {1}}), "cannot be stored as JSON"),
        (change("models", weights={"w": np.array([None])}), "'w' has the type object"),
        (change("models", parent="00" * 32), "these weights are missing"),
    ],
)
def test_what_cannot_be_stored_is_refused_as_a_whole(database, changes, message):
    with pytest.raises(errors.InputError, match=message) as caught:
        database.add(task(**changes))
    assert "\n" not in str(caught.value)
    assert database.tasks() == []
    database.add(task())


# --- nearest, verify, export ---------------------------------------------------------


def test_nearest_is_what_brute_force_finds(database):
    draws = np.random.default_rng(0)
    known = {}
    for number in range(9):
        descriptor = {
            "sigma": float(draws.uniform()),
            "angle": float(draws.uniform(0, 9)),
            "group": "ab"[number % 2],
        }
        features = draws.normal(0, [1, 5, 9], 3).astype(np.float32)
        known[f"t{number}"] = descriptor, features
        database.add(task(f"t{number}", descriptor=descriptor, features=features))
    database.add(task("other", kind="restoration"))
    here = {"sigma": 0.4, "angle": 3.0, "group": "b"}
    vector = np.float32([0.5, -3, 2])
    spread = {
        key: np.std([each[key] for each, _ in known.values()])
        for key in ("sigma", "angle")
    }
    spreads = np.std([each for _, each in known.values()], axis=0, dtype=np.float64)
    first, second = {}, {}
    for name, (descriptor, features) in known.items():
        parts = [((descriptor[k] - here[k]) / s) ** 2 for k, s in spread.items()]
        first[name] = np.mean([*parts, descriptor["group"] != "b"])
        second[name] = np.mean(((features.astype(float) - vector) / spreads) ** 2)
    both = {name: first[name] + second[name] for name in known}
    for given, squares in (
        ({"descriptor": here}, first),
        ({"features": vector}, second),
        ({"descriptor": here, "features": vector}, both),
    ):
        found = database.nearest("generation", count=4, **given)
        assert [name for name, _ in found] == sorted(squares, key=squares.get)[:4]
        for name, distance in found:
            assert distance == pytest.approx(np.sqrt(squares[name]), rel=1e-6)
    with pytest.raises(errors.InputError, match="a descriptor or features to compare"):
        database.nearest("generation")


def test_nothing_stored_is_near(database):
    with pytest.raises(errors.InputError, match="0 restoration tasks to compare with"):
        database.nearest("restoration", descriptor={"sigma": 1.0})


def test_unknown_tasks_and_algorithms_are_refused(database):
    database.add(task())
    with pytest.raises(errors.InputError, match="base holds no task 'latin'"):
        database.get("latin")
    with pytest.raises(errors.InputError, match="no weights of 'filter'; .* reptile"):
        database.weights("greek-01", "filter")


def test_missing_and_changed_weights_are_found(database):
    database.add(task())
    address = database.get("greek-01").models[0].weights
    path = blobs.path_of(database.folder / "blobs", address)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    for look in (database.verify, lambda: database.weights("greek-01", "reptile")):
        with pytest.raises(errors.InputError, match=f"{address}.npz: damaged"):
            look()
    path.unlink()
    with pytest.raises(errors.InputError, match=f"{address}.npz: these weights are m"):
        database.verify()
    database.add(task("greek-02"))
    assert path.read_bytes() == content and database.verify() == []


def test_exports_have_every_row(database, tmp_path):
    database.add(task())
    database.add(task("greek-02", 1, features=None, models=(), labels=()))
    database.export(tmp_path / "all.jsonl")
    first, second = map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())
    assert first["features"] == task().features.tolist()
    assert first["models"][0]["weights"] == database.get("greek-01").models[0].weights
    assert first["labels"][1]["value"] == 1 / 3
    assert (second["features"], second["models"]) == (None, [])
    database.export(tmp_path / "all.csv")
    with open(tmp_path / "all.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["value"]) for row in rows] == [0.25, 1 / 3, 0.5]
    assert json.loads(rows[0]["descriptor"]) == task().descriptor
    assert (rows[1]["algorithm"], rows[1]["steps"]) == ("reptile", "10")
    with pytest.raises(errors.InputError, match="all.pickle: exports are .jsonl or"):
        database.export(tmp_path / "all.pickle")
    assert sorted(os.listdir(tmp_path)) == ["all.csv", "all.jsonl", "base"]
