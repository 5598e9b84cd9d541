import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import errors
from restoration import cosine_patches, patch_sparse, sparse_coding


def _scene(height=40, width=52, channels=1):
    """Edges, a ramp and a texture, in [0, 1]."""
    row, column = np.mgrid[:height, :width].astype(np.float32)
    scene = 0.3 + 0.4 * (row + column > 45) + 0.2 * column / width
    scene += 0.1 * np.sin(column * 1.3) * (row < 20)
    shades = np.array([1.0, 0.6, 0.3], np.float32)[:channels]
    return (scene[..., None] * shades).astype(np.float32)


def _noisy(image, sigma=0.1):
    noise = np.random.RandomState(0).normal(0, sigma, image.shape)
    return (image + noise).astype(np.float32)


def _mask(image, share=0.5, channels=None):
    shape = (*image.shape[:2], channels or image.shape[2])
    return (np.random.RandomState(1).rand(*shape) < share).astype(np.float32)


def _psnr(image, clean):
    return -10 * np.log10(np.mean(np.square(image - clean)))


def test_sliding_dct_thresholds_at_2_7_sigma():
    image = _noisy(_scene(11, 17, 3))
    expected = cosine_patches.thresholded(tf.constant(image[None]), 2.7 * 0.1)[0]
    np.testing.assert_array_equal(patch_sparse.sliding_dct(image, 0.1), expected)


METHODS = {
    "sliding_dct": patch_sparse.sliding_dct,
    "fixed": patch_sparse.denoise,
    "adapted": lambda image, sigma: patch_sparse.denoise(
        image, sigma, dictionary=sparse_coding.dct_dictionary(6, 49), adapt=True
    ),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_goes(method, channels):
    clean = _scene(channels=channels)
    image = _noisy(clean)
    restored = METHODS[method](image, 0.1)
    assert (restored.shape, restored.dtype) == (image.shape, np.float32)
    assert _psnr(restored, clean) > _psnr(image, clean) + 5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 12, 3)])
def test_constant_images_stay_and_may_be_small(method, shape):
    image = np.full(shape, 0.25, np.float32)
    np.testing.assert_allclose(METHODS[method](image, 0.05), image, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_without_noise_nothing_changes(method):
    image = _noisy(_scene(9, 14, 3))
    np.testing.assert_allclose(METHODS[method](image, 0.0), image, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_scale_and_offset_of_the_picture_do_not_matter(method):
    image = _noisy(_scene(12, 17))
    restored = METHODS[method](image, 0.1)
    other = METHODS[method](2 * image + 1, 0.2)
    np.testing.assert_allclose(other, 2 * restored + 1, atol=2e-3)


@pytest.mark.parametrize("batch", [2**15, 20])
def test_omp_denoising_equals_its_definition_on_one_patch(batch, monkeypatch):
    monkeypatch.setattr(patch_sparse, "_BATCH", batch)
    # A dictionary of one atom, so that each patch is its mean plus one projection.
    basis = sparse_coding.dct_dictionary(8, 64)
    atom = (basis[:, 1:2] + basis[:, 2:3]) / np.sqrt(np.float32(2))
    image = _noisy(_scene(8, 8))
    padded = np.pad(image[..., 0], 4, mode="symmetric")
    total, weight = np.zeros((2, 16, 16))
    for top in range(9):
        for left in range(9):
            place = np.s_[top : top + 8, left : left + 8]
            centred = padded[place].ravel() - padded[place].mean()
            code = centred @ atom[:, 0]
            used = np.linalg.norm(centred) > 1.1 * 0.1 * 8
            patch = padded[place].mean() + used * code * atom[:, 0].reshape(8, 8)
            total[place] += patch / (1 + used)
            weight[place] += 1 / (1 + used)
    restored = patch_sparse.denoise(image, 0.1, dictionary=atom)
    expected = (total / weight)[4:-4, 4:-4]
    np.testing.assert_allclose(restored[..., 0], expected, atol=1e-5)


def test_adapted_denoising_is_a_function_of_the_seed(monkeypatch):
    image = _noisy(_scene())
    monkeypatch.setattr(patch_sparse, "_SAMPLE", 300)
    start = sparse_coding.dct_dictionary(4, 16)
    first, second, other = (
        patch_sparse.denoise(image, 0.1, dictionary=start, adapt=True, seed=seed)
        for seed in (1, 1, 2)
    )
    assert (first == second).all()
    assert (first != other).any()


def test_given_dictionary_sets_the_side_of_the_patches():
    basis = sparse_coding.dct_dictionary(5, 36)
    clean = _scene()
    restored = patch_sparse.denoise(_noisy(clean), 0.1, dictionary=basis)
    assert _psnr(restored, clean) > _psnr(_noisy(clean), clean) + 5


@pytest.mark.parametrize(("channels", "of_mask"), [(1, 1), (3, 1), (3, 3)])
def test_inpainting_keeps_known_pixels_and_ignores_missing_ones(channels, of_mask):
    clean = _scene(24, 31, channels)
    mask = _mask(clean, 0.3, of_mask)
    hidden = np.where(mask > 0.5, np.float32(np.nan), clean)
    restored = patch_sparse.inpaint(hidden, mask)
    known = np.broadcast_to(mask, clean.shape) < 0.5
    assert (restored.shape, restored.dtype) == (clean.shape, np.float32)
    assert (restored[known] == clean[known]).all()
    assert _psnr(restored, clean) > 30


def _inpainted_by_loops(image, mask, error, most):
    """`inpaint_known` patch by patch, one channel, no patch without a known pixel."""
    atoms, side, around = sparse_coding.dct_dictionary().astype(np.float64), 8, 4
    plane, seen = (
        np.pad(each, around, mode="symmetric")
        for each in (image[..., 0].astype(np.float64), mask[..., 0] < 0.5)
    )
    total, weight = np.zeros((2, *plane.shape))
    for top in range(plane.shape[0] - side + 1):
        for left in range(plane.shape[1] - side + 1):
            place = np.s_[top : top + side, left : left + side]
            known = seen[place].ravel()
            values = plane[place].ravel()[known]
            part = atoms[known]
            norms = np.linalg.norm(part, axis=0)
            code, taken = np.zeros(256), []
            rest = values - values.mean()
            while np.linalg.norm(rest) > error * len(values) ** 0.5:
                if len(taken) == most:
                    break
                taken.append(np.argmax(np.abs(rest @ (part / norms))))
                found = np.linalg.lstsq(part[:, taken], values - values.mean())[0]
                rest = values - values.mean() - part[:, taken] @ found
                code[taken] = found
            patch = (atoms @ code + values.mean()).reshape(side, side)
            total[place] += patch / (1 + np.count_nonzero(code))
            weight[place] += 1 / (1 + np.count_nonzero(code))
    inside = np.s_[around:-around, around:-around]
    restored = (total[inside] / weight[inside])[..., None]
    return np.where(mask > 0.5, restored, image)


def test_inpainting_from_known_pixels_equals_its_definition(monkeypatch):
    image = _noisy(_scene(11, 14), 0.02)
    mask = _mask(image)
    expected = _inpainted_by_loops(image, mask, 0.03, 12)
    monkeypatch.setattr(patch_sparse, "_LEAST_ERROR", 0.03)
    hidden = np.where(mask > 0.5, np.float32(np.nan), image)
    for batch in (2**15, 20):
        monkeypatch.setattr(patch_sparse, "_BATCH", batch)
        restored = patch_sparse.inpaint_known(hidden, mask)
        np.testing.assert_allclose(restored, expected, atol=1e-4)


def test_inpainting_from_known_pixels_closes_holes_wider_than_a_patch():
    image = np.full((30, 33, 3), 0.25, np.float32)
    mask = np.zeros((30, 33, 1), np.float32)
    mask[5:25, 6:28] = 1
    hidden = np.where(mask > 0.5, np.float32(np.nan), image)
    restored = patch_sparse.inpaint_known(hidden, mask)
    np.testing.assert_allclose(restored, image, atol=1e-5)
    assert (restored[:5] == image[:5]).all()
    noisy = _noisy(image, 0.05)
    restored = patch_sparse.inpaint_known(noisy, mask, 0.05)
    known = mask[..., 0] < 0.5
    assert _psnr(restored[known], image[known]) > _psnr(noisy[known], image[known]) + 5


def test_inpainting_a_wave_is_nearly_exact():
    row, column = np.mgrid[:40, :56]
    wave = 0.5 + 0.3 * np.cos(np.pi * (2 * column + 1) * 5 / 112)
    wave = wave.astype(np.float32)[..., None]
    mask = _mask(wave, 0.5)
    assert _psnr(patch_sparse.inpaint(wave * (1 - mask), mask), wave) > 38


def test_inpainting_constant_pictures_and_small_ones():
    image = np.full((6, 3, 1), 0.25, np.float32)
    mask = _mask(image, 0.5)
    restored = patch_sparse.inpaint(image, mask)
    np.testing.assert_allclose(restored, image, atol=1e-6)
    nothing = patch_sparse.inpaint(image, np.ones_like(mask))
    np.testing.assert_array_equal(nothing, 0)
    image = _scene(7, 9)
    np.testing.assert_array_equal(patch_sparse.inpaint(image, image * 0), image)


def test_inpainting_with_noise_denoises_known_pixels_too():
    clean = _scene()
    mask = _mask(clean, 0.3)
    image = _noisy(clean, 0.05)
    restored = patch_sparse.inpaint(image, mask, 0.05)
    known = mask < 0.5
    assert _psnr(restored[known], clean[known]) > _psnr(image[known], clean[known]) + 4
    assert _psnr(restored, clean) > 28


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: patch_sparse.denoise(x[..., 0], 0.1), r"float32 \[8, 9\]"),
        (lambda x: patch_sparse.denoise(x.astype(np.float64), 0.1), "float64"),
        (lambda x: patch_sparse.sliding_dct(x, -0.1), "noise level -0.1"),
        (lambda x: patch_sparse.sliding_dct(x, np.nan), "noise level nan"),
        (lambda x: patch_sparse.denoise(x, 0.1, dictionary=np.eye(7)), "7 rows"),
        (lambda x: patch_sparse.inpaint(x, x[:, :, 0]), r"mask \[8, 9\]"),
        (lambda x: patch_sparse.inpaint(x, x[1:]), r"mask \[7, 9, 1\]"),
        (lambda x: patch_sparse.inpaint(x, x.repeat(2, axis=2)), r"mask \[8, 9, 2\]"),
        (lambda x: patch_sparse.inpaint_known(x, x[1:]), r"be \[H, W, 1\]$"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(errors.InputError, match=message):
        call(_scene(8, 9))
