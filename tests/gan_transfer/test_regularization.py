"""Penalties in closed form, spectral norm against SVD (document E 2(2))."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from gan_transfer import archive, regularization

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
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
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
