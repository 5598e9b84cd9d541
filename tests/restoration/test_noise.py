import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage, stats

from gan_transfer import errors
from restoration import impulses, noise


def photo(height=200, width=260, channels=1):
    """Light and dark, smooth and textured parts, none of them black or white."""
    y, x = np.mgrid[:height, :width] / 100
    smooth = 0.5 + 0.3 * np.sin(2 * x + y) * np.cos(3 * y)
    texture = 0.15 * np.sin(70 * x) * np.sin(90 * y + 5 * x) * (x > 1)
    layers = [np.clip(smooth + texture, 0.02, 0.98) ** (1 + c) for c in range(channels)]
    return np.stack(layers, axis=-1).astype(np.float32)


def noisy(image, sigma, seed=0):
    draws = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return (image + draws).astype(np.float32)


def struck(image, density, seed=0):
    draws = np.random.default_rng(seed).random(image.shape)
    result = np.where(draws < density / 2, 0, image)
    return np.where(draws > 1 - density / 2, 1, result).astype(np.float32)


def page(height=240, width=300, margin=0, scale=1):
    """Black marks on white, as of text: antialiased from four times the size."""
    picture = Image.new("L", (4 * width, 4 * height), 255)
    draw = ImageDraw.Draw(picture)
    draws = np.random.default_rng(0)
    for top in range(margin, height - margin - 8, 14):
        for left in range(margin, width - margin - 6, 9):
            ends = 4 * (draws.integers(0, 9, (4, 2)) + (left, top))
            draw.line([tuple(end) for end in ends.tolist()], fill=0, width=7)
    small = picture.resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, np.float32)[..., None] / np.float32(255)


@pytest.mark.parametrize("level", [2, 5, 25, 50])
def test_sigma_of_noise_on_a_textured_picture(level):
    found = 255 * noise.estimate_sigma(noisy(photo(), level / 255))
    assert found == pytest.approx(level, rel=0.03, abs=0.1)


def test_sigma_is_the_root_mean_square_over_the_channels():
    image = photo(channels=3)
    for channel, level in enumerate((0.02, 0.04, 0.08)):
        image[..., channel] = noisy(image[..., channel], level)
    expected = np.sqrt((0.02**2 + 0.04**2 + 0.08**2) / 3)
    assert noise.estimate_sigma(image) == pytest.approx(expected, rel=0.03)


def test_sigma_of_a_clean_picture_is_small_and_of_a_flat_or_linear_one_zero():
    assert noise.estimate_sigma(photo()) < 1 / 255
    assert noise.estimate_sigma(np.full((40, 50, 1), 0.3, np.float32)) == 0
    ramp = np.linspace(0.1, 0.9, 50)[None, :, None] * np.ones((40, 1, 1))
    assert noise.estimate_sigma(ramp) < 1e-6
    assert noise.estimate_sigma(page(margin=40)) == 0


def test_sigma_scales_with_the_picture():
    image = noisy(photo(), 0.05)
    once, half = noise.estimate_sigma(image), noise.estimate_sigma(0.5 * image)
    assert half == pytest.approx(0.5 * once, rel=2e-3)


def test_black_borders_and_clipping_do_not_hide_the_noise():
    image = noisy(photo(), 0.1)
    bordered = np.pad(image, [(60, 60), (0, 0), (0, 0)])
    assert noise.estimate_sigma(bordered) == pytest.approx(0.1, rel=0.03)
    clipped = np.clip(image, 0, 1)
    assert noise.estimate_sigma(clipped) == pytest.approx(0.1, rel=0.03)
    struck_out = (np.random.default_rng(1).random(bordered.shape) < 0.5).astype(float)
    assert noise.estimate_sigma(bordered, struck_out) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_sigma_from_scattered_known_pixels(share):
    image = noisy(photo(), 0.1)
    mask = (np.random.default_rng(1).random(image.shape) < share).astype(np.float32)
    image[mask == 1] = 7
    assert noise.estimate_sigma(image, mask) == pytest.approx(0.1, rel=0.15)


def test_missing_pixels_are_left_out_whatever_they_hold():
    image = noisy(photo(channels=3), 0.05)
    mask = np.zeros((*image.shape[:2], 1), np.float32)
    mask[30:90, 40:200] = 1
    hollow = np.where(mask, np.nan, image)
    expected = noise.estimate_sigma(image, mask)
    assert expected == pytest.approx(0.05, rel=0.03)
    assert noise.estimate_sigma(hollow) == expected
    assert noise.estimate_sigma(hollow, np.repeat(mask, 3, axis=2)) == expected


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5000, 3), (6, 90, 1)])
def test_sigma_is_zero_where_nothing_can_be_estimated(shape):
    image = np.random.default_rng(0).random(shape)
    assert noise.estimate_sigma(image) == 0
    assert noise.estimate_sigma(image, np.ones(shape)) == 0


def test_sigma_of_small_pictures_and_of_almost_nothing_known():
    image = noisy(np.full((16, 20, 1), 0.5), 0.1)
    assert noise.estimate_sigma(image) == pytest.approx(0.1, rel=0.3)
    mask = np.ones_like(image)
    mask[:3, :3] = 0
    assert noise.estimate_sigma(image, mask) == 0


def test_gamma_quantile_is_that_of_scipy():
    shapes = np.array([10.0, 20.0, 60.0])
    for probability, tolerance in ((0.001, 0.03), (0.5, 0.001), (1 - 1e-6, 0.02)):
        expected = stats.gamma.ppf(probability, shapes) / shapes
        found = noise._gamma_quantile(shapes, probability)
        np.testing.assert_allclose(found, expected, rtol=tolerance)


def test_only_so_many_patches_are_looked_at():
    rows = noise._sample(np.arange(80.0).reshape(8, 10), 3, 5)
    assert rows.shape == (5, 3, 3)
    np.testing.assert_array_equal(np.diff(rows, axis=2), 1)
    np.testing.assert_array_equal(np.diff(rows, axis=1), 10)
    everything = noise._sample(np.arange(80.0).reshape(8, 10), 3, 48)
    assert len(np.unique(everything[:, 0, 0])) == 48


@pytest.mark.parametrize("density", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_impulses_are_found_and_nothing_else(density):
    image = photo(channels=3)
    damaged = struck(image, density)
    found = impulses.find(damaged)
    true = damaged != image
    assert found.dtype == np.float32 and found.shape == image.shape
    assert set(np.unique(found)) == {0, 1}
    assert np.mean(found[true]) > 0.99
    assert not found[~true].any()


def _ordered():
    """Dithered by a threshold that repeats every 2x2 pixels."""
    thresholds = np.tile([[0.2, 0.6], [0.8, 0.4]], (200, 200))
    image = photo()
    height, width, _ = image.shape
    return np.float32(image > thresholds[:height, :width, None])


def _dithered():
    picture = Image.fromarray(np.uint8(255 * photo()[..., 0])).convert("1")
    return np.asarray(picture, np.float32)[..., None]


@pytest.mark.parametrize(
    "image",
    [
        photo(),
        page(),
        page(margin=40),
        1 - page(),
        np.round(page()),
        np.pad(photo(), [(30, 30), (40, 40), (0, 0)]),
        np.clip(3 * photo() - 1, 0, 1),
        np.round(photo()),
        _dithered(),
        np.indices((90, 120)).sum(0)[..., None] % 2.0,
        _ordered(),
        np.clip(noisy(photo(), 25 / 255), 0, 1),
        np.clip(noisy(photo(), 50 / 255), 0, 1),
        np.random.default_rng(0).integers(0, 2, (90, 120, 1)) / 1.0,
    ],
    ids=(
        "photo page margins inverted sharp border saturated two_levels dithered "
        "checkerboard ordered noisy_25 noisy_50 random"
    ).split(),
)
def test_clean_pictures_have_no_impulses(image):
    assert not impulses.find(image).any()


@pytest.mark.parametrize("density", [0.05, 0.3])
def test_impulses_are_found_beside_noise(density):
    image = np.clip(noisy(photo(), 25 / 255), 0, 1)
    damaged = struck(image, density)
    found, true = impulses.find(damaged), damaged != image
    assert np.mean(found[true]) > 0.75
    assert np.mean(found[~true]) < 0.01


@pytest.mark.parametrize("density", [0.3, 0.5, 0.7])
def test_black_and_white_parts_stay_known(density):
    image = np.pad(photo(), [(60, 0), (0, 0), (0, 0)])
    image = np.pad(image, [(0, 60), (0, 0), (0, 0)], constant_values=1)
    damaged = struck(image, density)
    found, true = impulses.find(damaged), damaged != image
    assert np.mean(found[true]) > 0.99
    assert np.mean(found[~true]) < 0.02


def test_most_impulses_are_found_on_a_page():
    image = page(margin=40)
    damaged = struck(image, 0.3)
    found, true = impulses.find(damaged), damaged != image
    assert np.mean(found[true]) > 0.85
    assert np.mean(found[~true]) < 0.1


def test_channels_are_searched_apart():
    image = photo(channels=3)
    damaged = image.copy()
    damaged[..., 1] = struck(image[..., 1], 0.2)
    found = impulses.find(damaged)
    assert not found[..., [0, 2]].any()
    assert found[..., 1].mean() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5000, 1), (28, 40, 3)])
def test_any_size_is_searched(shape):
    image = np.full(shape, 0.4, np.float32)
    assert not impulses.find(image).any()
    damaged = struck(image, 0.5)
    found, true = impulses.find(damaged), damaged != image
    assert found[true].mean() > 0.99 if found.size > 1 else not found.any()
    assert not found[~true].any()


@pytest.mark.parametrize("density", [0.1, 0.7])
def test_impulses_are_found_alike_in_bands_of_rows(monkeypatch, density):
    damaged = struck(photo(), density)
    whole = impulses.find(damaged)
    assert whole.any() and len(damaged) > 2 * 37
    monkeypatch.setattr(impulses, "_BAND", 37)
    np.testing.assert_array_equal(impulses.find(damaged), whole)


@pytest.mark.parametrize("radius", [2, 9])
def test_neighbours_are_those_of_a_box_filter(radius):
    extreme = np.random.default_rng(0).random((13, 30)) < 0.4
    box = np.ones((2 * radius + 1, 2 * radius + 1), int)
    box[radius, radius] = 0
    same, inside = impulses._neighbours(extreme, radius)
    for found, source in ((same, extreme), (inside, np.ones_like(extreme))):
        expected = ndimage.convolve(source.astype(int), box, mode="constant")
        np.testing.assert_array_equal(found, expected)


def test_blocks_cover_the_picture_once():
    image = np.ones((100, 161), np.int8)
    assert impulses._block_sums(image).tolist() == [2650, 2700, 2700] * 2
    assert impulses._block_sums(image[:1]).tolist() == [53, 54, 54]


def test_bad_shapes_are_refused():
    image = photo(20, 30)
    for wrong in (image[..., 0], image[None], image[:0]):
        for call in (noise.estimate_sigma, impulses.find):
            with pytest.raises(errors.InputError, match=r"must be \[H, W, C\]"):
                call(wrong)
    with pytest.raises(errors.InputError, match="mask of shape .* same height"):
        noise.estimate_sigma(image, image[:10])
