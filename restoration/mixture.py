"""The training damage: several kinds, one drawn per image (documents C 2.3, D 2.3).

One network learns all of them, told by the noise level and the mask what it sees.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from gan_transfer import errors
from restoration import filling

KINDS = ("noise", "impulses", "pixels", "shapes")
# Distance of the keys of two draws of one update.
_DRAW_KEYS = 7919
_MAX_SIGMA = 55.0 / 255.0
_MAX_SIGMA_MISSING = 30.0 / 255.0


def draw_key(key: tf.Tensor, draw: int) -> tf.Tensor:
    """Key of draw number `draw` of an update, far from other runs' (document C 2.3)."""
    return key + tf.constant([_DRAW_KEYS * draw, 0])


def uniform(
    count: tf.Tensor, key: tf.Tensor, draw: int, low: float = 0.0, high: float = 1.0
) -> tf.Tensor:
    """Draw number `draw`: U(low, high) per image, `[count, 1, 1, 1]` (C 2.3)."""
    seed = draw_key(key, draw)
    return tf.random.stateless_uniform([count, 1, 1, 1], seed, low, high)


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """Damage of clean images, one kind per image (documents C 2.3, D 2.3).

    noise: Gaussian, sigma ~ U(0, 55/255). impulses: salt-and-pepper of density
    U(0.05, 0.8), in half the images channel by channel; missing is whatever is exactly
    0 or 1 then, as a detector sees it. pixels: a share U(0.1, 0.95) is missing. shapes:
    a mask from the bank, cropped and flipped at random. With the last two, half the
    images are noisy as well, sigma ~ U(0, 30/255). The noise is not clipped.

    Attributes:
        bank: uint8 `[N, S, S, 1]`, 1 = missing (`masks.bank`).
        shares: probability of each of `KINDS`; they sum to 1.
    """

    bank: np.ndarray
    shares: tuple[float, float, float, float] = (0.55, 0.13, 0.18, 0.14)

    def __post_init__(self):
        fits = len(self.shares) == len(KINDS) and min(self.shares) >= 0
        if not fits or abs(sum(self.shares) - 1) > 1e-6:
            raise errors.InputError(
                f"shares are {self.shares}; give one for each of {', '.join(KINDS)}, "
                "none below 0, with the sum 1"
            )

    def __call__(
        self, clean: tf.Tensor, key: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Damage a batch.

        Args:
            clean: float32 `[B, H, W, C]` in [0, 1], H and W at most S.
            key: int32 `[2]`; the same key gives the same damage.

        Returns:
            Damaged images with the missing pixels filled (`filling.fill`), noise levels
            `[B, H, W, 1]`, masks `[B, H, W, C]`.

        Raises:
            InputError: H or W is larger than the masks of the bank.
        """
        count = tf.shape(clean)[0]
        draw = uniform(count, key, 1)
        edges = np.cumsum(self.shares)
        impulses = (draw >= edges[0]) & (draw < edges[1])
        pixels = (draw >= edges[1]) & (draw < edges[2])
        shapes = draw >= edges[2]
        sigma = self._sigmas(count, key, draw < edges[0], impulses)
        normal = tf.random.stateless_normal(tf.shape(clean), draw_key(key, 2))
        noisy = clean + sigma * normal
        struck, hit = self._impulses(clean, key)
        share = uniform(count, key, 3, 0.1, 0.95)
        lost = tf.random.stateless_uniform([*_sides(clean, count), 1], draw_key(key, 4))
        mask = tf.zeros_like(clean)
        mask = tf.where(impulses, hit, mask)
        mask = tf.where(pixels, tf.cast(lost < share, tf.float32), mask)
        mask = tf.where(shapes, self._shapes(clean, key), mask)
        damaged = filling.fill(tf.where(impulses, struck, noisy), mask)
        level = tf.broadcast_to(sigma, [*_sides(clean, count), 1])
        return damaged, level, mask

    def _sigmas(self, count, key, noise, impulses) -> tf.Tensor:
        high = uniform(count, key, 5, 0.0, _MAX_SIGMA)
        low = uniform(count, key, 6, 0.0, _MAX_SIGMA_MISSING)
        low = tf.where(uniform(count, key, 7) < 0.5, 0.0, low)
        return tf.where(noise, high, tf.where(impulses, 0.0, low))

    def _impulses(self, clean, key) -> tuple[tf.Tensor, tf.Tensor]:
        count = tf.shape(clean)[0]
        draws = tf.random.stateless_uniform(tf.shape(clean), draw_key(key, 8))
        apart = uniform(count, key, 9) < 0.5
        draws = tf.where(apart, draws, draws[..., :1])
        density = uniform(count, key, 10, 0.05, 0.8)
        struck = tf.where(draws < density / 2, 0.0, clean)
        struck = tf.where((draws >= density / 2) & (draws < density), 1.0, struck)
        hit = (struck <= 0.0) | (struck >= 1.0)
        return struck, tf.cast(hit, tf.float32)

    def _shapes(self, clean, key) -> tf.Tensor:
        count = tf.shape(clean)[0]
        chosen = tf.random.stateless_uniform(
            [count], draw_key(key, 11), 0, len(self.bank), tf.int32
        )
        place = tf.random.stateless_uniform([2], draw_key(key, 12))
        crop = crops(self.bank, chosen, place, clean.shape[1:3])
        for draw, axis in ((13, 1), (14, 2)):
            flipped = uniform(count, key, draw) < 0.5
            crop = tf.where(flipped, tf.reverse(crop, [axis]), crop)
        return tf.broadcast_to(tf.cast(crop, tf.float32), tf.shape(clean))


def crops(
    bank: np.ndarray, chosen: tf.Tensor, place: tf.Tensor, sides: tuple[int, int]
) -> tf.Tensor:
    """Parts of the chosen masks, all from the same place (document C 2.3).

    Args:
        bank: `[N, S, S, 1]`.
        chosen: int32 numbers of masks, of any shape.
        place: vertical and horizontal, in [0, 1): from the first that fits to the last.
        sides: H, W of the parts.

    Returns:
        `[*chosen.shape, H, W, 1]`, of the bank's dtype.

    Raises:
        InputError: H or W is larger than S.
    """
    size, (height, width) = bank.shape[1], sides
    if max(sides) > size:
        raise errors.InputError(
            f"images of {height}x{width} pixels are larger than the masks of "
            f"{size}x{size}; draw a bank of larger masks"
        )
    room = tf.cast([size - height + 1, size - width + 1], tf.float32)
    top, left = tf.unstack(tf.cast(place * room, tf.int32))
    found = tf.gather(tf.constant(bank), chosen)
    found = found[..., top : top + height, left : left + width, :]
    return tf.ensure_shape(found, [*chosen.shape, height, width, 1])


def gaussian(
    clean: tf.Tensor, key: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Gaussian noise alone, sigma ~ U(0, 55/255) per image (document A 2.2).

    Arguments and results as of `Mixture`.
    """
    count = tf.shape(clean)[0]
    sigma = uniform(count, key, 5, 0.0, _MAX_SIGMA)
    normal = tf.random.stateless_normal(tf.shape(clean), draw_key(key, 2))
    level = tf.broadcast_to(sigma, [*_sides(clean, count), 1])
    return clean + sigma * normal, level, tf.zeros_like(clean)


@dataclasses.dataclass(frozen=True)
class FixedGaussian:
    """Gaussian noise of one level (document A 2.2); `gaussian` has random levels.

    Attributes:
        sigma: standard deviation on the image's scale, such as 25 / 255.
    """

    sigma: float

    def __call__(
        self, clean: tf.Tensor, key: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Damage a batch; arguments and results as of `Mixture`, nothing missing."""
        noise = tf.random.stateless_normal(tf.shape(clean), key)
        sides = _sides(clean, tf.shape(clean)[0])
        level = tf.fill([*sides, 1], np.float32(self.sigma))
        return clean + self.sigma * noise, level, tf.zeros_like(clean)


def _sides(clean: tf.Tensor, count: tf.Tensor) -> list:
    return [count, *clean.shape[1:3]]
