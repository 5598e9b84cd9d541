import itertools

import numpy as np
import pytest
from PIL import Image

from gan_transfer import errors
from restoration import patches


def _pictures(*sizes, channels=1):
    """Pictures without two equal pixels, so that every patch has one place."""
    total = sum(height * width * channels for height, width in sizes)
    assert total <= 256
    values = np.random.default_rng(0).permutation(256)[:total].astype(np.uint8)
    ends = np.cumsum([height * width * channels for height, width in sizes])[:-1]
    parts = np.split(values, ends)
    return [
        part.reshape(*size, channels) for part, size in zip(parts, sizes, strict=True)
    ]


def _places(pictures, patch):
    """All (picture, top, left, turns, flip) that give this patch."""
    size, found = len(patch), []
    for turns, flip in itertools.product(range(4), range(2)):
        back = np.rot90(patch[:, ::-1] if flip else patch, -turns)
        for number, picture in enumerate(pictures):
            for top, left in np.ndindex(
                *(side - size + 1 for side in picture.shape[:2])
            ):
                if (picture[top : top + size, left : left + size] == back).all():
                    found.append((number, top, left, turns, flip))
    return found


def _first(dataset):
    return next(iter(dataset)).numpy()


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_lie_in_the_pictures_turned_and_flipped(channels):
    pictures = _pictures((4, 7), (6, 5), channels=channels)
    drawn = patches.batch(pictures, 300, 3, seed=1, step=2)
    assert drawn.shape == (300, 3, 3, channels) and drawn.dtype == np.float32
    levels = np.round(255 * drawn).astype(np.uint8)
    np.testing.assert_array_equal(levels / np.float32(255), drawn)
    found = [_places(pictures, patch) for patch in levels]
    assert {len(places) for places in found} == {1}
    chosen = [places[0] for places in found]
    # Every place, and every way to lay it: 2 x 5 + 4 x 3 places, 8 ways.
    assert len({place[:3] for place in chosen}) == 22
    assert len({place[3:] for place in chosen}) == 8


def test_pictures_are_drawn_in_proportion_to_their_area():
    pictures = [np.full((4, 3, 1), 10, np.uint8), np.full((9, 8, 1), 20, np.uint8)]
    drawn = patches.batch(pictures, 7000, 2, seed=0, step=0)[:, 0, 0, 0] * 255
    share = np.mean(np.round(drawn) == 10)
    # 12 of 84 pixels: a seventh, with a deviation of 0.0042.
    assert share == pytest.approx(1 / 7, abs=0.015)


def test_areas_are_cut_at_the_right_pixel():
    # As many places as draws can take: picture n owns the numbers of its own pixels.
    pictures = [np.full((1, n, 1), n, np.uint8) for n in (1, 2, 3)]
    drawn = patches.batch(pictures, 600, 1, seed=4, step=0).ravel() * 255
    expected = np.random.default_rng((4, 0)).integers(0, 6, 600)
    np.testing.assert_array_equal(
        np.round(drawn), np.array([1, 2, 2, 3, 3, 3])[expected]
    )


def test_a_picture_as_large_as_a_patch_is_the_patch():
    (picture,) = _pictures((5, 5))
    drawn = np.round(255 * patches.batch([picture], 20, 5, seed=0, step=0))
    assert all(_places([picture], patch) for patch in drawn.astype(np.uint8))


def test_float_pictures_are_taken_as_they_are():
    pictures = _pictures((6, 7), (5, 8))
    floats = [each / np.float32(255) for each in pictures]
    expected = patches.batch(pictures, 9, 4, seed=1, step=2)
    drawn = patches.batch(floats, 9, 4, seed=1, step=2)
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn, expected)


def test_a_batch_is_a_function_of_seed_and_step():
    pictures = _pictures((8, 9), (7, 6))
    first = patches.batch(pictures, 6, 4, seed=1, step=2)
    np.testing.assert_array_equal(first, patches.batch(pictures, 6, 4, seed=1, step=2))
    for seed, step in ((1, 3), (2, 2), (2, 1)):
        assert (first != patches.batch(pictures, 6, 4, seed=seed, step=step)).any()


def test_batches_start_at_any_update():
    pictures = _pictures((8, 9), (7, 6))
    whole = patches.batches(pictures, 3, 4, seed=5)
    assert whole.element_spec.shape == (3, 4, 4, 1)
    head = list(itertools.islice(whole.as_numpy_iterator(), 5))
    for step, drawn in enumerate(head):
        expected = patches.batch(pictures, 3, 4, seed=5, step=step)
        np.testing.assert_array_equal(drawn, expected)
    tail = patches.batches(pictures, 3, 4, seed=5, start=3).as_numpy_iterator()
    for expected, drawn in zip(head[3:], tail, strict=False):
        np.testing.assert_array_equal(drawn, expected)
    assert (_first(patches.batches(pictures, 3, 4, seed=6)) != head[0]).any()


@pytest.mark.parametrize("sizes", [[(9, 8), (9, 5)], [(5, 9)]])
def test_patches_larger_than_a_picture_are_refused(sizes):
    pictures = _pictures(*sizes)
    with pytest.raises(errors.InputError, match="6 pixels .* side of 5; use .* most 5"):
        patches.batches(pictures, 2, 6)
    assert _first(patches.batches(pictures, 2, 5)).shape == (2, 5, 5, 1)


def test_pictures_held_out_are_not_trained_on():
    pictures = [np.full((2, 3, 1), number, np.uint8) for number in range(9)]
    chosen = set()
    for seed in range(5):
        rest, held = patches.hold_out(pictures, 3, seed)
        numbers = [[int(each[0, 0, 0]) for each in part] for part in (rest, held)]
        assert (len(rest), len(held)) == (6, 3)
        assert sorted(numbers[0] + numbers[1]) == list(range(9))
        assert all(part == sorted(part) for part in numbers)
        again = patches.hold_out(pictures, 3, seed)
        assert all(a is b for a, b in zip(rest + held, sum(again, []), strict=True))
        chosen.add(tuple(numbers[1]))
    assert len(chosen) > 2
    assert patches.hold_out(pictures, 0, 0) == (pictures, [])


@pytest.mark.parametrize("count", [2, 3, -1])
def test_holding_out_everything_is_refused(count):
    pictures = [np.zeros((2, 3, 1), np.uint8)] * 2
    with pytest.raises(
        errors.InputError, match=f"{count} validation .* 2, .* hold out"
    ):
        patches.hold_out(pictures, count, 0)


def test_folders_are_read_in_order_at_their_own_sizes(tmp_path):
    sizes = {"b/2": (4, 7), "b/1": (5, 3), "a/9": (2, 2)}
    for number, (name, (height, width)) in enumerate(sizes.items()):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.full((height, width, 3), (number, 0, 255), np.uint8)
        Image.fromarray(pixels).save(path)
    read = patches.read_folders([tmp_path / "b", tmp_path / "a"], 3)
    assert [each.shape for each in read] == [(5, 3, 3), (4, 7, 3), (2, 2, 3)]
    assert [each[0, 0].tolist() for each in read] == [[n, 0, 255] for n in (1, 0, 2)]
    assert patches.read_folders([tmp_path / "a"], 1)[0].shape == (2, 2, 1)


def test_folders_without_pictures_and_broken_pictures_are_refused(tmp_path):
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(errors.InputError, match=str(folder)):
            patches.read_folders([folder], 1)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG not quite")
    with pytest.raises(errors.InputError, match="broken.png"):
        patches.read_folders([tmp_path], 1)
