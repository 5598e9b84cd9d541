"""A network on pictures of any size, tile by tile without seams (document C 2.3)."""

import weakref
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from gan_transfer import errors
from restoration import unrolled

# Tiles start on multiples of it: shifted so, a network of up to 5 scales is the same.
_GRID = 32
_STRIP = (16, 1024)

_Run = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], tf.Tensor]
_runs: weakref.WeakKeyDictionary[keras.Model, _Run] = weakref.WeakKeyDictionary()


def apply(
    network: keras.Model,
    image: np.ndarray,
    mask: np.ndarray | None,
    sigma: float,
    *,
    tile: int,
    overlap: int,
) -> np.ndarray:
    """Run a restorer over the tiles of one picture (document C 2.3).

    The network's graph is traced once for all sizes. One that subtracts the mean of the
    picture (`unrolled`) is told that of the whole picture in every tile.

    Args:
        network: `[image, level, mask] -> image`, see `networks`.
        image: float32 `[H, W, C]`, missing pixels filled.
        mask: float32 `[H, W, C]`, 1 = missing, or None where nothing is.
        sigma: noise level on the image's scale.
        tile: side of the tiles in pixels.
        overlap: pixels that are seen and not kept at every cut, as of `overlap`.

    Returns:
        float32 `[H, W, C]`.
    """
    run = _compiled(network)
    mean = _mean(image, mask)
    restored = np.empty(image.shape, np.float32)
    height, width, _ = image.shape
    for top, bottom, upper, lower in spans(height, tile, overlap):
        for start, stop, left, right in spans(width, tile, overlap):
            seen = slice(top, bottom), slice(start, stop)
            part = image[seen][None]
            level = np.full((*part.shape[:3], 1), sigma, np.float32)
            missing = np.zeros_like(part) if mask is None else mask[seen][None]
            found = run(part, level, missing, mean)[0].numpy()
            kept = slice(upper - top, lower - top), slice(left - start, right - start)
            restored[upper:lower, left:right] = found[kept]
    return restored


def spans(length: int, tile: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """Tiles along one side: start and stop, and those of what is kept (C 2.3).

    The kept parts cover the side once; at its ends nothing is cut off.
    """
    start = kept = 0
    while start + tile < length:
        yield start, start + tile, kept, start + tile - overlap
        kept = start + tile - overlap
        start += tile - 2 * overlap
    yield start, length, kept, length


def overlap(network: keras.Model, shape: tuple[int, ...], tile: int) -> int:
    """Pixels to discard beside a cut, so that tiles leave no seams (document C 2.3).

    The network's `reach`, rounded up to 16, or 0 where the picture is one tile.

    Args:
        network: see `apply`.
        shape: of the picture, height and width first.
        tile: side of the tiles in pixels.

    Raises:
        errors.InputError: a tile that is no multiple of 32, or too small; a network
            that looks too far for any.
    """
    if tile < _GRID or tile % _GRID:
        raise errors.InputError(f"tile is {tile}; it must be a multiple of {_GRID}")
    if max(shape[:2]) <= tile:
        return 0
    # Tiles are apart by the tile less two of these: again on the grid.
    half = _GRID // 2
    pixels = -(-reach(network) // half) * half
    if pixels >= _STRIP[1] // 2:
        raise errors.InputError(
            f"the network looks {pixels} pixels far and more: pictures of over {tile} "
            "a side cannot be put together from tiles; train one with fewer scales or "
            "blocks, or restore smaller pictures"
        )
    if tile <= 2 * pixels:
        raise errors.InputError(
            f"tile is {tile}, and the network looks up to {pixels} pixels far; use at "
            f"least {2 * pixels + _GRID}"
        )
    return pixels


def reach(network: keras.Model) -> int:
    """How far behind a cut pixels still change the output before it (document C 2.3).

    Measured: one half of a random strip is reversed, and the changes are looked for in
    the other half, along both axes and in both directions. It follows the weights, so
    it is measured anew each time (a network not yet trained may pass its input on).

    Args:
        network: see `apply`.

    Returns:
        Pixels from the cut; 512 for a network that looks farther.
    """
    generator = np.random.default_rng(0)
    # Noise levels are low, so that no threshold that follows them cuts the paths.
    scales = (1 / 256, 1 / 2**14, 1)
    mean = np.full((1, 1, 1, network.inputs[0].shape[-1]), 0.5, np.float32)
    farthest = 0
    for vertical in (False, True):
        inputs = []
        for tensor, scale in zip(network.inputs, scales, strict=True):
            high = 2 if scale == 1 else 256
            shape = (*_STRIP, tensor.shape[-1])
            strip = (generator.integers(0, high, shape) * scale).astype(np.float32)
            batch = _half_reversed(strip)
            inputs.append(batch.swapaxes(1, 2) if vertical else batch)
        # Convolutions by Fourier transform, as on GPUs, change bits everywhere.
        with tf.device("CPU:0"):
            found = _compiled(network)(*inputs, mean).numpy()
        found = found.swapaxes(1, 2) if vertical else found
        right, left = (found[1:] != found[0]).any(axis=(1, 3))
        middle = len(left) // 2
        for changed in (right[:middle][::-1], left[middle:]):
            farthest = max(farthest, 1 + np.flatnonzero(changed).max(initial=-1))
    return int(farthest)


def _half_reversed(strip: np.ndarray) -> np.ndarray:
    """A strip `[h, w, C]`, the same with its right, and with its left half reversed."""
    left, right = np.split(strip, 2, axis=1)
    others = (left, right[:, ::-1]), (left[:, ::-1], right)
    return np.stack([strip, *(np.concatenate(halves, axis=1) for halves in others)])


def _mean(image: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Mean of the known pixels of each channel, 0 without any, `[1, 1, 1, C]`."""
    means = []
    for channel in range(image.shape[2]):
        known = True if mask is None else mask[..., channel] == 0
        count = image[..., channel].size if mask is None else known.sum()
        total = np.sum(image[..., channel], dtype=np.float64, where=known)
        means.append(total / max(count, 1))
    return np.float32(means)[None, None, None]


def _compiled(network: keras.Model) -> _Run:
    """The network as one graph for all sizes, kept as long as the network is."""
    if network not in _runs:
        weak, told = weakref.ref(network), unrolled.with_mean(network)

        def run(*inputs):
            if told is None:
                return weak()(list(inputs[:-1]), training=False)
            return told(list(inputs), training=False)

        sizes = [network.inputs[k].shape[-1] for k in (0, 1, 2, 0)]
        signature = [tf.TensorSpec((None, None, None, n)) for n in sizes]
        _runs[network] = tf.function(run, input_signature=signature)
    return _runs[network]
