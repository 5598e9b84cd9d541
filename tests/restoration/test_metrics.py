"""PSNR and SSIM against scikit-image and closed forms (documents A 2.2, D 2.3)."""

import numpy as np
import pytest
from skimage import color
from skimage import metrics as peer

from gan_transfer import errors
from restoration import metrics


def _pair(channels, dtype=np.uint8, shape=(23, 31)):
    rng = np.random.default_rng(0)
    smooth = np.zeros((*shape, channels)) + np.linspace(20, 230, shape[1])[:, None]
    truth = np.clip(smooth + rng.normal(0, 9, smooth.shape), 0, 255).astype(np.uint8)
    image = np.clip(truth + rng.normal(0, 25, smooth.shape), 0, 255).astype(np.uint8)
    if dtype == np.uint8:
        return truth, image
    return (truth / 255).astype(dtype), (image / 255).astype(dtype)


def _peer_psnr(truth, image):
    return peer.peak_signal_noise_ratio(truth, image, data_range=255)


def _peer_ssim(truth, image, **arguments):
    return peer.structural_similarity(
        truth,
        image,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        **arguments,
    )


def test_quantise_clips_and_rounds():
    values = np.array([-0.3, 0.0, 0.49 / 255, 0.51 / 255, 0.5, 1.0, 1.7], np.float32)
    np.testing.assert_array_equal(metrics.quantise(values), [0, 0, 0, 1, 128, 255, 255])
    assert metrics.quantise(values).dtype == np.uint8


def test_quantise_keeps_every_8_bit_value():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(
        metrics.quantise((values / 255).astype(np.float32)), values
    )
    assert metrics.quantise(values) is values


def test_psnr_of_a_constant_difference():
    truth = np.full((2, 3, 1), 100, np.uint8)
    # 20 log10(255 / 10).
    assert metrics.psnr_grey(truth, truth + 10) == pytest.approx(28.1308036)
    halves = np.full((2, 3, 3), 0.5, np.float32)
    assert metrics.psnr_rgb(halves, halves - np.float32(0.25)) == pytest.approx(
        20 * np.log10(4)
    )


def test_psnr_of_equal_images_is_infinite():
    grey, colour = _pair(1)[0], _pair(3)[0]
    mask = np.ones((23, 31, 1))
    assert metrics.psnr_grey(grey, grey) == float("inf")
    assert metrics.psnr_rgb(colour, colour) == float("inf")
    assert metrics.psnr_y(colour, colour) == float("inf")
    assert metrics.psnr_missing(colour, colour, mask) == float("inf")


def test_psnr_of_unclipped_noise_is_that_of_its_sigma():
    truth = np.full((200, 300, 1), 0.05, np.float32)
    noise = np.random.RandomState(0).normal(0, 25 / 255, truth.shape)
    noisy = (truth + noise).astype(np.float32)
    assert metrics.psnr_grey(truth, noisy) == pytest.approx(20.17, abs=0.03)
    assert metrics.psnr_grey(truth, metrics.quantise(noisy)) > 21


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_psnr_equals_scikit_image(dtype):
    for channels, function in ((1, metrics.psnr_grey), (3, metrics.psnr_rgb)):
        expected = _peer_psnr(*_pair(channels))
        assert function(*_pair(channels, dtype)) == pytest.approx(expected, abs=1e-5)


def test_psnr_y_is_the_studio_luma_of_scikit_image():
    lumas = [color.rgb2ycbcr(image)[..., 0] for image in _pair(3)]
    assert metrics.psnr_y(*_pair(3)) == pytest.approx(_peer_psnr(*lumas), abs=1e-9)
    white, black = np.ones((1, 1, 3), np.float32), np.zeros((1, 1, 3), np.float32)
    assert metrics.psnr_y(black, white) == pytest.approx(20 * np.log10(255 / 219))


def test_one_8_bit_and_one_float_image_are_compared_on_one_scale():
    (truth, image), floats = _pair(3), _pair(3, np.float32)
    expected = metrics.psnr_rgb(truth, image)
    assert metrics.psnr_rgb(truth, floats[1]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(11, 12), (23, 31)])
def test_ssim_equals_scikit_image(dtype, shape):
    grey = [image[..., 0] for image in _pair(1, shape=shape)]
    value = metrics.ssim_grey(*_pair(1, dtype, shape))
    assert value == pytest.approx(_peer_ssim(*grey), abs=1e-6)
    colour = _pair(3, shape=shape)
    value = metrics.ssim_rgb(*_pair(3, dtype, shape))
    assert value == pytest.approx(_peer_ssim(*colour, channel_axis=2), abs=1e-6)
    lumas = [color.rgb2ycbcr(image)[..., 0] for image in colour]
    value = metrics.ssim_y(*_pair(3, dtype, shape))
    assert value == pytest.approx(_peer_ssim(*lumas), abs=1e-6)


def test_ssim_of_equal_and_of_constant_images():
    truth = _pair(3)[0]
    assert metrics.ssim_rgb(truth, truth) == pytest.approx(1, abs=1e-12)
    dark, light = np.full((12, 13, 1), 0.2), np.full((12, 13, 1), 0.6)
    # Without variance only the first factor is left.
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert metrics.ssim_grey(dark, light) == pytest.approx(expected, abs=1e-9)


def test_missing_pixels_only():
    truth = np.full((4, 6, 3), 100, np.uint8)
    image = truth.copy()
    image[1, 2] += 10
    image[3, 5] += 90
    mask = np.zeros((4, 6, 1), np.float32)
    mask[1, 2] = 1
    assert metrics.psnr_missing(truth, image, mask) == pytest.approx(28.1308036)


def test_missing_pixels_per_channel():
    truth = np.full((4, 6, 3), 100, np.uint8)
    image = truth.copy()
    image[1, 2] = (110, 0, 0)
    mask = np.zeros((4, 6, 3), bool)
    mask[1, 2, 0] = True
    assert metrics.psnr_missing(truth, image, mask) == pytest.approx(28.1308036)


@pytest.mark.parametrize(
    ("function", "truth", "image", "message"),
    [
        ("psnr_grey", np.zeros((4, 5, 1)), np.zeros((5, 4, 1)), "cannot be compared"),
        ("psnr_grey", np.zeros((4, 5, 3)), np.zeros((4, 5, 3)), r"\[H, W, 1\]"),
        ("psnr_grey", np.zeros((4, 5)), np.zeros((4, 5)), r"\[H, W, 1\]"),
        ("psnr_rgb", np.zeros((4, 5, 1)), np.zeros((4, 5, 1)), r"\[H, W, 3\]"),
        ("psnr_y", np.zeros((4, 5, 4)), np.zeros((4, 5, 4)), r"\[H, W, 3\]"),
        ("psnr_rgb", np.full((4, 5, 3), 90.0), np.zeros((4, 5, 3)), "divide 0..255"),
        ("psnr_rgb", np.zeros((0, 5, 3)), np.zeros((0, 5, 3)), "shape .0, 5, 3"),
        ("psnr_grey", np.ones((4, 5, 1), int), np.zeros((4, 5, 1)), "truth is int64"),
        ("psnr_grey", np.ones((4, 5, 1)), np.full((4, 5, 1), np.nan), "not finite"),
        ("ssim_grey", np.zeros((10, 40, 1)), np.zeros((10, 40, 1)), "at least 11x11"),
        ("ssim_rgb", np.zeros((20, 20, 1)), np.zeros((20, 20, 1)), r"\[H, W, 3\]"),
    ],
)
def test_bad_images_are_refused(function, truth, image, message):
    with pytest.raises(errors.InputError, match=message):
        getattr(metrics, function)(truth, image)


def test_bad_masks_are_refused():
    truth = np.zeros((4, 5, 3))
    with pytest.raises(errors.InputError, match="must be .4, 5, 1. or .4, 5, 3."):
        metrics.psnr_missing(truth, truth, np.ones((5, 4, 1)))
    with pytest.raises(errors.InputError, match="no pixel is missing"):
        metrics.psnr_missing(truth, truth, np.zeros((4, 5, 1)))


def test_quantise_refuses_other_integers():
    with pytest.raises(errors.InputError, match="int64"):
        metrics.quantise(np.zeros((2, 3), np.int64))


def test_mean_psnr_of_square_errors():
    assert metrics.mean_psnr([1e-2, 1e-4]) == pytest.approx(30)
    assert metrics.mean_psnr(np.zeros(3)) == pytest.approx(100)
