import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gan_transfer import errors
from restoration import degradations, operators


def picture(shape=(40, 60, 3), seed=0):
    return np.random.default_rng(seed).uniform(0.01, 0.99, shape).astype(np.float32)


def test_gaussian_noise_is_that_of_the_published_protocol():
    clean = picture()
    noisy = degradations.gaussian_noise(clean, 0.2, np.random.RandomState(0))
    expected = clean + np.random.RandomState(0).normal(0, 0.2, clean.shape)
    assert noisy.dtype == np.float32
    np.testing.assert_array_equal(noisy, expected.astype(np.float32))
    assert noisy.min() < 0 and noisy.max() > 1
    draw = degradations.gaussian_noise(clean, 0.2, np.random.default_rng(0))
    assert (draw - clean).std() == pytest.approx(0.2, rel=0.03)
    none = degradations.gaussian_noise(clean, 0, np.random.default_rng(0))
    np.testing.assert_array_equal(none, clean)


@pytest.mark.parametrize("sides", [(40, 60), (41, 57)])
def test_blur_is_that_of_training(sides):
    clean, kernel = picture((*sides, 3)), np.random.default_rng(1).random((5, 8))
    blurred = degradations.blur(clean, kernel)
    expected = operators.Blur(kernel).apply(tf.constant(clean[None]))[0]
    assert blurred.dtype == np.float32 and blurred.shape == clean.shape
    np.testing.assert_allclose(blurred, expected, rtol=1e-5)
    moved = np.zeros((3, 3))
    moved[2, 1] = 2
    blurred = degradations.blur(clean, moved)
    np.testing.assert_allclose(blurred, 2 * np.roll(clean, 1, axis=0), atol=1e-6)
    with pytest.raises(errors.InputError, match="larger than the image"):
        degradations.blur(clean, np.ones((3, 99)))


@pytest.mark.parametrize("per_channel", [False, True])
def test_salt_and_pepper_strike_with_the_density_in_equal_parts(per_channel):
    clean = picture((200, 300, 3))
    damaged = degradations.salt_and_pepper(
        clean, 0.3, np.random.default_rng(0), per_channel
    )
    assert damaged.dtype == np.float32
    salt, pepper = damaged == 1, damaged == 0
    # 60,000 draws: four standard deviations.
    assert salt.mean() == pytest.approx(0.15, abs=0.006)
    assert pepper.mean() == pytest.approx(0.15, abs=0.006)
    np.testing.assert_array_equal(damaged[~(salt | pepper)], clean[~(salt | pepper)])
    together = (salt == salt[..., :1]).all() and (pepper == pepper[..., :1]).all()
    assert together != per_channel


def test_salt_and_pepper_at_the_ends_and_by_seed():
    clean = picture((7, 9, 1))
    strike = degradations.salt_and_pepper
    np.testing.assert_array_equal(strike(clean, 0, np.random.default_rng(0)), clean)
    everything = strike(clean, 1, np.random.default_rng(0))
    assert set(np.unique(everything)) == {0, 1}
    again = strike(clean, 1, np.random.default_rng(0))
    np.testing.assert_array_equal(everything, again)
    assert (everything != strike(clean, 1, np.random.default_rng(1))).any()


def test_overlay_mixes_by_its_opacity():
    clean, alpha = picture((2, 3, 3)), np.zeros((2, 3), np.float32)
    alpha[0] = 1, 0.25, 0.02
    covered, mask = degradations.overlay(clean, alpha, (1.0, 0.5, 0.0))
    np.testing.assert_allclose(covered[0, 0], [1, 0.5, 0], atol=1e-7)
    expected = 0.75 * clean[0, 1] + 0.25 * np.array([1, 0.5, 0])
    np.testing.assert_allclose(covered[0, 1], expected, atol=1e-6)
    np.testing.assert_array_equal(covered[1], clean[1])
    np.testing.assert_array_equal(mask[..., 0], [[1, 1, 0], [0, 0, 0]])
    assert mask.shape == (2, 3, 1) and mask.dtype == covered.dtype == np.float32


def test_overlay_takes_named_colours_and_their_luma_in_grey():
    clean, alpha = picture((4, 5, 1)), np.ones((4, 5), np.float32)
    grey, _ = degradations.overlay(clean, alpha, "rust")
    red, green, blue = degradations.COLOURS["rust"]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    np.testing.assert_allclose(grey, np.full((4, 5, 1), luma), rtol=1e-6)


def test_overlay_is_stretched_to_the_image():
    clean = np.zeros((8, 6, 1), np.float32)
    alpha = np.array([[0, 1], [0, 1], [0, 1]], np.float32)
    covered, mask = degradations.overlay(clean, alpha, (1.0, 1.0, 1.0))
    assert covered.shape == mask.shape == (8, 6, 1)
    np.testing.assert_allclose(covered[0, :, 0], [0, 0, 1 / 3, 2 / 3, 1, 1], atol=1e-6)
    np.testing.assert_array_equal(covered, np.repeat(covered[:1], 8, 0))


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_that_of_pillow(channels):
    clean = picture((17, 23, channels)) * 1.4 - 0.2
    decoded = degradations.jpeg(clean, 30)
    pixels = np.round(np.clip(clean, 0, 1) * 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(stream, "JPEG", quality=30)
    expected = np.asarray(Image.open(stream)).reshape(clean.shape)
    assert decoded.dtype == np.float32 and decoded.shape == clean.shape
    np.testing.assert_array_equal(decoded * 255, expected.astype(np.float32))
    better = degradations.jpeg(clean, 95)
    assert np.abs(better * 255 - pixels).mean() < np.abs(decoded * 255 - pixels).mean()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, r: degradations.gaussian_noise(x, -0.1, r), "sigma is -0.1"),
        (lambda x, r: degradations.gaussian_noise(x, float("nan"), r), "sigma is nan"),
        (lambda x, r: degradations.salt_and_pepper(x, 1.5, r), "density 1.5"),
        (lambda x, r: degradations.overlay(x, x[..., 0], "blue"), "there are rust"),
        (lambda x, r: degradations.overlay(x, x, "rust"), "must be .h, w."),
        (lambda x, r: degradations.overlay(x, 2 + x[..., 0], "rust"), r"\[0, 1\]"),
        (lambda x, r: degradations.overlay(x, np.nan * x[..., 0], "rust"), "0, 1"),
        (lambda x, r: degradations.jpeg(x, 0), "quality 0"),
        (lambda x, r: degradations.jpeg(x, 96), "quality 96"),
    ],
)
def test_impossible_damage_is_refused(call, message):
    with pytest.raises(errors.InputError, match=message):
        call(picture((4, 5, 3)), np.random.default_rng(0))
