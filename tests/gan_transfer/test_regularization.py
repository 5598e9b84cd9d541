"""Penalties, clipping and anchors in closed form (document E 2(2))."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from gan_transfer import regularization

SHAPE = (4, 3, 5, 2)


KEY = tf.constant([3, 7])


def _images(seed, shape=SHAPE):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def _direction(norm):
    values = np.random.default_rng(9).normal(size=SHAPE[1:])
    return tf.Variable(norm * values / np.linalg.norm(values), dtype=tf.float32)


def _linear(w):
    return lambda images: tf.reduce_sum(images * w, [1, 2, 3])[:, None] + 5.0


def _quadratic(images):
    return 0.5 * tf.reduce_sum(images**2, [1, 2, 3])[:, None]


def _value_and_slope(penalty, score, w):
    with tf.GradientTape() as tape:
        value = penalty(score, _images(0), _images(1), KEY)
    return value, tape.gradient(value, w)


@pytest.mark.parametrize("penalty", [regularization.R1(3.0), regularization.R2(3.0)])
def test_zero_centred_penalties_of_a_linear_discriminator(penalty):
    w = _direction(2.0)
    value, slope = _value_and_slope(penalty, _linear(w), w)
    assert value.dtype == tf.float32 and value.shape == ()
    assert float(value) == pytest.approx(3.0 / 2 * 4.0, rel=1e-6)
    np.testing.assert_allclose(slope, 3.0 * w.numpy(), rtol=1e-5)


def test_r1_is_on_real_and_r2_on_generated_images():
    # The gradient of |x|^2 / 2 is x.
    real, fake = _images(0), 2.0 * _images(1)
    for penalty, images in (
        (regularization.R1(0.5), real),
        (regularization.R2(0.5), fake),
    ):
        expected = 0.25 * np.mean(np.sum(images.numpy() ** 2, axis=(1, 2, 3)))
        value = penalty(_quadratic, real, fake, None)
        assert float(value) == pytest.approx(expected, rel=1e-6)


def test_gradient_norms_are_per_image():
    images = _images(2)
    norms = regularization.squared_gradient_norms(_quadratic, images)
    expected = np.sum(images.numpy() ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(norms, expected, rtol=1e-6)


@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_gradient_penalty_of_a_linear_discriminator(norm):
    w = _direction(norm)
    penalty = regularization.GradientPenalty(10.0)
    value, slope = _value_and_slope(penalty, _linear(w), w)
    assert float(value) == pytest.approx(10.0 * (norm - 1.0) ** 2, rel=1e-5, abs=1e-9)
    expected = 2 * 10.0 * (norm - 1.0) * w.numpy() / norm
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-4)


def test_gradient_penalty_is_finite_at_zero_gradient():
    w = tf.Variable(tf.zeros(SHAPE[1:]))
    value, slope = _value_and_slope(regularization.GradientPenalty(10.0), _linear(w), w)
    assert float(value) == pytest.approx(10.0, rel=1e-5)
    np.testing.assert_array_equal(slope, np.zeros(SHAPE[1:]))


def test_gradient_penalty_draws_uniformly_on_the_segments():
    real, fake = _images(0, (1000, 2, 1, 1)), _images(1, (1000, 2, 1, 1))
    captured = []

    def score(images):
        captured.append(images)
        return _quadratic(images)

    regularization.GradientPenalty()(score, real, fake, KEY)
    (between,) = captured
    start, along = (x.numpy().reshape(1000, 2) for x in (fake, real - fake))
    offset = between.numpy().reshape(1000, 2) - start
    share = np.sum(offset * along, axis=1) / np.sum(along**2, axis=1)
    np.testing.assert_allclose(offset, share[:, None] * along, atol=1e-5)
    assert scipy.stats.kstest(share, "uniform").pvalue > 0.01
    assert len(np.unique(share.round(6))) > 990


def test_gradient_penalty_is_keyed():
    def value(key):
        real, fake = _images(0), _images(1)
        penalty = regularization.GradientPenalty()
        return float(penalty(_quadratic, real, fake, tf.constant(key)))

    assert value([1, 2]) == value([1, 2])
    assert value([1, 2]) != value([1, 3])


def test_second_order_gradients_reach_the_kernel():
    model = keras.Sequential(
        [
            keras.Input(SHAPE[1:]),
            keras.layers.Flatten(),
            keras.layers.Dense(1, name="head_dense"),
        ]
    )
    kernel = model.get_layer("head_dense").kernel
    with tf.GradientTape() as tape:
        value = regularization.R1(2.0)(model, _images(0), _images(1), KEY)
    np.testing.assert_allclose(
        tape.gradient(value, kernel), 2.0 * kernel.numpy(), rtol=1e-5
    )


def test_second_order_gradients_pass_convolutions():
    model = keras.Sequential(
        [
            keras.Input((6, 4, 1)),
            regularization.SpectralConv2D(3, 3, 2, padding="same"),
            keras.layers.LeakyReLU(0.2),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    for _ in range(200):  # u and v count as constants: exact where they have settled
        regularization.update_spectral_norms(model)
    kernel, head = model.layers[0].kernel, model.layers[-1].kernel
    images = _images(0, (2, 6, 4, 1))
    penalty = regularization.GradientPenalty()

    def value():
        return penalty(model, images, -images, KEY)

    with tf.GradientTape() as tape:
        total = value()
    slopes = tape.gradient(total, [kernel, head])
    for variable, slope in zip((kernel, head), slopes, strict=True):
        start = variable.numpy()
        nudge = np.random.default_rng(4).normal(size=start.shape).astype("float32")
        variable.assign(start + 1e-3 * nudge)
        above = float(value())
        variable.assign(start - 1e-3 * nudge)
        below = float(value())
        variable.assign(start)
        expected = np.sum(slope.numpy() * nudge)
        assert abs(expected) > 1e-2
        assert (above - below) / 2e-3 == pytest.approx(expected, rel=2e-2)


def test_clip_weights():
    variables = [keras.Variable([-2.0, -0.01, 0.3]), keras.Variable([[0.02, 9.0]])]
    regularization.clip_weights(variables, 0.02)
    np.testing.assert_array_equal(variables[0], np.float32([-0.02, -0.01, 0.02]))
    np.testing.assert_array_equal(variables[1], np.float32([[0.02, 0.02]]))


def test_l2_to_source():
    near = keras.Variable([1.0, 2.0], name="near")
    far = keras.Variable([[3.0]], name="far")
    new = keras.Variable([7.0], name="new")
    anchors = {near.path: np.float32([1.0, 0.5]), far.path: np.float32([[-1.0]])}
    penalty = regularization.L2ToSource(0.1, anchors)
    with tf.GradientTape() as tape:
        value = penalty([near, far, new])
    assert float(value) == pytest.approx(0.1 / 2 * (1.5**2 + 4.0**2))
    slopes = tape.gradient(value, [near.value, far.value, new.value])
    np.testing.assert_allclose(slopes[0], [0.0, 0.15], rtol=1e-6)
    np.testing.assert_allclose(slopes[1], [[0.4]], rtol=1e-6)
    assert slopes[2] is None
