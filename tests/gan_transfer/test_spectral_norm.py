"""Spectral normalisation against SVD (document E 2(2))."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import archive, regularization

SHAPE = (4, 3, 5, 2)


def _images(seed, shape=SHAPE):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def _conv():
    layer = regularization.SpectralConv2D(
        5, 3, 2, padding="same", name="block1_conv", bias_initializer="normal"
    )
    return _model(layer, (6, 4, 2))


def _dense():
    layer = regularization.SpectralDense(
        4, activation="tanh", name="head_dense", bias_initializer="normal"
    )
    return _model(layer, (7,))


def _model(layer, shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs), name="discriminator")


def _plain(model):
    """The same layer without the normalisation, for a kernel given to it."""
    layer = model.layers[1]
    base = type(layer).__mro__[2]
    config = layer.get_config()
    plain = base.from_config(config)
    plain.build((None, *model.inputs[0].shape[1:]))
    return plain


def _matrix(kernel):
    return np.asarray(kernel).reshape(-1, kernel.shape[-1])


def _settled(make):
    model = make()
    for _ in range(500):
        regularization.update_spectral_norms(model)
    return model


spectral = pytest.mark.parametrize("make", [_conv, _dense])


@spectral
def test_sigma_is_the_largest_singular_value(make):
    model = _settled(make)
    layer = model.layers[1]
    kernel = layer.kernel.numpy()
    top = np.linalg.svd(_matrix(kernel), compute_uv=False)[0]
    normalised = layer.normalised_kernel(tf.constant(kernel)).numpy()
    np.testing.assert_allclose(normalised, kernel / top, rtol=1e-5)

    plain = _plain(model)
    plain.set_weights([kernel / top, layer.bias.numpy()])
    inputs = _images(0, (3, *model.inputs[0].shape[1:]))
    np.testing.assert_allclose(model(inputs), plain(inputs), rtol=1e-4, atol=1e-5)


@spectral
def test_one_update_is_one_power_iteration(make):
    model = make()
    layer = model.layers[1]
    matrix, u = _matrix(layer.kernel.numpy()), layer.u.numpy()
    v = matrix @ u / np.linalg.norm(matrix @ u)
    expected = matrix.T @ v / np.linalg.norm(matrix.T @ v)
    regularization.update_spectral_norms(model)
    np.testing.assert_allclose(layer.u.numpy(), expected, rtol=1e-4, atol=1e-6)


@spectral
def test_forward_passes_write_nothing(make):
    model = make()
    before = [weight.numpy() for weight in model.weights]
    assert len(before) == 3
    inputs = _images(0, (3, *model.inputs[0].shape[1:]))
    first, second = model(inputs, training=True), model(inputs, training=True)
    np.testing.assert_array_equal(first, second)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


@spectral
def test_only_trainable_layers_move_u(make):
    model = make()
    layer = model.layers[1]
    kernel, start = layer.kernel.numpy(), layer.u.numpy()
    layer.trainable = False
    regularization.update_spectral_norms(model)
    np.testing.assert_array_equal(layer.u.numpy(), start)
    layer.trainable = True
    regularization.update_spectral_norms(model)
    assert np.all(layer.u.numpy() != start)
    np.testing.assert_array_equal(layer.kernel.numpy(), kernel)


@spectral
def test_gradient_goes_through_sigma(make):
    layer = _settled(make).layers[1]
    kernel = layer.kernel.numpy()
    left, _, right = np.linalg.svd(_matrix(kernel), full_matrices=False)
    top = np.outer(left[:, 0], right[0]).reshape(kernel.shape).astype("float32")
    target = np.random.default_rng(1).normal(size=kernel.shape).astype("float32")

    def slope(direction):
        variable = tf.Variable(kernel)
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(
                layer.normalised_kernel(tf.convert_to_tensor(variable)) * direction
            )
        return tape.gradient(value, variable).numpy()

    # <W, top> / sigma is 1 whatever W is, and the length of W changes nothing.
    np.testing.assert_allclose(slope(top), 0.0, atol=1e-5)
    found = slope(target)
    assert np.sum(found * kernel) == pytest.approx(0.0, abs=1e-4)
    # W / sigma: T / sigma - <T, W> / sigma^2 d(sigma)/dW, and d(sigma)/dW = top.
    sigma = np.sum(kernel * top)
    expected = target / sigma - np.sum(target * kernel) / sigma**2 * top
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@spectral
@pytest.mark.parametrize("form", ["keras", "archive"])
def test_saving_keeps_kernel_and_u(make, form, tmp_path):
    model = make()
    regularization.update_spectral_norms(model)
    if form == "keras":
        model.save(tmp_path / "d.keras")
        loaded = keras.saving.load_model(tmp_path / "d.keras")
    else:
        archive.save(tmp_path / "d.npz", {"d": model})
        loaded = archive.load(tmp_path / "d.npz")[0]["d"]
    assert type(loaded.layers[1]) is type(model.layers[1])
    for old, new in zip(model.weights, loaded.weights, strict=True):
        assert old.path == new.path
        np.testing.assert_array_equal(old.numpy(), new.numpy())
    inputs = _images(0, (3, *model.inputs[0].shape[1:]))
    np.testing.assert_array_equal(model(inputs), loaded(inputs))


@spectral
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_spectral_layers_compute_sigma_in_float32(make, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = make()
    finally:
        keras.config.set_dtype_policy(before)
    reference = make()
    reference.set_weights(model.get_weights())
    inputs = _images(0, (3, *model.inputs[0].shape[1:]))
    outputs = model(inputs)
    assert outputs.dtype == model.layers[1].compute_dtype
    assert model.layers[1].u.dtype == "float32"
    np.testing.assert_allclose(
        tf.cast(outputs, tf.float32), reference(inputs), rtol=0.05, atol=0.05
    )
