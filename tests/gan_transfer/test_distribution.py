"""Several devices and several processes reach the weights of one device."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
# Sums over replicas round otherwise than sums over one batch.
TOLERANCE = 1e-4

COMMON = """
    import os
    import pathlib
    import sys

    import h5py
    import keras
    import numpy as np
    import tensorflow as tf

    from gan_transfer import adversarial, augmentation, callbacks, data, gan_settings
    from gan_transfer import regularization, schedule
    from gan_transfer.networks import convolutional

    PIXELS = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 1), dtype=np.uint8)
    ADA = augmentation.Augmentation(
        ("translation",), probability=0.5, target=0.6, ramp_images=100
    )


    def build(strategy, **settings):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            gan = adversarial.GAN(
                convolutional.generator(16, latent_dim=4, filters=(8, 4, 2)),
                convolutional.discriminator(16, filters=(2, 4), norm="spectral"),
                seed=3,
            )
            # SGD, since Adam's first steps turn rounding into whole steps.
            optimizers = (keras.optimizers.SGD(0.1, 0.5) for _ in range(2))
            gan.compile(*optimizers, **settings)
        return gan


    def fit(gan, epochs=2):
        return gan.fit(
            data.batches(PIXELS, 8, seed=1),
            epochs=epochs,
            steps_per_epoch=2,
            shuffle=False,
            verbose=0,
        )


    LAZY = {"penalties": (regularization.R1(1.0),), "penalize_every": 2}
"""

MIRRORED = """
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    one = tf.distribute.get_strategy()
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    result = {}
    for name, strategy in (("one", one), ("two", two)):
        gan = build(strategy, **LAZY)
        start = gan.get_weights()
        history = fit(gan).history
        moves = [np.abs(a - b).max() for a, b in zip(start, gan.get_weights())]
        result["moved"] = moves
        result[f"{name}/losses"] = np.array([history["d_loss"], history["g_loss"]])
        result[f"{name}/updates"] = gan.updates.numpy()
        for weight in gan.weights:
            result[f"{name}/{weight.path}"] = weight.numpy()

    # Augmented: each replica has its own draws, all have one probability.
    gan = build(two, augmentation=ADA)
    fit(gan, epochs=1)
    copies = [w.value.values for w in gan.weights]
    result["copies"] = np.array(
        [np.array_equal(a.numpy(), b.numpy()) for a, b in copies]
    )
    result["probability"] = gan.augment_probability.numpy()


    @tf.function
    def draws():
        return two.run(lambda: (gan.key(1), gan.normal(3, 4, 2)))


    keys, latents = draws()
    result["keys"] = np.stack([key.numpy() for key in keys.values])
    result["latents"] = np.concatenate([part.numpy() for part in latents.values])
    result["global"] = tf.random.stateless_normal([6, 4], gan.key(2, replica=0)).numpy()

    # Resumed under the strategy.
    settings = gan_settings.Settings(augmentation=ADA, penalties=())
    directory = pathlib.Path(sys.argv[1])
    for folder, parts in (("straight", (3,)), ("resumed", (1, 3))):
        for epochs in parts:
            gan = build(two)
            with two.scope():
                schedule.train(
                    gan,
                    [schedule.Phase("all", 1.0, lambda: None)],
                    lambda phase: settings.compile(gan, phase),
                    lambda start: data.batches(PIXELS, 8, seed=1, start=start),
                    directory / folder,
                    epochs=epochs,
                    epoch_steps=1,
                    images_per_step=8,
                    verbose=0,
                )
        for number, weight in enumerate(gan.get_weights()):
            result[f"{folder}/{number}"] = weight
    np.savez(directory / "mirrored.npz", **result)
"""

WORKER = """
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    assert strategy.num_replicas_in_sync == 2
    gan = build(strategy, **LAZY)
    history = fit(gan).history
    index = strategy.cluster_resolver.task_id
    result = {"losses": np.array([history["d_loss"], history["g_loss"]])}
    result |= {weight.path: weight.numpy() for weight in gan.weights}
    directory = pathlib.Path(sys.argv[1])
    folder = directory / f"run{index}"
    with strategy.scope():
        assert callbacks.saved_updates(folder) == 0
        for watcher in callbacks.watchers(folder, [], 8, None):
            watcher.set_model(gan)
            watcher.on_train_begin()
            watcher.on_epoch_end(1, {"d_loss": 1.0})
        assert callbacks.saved_updates(folder) == 4
        if index:
            with h5py.File(folder / callbacks.STATE, "a") as state:
                state["vars/0"][()] = 2
        try:
            callbacks.saved_updates(folder)
        except ValueError as error:
            result["refused"] = str(error)
    np.savez(directory / f"worker{index}.npz", **result)
"""


def start(tmp_path, name, source, **environment):
    script = tmp_path / f"{name}.py"
    script.write_text(textwrap.dedent(COMMON) + textwrap.dedent(source))
    with open(tmp_path / f"{name}.log", "w") as log:
        return subprocess.Popen(
            [sys.executable, script, tmp_path],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": ".", **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def results(tmp_path, **processes):
    for name, process in processes.items():
        status = process.wait(timeout=300)
        assert status == 0, (tmp_path / f"{name}.log").read_text()[-3000:]
    with np.load(tmp_path / f"{name}.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mirrored")
    return results(folder, mirrored=start(folder, "mirrored", MIRRORED))


def weights_of(result, name):
    return {
        key.removeprefix(f"{name}/"): value
        for key, value in result.items()
        if key.startswith(f"{name}/")
    }


def test_two_replicas_reach_the_weights_of_one_device(mirrored):
    one, two = weights_of(mirrored, "one"), weights_of(mirrored, "two")
    assert one.keys() == two.keys()
    assert one["updates"] == 4
    assert np.median(mirrored["moved"]) > 10 * TOLERANCE
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, atol=TOLERANCE, err_msg=name)


def test_copies_of_all_weights_stay_equal_under_adaptive_augmentation(mirrored):
    assert mirrored["copies"].all()
    # Two moves by one batch each, up or down: per replica it would be half a batch.
    moves = float(mirrored["probability"] - 0.5) / (8 / 100)
    assert min(abs(moves - each) for each in (-2, 0, 2)) < 1e-4


def test_replicas_have_their_own_keys_and_share_the_latents_of_the_batch(mirrored):
    first, second = mirrored["keys"]
    assert first[1] == second[1]
    assert first[0] == 3
    assert first[0] != second[0]
    np.testing.assert_array_equal(mirrored["latents"], mirrored["global"])


def test_a_run_of_two_replicas_resumes_bit_for_bit(mirrored):
    straight, resumed = (weights_of(mirrored, n) for n in ("straight", "resumed"))
    assert straight
    for name, value in straight.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def test_two_workers_reach_the_weights_of_one_device(tmp_path, mirrored):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    tasks = [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(2)
    ]
    workers = {
        f"worker{index}": start(tmp_path, f"worker{index}", WORKER, TF_CONFIG=task)
        for index, task in enumerate(tasks)
    }
    try:
        second = results(tmp_path, **workers)
    finally:
        for process in workers.values():
            process.kill()
    with np.load(tmp_path / "worker0.npz") as arrays:
        first = dict(arrays)
    for refusal in (first.pop("refused"), second.pop("refused")):
        assert "other workers" in str(refusal)
    one = weights_of(mirrored, "one")
    assert first.keys() == second.keys() == one.keys() - {"updates"}
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value, err_msg=name)
        np.testing.assert_allclose(value, one[name], atol=TOLERANCE, err_msg=name)
