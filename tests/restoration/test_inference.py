import keras
import numpy as np
import pytest

from gan_transfer import errors
from restoration import filling, inference, networks, noise


def restorer(channels=1):
    """A small restorer that does something: untrained it returns its input."""
    network = networks.restorer(channels, widths=(4, 6), blocks=1)
    generator = np.random.default_rng(0)
    for weight in network.weights:
        fans = np.prod(weight.shape[:-1])
        weight.assign(generator.normal(0, (1 / fans) ** 0.5, weight.shape))
    return network


def probe(which):
    """A network that returns one of its inputs, for pictures of one channel."""
    inputs = networks.inputs(1)
    return keras.Model(list(inputs), keras.layers.Identity()(inputs[which]))


@pytest.fixture(scope="module")
def grey():
    return restorer()


def photo(height=90, width=130, channels=1):
    y, x = np.mgrid[:height, :width] / 50
    layers = [0.5 + 0.3 * np.sin(2 * x + y + c) * np.cos(y) for c in range(channels)]
    return np.stack(layers, axis=-1).astype(np.float32)


def noisy(image, sigma):
    draws = np.random.default_rng(0).normal(0, sigma, image.shape)
    return (image + draws).astype(np.float32)


def struck(image, density):
    draws = np.random.default_rng(0).random(image.shape)
    result = np.where(draws < density / 2, 0, image)
    return np.where(draws > 1 - density / 2, 1, result).astype(np.float32)


def holes(shape, share=0.3):
    return (np.random.default_rng(1).random(shape) < share).astype(np.float32)


def test_a_noisy_picture_is_what_the_network_makes_of_it(grey):
    image = noisy(photo(23, 41), 0.1)
    level = np.full((1, 23, 41, 1), 0.1, np.float32)
    expected = grey([image[None], level, np.zeros_like(image)[None]], training=False)
    found = inference.restore(grey, image, sigma=0.1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected[0], atol=1e-6)
    np.testing.assert_array_equal(inference.restore(grey, image[..., 0], sigma=0.1),
                                  found[..., 0])  # fmt: skip
    np.testing.assert_array_equal(
        inference.restore(grey, image.astype(np.float64), sigma=np.float32(0.1)), found
    )


@pytest.mark.parametrize("size", [(77, 131), (131, 77), (1, 5000), (300, 1), (1, 1)])
def test_tiled_is_whole(grey, size):
    image, mask = noisy(photo(*size), 0.1), holes((*size, 1))
    mask[0, 0] = 0
    for missing in (None, mask):
        whole = inference.restore(grey, image, missing, 0.1, tile=8192)
        tiled = inference.restore(grey, image, missing, 0.1, tile=96)
        np.testing.assert_allclose(tiled, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sigma", [None, 0, 0.0])
def test_known_pixels_come_back_bit_for_bit(sigma):
    image, mask = photo(50, 70, 3), holes((50, 70, 3))
    image[0, 0], mask[0, 0] = 1.7, 0
    restored = inference.restore(restorer(3), image, mask, sigma, ensemble=True)
    np.testing.assert_array_equal(restored[mask == 0], image[mask == 0])
    assert (restored[mask == 1] != image[mask == 1]).all()


def test_known_pixels_are_denoised_where_there_is_noise(grey):
    image, mask = noisy(photo(), 0.1), holes((90, 130, 1))
    restored = inference.restore(grey, image, mask, 0.1)
    assert (restored != image).mean() > 0.99


def test_the_network_sees_a_filled_picture_the_level_and_the_mask():
    image, mask = photo(), holes((90, 130, 1))
    filled = filling.fill(image[None], mask[None])[0]
    seen = [inference.restore(probe(k), image, mask, 0.2) for k in range(3)]
    np.testing.assert_array_equal(seen[0], filled)
    np.testing.assert_array_equal(seen[1], np.full_like(image, 0.2))
    np.testing.assert_array_equal(seen[2], mask)


def test_holes_may_hold_anything_and_masks_have_several_forms():
    network, image, mask = restorer(3), photo(40, 52, 3), holes((40, 52, 1))
    expected = inference.restore(network, image, mask)
    hollow = np.where(mask, np.nan, image)
    missing = mask[..., 0] > 0
    for given in (missing, mask.astype(np.uint8), np.repeat(mask, 3, axis=2)):
        found = inference.restore(network, hollow, given)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(image, photo(40, 52, 3))


def test_ensemble_is_the_mean_over_flips_and_rotations(grey):
    image, mask = noisy(photo(34, 51), 0.1), holes((34, 51, 1))
    total = np.zeros_like(image)
    for quarters in range(4):
        for axes in ((), (0,)):
            turned = [np.flip(np.rot90(each, quarters), axes) for each in (image, mask)]
            one = inference.restore(grey, *turned, 0.1)
            total += np.rot90(np.flip(one, axes), -quarters)
    found = inference.restore(grey, image, mask, 0.1, ensemble=True)
    np.testing.assert_allclose(found, total / 8, atol=1e-6)
    once = inference.restore(grey, image, mask, 0.1)
    assert np.abs(found - once).max() > 1e-3


@pytest.mark.parametrize(
    "turn", [np.flipud, np.fliplr, np.rot90, lambda x: x.swapaxes(0, 1)]
)
def test_ensemble_turns_with_the_picture(grey, turn):
    image, mask = noisy(photo(34, 101), 0.1), holes((34, 101, 1))
    both = [
        inference.restore(grey, *pair, 0.1, ensemble=True, tile=96)
        for pair in ((image, mask), (turn(image), turn(mask)))
    ]
    np.testing.assert_allclose(both[1], turn(both[0]), atol=1e-6)


def test_what_is_told_is_believed(grey):
    def told(image, sigma):
        batch = image[None]
        return grey([batch, np.full_like(batch, sigma), 0 * batch])[0]

    image, mask = noisy(photo(), 0.1), holes((90, 130, 1))
    restored = inference.restore(grey, image, mask)
    np.testing.assert_array_equal(restored[mask == 0], image[mask == 0])
    assert (inference.restore(grey, image, mask, 0.2) != restored)[mask == 0].any()
    for given, sigma in ((struck(image, 0.5), 0.2), (image, 0.0)):
        restored = inference.restore(grey, given, sigma=sigma)
        np.testing.assert_allclose(restored, told(given, sigma), atol=1e-6)


def test_the_noise_level_is_estimated():
    image = noisy(photo(), 0.1)
    damage = inference.diagnose(image[..., 0])
    assert damage.sigma == noise.estimate_sigma(image)
    assert damage.sigma == pytest.approx(0.1, rel=0.05)
    assert (damage.mask, damage.impulses, damage.kept) == (None, 0, False)


@pytest.mark.parametrize("density", [0.02, 0.3, 0.7])
def test_impulses_are_missing_and_the_others_kept(grey, density):
    image = photo(channels=1)
    damaged = struck(image, density)
    damage = inference.diagnose(damaged)
    assert np.mean(damage.mask[damaged != image]) > 0.99
    assert not damage.mask[damaged == image].any()
    assert damage.impulses == np.mean(damage.mask)
    assert (damage.sigma, damage.kept) == (0, True)
    restored = inference.restore(grey, damaged)
    known = damaged == image
    np.testing.assert_array_equal(restored[known], image[known])


def test_impulses_on_noise():
    damaged = struck(noisy(photo(), 0.1), 0.3)
    damage = inference.diagnose(damaged)
    assert damage.impulses == pytest.approx(0.3, abs=0.02)
    assert damage.sigma == pytest.approx(0.1, rel=0.15)
    assert not damage.kept


def test_few_extremes_are_no_impulses():
    damaged = photo()
    damaged[::13, ::13] = 1
    assert inference.diagnose(damaged).mask is None


@pytest.mark.parametrize("image", [noisy(photo(), 0.1), struck(photo(), 0.3)])
def test_restoring_by_the_diagnosed_damage_is_the_same(grey, image):
    damage = inference.diagnose(image)
    found = inference.restore(grey, image, damage.mask, damage.sigma)
    np.testing.assert_array_equal(found, inference.restore(grey, image))


def _with(value):
    image = photo()
    image[3, 4] = value
    return image


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([np.uint8(255 * photo())], "image of uint8; .* divide 8 bits by 255"),
        ([255 * photo()], "from 51.* divide 8 bits by 255"),
        ([photo() - 3], "must be on a scale from 0 to 1"),
        ([photo()[None]], "image of shape .* one picture"),
        ([photo()[:0]], "not empty"),
        ([_with(np.nan)], "image holds 1 values that are not finite; .* in the mask"),
        ([_with(np.inf), holes((90, 130)) * 0], "not finite"),
        ([photo(), None, 25], "sigma is 25; .* give 25 / 255"),
        ([photo(), None, -0.1], "sigma is -0.1"),
        ([photo(), None, np.nan], "sigma is nan"),
        ([photo(), None, np.full(3, 0.1)], "must be one number"),
        ([photo(), holes((90, 131))], r"mask of shape \(90, 131\) .* width 130"),
        ([photo(), holes((90, 130, 3))], "mask of shape .* 1 channels"),
        ([photo(), 255 * holes((90, 130))], "give mask > 127"),
        ([photo(), holes((90, 130)) * np.nan], "other values than 0"),
        ([photo(), np.ones((90, 130))], "every pixel as missing .* inverted"),
        ([photo(channels=3)], "3 channels for a network of 1; use restorer_color, or"),
        ([photo(channels=2)], "2 channels .* alpha"),
    ],
)
def test_bad_input_is_refused(grey, arguments, message):
    with pytest.raises(errors.InputError, match=message):
        inference.restore(grey, *arguments)


def test_bad_networks_are_refused(grey):
    image = photo()
    with pytest.raises(errors.InputError, match="network of 3; use restorer_gray"):
        inference.restore(restorer(3), image)
    with pytest.raises(errors.InputError, match="1 inputs; a restorer has three"):
        inference.restore(
            keras.Sequential([keras.Input((4,)), keras.layers.ReLU()]), image
        )
    with pytest.raises(errors.InputError, match="use at least 96"):
        inference.restore(grey, image, sigma=0.1, tile=64)


def test_what_stands_in_a_hole_does_not_decide_about_the_rest():
    # The picture is struck by impulses; what covers a third of it is not.
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:192, :224] / 40
    clean = np.float32(0.5 + 0.2 * np.sin(rows) * np.cos(columns))[..., None]
    draws = rng.uniform(size=clean.shape)
    struck = np.where(draws < 0.05, 0, np.where(draws > 0.95, 1, clean))
    mask = np.zeros((192, 224, 1), np.float32)
    mask[40:150, 60:160] = 1
    covered = np.where(mask > 0, rng.normal(0.5, 0.2, clean.shape), struck)
    damage = inference.diagnose(covered.astype(np.float32), mask)
    assert damage.sigma == 0
    true = (mask > 0) | (struck != clean)
    assert np.mean(damage.mask[true] == 1) > 0.99
    assert np.mean(damage.mask[~true] == 0) > 0.99
    assert 0.9 < damage.impulses / np.mean((mask == 0) & (struck != clean)) < 1.1
    assert inference.diagnose(clean).sigma == noise.estimate_sigma(clean)
