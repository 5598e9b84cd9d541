"""Priors of images, each as a denoiser (documents A 2.2, D 2.3).

A prior R is called as `z = prior(x, strength)`: the estimate of clean images from x
with Gaussian noise of standard deviation `strength`, for an explicit prior
argmin_z R(z) + |z - x|^2 / (2 strength^2). Images are float32 `[B, H, W, C]`, nominally
in [0, 1], the strength is on that scale.
"""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from gan_transfer import errors
from restoration import cosine_patches, tiles


@dataclasses.dataclass(frozen=True)
class TotalVariation:
    """Few edges: R(z) = weight TV(z) (documents A 2.2, D 2.3).

    TV sums, over the pixels, the length of the forward differences to the pixels below
    and to the right, of all channels together: their edges coincide. The z-step is
    solved in the dual by FISTA until the duality gap proves a root mean square error
    of at most `tolerance` in every image; the error itself is about a fifth of that.

    Attributes:
        weight: >= 0, in 1 / units of the image; see `iterative.tv_denoise`.
        tolerance: proven error of the solution, in units of the image.
        iterations: at most that many.

    Raises:
        InputError: a negative weight.

    Source: Rudin, Osher and Fatemi, 1992; Beck and Teboulle, "Fast Gradient-Based
    Algorithms for Constrained Total Variation Image Denoising and Deblurring
    Problems", 2009.
    """

    weight: float
    tolerance: float = 1e-3
    iterations: int = 1000

    def __post_init__(self):
        if self.weight < 0:
            raise errors.InputError(
                f"weight of the total variation is {self.weight}; it must be >= 0"
            )

    def __call__(self, x: tf.Tensor, strength: float) -> tf.Tensor:
        """argmin_z weight TV(z) + |z - x|^2 / (2 strength^2)."""
        threshold = self.weight * strength**2
        if threshold == 0.0:
            return x
        numbers = (threshold, self.tolerance, float(self.iterations))
        return _minimal_variation(
            x, *(tf.constant(each, tf.float32) for each in numbers)
        )

    def objective(self, z: tf.Tensor) -> float:
        """R(z), summed over the batch."""
        return self.weight * float(tf.reduce_sum(_length(_gradient(z))))


def _gradient(x: tf.Tensor) -> tf.Tensor:
    """Forward differences `[2, B, H, W, C]`, 0 across the last row and column."""
    down = tf.pad(x[:, 1:] - x[:, :-1], [[0, 0], [0, 1], [0, 0], [0, 0]])
    right = tf.pad(x[:, :, 1:] - x[:, :, :-1], [[0, 0], [0, 0], [0, 1], [0, 0]])
    return tf.stack([down, right])


def _divergence(field: tf.Tensor) -> tf.Tensor:
    """Minus the adjoint of `_gradient`, on fields with its zeros."""
    down, right = tf.unstack(field)
    down -= tf.pad(down[:, :-1], [[0, 0], [1, 0], [0, 0], [0, 0]])
    right -= tf.pad(right[:, :, :-1], [[0, 0], [0, 0], [1, 0], [0, 0]])
    return down + right


def _length(field: tf.Tensor) -> tf.Tensor:
    """Over directions and channels: `[1, B, H, W, 1]`."""
    return tf.sqrt(tf.reduce_sum(tf.square(field), axis=[0, -1], keepdims=True))


@tf.function(reduce_retracing=True)
def _minimal_variation(
    x: tf.Tensor, threshold: tf.Tensor, tolerance: tf.Tensor, iterations: tf.Tensor
) -> tf.Tensor:
    """argmin_z threshold TV(z) + |z - x|^2 / 2.

    z = x + threshold div p for the dual field p, |p| <= 1 at each pixel. `slope` is
    the gradient of z at p; since it is affine in p, it can be extrapolated with p.
    """

    def unfinished(number, worst, *_):
        return tf.logical_and(number < iterations, worst > tf.square(tolerance))

    def step(number, worst, dual, slope, ahead, slope_ahead, momentum):
        moved = ahead + slope_ahead / (8.0 * threshold)
        moved /= tf.maximum(_length(moved), 1.0)
        slope_moved = _gradient(x + threshold * _divergence(moved))
        # The duality gap, pixel by pixel; |z - z*|^2 is at most twice its sum.
        along = tf.reduce_sum(slope_moved * moved, axis=[0, -1])
        gap = threshold * (_length(slope_moved)[0, ..., 0] - along)
        gap = tf.reduce_mean(gap, axis=[1, 2]) / tf.cast(tf.shape(x)[-1], x.dtype)
        grown = 0.5 * (1.0 + tf.sqrt(1.0 + 4.0 * tf.square(momentum)))
        share = (momentum - 1.0) / grown
        ahead = moved + share * (moved - dual)
        slope_ahead = slope_moved + share * (slope_moved - slope)
        worst = 2.0 * tf.reduce_max(gap)
        return number + 1.0, worst, moved, slope_moved, ahead, slope_ahead, grown

    slope = _gradient(x)
    dual = tf.zeros_like(slope)
    start = (0.0, x.dtype.max, dual, slope, dual, slope, 1.0)
    dual = tf.while_loop(unfinished, step, start)[2]
    return x + threshold * _divergence(dual)


@dataclasses.dataclass(frozen=True)
class Sparse:
    """Patches are sparse in the cosine transform (documents A 2.2, D 2.3 "SR").

    All 8x8 patches lose what is up to threshold * strength, see `cosine_patches`.

    Attributes:
        threshold: in units of the noise level.
    """

    threshold: float = 2.7

    def __call__(self, x: tf.Tensor, strength: float) -> tf.Tensor:
        """Denoise `[B, H, W, C]`."""
        return cosine_patches.thresholded(x, self.threshold * strength)


@dataclasses.dataclass(frozen=True, eq=False)
class Learned:
    """A restoring network as denoiser: plug and play (document D 2.3 "CNN").

    Attributes:
        network: `[image, level, mask] -> image`, see `restoration.networks`.
        tile: side in pixels of what the network sees at once, a multiple of 32; larger
            images are cut without seams, see `tiles`.
        turns: `iterative.minimise` shows it the images rotated and reflected in turn.

    Source: Venkatakrishnan et al., "Plug-and-Play Priors for Model Based
    Reconstruction", 2013; Zhang et al., 2021.
    """

    network: keras.Model
    tile: int = 1024
    turns: ClassVar[bool] = True

    def __call__(self, x: tf.Tensor, strength: float) -> tf.Tensor:
        """Denoise `[B, H, W, C]` at the level `strength`, no pixel missing.

        Raises:
            InputError: images whose channels are not the network's, or a tile that
                `tiles.overlap` refuses.
        """
        channels = self.network.inputs[0].shape[-1]
        if x.shape[-1] != channels:
            raise errors.InputError(
                f"images have {x.shape[-1]} channels, the network {channels}; take a "
                "network made for them"
            )
        overlap = tiles.overlap(self.network, x.shape[1:3], self.tile)
        found = [
            tiles.apply(
                *(self.network, image, None, strength), tile=self.tile, overlap=overlap
            )
            for image in x.numpy()
        ]
        return tf.constant(np.stack(found))
