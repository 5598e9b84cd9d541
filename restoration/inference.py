"""Pictures of any size through a restorer (documents A 3.3, C 2.3).

`restore(pretrained.load("restorer_gray"), image)` finds out the damage, fills what is
missing, runs the network tile by tile and puts known pixels back.
"""

import dataclasses

import keras
import numpy as np

from gan_transfer import errors
from restoration import filling, impulses, noise, tiles

# Salt and pepper comes in hundredths; below this share it is a property of the picture.
_IMPULSES = 0.002
# Of pictures on a scale from 0 to 1; noise leaves it, other scales leave this.
RANGE = (-2, 3)


@dataclasses.dataclass(frozen=True, eq=False)
class Damage:
    """What is wrong with a picture, told or found out (document A 3.3).

    Attributes:
        sigma: noise level on the image's scale.
        mask: float32 `[H, W, C]`, 1 = missing, or None where nothing is.
        impulses: share of the values that were found to be salt and pepper and are in
            the mask for that.
    """

    sigma: float
    mask: np.ndarray | None
    impulses: float

    @property
    def kept(self) -> bool:
        """Whether known pixels come back bit for bit: holes, but no noise."""
        return self.mask is not None and self.sigma == 0


def diagnose(image: np.ndarray, mask: np.ndarray | None = None) -> Damage:
    """Find out noise and impulses, also beside a mask (document A 3.3).

    Nothing is taken for granted of the known pixels: salt and pepper among them counts
    as missing above 0.2 %, and their noise is estimated, taken for none below 5/255
    beside missing pixels (such estimates are too high). `restore` given the damage's
    mask and sigma undoes it.

    Args:
        image: as for `restore`, and so is `mask`.
        mask: 1 = missing.

    Raises:
        errors.InputError: as for `restore`.
    """
    values, missing, _ = _checked(image, mask, None)
    return _diagnosed(values, missing)


def restore(
    network: keras.Model,
    image: np.ndarray,
    mask: np.ndarray | None = None,
    sigma: float | None = None,
    *,
    tile: int = 1024,
    ensemble: bool = False,
) -> np.ndarray:
    """Restore one picture of any size (documents A 3.3, C 2.3).

    Missing pixels are filled by pull-push on the whole picture (`filling.fill`), then
    the network runs on tiles that overlap. Of each tile only what its cuts cannot
    influence is kept, so that there are no seams: the result is that of the whole
    picture.

    With a mask, and sigma None or 0, known pixels come back bit for bit; with sigma > 0
    they are denoised. What is told is believed: noise beside a mask, or impulses beside
    a noise level, must be given too. With neither, `diagnose` finds out the damage; a
    network that was trained to find it itself is told nothing, so give sigma = 0.

    Args:
        network: `[image, level, mask] -> image` of `networks` or `pretrained.load`.
        image: float `[H, W]` (grey) or `[H, W, C]`, nominally in [0, 1]; noise may
            leave that range, it is not clipped.
        mask: `[H, W]`, `[H, W, 1]` or `[H, W, C]`, bool or 0 and 1, 1 = missing. What
            the image holds there does not matter; it may be NaN.
        sigma: standard deviation of the noise on the image's scale, such as 25 / 255.
        tile: side in pixels of what the network sees at once, a multiple of 32. It
            bounds the memory of the network; small tiles overlap more and cost time.
            Beside it stand a few copies of the picture: with a mask 2.8 GB in
            all for 50 megapixels of grey, 4.5 GB of colour.
        ensemble: average over the 8 flips and rotations of the picture: a little
            better, 8 times as slow.

    Returns:
        float32 of the shape of `image`, not clipped.

    Raises:
        errors.InputError: an image, mask or sigma of another shape or on another scale,
            values that are not finite, nothing known, a network for other pictures, or
            a tile too small for it.
    """
    values, missing, sigma = _checked(image, mask, sigma)
    _check_network(network, values.shape[2])
    overlap = tiles.overlap(network, values.shape, tile)
    damage = Damage(sigma or 0.0, missing, 0.0)
    if missing is None and sigma is None:
        damage = _diagnosed(values, missing)
    turns = [(quarters, flip) for quarters in range(4) for flip in (False, True)]

    def once(*turn):
        filled, holes = _turned(values, *turn), None
        if damage.mask is not None:
            holes = _turned(damage.mask, *turn)
            filled = filling.fill_picture(filled, holes)
        found = tiles.apply(
            network, filled, holes, damage.sigma, tile=tile, overlap=overlap
        )
        return _turned_back(found, *turn)

    restored = once(*turns[0])
    if ensemble:
        for turn in turns[1:]:
            restored += once(*turn)
        restored /= len(turns)
    if damage.kept:
        np.copyto(restored, values, where=damage.mask == 0)
    return restored.reshape(np.shape(image))


def _turned(values: np.ndarray, quarters: int, flip: bool) -> np.ndarray:
    turned = np.rot90(values, quarters)
    return turned[:, ::-1] if flip else turned


def _turned_back(values: np.ndarray, quarters: int, flip: bool) -> np.ndarray:
    return np.rot90(values[:, ::-1] if flip else values, -quarters)


def _diagnosed(values: np.ndarray, missing: np.ndarray | None) -> Damage:
    struck = impulses.find(values, missing)
    share = float(struck.mean())
    if share > _IMPULSES:
        missing = struck if missing is None else np.maximum(missing, struck)
    else:
        share = 0.0
    sigma = noise.estimate_sigma(values, missing)
    if missing is not None and sigma < noise.CLEAN:
        sigma = 0.0
    return Damage(sigma, missing, share)


def _checked(
    image: np.ndarray, mask: np.ndarray | None, sigma: float | None
) -> tuple[np.ndarray, np.ndarray | None, float | None]:
    """Image, 0 where it is missing, and mask, both float32 `[H, W, C]`, and sigma."""
    values = np.asarray(image)
    if values.ndim not in (2, 3) or values.size == 0:
        raise errors.InputError(
            f"image of shape {values.shape}; it must be one picture, [H, W] or "
            "[H, W, C], and not empty"
        )
    if not np.issubdtype(values.dtype, np.floating):
        raise errors.InputError(
            f"image of {values.dtype}; it must be float in [0, 1]: divide 8 bits by 255"
        )
    values = values.reshape(*values.shape[:2], -1)
    if sigma is not None and (np.ndim(sigma) or not 0 <= sigma < 1):
        raise errors.InputError(
            f"sigma is {sigma}; it must be one number from 0 to below 1, on the scale "
            "of the image: for 25 of 255 give 25 / 255"
        )
    missing = None
    if mask is not None:
        missing = _checked_mask(np.asarray(mask), values.shape)
        values = np.where(missing > 0, 0, values)
    low, high = values.min(), values.max()
    if not np.isfinite(high - low):
        count = values.size - np.isfinite(values).sum()
        raise errors.InputError(
            f"image holds {count} values that are not finite; mark them as missing in "
            "the mask"
        )
    if low < RANGE[0] or high > RANGE[1]:
        raise errors.InputError(
            f"image holds values from {low:.4g} to {high:.4g}; they must be on a scale "
            "from 0 to 1: divide 8 bits by 255, 16 bits by 65535"
        )
    values = values.astype(np.float32, copy=False)
    return values, missing, sigma and float(sigma)


def _checked_mask(mask: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    if mask.shape not in (shape, shape[:2], (*shape[:2], 1)):
        raise errors.InputError(
            f"mask of shape {mask.shape} for an image of height {shape[0]}, width "
            f"{shape[1]} and {shape[2]} channels; it must be [H, W], [H, W, 1] or as "
            "the image"
        )
    if not ((mask == 0) | (mask == 1)).all():
        raise errors.InputError(
            "mask holds other values than 0 (known) and 1 (missing); of an 8-bit mask "
            "give mask > 127"
        )
    if mask.all():
        raise errors.InputError(
            "mask marks every pixel as missing (1 = missing); is it inverted?"
        )
    mask = mask.reshape(*mask.shape[:2], -1).astype(np.float32, copy=False)
    return np.broadcast_to(mask, shape)


def _check_network(network: keras.Model, channels: int) -> None:
    """Raise `InputError` for a network for other pictures."""
    if len(network.inputs) != 3:
        raise errors.InputError(
            f"network of {len(network.inputs)} inputs; a restorer has three: image, "
            "level and mask"
        )
    expected = network.inputs[0].shape[-1]
    if channels == expected:
        return
    remedy = "leave out an alpha channel"
    if (channels, expected) == (3, 1):
        remedy = "use restorer_color, or restore each channel"
    elif (channels, expected) == (1, 3):
        remedy = "use restorer_gray"
    raise errors.InputError(
        f"image of {channels} channels for a network of {expected}; {remedy}"
    )
