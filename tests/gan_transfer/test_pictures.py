import io
import os

import imagecodecs
import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import Image, ImageCms, ImageOps

from gan_transfer import pictures

HEIGHT, WIDTH = 7, 11
DTYPES = {8: np.uint8, 16: np.uint16}
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(channels, bits):
    """Both ends of the range and anything between: [7, 11, channels]."""
    values = np.random.default_rng(channels).random((HEIGHT, WIDTH, channels))
    values = (values * 2**bits).astype(DTYPES[bits])
    values[0, 0], values[0, 1] = 0, 2**bits - 1
    return values


def without_channel(samples):
    return samples[..., 0] if samples.shape[-1] == 1 else samples


def save_tiff(path, samples, **options):
    channels = samples.shape[-1]
    options = {
        "photometric": "rgb" if channels > 2 else "minisblack",
        "extrasamples": ["unassalpha"] if channels in (2, 4) else None,
        "planarconfig": "contig" if channels > 1 else None,
        "metadata": None,
    } | options
    tifffile.imwrite(path, without_channel(samples), **options)
    return path


def save(path, samples):
    """Writes a lossless file with encoders that the module does not use for it."""
    if path.suffix == ".png":
        path.write_bytes(tf.io.encode_png(samples).numpy())
        return path
    return save_tiff(path, samples, compression="lzw", byteorder=">")


def load(path):
    """Reads with decoders that the module does not use: [H, W, C]."""
    content = path.read_bytes()
    if path.suffix == ".png":
        bits = content[24]
        return tf.io.decode_png(content, dtype=tf.as_dtype(DTYPES[bits])).numpy()
    samples = imagecodecs.tiff_decode(content)
    return samples if samples.ndim == 3 else samples[..., None]


def restore(source, target):
    """Reads a picture and writes it unchanged."""
    picture = pictures.read(source)
    pictures.write(target, picture, picture.pixels)
    return picture


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_kind_comes_back_bit_for_bit(tmp_path, suffix, bits, channels):
    samples = noise(channels, bits)
    colours = channels - (channels in (2, 4))
    picture = restore(save(tmp_path / f"a{suffix}", samples), tmp_path / f"b{suffix}")
    peak = np.float32(2**bits - 1)
    np.testing.assert_array_equal(picture.pixels, samples[..., :colours] / peak)
    assert picture.pixels.dtype == np.float32
    assert picture.bits == bits
    assert picture.format == {".png": "PNG", ".tif": "TIFF"}[suffix]
    if channels == colours:
        assert picture.alpha is None
    else:
        assert picture.alpha.dtype == DTYPES[bits]
        np.testing.assert_array_equal(picture.alpha, samples[..., -1])
    np.testing.assert_array_equal(load(tmp_path / f"b{suffix}"), samples)
    assert load(tmp_path / f"b{suffix}").dtype == DTYPES[bits]


@pytest.mark.parametrize("suffix", [".bmp", ".webp", ".TIFF", ".PNG"])
@pytest.mark.parametrize("channels", [1, 3])
def test_8_bits_come_back_in_every_lossless_format(tmp_path, suffix, channels):
    samples = noise(channels, 8)
    restore(save(tmp_path / "a.png", samples), tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as peer:
        assert suffix == ".webp" or peer.mode == {1: "L", 3: "RGB"}[channels]
        back = np.asarray(peer.convert({1: "L", 3: "RGB"}[channels]))
    np.testing.assert_array_equal(back, without_channel(samples))


@pytest.mark.parametrize("channels", [2, 4])
def test_webp_keeps_alpha_and_the_colours_under_it(tmp_path, channels):
    samples = noise(channels, 8)
    restore(save(tmp_path / "a.png", samples), tmp_path / "b.webp")
    with Image.open(tmp_path / "b.webp") as peer:
        back = np.asarray(peer.convert("RGBA"))
    np.testing.assert_array_equal(back[..., -1], samples[..., -1])
    np.testing.assert_array_equal(back[..., 0], samples[..., 0])


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_close_with_full_colour_resolution(tmp_path, channels):
    samples = noise(channels, 8)
    picture = restore(save(tmp_path / "a.png", samples), tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as peer:
        assert peer.format == "JPEG" and peer.mode == {1: "L", 3: "RGB"}[channels]
        assert all(layer[1:3] == (1, 1) for layer in peer.layer)
    back = pictures.read(tmp_path / "b.jpg")
    assert back.format == "JPEG" and back.bits == 8
    assert abs(back.pixels - picture.pixels).mean() < 4 / 255


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_every_16_bit_value_survives(tmp_path, suffix):
    samples = np.arange(2**16, dtype=np.uint16).reshape(128, 512, 1)
    restore(save(tmp_path / f"a{suffix}", samples), tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(load(tmp_path / f"b{suffix}"), samples)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 4])
def test_the_smallest_and_the_thinnest_pictures(tmp_path, shape, suffix, channels):
    samples = np.full((*shape, channels), 40_000, np.uint16)
    restore(save(tmp_path / f"a{suffix}", samples), tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(load(tmp_path / f"b{suffix}"), samples)


def test_values_are_rounded_and_clipped(tmp_path):
    picture = pictures.read(save(tmp_path / "a.png", noise(1, 8)))
    pixels = picture.pixels.copy()
    pixels[0, :5, 0] = [-0.3, 1.2, 100.4 / 255, 100.6 / 255, 1.0]
    pictures.write(tmp_path / "b.png", picture, pixels)
    assert load(tmp_path / "b.png")[0, :5, 0].tolist() == [0, 255, 100, 101, 255]


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".webp"])
def test_16_bits_become_8_with_a_note_where_the_format_holds_no_more(tmp_path, suffix):
    channels = 4 if suffix == ".webp" else 3
    picture = pictures.read(save(tmp_path / "a.png", noise(channels, 16)))
    path = tmp_path / f"b{suffix}"
    (note,) = pictures.check_output(path, picture)
    assert note == f"{path}: 16 bits reduced to 8; .png and .tif keep them"
    assert pictures.check_output(tmp_path / "b.tif", picture) == ()
    pictures.write(path, picture, picture.pixels)
    with Image.open(path) as peer:
        back = np.asarray(peer)
    expected = np.rint(noise(channels, 16) / 257)
    if suffix == ".jpg":
        assert abs(back - expected).mean() < 4
    else:
        np.testing.assert_array_equal(back, expected)


def test_opaque_alpha_is_no_loss_in_a_jpeg(tmp_path):
    samples = noise(4, 8)
    samples[..., 3] = 255
    picture = restore(save(tmp_path / "a.png", samples), tmp_path / "b.jpg")
    assert (picture.alpha == 255).all()
    assert pictures.read(tmp_path / "b.jpg").alpha is None


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("bits", [8, 16])
def test_profile_is_kept(tmp_path, suffix, bits):
    source = tmp_path / "a.tif"
    save_tiff(source, noise(3, bits), iccprofile=PROFILE)
    assert restore(source, tmp_path / f"b{suffix}").profile == PROFILE
    with Image.open(tmp_path / f"b{suffix}") as peer:
        assert peer.info["icc_profile"] == PROFILE
    assert pictures.read(tmp_path / f"b{suffix}").profile == PROFILE


@pytest.mark.parametrize("suffix, channels", [(".bmp", 3), (".webp", 1)])
def test_profile_that_does_not_fit_is_left_out_with_a_note(tmp_path, suffix, channels):
    source = save_tiff(tmp_path / "a.tif", noise(channels, 8), iccprofile=PROFILE)
    path = tmp_path / f"b{suffix}"
    (note,) = pictures.check_output(path, pictures.read(source))
    assert "colour profile left out" in note
    restore(source, path)
    assert pictures.read(path).profile is None


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".bmp"])
@pytest.mark.parametrize("bits", [8, 16])
def test_resolution_is_kept(tmp_path, suffix, bits):
    dots = {"resolution": (300.0, 150.0), "resolutionunit": "INCH"}
    source = save_tiff(tmp_path / "a.tif", noise(1, bits), **dots)
    assert restore(source, tmp_path / f"b{suffix}").dpi == (300, 150)
    with Image.open(tmp_path / f"b{suffix}") as peer:
        assert peer.info["dpi"] == pytest.approx((300, 150), rel=1e-4)
    assert pictures.read(tmp_path / f"b{suffix}").dpi == pytest.approx((300, 150), 1e-4)


def test_centimetres_become_inches_and_nonsense_no_resolution(tmp_path):
    for bits in (8, 16):
        for resolution, expected in (((100, 50), (254, 127)), ((0, 0), None)):
            dots = {"resolution": resolution, "resolutionunit": "CENTIMETER"}
            path = save_tiff(tmp_path / "a.tif", noise(1, bits), **dots)
            assert pictures.read(path).dpi == expected
    assert pictures.read(save(tmp_path / "a.png", noise(1, 16))).dpi is None


def turned(samples, orientation):
    """What Pillow makes of an orientation, pixel by pixel."""
    exif = Image.Exif()
    exif[274] = orientation
    numbers = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    stream = io.BytesIO()
    Image.fromarray(numbers).save(stream, "PNG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(stream)))
    return samples.reshape(HEIGHT * WIDTH, -1)[upright]


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_orientation_is_obeyed_once(tmp_path, orientation, bits, suffix):
    samples = noise(3, bits)
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        tag = (274, "H", 1, orientation, True)
        save_tiff(path, samples, extratags=[tag])
    else:
        exif = Image.Exif()
        exif[274] = orientation
        stream = io.BytesIO()
        Image.new("L", (1, 1)).save(stream, "PNG", exif=exif)
        start = stream.getvalue().index(b"eXIf") - 4
        end = stream.getvalue().index(b"IDAT") - 4
        content = save(path, samples).read_bytes()
        path.write_bytes(content[:33] + stream.getvalue()[start:end] + content[33:])
    upright = turned(samples, orientation if 1 <= orientation <= 8 else 1)
    picture = restore(path, tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(picture.pixels, upright / np.float32(2**bits - 1))
    np.testing.assert_array_equal(load(tmp_path / f"b{suffix}"), upright)
    with Image.open(tmp_path / f"b{suffix}") as peer:
        assert peer.getexif().get(274, 1) == 1
    assert sorted(os.listdir(tmp_path)) == [f"a{suffix}", f"b{suffix}"]


def test_orientation_of_a_jpeg_is_obeyed(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    flat = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    flat[:, :8] = 200
    path = tmp_path / "a.jpg"
    Image.fromarray(flat).save(path, exif=exif, quality=100)
    expected = np.rot90(flat, -1) / 255
    np.testing.assert_allclose(pictures.read(path).pixels, expected, atol=3 / 255)
