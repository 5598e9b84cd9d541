"""Priors against scikit-image and closed forms (documents A 2.2, D 2.3)."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from skimage import restoration as peer

from gan_transfer import errors
from restoration import cosine_patches, pretrained, priors


def _noisy(shape, sigma=0.1, seed=0):
    """A bright rectangle with noise, float32."""
    rng = np.random.default_rng(seed)
    image = np.full(shape, 0.2)
    image[:, 3:9, 4:12] = 0.8
    return tf.constant(image + rng.normal(0, sigma, shape), tf.float32)


def _rms(x):
    return float(np.sqrt(np.mean(np.square(x))))


@pytest.mark.parametrize("strength", [0.02, 0.1])
def test_total_variation_equals_scikit_image(strength):
    x = _noisy((1, 17, 23, 1))
    expected = peer.denoise_tv_chambolle(
        x.numpy()[0, ..., 0].astype(float),
        weight=12 * strength**2,
        eps=1e-12,
        max_num_iter=20_000,
    )
    z = priors.TotalVariation(12.0, tolerance=1e-4)(x, strength)
    assert _rms(z[0, ..., 0] - expected) < 1e-4
    rough = priors.TotalVariation(12.0)(x, strength)
    assert _rms(rough - z) < 1e-3


def test_total_variation_of_a_step():
    # Plateaus of n = 3 and 5 pixels move towards each other by threshold / n.
    x = np.zeros((1, 4, 8, 1), np.float32)
    x[:, :, 3:] = 1.0
    z = priors.TotalVariation(3.0, tolerance=1e-5)(tf.constant(x), 0.2)
    expected = np.where(x == 0, 0.12 / 3, 1 - 0.12 / 5)
    np.testing.assert_allclose(z, expected, atol=1e-4)


def test_total_variation_as_a_number():
    x = _noisy((2, 5, 7, 3)).numpy().astype(float)
    down, right = np.zeros_like(x), np.zeros_like(x)
    down[:, :-1] = np.diff(x, axis=1)
    right[:, :, :-1] = np.diff(x, axis=2)
    length = np.sqrt((down**2 + right**2).sum(axis=-1))
    value = priors.TotalVariation(0.7).objective(tf.constant(x, tf.float32))
    assert value == pytest.approx(0.7 * length.sum(), rel=1e-5)


def test_equal_channels_share_their_edges():
    # |(g, g, g)| = sqrt(3) |g|, against three times the square distance.
    grey = _noisy((1, 13, 15, 1))
    colour = priors.TotalVariation(9.0, 1e-5)(tf.repeat(grey, 3, axis=-1), 0.1)
    expected = priors.TotalVariation(9.0 / 3**0.5, 1e-5)(grey, 0.1)
    np.testing.assert_allclose(colour, tf.repeat(expected, 3, axis=-1), atol=1e-4)


def test_total_variation_of_a_batch_is_as_exact_as_of_each():
    x = tf.concat([_noisy((1, 13, 15, 3)), 0.01 * _noisy((1, 13, 15, 3))], 0)
    prior, exact = priors.TotalVariation(9.0), priors.TotalVariation(9.0, 1e-5)
    together = prior(x, 0.1)
    for number in range(2):
        alone = exact(x[number : number + 1], 0.1)
        assert _rms(together[number] - alone[0]) < 1e-3


def test_total_variation_stops_after_its_iterations():
    x = _noisy((1, 17, 23, 1))
    few, more = (priors.TotalVariation(12.0, 1e-5, n)(x, 0.1) for n in (3, 300))
    exact = priors.TotalVariation(12.0, 1e-6, 3000)(x, 0.1)
    assert _rms(few - exact) > 30 * _rms(more - exact)


def test_without_weight_or_structure_nothing_changes():
    x = _noisy((1, 6, 8, 1))
    np.testing.assert_array_equal(priors.TotalVariation(0.0)(x, 0.1), x)
    flat = tf.fill([1, 6, 8, 3], 0.3)
    np.testing.assert_array_equal(priors.TotalVariation(5.0)(flat, 0.1), flat)
    for prior in (priors.Sparse(), priors.Sparse(0.0)):
        np.testing.assert_allclose(prior(flat, 0.1), flat, atol=1e-6)
    for channels in (1, 3):
        x = _noisy((1, 6, 8, channels))
        np.testing.assert_allclose(priors.Sparse(0.0)(x, 0.1), x, atol=1e-6)


def test_sparse_thresholds_at_a_multiple_of_the_strength():
    x = _noisy((2, 17, 8, 3))
    expected = cosine_patches.thresholded(x, 2.5 * 0.1)
    np.testing.assert_array_equal(priors.Sparse(2.5)(x, 0.1), expected)


def test_sparse_of_grey_colours_is_that_of_their_brightness():
    grey = _noisy((1, 10, 13, 1))
    colour = priors.Sparse(2.5)(tf.repeat(grey, 3, axis=-1), 0.1)
    expected = priors.Sparse(2.5 / 3**0.5)(grey, 0.1)
    np.testing.assert_allclose(colour, tf.repeat(expected, 3, axis=-1), atol=1e-5)


def test_sparse_takes_images_smaller_than_its_patches():
    x = _noisy((1, 3, 5, 3))
    assert priors.Sparse()(x, 0.1).shape == x.shape
    one = tf.constant([[[[0.25]]]])
    np.testing.assert_allclose(priors.Sparse()(one, 0.1), one, atol=1e-6)


def _network(channels):
    """Returns image - 2 level + mask, to see what it is given."""
    image, level, mask = inputs = [
        keras.Input((None, None, count)) for count in (channels, 1, channels)
    ]
    result = keras.layers.Rescaling(-2.0)(level)
    return keras.Model(inputs, keras.layers.Add()([image, result, mask]))


def test_a_network_is_told_the_strength_and_that_nothing_is_missing():
    prior = priors.Learned(_network(3))
    for shape in ((2, 5, 7, 3), (1, 8, 4, 3)):
        x = _noisy(shape)
        for strength in (0.1, 0.2):
            z = prior(x, strength)
            np.testing.assert_allclose(z, x - 2 * strength, atol=1e-6)


def test_a_learned_prior_sees_no_seams_between_its_tiles():
    network = pretrained.load("restorer_gray")
    x = tf.constant(np.random.default_rng(0).random((2, 300, 200, 1)), tf.float32)
    whole, tiled = (priors.Learned(network, tile)(x, 0.1) for tile in (512, 288))
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    with pytest.raises(errors.InputError, match="tile is 100; it must be a multiple"):
        priors.Learned(network, 100)(x, 0.1)


def test_a_network_for_other_channels_is_refused():
    with pytest.raises(errors.InputError, match="3 channels, the network 1"):
        priors.Learned(_network(1))(_noisy((1, 5, 7, 3)), 0.1)


def test_a_negative_weight_is_refused():
    with pytest.raises(errors.InputError, match="weight of the total variation is -1"):
        priors.TotalVariation(-1.0)
