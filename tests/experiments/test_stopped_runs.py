"""Runs that a guard stops leave the scores of their best state (document E 3.3)."""

import json
import math
import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf

from experiments.support import judging, session, translation
from gan_transfer import callbacks, errors, features, pretrained

LEFT = {"summary.json", "samples.png", "losses.png", "averaged_generator.keras"}


@pytest.fixture
def stopped(command, material, short, tmp_path, monkeypatch):
    """Trains for six evaluations with `measure(gan)` in the place of the coverage."""
    pixels, seen = judging.pixels, []

    def watched(gan, *arguments, **options):
        seen.append(gan)
        return pixels(gan, *arguments, **options)

    def run(measure):
        monkeypatch.setattr(judging, "pixels", watched)
        monkeypatch.setattr(
            judging, "coverage", lambda *found: lambda samples: measure(seen[-1])
        )
        line = [f"--dataset={material}/grey.npz", *short, f"--out_dir={tmp_path}"]
        return command("pretrain", *line, "--steps=6", "--evaluations=6")

    return run


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def check_left(folder, outcome, updates):
    assert {path.name for path in folder.iterdir()} >= LEFT
    written = summary(folder)
    assert (written["outcome"], written["updates"]) == (outcome, updates)
    assert written["scores"]["count_generated"] == 1000
    rows = callbacks.read_history(folder)
    assert [row["step"] for row in rows] == list(range(1, updates + 1))
    with pytest.warns(errors.StoppedRun, match=f"{folder}: .*{outcome}"):
        loaded = pretrained.load(folder)
    assert loaded.generate(2).shape == (2, 16, 16, 1)
    assert pretrained.describe(folder)["model"] == "dcgan"
    return written["stopped"]


def test_a_collapsed_run(stopped, tmp_path):
    done = stopped(lambda gan: 0.02)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: training collapsed: at update 4 the samples have 2%")
    assert line.endswith(check_left(tmp_path, "collapsed", 3))
    assert "the state of the epoch before is kept" in line
    last = f"the last state and its scores are in {tmp_path}"
    assert done.stdout.splitlines()[-1] == last
    assert summary(tmp_path)["density"] == {"generator": 1.0, "discriminator": 1.0}
    before = summary(tmp_path)
    again = stopped(lambda gan: 0.02)
    assert (again.returncode, again.stderr) == (2, done.stderr)
    assert summary(tmp_path)["scores"] == before["scores"]


@pytest.mark.parametrize("rate", [math.inf, 1e38], ids=["weights", "images"])
def test_a_diverged_run(stopped, tmp_path, rate):
    def spoil(gan):
        if int(gan.updates) == 2:
            gan.generator_optimizer.learning_rate = rate
        return 0.9

    done = stopped(spoil)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "training diverged" in line
    assert line.endswith(check_left(tmp_path, "diverged", 2))


def test_a_run_that_diverges_at_once_has_nothing_to_keep(
    command, material, short, tmp_path
):
    line = [f"--dataset={material}/grey.npz", *short, f"--out_dir={tmp_path}"]
    done = command("pretrain", *line, "--learning_rate=1e38")
    assert done.returncode == 2
    assert "training diverged" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"flags.txt"}


def test_the_guard_knows_the_training_images_alone(
    command, material, short, tmp_path, monkeypatch
):
    """Also where they are too few for the pixel components that scores go by."""
    given = []

    def coverage(train, chosen):
        given.append((train, chosen["pca"]))
        return lambda samples: 0.9

    monkeypatch.setattr(judging, "coverage", coverage)
    line = [f"--dataset={material}/grey.npz", *short, f"--out_dir={tmp_path}"]
    done = command("pretrain", *line, "--limit=5")
    assert done.returncode == 0, done.stderr
    ((train, components),) = given
    assert len(train) == 5
    alone = features.PixelPCA(train, 1)
    found, wanted = (features.extract(each, train) for each in (components, alone))
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("updates", "kept"), [(2, []), (3, [3])])
def test_networks_of_an_earlier_phase_are_not_the_runs(monkeypatch, updates, kept):
    """A pruned network that diverges at once leaves the one it was to be cut from."""

    class Finishing:
        model = types.SimpleNamespace(updates=tf.Variable(0), phase_start=2)
        run = types.SimpleNamespace(folder="folder")
        best = pathlib.Path("none")
        finished = ()

        def finish(self, rows, about):
            assert about()["outcome"] == "diverged"
            self.finished = rows

    def restore(model, folder):
        model.updates.assign(updates)
        return [updates]

    monkeypatch.setattr(callbacks, "restore", restore)
    stopping = Finishing()
    error = errors.Diverged("training diverged")
    session.Session._salvage(stopping, error, dict)
    assert list(stopping.finished) == kept


def test_a_run_that_ends_is_completed_and_logs_its_coverage(finished):
    assert summary(finished)["outcome"] == "completed"
    assert "stopped" not in summary(finished)
    (row,) = callbacks.read_history(finished)
    assert row["mode_coverage"] >= 0


@pytest.mark.parametrize("outcome", ["collapsed", "diverged"])
def test_a_cyclegan_that_is_stopped(command, material, tmp_path, monkeypatch, outcome):
    """Each way is measured against its target, and what its source has of that."""
    low = 0.02 if outcome == "collapsed" else 0.9
    # Of each way the source's variety, which counts up to 1, then the translations'.
    values, targets, seen = ((0.5, 0.5 * low), (3.0, 0.95)), [], ([], [])
    translated = translation.Session.translated

    def spoiling(session, images, direction):
        if outcome == "diverged" and int(session.gan.updates) == 2:
            session.gan.generator_optimizer.learning_rate = math.inf
        return translated(session, images, direction)

    def measured(train, chosen):
        way = len(targets) % 2
        targets.append(train)

        def measure(samples):
            seen[way].append(samples)
            return values[way][len(seen[way]) > 1]

        return measure

    monkeypatch.setattr(translation.Session, "translated", spoiling)
    monkeypatch.setattr(judging, "coverage", measured)
    line = [f"--dataset={material}/grey.npz", "--known_mapping=invert", "--limit=40"]
    line += ["--steps=6", "--evaluations=6", "--batch_size=2", "--width=4"]
    line += ["--blocks=1", f"--out_dir={tmp_path}"]
    done = command("pretrain_cyclegan", *line)
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert f"training {outcome}" in error
    assert ("a higher --cycle_weight" in error) == (outcome == "collapsed")
    written, rows = summary(tmp_path), callbacks.read_history(tmp_path)
    assert (written["outcome"], error) == (outcome, f"error: {written['stopped']}")
    assert written["updates"] == len(rows) == {"collapsed": 3, "diverged": 2}[outcome]
    assert {row["mode_coverage"] for row in rows} == {low}
    assert math.isfinite(written["scores"]["forward_truth_l1"])
    assert (tmp_path / "samples.png").exists()
    b, a = targets
    assert _images(seen[0][0]) == _images(a) != _images(b) == _images(seen[1][0])
    assert _images(seen[0][1]) != _images(seen[1][1])
    # The same command again ends in the same way.
    for way in seen:
        way.clear()
    again = command("pretrain_cyclegan", *line)
    assert (again.returncode, again.stderr) == (2, done.stderr)
    assert summary(tmp_path)["scores"] == written["scores"]
    # Who translates by it is told, in one line and once.
    line = [f"--model={tmp_path}", f"--dataset={material}/grey.npz"]
    done = command("translate", *line, f"--out_dir={tmp_path / 'sheet'}")
    assert done.returncode == 0
    assert done.stderr == f"note: {tmp_path}: {written['stopped']}\n"
    assert (tmp_path / "sheet" / "forward.png").exists()


def _images(pixels):
    return {image.tobytes() for image in pixels}
