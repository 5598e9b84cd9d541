"""Resuming: a run that was interrupted, anywhere, ends like one that was not."""

import csv
import json
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import (
    adversarial,
    augmentation,
    callbacks,
    data,
    errors,
    gan_settings,
    schedule,
)
from gan_transfer.networks import convolutional, fully_connected, presets

# Input pipelines are traced also where steps run eagerly.
pytestmark = pytest.mark.filterwarnings("ignore:Even though the .tf.config:UserWarning")
PIXELS = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 1), dtype=np.uint8)
SMALL = PIXELS[:, :4, :6]
EPOCHS, STEPS, BATCH = 4, 2, 4
# No batch scores this low, so the probability rises in every update.
ADA = augmentation.Augmentation(probability=0.5, target=-1.5, ramp_images=1000)
SETTINGS = gan_settings.Settings(penalize_every=3, augmentation=ADA)


class Killed(BaseException):
    """Like SIGKILL: nothing in the packages may catch it."""


@pytest.fixture
def eager():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def make():
    generator, _ = presets.build("dcgan", 16, 1, width=2, latent_dim=4)
    discriminator = convolutional.discriminator(
        16, 1, filters=(2, 4), dropout=0.3, norm="spectral"
    )
    return adversarial.GAN(generator, discriminator, seed=3)


def measure(gan):
    """A measure that rises and falls, so that best-so-far has something to choose."""

    def watch(epoch, logs):
        logs["distance"] = float(np.cos(int(gan.updates)) + np.mean(gan.generate(2)))

    return keras.callbacks.LambdaCallback(on_epoch_end=watch)


def make_small():
    generator = fully_connected.generator((4, 6, 1), latent_dim=2, units=(3,))
    discriminator = fully_connected.discriminator((4, 6, 1), units=(3,))
    return adversarial.GAN(generator, discriminator, seed=3)


def train(directory, phases=None, epochs=EPOCHS, start=0, build=make_small, **options):
    """One process' part of a run: new objects, from the networks' start `start`."""
    steps, extra = options.get("steps", STEPS), options.get("extra", ())
    keras.utils.set_random_seed(start)
    gan, pixels = build(), PIXELS if build is make else SMALL
    phases = phases(gan) if phases else [schedule.Phase("all", 1.0, lambda: None)]
    rows = schedule.train(
        gan,
        phases,
        lambda phase: SETTINGS.compile(gan, phase),
        lambda first: data.batches(pixels, BATCH, seed=1, start=first),
        directory,
        epochs=epochs,
        epoch_steps=steps,
        images_per_step=BATCH,
        monitor="distance",
        extra=(measure(gan), *extra),
        verbose=0,
    )
    return gan, rows


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
    with open(pathlib.Path(directory) / callbacks.HISTORY, newline="") as file:
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


def stop_at(epoch):
    def stop(number, logs):
        if number == epoch:
            raise Killed

    return keras.callbacks.LambdaCallback(on_epoch_end=stop)


def resume(tmp_path, **options):
    """The same run in one piece and in two; both models and both lists of rows."""
    gan, rows = train(tmp_path / "straight", **options)
    with pytest.raises(Killed):
        train(tmp_path / "resumed", extra=(stop_at(2),), **options)
    assert callbacks.saved_updates(tmp_path / "resumed") == 2 * STEPS
    again, rows_again = train(tmp_path / "resumed", start=99, **options)
    assert_same_run(tmp_path / "straight", tmp_path / "resumed")
    for one, other in zip(gan.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    return gan, rows, rows_again


def test_two_epochs_and_two_more_are_four(tmp_path):
    gan, rows, rows_again = resume(tmp_path, build=make)
    assert [row["step"] for row in rows_again] == [2, 4, 6, 8]
    for one, other in zip(rows, rows_again, strict=True):
        assert one | {"cpu_seconds": 0} == other | {"cpu_seconds": 0}
    assert float(gan.augment_probability) == pytest.approx(0.5 + 8 * BATCH / 1000)
    distances = [row["distance"] for row in rows]
    assert distances[-1] > min(distances)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_run_resumes_before_at_and_after_a_change_of_phase(tmp_path, eager, share):
    def phases(gan):
        layer = gan.discriminator.layers[-1]
        assert layer.weights
        return [
            schedule.Phase("one", share, lambda: setattr(layer, "trainable", False)),
            schedule.Phase("two", 1 - share, lambda: setattr(layer, "trainable", True)),
        ]

    gan, _, _ = resume(tmp_path, phases=phases)
    assert int(gan.generator_optimizer.iterations) == round((1 - share) * 4) * STEPS


def test_a_state_holds_all_that_moves(tmp_path, eager):
    train(tmp_path, epochs=1)
    found = arrays(tmp_path / callbacks.STATE)
    parts = {name.split("/", 1)[0] for name in found}
    assert parts >= {
        "vars",
        "generator",
        "discriminator",
        "averaged_generator",
        "generator_optimizer",
        "discriminator_optimizer",
    }
    assert found["vars/0"] == STEPS
    assert found["generator_optimizer/vars/0"] == STEPS


@pytest.mark.parametrize("moment", ["before", "after"])
def test_death_at_any_write_leaves_a_run_that_ends_alike(
    tmp_path, monkeypatch, eager, moment
):
    straight = tmp_path / "straight"
    replace, count = callbacks.os.replace, 0

    def counting(*paths):
        nonlocal count
        count += 1
        replace(*paths)

    monkeypatch.setattr(callbacks.os, "replace", counting)
    train(straight, epochs=2, steps=1)
    assert count > 4  # history and state of every epoch, the best at least once
    for fatal in range(1, count + 1):
        left = fatal

        def dying(*paths):
            nonlocal left
            left -= 1
            if left > 0 or moment == "after":
                replace(*paths)
            if left == 0:
                raise Killed

        monkeypatch.setattr(callbacks.os, "replace", dying)
        with pytest.raises(Killed):
            train(tmp_path / str(fatal), epochs=2, steps=1)
        monkeypatch.setattr(callbacks.os, "replace", replace)
        train(tmp_path / str(fatal), epochs=2, steps=1)
        assert_same_run(straight, tmp_path / str(fatal))


def test_a_finished_run_is_loaded_and_not_trained_again(tmp_path, eager):
    gan, rows = train(tmp_path, epochs=2)
    state = (tmp_path / callbacks.STATE).read_bytes()
    again, same = train(tmp_path, epochs=2)
    assert (tmp_path / callbacks.STATE).read_bytes() == state
    assert same == rows
    for one, other in zip(gan.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize(("epochs", "steps"), [(1, 2), (2, 3)])
def test_a_run_of_other_length_is_refused(tmp_path, eager, epochs, steps):
    train(tmp_path, epochs=2)
    with pytest.raises(errors.InputError, match="4 updates"):
        train(tmp_path, epochs=epochs, steps=steps)


def test_more_phases_than_epochs_are_refused(tmp_path):
    phase = schedule.Phase("half", 0.5, lambda: None)
    with pytest.raises(errors.InputError, match="2 phases"):
        train(tmp_path, lambda gan: [phase, phase], epochs=1)


SCRIPT = """
    import pathlib
    import sys

    import keras
    import numpy as np

    from gan_transfer import adversarial, augmentation, data, gan_settings, schedule
    from gan_transfer.networks import convolutional, presets

    pixels = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 1), dtype=np.uint8)
    keras.utils.set_random_seed(0)
    generator, _ = presets.build("dcgan", 16, 1, width=2, latent_dim=4)
    discriminator = convolutional.discriminator(16, 1, filters=(2, 4), dropout=0.3)
    gan = adversarial.GAN(generator, discriminator, seed=3)
    ada = augmentation.Augmentation(probability=0.5, target=0.6, ramp_images=100)
    settings = gan_settings.Settings(augmentation=ada)


    def watch(epoch, logs):
        logs["distance"] = np.cos(epoch)
        print("epoch", epoch, flush=True)  # now the files are written


    watcher = keras.callbacks.LambdaCallback(on_epoch_end=watch)
    schedule.train(
        gan,
        [schedule.Phase("all", 1.0, lambda: None)],
        lambda phase: settings.compile(gan, phase),
        lambda start: data.batches(pixels, 4, seed=1, start=start),
        pathlib.Path(sys.argv[1]),
        epochs=12,
        epoch_steps=5,
        images_per_step=4,
        monitor="distance",
        extra=(watcher,),
        verbose=0,
    )
    print("end", flush=True)
"""


def start(script, directory):
    return subprocess.Popen(
        [sys.executable, script, directory],
        cwd=pathlib.Path(__file__).parents[2],
        env={**callbacks.os.environ, "PYTHONPATH": "."},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_kill_nine_at_random_moments(tmp_path):
    script, directory = tmp_path / "script.py", tmp_path / "killed"
    script.write_text(textwrap.dedent(SCRIPT))
    lines = start(script, tmp_path / "straight").communicate()[0].splitlines()
    assert lines == [f"epoch {epoch}" for epoch in range(12)] + ["end"]
    rng, reached = np.random.default_rng(8), 0
    for attempt in range(4):
        process = start(script, directory)
        epochs, delay = int(rng.integers(1, 4)), float(rng.exponential(0.02))
        for _ in range(epochs):
            line = process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        saved = callbacks.saved_updates(directory)
        print(json.dumps({"attempt": attempt, "after": line, "delay": delay}), saved)
        assert saved % 5 == 0 and saved >= reached
        reached = saved
    assert 0 < reached < 60
    assert start(script, directory).communicate()[0].endswith("epoch 11\nend\n")
    assert_same_run(tmp_path / "straight", directory)
