"""Scores of a restorer while it trains, on pictures held out (document A 3.3)."""

import keras
import numpy as np
import tensorflow as tf

from restoration import metrics, mixture

_DRAWS = 4


class Validation:
    """Fixed damaged crops and the errors on them (document A 3.3, step 3).

    The centre of every picture is damaged `_DRAWS` times by the training damage, with
    fixed keys, and for a network that is told its damage, once by Gaussian noise of 25
    of 255.

    Args:
        pictures: uint8 `[H, W, C]`, both sides at least `size`.
        size: side of the crops in pixels.
        damage: (clean, key) -> (damaged, level, mask).
        told: whether the network is told its damage.
    """

    def __init__(
        self, pictures: list[np.ndarray], size: int, damage, *, told: bool = True
    ):
        self.clean = np.stack([_centre(each, size) for each in pictures]) / np.float32(
            255
        )
        clean = tf.constant(self.clean)
        self.noisy = None
        if told:
            self.noisy = list(mixture.FixedGaussian(25 / 255)(clean, (0, 25)))
        draws = [damage(clean, tf.constant([7, draw])) for draw in range(_DRAWS)]
        self.mixed = [tf.concat(parts, axis=0) for parts in zip(*draws, strict=True)]
        self._truths = np.tile(self.clean, (_DRAWS, 1, 1, 1))

    def damaged_psnr(self) -> float:
        """Returns what `val_psnr` is, in dB, of the crops as the network gets them."""
        return metrics.mean_psnr(_errors(self.mixed[0], self._truths) ** 2)

    def scores(self, network: keras.Model) -> dict[str, float]:
        """Returns `val_psnr`, `val_rmse`, and if told `val_psnr_25`, of a network.

        `metrics.mean_psnr` in dB over the crops, not quantised; `val_rmse`, the measure
        to select by, is the mean over the crops of the training damage's root mean
        square error, in levels of 255.
        """
        scores = _scores(_errors(network.predict_on_batch(self.mixed), self._truths))
        if self.noisy is not None:
            noisy = _errors(network.predict_on_batch(self.noisy), self.clean)
            scores = {"val_psnr_25": metrics.mean_psnr(noisy**2), **scores}
        return scores


class PairValidation:
    """Held-out pairs of damaged and clean images, as they are (document A 4.2).

    Args:
        damaged: float32 `[N, H, W, C]`, nominally in [0, 1].
        clean: the same images undamaged.
    """

    def __init__(self, damaged: np.ndarray, clean: np.ndarray):
        self.clean = clean
        self.mixed = [damaged, np.zeros_like(damaged[..., :1]), np.zeros_like(damaged)]

    def damaged_psnr(self) -> float:
        """Returns what `val_psnr` is, in dB, of the damaged images."""
        return metrics.mean_psnr(_errors(self.mixed[0], self.clean) ** 2)

    def scores(self, network: keras.Model) -> dict[str, float]:
        """Returns `val_psnr` and `val_rmse`, as `Validation.scores`."""
        return _scores(_errors(network.predict_on_batch(self.mixed), self.clean))


def _errors(images, clean: np.ndarray) -> np.ndarray:
    """Root mean square error of every image."""
    difference = images - clean
    return np.sqrt(np.mean(difference**2, axis=(1, 2, 3), dtype=np.float64))


def _scores(errors: np.ndarray) -> dict[str, float]:
    return {
        "val_psnr": metrics.mean_psnr(errors**2),
        "val_rmse": float(255 * np.mean(errors)),
    }


def _centre(picture: np.ndarray, size: int) -> np.ndarray:
    top, left = ((side - size) // 2 for side in picture.shape[:2])
    return picture[top : top + size, left : left + size]
