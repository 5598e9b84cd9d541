"""How the restoration study adapts, stores and predicts; what it refuses."""

import re
import sqlite3

import keras
import numpy as np
import pytest

from experiments.support import (
    meta_adaptation,
    meta_restoration,
    run,
)
from gan_transfer import meta_database, meta_records
from restoration import meta_networks, synthetic


@pytest.fixture(scope="module")
def tasks():
    """Four damages of small drawn pictures, 24 examples each."""
    pictures = list(synthetic.dead_leaves(2, 64, 1, seed=0))
    return meta_restoration.draw(pictures, "train", 4, 0, "meta_cnn")


@pytest.mark.parametrize("optimizer", meta_adaptation.RATES)
def test_only_what_a_way_names_adapts(tasks, optimizer):
    network = meta_networks.meta_cnn(4)
    tester = meta_adaptation.Tester(network, ("all", "head"))
    start = meta_adaptation.Start(network.get_weights(), [])
    support, _ = meta_adaptation.split(tasks[:1], 2)[0]
    names, moved = [v.path for v in network.trainable_variables], {}
    for inner in ("all", "head"):
        ways = tester.plain_ways(inner)
        assert {way.inner for way in ways} == {inner}
        way = next(way for way in ways if way.optimizer == optimizer)
        found = tester.adapted(start, way, support, 2).get_weights()
        moved[inner] = {
            name
            for name, old, new in zip(names, start.weights, found, strict=True)
            if not np.array_equal(old, new)
        }
    assert moved["all"] == set(names)
    assert moved["head"] == {name for name in names if name.startswith("head_")}


def test_models_have_the_layers_that_may_adapt():
    for model in meta_restoration.MODELS:
        for inner, pattern in meta_restoration.INNER.items():
            if inner == "gains" and model == "meta_nn":
                continue  # its network cannot even be built with gains
            network = meta_restoration.build(model, inner)
            there = any(
                re.fullmatch(pattern, layer.name) and layer.weights
                for layer in network.layers
            )
            able = model in meta_restoration.INNER_MODELS[inner]
            assert there == able, (model, inner)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--model=meta_nn --inner=gains",
            "--inner=gains is for meta_cnn, restorer_gray, not for meta_nn",
        ),
        (
            "--model=meta_iterative --inner=head",
            "--inner=head is for meta_cnn, meta_nn, meta_sparse, restorer_gray, not "
            "for meta_iterative",
        ),
    ],
)
def test_a_combination_that_cannot_work_is_refused(command, tmp_path, words, message):
    done = command("meta_restore", *words.split(), f"--out_dir={tmp_path / 'run'}")
    assert (done.returncode, done.stderr) == (1, f"error: {message}\n")
    assert not (tmp_path / "run").exists()


class Killed(BaseException):
    """Like SIGKILL: nothing in the packages may catch it."""


class Stub:
    """Adapts nothing, measures 20 dB, is killed at the n-th task to adapt to."""

    def __init__(self, calls):
        self.calls, self.network = calls, keras.Sequential([keras.layers.Dense(1)])
        self.network.build((None, 1))

    def adapted(self, start, way, support, steps):
        self.calls -= 1
        if self.calls == 0:
            raise Killed
        return self.network

    def measure(self, start, way, pairs, steps):
        return np.full((len(pairs), len(steps)), 20.0)


def rows(folder):
    with sqlite3.connect(folder / "tasks.sqlite") as connection:
        return connection.execute("SELECT rowid, * FROM task ORDER BY rowid").fetchall()


def test_a_database_that_was_being_filled_keeps_its_rows(tasks, tmp_path):
    way = meta_adaptation.Way("sgd", [0.0], "all")
    examples = meta_adaptation.EXAMPLES

    def fill(calls):
        tester = Stub(calls)
        start = meta_adaptation.Start(tester.network.get_weights(), [way])
        meta_adaptation.fill(
            *(tmp_path / "database", tasks, tester, {"maml": start}),
            {("maml", count): way for count in examples},
            dict.fromkeys(examples, 1e-3),
            {"model": "meta_cnn"},
            "drawn",
        )

    with pytest.raises(Killed):
        fill(3)
    before = rows(tmp_path / "database")
    assert len(before) == 2
    fill(3)  # Two tasks are missing: the third call never comes.
    after = rows(tmp_path / "database")
    assert after[:2] == before and len(after) == 4
    fill(1)
    assert rows(tmp_path / "database") == after
    with meta_database.MetaDatabase.open(tmp_path / "database") as database:
        assert database.verify() == []
        stored = database.tasks("restoration")
    assert [task.name for task in stored] == sorted(task.name for task in tasks)
    label = meta_records.MetaLabel("maml", 1, 5, meta_adaptation.METRIC, 20.0)
    assert all(label in task.labels for task in stored)


def test_an_overwritten_run_begins_a_new_database_and_a_resumed_one_does_not(tmp_path):
    configuration = {"seeds": "1"}
    for overwrite, kept in ((False, True), (True, False)):
        run.RunDirectory.open(tmp_path, configuration)
        places = [tmp_path / "database", tmp_path / "database" / "seed0"]
        for place in places:
            with meta_database.MetaDatabase.open(place):
                pass
        run.RunDirectory.open(tmp_path, configuration, overwrite)
        found = [(place / "tasks.sqlite").exists() for place in places]
        assert found == [kept] * 2


def test_the_predictor_chooses_by_the_damaged_examples_alone():
    """Dark images want `pretraining`, bright ones `maml`; descriptors say nothing."""

    def stored(number):
        level = 0.2 + 0.1 * number
        image = np.full((1, 8, 8, 1), level, np.float32)
        labels = tuple(
            meta_records.MetaLabel(method, 2, step, meta_adaptation.METRIC, value)
            for method, value in (("pretraining", 20 - level), ("maml", 19 + level))
            for step in meta_adaptation.STEPS
        )
        return meta_records.StoredTask(
            *(f"t{number}", "restoration", {"sigma": -level}, "", ""),
            features=meta_adaptation.look(image),
            labels=labels,
        )

    class Database:
        """Holds tasks as a `MetaDatabase` does."""

        def tasks(self, kind):
            return [stored(number) for number in range(7)]

    images = [np.full((1, 8, 8, 1), level, np.float32) for level in (0.3, 0.7)]
    pairs = [((image, image), (image, image)) for image in images]
    values = {
        method: {step: [shift + step, shift + step] for step in meta_adaptation.STEPS}
        for method, shift in (("pretraining", 0), ("maml", 100))
    }
    found = meta_adaptation.predicted(Database(), pairs, values, 2)
    assert found == {step: [step, 100 + step] for step in meta_adaptation.STEPS}


def test_the_look_of_a_damage_in_closed_form():
    grey = np.full((2, 16, 8, 1), 0.5, np.float32)
    found = meta_adaptation.look(grey)
    np.testing.assert_allclose(found[0], np.log(64 * 0.25), rtol=1e-5)
    np.testing.assert_allclose(found[1:64], np.log(1e-6), atol=1e-3)
    assert found[64:].tolist() == [0, 0]
    struck = grey.copy()
    struck[0, :4], struck[1, :, :2] = 0, 1
    np.testing.assert_allclose(meta_adaptation.look(struck)[64:], [1 / 8, 1 / 8])
    # An orthonormal transform leaves white noise white.
    noise = np.random.default_rng(0).normal(0, 0.1, (500, 16, 16, 1))
    np.testing.assert_allclose(
        meta_adaptation.look(np.float32(noise))[:64], np.log(0.01 + 1e-6), atol=0.2
    )
