"""Damage that nobody marks, as TensorFlow ops to train with (documents C 2.3, D 2.3).

Of the kind of `mixture.Mixture`, (clean, key) -> (damaged, level, mask), but level and
mask are 0: the network is told nothing and has to find the damage itself. For studies,
`degradations` has the same damage of single pictures.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from gan_transfer import pictures
from restoration import degradations, mixture

_QUALITIES = (10, 80)


@dataclasses.dataclass(frozen=True, eq=False)
class Overlays:
    """Rust, stains, scratches or dirt that cover images in part (document C 2.3).

    y = (1 - a) x + a c. For every image the opacity a is the larger one of two of the
    bank, and c one of the colours; a grey image takes the colour's luma. The place in
    the bank's pictures is the batch's.

    Attributes:
        bank: opacities, uint8 `[N, S, S, 1]`, 255 covers.
        colours: red, green, blue in [0, 1] each.
    """

    bank: np.ndarray
    colours: tuple[tuple[float, float, float], ...] = tuple(
        degradations.COLOURS.values()
    )

    def __call__(
        self, clean: tf.Tensor, key: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Cover a batch; arguments, result and errors as of `mixture.Mixture`."""
        count = tf.shape(clean)[0]
        chosen = tf.random.stateless_uniform(
            [count, 2], mixture.draw_key(key, 1), 0, len(self.bank), tf.int32
        )
        place = tf.random.stateless_uniform([2], mixture.draw_key(key, 2))
        opacities = mixture.crops(self.bank, chosen, place, clean.shape[1:3])
        alpha = tf.cast(tf.reduce_max(opacities, axis=1), tf.float32) / 255
        colours = np.float32(self.colours)
        if clean.shape[-1] == 1:
            colours = colours @ pictures.LUMA[:, None]
        draw = mixture.uniform(count, key, 3, high=len(colours))[..., 0]
        colour = tf.gather(colours, tf.cast(draw, tf.int32))
        return _untold(clean * (1 - alpha) + alpha * colour)


def jpeg(clean: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """JPEG of a quality from 10 to 80, uniform per image (document A 2.2).

    Arguments and results as of `mixture.Mixture`; see `degradations.jpeg`.
    """
    low, high = _QUALITIES
    count = tf.shape(clean)[0]
    qualities = mixture.uniform(count, key, 1, low, high + 1)[:, 0, 0, 0]
    pixels = tf.saturate_cast(tf.round(255 * clean), tf.uint8)
    decoded = tf.map_fn(
        lambda each: tf.image.adjust_jpeg_quality(*each, dct_method="INTEGER_ACCURATE"),
        (pixels, tf.cast(qualities, tf.int32)),
        fn_output_signature=tf.uint8,
    )
    return _untold(tf.ensure_shape(tf.cast(decoded, tf.float32) / 255, clean.shape))


def _untold(damaged: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    return damaged, tf.zeros_like(damaged[..., :1]), tf.zeros_like(damaged)
