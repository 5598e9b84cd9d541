"""Array files in, images out: NumPy and IDX (document A 3.2, document B 3.2.1).

The documents speak of `noisy_images.npy` and the like; MNIST is published as IDX.
"""

import gzip
import math
import pathlib
import struct

import numpy as np

from gan_transfer import errors, images

MAX_CLASSES = 10_000

_IDX_UINT8 = 0x08


def is_array_file(path: pathlib.Path) -> bool:
    """Tells by its name whether `read` takes this file (document A 3.2)."""
    name = path.name.lower().removesuffix(".gz")
    return name.endswith((".npz", ".npy")) or _is_idx(path)


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the images, and the labels if there are any (document A 3.2).

    `.npz` archives have the keys `x_train` [, `y_train`] [, `x_test` [, `y_test`]], or
    `x` [, `y`]; others are passed over. `.npy` and IDX files (`.idx`, `-ubyte`, also
    `.gz`) hold the images alone.

    Values: uint8 is kept; other integers must lie in 0..255; booleans become 0 and 255;
    floats are taken as [-1, 1] if one of them, in any part, is negative, otherwise as
    [0, 1], and anything beyond is refused.

    Args:
      path: the file.

    Returns:
      `x_train` and maybe `x_test`: uint8 `[N, H, W, C]`, C one of 1, 3, 4. With them
      `y_train` and `y_test`, int32 `[N]`, both or none.

    Raises:
      errors.InputError: missing, truncated or foreign files, object arrays (they
        could run code), NaN, values or shapes that are no images, labels that do not
        fit.
    """
    found = _read_arrays(path)
    negative = any(
        found[key].dtype.kind == "f" and found[key].size and np.min(found[key]) < 0
        for key in found
        if key.startswith("x")
    )
    arrays = {}
    for part in ("train", "test"):
        if f"x_{part}" in found:
            where = f"{path} (x_{part})"
            pixels = to_pixels(found[f"x_{part}"], where, signed=negative)
            arrays[f"x_{part}"] = pixels
            if "y_train" in found:
                if f"y_{part}" not in found:
                    raise errors.InputError(f"{path}: has y_train but no y_{part}")
                where = f"{path} (y_{part})"
                arrays[f"y_{part}"] = to_labels(found[f"y_{part}"], len(pixels), where)
    return arrays


def read_floats(path: pathlib.Path) -> np.ndarray:
    """Reads the images of `read`'s files without rounding them (document A 4.2).

    Values: floats are taken as they are, whatever their range; uint8 is divided by
    255 and uint16 by 65535, their full scale; other integers must lie in 0..255 and
    are divided by 255; booleans become 0 and 1.

    Args:
      path: the file.

    Returns:
      float32 `[N, H, W, C]`, C one of 1, 3, 4.

    Raises:
      errors.InputError: as for `read`, but for the range of floats.
    """
    array = _as_images(_read_arrays(path)["x_train"], str(path))
    if array.dtype.kind == "f":
        _bounds(array, str(path))
        return array.astype(np.float32)
    if array.dtype == np.uint16:
        return array / np.float32(65535)
    return to_pixels(array, str(path), signed=False) / np.float32(255)


def to_pixels(array: np.ndarray, where: str, *, signed: bool) -> np.ndarray:
    """Checks and converts an array of images (document A 3.2).

    Args:
      array: `[N, H, W]` or `[N, H, W, C]`, C one of 1, 3, 4; values as for `read`.
      where: the array's name in errors.
      signed: floats are [-1, 1], not [0, 1].

    Returns:
      uint8 `[N, H, W, C]`.

    Raises:
      errors.InputError: it cannot be read as images.
    """
    array = _as_images(array, where)
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if array.dtype.kind not in "iuf":
        raise errors.InputError(
            f"{where}: {array.dtype} values are no images; save uint8 or float32"
        )
    low, high = _bounds(array, where)
    floating = array.dtype.kind == "f"
    bottom, top = ((-1 if signed else 0), 1) if floating else (0, 255)
    if low < bottom or high > top:
        allowed = "[0, 1] or [-1, 1]" if floating else "0..255"
        raise errors.InputError(
            f"{where}: {array.dtype} values from {low:g} to {high:g}; "
            f"rescale them to {allowed}, or to uint8"
        )
    if floating:
        array = np.rint((array - bottom) * (255 / (top - bottom)))
    return array.astype(np.uint8)


def to_labels(labels: np.ndarray, count: int, where: str) -> np.ndarray:
    """Checks and converts class labels (document A 3.2).

    Args:
      labels: integers `[N]` or `[N, 1]`, counted from 0.
      count: N, the number of images.
      where: the array's name in errors.

    Returns:
      int32 `[N]`.

    Raises:
      errors.InputError: another shape, count or kind of values.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,):
        raise errors.InputError(
            f"{where}: shape {list(labels.shape)} does not fit {count} images; "
            f"labels must be [{count}]"
        )
    if labels.dtype.kind not in "iu":
        raise errors.InputError(
            f"{where}: {labels.dtype} labels; number the classes 0, 1, 2, ..."
        )
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise errors.InputError(
            f"{where}: labels from {labels.min()} to {labels.max()}; "
            f"number the classes from 0, below {MAX_CLASSES}"
        )
    return labels.astype(np.int32)


def _read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise errors.InputError(f"{path}: no such array file")
    return {"x_train": _read_idx(path)} if _is_idx(path) else _read_numpy(path)


def _as_images(array: np.ndarray, where: str) -> np.ndarray:
    """`[N, H, W, C]`, of whatever values."""
    if array.ndim == 3:
        array = array[..., None]
    shape = list(array.shape)
    if array.ndim != 4 or shape[3] not in (1, 3, 4):
        raise errors.InputError(
            f"{where}: shape {shape} is not [N, H, W] or [N, H, W, C], C = 1, 3 or 4"
        )
    if shape[0] == 0 or min(shape[1:3]) < images.MIN_SIDE:
        raise errors.InputError(
            f"{where}: shape {shape} has no image of at least "
            f"{images.MIN_SIDE}x{images.MIN_SIDE} pixels"
        )
    return array


def _bounds(array: np.ndarray, where: str) -> tuple[float, float]:
    """Lowest and highest value, which are finite."""
    low, high = float(array.min()), float(array.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        index = np.argwhere(~np.isfinite(array))[0]
        raise errors.InputError(
            f"{where}: NaN or infinite in image {index[0]}; remove that image"
        )
    return low, high


def _read_numpy(path: pathlib.Path) -> dict[str, np.ndarray]:
    keys = {key: key for key in ("x_train", "y_train", "x_test", "y_test")}
    try:
        with open(path, "rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"x_train": loaded}
            if "x_train" not in loaded:
                keys = {"x_train": "x", "y_train": "y"}
            if keys["x_train"] in loaded:
                return {key: loaded[old] for key, old in keys.items() if old in loaded}
            names = ", ".join(sorted(loaded.files)[:8]) or "none"
    # Zip, zlib, header and pickle refusals have no common class below Exception.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise errors.InputError(
            f"{path}: broken, or no plain NumPy arrays ({reason}); "
            "save it again with numpy.savez"
        ) from error
    raise errors.InputError(f"{path}: has the keys {names}; x_train or x is needed")


def _is_idx(path: pathlib.Path) -> bool:
    name = path.name.lower().removesuffix(".gz")
    return name.endswith((".idx", "-ubyte"))


def _read_idx(path: pathlib.Path) -> np.ndarray:
    """Reads the images of an IDX file: uint8 `[N, H, W]` (LeCun, MNIST page)."""
    try:
        opener = gzip.open if path.suffix.lower() == ".gz" else open
        with opener(path, "rb") as stream:
            content = stream.read()
    except Exception as error:
        raise errors.InputError(
            f"{path}: cannot be unpacked ({error}); fetch it again"
        ) from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _IDX_UINT8:
        raise errors.InputError(
            f"{path}: not an IDX file of bytes (it begins with "
            f"{content[:4].hex() or 'nothing'}, not 00000803); fetch it again"
        )
    if content[3] != 3:
        raise errors.InputError(
            f"{path}: IDX file with {content[3]} axes, labels maybe; "
            "give the file of images, which has 3"
        )
    shape = struct.unpack(">3I", content[4:16].ljust(12, b"\0"))
    if len(content) < 16 or len(content) - 16 != math.prod(shape):
        raise errors.InputError(
            f"{path}: truncated or too long: header says {list(shape)}, "
            f"the file has {max(0, len(content) - 16)} bytes of it; fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=16).reshape(shape)
