"""Pruning with rewind, two stages, dynamic training: phases that resume bit for bit."""

import csv

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
    sparsity,
    strategies,
)
from gan_transfer.networks import convolutional

# Input pipelines are traced also where steps run eagerly.
pytestmark = pytest.mark.filterwarnings("ignore:Even though the .tf.config:UserWarning")
PIXELS = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1), dtype=np.uint8)
EPOCHS, STEPS, BATCH, SHARE = 6, 2, 4, 0.3
SETTINGS = gan_settings.Settings(
    penalize_every=3, augmentation=augmentation.by_name("translation")
)


class Killed(BaseException):
    """Like SIGKILL: nothing in the packages may catch it."""


@pytest.fixture(autouse=True)
def eager():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def build(start=0):
    keras.utils.set_random_seed(start)
    return adversarial.GAN(
        convolutional.generator(8, latent_dim=3, filters=(4, 3)),
        convolutional.discriminator(8, filters=(4, 5), norm="spectral"),
        seed=3,
    )


def distance(gan):
    def watch(epoch, logs):
        # The lowest is the first: a search must not leave its state as the best.
        logs["distance"] = float(gan.updates) + 1.0

    return keras.callbacks.LambdaCallback(on_epoch_end=watch)


def train(directory, name, *, start=0, extra=(), rounds=2):
    """One process' part of a run, from the networks' start `start`."""
    gan = build(start)
    phases = strategies.phases(name, gan, SHARE, updates=EPOCHS * STEPS, rounds=rounds)
    rows = schedule.train(
        gan,
        phases,
        lambda phase: SETTINGS.compile(gan, phase),
        lambda first: data.batches(PIXELS, BATCH, seed=1, start=first),
        directory,
        epochs=EPOCHS,
        epoch_steps=STEPS,
        images_per_step=BATCH,
        monitor="distance",
        extra=(distance(gan), *extra),
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


def assert_same_file(one, other):
    first, second = arrays(one), arrays(other)
    assert first.keys() == second.keys()
    different = [key for key in first if not np.array_equal(first[key], second[key])]
    assert different == []


def history(directory):
    with open(directory / callbacks.HISTORY, newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k != "cpu_seconds"} for row in rows]


def stop_at(epoch):
    def stop(number, logs):
        if number == epoch:
            raise Killed

    return keras.callbacks.LambdaCallback(on_epoch_end=stop)


def masks(gan):
    return {
        (each.network, each.layer.name): each.mask.numpy()
        for each in gan.sparsity.masked
    }


def ones(gan):
    return {
        name: sum(int(each.mask.numpy().sum()) for each in group)
        for name, group in sparsity.by_network(gan.sparsity.masked).items()
    }


def sizes(gan):
    return {
        name: sum(each.mask.numpy().size for each in group)
        for name, group in sparsity.by_network(gan.sparsity.masked).items()
    }


def prunable(density=SHARE):
    gan = build()
    densities = dict.fromkeys(gan.networks(), density)
    strategies.tickets(gan, densities)
    SETTINGS.compile(gan, schedule.Phase("all", 1.0, lambda: None))
    return gan, densities


def batch(step):
    pixels = np.random.default_rng(step).uniform(-1, 1, (BATCH, 8, 8, 1))
    return tf.constant(pixels, tf.float32)


def test_pruning_keeps_the_largest_and_rewinds_bit_for_bit():
    gan, densities = prunable()
    first = {
        name: model.get_weights()
        for name, model in {
            **gan.networks(),
            "averaged": gan.averaged_generator,
        }.items()
    }
    start = {
        (m.network, m.layer.name): m.layer.kernel.numpy() for m in gan.sparsity.masked
    }
    for step in range(3):
        gan.train_step(batch(step))
    trained = {
        (m.network, m.layer.name): m.layer.kernel.numpy() for m in gan.sparsity.masked
    }
    strategies.prune(gan, densities)
    for name, network in gan.networks().items():
        keys = [key for key in trained if key[0] == name]
        magnitudes = np.abs(np.concatenate([trained[key].ravel() for key in keys]))
        order = np.argsort(-magnitudes, kind="stable")
        expected = np.zeros(magnitudes.size, bool)
        expected[order[: round(SHARE * magnitudes.size)]] = True
        found = np.concatenate([masks(gan)[key].ravel() for key in keys])
        np.testing.assert_array_equal(found, expected)
        kernels = {id(layer.kernel) for layer in sparsity.kernels(network)}
        for weight, value in zip(network.weights, first[name], strict=True):
            if id(weight) not in kernels:
                np.testing.assert_array_equal(weight.numpy(), value)
    for each in gan.sparsity.masked:
        key = each.network, each.layer.name
        expected = np.where(masks(gan)[key], start[key], 0)
        np.testing.assert_array_equal(each.layer.kernel.numpy(), expected)
    for weight, value in zip(
        gan.averaged_generator.get_weights(), first["averaged"], strict=True
    ):
        np.testing.assert_array_equal(weight, value)


def test_the_average_warms_up_again_after_a_rewind():
    gan, densities = prunable(1.0)
    value, average = gan.generator.weights[0], gan.averaged_generator.weights[0]

    def decay():
        before = average.numpy()
        gan.train_step(batch(0))
        return np.abs(value - average).sum() / np.abs(value - before).sum()

    decays = [decay() for _ in range(4)]
    strategies.prune(gan, densities)
    SETTINGS.compile(gan, schedule.Phase("again", 1.0, lambda: None))
    np.testing.assert_allclose([decay() for _ in range(4)], decays, rtol=1e-3)


def test_a_second_pruning_takes_from_what_is_left():
    gan, _ = prunable()
    for share in (0.6, 0.2):
        before = masks(gan)
        gan.train_step(batch(0))
        strategies.prune(gan, dict.fromkeys(gan.networks(), share))
        SETTINGS.compile(gan, schedule.Phase("all", 1.0, lambda: None))
        assert ones(gan) == {name: round(share * n) for name, n in sizes(gan).items()}
        assert not any((masks(gan)[key] & ~before[key]).any() for key in before)


@pytest.mark.parametrize(
    ("name", "killed"), [("pruned", 2), ("pruned", 3), ("dynamic_sparse", 3)]
)
def test_a_killed_run_ends_like_one_that_was_not(tmp_path, straight, name, killed):
    folder, gan, _ = straight(name)
    with pytest.raises(Killed):
        train(tmp_path, name, extra=(stop_at(killed),))
    assert callbacks.saved_updates(tmp_path) == killed * STEPS
    again, _ = train(tmp_path, name, start=99)
    for file in (callbacks.STATE, callbacks.BEST):
        assert_same_file(folder / file, tmp_path / file)
    assert history(folder) == history(tmp_path)
    for one, other in zip(gan.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Uninterrupted runs by strategy: directory, GAN, rows."""
    runs = {}

    def run(name):
        if name not in runs:
            folder = tmp_path_factory.mktemp(name)
            runs[name] = (folder, *train(folder, name))
        return runs[name]

    return run


@pytest.mark.parametrize("name", strategies.NAMES)
def test_the_end_of_a_run_is_as_sparse_as_asked(straight, name):
    folder, gan, _ = straight(name)
    if name == "dense":
        assert gan.sparsity is None
        assert sparsity.density(gan) == {"generator": 1.0, "discriminator": 1.0}
        return
    assert ones(gan) == {name: round(SHARE * n) for name, n in sizes(gan).items()}
    best = build()
    best.averaged_generator.load_weights(folder / callbacks.BEST)
    for each in gan.sparsity.masked:
        off = ~each.mask.numpy()
        networks = [gan.networks()[each.network]]
        if each.network == "generator":
            networks.append(gan.averaged_generator)
        for network in networks:
            assert not network.get_layer(each.layer.name).kernel.numpy()[off].any()
    nonzero = sum(
        np.count_nonzero(layer.kernel)
        for layer in sparsity.kernels(best.averaged_generator)
    )
    assert nonzero <= round(SHARE * sizes(gan)["generator"])


def test_a_saved_state_is_loaded_with_its_masks(straight):
    folder, gan, _ = straight("dynamic_sparse")
    other = build(start=7)
    phase, *_ = strategies.phases("dynamic_sparse", other, SHARE, updates=12)
    SETTINGS.compile(other, phase)
    other.sparsity.masked[0].mask.assign(~other.sparsity.masked[0].mask.numpy())
    callbacks.restore(other, folder)
    assert sparsity.density(other) == sparsity.density(gan)
    for key, mask in masks(gan).items():
        np.testing.assert_array_equal(masks(other)[key], mask)


def test_search_states_are_no_candidates(straight):
    folder, _, rows = straight("pruned")
    assert ["distance" in row for row in rows] == [False] * 4 + [True] * 2
    assert ["search_distance" in row for row in rows] == [True] * 4 + [False] * 2
    assert [row["distance"] for row in rows[4:]] == [11.0, 13.0]
    assert callbacks.read_history(folder)[0]["search_distance"] == 3.0


def test_two_stages_are_a_search_without_and_a_ticket_with_augmentation():
    gan = build()
    phases = strategies.phases("two_stage", gan, SHARE, updates=8, rounds=3)
    assert [phase.augmented for phase in phases] == [False, False, False, True]
    assert [phase.candidate for phase in phases] == [False, False, False, True]
    assert sum(phase.share for phase in phases) == pytest.approx(1.0)
    for phase in phases:
        phase.prepare()
        SETTINGS.compile(gan, phase)
        assert (gan.augmentation is SETTINGS.augmentation) == phase.augmented
    counts = {name: round(SHARE * size) for name, size in sizes(gan).items()}
    assert ones(gan) == counts
    pruned = strategies.phases("pruned", build(), SHARE, updates=8)
    assert [phase.augmented for phase in pruned] == [True] * 3


def test_rounds_of_pruning_keep_equal_ratios():
    gan = build()
    phases = strategies.phases("pruned", gan, 0.25, updates=8, rounds=2)
    for phase, share in zip(phases, (1.0, 0.5, 0.25), strict=True):
        phase.prepare()
        assert ones(gan) == {name: round(share * n) for name, n in sizes(gan).items()}


@pytest.mark.parametrize("name", ["pruned", "two_stage", "dynamic_sparse"])
def test_bad_shares_are_refused_before_training(name):
    with pytest.raises(errors.InputError, match="density 1.5 of generator"):
        strategies.phases(name, build(), 1.5, updates=8)


def test_unknown_strategies_are_refused():
    with pytest.raises(errors.InputError, match="dense, pruned, two_stage"):
        strategies.phases("lottery", build(), updates=8)
