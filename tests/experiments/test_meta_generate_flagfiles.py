"""The flagfiles of few-shot generation: run briefly, killed, resumed, recomputed."""

import csv
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments.support import meta_characters, meta_reptile, meta_stored, meta_vae
from gan_transfer import (
    callbacks,
    data,
    features,
    few_shot_vae,
    meta_database,
    meta_learning,
    metrics,
    pretrained,
)
from gan_transfer.networks import meta

# Input pipelines are traced also where steps run eagerly.
pytestmark = pytest.mark.filterwarnings("ignore:Even though the .tf.config:UserWarning")
ROOT = pathlib.Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))
TINY = {
    "meta_generate": (
        *("--steps=4", "--batch_size=8", "--evaluations=2", "--seeds=1"),
        *("--test_characters=2", "--validation_characters=1", "--noverbose"),
        *("--shots=5", "--adaptation=1,2"),
    )
}
STORED = "--stored_characters"
TINY_GAN, TINY_VAE = ("--gan_width=4",), (f"{STORED}=3",)
SLOW = {"quick", "omniglot_gan_from_mnist"}
MINE = [path for path in FLAGFILES if path.parent.name in TINY]
(FLAGFILE,) = (f"--flagfile={path}" for path in MINE if path.stem == "omniglot")
PARTS = ("bound", "weighted", "kcd", "pca_kernel")
REPORT = {"flags.txt", "summary.json", "table.md", "results.csv", "samples.png"}


@pytest.fixture(scope="module", autouse=True)
def eager():
    """A few steps take less time than tracing one."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def finished(command, characters, tmp_path_factory):
    """An uninterrupted run of all methods, never changed."""
    folder = tmp_path_factory.mktemp("finished")
    done = start(command, characters, folder, FLAGFILE)
    assert done.returncode == 0, done.stderr
    return folder


def start(command, characters, folder, *arguments):
    places = f"--data_dir={characters.parent}", f"--out_dir={folder}"
    gan = any("gan" in each for each in arguments)
    if any("from_mnist" in each for each in arguments):
        fewer = ()  # of the shipped width
    else:
        fewer = TINY_GAN if gan else TINY_VAE
    words = *TINY["meta_generate"], *fewer
    return command("meta_generate", *arguments, *words, *places)


def rows_of(folder):
    with open(folder / "results.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def value(folder, part, method, examples, steps, task=0):
    wanted = dict(part=part, method=method, examples=str(examples), steps=str(steps))
    wanted["task"] = str(task)
    (row,) = [r for r in rows_of(folder) if wanted.items() <= r.items()]
    return float(row["value"])


def split_of(characters):
    return meta_characters.Split.load(str(characters), 0, 2, 1, 3)


@pytest.mark.parametrize(
    "flagfile",
    [
        pytest.param(path, marks=[pytest.mark.slow] * (path.stem in SLOW))
        for path in MINE
    ],
    ids=lambda path: path.stem,
)
def test_flagfile_runs_and_leaves_its_artefacts(
    command, characters, finished, flagfile, monkeypatch, tmp_path
):
    for name in ("TASKS", "INNER_STEPS"):
        monkeypatch.setattr(meta_reptile, name, 2)
    gan, folder = "gan" in flagfile.stem, finished
    if flagfile.stem != "omniglot":
        folder = tmp_path
        done = start(command, characters, folder, f"--flagfile={flagfile}")
        assert done.returncode == 0, done.stderr
    plots = {f"{part}_5.png" for part in PARTS[2 if gan else 0 :]}
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files == REPORT | plots
    methods = {path.name.removesuffix("-seed0") for path in folder.glob("cells/*")}
    chosen = {"omniglot_long": {"scratch", "maml"}, "omniglot_context": {"context"}}
    rows = {"scratch", "reptile"} if gan else {*meta_vae.METHODS, *meta_stored.METHODS}
    wanted = {"pretrain", "warm_up"} | chosen.get(flagfile.stem, rows)
    assert methods == wanted
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["verdicts"]
    adapting = wanted & {"scratch", "pretrain", "maml", "reptile", "nearest"}
    seconds = summary["seconds_to_adapt_to_a_task"]
    assert seconds.keys() == {f"{name}-seed0" for name in adapting}
    assert min(seconds.values()) > 0
    if gan:
        kept = keras.saving.load_model(folder / "cells/reptile-seed0/generator.keras")
        assert kept(np.zeros((2, 64), np.float32)).shape == (2, 28, 28, 1)
        shipped = pretrained.load_gan("mnist").generator.count_params()
        assert (kept.count_params() == shipped) == ("mnist" in flagfile.stem)


@pytest.mark.slow
def test_the_convolutional_network_is_meta_learned_too(command, characters, tmp_path):
    words = "--model=vae_conv", "--methods=pretrain,maml"
    done = start(command, characters, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    kept = keras.saving.load_model(tmp_path / "cells/maml-seed0/network.keras")
    assert any(isinstance(each, keras.layers.Conv2D) for each in kept.layers)
    assert {row["method"] for row in rows_of(tmp_path)} == {"pretrain", "maml"}


def test_numbers_are_those_of_a_recomputation(characters, finished):
    split = split_of(characters)
    keras.utils.set_random_seed(0)
    learner = meta_learning.MAML(meta.dense(28, 1), seed=0)
    learner.compile(
        # A schedule: such an optimizer has no variable for its rate.
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 4)),
        few_shot_vae.MinusBound(16),
        inner_rates={".*": 1.0},
        inner_steps=0,
        inner_optimizer="adam",
    )
    cell = finished / "cells" / "pretrain-seed0"
    callbacks.restore(learner, cell)
    kept = keras.saving.load_model(cell / "network.keras")
    inputs = [split.divided(split.test[0], 5)[0][0], np.ones((5, 16), np.float32)]
    for one, other in zip(kept(inputs), learner.network(inputs), strict=True):
        np.testing.assert_array_equal(one, other)
    rates = json.loads((finished / "summary.json").read_text())["rates"]
    adapter = few_shot_vae.Adapter(learner.network)
    for place, steps in enumerate((1, 2)):
        rate = [rates["pretrain-seed0"][0][place]] * len(adapter.inner.adapting)
        (outcome,) = adapter.outcomes(
            [v.numpy() for v in learner.network.trainable_variables],
            rate,
            *split.divided(split.test[1], 5),
            (steps,),
        )
        found = value(finished, "bound", "pretrain", 5, steps, 1)
        assert found == pytest.approx(outcome.bound, rel=1e-5)
    with np.load(cell / "test.npz") as stored:
        samples = stored["samples"][:, 1, 2].reshape(-1, 28, 28, 1)
    pca, real = features.PixelPCA(split.drawings(), 64), split.held_out(split.test)
    pair = [features.extract(pca, each) for each in (real, samples)]
    expected = metrics.kernel_distance(*pair)[0]
    found = value(finished, "pca_kernel", "pretrain", 5, 2)
    assert found == pytest.approx(expected)


def test_table_has_the_means_and_paired_differences(finished):
    table = (finished / "table.md").read_text()
    both = [value(finished, "bound", "maml", 5, 2, task) for task in range(2)]
    base = [value(finished, "bound", "pretrain", 5, 2, task) for task in range(2)]
    line = next(each for each in table.splitlines() if each.startswith("| 5 | 2 |"))
    assert line.split(" | ")[4] == f"{np.mean(both):.2f}"
    paired = np.subtract(both, base)
    error = paired.std(ddof=1) / 2**0.5
    assert f" | {paired.mean():+.2f} +- {error:.2f} | " in table


def test_a_killed_run_ends_like_the_uninterrupted_one(
    command, characters, finished, monkeypatch, tmp_path
):
    class Killed(BaseException):
        """Like SIGKILL: nothing in the packages may catch it."""

    def dying(owner, name, calls):
        original, seen = getattr(owner, name), []

        def wrapped(*arguments, **named):
            seen.append(1)
            if len(seen) == calls:
                raise Killed
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, wrapped)

    # In the middle of the warm-up, of the database, and of the report.
    places = [(callbacks.FullState, "on_epoch_end", 4), (meta_stored, "_row", 2)]
    for owner, name, calls in places:
        dying(owner, name, calls)
        with pytest.raises(Killed):
            start(command, characters, tmp_path, FLAGFILE)
        monkeypatch.undo()
    done = command("meta_generate", f"--flagfile={tmp_path / 'flags.txt'}")
    assert done.returncode == 0, done.stderr
    assert rows_of(tmp_path) == rows_of(finished)


def test_database_holds_characters_never_trained_on_with_models_and_labels(
    characters, finished
):
    split = split_of(characters)
    with meta_database.MetaDatabase.open(finished / "database") as database:
        assert database.verify() == []
        stored = database.tasks("generation")
        donor = database.weights(stored[0].name, "maml")
    assert {task.name for task in stored} == {task.name for task in split.stored}
    assert [len(task.models) for task in stored] == [3] * 3
    # 0 steps once, then 1 and 2 steps with 5 examples, of three methods.
    assert [len(task.labels) for task in stored] == [9] * 3
    assert len(donor) == 14 and stored[0].features.shape == (64,)
    # The nearest character starts from these, the test from no one else's data.
    assert value(finished, "bound", "nearest", 5, 2) != value(
        finished, "bound", "pretrain", 5, 2
    )


def test_what_learns_from_the_database_is_the_same_alone(
    command, characters, finished, tmp_path
):
    start(command, characters, tmp_path, FLAGFILE, "--methods=nearest,predictor")
    assert all(row in rows_of(finished) for row in rows_of(tmp_path))


def test_split_shares_no_alphabet_and_turns_training_characters(characters):
    split = split_of(characters)
    parts = split.training, split.validation, split.test
    groups = [{task.group for task in part} for part in parts]
    assert len(split.training) == 3 and not {*split.training} & {*split.stored}
    assert not groups[0] & groups[1] and not (groups[0] | groups[1]) & groups[2]
    assert not {task.group for task in split.stored} & (groups[1] | groups[2])
    turned = split.rotated()
    assert len(turned) == 4 * len(split.training)
    np.testing.assert_array_equal(turned[1].pixels[0], np.rot90(turned[0].pixels[0]))
    held = split.held_out(split.test).reshape(2, 10, 28, 28, 1)
    (support,), (query,) = split.divided(split.test[1], 10)
    np.testing.assert_array_equal(data.to_uint8(query), held[1])
    rows = {each.tobytes() for each in data.to_uint8(support)}
    assert not rows & {each.tobytes() for each in held[1]}
