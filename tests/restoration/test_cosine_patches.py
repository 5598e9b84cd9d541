"""Thresholded cosine patches against loops over SciPy's transform."""

import numpy as np
import pytest
import scipy.fft
import tensorflow as tf

from restoration import cosine_patches


def _thresholded_by_loops(plane, threshold, side=8, grids=None):
    """Patch by patch, `[H, W]`, beyond the borders mirrored."""
    around = 2 * side - 1  # whole grids around the picture
    padded = np.pad(plane.astype(np.float64), around, mode="symmetric")
    total, weight = np.zeros((2, *padded.shape))
    for top in range(padded.shape[0] - side + 1):
        for left in range(padded.shape[1] - side + 1):
            if grids is not None and (top % side, left % side) not in grids:
                continue
            place = np.s_[top : top + side, left : left + side]
            codes = scipy.fft.dctn(padded[place], norm="ortho")
            kept = np.abs(codes) > threshold
            kept[0, 0] = True
            total[place] += scipy.fft.idctn(codes * kept, norm="ortho") / kept.sum()
            weight[place] += 1 / kept.sum()
    inside = np.s_[around:-around, around:-around]
    return total[inside] / weight[inside]


@pytest.mark.parametrize("shape", [(1, 11, 17, 1), (2, 17, 8, 1), (2, 3, 5, 3)])
def test_thresholding_equals_patch_by_patch(shape):
    x = np.random.default_rng(0).normal(0.5, 0.2, shape).astype(np.float32)
    restored = cosine_patches.thresholded(tf.constant(x), 0.27).numpy()
    if shape[3] == 3:
        x, restored = (each @ cosine_patches.OPPONENT.T for each in (x, restored))
    for number, channel in np.ndindex(shape[0], shape[3]):
        expected = _thresholded_by_loops(x[number, ..., channel], 0.27)
        np.testing.assert_allclose(restored[number, ..., channel], expected, atol=2e-6)


def test_thresholding_on_chosen_grids():
    image = np.random.default_rng(0).normal(0.5, 0.2, (9, 14, 1)).astype(np.float32)
    grids = [(1, 0), (3, 2), (0, 3)]
    restored = cosine_patches.thresholded(tf.constant(image[None]), 0.2, 4, grids)
    expected = _thresholded_by_loops(image[..., 0], 0.2, 4, grids)
    np.testing.assert_allclose(restored[0, ..., 0], expected, atol=2e-6)


def test_pale_colours_stay():
    flat = tf.ones((1, 20, 24, 3)) * tf.constant([0.52, 0.50, 0.48])
    restored = cosine_patches.thresholded(flat, 2.7 * 49 / 255)
    np.testing.assert_allclose(restored, flat, atol=1e-5)
