import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import Image, ImageCms

from gan_transfer import pictures

HEIGHT, WIDTH = 7, 11
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(channels, bits=16):
    values = np.random.default_rng(channels).random((HEIGHT, WIDTH, channels))
    return (values * 2**bits).astype({8: np.uint8, 16: np.uint16}[bits])


def restore(source, target):
    """Reads a picture, writes it unchanged, returns it and what Pillow finds then."""
    picture = pictures.read(source)
    pictures.write(target, picture, picture.pixels)
    with Image.open(target) as peer:
        peer.load()
        return picture, peer


def rgb_tiff(path, samples, **options):
    tifffile.imwrite(path, samples, photometric="rgb", metadata=None, **options)
    return path


def chunk(kind, data):
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def test_1_bit_becomes_8_bit_grey(tmp_path):
    Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=bool)).save(tmp_path / "a.png")
    picture, peer = restore(tmp_path / "a.png", tmp_path / "b.png")
    np.testing.assert_array_equal(picture.pixels[..., 0], np.eye(HEIGHT, WIDTH))
    assert picture.bits == 8 and peer.mode == "L"
    assert picture.changed == "1 bit becomes grey of 8 bits"
    np.testing.assert_array_equal(np.asarray(peer), 255 * np.eye(HEIGHT, WIDTH))


def test_palette_of_colours_becomes_rgb(tmp_path):
    colours = Image.fromarray(noise(3, 8)).quantize(16)
    colours.save(tmp_path / "a.png", icc_profile=PROFILE)
    picture, peer = restore(tmp_path / "a.png", tmp_path / "b.png")
    assert peer.mode == "RGB" and picture.profile == PROFILE
    assert peer.tobytes() == colours.convert("RGB").tobytes()


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_palette_of_greys_becomes_grey_without_a_profile_for_colour(tmp_path, suffix):
    grey = noise(1, 8)[..., 0]
    palette = Image.fromarray(grey).convert("P")
    palette.save(tmp_path / f"a{suffix}", icc_profile=PROFILE)
    picture, peer = restore(tmp_path / f"a{suffix}", tmp_path / "b.png")
    assert peer.mode == "L" and picture.profile is None
    assert picture.changed == "the palette of greys becomes grey of 8 bits"
    assert picture.format == suffix[1:].upper()
    np.testing.assert_array_equal(np.asarray(peer), grey)


@pytest.mark.parametrize("colour, mode", [((9, 9, 9), "LA"), ((9, 8, 7), "RGBA")])
def test_transparent_palette_colour_becomes_alpha(tmp_path, colour, mode):
    palette = Image.new("P", (WIDTH, HEIGHT))
    palette.putpalette([*colour, 50, 50, 50])
    palette.putpixel((3, 2), 1)
    palette.save(tmp_path / "a.png", transparency=1)
    picture, peer = restore(tmp_path / "a.png", tmp_path / "b.png")
    assert peer.mode == mode
    assert picture.alpha[2, 3] == 0 and picture.alpha.sum() == 255 * (7 * 11 - 1)
    assert peer.getpixel((0, 0)) == (*colour[: len(mode) - 1], 255)


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_transparent_colour_becomes_alpha(tmp_path, mode):
    key = {"1": 0, "L": 0, "RGB": (0, 0, 0)}[mode]
    source = Image.new(mode, (WIDTH, HEIGHT))
    source.putpixel((3, 2), {"1": 1, "L": 255, "RGB": (255,) * 3}[mode])
    source.save(tmp_path / "a.png", transparency=key)
    picture = pictures.read(tmp_path / "a.png")
    assert picture.alpha.sum() == picture.alpha[2, 3] == 255
    assert picture.pixels.shape[2] == len(source.getbands())


@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_16_bit_colour_becomes_alpha(tmp_path, channels):
    samples = noise(channels)
    content = tf.io.encode_png(samples).numpy()
    key = b"".join(struct.pack(">H", value) for value in samples[2, 3])
    content = content[:33] + chunk(b"tRNS", key) + content[33:]
    (tmp_path / "a.png").write_bytes(content)
    picture = pictures.read(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, samples / np.float32(65535))
    assert picture.alpha[2, 3] == 0 and (picture.alpha == 65535).sum() == 7 * 11 - 1


def test_cmyk_becomes_rgb_and_its_profile_goes(tmp_path):
    inks = Image.fromarray(noise(4, 8), "CMYK")
    inks.save(tmp_path / "a.tif", icc_profile=PROFILE)
    picture, peer = restore(tmp_path / "a.tif", tmp_path / "b.tif")
    assert picture.profile is None and peer.mode == "RGB"
    assert peer.tobytes() == inks.convert("RGB").tobytes()


def test_phone_pictures_with_a_second_one_inside_are_jpeg(tmp_path):
    first, second = (Image.new("RGB", (16, 8), value) for value in ("teal", "red"))
    options = {"format": "MPO", "save_all": True, "append_images": [second]}
    first.save(tmp_path / "a.jpg", quality=100, **options)
    picture = pictures.read(tmp_path / "a.jpg")
    assert picture.format == "JPEG"
    expected = np.broadcast_to([0, 128 / 255, 128 / 255], (8, 16, 3))
    np.testing.assert_allclose(picture.pixels, expected, atol=2 / 255)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_float_tiff_is_kept_and_written_with_16_bits(tmp_path, dtype, channels):
    samples = (noise(channels) / 65535).astype(dtype)
    kind = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", samples.squeeze(), photometric=kind)
    picture = pictures.read(tmp_path / "a.tif")
    assert picture.bits == 16 and picture.pixels.dtype == np.float32
    (note,) = pictures.check_output(tmp_path / "b.tif", picture)
    assert note == f"{tmp_path}/b.tif: float becomes integers of 16 bits"
    np.testing.assert_array_equal(picture.pixels, samples.astype(np.float32))
    pictures.write(tmp_path / "b.tif", picture, picture.pixels)
    pictures.write(tmp_path / "b.png", picture, picture.pixels)
    expected = np.rint(picture.pixels * 65535)
    back = imagecodecs.tiff_decode((tmp_path / "b.tif").read_bytes())
    np.testing.assert_array_equal(back.reshape(expected.shape), expected)
    content = (tmp_path / "b.png").read_bytes()
    np.testing.assert_array_equal(tf.io.decode_png(content, dtype=tf.uint16), expected)


def test_float_alpha_becomes_16_bit_alpha(tmp_path):
    samples = (noise(4) / np.float32(65535)).astype(np.float32)
    path = rgb_tiff(tmp_path / "a.tif", samples, extrasamples=["unassalpha"])
    np.testing.assert_array_equal(pictures.read(path).alpha, noise(4)[..., 3])


def test_premultiplied_alpha_is_divided_out(tmp_path):
    samples = np.zeros((HEIGHT, WIDTH, 4), np.uint16)
    samples[0, 0] = [10_000, 20_000, 40_000, 40_000]
    samples[0, 1] = [65535, 7, 0, 65535]
    samples[0, 2] = [900, 0, 0, 300]
    path = rgb_tiff(tmp_path / "a.tif", samples, extrasamples=["assocalpha"])
    picture = pictures.read(path)
    np.testing.assert_array_equal(picture.alpha, samples[..., 3])
    expected = [[0.25, 0.5, 1], [1, 7 / 65535, 0], [1, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(picture.pixels[0, :4], expected, rtol=1e-6)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_16_bit_tiff_in_its_variants(tmp_path, compression, planar, byteorder):
    samples = noise(3)
    stored = samples if planar == "contig" else np.moveaxis(samples, -1, 0)
    path = rgb_tiff(
        tmp_path / "a.tif",
        stored,
        planarconfig=planar,
        compression=compression,
        predictor=compression is not None,
        byteorder=byteorder,
        rowsperstrip=2,
    )
    expected = samples / np.float32(65535)
    np.testing.assert_array_equal(pictures.read(path).pixels, expected)


def test_tiled_tiff_and_bigtiff(tmp_path):
    path = rgb_tiff(tmp_path / "a.tif", noise(3), tile=(16, 16), bigtiff=True)
    expected = noise(3) / np.float32(65535)
    np.testing.assert_array_equal(pictures.read(path).pixels, expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_thumbnail_behind_a_picture_is_passed_over(tmp_path, bits):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(noise(3, bits), photometric="rgb", metadata=None)
        writer.write(noise(3, 8)[:2, :2], photometric="rgb", subfiletype=1)
    expected = noise(3, bits) / np.float32(2**bits - 1)
    np.testing.assert_array_equal(pictures.read(tmp_path / "a.tif").pixels, expected)


def test_interlaced_16_bit_png(tmp_path):
    samples = noise(3)
    # Adam7: first column, first row, steps of both.
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)]
    passes += [(1, 0, 2, 2), (0, 1, 1, 2)]
    lines = b""
    for x, y, step_x, step_y in passes:
        for row in samples[y::step_y, x::step_x]:
            lines += b"\0" + row.astype(">u2").tobytes()
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 1)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    content += chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    pixels = pictures.read(tmp_path / "a.png").pixels
    np.testing.assert_array_equal(pixels, samples / np.float32(65535))
