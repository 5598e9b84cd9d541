"""Data terms against autodiff, dense algebra and SciPy (documents A 2.2, D 2.3)."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from gan_transfer import errors
from restoration import data_terms, filling

SHAPE = (2, 9, 12, 3)


def _images(seed, shape=SHAPE):
    values = np.random.default_rng(seed).uniform(size=shape)
    return tf.constant(values, tf.float32)


def _kernel(rows, columns):
    kernel = np.random.default_rng(rows).uniform(size=(rows, columns)) ** 3
    return kernel / kernel.sum()


def _mask(channels):
    draws = np.random.default_rng(5).uniform(size=(*SHAPE[:3], channels))
    return tf.constant(draws < 0.4, tf.float32)


def _all_terms(sigma=0.1):
    y = _images(0)
    return [
        data_terms.Denoise(y, sigma),
        data_terms.Inpaint(y, _mask(1), sigma),
        data_terms.Inpaint(y, _mask(3), sigma),
        data_terms.Deblur(y, _kernel(3, 5), sigma),
        data_terms.Deblur(y, _kernel(4, 2), sigma),
    ]


@pytest.mark.parametrize("number", range(5))
def test_the_x_step_has_no_slope(number):
    data, z, rho = _all_terms()[number], _images(1), tf.constant(30.0)
    x = data.proximal(z, 30.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(data.residual(x) ** 2) / (2 * data.sigma**2)
        total += rho / 2 * tf.reduce_sum((x - z) ** 2)
    # The two terms' own slopes are about 30.
    np.testing.assert_allclose(tape.gradient(total, x), np.zeros(SHAPE), atol=2e-4)


@pytest.mark.parametrize("number", range(5))
def test_the_objective_is_the_square_of_the_residual(number):
    data, x = _all_terms()[number], _images(1)
    expected = np.sum(np.square(data.residual(x))) / (2 * 0.1**2)
    assert data_terms.objective(data, x) == pytest.approx(expected, rel=1e-5)


def test_denoising_by_hand():
    data = data_terms.Denoise(np.full((1, 1, 2, 1), 0.8), 0.5)
    # rho sigma^2 = 3: three parts of z, one of y.
    x = data.proximal(tf.fill([1, 1, 2, 1], 0.4), 12.0)
    np.testing.assert_allclose(x, np.full((1, 1, 2, 1), 0.5), rtol=1e-6)


def test_inpainting_without_noise_keeps_known_pixels_and_ignores_the_others():
    y, z, mask = _images(0), _images(1), _mask(1)
    broken = tf.where(mask > 0.5, np.nan, y)
    data = data_terms.Inpaint(broken, mask)
    expected = np.where(mask.numpy() > 0.5, z, y)
    np.testing.assert_array_equal(data.proximal(z, 3.0), expected)
    np.testing.assert_array_equal(data.finish(z), expected)
    filled = filling.fill(y, tf.broadcast_to(mask, SHAPE))
    np.testing.assert_array_equal(data.initial(), filled)
    assert data_terms.objective(data, data.finish(z)) == 0
    assert data_terms.objective(data, z) == float("inf")


def test_inpainting_residual_has_the_known_values_only():
    y, x, mask = _images(0), _images(1), _mask(3)
    residual = data_terms.Inpaint(y, mask, 0.1).residual(x)
    np.testing.assert_array_equal(residual, (x - y).numpy()[mask.numpy() == 0])


@pytest.mark.parametrize("sides", [(3, 5), (4, 2), (9, 12), (1, 1)])
def test_blur_is_scipys_convolution_on_a_circle(sides):
    y, x, kernel = _images(0), _images(1), _kernel(*sides)
    data = data_terms.Deblur(y, kernel, 0.1)
    blurred = scipy.ndimage.convolve(x.numpy(), kernel[None, :, :, None], mode="wrap")
    np.testing.assert_allclose(data.residual(x) + y, blurred, atol=1e-6)
    np.testing.assert_array_equal(data.initial(), y)


def test_an_image_that_goes_on_beyond_its_border_has_no_residual():
    x, kernel = _images(1, (2, 15, 16, 3)), _kernel(3, 5)
    blurred = scipy.ndimage.convolve(x.numpy(), kernel[None, :, :, None], mode="wrap")
    data = data_terms.Deblur(blurred[:, 2:-2, 4:-4], kernel, 0.1, circular=False)
    np.testing.assert_allclose(data.residual(x), np.zeros((2, 11, 8, 3)), atol=1e-6)
    np.testing.assert_array_equal(data.finish(x), x[:, 2:-2, 4:-4])
    assert data.initial().shape == x.shape
    np.testing.assert_array_equal(data.finish(data.initial()), data.y)


def _dense_x_step(data, z, rho):
    """argmin of the x-step on `[1, H, W, 1]` by solving the normal equations."""
    shape = z.shape
    count = int(np.prod(shape))
    units = np.eye(count, dtype=np.float32).reshape(count, *shape[1:])
    y = data.y.numpy().ravel()
    columns = [data.residual(unit[None]).numpy().ravel() + y for unit in units]
    matrix = np.array(columns, np.float64).T
    left = matrix.T @ matrix / data.sigma**2 + rho * np.eye(count)
    right = matrix.T @ y / data.sigma**2 + rho * z.numpy().ravel()
    return np.linalg.solve(left, right).reshape(shape)


def test_unseen_borders_are_solved_for(monkeypatch):
    data = data_terms.Deblur(
        _images(0, (1, 6, 7, 1)), _kernel(3, 2), 0.1, circular=False
    )
    z, rho = _images(1, (1, 10, 9, 1)), 30.0
    exact = _dense_x_step(data, z, rho)
    distances = []
    for rounds in (1, 3, 100):
        monkeypatch.setattr(data_terms, "_COMPLETIONS", rounds)
        distances.append(np.abs(data.proximal(z, rho) - exact).max())
    assert distances[0] > 2 * distances[1] > 0
    assert distances[2] < 1e-5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda y: data_terms.Denoise(y, 0.0), "sigma is 0.0; it must be > 0"),
        (lambda y: data_terms.Denoise(y[0], 0.1), "must be .B, H, W, C."),
        (lambda y: data_terms.Inpaint(y, _mask(3), -0.1), "it must be >= 0"),
        (lambda y: data_terms.Inpaint(y, _mask(3)[:, 1:]), "mask has shape"),
        (lambda y: data_terms.Inpaint(y, tf.ones_like(y)), "every pixel is missing"),
        (lambda y: data_terms.Deblur(y, np.ones((3, 3)), 0.1), "sum is 9"),
        (lambda y: data_terms.Deblur(y, np.ones(1), 0.1), "kernel is .h, w."),
        (lambda y: data_terms.Deblur(y, _kernel(11, 3), 0.1), "larger than the image"),
        (lambda y: data_terms.Deblur(y, _kernel(3, 3), float("nan")), "sigma is nan"),
    ],
)
def test_bad_data_are_refused(make, message):
    with pytest.raises(errors.InputError, match=message):
        make(_images(0))
