import numpy as np
import pytest
import tensorflow as tf

from restoration import mixture, networks, validation

BANK = np.zeros((1, 16, 16, 1), np.uint8)
BANK[:, 3:6] = 1


def _pictures(channels=1):
    rng = np.random.default_rng(0)
    sizes = ((9, 12), (8, 8), (15, 9))
    return [rng.integers(30, 220, (*size, channels), np.uint8) for size in sizes]


def _identity(channels=1):
    """A restorer that has learned nothing yet returns the image."""
    return networks.restorer(channels, widths=(2,), blocks=1)


def _offset(clean, key):
    """Another error for each draw: 0.1, 0.2, 0.3, 0.4."""
    damaged = clean + 0.1 * tf.cast(key[1] + 1, tf.float32)
    return damaged, 0 * clean[..., :1], 0 * clean


@pytest.mark.parametrize("channels", [1, 3])
def test_crops_are_the_centres(channels):
    pictures = _pictures(channels)
    judge = validation.Validation(pictures, 8, mixture.Mixture(BANK))
    places = ((0, 2), (0, 0), (3, 0))
    for crop, picture, (top, left) in zip(judge.clean, pictures, places, strict=True):
        expected = picture[top : top + 8, left : left + 8] / np.float32(255)
        np.testing.assert_array_equal(crop, expected)
    assert judge.clean.dtype == np.float32
    shapes = [part.shape for part in judge.noisy]
    assert shapes == [(3, 8, 8, channels), (3, 8, 8, 1), (3, 8, 8, channels)]
    assert [part.shape[0] for part in judge.mixed] == [12, 12, 12]


def test_noise_is_25_of_255():
    pictures = [np.full((40, 52, 1), level, np.uint8) for level in (0, 80, 255)]
    image, level, mask = validation.Validation(pictures, 40, mixture.gaussian).noisy
    noise = image - np.reshape([0, 80 / 255, 1], (3, 1, 1, 1)).astype(np.float32)
    np.testing.assert_allclose(np.std(noise, axis=(1, 2, 3)), 25 / 255, rtol=0.04)
    assert np.abs(np.mean(noise)) < 0.003
    np.testing.assert_array_equal(level, np.full(level.shape, np.float32(25 / 255)))
    assert not mask.numpy().any()
    assert len({each.numpy().tobytes() for each in noise}) == 3


def test_training_damage_is_drawn_with_fixed_keys():
    damage = mixture.Mixture(BANK)
    judge, again = (validation.Validation(_pictures(), 8, damage) for _ in range(2))
    draws = [damage(judge.clean, tf.constant([7, draw])) for draw in range(4)]
    for part, other, *drawn in zip(judge.mixed, again.mixed, *draws, strict=True):
        np.testing.assert_array_equal(part, np.concatenate(drawn))
        np.testing.assert_array_equal(part, other)
    assert len({each.numpy().tobytes() for each in judge.mixed[0]}) == 12


def test_scores_in_closed_form():
    judge = validation.Validation(_pictures(), 8, _offset)
    scores = judge.scores(_identity())
    assert list(scores) == ["val_psnr_25", "val_psnr", "val_rmse"]
    assert all(isinstance(value, float) for value in scores.values())
    assert scores["val_rmse"] == pytest.approx(255 * 0.25, rel=1e-5)
    decibels = -20 * np.log10([0.1, 0.2, 0.3, 0.4])
    assert scores["val_psnr"] == pytest.approx(decibels.mean(), rel=1e-5)
    assert judge.damaged_psnr() == pytest.approx(decibels.mean(), rel=1e-5)


def test_scores_of_the_noise_are_its_own():
    judge = validation.Validation(_pictures(3), 8, mixture.Mixture(BANK))
    scores = judge.scores(_identity(3))
    noise = judge.noisy[0].numpy().astype(np.float64) - judge.clean
    error = np.sqrt(np.mean(noise**2, axis=(1, 2, 3)))
    assert scores["val_psnr_25"] == pytest.approx(np.mean(-20 * np.log10(error)), 1e-5)
    mixed = judge.mixed[0].numpy() - np.tile(judge.clean, (4, 1, 1, 1))
    error = np.sqrt(np.mean(mixed.astype(np.float64) ** 2, axis=(1, 2, 3)))
    assert scores["val_rmse"] == pytest.approx(255 * error.mean(), rel=1e-5)


def test_a_better_network_scores_better():
    class Halfway:
        """Goes half of the way to the clean crops."""

        def predict_on_batch(self, inputs):
            clean = np.tile(judge.clean, (len(inputs[0]) // 3, 1, 1, 1))
            return (inputs[0].numpy() + clean) / 2

    judge = validation.Validation(_pictures(), 8, _offset)
    scores, before = judge.scores(Halfway()), judge.scores(_identity())
    assert scores["val_rmse"] == pytest.approx(before["val_rmse"] / 2, rel=1e-5)
    for name in ("val_psnr", "val_psnr_25"):
        gain = 20 * np.log10(2)
        assert scores[name] == pytest.approx(before[name] + gain, rel=1e-5)


def test_pairs_are_scored_as_they_are():
    clean = np.random.default_rng(0).random((2, 6, 9, 3), np.float32)
    offsets = np.reshape([0.1, 0.3], (2, 1, 1, 1)).astype(np.float32)
    judge = validation.PairValidation(clean + offsets, clean)
    scores = judge.scores(_identity(3))
    assert list(scores) == ["val_psnr", "val_rmse"]
    assert scores["val_rmse"] == pytest.approx(255 * 0.2, rel=1e-5)
    decibels = -20 * np.log10([0.1, 0.3])
    assert scores["val_psnr"] == pytest.approx(decibels.mean(), rel=1e-5)
    assert judge.damaged_psnr() == pytest.approx(decibels.mean(), rel=1e-5)
    # Nothing is told of the damage.
    _, level, mask = judge.mixed
    assert level.shape == (2, 6, 9, 1) and mask.shape == clean.shape
    assert not level.any() and not mask.any()


def test_noise_says_nothing_of_a_network_that_is_told_nothing():
    judge = validation.Validation(_pictures(), 8, _offset, told=False)
    told = validation.Validation(_pictures(), 8, _offset)
    scores = told.scores(_identity())
    del scores["val_psnr_25"]
    assert judge.scores(_identity()) == scores
    assert scores.keys() == {"val_psnr", "val_rmse"}
