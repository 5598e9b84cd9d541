import os

import matplotlib
import numpy as np
import pytest

from gan_transfer import errors, glyphs


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "gan_transfer"


def flat(parts):
    return [array for part in parts for array in part]


def assert_same(first, second):
    for one, other in zip(flat(first), flat(second), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("letters", "classes"), [(False, 10), (True, 26)])
def test_shapes_types_and_balanced_classes(cache, letters, classes):
    (x, y), (x_test, y_test) = glyphs.load(letters, samples_per_class=20)
    assert x.shape == (20 * classes, 28, 28, 1) and x.dtype == np.uint8
    assert x_test.shape == (2 * classes, 28, 28, 1) and x_test.dtype == np.uint8
    assert y.dtype == y_test.dtype == np.int32
    assert np.bincount(y).tolist() == [20] * classes
    assert np.bincount(y_test).tolist() == [2] * classes


def test_every_class_of_every_font_is_drawn_and_distinct():
    assert len(glyphs.FONTS) == len(set(glyphs.FONTS)) >= 20
    for characters in (glyphs.DIGITS, glyphs.LETTERS):
        masters = glyphs._masters(characters)
        for font, name in enumerate(glyphs.FONTS):
            drawn = [np.asarray(masters[c][font][0]) for c in range(len(characters))]
            assert all((picture > 128).sum() > 100 for picture in drawn), name
            assert len({picture.tobytes() for picture in drawn}) == len(characters)
            # Nothing touches the border, where the distortion would cut it off.
            assert all(picture[1:-1, 1:-1].sum() == picture.sum() for picture in drawn)


def test_every_font_draws_the_digits_and_not_something_else():
    # Nearest mean of the other fonts. Of the symbol font cmsy10, 2 are right.
    masters = glyphs._masters(glyphs.DIGITS)
    drawn = np.array([[glyphs._centred(f[0], _Middle()) for f in c] for c in masters])
    drawn = drawn.reshape(10, len(glyphs.FONTS), -1).astype(float)
    drawn -= drawn.mean(-1, keepdims=True)
    drawn /= np.linalg.norm(drawn, axis=-1, keepdims=True)
    for font, name in enumerate(glyphs.FONTS):
        others = np.delete(drawn, font, axis=1).mean(1)
        found = (drawn[:, font] @ others.T).argmax(1)
        assert (found == np.arange(10)).sum() >= 8, name


class _Middle:
    def uniform(self, low, high):
        return (low + high) / 2


def test_looks_like_mnist_in_brightness_and_centring(cache):
    (x, _), _ = glyphs.load(samples_per_class=60)
    values = x[..., 0] / 255
    # MNIST, training part: mean 0.131, standard deviation 0.308, 81 % black.
    assert values.mean() == pytest.approx(0.131, abs=0.015)
    assert values.std() == pytest.approx(0.308, abs=0.02)
    assert (values == 0).mean() == pytest.approx(0.81, abs=0.03)
    mass = values.sum((1, 2))
    for axis in (1, 2):
        centre = (values.sum(3 - axis) * np.arange(28)).sum(1) / mass
        assert np.abs(centre - 14).max() < 1.1
        extent = (values.sum(3 - axis) > 0).sum(1)
        assert extent.max() <= 20
    assert (values.reshape(len(x), -1).max(1) > 0.5).all()


def test_deterministic_for_a_seed_and_parts_disjoint(cache, monkeypatch):
    first = glyphs.load(samples_per_class=3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "elsewhere"))
    assert_same(first, glyphs.load(samples_per_class=3))
    other = glyphs.load(samples_per_class=3, seed=1)
    assert (other[0][0] != first[0][0]).any()
    train, test = ({image.tobytes() for image in part[0]} for part in first)
    assert len(train) == 30 and not train & test


def test_second_load_comes_from_the_cache(cache, monkeypatch):
    first = glyphs.load(samples_per_class=2)
    assert os.listdir(cache) == ["digits-v1-2-0.npz"]
    monkeypatch.setattr(glyphs, "_masters", None)
    assert_same(first, glyphs.load(samples_per_class=2))


@pytest.mark.parametrize("damage", ["empty", "cut", "foreign", "shape", "objects"])
def test_broken_cache_is_drawn_again_and_mended(cache, damage):
    first = glyphs.load(samples_per_class=2)
    path = cache / "digits-v1-2-0.npz"
    good = path.read_bytes()
    if damage == "shape":
        np.savez(path, x_train=1, y_train=1, x_test=1, y_test=1)
    elif damage == "objects":
        names = ("x_train", "y_train", "x_test", "y_test")
        np.savez(path, **dict.fromkeys(names, np.array([{}], dtype=object)))
    else:
        path.write_bytes({"empty": b"", "cut": good[:300], "foreign": b"no"}[damage])
    assert_same(first, glyphs.load(samples_per_class=2))
    with np.load(path, allow_pickle=False) as mended:
        np.testing.assert_array_equal(mended["x_train"], first[0][0])


def test_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (x, _), _ = glyphs.load(samples_per_class=1)
    assert len(x) == 10
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("count", [0, -3])
def test_no_samples_are_refused(cache, count):
    with pytest.raises(errors.InputError, match=f"is {count}; it must be at least 1"):
        glyphs.load(samples_per_class=count)


def test_missing_font_is_named(cache, monkeypatch):
    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(cache / "none"))
    with pytest.raises(errors.InputError, match="DejaVuSans.ttf: font missing"):
        glyphs.load(samples_per_class=1)
