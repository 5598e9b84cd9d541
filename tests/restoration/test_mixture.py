import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from gan_transfer import errors
from restoration import filling, mixture

NOISE, IMPULSES, PIXELS, SHAPES = np.eye(4).tolist()
KEY = tf.constant([3, 5])
FULL = np.ones((1, 40, 40, 1), np.uint8)


def _images(count, height=20, width=28, channels=3, seed=0):
    draws = np.random.default_rng(seed).uniform(
        0.05, 0.95, (count, height, width, channels)
    )
    return tf.constant(draws, tf.float32)


def _damage(shares, clean, key=KEY, bank=FULL):
    damaged, level, mask = mixture.Mixture(bank, tuple(shares))(clean, key)
    assert damaged.shape == mask.shape == clean.shape
    assert level.shape == (*clean.shape[:3], 1)
    assert {damaged.dtype, level.dtype, mask.dtype} == {tf.float32}
    found = damaged.numpy(), level.numpy(), mask.numpy()
    assert np.isin(found[2], (0, 1)).all()
    # One level for an image.
    assert (found[1] == found[1][:, :1, :1]).all()
    return found


@pytest.fixture
def unfilled(monkeypatch):
    """Lets one see what stands at missing pixels before they are filled."""
    monkeypatch.setattr(mixture.filling, "fill", lambda image, mask: image)


def _uniform(values, low, high):
    """Whether values look like draws from U(low, high)."""
    assert low <= values.min() and values.max() <= high
    return scipy.stats.kstest(values, "uniform", (low, high - low)).pvalue > 0.01


def test_noise_of_one_level():
    clean = _images(200)
    damaged, level, mask = mixture.FixedGaussian(0.2)(clean, KEY)
    assert level.shape == (200, 20, 28, 1) and mask.shape == clean.shape
    assert np.ptp(level) == 0 and level[0, 0, 0, 0] == np.float32(0.2)
    assert not np.any(mask)
    noise = np.ravel(damaged - clean)
    # 336,000 draws: four standard deviations.
    assert noise.std() == pytest.approx(0.2, abs=0.001)
    np.testing.assert_array_equal(mixture.FixedGaussian(0.2)(clean, KEY)[0], damaged)


def test_noise_has_the_level_it_tells():
    clean = _images(200)
    damaged, level, mask = _damage(NOISE, clean)
    assert not mask.any()
    sigma = level[:, 0, 0, 0]
    assert _uniform(sigma, 0, 55 / 255)
    noise = damaged - clean.numpy()
    # 1,680 values an image: the deviation is known to 1.7 %, the mean to 2.4 % of it.
    np.testing.assert_allclose(noise.std(axis=(1, 2, 3)), sigma, rtol=0.08, atol=1e-6)
    assert (np.abs(noise.mean(axis=(1, 2, 3))) < 0.11 * sigma + 1e-6).all()
    standard = (noise / level)[sigma > 0.01].ravel()
    assert scipy.stats.kstest(standard[::7], "norm").pvalue > 0.01
    channels = np.corrcoef(noise[sigma > 0.1].reshape(-1, 3).T)
    assert np.abs(channels - np.eye(3)).max() < 0.03
    assert damaged.min() < 0 and damaged.max() > 1  # nothing is clipped


def test_noise_alone_is_the_first_kind_bit_for_bit():
    clean = _images(3)
    alone = mixture.gaussian(clean, KEY)
    for one, other in zip(alone, _damage(NOISE, clean), strict=True):
        np.testing.assert_array_equal(one, other)


def test_impulses_are_black_and_white_in_equal_numbers(unfilled):
    clean = _images(200)
    struck, level, mask = _damage(IMPULSES, clean)
    assert not level.any()
    np.testing.assert_array_equal(mask == 1, (struck == 0) | (struck == 1))
    np.testing.assert_array_equal(struck[mask == 0], clean.numpy()[mask == 0])
    density = mask.mean(axis=(1, 2, 3))
    assert density.min() < 0.1 and density.max() > 0.75
    assert _uniform(np.clip(density, 0.05, 0.8), 0.05, 0.8)
    white = struck[mask == 1].mean()
    assert white == pytest.approx(0.5, abs=0.01)
    apart = (mask != mask[..., :1]).any(axis=(1, 2, 3))
    assert 0.4 < apart.mean() < 0.6
    # Also the colour of an impulse is one where the channels are struck together.
    together = struck[~apart][mask[~apart] == 1].reshape(-1, 3)
    assert (together == together[:, :1]).all()


def test_pixels_that_were_black_or_white_count_as_struck(unfilled):
    clean = _images(20, channels=1).numpy()
    clean[:, 2, 3], clean[:, 4, 5], clean[:, 6, 7] = 0, 1, 1.5 / 255
    struck, _, mask = _damage(IMPULSES, tf.constant(clean))
    assert mask[:, 2, 3].all() and mask[:, 4, 5].all() and not mask[:, 6, 7].all()
    np.testing.assert_array_equal(mask == 1, (struck == 0) | (struck == 1))


def test_missing_pixels_are_a_share_and_those_of_all_channels():
    clean = _images(200)
    damaged, level, mask = _damage(PIXELS, clean)
    assert (mask == mask[..., :1]).all()
    share = mask.mean(axis=(1, 2, 3))
    assert _uniform(np.clip(share, 0.1, 0.95), 0.1, 0.95)
    # Anywhere: no row and no column is hit more than others.
    for axes in ((0, 2, 3), (0, 1, 3)):
        np.testing.assert_allclose(mask.mean(axis=axes), share.mean(), atol=0.06)
    _check_low_noise(damaged, level, mask, clean.numpy())


def _check_low_noise(damaged, level, mask, clean):
    """Half of the images are noisy, up to 30 of 255; the others stay as they were."""
    sigma = level[:, 0, 0, 0]
    assert 0.4 < (sigma > 0).mean() < 0.6
    assert _uniform(sigma[sigma > 0], 0, 30 / 255)
    quiet = (sigma == 0)[:, None, None, None] & (mask == 0)
    np.testing.assert_array_equal(damaged[quiet], clean[quiet])
    loud = (sigma > 0.02)[:, None, None, None] & (mask == 0)
    noise = ((damaged - clean) / np.maximum(level, 1e-9))[loud]
    assert noise.std() == pytest.approx(1, abs=0.02)


def test_shapes_are_masks_of_the_bank_cropped_and_flipped():
    rng = np.random.default_rng(0)
    bank = rng.integers(0, 2, (3, 12, 12, 1), np.uint8)
    clean = _images(30, 10, 11)
    ways = {}
    for number, top, left in np.ndindex(3, 3, 2):
        crop = bank[number, top : top + 10, left : left + 11, 0]
        for down, right in np.ndindex(2, 2):
            flipped = crop[:: 1 - 2 * down, :: 1 - 2 * right]
            ways[flipped.tobytes()] = (number, (top, left), (down, right))
    assert len(ways) == 3 * 3 * 2 * 4
    seen = []
    for count in range(12):
        mask = _damage(SHAPES, clean, tf.constant([3, count]), bank)[2]
        assert (mask == mask[..., :1]).all()
        drawn = [ways[each[..., 0].astype(np.uint8).tobytes()] for each in mask]
        assert len({place for _, place, _ in drawn}) == 1  # a place for the batch
        seen += drawn
    numbers, places, flips = (set(each) for each in zip(*seen, strict=True))
    assert len(numbers) == 3 and len(flips) == 4
    assert [set(each) for each in zip(*places, strict=True)] == [{0, 1, 2}, {0, 1}]


def test_shapes_as_large_as_the_images_fit():
    bank = np.zeros((2, 16, 16, 1), np.uint8)
    bank[:, 3:9, 4:6] = 1
    clean = _images(200, 16, 16)
    damaged, level, mask = _damage(SHAPES, clean, bank=bank)
    np.testing.assert_array_equal(mask.sum(axis=(1, 2)), 12.0)
    _check_low_noise(damaged, level, mask, clean.numpy())


@pytest.mark.parametrize("shares", [IMPULSES, PIXELS, SHAPES])
def test_missing_pixels_are_filled(shares):
    bank = np.zeros((1, 40, 40, 1), np.uint8)
    bank[:, ::3] = 1
    clean = _images(10)
    damaged, _, mask = _damage(shares, clean, bank=bank)
    assert 0 < mask.mean() < 1
    np.testing.assert_array_equal(damaged, filling.fill(damaged, mask))
    # Filled from the known, not left as they were.
    assert (np.abs(damaged - clean)[mask == 1] > 0).mean() > 0.99


def test_kinds_come_in_their_shares(unfilled):
    shares = mixture.Mixture(FULL).shares
    assert sum(shares) == pytest.approx(1)
    damaged, _, mask = _damage(shares, _images(3000, 16, 18, 1))
    none, whole = mask.max(axis=(1, 2, 3)) == 0, mask.min(axis=(1, 2, 3)) == 1
    struck = np.where(mask == 1, np.isin(damaged, (0, 1)), True).all(axis=(1, 2, 3))
    impulses = struck & ~none
    kinds = (none, impulses, ~none & ~impulses & ~whole, whole)
    assert sum(kinds).tolist() == [1] * 3000
    deviation = np.sqrt(np.multiply(shares, np.subtract(1, shares)) / 3000)
    found = np.array([kind.mean() for kind in kinds])
    assert (np.abs(found - shares) < 3 * deviation).all()


def test_a_key_fixes_the_damage_and_another_changes_it():
    clean, shares = _images(16, channels=1), mixture.Mixture(FULL).shares
    first, again = (_damage(shares, clean) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    for key in ([3, 6], [4, 5]):
        other = _damage(shares, clean, tf.constant(key))
        differs = (first[0] != other[0]).any(axis=(1, 2, 3))
        assert differs.mean() > 0.9
    alike = tf.tile(clean[:1], [16, 1, 1, 1])
    damaged = _damage(NOISE, alike)[0]
    assert len({each.tobytes() for each in damaged}) == 16


@pytest.mark.parametrize("damage", [mixture.Mixture(FULL), mixture.gaussian])
def test_a_graph_equals_eager_also_for_an_unknown_batch(damage):
    clean = _images(12)
    signature = [tf.TensorSpec((None, *clean.shape[1:])), tf.TensorSpec((2,), tf.int32)]
    graph = tf.function(damage, input_signature=signature)
    damaged, level, mask = graph(clean, KEY)
    eager = damage(clean, KEY)
    np.testing.assert_allclose(damaged, eager[0], atol=1e-6)
    np.testing.assert_allclose(level, eager[1], atol=1e-7)
    np.testing.assert_array_equal(mask, eager[2])


@pytest.mark.parametrize(
    "shares",
    [(), (1.0,), (0.5, 0.5, 0, 0.1), (0.5, 0.2, 0.2, 0.05), (1.5, -0.5, 0, 0)],
)
def test_shares_that_are_no_probabilities_are_refused(shares):
    with pytest.raises(errors.InputError, match="noise, impulses, pixels, shapes, non"):
        mixture.Mixture(FULL, shares)


@pytest.mark.parametrize("size", [(41, 5), (5, 41)])
def test_images_larger_than_the_masks_are_refused(size):
    expected = rf"images of {size[0]}x{size[1]} pixels .* masks of 40x40; draw"
    with pytest.raises(errors.InputError, match=expected):
        mixture.Mixture(FULL)(_images(1, *size), KEY)


@pytest.mark.parametrize(
    ("place", "top", "left"),
    [((0.0, 0.0), 0, 0), ((0.34, 0.51), 1, 1), ((0.9999999, 0.9999999), 2, 1)],
)
def test_crops_of_the_chosen_masks_from_the_first_place_to_the_last(place, top, left):
    bank = np.arange(2 * 5 * 5, dtype=np.uint8).reshape(2, 5, 5, 1)
    found = mixture.crops(bank, tf.constant([[1, 0, 1]]), tf.constant(place), (3, 4))
    expected = bank[[1, 0, 1], top : top + 3, left : left + 4]
    np.testing.assert_array_equal(found, expected[None])
