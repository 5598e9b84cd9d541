import numpy as np
import pytest

from gan_transfer import errors
from restoration import synthetic


@pytest.fixture(scope="module")
def pictures():
    return synthetic.dead_leaves(20, 96, 3, seed=0)


def log_log_slope(power):
    """Slope of a power spectrum `[S, S]` over the middle frequencies."""
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(len(power))] * 2))
    ring = np.round(frequency * len(power)).astype(int).ravel()
    mean = np.bincount(ring, power.ravel()) / np.bincount(ring)
    middle = np.arange(4, len(power) // 3)
    return np.polyfit(np.log(middle), np.log(mean[middle]), 1)[0]


def test_pictures_are_fixed_by_the_seed_whatever_the_count(pictures):
    assert pictures.shape == (20, 96, 96, 3) and pictures.dtype == np.uint8
    # The 17th picture is the first with new noise fields.
    np.testing.assert_array_equal(synthetic.dead_leaves(18, 96, 3, 0), pictures[:18])
    other = synthetic.dead_leaves(2, 96, 3, seed=1)
    assert (other[0] != pictures[0]).mean() > 0.9
    assert (pictures[0] != pictures[1]).mean() > 0.9


@pytest.mark.parametrize("size", [16, 19])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_and_odd_sizes_and_grey_pictures(size, channels):
    drawn = synthetic.dead_leaves(2, size, channels)
    assert drawn.shape == (2, size, size, channels)
    assert drawn.std() > 20


def test_the_power_spectrum_falls_like_that_of_natural_images(pictures):
    grey = pictures.mean(-1) - pictures.mean((1, 2, 3))[:, None, None]
    window = np.hanning(96)[:, None] * np.hanning(96)
    power = (np.abs(np.fft.fft2(grey * window)) ** 2).mean(0)
    assert -2.9 < log_log_slope(power) < -1.9


def test_edges_are_rare_and_strong(pictures):
    steps = np.diff(pictures.mean(-1), axis=2)
    kurtosis = ((steps - steps.mean()) ** 4).mean() / steps.var() ** 2
    assert kurtosis > 8  # 3 for a Gaussian, 10 to 30 for photographs.


def test_light_varies_more_than_colour(pictures):
    red, green, blue = np.moveaxis(pictures.astype(float), -1, 0)
    light, orange, magenta = red + green + blue, red - blue, red - 2 * green + blue
    # Of the normed axes.
    spreads = [light.std() / 3**0.5, orange.std() / 2**0.5, magenta.std() / 6**0.5]
    assert spreads[0] > 2.5 * spreads[1] > 2.5 * spreads[2] > 2.5
    assert 90 < pictures.mean() < 150
    assert ((pictures == 0) | (pictures == 255)).mean() < 0.03


def test_radii_follow_the_power_law_and_cover_the_canvas():
    leaves = synthetic._leaves(400, 4.0, 20.0, np.random.default_rng(0))
    radii = leaves.radii
    assert 4 <= radii.min() and radii.max() <= 400
    # P(r > q r_min) = (q^-2 - e) / (1 - e), e = (r_min / r_max)^2.
    for factor in (2, 5):
        share = (radii > 4 * factor).mean()
        assert share == pytest.approx((factor**-2 - 1e-4) / (1 - 1e-4), rel=0.15)
    assert np.pi * (radii**2).sum() == pytest.approx(20 * 400**2, rel=0.5)


def test_leaves_are_discs_polygons_and_others():
    leaves = synthetic._leaves(400, 4.0, 5.0, np.random.default_rng(0))
    x, y = np.moveaxis(leaves.outlines, -1, 0)
    following = [np.roll(x, -1, 1), np.roll(y, -1, 1)]
    area = (x * following[1] - y * following[0]).sum(1) / 2
    relative = area / (np.pi * leaves.radii**2)
    # 24 corners of an ellipse, a square and a triangle, whatever the stretch.
    for corners in (24, 6, 4, 3):
        expected = corners / 2 / np.pi * np.sin(2 * np.pi / corners)
        assert (np.abs(relative - expected) < 1e-9).mean() > 0.05
    assert (relative > 0).all()


def test_noise_fields_have_the_slopes_they_are_named_for():
    fields = synthetic._noise_fields(128, np.random.default_rng(0))
    np.testing.assert_allclose(fields.std((1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(fields.mean((1, 2)), 0, atol=1e-5)
    assert synthetic._SLOPES[0] == 0.5 and synthetic._SLOPES[-1] == 2.5
    for slope, field in zip(synthetic._SLOPES, fields, strict=True):
        power = np.abs(np.fft.fft2(field.astype(float))) ** 2
        assert log_log_slope(power) == pytest.approx(-2 * slope, abs=0.2)


def test_halving_is_the_mean_and_blurring_keeps_constants():
    image = np.arange(24, dtype=np.float32).reshape(4, 6, 1)
    expected = image.reshape(2, 2, 3, 2, 1).mean((1, 3))
    np.testing.assert_array_equal(synthetic._halved(image), expected)
    flat = np.full((4, 6, 2), 0.3, np.float32)
    np.testing.assert_allclose(synthetic._blurred(flat, 1.5), flat, rtol=1e-6)


def test_blur_is_the_gaussian_of_scipy():
    from scipy import ndimage

    image = np.random.default_rng(0).random((20, 13, 2), np.float32)
    expected = ndimage.gaussian_filter(image, (1.2, 1.2, 0), mode="nearest", truncate=3)
    np.testing.assert_allclose(synthetic._blurred(image, 1.2), expected, atol=1e-6)


@pytest.mark.parametrize("arguments", [(0, 64, 3), (1, 15, 3), (1, 64, 2), (1, 64, 4)])
def test_impossible_pictures_are_refused(arguments):
    with pytest.raises(errors.InputError, match="at least 1 of at least 16 pixels"):
        synthetic.dead_leaves(*arguments)
