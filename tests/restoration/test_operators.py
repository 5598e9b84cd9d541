import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import ndimage

from gan_transfer import errors
from restoration import operators

SIDES = ((3, 3), (1, 1), (2, 2), (4, 3), (5, 2), (9, 7), (1, 6))


def batch(seed, shape=(2, 9, 7, 3)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def kernel(sides, seed=5):
    drawn = np.random.default_rng(seed).random(sides)
    return drawn / drawn.sum()


def every_operator():
    known = (np.random.default_rng(1).random((9, 7, 1)) < 0.4).astype(np.float32)
    per_channel = (np.random.default_rng(2).random((2, 9, 7, 3)) < 0.4).astype("f")
    masks = [operators.Mask(known), operators.Mask(tf.constant(per_channel))]
    blurs = [operators.Blur(kernel(sides)) for sides in SIDES]
    return [operators.Identity(), *masks, *blurs]


@pytest.mark.parametrize("operator", every_operator())
def test_adjoint_is_the_transpose_by_dot_products_and_by_autodiff(operator):
    x, y = tf.constant(batch(3)), tf.constant(batch(4))
    with tf.GradientTape() as tape:
        tape.watch(x)
        product = tf.reduce_sum(operator.apply(x) * y)
    transposed = operator.adjoint(y)
    np.testing.assert_allclose(tape.gradient(product, x), transposed, atol=2e-6)
    other = tf.reduce_sum(x * transposed)
    assert float(product) == pytest.approx(float(other), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("sides", SIDES)
def test_blur_is_the_circular_convolution_of_the_formula(sides):
    x, k = batch(3, (1, 9, 7, 1)), kernel(sides)
    expected = np.zeros((9, 7))
    for u in range(sides[0]):
        for v in range(sides[1]):
            shift = (u - sides[0] // 2, v - sides[1] // 2)
            expected += k[u, v] * np.roll(x[0, :, :, 0], shift, (0, 1))
    blurred = operators.Blur(k).apply(tf.constant(x))
    np.testing.assert_allclose(blurred[0, :, :, 0], expected, atol=1e-6)


@pytest.mark.parametrize("sides", [(3, 3), (1, 1), (9, 7), (5, 1)])
def test_blur_is_that_of_scipy(sides):
    x, k = batch(3), kernel(sides)
    expected = ndimage.convolve(x, k[None, :, :, None], mode="wrap")
    blurred = operators.Blur(k).apply(tf.constant(x))
    np.testing.assert_allclose(blurred, expected, atol=2e-6)


@pytest.mark.parametrize("sides", [(8, 6), (9, 7), (8, 7)])
def test_transfer_is_the_spectrum_of_the_point_spread(sides):
    operator = operators.Blur(kernel((4, 3)))
    transfer = operator.transfer(sides)
    assert transfer.shape == (sides[0], sides[1] // 2 + 1)
    assert transfer[0, 0] == pytest.approx(1, abs=1e-6)
    point = np.zeros((1, *sides, 1), np.float32)
    point[0, 0, 0, 0] = 1
    spread = operator.apply(tf.constant(point))[0, :, :, 0].numpy()
    np.testing.assert_allclose(np.fft.rfft2(spread), transfer, atol=1e-6)
    assert spread.sum() == pytest.approx(1, abs=1e-6)


def test_operators_in_a_graph_equal_those_outside():
    x = tf.constant(batch(3))
    for operator in every_operator():
        graph = tf.function(operator.apply)(x)
        np.testing.assert_allclose(graph, operator.apply(x), atol=1e-6)


def test_mask_zeroes_missing_pixels_and_keeps_the_others_bit_for_bit():
    x = batch(3)
    mask = np.zeros((9, 7, 1), np.float32)
    mask[2:5, 3] = 1
    kept = operators.Mask(mask).apply(tf.constant(x)).numpy()
    assert (kept[:, 2:5, 3] == 0).all()
    outside = mask[..., 0] == 0
    np.testing.assert_array_equal(kept[:, outside], x[:, outside])


def test_kernels_are_read_from_arrays_and_normed(tmp_path):
    values = np.array([[1, 2, 0], [0, 4, 1]])
    np.save(tmp_path / "k.npy", values)
    np.savez(tmp_path / "k.npz", k1=values, k2=values.T / 8)
    for name in ("k.npy", "k.npz:k1"):
        read = operators.read_kernel(f"{tmp_path}/{name}")
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, (values / 8).astype("f"))
    read = operators.read_kernel(f"{tmp_path}/k.npz:k2")
    np.testing.assert_array_equal(read, (values.T / 8).astype("f"))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_kernels_are_read_from_pictures(tmp_path, mode):
    pixels = np.array([[10, 20, 0], [0, 40, 10]], np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "k.png")
    read = operators.read_kernel(tmp_path / "k.png")
    np.testing.assert_allclose(read, pixels / 80, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, -0.1]], "smallest value -0.1"),
        ([[0.0, 0.0]], "sum 0"),
        ([[1.0, np.nan]], "sum nan"),
        ([[1.0, np.inf]], "sum inf"),
        ([1.0, 2.0], r"shape \(2,\); a blur kernel is \[h, w\]"),
        (np.zeros((0, 3)), "blur kernel is"),
        ([["a"]], "blur kernel is"),
        ([[1j]], "complex128"),
    ],
)
def test_values_that_are_no_kernel_are_refused(tmp_path, values, message):
    np.save(tmp_path / "k.npy", np.array(values))
    with pytest.raises(errors.InputError, match=message):
        operators.read_kernel(tmp_path / "k.npy")
    with pytest.raises(errors.InputError, match=message):
        operators.Blur(np.array(values))


def test_kernel_files_that_cannot_be_read_are_refused(tmp_path):
    np.savez(tmp_path / "k.npz", k1=np.eye(2), k2=np.eye(3))
    np.save(tmp_path / "pickled.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "short.npz").write_bytes((tmp_path / "k.npz").read_bytes()[:90])
    (tmp_path / "array.npz").write_bytes(b"")
    np.save(tmp_path / "eye.npy", np.eye(2))
    (tmp_path / "eye.npz").write_bytes((tmp_path / "eye.npy").read_bytes())
    (tmp_path / "archive.npy").write_bytes((tmp_path / "k.npz").read_bytes())
    for name, message in {
        "k.npz": "name an array of the archive, as .*k.npz:k1",
        "k.npz:k3": "has no array 'k3'; there are k1, k2",
        "none.npz:k1": "none.npz: no such file",
        "none.npy": "none.npy: no such file",
        "pickled.npy": "pickled.npy: broken array file",
        "short.npz:k1": "short.npz: broken array file",
        "array.npz:k1": "array.npz: broken array file",
        "eye.npz:k1": "eye.npz: broken array file",
        "archive.npy": "has no array None; there are k1, k2",
        "none.png": "none.png: no such",
    }.items():
        with pytest.raises(errors.InputError, match=message):
            operators.read_kernel(f"{tmp_path}/{name}")


def test_a_kernel_larger_than_the_image_is_refused():
    operator = operators.Blur(kernel((4, 5)))
    for shape in ((1, 3, 9, 1), (1, 9, 4, 1)):
        with pytest.raises(errors.InputError, match="4x5 pixels is larger than the im"):
            operator.apply(tf.zeros(shape))
