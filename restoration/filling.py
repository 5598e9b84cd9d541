"""Missing pixels filled from the known ones around them (documents A 2.2, D 2.3).

Pull-push: averages of the known pixels are pulled into an image pyramid, and where a
pixel is missing the coarser level is pushed back. It is what a restorer starts from.
"""

import numpy as np
import tensorflow as tf


def fill(image: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Fill missing pixels by pull-push interpolation (document D 2.3).

    Level k + 1 holds the weighted mean of 2x2 pixels of level k and the weight
    min(1, sum of theirs); back on level k, f = w v + (1 - w) up(f of level k + 1). At
    full size w is 1 or 0, so known pixels come back bit for bit. Holes of any size are
    closed; an image without a known pixel becomes 0.

    Args:
        image: float32 `[B, H, W, C]`; what stands at missing pixels does not matter.
        mask: float32 `[B, H, W, C]`, 1 = missing, 0 = known.

    Returns:
        float32 `[B, H, W, C]`.

    Source: Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4.
    """
    missing = mask > 0.5
    known = tf.cast(~missing, image.dtype)
    pushed = _pull_push(tf.where(missing, 0.0, image), known)
    return tf.where(missing, pushed, image)


def fill_picture(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`fill` of one picture, channel by channel to save memory (document D 2.3).

    Args:
        image: float32 `[H, W, C]`, see `fill`.
        mask: float32 `[H, W, C]`, 1 = missing.

    Returns:
        float32 `[H, W, C]`.
    """
    filled = np.empty_like(image)
    for channel in range(image.shape[2]):
        place = np.s_[..., channel : channel + 1]
        filled[place] = fill(image[place][None], mask[place][None])[0]
    return filled


def _pull_push(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """The coarser level's f, up at this one's size; 0 for a single pixel.

    The weights are 0 or 1, and the values already multiplied by them.
    """
    height, width = values.shape[1:3]
    if height == width == 1:
        return tf.zeros_like(values)
    odd = [[0, 0], [0, height % 2], [0, width % 2], [0, 0]]
    below, weights_below = (
        4.0 * tf.nn.avg_pool2d(tf.pad(each, odd), 2, 2, "VALID")
        for each in (values, weights)
    )
    saturated = tf.minimum(weights_below, 1.0)
    below *= tf.math.divide_no_nan(saturated, weights_below)
    coarse = below + (1.0 - saturated) * _pull_push(below, saturated)
    size = (2 * coarse.shape[1], 2 * coarse.shape[2])
    return tf.image.resize(coarse, size)[:, :height, :width]
