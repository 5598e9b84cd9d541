import numpy as np
import pytest

from gan_transfer import errors
from restoration import pairs

CLEAN = np.random.default_rng(0).random((3, 9, 12, 3), np.float32)
NOISY = CLEAN + np.float32(0.5) * np.random.default_rng(1).normal(size=CLEAN.shape)


def write(folder, noisy=NOISY, clean=CLEAN):
    files = folder / "noisy_images.npy", folder / "clean_images.npy"
    for path, values in zip(files, (noisy, clean), strict=True):
        np.save(path, values)
    return files


def test_values_are_neither_rounded_nor_clipped(tmp_path):
    assert NOISY.min() < -0.5 and NOISY.max() > 1.5
    found = pairs.read(*write(tmp_path), 3)
    assert [each.shape for each in found] == [(9, 12, 6)] * 3
    for each, noisy, clean in zip(found, NOISY, CLEAN, strict=True):
        assert each.dtype == np.float32
        np.testing.assert_array_equal(each[..., :3], noisy.astype(np.float32))
        np.testing.assert_array_equal(each[..., 3:], clean)


def test_noise_below_0_alone_does_not_change_the_scale(tmp_path):
    noisy = CLEAN - np.float32(0.2)
    found = pairs.read(*write(tmp_path, noisy), 3)
    np.testing.assert_array_equal(np.stack(found)[..., :3], noisy)


def test_each_file_is_divided_by_its_full_scale(tmp_path):
    levels = np.random.default_rng(2).integers(0, 256, CLEAN.shape, np.uint8)
    for clean in (257 * levels.astype(np.uint16), levels / np.float32(255)):
        (first, *_) = pairs.read(*write(tmp_path, levels, clean), 3)
        np.testing.assert_allclose(first[..., :3], first[..., 3:], rtol=1e-6)
        np.testing.assert_array_equal(first[..., :3], levels[0] / np.float32(255))


def test_colour_becomes_grey_and_grey_is_repeated(tmp_path):
    grey = NOISY @ np.array([0.299, 0.587, 0.114])
    found = np.stack(pairs.read(*write(tmp_path), 1))
    np.testing.assert_allclose(found[..., 0], grey, atol=1e-6)
    assert found.shape == (3, 9, 12, 2)
    found = np.stack(pairs.read(*write(tmp_path, grey, CLEAN), 3))
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], np.float32(grey))


@pytest.mark.parametrize(
    ("noisy", "clean", "parts"),
    [
        (
            255 * NOISY,
            CLEAN,
            ["noisy_images.npy: values from -", "of -2 to 3; rescale"],
        ),
        (
            NOISY,
            2 * CLEAN - 1,
            ["clean_images.npy: values from -", "of 0 to 1; rescale"],
        ),
        (np.where(NOISY > 1, np.nan, NOISY), CLEAN, ["noisy_images.npy: NaN"]),
        (NOISY[:2], CLEAN, ["[2, 9, 12, 3] and ", "[3, 9, 12, 3]; pairs need as many"]),
        (NOISY[:, :8], CLEAN, ["holds [3, 8, 12, 3]", "of the same size"]),
        (NOISY[..., [0, 1, 2, 0]], CLEAN, ["noisy_images.npy: images with alpha"]),
    ],
)
def test_pairs_that_are_none_are_refused(tmp_path, noisy, clean, parts):
    with pytest.raises(errors.InputError) as caught:
        pairs.read(*write(tmp_path, noisy, clean), 3)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)
