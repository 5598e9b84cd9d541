"""The generator as prior against ridge regression (documents A 2.2, D 2.3)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import errors
from restoration import generator_prior

SHAPE = (4, 5, 3)


def _linear():
    """G(v) = 2 (W v + b) - 1, so that an image is W v + b; returns G, W, b."""
    inputs = keras.Input((6,))
    x = keras.layers.Dense(60, name="dense")(inputs)
    network = keras.Model(inputs, keras.layers.Reshape(SHAPE)(x))
    rng = np.random.default_rng(0)
    matrix, offset = rng.normal(0, 0.3, (60, 6)), rng.uniform(size=60)
    network.get_layer("dense").set_weights([2 * matrix.T, 2 * offset - 1])
    return network, matrix, offset


def _images(count):
    values = np.random.default_rng(1).uniform(size=(count, *SHAPE))
    return tf.constant(values, tf.float32)


def _ridge(matrix, offset, y, known, sigma):
    """Closed form of the most probable image of a linear generator."""
    known = known.ravel() > 0
    seen = matrix[known]
    left = seen.T @ seen + sigma**2 * np.eye(6)
    latents = np.linalg.solve(left, seen.T @ (y.ravel() - offset)[known])
    return (matrix @ latents + offset).reshape(SHAPE)


def test_nearest_image_of_a_linear_generator():
    network, matrix, offset = _linear()
    x = _images(3)
    z = generator_prior.Generator(network, steps=400)(x, 0.5)
    for number in range(3):
        expected = _ridge(matrix, offset, x.numpy()[number], np.ones(SHAPE), 0.5)
        np.testing.assert_allclose(z[number], expected, atol=1e-4)


def test_missing_pixels_do_not_matter():
    network, matrix, offset = _linear()
    x = _images(2)
    mask = np.random.default_rng(2).uniform(size=(2, 4, 5, 1)) < 0.5
    broken = tf.where(mask, np.nan, x)
    prior = generator_prior.Generator(network, steps=400)
    z = prior.complete(broken, tf.constant(mask, tf.float32), 0.5)
    for number in range(2):
        known = np.broadcast_to(~mask[number], SHAPE)
        expected = _ridge(matrix, offset, x.numpy()[number], known, 0.5)
        np.testing.assert_allclose(z[number], expected, atol=1e-4)


def _curved():
    """A generator with many valleys."""
    inputs = keras.Input((6,))
    dense = keras.layers.Dense(
        60, activation=keras.ops.sin, use_bias=False, name="dense"
    )
    x = dense(inputs)
    network = keras.Model(inputs, keras.layers.Reshape(SHAPE)(x))
    weights = np.random.default_rng(0).normal(0, 0.7, (6, 60))
    network.get_layer("dense").set_weights([weights])
    return network


def test_the_best_start_is_kept():
    network = _curved()
    latents = tf.constant(np.random.default_rng(3).normal(size=(5, 6)), tf.float32)
    drawn = (network(latents) + 1) / 2

    def error(starts):
        prior = generator_prior.Generator(network, starts=starts)
        return np.square(prior(drawn, 0.01) - drawn).mean(axis=(1, 2, 3))

    assert (error(1) > 1e-2).any()
    assert (error(16) < 1e-6).all()


def test_an_image_does_not_depend_on_its_batch_nor_on_the_calls_before():
    prior = generator_prior.Generator(_curved(), steps=16)
    x = _images(3)
    together = prior(x, 0.1)
    np.testing.assert_array_equal(prior(x, 0.1), together)
    np.testing.assert_allclose(prior(x[1:2], 0.1), together[1:2], atol=1e-3)
    other = generator_prior.Generator(_curved(), steps=16, seed=1)
    assert np.abs(other(x, 0.1) - together).max() > 0.01


def test_generators_that_do_not_fit_are_refused():
    network, _, _ = _linear()
    inputs = [network.inputs[0], keras.Input((), dtype="int32")]
    with pytest.raises(errors.InputError, match="2 inputs"):
        generator_prior.Generator(keras.Model(inputs, network.outputs))
    prior = generator_prior.Generator(network)
    with pytest.raises(errors.InputError, match=r"images are \(5, 4, 3\)"):
        prior(tf.zeros([1, 5, 4, 3]), 0.1)
    with pytest.raises(errors.InputError, match="must be > 0"):
        prior(_images(1), 0.0)
