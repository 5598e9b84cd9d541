import numpy as np
import pytest
from PIL import Image

from experiments.support import strip
from gan_transfer import errors


def drawn(path, before, after, mask=None):
    strip.write(path, before, after, mask)
    with Image.open(path) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        return np.asarray(picture)


def count(picture, colour):
    return int((picture == colour).all(axis=-1).sum())


def test_small_pictures_are_enlarged_and_holes_are_magenta(tmp_path):
    before = np.full((20, 30, 3), 0.2, np.float32) * np.float32([1, 2, 3])
    mask = np.zeros((20, 30, 1), np.float32)
    mask[3:5, 7:12] = 1
    picture = drawn(tmp_path / "a.png", before, before + 0.4, mask)
    # Four times as large, side by side.
    assert count(picture, (255, 0, 255)) == 16 * 10
    assert count(picture, (51, 102, 153)) == 16 * 590
    assert count(picture, (153, 204, 255)) == 16 * 600


def test_values_beyond_the_range_are_clipped_and_grey_is_drawn(tmp_path):
    before = np.full((150, 140, 1), -0.3, np.float32)
    picture = drawn(tmp_path / "a.png", before, before + 0.7)
    assert count(picture, (0, 0, 0)) == count(picture, (102, 102, 102)) == 150 * 140


@pytest.mark.parametrize(
    ("height", "width"), [(900, 1300), (1300, 900), (200, 2400), (3000, 100)]
)
def test_of_large_pictures_the_part_that_changed_stands_at_full_size(
    tmp_path, height, width
):
    before = np.full((height, width, 3), 0.2, np.float32)
    after = before.copy()
    after[-30:, -40:] = (0, 1, 0)
    picture = drawn(tmp_path / "a.png", before, after)
    assert picture.shape[1] <= 1600
    # In the detail, and shrunk in the whole picture.
    green = (picture[..., 1] > 180) & (picture[..., 0] < 80)
    share = min(1, 780 / width, 1000 / height) if width <= 2 * height else 1568 / width
    assert green.sum() == pytest.approx(1200 * (1 + share**2), abs=250)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5000, 3), (5000, 1, 1)])
def test_thin_pictures_are_drawn(tmp_path, shape):
    before = np.full(shape, 0.2, np.float32)
    assert drawn(tmp_path / "a.png", before, before + 0.4).shape[1] <= 1600


def test_a_strip_that_cannot_be_written_is_named(tmp_path):
    image = np.zeros((4, 5, 1), np.float32)
    with pytest.raises(errors.InputError, match="no/a.png: cannot be written"):
        strip.write(tmp_path / "no" / "a.png", image, image)
