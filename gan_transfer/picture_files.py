"""Picture files opened and replaced without surprises (documents A 3.2, D 2.3).

Whatever is wrong with a file, and whatever a decoder raises over it, becomes one line
that names the file and a remedy.
"""

import contextlib
import os
import pathlib
import textwrap
import warnings
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image

from gan_transfer import errors, writing

EXTENSIONS = ("png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff")
MAX_PIXELS = 100_000_000

# A fixed list, since Pillow would otherwise hand PostScript to Ghostscript.
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF")


@contextlib.contextmanager
def opening(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Opens a picture file to be decoded inside the context (document A 3.2).

    Raises:
      errors.InputError: the file is missing or may not be read; or what is done inside
        raises anything: it is broken, no picture, or has over `MAX_PIXELS` pixels.
    """
    try:
        with open(path, "rb") as stream, warnings.catch_warnings():
            # Pillow warns below the limit of `check_size`.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield stream
    except errors.InputError:
        raise
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise errors.InputError(f"{path}: no such picture file") from error
    except PermissionError as error:
        raise errors.InputError(
            f"{path}: may not be read; change its permissions"
        ) from error
    except Image.UnidentifiedImageError as error:
        raise errors.InputError(
            f"{path}: not a picture, or of no known kind; "
            f"use one of {', '.join(EXTENSIONS)}"
        ) from error
    except Image.DecompressionBombError as error:
        raise errors.InputError(
            f"{path}: has over {MAX_PIXELS // 10**6} megapixels; shrink it first"
        ) from error
    # Damaged files make the decoders raise nearly anything, not only OSError.
    except Exception as error:
        reason = textwrap.shorten(str(error), 120) or type(error).__name__
        raise errors.InputError(
            f"{path}: broken picture ({reason}); replace or remove it"
        ) from error


def decode(stream: BinaryIO) -> Image.Image:
    """Opens a picture with Pillow, which reads the header only (document A 3.2).

    Args:
      stream: what `opening` yields, which also takes care of the errors.

    Raises:
      Image.UnidentifiedImageError: no picture, or of a kind not in `EXTENSIONS`.
      Image.DecompressionBombError: over `MAX_PIXELS` pixels.
    """
    picture = Image.open(stream, formats=_FORMATS)
    check_size(*picture.size)
    return picture


def check_size(width: int, height: int) -> None:
    """Keeps pictures within memory (document A 3.2).

    Raises:
      Image.DecompressionBombError: over `MAX_PIXELS` pixels.
    """
    if width * height > MAX_PIXELS:
        raise Image.DecompressionBombError


def check_single(path: str | os.PathLike, is_single: bool) -> None:
    """Keeps pictures from losing all but the first frame (document D 2.3).

    Raises:
      errors.InputError: the file holds several.
    """
    if not is_single:
        raise errors.InputError(
            f"{path}: holds several pictures (an animation, or pages); "
            "save the one to restore as a file of its own"
        )


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """`writing.replacing`, whose errors name the file and a remedy (documents A-E).

    Raises:
      errors.InputError: the file cannot be written.
    """
    try:
        with writing.replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise errors.InputError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "choose an existing folder that is writable"
        ) from error
