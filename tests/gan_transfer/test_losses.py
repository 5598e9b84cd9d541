"""Loss values and gradients against hand computations (documents A 3, E 3.3)."""

import math

import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import errors, losses

REAL, FAKE = [0.5, -1.0], [2.0, -0.25]


def _softplus(t):
    return math.log1p(math.exp(t))


def _mean(*values):
    return sum(values) / len(values)


CROSS_ENTROPY = _mean(_softplus(-0.5), _softplus(1.0)) + _mean(
    _softplus(2.0), _softplus(-0.25)
)
EXPECTED = {
    "minimax": (CROSS_ENTROPY, -_mean(_softplus(2.0), _softplus(-0.25))),
    "non_saturating": (CROSS_ENTROPY, _mean(_softplus(-2.0), _softplus(0.25))),
    # D: (0.5^2 + 2^2) / 2 = 2.125 and (2^2 + 0.25^2) / 2 = 2.03125, halved.
    "least_squares": (2.078125, 0.5 * _mean(1.0, 1.5625)),
    # h(t) = |t| - 1/2 beyond 1: D: (0.125 + 1.5) / 2 and (1.5 + 0.03125) / 2.
    "huber": (0.8125 + 0.765625, _mean(0.5, 0.75)),
    "wasserstein": (0.875 - -0.25, -0.875),
    # D: max(0, 0.5), max(0, 2) and max(0, 3), max(0, 0.75).
    "hinge": (1.25 + 1.875, -0.875),
    # f - r is 1.5 and 0.75.
    "relativistic": (
        _mean(_softplus(1.5), _softplus(0.75)),
        _mean(_softplus(-1.5), _softplus(-0.75)),
    ),
}


def _scores(values, dtype=tf.float32):
    return tf.constant(values, dtype)[:, None]


def test_every_family_is_expected():
    assert set(losses.FAMILIES) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_values(name):
    loss = losses.by_name(name)
    real, fake = _scores(REAL), _scores(FAKE)
    for value, expected in zip(
        (loss.discriminator(real, fake), loss.generator(real, fake)),
        EXPECTED[name],
        strict=True,
    ):
        assert value.shape == () and value.dtype == tf.float32
        assert float(value) == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_is_that_of_probabilities():
    real, fake = _scores(REAL), _scores(FAKE)
    d_real, d_fake = 1 / (1 + np.exp(-np.array([REAL, FAKE])))
    expected = -(np.log(d_real).mean() + np.log(1 - d_fake).mean())
    assert float(losses.minimax.discriminator(real, fake)) == pytest.approx(expected)
    assert float(losses.minimax.generator(None, fake)) == pytest.approx(
        np.log(1 - d_fake).mean()
    )
    assert float(losses.non_saturating.generator(None, fake)) == pytest.approx(
        -np.log(d_fake).mean()
    )


def _generator_slope(loss, score):
    fake = _scores([score])
    with tf.GradientTape() as tape:
        tape.watch(fake)
        value = loss.generator(_scores([0.0]), fake)
    return float(tape.gradient(value, fake)[0, 0])


def test_minimax_and_non_saturating_agree_at_one_half():
    # sigmoid(0) = 0.5
    assert _generator_slope(losses.minimax, 0.0) == pytest.approx(-0.5)
    assert _generator_slope(losses.non_saturating, 0.0) == pytest.approx(-0.5)


def test_only_minimax_saturates():
    slope = _generator_slope(losses.minimax, -30.0)
    assert slope == pytest.approx(-math.exp(-30.0), rel=1e-4)
    assert _generator_slope(losses.non_saturating, -30.0) == pytest.approx(-1.0)


def test_huber_is_least_squares_near_the_targets_and_has_bounded_slopes():
    real, fake = _scores([0.25, 1.75]), _scores([0.5, 0.75])
    for part in ("discriminator", "generator"):
        one, other = (
            float(getattr(loss, part)(real, fake))
            for loss in (losses.huber, losses.least_squares)
        )
        assert one == pytest.approx(other, rel=1e-6)
    assert _generator_slope(losses.huber, -30.0) == -1.0
    assert _generator_slope(losses.least_squares, -30.0) == -31.0


def test_large_scores_stay_finite():
    real, fake = _scores([-1e4]), _scores([1e4])
    assert float(losses.non_saturating.discriminator(real, fake)) == 2e4
    assert float(losses.minimax.generator(None, fake)) == -1e4


@pytest.mark.parametrize("name", EXPECTED)
def test_equal_scores_are_stationary_at_the_threshold_if_there_is_one(name):
    loss = losses.by_name(name)

    def slope(score):
        scores = _scores([score])
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = loss.discriminator(scores, scores)
        return float(tape.gradient(value, scores)[0, 0])

    if name in ("wasserstein", "relativistic"):
        assert loss.threshold is None
        assert slope(-3.0) == slope(0.0) == slope(3.0) == 0.0
    else:
        assert loss.threshold == (0.5 if name in ("least_squares", "huber") else 0.0)
        assert slope(loss.threshold) == 0.0
        assert slope(loss.threshold - 3.0) < 0.0 < slope(loss.threshold + 3.0)


@pytest.mark.parametrize("name", EXPECTED)
def test_generators_pull_scores_up(name):
    assert _generator_slope(losses.by_name(name), 0.25) < 0


def test_only_relativistic_needs_real():
    needing = {name for name, loss in losses.FAMILIES.items() if loss.needs_real}
    assert needing == {"relativistic"}
    with pytest.raises(ValueError, match="None"):
        losses.relativistic.generator(None, _scores(FAKE))
    for name in set(EXPECTED) - needing:
        loss = losses.by_name(name)
        expected = EXPECTED[name][1]
        assert float(loss.generator(None, _scores(FAKE))) == pytest.approx(expected)


@pytest.mark.parametrize("name", EXPECTED)
def test_bfloat16_scores_are_computed_in_float32(name):
    # Both are bfloat16 numbers; their squares and differences are not.
    real, fake = [3.015625, -1.2578125], [0.15625, 2.015625]
    loss = losses.by_name(name)
    half = (_scores(real, tf.bfloat16), _scores(fake, tf.bfloat16))
    full = (_scores(real), _scores(fake))
    for part in (loss.discriminator, loss.generator):
        value = part(*half)
        assert value.dtype == tf.float32
        assert float(value) == pytest.approx(float(part(*full)), rel=1e-6)


def test_unknown_name_lists_the_families():
    with pytest.raises(errors.InputError) as caught:
        losses.by_name("wgan")
    message = str(caught.value)
    assert "'wgan'" in message and "\n" not in message
    assert all(name in message for name in EXPECTED)
