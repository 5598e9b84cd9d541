"""Resuming: a restorer's run that was interrupted ends like one that was not."""

import csv

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import callbacks, errors, schedule, transfer
from restoration import mixture, networks, patches, supervised, validation

# Input pipelines are traced also where steps run eagerly.
pytestmark = pytest.mark.filterwarnings("ignore:Even though the .tf.config:UserWarning")
PICTURES = [
    np.random.default_rng(number).integers(0, 256, size, np.uint8)
    for number, size in enumerate([(20, 17, 1), (16, 24, 1), (18, 18, 1)])
]
BANK = np.random.default_rng(0).integers(0, 2, (3, 20, 20, 1), np.uint8)
MIXTURE = mixture.Mixture(BANK)
EPOCHS, STEPS = 4, 2


class Killed(BaseException):
    """Like SIGKILL: nothing in the packages may catch it."""


@pytest.fixture
def eager():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def compact():
    return networks.restorer(1, widths=(3, 4), blocks=1)


def stop_at(epoch):
    def stop(number, logs):
        if number == epoch:
            raise Killed

    return keras.callbacks.LambdaCallback(on_epoch_end=stop)


def train(
    directory,
    start=0,
    network=compact,
    damage=MIXTURE,
    late=0.5,
    extra=(),
    epoch_steps=STEPS,
):
    """One process' part of a run: new objects, from the networks' start `start`."""
    keras.utils.set_random_seed(start)
    restorer = supervised.Restorer(network(), seed=3)
    judge = validation.Validation(PICTURES[2:], 16, damage)
    change = round((1 - late) * EPOCHS * STEPS)
    phases = [
        schedule.Phase("patches", 1 - late, lambda: None),
        schedule.Phase("larger patches", late, lambda: None),
    ]

    def batches(first):
        count, side = (3, 8) if first < change else (1, 16)
        return patches.batches(PICTURES[:2], count, side, seed=1, start=first)

    def compile_phase(phase):
        first = 0 if phase is phases[0] else change
        rate = supervised.Cosine(1e-2, EPOCHS * STEPS, first, warm_up=3)
        optimizer = transfer.LayerwiseAdam(learning_rate=rate, global_clipnorm=1.0)
        restorer.compile(optimizer, damage=damage, averaging=0.5)

    def watch(epoch, logs):
        logs.update(judge.scores(restorer.averaged_network))

    rows = schedule.train(
        restorer,
        phases,
        compile_phase,
        batches,
        directory,
        epochs=EPOCHS,
        epoch_steps=epoch_steps,
        images_per_step=3,
        monitor="val_rmse",
        extra=(keras.callbacks.LambdaCallback(on_epoch_end=watch), *extra),
        verbose=0,
    )
    return restorer, rows


def arrays(path):
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def history(directory):
    """Rows as text, without the CPU seconds."""
    with (directory / callbacks.HISTORY).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: value for name, value in row.items() if name != "cpu_seconds"}
        for row in rows
    ]


def assert_same_run(one, other):
    for name in (callbacks.STATE, callbacks.BEST):
        first, second = arrays(one / name), arrays(other / name)
        assert first.keys() == second.keys()
        different = [
            key for key in first if not np.array_equal(first[key], second[key])
        ]
        assert different == [], name
    assert history(one) == history(other)


def resume(tmp_path, *killed, **options):
    """The same run in one piece and in several; model and rows of the whole one."""
    straight, rows = train(tmp_path / "straight", **options)
    for start, epoch in enumerate(killed):
        with pytest.raises(Killed):
            train(tmp_path / "parts", start, extra=(stop_at(epoch),), **options)
        assert callbacks.saved_updates(tmp_path / "parts") == epoch * STEPS
    again, _ = train(tmp_path / "parts", start=99, **options)
    assert_same_run(tmp_path / "straight", tmp_path / "parts")
    for one, other in zip(straight.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    return straight, rows


def test_two_epochs_and_two_more_are_four(tmp_path):
    restorer, rows = resume(tmp_path, 2, damage=mixture.gaussian)
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    assert int(restorer.updates) == 8
    assert {"loss", "psnr", "val_psnr_25", "val_psnr", "val_rmse"} < rows[0].keys()


@pytest.mark.parametrize(("late", "killed"), [(0.25, (1, 2, 3)), (0.75, (1, 3))])
def test_a_run_resumes_anywhere_in_both_phases(tmp_path, eager, late, killed):
    restorer, _ = resume(tmp_path, *killed, late=late)
    # The optimizer of the last phase is a fresh one.
    assert int(restorer.network_optimizer.iterations) == late * EPOCHS * STEPS


def test_batch_norm_resumes_too(tmp_path, eager):
    resume(tmp_path, 3, network=lambda: networks.document_a(1))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that is only read: its folder, model and rows."""
    folder = tmp_path_factory.mktemp("finished")
    tf.config.run_functions_eagerly(True)
    restorer, rows = train(folder)
    tf.config.run_functions_eagerly(False)
    return folder, restorer, rows


def test_a_state_holds_all_that_moves(finished):
    folder, restorer, _ = finished
    found = arrays(folder / callbacks.STATE)
    stored = {(each.shape, each.tobytes()) for each in found.values()}
    for part in (restorer.network, restorer.averaged_network):
        for weight in part.weights:
            assert (weight.shape, weight.numpy().tobytes()) in stored, weight.path
    for variable in restorer.network_optimizer.variables:
        assert (variable.shape, variable.numpy().tobytes()) in stored, variable.path
    assert found["vars/0"] == 8
    assert found["network_optimizer/vars/0"] == 4


def test_best_so_far_is_the_averaged_network_of_the_best_row(finished):
    folder, _, rows = finished
    best = min(rows, key=lambda row: row["val_rmse"])
    network = compact()
    network.load_weights(folder / callbacks.BEST)
    scores = validation.Validation(PICTURES[2:], 16, MIXTURE).scores(network)
    for name, value in scores.items():
        assert value == pytest.approx(best[name], rel=1e-5)


def test_a_finished_run_is_loaded_and_not_trained_again(finished, eager):
    folder, restorer, rows = finished
    state = (folder / callbacks.STATE).read_bytes()
    again, same = train(folder, start=99)
    assert (folder / callbacks.STATE).read_bytes() == state
    assert same == rows
    for one, other in zip(restorer.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_another_network_or_length_cannot_continue_a_run(finished, eager):
    folder, _, _ = finished
    before = history(folder)
    with pytest.raises(errors.InputError, match="other length .8 updates"):
        train(folder, epoch_steps=3)

    def wider():
        return networks.restorer(1, widths=(3, 5), blocks=1)

    with pytest.raises(errors.InputError, match="cannot be continued with this model"):
        train(folder, network=wider)
    assert history(folder) == before
