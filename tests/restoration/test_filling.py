import numpy as np
import pytest
import tensorflow as tf

from restoration import filling

SIZES = [(1, 1), (1, 9), (7, 1), (2, 3), (5, 8), (13, 6), (16, 32)]


def _draw(height, width, channels=1, batch=2, share=0.5, seed=0):
    rng = np.random.default_rng(seed)
    shape = (batch, height, width, channels)
    image = rng.uniform(-0.5, 1.5, shape).astype(np.float32)
    mask = (rng.random(shape) < share).astype(np.float32)
    mask[:, 0, 0] = 0  # something is known
    return image, mask


def _fill(image, mask):
    return filling.fill(tf.constant(image), tf.constant(mask)).numpy()


@pytest.mark.parametrize("size", SIZES)
def test_known_pixels_come_back_bit_for_bit_and_the_others_lie_between(size):
    image, mask = _draw(*size, channels=3)
    filled = _fill(image, mask)
    assert filled.dtype == np.float32 and filled.shape == image.shape
    np.testing.assert_array_equal(filled[mask == 0], image[mask == 0])
    # Averages with weights that are positive and sum to 1.
    known = np.where(mask == 0, image, np.nan)
    low, high = (f(known, axis=(1, 2), keepdims=True) for f in (np.nanmin, np.nanmax))
    assert (filled >= low - 1e-5).all() and (filled <= high + 1e-5).all()


def test_nothing_missing_is_the_identity():
    image, mask = _draw(5, 7, share=0.0)
    np.testing.assert_array_equal(_fill(image, mask), image)


@pytest.mark.parametrize("size", SIZES)
def test_one_known_pixel_is_everywhere(size):
    image, mask = _draw(*size)
    mask[:] = 1
    rng = np.random.default_rng(1)
    row, column = (rng.integers(side) for side in size)
    mask[:, row, column] = 0
    expected = np.broadcast_to(image[:, row, column, None, None], image.shape)
    np.testing.assert_allclose(_fill(image, mask), expected, rtol=2e-6)


@pytest.mark.parametrize("share", [0.2, 0.7, 0.97])
def test_constant_images_stay_constant(share):
    image, mask = _draw(13, 22, channels=2, share=share)
    image[:] = 0.3
    np.testing.assert_allclose(_fill(image, mask), image, rtol=2e-6)


def test_nothing_known_becomes_zero_and_leaves_the_rest_of_the_batch_alone():
    image, mask = _draw(6, 9)
    one = _fill(image[1:], mask[1:])
    mask[0] = 1
    filled = _fill(image, mask)
    assert not filled[0].any()
    np.testing.assert_array_equal(filled[1:], one)


def test_two_known_corners_by_hand():
    # One level down the image is 1x2: 0 and 1, both with weight 1. Bilinear upsampling
    # by 2 gives 0, 1/4, 3/4, 1 along the row, and the known corners are those already.
    mask = np.ones((1, 2, 4, 1), np.float32)
    image = np.full_like(mask, 9.0)
    mask[0, 0, 0], image[0, 0, 0] = 0, 0
    mask[0, 1, 3], image[0, 1, 3] = 0, 1
    expected = [[0, 0.25, 0.75, 1], [0, 0.25, 0.75, 1]]
    np.testing.assert_array_equal(_fill(image, mask)[0, ..., 0], expected)


def test_a_hole_in_a_full_level_by_hand():
    # Row 0..3 with pixel 2 missing: level 1 holds (0 + 1) / 2 = 0.5 and 3, upsampled at
    # place 2 to 0.25 * 0.5 + 0.75 * 3.
    image = np.array([0, 1, 7, 3], np.float32).reshape(1, 1, 4, 1)
    mask = np.array([0, 0, 1, 0], np.float32).reshape(1, 1, 4, 1)
    assert _fill(image, mask).ravel().tolist() == [0, 1, 2.375, 3]


def test_values_at_missing_pixels_do_not_matter():
    image, mask = _draw(9, 6, channels=3)
    for other in (0.0, -5.0, np.inf, np.nan):
        changed = np.where(mask > 0, np.float32(other), image)
        np.testing.assert_array_equal(_fill(changed, mask), _fill(image, mask))


def test_filling_is_linear_in_the_values():
    (image, mask), (other, _) = _draw(11, 14), _draw(11, 14, seed=1)
    both = _fill(2 * image - 3 * other, mask)
    expected = 2 * _fill(image, mask) - 3 * _fill(other, mask)
    np.testing.assert_allclose(both, expected, atol=2e-6)


@pytest.mark.parametrize("hole", [1, 5, 20, 39])
def test_holes_of_any_size_are_closed_by_what_is_around_them(hole):
    image, mask = np.zeros((1, 40, 52, 1), np.float32), np.zeros((1, 40, 52, 1))
    image[:, :, 26:] = 1
    mask[:, :hole, 26 - hole // 2 : 26 + hole // 2 + 1] = 1
    filled = _fill(image, mask.astype(np.float32))[0, ..., 0]
    assert filled.min() >= 0 and filled.max() <= 1 + 1e-6
    # From 0 on the left to 1 on the right, also in the middle of the hole.
    rows = filled[hole // 2]
    assert rows[:6].max() < 0.1 and rows[-6:].min() > 0.9
    assert (np.diff(rows) > -0.05).all()


def test_channels_with_masks_of_their_own_are_filled_apart():
    image, mask = _draw(7, 10, channels=3)
    assert (mask[..., :1] != mask).any()
    apart = [_fill(image[..., [c]], mask[..., [c]]) for c in range(3)]
    np.testing.assert_array_equal(_fill(image, mask), np.concatenate(apart, axis=-1))


def test_a_picture_is_filled_like_a_batch_of_one():
    image, mask = _draw(7, 10, channels=3, batch=1)
    filled = filling.fill_picture(image[0], mask[0])
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(filled, _fill(image, mask)[0])


def test_a_batch_equals_its_images_and_a_graph_equals_eager():
    image, mask = _draw(9, 12, channels=3, batch=3)
    filled = _fill(image, mask)
    for number in range(3):
        one = _fill(image[[number]], mask[[number]])
        np.testing.assert_array_equal(filled[[number]], one)
    graph = tf.function(filling.fill)(image, mask)
    np.testing.assert_allclose(graph, filled, atol=1e-6)
    unknown_batch = tf.function(
        filling.fill, input_signature=[tf.TensorSpec((None, 9, 12, 3))] * 2
    )
    np.testing.assert_allclose(unknown_batch(image, mask), filled, atol=1e-6)


def test_transposed_images_are_filled_alike():
    image, mask = _draw(8, 13)
    turned = _fill(image.transpose(0, 2, 1, 3), mask.transpose(0, 2, 1, 3))
    np.testing.assert_allclose(
        turned.transpose(0, 2, 1, 3), _fill(image, mask), atol=1e-6
    )
