"""PNG and TIFF of 16 bits, which Pillow cuts to 8 (documents A 2.2, D 2.3)."""

import io
import itertools
import logging
import math
import os
import struct
import zlib
from typing import BinaryIO, NamedTuple

import imagecodecs
import numpy as np
import tifffile

from gan_transfer import errors, picture_files

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_BITS_AT = 24
_PNG_HEADER_BYTES = 33
# As small as zlib's usual level 6 on photographs, and several times faster.
_PNG_LEVEL = 3
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_CHANNELS = {"MINISBLACK": (1, 2), "RGB": (3, 4)}
_NO_ALPHA, _PREMULTIPLIED, _STRAIGHT = (), (1,), (2,)
_MAX_THUMBNAILS = 16
_ORIENTATION = 274
_ICC_PROFILE = 34675

# It would tell the story of a broken file on several lines; we refuse it in one.
tifffile.logger().setLevel(logging.CRITICAL)


class Decoded(NamedTuple):
    """A picture as its file holds it, but upright (documents A 2.2, D 2.3).

    Attributes:
      format: "PNG", "TIFF", ...
      samples: uint8, uint16 or float32 in [0, 1]; `[H, W]` or `[H, W, C]`, C = 2 (grey,
        alpha), 3 (RGB) or 4 (RGB, alpha).
      profile: the ICC colour profile, or None.
      dpi: horizontal and vertical pixels per inch, or None.
      changed: what the file held instead and cannot be kept, for people, or None.
    """

    format: str
    samples: np.ndarray
    profile: bytes | None
    dpi: tuple[float, float] | None
    changed: str | None = None


def decode(stream: BinaryIO, path: str | os.PathLike) -> Decoded | None:
    """Decodes PNG and TIFF of over 8 bits per channel (documents A 2.2, D 2.3).

    TIFF may be float, which must lie in [0, 1]. Where its alpha is premultiplied, the
    colours are divided by it. Small pages behind the first are thumbnails, passed over.

    Args:
      stream: what `picture_files.opening` yields, which also takes care of the errors.
      path: the file's name, for errors.

    Returns:
      uint16 or float32 samples; None for all other files, with the stream at its start.

    Raises:
      errors.InputError: several pages; other depths and colours than can be kept; float
        outside [0, 1].
    """
    start = stream.read(_PNG_BITS_AT + 1)
    stream.seek(0)
    decoded = None
    if start.startswith(_TIFF_STARTS):
        decoded = _decode_tiff(stream, path)
    elif start.startswith(_PNG_START) and start[_PNG_BITS_AT:] == bytes([16]):
        decoded = _decode_png(stream, path)
    stream.seek(0)
    return decoded


def encode_png(
    samples: np.ndarray, profile: bytes | None, dpi: tuple[float, float] | None
) -> bytes:
    """Returns a PNG file (documents A 2.2, D 2.3).

    Args:
      samples: uint8 or uint16, of a shape as in `Decoded`.
      profile: the ICC colour profile, or None.
      dpi: pixels per inch, or None.
    """
    samples = np.ascontiguousarray(samples)
    # Its own guess of the size forgets that every row costs a byte more.
    most = samples.nbytes + 2 * len(samples) + samples.nbytes // 64 + 65_536
    content = imagecodecs.png_encode(samples, level=_PNG_LEVEL, out=most)
    extra = b""
    if profile is not None:
        extra += _png_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))
    if dpi is not None:
        per_metre = [round(value / 0.0254) for value in dpi]
        extra += _png_chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1))
    return content[:_PNG_HEADER_BYTES] + extra + content[_PNG_HEADER_BYTES:]


def encode_tiff(
    samples: np.ndarray, profile: bytes | None, dpi: tuple[float, float] | None
) -> bytes:
    """Returns a TIFF file, deflated (documents A 2.2, D 2.3).

    Args:
      samples: uint8 or uint16, of a shape as in `Decoded`.
      profile: the ICC colour profile, or None.
      dpi: pixels per inch, or None.
    """
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        samples,
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig=None if channels == 1 else "contig",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        predictor=True,
        iccprofile=profile,
        resolution=dpi,
        resolutionunit=None if dpi is None else "INCH",
        metadata=None,
        software=False,
    )
    return stream.getvalue()


def _decode_png(stream: BinaryIO, path: str | os.PathLike) -> Decoded:
    header = picture_files.decode(stream)
    picture_files.check_single(path, header.n_frames == 1)
    orientation = header.getexif().get(_ORIENTATION, 1)
    stream.seek(0)
    samples = _turn_upright(imagecodecs.png_decode(stream.read()), orientation)
    return Decoded(
        "PNG", samples, header.info.get("icc_profile"), header.info.get("dpi")
    )


def _decode_tiff(stream: BinaryIO, path: str | os.PathLike) -> Decoded | None:
    with tifffile.TiffFile(stream) as tiff:
        pages = iter(tiff.pages)
        page = next(pages)
        # Not all pages, since those of a broken file may go round in a circle.
        others = itertools.islice(pages, _MAX_THUMBNAILS)
        is_single = not page.is_reduced and all(other.is_reduced for other in others)
        picture_files.check_single(path, is_single)
        if page.bitspersample <= 8:
            return None
        picture_files.check_size(page.imagewidth, page.imagelength)
        _check_kept(page, path)
        samples = page.asarray()
        if page.axes == "SYX":
            samples = np.moveaxis(samples, 0, -1)
        changed = None
        if samples.dtype.kind == "f":
            _check_range(samples, path)
            samples = samples.astype(np.float32)
            changed = "float becomes integers of 16 bits"
        if page.extrasamples == _PREMULTIPLIED:
            samples = _divide_by_alpha(samples)
        samples = _turn_upright(samples, page.tags.valueof(_ORIENTATION, 1))
        has_dpi = "XResolution" in page.tags and page.resolutionunit in (2, 3)
        dpi = page.get_resolution(unit="INCH") if has_dpi else None
        profile = page.tags.valueof(_ICC_PROFILE)
        return Decoded("TIFF", samples, profile, dpi, changed)


def _check_kept(page: tifffile.TiffPage, path: str | os.PathLike) -> None:
    """Refuses what is not 16-bit or float, grey or RGB, maybe with alpha, and whole."""
    kind = page.photometric.name
    is_kept = (
        page.samplesperpixel in _TIFF_CHANNELS.get(kind, ())
        and page.axes in ("YX", "YXS", "SYX")
        and page.extrasamples in (_NO_ALPHA, _PREMULTIPLIED, _STRAIGHT)
        and (page.dtype.kind == "f" or (page.dtype, page.bitspersample) == ("u2", 16))
    )
    if not is_kept:
        raise errors.InputError(
            f"{path}: TIFF with {page.samplesperpixel} channels ({kind}) of "
            f"{page.bitspersample} bits; save it with 8 bits, 16 bits or float as grey "
            "or RGB, with or without alpha"
        )
    # tifffile takes parts that are not there for black ones.
    are_there = len(page.dataoffsets) == math.prod(page.chunked)
    if 0 in page.shape or 0 in page.databytecounts or not are_there:
        raise ValueError("parts of the image are missing")


def _check_range(samples: np.ndarray, path: str | os.PathLike) -> None:
    """Refuses floats outside [0, 1]."""
    if not np.isfinite(samples).all():
        raise errors.InputError(
            f"{path}: holds values that are no numbers (NaN or infinity); replace them"
        )
    low, high = samples.min(), samples.max()
    if low < 0 or high > 1:
        raise errors.InputError(
            f"{path}: float values from {low:g} to {high:g}; scale them to 0..1"
        )


def _divide_by_alpha(samples: np.ndarray) -> np.ndarray:
    """Turns premultiplied colours into straight ones, float32 in [0, 1]."""
    if samples.dtype.kind == "u":
        samples = samples / np.float32(65535)
    colours, alpha = samples[..., :-1], samples[..., -1:]
    straight = np.divide(colours, alpha, out=np.zeros_like(colours), where=alpha > 0)
    return np.concatenate([np.minimum(straight, 1), alpha], axis=-1)


def _turn_upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes the orientation of EXIF and TIFF, 1 to 8; others count as 1."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
