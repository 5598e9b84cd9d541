"""What a run writes, and what it does with files that are missing, full or damaged."""

import math
import resource

import numpy as np
import pytest

from gan_transfer import adversarial, callbacks, errors, gan_settings, schedule
from gan_transfer.networks import fully_connected


def make(units=3):
    generator = fully_connected.generator((4, 6, 1), latent_dim=2, units=(units,))
    discriminator = fully_connected.discriminator((4, 6, 1), units=(units,))
    gan = adversarial.GAN(generator, discriminator)
    gan_settings.Settings().compile(gan, schedule.Phase("all", 1.0, lambda: None))
    return gan


def watch(gan, directory, rows=None, monitor="distance"):
    watchers = callbacks.watchers(directory, rows or [], 4, monitor)
    for watcher in watchers:
        watcher.set_model(gan)
        watcher.on_train_begin()
    return watchers


def end_epoch(watchers, gan, updates=None, **logs):
    gan.updates.assign(gan.updates + 2 if updates is None else updates)
    logs = {"d_loss": 0.5, "g_loss": 0.25, "distance": 1.0} | logs
    for watcher in watchers:
        watcher.on_epoch_end(0, logs)


def averaged(gan):
    return [weight.copy() for weight in gan.averaged_generator.get_weights()]


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_an_epoch_writes_state_best_and_history_into_a_new_directory(tmp_path):
    directory, gan = tmp_path / "not" / "there", make()
    end_epoch(watch(gan, directory), gan)
    assert names(directory) == [callbacks.BEST, callbacks.HISTORY, callbacks.STATE]
    (row,) = callbacks.read_history(directory)
    assert row.pop("cpu_seconds") >= 0
    assert row == {
        "step": 2,
        "images": 8,
        "d_loss": 0.5,
        "g_loss": 0.25,
        "distance": 1.0,
    }
    assert callbacks.saved_updates(directory) == 2
    end_epoch(watch(gan, tmp_path / "plain", monitor=None), gan)
    assert names(tmp_path / "plain") == [callbacks.HISTORY, callbacks.STATE]


def test_an_empty_directory_is_a_fresh_run(tmp_path):
    gan = make()
    assert callbacks.saved_updates(tmp_path / "none") == 0
    assert callbacks.restore(gan, tmp_path / "none") == []
    assert callbacks.read_history(tmp_path / "none") == []
    assert int(gan.updates) == 0


def test_history_round_trip_keeps_every_bit(tmp_path):
    rows = [
        {"step": 2, "loss": 0.1 + 0.2, "only_first": -1e-300},
        {"step": 4, "loss": 5.0},
    ]
    callbacks.write_history(tmp_path, rows)
    text = (tmp_path / callbacks.HISTORY).read_bytes()
    assert callbacks.read_history(tmp_path) == rows
    callbacks.write_history(tmp_path, callbacks.read_history(tmp_path))
    assert (tmp_path / callbacks.HISTORY).read_bytes() == text


def test_history_ahead_of_the_state_is_cut_back(tmp_path):
    gan = make()
    watchers = watch(gan, tmp_path)
    end_epoch(watchers, gan)
    end_epoch(watchers, gan)
    end_epoch(watchers[:-1], gan)  # killed before the state was saved
    assert [row["step"] for row in callbacks.read_history(tmp_path)] == [2, 4, 6]
    again = make()
    rows = callbacks.restore(again, tmp_path)
    assert [row["step"] for row in rows] == [2, 4]
    assert callbacks.read_history(tmp_path) == rows
    assert int(again.updates) == 4
    for one, other in zip(gan.generator.weights, again.generator.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_cpu_seconds_go_on_from_the_row_before(tmp_path):
    rows = [{"step": 2, "images": 8, "cpu_seconds": 1000.0, "distance": 1.0}]
    gan = make()
    gan.updates.assign(2)
    end_epoch(watch(gan, tmp_path, rows), gan)
    assert 1000 <= rows[-1]["cpu_seconds"] < 1100
    assert len(rows) == 2


def test_best_so_far_is_the_lowest_and_outlives_a_restart(tmp_path):
    gan = make()
    watchers, best = watch(gan, tmp_path), make()

    def epoch(watchers, distance):
        changed = [weight + 1 for weight in averaged(gan)]
        gan.averaged_generator.set_weights(changed)
        end_epoch(watchers, gan, distance=distance)
        best.averaged_generator.load_weights(tmp_path / callbacks.BEST)
        return np.array_equal(averaged(best)[0], averaged(gan)[0])

    assert [epoch(watchers, d) for d in (3.0, 2.0, 2.5)] == [True, True, False]
    later = watch(gan, tmp_path, callbacks.read_history(tmp_path))
    assert [epoch(later, d) for d in (2.0, 2.25, 1.0)] == [False, False, True]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_epoch_stops_before_anything_is_written(tmp_path, value):
    gan = make()
    watchers = watch(gan, tmp_path)
    end_epoch(watchers, gan)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(errors.Diverged, match="g_loss is not finite at update 4"):
        end_epoch(watchers, gan, g_loss=value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert callbacks.saved_updates(tmp_path) == 2


def test_a_weight_that_diverged_in_the_last_step_counts_too(tmp_path):
    gan = make()
    watchers = watch(gan, tmp_path)
    gan.discriminator.trainable_variables[0].assign(
        gan.discriminator.trainable_variables[0] * math.nan
    )
    with pytest.raises(errors.Diverged, match="kernel is not finite at update 2"):
        end_epoch(watchers, gan)
    assert names(tmp_path) == []


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_state_is_refused(tmp_path, damage):
    gan = make()
    end_epoch(watch(gan, tmp_path), gan)
    path = tmp_path / callbacks.STATE
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello" * 99}[damage]
    )
    for attempt in (callbacks.saved_updates, lambda at: callbacks.restore(gan, at)):
        with pytest.raises(errors.InputError, match="--overwrite") as refusal:
            attempt(tmp_path)
        assert str(path) in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_the_state_of_another_architecture_is_refused(tmp_path):
    gan = make()
    end_epoch(watch(gan, tmp_path), gan)
    with pytest.raises(errors.InputError, match=r"flags\.txt.*--overwrite") as refusal:
        callbacks.restore(make(units=5), tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_full_disk_leaves_the_state_that_was_there(tmp_path, monkeypatch):
    gan = make()
    watchers = watch(gan, tmp_path)
    end_epoch(watchers, gan)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    usage = callbacks.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        callbacks.shutil, "disk_usage", lambda path: usage._replace(free=1000)
    )
    with pytest.raises(OSError, match="No space left") as refusal:
        end_epoch(watchers, gan, distance=0.5)
    assert refusal.value.filename == str(tmp_path / callbacks.BEST)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_space_asked_for_holds_the_state(tmp_path, monkeypatch):
    gan = make(units=200)
    asked, usage = [], callbacks.shutil.disk_usage(tmp_path)

    class Free(int):
        def __lt__(self, needed):
            asked.append(needed)
            return False

    monkeypatch.setattr(
        callbacks.shutil, "disk_usage", lambda path: usage._replace(free=Free())
    )
    end_epoch(watch(gan, tmp_path, monitor=None), gan)
    assert asked[0] >= (tmp_path / callbacks.STATE).stat().st_size


def test_a_history_that_cannot_grow_stays_as_it_was(tmp_path):
    gan = make()
    watchers = watch(gan, tmp_path, monitor=None)
    end_epoch(watchers, gan)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (80, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            end_epoch(watchers, gan)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_failed_save_names_the_file_and_leaves_no_part_of_it(tmp_path, monkeypatch):
    gan = make()
    watchers = watch(gan, tmp_path, monitor=None)

    def half(path):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(gan, "save_weights", half)
    with pytest.raises(OSError, match="No space left") as refusal:
        end_epoch(watchers, gan)
    assert refusal.value.filename == str(tmp_path / callbacks.STATE)
    assert names(tmp_path) == [callbacks.HISTORY]


def test_leftover_partial_files_are_ignored_and_replaced(tmp_path):
    gan = make()
    for name in (callbacks.STATE, callbacks.BEST, callbacks.HISTORY):
        (tmp_path / f"partial.{name}").write_bytes(b"half a file")
    assert callbacks.saved_updates(tmp_path) == 0
    end_epoch(watch(gan, tmp_path), gan)
    assert names(tmp_path) == [callbacks.BEST, callbacks.HISTORY, callbacks.STATE]
    assert callbacks.saved_updates(tmp_path) == 2
