"""Picture files in and out with everything kept (documents A 2.2, D 2.3).

A restored picture shall differ from the damaged one by the restoration alone: 8 or 16
bits, grey or colour, transparency, colour profile and resolution come back as they
were. Data sets of 8-bit images are the business of `gan_transfer.images`.
"""

import dataclasses
import io
import os
import pathlib
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from gan_transfer import errors, picture_files, sixteen_bit

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".webp": "WEBP",
}
_16_BIT_ENCODERS = {"PNG": sixteen_bit.encode_png, "TIFF": sixteen_bit.encode_tiff}
_OPAQUE_FORMATS = ("JPEG", "BMP")
_PILLOW_OPTIONS = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "BMP": {},
    "WEBP": {"lossless": True, "exact": True},
}
_MAX_DPI = 65535
# Pillow's mode -> what becomes of pictures that cannot hold the restored values.
_CHANGED = {
    "1": "1 bit becomes grey of 8 bits",
    "CMYK": "CMYK becomes RGB, without its colour profile",
    "P": "the palette becomes RGB of 8 bits",
    "PA": "the palette becomes RGB of 8 bits",
}
# ITU-R BT.601, of red, green and blue.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A picture, and what its file says beside the colours (documents A 2.2, D 2.3).

    Attributes:
      pixels: float32 `[H, W, C]` in [0, 1], C = 1 (grey) or 3 (RGB), upright.
      alpha: uint8 or uint16 `[H, W]`, 0 = transparent, or None.
      bits: 8 or 16, per channel; 16 for float files.
      format: the file's format, as "PNG" or "JPEG".
      profile: the ICC colour profile, or None. It is kept, not applied.
      dpi: horizontal and vertical pixels per inch, or None.
      changed: what the file held instead and cannot be kept, for people, or None.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    bits: int
    format: str
    profile: bytes | None
    dpi: tuple[float, float] | None
    changed: str | None = None


def read(path: str | os.PathLike) -> Picture:
    """Reads one picture with all its bits (documents A 2.2, D 2.3).

    EXIF orientation is obeyed; other EXIF data are not kept. 1-bit pictures become
    8-bit grey; palettes, which cannot hold new colours, become 8-bit grey or RGB; CMYK
    becomes RGB by Pillow's formula without its profile. Float TIFF must lie in [0, 1].
    The colours of TIFF with premultiplied alpha are divided by it.

    Args:
      path: a picture in one of the formats of `picture_files.EXTENSIONS`.

    Raises:
      errors.InputError: the file is missing, broken, no picture, an animation or
        several pages, of a kind that cannot be restored (CIE Lab, other depths, float
        outside [0, 1]), or has over `picture_files.MAX_PIXELS` pixels.
    """
    with picture_files.opening(path) as stream:
        decoded = sixteen_bit.decode(stream, path) or _decode_8_bits(stream, path)
    samples = decoded.samples
    if samples.ndim == 2:
        samples = samples[:, :, None]
    has_alpha = samples.shape[2] in (2, 4)
    colours = samples[:, :, : samples.shape[2] - has_alpha]
    alpha = samples[:, :, -1] if has_alpha else None
    if samples.dtype.kind == "f":
        bits = 16
        alpha = _quantise(alpha, bits) if has_alpha else None
    else:
        bits = samples.dtype.itemsize * 8
        colours = colours / np.float32(2**bits - 1)
    dpi = decoded.dpi and tuple(float(value) for value in decoded.dpi)
    if dpi and not all(1 <= value <= _MAX_DPI for value in dpi):
        dpi = None
    format_, profile, changed = decoded.format, decoded.profile, decoded.changed
    return Picture(colours, alpha, bits, format_, profile, dpi, changed)


def check_output(path: str | os.PathLike, picture: Picture) -> tuple[str, ...]:
    """Tells, before the work, what a file will not hold (documents A 2.2, D 2.3).

    Args:
      path: the file to be written; its suffix is its format.
      picture: the picture to be restored.

    Returns:
      One line for each loss: kind of the picture, bits, or colour profile.

    Raises:
      errors.InputError: no such folder; a suffix of no format that can be written; a
        format without transparency for a picture that has some.
    """
    path = pathlib.Path(path)
    format_ = _FORMATS.get(path.suffix.lower())
    if format_ is None:
        raise errors.InputError(
            f"{path}: the suffix tells the format; use one of {', '.join(_FORMATS)}"
        )
    if not path.parent.is_dir():
        raise errors.InputError(f"{path.parent}: no such folder; create it first")
    if format_ in _OPAQUE_FORMATS and _is_transparent(picture):
        raise errors.InputError(
            f"{path}: {format_} holds no transparency, which the picture has; use .png"
        )
    notes = [] if picture.changed is None else [f"{path}: {picture.changed}"]
    if picture.bits > 8 and format_ not in _16_BIT_ENCODERS:
        notes.append(f"{path}: 16 bits reduced to 8; .png and .tif keep them")
    if picture.profile is not None and not _holds_profile(format_, picture):
        notes.append(f"{path}: colour profile left out; .png and .tif keep it")
    return tuple(notes)


def write(path: str | os.PathLike, picture: Picture, pixels: np.ndarray) -> None:
    """Writes restored pixels in the kind they came from (documents A 2.2, D 2.3).

    Values become `round(clip(x, 0, 1) (2^bits - 1))`. PNG, TIFF and WEBP are lossless,
    JPEG has quality 95 and full colour resolution. The file is never seen half-written.

    Args:
      path: file to write or to replace; its suffix is its format.
      picture: where bits, transparency, profile and resolution come from.
      pixels: float `[H, W, C]`, of the shape of `picture.pixels`.

    Raises:
      errors.InputError: as for `check_output`; pixels of another shape or not finite;
        a picture too large for the format; or the file cannot be written.
    """
    path = pathlib.Path(path)
    check_output(path, picture)
    if pixels.shape != picture.pixels.shape or not np.isfinite(pixels).all():
        raise errors.InputError(
            f"{path}: restored pixels {list(pixels.shape)} must be finite and have the "
            f"picture's shape {list(picture.pixels.shape)}"
        )
    format_ = _FORMATS[path.suffix.lower()]
    bits = picture.bits if format_ in _16_BIT_ENCODERS else 8
    samples = _quantise(pixels, bits)
    if picture.alpha is not None and format_ not in _OPAQUE_FORMATS:
        alpha = picture.alpha[:, :, None]
        if bits < picture.bits:
            alpha = _quantise(alpha / 65535, bits)
        samples = np.concatenate([samples, alpha], axis=2)
    elif samples.shape[2] == 1:
        samples = samples[:, :, 0]
    try:
        content = _encode(samples, format_, picture)
    except (OSError, ValueError, RuntimeError) as error:
        raise errors.InputError(
            f"{path}: cannot be saved as {format_} ({error}); use .png"
        ) from error
    with picture_files.replacing(path) as temporary:
        temporary.write_bytes(content)


def read_mask(
    path: str | os.PathLike,
    *,
    shape: tuple[int, int] | None = None,
    invert: bool = False,
    from_alpha: bool = False,
) -> np.ndarray:
    """Reads which pixels are missing (documents A 2.2, D 2.3).

    White is missing: a luma (ITU-R BT.601) over 127 of 255. Transparent paint counts as
    black, so white strokes on a transparent layer are a mask.

    Args:
      path: a picture of any kind that `read` takes.
      shape: the (height, width) it must have; None takes any.
      invert: black is missing instead; or, with `from_alpha`, the opaque pixels.
      from_alpha: transparent (alpha below 128 of 255) is missing, whatever the colour.

    Returns:
      float32 `[H, W, 1]`, 1 = missing, 0 = known.

    Raises:
      errors.InputError: as for `read`; another size; no transparency with `from_alpha`;
        nothing or everything missing.
    """
    picture = read(path)
    height, width = picture.pixels.shape[:2]
    if shape is not None and (height, width) != tuple(shape):
        raise errors.InputError(
            f"{path}: mask is {width}x{height} pixels (width x height), the picture "
            f"{shape[1]}x{shape[0]}; make them the same size"
        )
    if from_alpha and picture.alpha is None:
        raise errors.InputError(
            f"{path}: has no transparency to take a mask from; "
            "use a file with alpha, or a black and white mask"
        )
    opacity = 1.0 if picture.alpha is None else picture.alpha / (2**picture.bits - 1)
    if from_alpha:
        missing = opacity < 0.5
        remedy = "make missing pixels transparent and known ones opaque"
    else:
        remedy = "paint missing pixels white and known ones black"
        weights = LUMA if picture.pixels.shape[2] == 3 else np.ones(1, np.float32)
        missing = picture.pixels @ weights * opacity > 0.5
    mask = (missing != invert).astype(np.float32)[:, :, None]
    if missing_share(mask) in (0.0, 1.0):
        raise errors.InputError(
            f"{path}: mask marks {missing_share(mask):.0%} of the pixels as missing; "
            f"{remedy}, or invert the mask"
        )
    return mask


def missing_share(mask: np.ndarray) -> float:
    """Returns the share of missing values, 0 to 1 (documents A 2.2, D 2.3).

    Args:
      mask: `[..., 1]` or `[..., C]`, 1 = missing, 0 = known.
    """
    return float(np.mean(mask, dtype=np.float64))


def _decode_8_bits(stream: BinaryIO, path: str | os.PathLike) -> sixteen_bit.Decoded:
    opened = picture_files.decode(stream)
    format_, mode = opened.format, opened.mode
    if format_ == "MPO":
        # Many phones write these: a JPEG with a preview or a depth map behind it.
        format_ = "JPEG"
    elif format_ != "TIFF":
        picture_files.check_single(path, getattr(opened, "n_frames", 1) == 1)
    if mode == "LAB":
        raise errors.InputError(f"{path}: CIE Lab picture; save it as grey or RGB")
    profile, dpi = opened.info.get("icc_profile"), opened.info.get("dpi")
    upright = ImageOps.exif_transpose(opened)
    kind, changed = "L" if mode in ("1", "L", "LA") else "RGB", _CHANGED.get(mode)
    alpha = "A" if upright.has_transparency_data else ""
    samples = np.asarray(upright.convert(kind + alpha))
    if mode in ("P", "PA") and (samples[..., :1] == samples[..., 1:3]).all():
        samples = samples[..., [0, 3]] if alpha else samples[..., 0]
        profile, changed = None, "the palette of greys becomes grey of 8 bits"
    if mode == "CMYK":
        profile = None
    return sixteen_bit.Decoded(format_, samples, profile, dpi, changed)


def _is_transparent(picture: Picture) -> bool:
    return picture.alpha is not None and picture.alpha.min() < 2**picture.bits - 1


def _holds_profile(format_: str, picture: Picture) -> bool:
    # WEBP holds grey as RGB, which a profile for grey does not fit.
    is_grey = picture.pixels.shape[2] == 1
    return format_ != "BMP" and not (format_ == "WEBP" and is_grey)


def _quantise(values: np.ndarray, bits: int) -> np.ndarray:
    scaled = np.rint(np.clip(values, 0, 1) * (2**bits - 1))
    return scaled.astype(np.uint16 if bits == 16 else np.uint8)


def _encode(samples: np.ndarray, format_: str, picture: Picture) -> bytes:
    if format_ in _16_BIT_ENCODERS:
        return _16_BIT_ENCODERS[format_](samples, picture.profile, picture.dpi)
    options = dict(_PILLOW_OPTIONS[format_])
    if picture.profile is not None and _holds_profile(format_, picture):
        options["icc_profile"] = picture.profile
    if picture.dpi is not None:
        options["dpi"] = picture.dpi
    stream = io.BytesIO()
    Image.fromarray(samples).save(stream, format=format_, **options)
    return stream.getvalue()
