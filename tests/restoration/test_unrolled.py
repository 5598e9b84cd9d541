import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import errors
from restoration import networks, sparse_coding, unrolled


def _images(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def _inputs(height=7, width=9, channels=1, batch=2, missing=0.3):
    image = _images(batch, height, width, channels)
    level = 0.2 * _images(batch, height, width, 1, seed=1)
    mask = _images(batch, height, width, channels, seed=2) < missing
    return [image, level, mask.astype(np.float32)]


def _randomise(model, scale=0.3):
    rng = np.random.default_rng(3)
    for weight in model.weights:
        draws = scale * rng.normal(size=weight.shape)
        # Thresholds must stay >= 0.
        weight.assign(np.abs(draws) if len(weight.shape) == 1 else draws)


def _dense(kernel, height, width, stride):
    """The dictionary as a matrix `[H W C, codes M]` on an image of whole blocks."""
    side, _, channels, filters = kernel.shape
    front = (-(-side // stride) - 1) // 2 * stride
    rows, columns = height // stride, width // stride
    shape = (height + 2 * side, width + 2 * side, channels, rows, columns, filters)
    placed = np.zeros(shape)
    for row in range(rows):
        for column in range(columns):
            top = row * stride - front + side
            left = column * stride - front + side
            window = (slice(top, top + side), slice(left, left + side))
            placed[(*window, slice(None), row, column)] = kernel
    inner = placed[side : side + height, side : side + width]
    return inner.reshape(height * width * channels, -1)


def _reference(model, inputs, iterations, stride):
    """The equations of `unrolled_sparse` in NumPy, with matrices, for one image."""
    image, level, mask = inputs
    height, width, channels = image.shape
    ends = [(0, -height % stride), (0, -width % stride), (0, 0)]
    known = 1.0 - mask
    mean = (known * image).sum((0, 1)) / known.sum((0, 1))
    y = np.pad(known * (image - mean), ends).ravel()
    known = np.pad(known, ends)
    whole = known.shape
    counted = np.pad(np.ones_like(level), ends)
    blocks = (whole[0] // stride, stride, whole[1] // stride, stride)
    sigma = np.pad(level, ends).reshape(blocks).sum((1, 3))
    sigma = (sigma / counted.reshape(blocks).sum((1, 3)))[..., None]

    def matrix(name):
        kernel = model.get_layer(name).kernel.numpy().astype(np.float64)
        return _dense(kernel, *whole[:2], stride)

    codes = 0.0
    for number in range(1, iterations + 1):
        seen = 0.0
        if number > 1:
            seen = known.ravel() * (matrix(f"iterate{number}_synthesis") @ codes)
        codes = codes - matrix(f"iterate{number}_analysis").T @ (seen - y)
        layer = model.get_layer(f"iterate{number}_threshold")
        theta = (layer.offset.numpy() + layer.slope.numpy() * sigma).ravel()
        codes = np.sign(codes) * np.maximum(np.abs(codes) - theta, 0)
    restored = (matrix("head_dictionary") @ codes).reshape(whole)
    return restored[:height, :width] + mean


@pytest.mark.parametrize(
    ("channels", "filters", "iterations", "kernel", "stride"),
    [(1, 5, 3, 7, 2), (3, 4, 2, 3, 1), (2, 3, 3, 5, 3), (1, 4, 1, 4, 4)],
)
def test_network_equals_its_equations(channels, filters, iterations, kernel, stride):
    model = unrolled.unrolled_sparse(channels, filters, iterations, kernel, stride)
    _randomise(model)
    inputs = _inputs(7, 9, channels)
    restored = model(inputs).numpy()
    for number in range(2):
        expected = _reference(model, [x[number] for x in inputs], iterations, stride)
        np.testing.assert_allclose(restored[number], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (5, 3), (3, 1), (2, 2)])
def test_analysis_is_the_adjoint_of_synthesis(kernel, stride):
    analysis = unrolled.Analysis(4, kernel, stride)
    synthesis = unrolled.Synthesis(3, kernel, stride)
    blocks = _images(1, 5, 6, 3 * stride**2) - 0.5
    codes = _images(1, 5, 6, 4, seed=1) - 0.5
    analysis.build(blocks.shape)
    synthesis.build(codes.shape)
    analysis.kernel.assign(synthesis.kernel)
    left = np.vdot(analysis(blocks), codes)
    assert left == pytest.approx(np.vdot(blocks, synthesis(codes)), rel=1e-5)


def test_start_is_plain_ista():
    model = unrolled.unrolled_sparse(1, 6, 3, 5, 2)
    first, *others = (
        layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")
    )
    assert len(others) == 5
    assert all((other == first).all() for other in others)
    largest = unrolled.largest_eigenvalue(first, 2)
    assert largest == pytest.approx(1, abs=1e-5)
    # A finite image comes close to the bound and stays below it.
    norm = np.linalg.norm(_dense(first, 24, 26, 2), 2)
    assert 0.95 < norm**2 < 1.001
    norms = np.linalg.norm(first.reshape(-1, 6), axis=0)
    for number in range(1, 4):
        layer = model.get_layer(f"iterate{number}_threshold")
        np.testing.assert_allclose(layer.slope, norms, rtol=1e-5)
        assert not layer.offset.numpy().any()


def test_start_with_separate_patches_equals_ista():
    model = unrolled.unrolled_sparse(1, 12, 5, kernel=3, stride=3)
    for layer in model.layers:
        if hasattr(layer, "slope"):
            layer.offset.assign(np.full(12, 0.02))
            layer.slope.assign(np.zeros(12))
    image, level, mask = _inputs(6, 9, batch=1, missing=0)
    dictionary = model.get_layer("head_dictionary").kernel.numpy().reshape(9, 12)
    patches = (image - image.mean()).reshape(2, 3, 3, 3).transpose(0, 2, 1, 3)
    codes = sparse_coding.ista(
        dictionary, patches.reshape(6, 9), 0.02, iterations=5, tolerance=0
    )
    expected = (codes @ dictionary.T).reshape(2, 3, 3, 3).transpose(0, 2, 1, 3)
    restored = model([image, level, mask]).numpy()
    expected = expected.reshape(image.shape) + image.mean()
    np.testing.assert_allclose(restored, expected, atol=1e-6)


def _orthonormal(iterations=1):
    """A model whose 2x2 filters are an orthonormal basis: one filter, one pixel."""
    model = unrolled.unrolled_sparse(1, 4, iterations, kernel=2, stride=2)
    kernel = np.eye(4).reshape(2, 2, 1, 4)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.assign(kernel)
        if hasattr(layer, "slope"):
            layer.slope.assign(np.zeros(4))
    return model


@pytest.mark.parametrize("iterations", [1, 4])
def test_orthonormal_dictionary_without_threshold_returns_the_image(iterations):
    model = _orthonormal(iterations)
    image, level, mask = _inputs(5, 7, missing=0)
    restored = model([image, level, mask])
    np.testing.assert_allclose(restored, image, atol=1e-6)
    assert unrolled.largest_eigenvalue(model.weights[0].numpy(), 2) == pytest.approx(1)


def test_threshold_follows_the_noise_level_of_each_block():
    model = _orthonormal()
    model.get_layer("iterate1_threshold").offset.assign(np.full(4, 0.05))
    model.get_layer("iterate1_threshold").slope.assign(np.full(4, 2.0))
    image, level, mask = _inputs(4, 6, missing=0)
    level[:, :, 4:] = 1.0
    restored = model([image, level, mask]).numpy()
    mean = image.mean((1, 2), keepdims=True)
    blocks = level.reshape(2, 2, 2, 3, 2, 1).mean((2, 4))
    theta = 0.05 + 2.0 * blocks.repeat(2, axis=1).repeat(2, axis=2)
    centred = image - mean
    shrunk = np.sign(centred) * np.maximum(np.abs(centred) - theta, 0)
    np.testing.assert_allclose(restored, mean + shrunk, atol=1e-6)
    np.testing.assert_allclose(restored[:, :, 4:], mean + 0 * image[:, :, 4:])


def test_level_of_a_cut_block_is_the_mean_of_its_pixels():
    level = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)[None, ..., None]
    zeros = np.zeros_like(level)
    _, known, blocks, _ = unrolled.Observe(2)([zeros, level, zeros])
    assert blocks.numpy().squeeze().tolist() == [[3, 4.5], [7.5, 9]]
    assert known.numpy()[0, 1, 1].tolist() == [1, 0, 0, 0]


def test_a_told_mean_takes_the_place_of_the_own_one():
    model = unrolled.unrolled_sparse(3, 6, 3, 5, 2)
    _randomise(model)
    told = unrolled.with_mean(model)
    image, level, mask = _inputs(9, 12, channels=3)
    known = 1 - mask
    mean = (known * image).sum((1, 2), keepdims=True) / known.sum((1, 2), keepdims=True)
    expected = model([image, level, mask]).numpy()
    found = told([image, level, mask, mean]).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    # Of a part of the picture it makes the same as of the same values around 0.
    shifted = told([image - 0.5, level, mask, mean - 0.5]).numpy()
    np.testing.assert_allclose(shifted + 0.5, expected, rtol=1e-5, atol=1e-5)
    other = told([image, level, mask, mean - 0.5]).numpy()
    assert np.abs(other - expected).max() > 1e-3
    assert unrolled.with_mean(networks.restorer(1, widths=(4, 4), blocks=1)) is None


def test_soft_threshold_and_its_derivative():
    codes = tf.constant([-3.0, -1, -0.5, 0, 0.5, 1.5])
    threshold = tf.constant([1.0, 1, 1, 1, 0, 1])
    with tf.GradientTape() as tape:
        tape.watch([codes, threshold])
        result = unrolled.soft_threshold(codes, threshold)
    assert result.numpy().tolist() == [-2, 0, 0, 0, 0.5, 0.5]
    gradients = tape.gradient(result, [codes, threshold])
    assert gradients[0].numpy().tolist() == [1, 0, 0, 0, 1, 1]
    assert gradients[1].numpy().tolist() == [1, 0, 0, 0, -1, -1]


def test_values_at_missing_pixels_do_not_matter():
    model = unrolled.unrolled_sparse(3, 6, 3, 5, 2)
    _randomise(model)
    image, level, mask = _inputs(6, 5, 3)
    other = np.where(mask > 0.5, _images(*image.shape, seed=9), image)
    assert (other != image).any()
    assert (model([image, level, mask]) == model([other, level, mask])).numpy().all()


def test_constant_images_and_images_without_known_pixels():
    model = unrolled.unrolled_sparse(1, 6, 3)
    image, level, mask = _inputs(6, 5, missing=0.5)
    image[:] = 0.25
    np.testing.assert_array_equal(model([image, level, mask]), image)
    np.testing.assert_array_equal(model([image, level, mask * 0 + 1]), image * 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 2)])
def test_any_size_and_one_image_as_in_a_batch(size):
    model = unrolled.unrolled_sparse(1, 8, 4)
    inputs = _inputs(*size)
    restored = model(inputs)
    assert restored.shape == (2, *size, 1)
    one = model([x[1:] for x in inputs])
    np.testing.assert_allclose(restored[1:], one, atol=1e-6)


def test_constraints_hold_after_an_update():
    model = unrolled.unrolled_sparse(1, 4, 2)
    signs = np.array([1, -1, -1, 1])
    before = model.get_layer("iterate1_threshold").slope.numpy()
    variables = model.trainable_variables
    gradients = [tf.convert_to_tensor(0 * v + signs) for v in variables]
    keras.optimizers.SGD(2.0).apply(gradients, variables)
    for variable in variables:
        if variable.name == "kernel":
            norms = np.linalg.norm(variable.numpy().reshape(-1, 4), axis=0)
            np.testing.assert_allclose(norms, 1, rtol=1e-5)
    after = model.get_layer("iterate1_threshold").slope.numpy()
    np.testing.assert_allclose(after, (before + 2) * (signs < 0))


def test_saved_and_cloned_models_are_the_same(tmp_path):
    model = unrolled.unrolled_sparse(1, 6, 3, 5, 2)
    _randomise(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    cloned = keras.models.clone_model(model)
    cloned.set_weights(model.get_weights())
    inputs = _inputs()
    for other in (loaded, cloned):
        assert (other(inputs) == model(inputs)).numpy().all()


def test_names_and_size_of_the_default():
    model = unrolled.unrolled_sparse()
    assert model.count_params() == 64_000
    assert [x.name for x in model.inputs] == ["image", "level", "mask"]
    assert model.output_shape == (None, None, None, 1)
    stages = dict.fromkeys(x.name.partition("_")[0] for x in model.layers[3:])
    assert list(stages) == ["stem", *(f"iterate{k}" for k in range(1, 11)), "head"]


def test_seed_fixes_the_start():
    keras.utils.set_random_seed(5)
    first = unrolled.unrolled_sparse(1, 4, 2).get_weights()
    keras.utils.set_random_seed(5)
    second = unrolled.unrolled_sparse(1, 4, 2).get_weights()
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("wrong", [{"kernel": 1}, {"iterations": 0}, {"stride": 0}])
def test_bad_numbers_are_refused(wrong):
    with pytest.raises(errors.InputError, match="must be >= 1"):
        unrolled.unrolled_sparse(**wrong)
