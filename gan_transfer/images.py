"""Picture files in and out, as 8-bit arrays (document A 3.2, document B 3.2.1).

Everything here speaks uint8 `[H, W, C]` with C = 1 (grey) or 3 (colour); scaling to
the ranges of the networks is the business of `gan_transfer.data`.
"""

import os
import pathlib

import numpy as np
from PIL import Image, ImageOps

from gan_transfer import errors, picture_files

MIN_SIDE = 8
MAX_DEFAULT_SIDE = 256

_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")


def read(path: str | os.PathLike, channels: int) -> np.ndarray:
    """Reads one picture, upright and without alpha (document A 3.2, B 3.2.1).

    EXIF orientation is obeyed, alpha is composited on white, 16-bit grey is divided by
    257, colour becomes grey by the luma of ITU-R BT.601. Of an animation, the first
    frame is read.

    Args:
      path: a picture in one of the formats of `picture_files.EXTENSIONS`.
      channels: 1 or 3.

    Returns:
      uint8 `[H, W, channels]`.

    Raises:
      errors.InputError: the file is missing, broken, no picture, of a kind that has no
        8-bit meaning (float, CIE Lab), or has over `picture_files.MAX_PIXELS` pixels.
    """
    with picture_files.opening(path) as stream:
        pixels = _to_array(ImageOps.exif_transpose(picture_files.decode(stream)), path)
    return convert_channels(pixels, channels)


def probe(path: str | os.PathLike) -> tuple[int, int]:
    """Looks at a picture's header only (document A 3.2).

    Returns:
      The shorter side in pixels, and the channels that hold it: 1 or 3.

    Raises:
      errors.InputError: as for `read`, as far as the header tells.
    """
    with picture_files.opening(path) as stream:
        picture = picture_files.decode(stream)
        return min(picture.size), 1 if picture.mode in _GREY_MODES else 3


def convert_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Converts between grey, colour and colour with alpha (document A 3.2).

    Alpha is composited on white: `(c a + 255 (255 - a)) / 255`. Colour becomes grey by
    ITU-R BT.601, `0.299 R + 0.587 G + 0.114 B` in 16-bit fixed point; grey is repeated.

    Args:
      pixels: uint8 `[..., C]`, C one of 1, 3, 4.
      channels: 1 or 3.

    Returns:
      uint8 `[..., channels]`.

    Raises:
      errors.InputError: other channel counts.
    """
    if channels not in (1, 3):
        raise errors.InputError(f"channels is {channels}; it must be 1 or 3")
    present = pixels.shape[-1]
    if present not in (1, 3, 4):
        raise errors.InputError(
            f"images have {present} channels; 1, 3 or 4 (last axis) can be read"
        )
    if present == 4:
        # c a + 255 (255 - a) = 65025 - (255 - c) a; the shifts divide by 255, rounding.
        shade = (255 - pixels[..., :3]).astype(np.uint16) * pixels[..., 3:] + 128
        pixels = 255 - ((shade + (shade >> 8)) >> 8).astype(np.uint8)
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=-1)
    red, green, blue = (pixels[..., c : c + 1].astype(np.uint32) for c in range(3))
    luma = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    return luma.astype(np.uint8)


def fit_square(image: np.ndarray, size: int) -> np.ndarray:
    """Crops the centre square and resamples it (document B 3.2.1, preprocessing).

    Lanczos when shrinking, bicubic when enlarging; an image that has the size already
    comes back unchanged.

    Args:
      image: uint8 `[H, W, C]`, C = 1 or 3, both sides at least `MIN_SIDE`.
      size: pixels per side of the result.

    Returns:
      uint8 `[size, size, C]`.

    Raises:
      errors.InputError: an image or a size that is too small.
    """
    height, width, channels = image.shape
    side = min(height, width)
    if side < MIN_SIDE:
        raise errors.InputError(
            f"image is {height}x{width} pixels; "
            f"at least {MIN_SIDE}x{MIN_SIDE} are needed"
        )
    if size < MIN_SIDE:
        raise errors.InputError(f"size is {size}; it must be at least {MIN_SIDE}")
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if side == size:
        return square.copy()
    filter_ = Image.Resampling.LANCZOS if size < side else Image.Resampling.BICUBIC
    resized = _to_picture(square).resize((size, size), filter_)
    return np.asarray(resized).reshape(size, size, channels)


def list_folder(folder: str | os.PathLike) -> list[pathlib.Path]:
    """Lists the pictures of a folder and of its direct sub-folders (document A 3.2).

    Names that begin with a dot, and files without one of the extensions of
    `picture_files.EXTENSIONS` in lower or upper case, are passed over.

    Returns:
      Sorted paths, at least one.

    Raises:
      errors.InputError: no such folder, or no picture in it.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise errors.InputError(f"{folder}: no such folder of pictures")
    found = [
        path
        for path in (*folder.glob("*"), *folder.glob("*/*"))
        if path.suffix.lower().lstrip(".") in picture_files.EXTENSIONS
        and path.is_file()
        and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    ]
    if not found:
        raise errors.InputError(
            f"{folder}: holds no pictures ({', '.join(picture_files.EXTENSIONS)}), "
            "neither itself nor in its direct sub-folders"
        )
    return sorted(found)


def read_folder(
    folder: str | os.PathLike, size: int | None = None, channels: int | None = None
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Reads a folder as a data set (document A 3.2, document B 3.2.1).

    Pictures that lie in sub-folders have these as their classes, in sorted order (a
    sub-folder without pictures is no class). All are brought to one size by
    `fit_square`.

    Args:
      folder: pictures of any size and kind, flat or in one level of sub-folders.
      size: pixels per side; None takes the shortest side of all, rounded down to 4, 5,
        6 or 7 times a power of two as the convolutional networks need it, and at most
        `MAX_DEFAULT_SIDE`.
      channels: 1 or 3; None takes 1 if all pictures are grey, otherwise 3.

    Returns:
      uint8 `[N, size, size, channels]`, int32 labels `[N]` or None, class names.

    Raises:
      errors.InputError: no pictures; pictures both in the folder and in sub-folders;
        or pictures that cannot be used, of which up to five are named.
    """
    folder = pathlib.Path(folder)
    paths = list_folder(folder)
    in_root = [path.parent == folder for path in paths]
    if any(in_root) and not all(in_root):
        raise errors.InputError(
            f"{folder}: pictures lie both in it and in its sub-folders; "
            "use one of the two (sub-folders are classes)"
        )
    failures = {}
    headers = _for_each(paths, probe, failures)
    if size is None:
        shortest = min((side for side, _ in headers), default=0)
        halvings = max(0, shortest.bit_length() - 3)
        size = min(max(MIN_SIDE, shortest >> halvings << halvings), MAX_DEFAULT_SIDE)
    channels = channels or max((needed for _, needed in headers), default=1)
    readable = [path for path in paths if path not in failures]
    pixels = _for_each(
        readable, lambda path: fit_square(read(path, channels), size), failures
    )
    if failures:
        named = [f"{p.relative_to(folder)}: {why}" for p, why in failures.items()][:5]
        more = f" and {len(failures) - 5} more" if len(failures) > 5 else ""
        raise errors.InputError(
            f"{folder}: {len(failures)} of {len(paths)} pictures cannot be used; "
            f"remove them: {' | '.join(named)}{more}"
        )
    if all(in_root):
        return np.stack(pixels), None, ()
    classes = sorted({path.parent.name for path in paths})
    labels = np.array([classes.index(path.parent.name) for path in paths], np.int32)
    return np.stack(pixels), labels, tuple(classes)


def write_png(path: str | os.PathLike, image: np.ndarray) -> None:
    """Writes a PNG that is never seen half-written (documents A-E, results).

    Args:
      path: file to write or to replace; its folder must exist.
      image: uint8 `[H, W, C]`, C = 1 or 3.

    Raises:
      errors.InputError: not such an image, or the file cannot be written.
    """
    path = pathlib.Path(path)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise errors.InputError(
            f"{path}: cannot write {image.dtype} {list(image.shape)} as a PNG; "
            "it takes uint8 [H, W, 1] or [H, W, 3]"
        )
    with picture_files.replacing(path) as temporary:
        _to_picture(image).save(temporary, format="PNG")


def _to_array(picture: Image.Image, path: str | os.PathLike) -> np.ndarray:
    """Returns uint8 `[H, W, C]`, C = 1, 3 or 4 (alpha)."""
    if picture.mode.startswith("I"):
        grey = np.asarray(picture).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise errors.InputError(
                f"{path}: 32-bit picture with values beyond 16 bits; "
                "save it with 8 or 16 bits"
            )
        return ((grey + 128) // 257).astype(np.uint8)[:, :, None]
    if picture.mode in ("F", "LAB"):
        raise errors.InputError(
            f"{path}: {picture.mode} picture (float or CIE Lab); "
            "save it as 8-bit grey or RGB"
        )
    if picture.has_transparency_data:
        return np.asarray(picture.convert("RGBA"))
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"))[:, :, None]
    return np.asarray(picture.convert("RGB"))


def _to_picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def _for_each(paths, function, failures: dict[pathlib.Path, str]) -> list:
    """Applies a function to every file; the errors go into `failures`."""
    results = []
    for path in paths:
        try:
            results.append(function(path))
        except errors.InputError as error:
            failures[path] = str(error).removeprefix(f"{path}: ")
    return results
