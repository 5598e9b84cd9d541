import os

import numpy as np
import pytest
from PIL import Image

from gan_transfer import errors, images

HEIGHT, WIDTH = 9, 12


def ramp(channels):
    """Distinct values everywhere: uint8 [9, 12, channels]."""
    values = np.arange(HEIGHT * WIDTH * channels) * 7 % 256
    return values.astype(np.uint8).reshape(HEIGHT, WIDTH, channels)


def save(path, pixels, **options):
    pixels = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(pixels).save(path, **options)
    return path


def refusal(function, *arguments):
    with pytest.raises(errors.InputError) as caught:
        function(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ["png", "bmp", "tif", "TIFF", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_come_back_exactly(tmp_path, kind, channels):
    options = {"lossless": True} if kind == "webp" else {}
    path = save(tmp_path / f"a.{kind}", ramp(channels), **options)
    np.testing.assert_array_equal(images.read(path, channels), ramp(channels))


def test_grey_is_repeated_and_colour_becomes_luma(tmp_path):
    grey = save(tmp_path / "grey.png", ramp(1))
    np.testing.assert_array_equal(images.read(grey, 3), ramp(1).repeat(3, axis=2))
    colour = save(tmp_path / "colour.png", ramp(3))
    pillow = np.asarray(Image.fromarray(ramp(3)).convert("L"))[:, :, None]
    np.testing.assert_array_equal(images.read(colour, 1), pillow)
    primaries = np.eye(3, dtype=np.uint8)[None] * 255
    assert images.convert_channels(primaries, 1).ravel().tolist() == [76, 150, 29]


def test_alpha_is_composited_on_white_for_every_colour_and_alpha():
    colour, alpha = np.meshgrid(np.arange(256), np.arange(256))
    pixels = np.stack([colour, colour, colour, alpha], -1).astype(np.uint8)
    exact = np.rint((colour * alpha + 255.0 * (255 - alpha)) / 255)
    for channels in (1, 3):
        ours = images.convert_channels(pixels, channels)
        np.testing.assert_array_equal(ours, np.stack([exact] * channels, -1))


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_transparent_pixels_of_alpha_modes_are_white(tmp_path, mode):
    picture = Image.new("RGBA", (WIDTH, HEIGHT), (10, 10, 10, 255))
    picture.putpixel((3, 2), (10, 10, 10, 0))
    kind = "tif" if mode == "PA" else "png"
    picture.convert(mode).save(tmp_path / f"a.{kind}")
    pixels = images.read(tmp_path / f"a.{kind}", 3)
    assert pixels[2, 3].tolist() == [255] * 3
    assert pixels[3, 2].tolist() == [10] * 3


def test_palette_and_its_transparent_colour(tmp_path):
    picture = Image.new("P", (WIDTH, HEIGHT), 1)
    picture.putpalette([0, 0, 0, 200, 100, 50, 9, 9, 9])
    picture.putpixel((4, 1), 2)
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "clear.gif", transparency=2)
    plain = images.read(tmp_path / "plain.png", 3)
    assert plain[0, 0].tolist() == [200, 100, 50]
    assert plain[1, 4].tolist() == [9, 9, 9]
    assert images.read(tmp_path / "clear.gif", 3)[1, 4].tolist() == [255] * 3


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path, kind):
    values = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16)
    values = values.reshape(HEIGHT, WIDTH)
    Image.fromarray(values).save(tmp_path / f"deep.{kind}")
    expected = np.rint(values / 257.0)[:, :, None]
    np.testing.assert_array_equal(images.read(tmp_path / f"deep.{kind}", 1), expected)


def test_one_bit_becomes_black_and_white(tmp_path):
    picture = Image.new("1", (WIDTH, HEIGHT))
    picture.putpixel((5, 0), 1)
    picture.save(tmp_path / "bit.png")
    pixels = images.read(tmp_path / "bit.png", 1)
    assert pixels[0, 5, 0] == 255
    assert pixels.sum() == 255


def test_cmyk_has_the_colours_of_its_inks(tmp_path):
    Image.new("CMYK", (WIDTH, HEIGHT), (255, 0, 0, 0)).save(tmp_path / "a.tif")
    assert images.read(tmp_path / "a.tif", 3)[0, 0].tolist() == [0, 255, 255]


def test_exif_orientation_is_obeyed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned: show it rotated clockwise.
    path = save(tmp_path / "a.png", ramp(3), exif=exif)
    upright = np.rot90(ramp(3), -1)
    np.testing.assert_array_equal(images.read(path, 3), upright)


def test_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.new("L", (WIDTH, HEIGHT), value) for value in (40, 90)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (images.read(tmp_path / "a.gif", 1) == 40).all()


def test_forty_megapixels_are_read_and_over_a_hundred_refused(tmp_path):
    Image.new("1", (8000, 5000), 1).save(tmp_path / "large.png")
    assert images.read(tmp_path / "large.png", 1).shape == (5000, 8000, 1)
    Image.new("1", (10_001, 10_000)).save(tmp_path / "huge.png")
    assert "huge.png: has over 100 megapixels" in refusal(
        images.read, tmp_path / "huge.png", 1
    )
    Image.new("1", (20_000, 10_000)).save(tmp_path / "bomb.png")
    assert "bomb.png: has over 100 mega" in refusal(images.probe, tmp_path / "bomb.png")


def broken_files(folder):
    good = save(folder / "good.png", ramp(3)).read_bytes()
    jpeg = save(folder / "good.jpg", ramp(3)).read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0xFF
    return {
        "empty.png": b"",
        "cut.png": good[: len(good) // 2],
        "cut.jpg": jpeg[: len(jpeg) - 40],
        "flipped.png": bytes(flipped),
        "header.png": good[:8],
        "text.png": b"hello, this is no picture\n",
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }


@pytest.mark.parametrize(
    "name",
    [
        "empty.png",
        "cut.png",
        "cut.jpg",
        "flipped.png",
        "header.png",
        "text.png",
        "postscript.png",
    ],
)
def test_broken_files_are_refused_by_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(broken_files(tmp_path)[name])
    assert str(path) in refusal(images.read, path, 3)


@pytest.mark.parametrize("name", ["missing.png", ""])
def test_missing_files_and_folders_are_refused(tmp_path, name):
    assert str(tmp_path) in refusal(images.read, tmp_path / name, 3)


def test_kinds_without_an_8_bit_meaning_are_refused(tmp_path):
    Image.new("F", (WIDTH, HEIGHT)).save(tmp_path / "float.tif")
    Image.new("LAB", (WIDTH, HEIGHT)).save(tmp_path / "lab.tif")
    Image.new("I", (WIDTH, HEIGHT), 70_000).save(tmp_path / "int.tif")
    assert "8-bit grey or RGB" in refusal(images.read, tmp_path / "float.tif", 1)
    assert "8-bit grey or RGB" in refusal(images.read, tmp_path / "lab.tif", 3)
    assert "8 or 16 bits" in refusal(images.read, tmp_path / "int.tif", 1)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_only_one_or_three_channels_are_made(channels):
    assert "must be 1 or 3" in refusal(images.convert_channels, ramp(3), channels)


def test_two_channels_are_refused():
    assert "have 2 channels" in refusal(images.convert_channels, ramp(2), 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_fit_square_takes_the_centre(channels):
    tall = ramp(channels).swapaxes(0, 1)
    np.testing.assert_array_equal(
        images.fit_square(ramp(channels), 9), ramp(channels)[:, 1:10]
    )
    np.testing.assert_array_equal(images.fit_square(tall, 9), tall[1:10])


def test_fit_square_resamples_like_lanczos_and_bicubic():
    square = Image.fromarray(ramp(3)[:, 1:10])
    smaller = np.asarray(square.resize((8, 8), Image.Resampling.LANCZOS))
    larger = np.asarray(square.resize((20, 20), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(images.fit_square(ramp(3), 8), smaller)
    np.testing.assert_array_equal(images.fit_square(ramp(3), 20), larger)
    constant = np.full((40, 30, 1), 77, np.uint8)
    assert (images.fit_square(constant, 16) == 77).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 50, 1), (50, 7, 3)])
def test_tiny_images_are_refused_with_the_minimum(shape):
    message = refusal(images.fit_square, np.zeros(shape, np.uint8), 16)
    assert f"{shape[0]}x{shape[1]}" in message and "at least 8x8" in message


@pytest.mark.parametrize("size", [-4, 0, 7])
def test_tiny_sizes_are_refused(size):
    assert f"size is {size}" in refusal(images.fit_square, ramp(1), size)


def test_list_folder_goes_one_level_down_in_sorted_order(tmp_path):
    for name in ("b.PNG", "a.jpeg", "c.txt", ".hidden.png", "x/d.gif", "x/y/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "f.png").touch()
    (tmp_path / "folder.png").mkdir()
    found = [p.relative_to(tmp_path).as_posix() for p in images.list_folder(tmp_path)]
    assert found == ["a.jpeg", "b.PNG", "x/d.gif"]


def test_list_folder_refuses_what_holds_no_pictures(tmp_path):
    assert "no such folder" in refusal(images.list_folder, tmp_path / "missing")
    assert "holds no pictures" in refusal(images.list_folder, tmp_path)
    path = save(tmp_path / "a.png", ramp(1))
    assert "no such folder" in refusal(images.list_folder, path)


def test_flat_folder_takes_the_shortest_side_and_the_channels_it_needs(tmp_path):
    save(tmp_path / "a.png", np.full((23, 40, 1), 50, np.uint8))
    save(tmp_path / "b.png", np.full((64, 30, 1), 60, np.uint8))
    pixels, labels, names = images.read_folder(tmp_path)
    assert pixels.shape == (2, 20, 20, 1)
    assert (pixels[0] == 50).all() and (pixels[1] == 60).all()
    assert labels is None and names == ()
    save(tmp_path / "c.png", np.full((30, 30, 3), 70, np.uint8))
    assert images.read_folder(tmp_path)[0].shape == (3, 20, 20, 3)
    assert images.read_folder(tmp_path, 16, 1)[0].shape == (3, 16, 16, 1)


def test_default_size_ends_at_256(tmp_path):
    save(tmp_path / "a.png", np.zeros((300, 310, 1), np.uint8))
    assert images.read_folder(tmp_path)[0].shape == (1, 256, 256, 1)


def test_sub_folders_are_classes(tmp_path):
    for index, name in enumerate(("dog/1.png", "cat/2.png", "cat/1.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(tmp_path / name, np.full((8, 9, 1), index, np.uint8))
    (tmp_path / "empty").mkdir()
    pixels, labels, names = images.read_folder(tmp_path)
    assert names == ("cat", "dog")
    assert labels.dtype == np.int32 and labels.tolist() == [0, 0, 1]
    assert pixels[:, 0, 0, 0].tolist() == [2, 1, 0]


def test_pictures_beside_classes_are_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    save(tmp_path / "cat" / "a.png", ramp(1))
    save(tmp_path / "b.png", ramp(1))
    assert "both in it and in its sub-folders" in refusal(images.read_folder, tmp_path)


def test_all_broken_pictures_of_a_folder_are_named_up_to_five(tmp_path):
    for index in range(7):
        (tmp_path / f"bad{index}.png").write_bytes(b"nonsense")
    save(tmp_path / "good.png", ramp(3))
    message = refusal(images.read_folder, tmp_path)
    assert "7 of 8 pictures cannot be used; remove them" in message
    assert all(f"bad{index}.png" in message for index in range(5))
    assert "bad5.png" not in message and "and 2 more" in message


def test_pictures_broken_behind_the_header_or_too_small_are_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)
    good = save(tmp_path / "good.png", noise).read_bytes()
    (tmp_path / "cut.png").write_bytes(good[: len(good) // 2])
    (tmp_path / "text.png").write_bytes(b"nonsense")
    save(tmp_path / "dot.png", np.zeros((1, 1, 3), np.uint8))
    message = refusal(images.read_folder, tmp_path)
    assert "3 of 4 pictures" in message
    assert "cut.png: broken" in message and "dot.png: image is 1x1" in message
    assert "text.png: not a picture" in message


@pytest.mark.parametrize("channels", [1, 3])
def test_write_png_reads_back_and_leaves_nothing_else(tmp_path, channels):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    images.write_png(path, ramp(channels))
    np.testing.assert_array_equal(images.read(path, channels), ramp(channels))
    assert os.listdir(tmp_path) == ["a.png"]


def test_write_png_refuses_other_arrays_and_places(tmp_path):
    path = tmp_path / "a.png"
    assert "uint8" in refusal(images.write_png, path, ramp(3).astype(np.float32))
    assert "uint8" in refusal(images.write_png, path, ramp(3)[0])
    assert "uint8" in refusal(images.write_png, path, ramp(2))
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "a.png"
    assert "cannot be written" in refusal(images.write_png, below, ramp(3))
    (tmp_path / "folder.png").mkdir()
    onto = tmp_path / "folder.png"
    assert "cannot be written" in refusal(images.write_png, onto, ramp(3))
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]
