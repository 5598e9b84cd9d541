"""Collapse is seen, health is left alone, the best state stays (document E 3.3)."""

import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import (
    adversarial,
    callbacks,
    errors,
    gan_settings,
    schedule,
    stability,
)
from gan_transfer.networks import fully_connected

HEALTHY = [0.1, 0.12, 0.2, 0.3, 0.31, 0.6, 0.55, 0.9, 0.95, 0.94]


def test_effective_classes():
    certain = np.eye(20)[np.arange(40) % 10]
    assert stability.effective_classes(certain) == pytest.approx(10)
    assert stability.effective_classes(certain[:1].repeat(9, axis=0)) == 1
    # exp of the entropy of (3/4, 1/4)
    assert stability.effective_classes(np.eye(2)[[0, 0, 0, 1]]) == pytest.approx(
        4 / 3**0.75
    )
    # Doubt counts as well as variety.
    assert stability.effective_classes(np.full((5, 4), 0.25)) == pytest.approx(4)


def test_spread_is_the_root_mean_square_distance_of_pairs():
    features = np.random.default_rng(0).normal(size=(7, 3)) + 100
    pairs = [
        np.sum((a - b) ** 2)
        for i, a in enumerate(features)
        for j, b in enumerate(features)
        if i != j
    ]
    assert stability.spread(features) == pytest.approx(np.sqrt(np.mean(pairs)))
    assert stability.spread(np.ones((4, 2), np.float32)) == 0


def test_mode_coverage_is_the_smaller_ratio():
    real = np.random.default_rng(0).normal(size=(50, 3))
    classes, one = np.eye(4)[np.arange(50) % 4], np.eye(4)[np.zeros(50, int)]
    assert stability.mode_coverage(real, real) == 1
    assert stability.mode_coverage(real, 0.5 * real + 7) == pytest.approx(0.5)
    assert stability.mode_coverage(real, real, classes, one) == pytest.approx(
        0.25, abs=0.01
    )
    assert stability.mode_coverage(real, 0.1 * real, classes, classes) == pytest.approx(
        0.1
    )
    # Real images that are all alike cannot be covered badly.
    assert stability.mode_coverage(np.zeros((3, 2)), real[:, :2]) > 1


@pytest.mark.parametrize(
    ("coverages", "expected"),
    [
        ([], False),
        ([0.0, 0.0, 0.0], False),
        ([0.0, 0.0, 0.0, 0.0], True),
        ([0.05, 0.05, 0.052, 0.051], True),
        # A start that is slow, but moves.
        ([0.05, 0.06, 0.07, 0.08, 0.09], False),
        # A fall by more than half, for three evaluations.
        ([0.2, 0.9, 0.4, 0.44], False),
        ([0.2, 0.9, 0.4, 0.44, 0.43], True),
        ([0.2, 0.9, 0.4, 0.46, 0.43, 0.4], False),
        ([0.6, 0.34, 0.31, 0.33], False),
        # A dip that mends, though still below the best; and one that does not.
        ([0.2, 0.9, 0.1, 0.2, 0.4], False),
        ([0.2, 0.9, 0.1, 0.1, 0.105], True),
        ([0.6, 0.29, 0.28, 0.2], True),
    ],
)
def test_which_runs_have_collapsed(coverages, expected):
    assert stability.collapsed(coverages) == expected


def test_a_healthy_run_is_never_stopped():
    assert not any(stability.collapsed(HEALTHY[:n]) for n in range(1, len(HEALTHY) + 1))


ALL = (schedule.Phase("all", 1.0, lambda: None),)
HALVES = tuple(schedule.Phase(name, 0.5, lambda: None) for name in ("first", "second"))


def _train(directory, measure, epochs=6, phases=ALL):
    generator = fully_connected.generator((4, 6, 1), latent_dim=2, units=(3,))
    discriminator = fully_connected.discriminator((4, 6, 1), units=(3,))
    gan = adversarial.GAN(generator, discriminator)
    images = np.random.default_rng(0).uniform(-1, 1, (4, 4, 6, 1)).astype("float32")

    def batches(start):
        return tf.data.Dataset.from_tensors(images).repeat()

    settings = gan_settings.Settings(penalties=())
    return gan, lambda: schedule.train(
        gan,
        phases,
        lambda phase: settings.compile(gan, phase),
        batches,
        directory,
        epochs=epochs,
        epoch_steps=2,
        images_per_step=4,
        monitor="g_loss",
        extra=(stability.CollapseGuard(directory, lambda: measure(gan)),),
        verbose=0,
    )


def _of_samples(gan):
    real = np.random.default_rng(0).uniform(-1, 1, (50, 24))
    return stability.mode_coverage(real, gan.generate(50).reshape(50, 24))


def test_a_generator_of_one_image_is_stopped_and_its_state_kept(tmp_path):
    def measure(gan):
        kernels = [w * 0 for w in gan.averaged_generator.get_weights()]
        gan.averaged_generator.set_weights(kernels)
        return _of_samples(gan)

    _, train = _train(tmp_path, measure)
    with pytest.raises(errors.Collapsed, match="at update 8 .* 0% of the") as stopped:
        train()
    assert stopped.value.outcome == "collapsed"
    rows = callbacks.read_history(tmp_path)
    assert [(row["step"], row["mode_coverage"]) for row in rows] == [
        (2, 0.0),
        (4, 0.0),
        (6, 0.0),
    ]
    assert callbacks.saved_updates(tmp_path) == 6
    assert (tmp_path / callbacks.BEST).exists()
    # The same command again ends in the same way, at once.
    _, again = _train(tmp_path, measure)
    with pytest.raises(errors.Collapsed, match="at update 8"):
        again()
    assert callbacks.read_history(tmp_path) == rows


def test_a_healthy_run_goes_through_and_logs_its_coverage(tmp_path):
    coverages = iter(HEALTHY)
    _, train = _train(tmp_path, lambda gan: next(coverages))
    rows = train()
    assert [row["mode_coverage"] for row in rows] == HEALTHY[:6]


# The second phase starts anew: slow, but on its way.
RESTARTED = [0.5, 0.8, 0.9, 0.92, 0.1, 0.12, 0.125, 0.13]


@pytest.mark.parametrize("killed", [False, True])
def test_each_phase_is_judged_by_itself(tmp_path, killed):
    assert stability.collapsed(RESTARTED)
    coverages = iter(RESTARTED)

    def measure(gan):
        if killed and int(gan.updates) == 14 and not killings:
            killings.append(True)
            raise KeyboardInterrupt
        return next(coverages)

    killings = []
    _, train = _train(tmp_path, measure, epochs=8, phases=HALVES)
    if killed:
        with pytest.raises(KeyboardInterrupt):
            train()
        _, train = _train(tmp_path, measure, epochs=8, phases=HALVES)
    assert [row["mode_coverage"] for row in train()] == RESTARTED


def test_a_collapse_within_the_second_phase_is_seen(tmp_path):
    coverages = iter([*RESTARTED[:4], 0.02, 0.02, 0.02, 0.02])
    _, train = _train(tmp_path, lambda gan: next(coverages), epochs=8, phases=HALVES)
    with pytest.raises(errors.Collapsed, match="at update 16"):
        train()
