"""Data terms: what is known of a damage (documents A 2.2, D 2.3).

f(x) = |A x - y|^2 / (2 sigma^2) of a damage A, with the x-step of the alternation of
`restoration.iterative` in closed form: argmin_x f(x) + rho/2 |x - z|^2.
Images are float32 `[B, H, W, C]`, nominally in [0, 1]; noise levels are on that scale.
"""

import dataclasses
import functools
from typing import Protocol

import numpy as np
import tensorflow as tf

from gan_transfer import errors
from restoration import filling, operators

# Rounds of re-estimating the unseen border in one x-step; more gain under 0.1 dB.
_COMPLETIONS = 3


class DataTerm(Protocol):
    """f(x) = |A x - y|^2 / (2 sigma^2) of a damage A (documents A 2.2, D 2.3)."""

    sigma: float

    def initial(self) -> tf.Tensor:
        """First estimate of x."""

    def proximal(self, z: tf.Tensor, rho: float) -> tf.Tensor:
        """The x-step: argmin_x f(x) + rho/2 |x - z|^2."""

    def residual(self, x: tf.Tensor) -> tf.Tensor:
        """A x - y, at the observed values only."""

    def finish(self, x: tf.Tensor) -> tf.Tensor:
        """The part of x that is the restored image."""


@dataclasses.dataclass(frozen=True, eq=False)
class Denoise:
    """Data term of Gaussian noise, A = identity (document A 2.2).

    Attributes:
        y: noisy images `[B, H, W, C]`.
        sigma: standard deviation of the noise, > 0.
    """

    y: tf.Tensor
    sigma: float

    def __post_init__(self):
        object.__setattr__(self, "y", _checked(self.y, self.sigma))

    def initial(self) -> tf.Tensor:
        """The noisy images."""
        return self.y

    def proximal(self, z: tf.Tensor, rho: float) -> tf.Tensor:
        """The x-step: (y + rho sigma^2 z) / (1 + rho sigma^2)."""
        return z + (self.y - z) / (1.0 + rho * self.sigma**2)

    def residual(self, x: tf.Tensor) -> tf.Tensor:
        """`x - y`."""
        return x - self.y

    def finish(self, x: tf.Tensor) -> tf.Tensor:
        """`x` itself."""
        return x


@dataclasses.dataclass(frozen=True, eq=False)
class Inpaint:
    """Data term of missing pixels and noise on the known ones (document A 2.2).

    Attributes:
        y: images `[B, H, W, C]`; what stands at missing pixels does not matter.
        mask: `[B, H, W, 1]` or `[B, H, W, C]`, 1 = missing, 0 = known.
        sigma: noise of the known pixels; with 0 they are kept bit for bit.
    """

    y: tf.Tensor
    mask: tf.Tensor
    sigma: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "y", _checked(self.y, self.sigma, zero=True))
        expected = tf.TensorShape([*self.y.shape[:3], 1]), self.y.shape
        if self.mask.shape not in expected:
            raise errors.InputError(
                f"mask has shape {tuple(self.mask.shape)}; for images of "
                f"{tuple(self.y.shape)} it must be {tuple(expected[0])} or theirs"
            )
        if tf.reduce_all(self._missing):
            raise errors.InputError(
                "every pixel is missing; give a mask with known pixels (0)"
            )

    @functools.cached_property
    def _missing(self) -> tf.Tensor:
        return tf.broadcast_to(self.mask > 0.5, self.y.shape)

    def initial(self) -> tf.Tensor:
        """Missing pixels filled from around them, see `filling.fill`."""
        return filling.fill(self.y, tf.cast(self._missing, tf.float32))

    def proximal(self, z: tf.Tensor, rho: float) -> tf.Tensor:
        """The x-step: `Denoise`'s at known pixels, z at missing ones."""
        if self.sigma == 0.0:
            return tf.where(self._missing, z, self.y)
        known = z + (self.y - z) / (1.0 + rho * self.sigma**2)
        return tf.where(self._missing, z, known)

    def residual(self, x: tf.Tensor) -> tf.Tensor:
        """`x - y` at the known values `[N]`."""
        return tf.boolean_mask(x - self.y, ~self._missing)

    def finish(self, x: tf.Tensor) -> tf.Tensor:
        """`x`, with noise-free known pixels put back."""
        return tf.where(self._missing, x, self.y) if self.sigma == 0.0 else x


@dataclasses.dataclass(frozen=True, eq=False)
class Deblur:
    """Data term of a known blur and noise (document A 2.2).

    Circular images wrap around, as benchmarks blur them; the x-step is then exact:
    X = Z + conj(K)(Y - K Z) / (|K|^2 + rho sigma^2) in the Fourier domain.

    Photographs do not wrap around. With `circular=False` x is larger than y by the
    size of the kernel on all sides, and what lies in A x outside y counts as missing
    data: the x-step fills it with A x and solves, three times over (majorisation-
    minimisation), so nothing rings at the borders.

    Attributes:
        y: blurred images `[B, H, W, C]`.
        kernel: `[h, w]`, sums to 1, at most as large as the image; see
            `operators.Blur`.
        sigma: standard deviation of the noise, > 0.
        circular: whether the images wrap around.

    Source: Almeida and Figueiredo, "Deconvolving Images with Unknown Boundaries Using
    the Alternating Direction Method of Multipliers", 2013.
    """

    y: tf.Tensor
    kernel: np.ndarray
    sigma: float
    circular: bool = True

    def __post_init__(self):
        object.__setattr__(self, "y", _checked(self.y, self.sigma))
        # Refuses what is no kernel, and one larger than the image.
        operators.Blur(self.kernel).transfer(tuple(self.y.shape[1:3]))
        if not abs(self.kernel.sum() - 1.0) < 1e-3:
            raise errors.InputError(
                f"the blur kernel's sum is {self.kernel.sum():.4g}; divide by it, so "
                "that it becomes 1"
            )

    @functools.cached_property
    def _margin(self) -> tuple[int, int]:
        rows, columns = self.kernel.shape
        return (0, 0) if self.circular else (rows - 1, columns - 1)

    @functools.cached_property
    def _padded(self) -> tf.Tensor:
        return tf.pad(self.y, self._paddings, "SYMMETRIC")

    @functools.cached_property
    def _seen(self) -> tf.Tensor:
        return tf.pad(tf.ones_like(self.y, tf.bool), self._paddings)

    @property
    def _paddings(self) -> list[list[int]]:
        rows, columns = self._margin
        return [[0, 0], [rows, rows], [columns, columns], [0, 0]]

    @functools.cached_property
    def _transfer(self) -> tf.Tensor:
        transfer = operators.Blur(self.kernel).transfer(self._padded.shape[1:3])
        return tf.constant(transfer)

    def initial(self) -> tf.Tensor:
        """The blurred images; mirrored around, if they do not wrap around."""
        return self._padded

    def proximal(self, z: tf.Tensor, rho: float) -> tf.Tensor:
        """The x-step, exact for circular images."""
        transfer, sides = self._transfer, z.shape[1:3]
        spectrum = operators.fourier(z)
        denominator = tf.abs(transfer) ** 2 + rho * self.sigma**2
        inverse = tf.math.conj(transfer) / tf.cast(denominator, tf.complex64)
        x = z
        for _ in range(1 if self.circular else _COMPLETIONS):
            observed = self._padded
            if not self.circular:
                observed = tf.where(self._seen, observed, self._blur(x))
            gain = inverse * (operators.fourier(observed) - transfer * spectrum)
            x = z + operators.inverse_fourier(gain, sides)
        return x

    def _blur(self, x: tf.Tensor) -> tf.Tensor:
        return operators.inverse_fourier(
            self._transfer * operators.fourier(x), x.shape[1:3]
        )

    def residual(self, x: tf.Tensor) -> tf.Tensor:
        """`A x - y` where y was seen."""
        return self.finish(self._blur(x)) - self.y

    def finish(self, x: tf.Tensor) -> tf.Tensor:
        """The part of `x` that y shows."""
        (top, left), (height, width) = self._margin, self.y.shape[1:3]
        return x[:, top : top + height, left : left + width]


def objective(data: DataTerm, x: tf.Tensor) -> float:
    """The data term f(x) = |A x - y|^2 / (2 sigma^2), over the batch (document A 2.2).

    Noise-free data: 0 where they are met, else infinity.
    """
    square = float(tf.reduce_sum(tf.square(data.residual(x))))
    if data.sigma == 0.0:
        return float("inf") if square else 0.0
    return square / (2.0 * data.sigma**2)


def _checked(y: tf.Tensor, sigma: float, *, zero: bool = False) -> tf.Tensor:
    """`y` as a float32 tensor."""
    y = tf.convert_to_tensor(y, tf.float32)
    if y.shape.rank != 4:
        raise errors.InputError(
            f"damaged images have shape {tuple(y.shape)}; they must be [B, H, W, C]"
        )
    if not (sigma > 0.0 or (zero and sigma == 0.0)):
        raise errors.InputError(
            f"noise level sigma is {sigma}; it must be {'>= 0' if zero else '> 0'}"
        )
    return y
