"""Phases, the step after a thaw, a real resume (document A 3.1)."""

import shutil

import h5py
import keras
import numpy as np
import pytest

from gan_transfer import (
    adversarial,
    augmentation,
    callbacks,
    data,
    errors,
    gan_settings,
    recipes,
    schedule,
)
from gan_transfer.networks import convolutional

# Two phases of two epochs, three updates each.
EPOCHS, EPOCH_STEPS, BATCH = 4, 3, 4
RATE = 4e-4


def _pixels():
    return np.random.default_rng(0).integers(0, 256, (11, 8, 8, 1), dtype=np.uint8)


def _state(model):
    """Arrays by layer and weight name."""
    return {
        layer.name: {w.path.split("/")[-1]: w.numpy() for w in layer.weights}
        for layer in model.layers
        if layer.weights
    }


def _states(gan):
    networks = {**gan.networks(), "averaged": gan.averaged_generator}
    return {name: _state(network) for name, network in networks.items()}


def _assert_only_moved(before, after, frozen):
    assert frozen <= set(before)
    for layer, weights in before.items():
        for name, old in weights.items():
            new = after[layer][name]
            if name == "u" and old.shape == (1,) and layer not in frozen:
                continue  # a unit vector of one entry has nowhere to go
            same = np.array_equal(old, new)
            assert same == (layer in frozen), f"{layer}/{name}"


def _settings():
    return gan_settings.Settings(
        learning_rate=RATE,
        penalties=(),
        augmentation=augmentation.Augmentation(
            # No signal is below this target: the probability climbs every update.
            ("translation",),
            probability=0.0,
            target=-1.5,
            ramp_images=100,
        ),
    )


def _small_gan():
    """Everything with a state: batch norm, spectral norm, dropout; fixed weights."""
    keras.utils.set_random_seed(5)
    return adversarial.GAN(
        convolutional.generator(8, latent_dim=3, filters=(4, 3)),
        convolutional.discriminator(8, filters=(4,), dropout=0.3, norm="spectral"),
        seed=2,
    )


class _Measure(keras.callbacks.Callback):
    """Adds a number to the logs that the best generator is chosen by."""

    def on_epoch_end(self, epoch, logs=None):
        logs["measure"] = abs(float(self.model.generate(4).mean()) + 0.001 * epoch)


class _Watch(keras.callbacks.Callback):
    """Records each phase's first step, and the run directory before every epoch."""

    def __init__(self, run, copies):
        super().__init__()
        self.run, self.copies = run, copies
        self.starts, self.first_steps = [], []

    def on_train_begin(self, logs=None):
        self.starts.append(_states(self.model))
        self.variables = [
            variable
            for network in self.model.networks().values()
            for variable in network.trainable_variables
        ]
        self.before = [variable.numpy() for variable in self.variables]

    def on_epoch_begin(self, epoch, logs=None):
        if epoch:
            shutil.copytree(self.run, self.copies / str(epoch))

    def on_train_batch_end(self, batch, logs=None):
        if len(self.first_steps) < len(self.starts):
            steps = [
                np.abs(variable.numpy() - old).max()
                for variable, old in zip(self.variables, self.before, strict=True)
            ]
            self.first_steps.append(steps)


def _run(directory, *, epochs=EPOCHS, extra=()):
    gan = _small_gan()
    rows = schedule.train(
        gan,
        recipes.gradual_thaw(gan, 1, "adapt"),
        lambda phase: _settings().compile(gan, phase),
        lambda start: data.batches(_pixels(), BATCH, seed=1, start=start),
        directory,
        epochs=epochs,
        epoch_steps=EPOCH_STEPS,
        images_per_step=BATCH,
        monitor="measure",
        extra=(_Measure(), *extra),
        verbose=0,
    )
    return gan, rows


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A whole run, watched: directory, copies before each epoch, GAN, rows, watch."""
    root = tmp_path_factory.mktemp("uninterrupted")
    watch = _Watch(root / "run", root / "before_epoch")
    (root / "run").mkdir()
    gan, rows = _run(root / "run", extra=(watch,))
    return root, gan, rows, watch


def _datasets(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def _assert_same_file(path, other):
    expected, found = _datasets(path), _datasets(other)
    assert expected.keys() == found.keys() and expected
    for name, value in expected.items():
        np.testing.assert_array_equal(value, found[name], err_msg=name)


def _without_clock(rows):
    return [{k: v for k, v in row.items() if k != "cpu_seconds"} for row in rows]


def test_phases_begin_at_their_epochs(uninterrupted):
    _, gan, rows, watch = uninterrupted
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    assert [row["images"] for row in rows] == [12, 24, 36, 48]
    assert int(gan.updates) == EPOCHS * EPOCH_STEPS
    # The optimizers were fresh at the second phase.
    assert int(gan.generator_optimizer.iterations) == 2 * EPOCH_STEPS
    first, second, last = *watch.starts, _states(gan)
    frozen = {"generator": "head_conv", "averaged": "head_conv"}
    frozen["discriminator"] = "block1_conv"
    assert len(watch.starts) == 2
    for network, layer in frozen.items():
        _assert_only_moved(first[network], second[network], {layer})
        _assert_only_moved(second[network], last[network], set())


def test_first_steps_after_a_thaw_are_at_most_the_learning_rate(uninterrupted):
    *_, watch = uninterrupted
    assert len(watch.first_steps) == 2
    for steps in watch.first_steps:
        assert max(steps) <= (1 + 1e-3) * RATE
        assert min(steps) > 0.9 * RATE
    # The second phase trains generator head_conv and discriminator block1_conv too.
    assert len(watch.first_steps[1]) == len(watch.first_steps[0]) + 4


def test_adaptive_probability_is_part_of_the_run(uninterrupted):
    _, gan, *_ = uninterrupted
    expected = EPOCHS * EPOCH_STEPS * BATCH / 100
    assert float(gan.augment_probability) == pytest.approx(expected)


@pytest.mark.parametrize("epoch", [1, 2, 3], ids=["first", "boundary", "second"])
def test_resumed_equals_uninterrupted_bit_for_bit(uninterrupted, tmp_path, epoch):
    root, gan, rows, _ = uninterrupted
    run = tmp_path / "run"
    shutil.copytree(root / "before_epoch" / str(epoch), run)
    assert callbacks.saved_updates(run) == epoch * EPOCH_STEPS
    # Killed between writing the history and the state: a row too many.
    callbacks.write_history(run, rows[: epoch + 1])
    resumed, resumed_rows = _run(run)
    for name in (callbacks.STATE, callbacks.BEST):
        _assert_same_file(root / "run" / name, run / name)
    for old, new in zip(gan.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(old.numpy(), new.numpy(), err_msg=old.path)
    assert _without_clock(resumed_rows) == _without_clock(rows)
    assert _without_clock(callbacks.read_history(run)) == _without_clock(rows)


@pytest.mark.parametrize(
    ("shares", "epochs", "expected"),
    [
        ((1.0,), 5, [5]),
        ((1 / 3, 1 / 3, 1 / 3), 6, [2, 4, 6]),
        ((1 / 3, 1 / 3, 1 / 3), 5, [2, 3, 5]),
        ((0.5, 0.25, 0.25), 3, [2, 2, 3]),
    ],
)
def test_phases_end_at_whole_epochs(shares, epochs, expected):
    phases = [schedule.Phase("any", share, lambda: None) for share in shares]
    assert schedule.ends(phases, epochs) == expected


def test_fewer_epochs_than_phases_are_refused(tmp_path):
    with pytest.raises(errors.InputError, match="2 phases need .* got 1"):
        _run(tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()
