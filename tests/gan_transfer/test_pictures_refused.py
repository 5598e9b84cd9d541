import builtins
import io
import os
import pathlib
import struct
import zlib
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import Image

from gan_transfer import errors, pictures

HEIGHT, WIDTH = 7, 11


def noise(channels, bits=16):
    values = np.random.default_rng(channels).random((HEIGHT, WIDTH, channels))
    return (values * 2**bits).astype({8: np.uint8, 16: np.uint16}[bits])


def png(samples):
    return tf.io.encode_png(samples).numpy()


def tiff(samples, photometric="rgb", **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, samples, photometric=photometric, metadata=None, **options)
    return stream.getvalue()


def pillow(format_, *frames, mode="RGB"):
    first, *rest = (Image.new(mode, (WIDTH, HEIGHT), value) for value in frames)
    stream = io.BytesIO()
    options = {"save_all": True, "append_images": rest} if rest else {}
    first.save(stream, format_, **options)
    return stream.getvalue()


def huge_png(bits):
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, bits, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + checksum + png(noise(3, bits))[33:]


def patched_tiff(**values):
    """A 16-bit grey TIFF with other values in some of its tags."""
    content = bytearray(tiff(noise(1)[..., 0], "minisblack"))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        for tag, value in values.items():
            offset = file.pages[0].tags[tag].valueoffset
            struct.pack_into("<I", content, offset, value)
    return bytes(content)


def circular_tiff():
    """A TIFF whose next page is its first one."""
    content = bytearray(tiff(noise(1)[..., 0], "minisblack"))
    (tags,) = struct.unpack_from("<H", content, 8)
    struct.pack_into("<I", content, 10 + 12 * tags, 8)
    return bytes(content)


def cut(content, at=0.5):
    return content[: int(len(content) * at)]


def with_value(value):
    samples = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    samples[2, 3] = value
    return tiff(samples, "minisblack")


def refusal(function, *arguments, **options):
    with pytest.raises(errors.InputError) as caught:
        function(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


BROKEN = {
    "empty.png": lambda: b"",
    "text.png": lambda: b"hello, this is no picture\n",
    "start.png": lambda: png(noise(3))[:20],
    "cut8.png": lambda: cut(png(noise(3, 8))),
    "cut16.png": lambda: cut(png(noise(3))),
    "nearly16.png": lambda: png(noise(4))[:-14],
    "flipped16.png": lambda: png(noise(3)).replace(b"IDAT", b"IDAT\xff", 1),
    "cut.jpg": lambda: cut(pillow("JPEG", "red")),
    "cut.webp": lambda: cut(pillow("WEBP", "red")),
    "cut.gif": lambda: cut(pillow("GIF", "red")),
    "start.tif": lambda: tiff(noise(3))[:6],
    "header.tif": lambda: tiff(noise(3))[:60],
    "cut8.tif": lambda: cut(tiff(noise(3, 8)), 0.9),
    "cut16.tif": lambda: cut(tiff(noise(3)), 0.9),
    "deflated.tif": lambda: cut(tiff(noise(3), compression="zlib"), 0.9),
    "flat.tif": lambda: patched_tiff(ImageLength=0),
    "hole.tif": lambda: patched_tiff(StripByteCounts=0),
    "lzw.tif": lambda: cut(tiff(noise(3), compression="lzw"), 0.9),
}
UNFIT = {
    "a.gif": (lambda: pillow("GIF", "red", "blue"), "several pictures"),
    "a.webp": (lambda: pillow("WEBP", "red", "blue"), "several pictures"),
    "a.png": (lambda: pillow("PNG", "red", "blue"), "several pictures"),
    "pages8.tif": (lambda: pillow("TIFF", "red", "blue"), "several pictures"),
    "pages16.tif": (
        lambda: tiff(np.stack([noise(1)[..., 0]] * 2), "minisblack"),
        "several pictures",
    ),
    "preview.tif": (lambda: tiff(noise(3, 8), subfiletype=1), "several pictures"),
    "huge8.png": (lambda: huge_png(8), "over 100 megapixels"),
    "huge16.png": (lambda: huge_png(16), "over 100 megapixels"),
    "huge16.tif": (
        lambda: patched_tiff(ImageWidth=20_000, ImageLength=20_000),
        "over 100 megapixels",
    ),
    "circle.tif": (circular_tiff, "several pictures"),
    "nan.tif": (lambda: with_value(np.nan), "NaN or infinity"),
    "infinite.tif": (lambda: with_value(np.inf), "NaN or infinity"),
    "bright.tif": (lambda: with_value(255), "from 0.5 to 255; scale them to 0..1"),
    "negative.tif": (lambda: with_value(-1), "from -1 to 0.5; scale them to 0..1"),
    "lab.tif": (lambda: pillow("TIFF", 0, mode="LAB"), "CIE Lab"),
    "int32.tif": (
        lambda: tiff(noise(1)[..., 0].astype(np.uint32), "minisblack"),
        "1 channels (MINISBLACK) of 32 bits; save it with 8 bits",
    ),
    "cmyk16.tif": (lambda: tiff(noise(4), "separated"), "(SEPARATED) of 16 bits"),
    "white16.tif": (lambda: tiff(noise(1)[..., 0], "miniswhite"), "(MINISWHITE)"),
    "infrared.tif": (
        lambda: tiff(noise(4), extrasamples=["unspecified"]),
        "4 channels (RGB) of 16 bits",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_in_one_line(tmp_path, name, capfd, caplog):
    path = tmp_path / name
    path.write_bytes(BROKEN[name]())
    capfd.readouterr()  # What TensorFlow says when it encodes its first PNG.
    message = refusal(pictures.read, path)
    assert message.startswith(f"{path}: ")
    assert "broken picture" in message or "not a picture" in message
    assert capfd.readouterr() == ("", "") and caplog.records == []


@pytest.mark.parametrize("name", UNFIT)
def test_pictures_that_cannot_be_kept_are_refused(tmp_path, name):
    make, reason = UNFIT[name]
    path = tmp_path / name
    path.write_bytes(make())
    message = refusal(pictures.read, path)
    assert message.startswith(f"{path}: ") and reason in message


@pytest.mark.parametrize("name", ["missing.png", "", "file/a.png"])
def test_missing_files_and_folders_are_refused(tmp_path, name):
    (tmp_path / "file").touch()
    path = tmp_path / name
    assert refusal(pictures.read, path) == f"{path}: no such picture file"


def test_files_that_may_not_be_read_are_refused(tmp_path):
    with mock.patch.object(builtins, "open", side_effect=PermissionError(13, "no")):
        message = refusal(pictures.read, tmp_path / "a.png")
    assert "a.png: may not be read; change its permissions" in message


@pytest.fixture
def picture(tmp_path):
    (tmp_path / "source.png").write_bytes(png(noise(4)))
    return pictures.read(tmp_path / "source.png")


def attempt(path, picture):
    pictures.write(path, picture, picture.pixels)


@pytest.mark.parametrize("function", [pictures.check_output, attempt])
@pytest.mark.parametrize(
    "name, reason",
    [
        ("b.gif", "use one of .png, .jpg, .jpeg, .tif, .tiff, .bmp, .webp"),
        ("b", "use one of .png"),
        ("b.jpeg", "JPEG holds no transparency, which the picture has; use .png"),
        ("b.BMP", "BMP holds no transparency"),
        ("missing/b.png", "no such folder; create it first"),
        ("source.png/b.png", "no such folder"),
    ],
)
def test_names_that_cannot_be_written(tmp_path, picture, function, name, reason):
    assert reason in refusal(function, tmp_path / name, picture)
    assert os.listdir(tmp_path) == ["source.png"]


def test_pixels_that_cannot_be_written(tmp_path, picture):
    path = tmp_path / "b.png"
    bad = picture.pixels.copy()
    bad[0, 0, 0] = np.nan
    for pixels in (picture.pixels[1:], picture.pixels[..., :1], bad):
        assert "must be finite and have" in refusal(
            pictures.write, path, picture, pixels
        )
    assert os.listdir(tmp_path) == ["source.png"]


@pytest.mark.parametrize("suffix, limit", [(".webp", 16_384), (".jpg", 65_536)])
def test_pictures_too_long_for_the_format(tmp_path, suffix, limit):
    long = pictures.Picture(np.zeros((1, limit, 1)), None, 8, "PNG", None, None)
    assert "cannot be saved as" in refusal(attempt, tmp_path / f"b{suffix}", long)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize(
    "owner, name", [(pathlib.Path, "write_bytes"), (os, "replace")]
)
def test_what_was_there_stays_if_writing_fails(tmp_path, picture, suffix, owner, name):
    path = tmp_path / f"b{suffix}"
    path.write_bytes(b"old")
    full = OSError(28, "No space left on device")
    with mock.patch.object(owner, name, side_effect=full):
        message = refusal(attempt, path, picture)
    assert "cannot be written (No space left on device)" in message
    assert sorted(os.listdir(tmp_path)) == [path.name, "source.png"]
    assert path.read_bytes() == b"old"


def test_a_folder_is_not_replaced(tmp_path, picture):
    (tmp_path / "b.png").mkdir()
    assert "cannot be written" in refusal(attempt, tmp_path / "b.png", picture)
    assert sorted(os.listdir(tmp_path)) == ["b.png", "source.png"]
