import os

import numpy as np
import pytest
from PIL import Image

from experiments.support import figures, sheet
from gan_transfer import errors


def images(count, height=5, width=7, channels=1):
    values = np.arange(count * height * width * channels) % 251
    return values.reshape(count, height, width, channels).astype(np.uint8)


def position(picture, part):
    """Row and column at which a picture holds another one, which it does once."""
    windows = np.lib.stride_tricks.sliding_window_view(
        picture[..., 0], part.shape[1], 1
    )
    corners = [
        (row, column)
        for row, column in np.argwhere((windows == part[0, :, 0]).all(axis=-1))
        if np.array_equal(
            picture[row : row + part.shape[0], column : column + part.shape[1]], part
        )
    ]
    assert len(corners) == 1
    return tuple(int(value) for value in corners[0])


def test_tile_places_every_image_and_leaves_the_rest_white():
    tiled = sheet.tile(images(5, height=40, width=70), columns=3)
    assert tiled.shape == (2 * 40 + 2, 3 * 70 + 2 * 2, 3)
    np.testing.assert_array_equal(tiled[42:, 72:142, 1], images(5, 40, 70)[4, :, :, 0])
    assert (tiled[40:42] == 255).all() and (tiled[42:, 144:] == 255).all()


def test_tile_enlarges_small_images_by_a_whole_factor():
    tiled = sheet.tile(images(1, height=20, width=30, channels=3), columns=8)
    np.testing.assert_array_equal(tiled[::2, ::2], images(1, 20, 30, 3)[0])
    np.testing.assert_array_equal(tiled[::2], tiled[1::2])


@pytest.mark.parametrize(
    "wrong",
    [
        images(2).astype(np.float32),
        images(2)[..., 0],
        images(2, channels=2),
        images(0),
    ],
)
def test_pictures_refuse_other_images(wrong):
    with pytest.raises(errors.InputError, match=r"give uint8 \[N, H, W, C\]"):
        sheet.tile(wrong, columns=2)


def test_sample_grid_holds_images_reference_labels_and_title(tmp_path):
    grid = sheet.tile(images(4, 64, 48), 2)
    real = sheet.tile(images(6, 64, 48, 3), 2)
    path = tmp_path / "grid.png"
    figures.sample_grid(
        path,
        images(4, 64, 48),
        "A title that is long enough to be broken into several lines of the sheet",
        columns=2,
        reference=images(6, 64, 48, 3),
    )
    picture = np.asarray(Image.open(path))
    top, left = position(picture, grid)
    assert position(picture, real) == (top, left + grid.shape[1] + 32)
    assert (picture[:30] < 100).any()  # the title
    assert os.listdir(tmp_path) == ["grid.png"]


def test_pairs_puts_rows_of_other_sizes_under_each_other(tmp_path):
    path = tmp_path / "pairs.png"
    small, large = images(3, 28, 28), images(3, 64, 64, 3)
    figures.pairs(path, [small, large], ["source", "target"], "Pairs")
    picture = np.asarray(Image.open(path))
    top, left = position(picture, sheet.tile(large, 3))
    upper = picture[top - 66 : top - 2, left:]
    np.testing.assert_array_equal(upper[4:60:2, 4:60:2, 0], small[0, :, :, 0])
    assert (upper[:4] == 255).all() and (upper[60:] == 255).all()


def test_pairs_refuses_rows_that_do_not_pair(tmp_path):
    for rows, labels in (
        ([images(3), images(2)], ["a", "b"]),
        ([images(3), images(3)], ["a"]),
        ([], []),
    ):
        with pytest.raises(errors.InputError, match="rows of one length"):
            figures.pairs(tmp_path / "a.png", rows, labels, "title")


def test_curves_writes_a_plot_with_bands_on_a_log_axis(tmp_path):
    x = np.arange(30)
    series = {"a": (x, x + 1.0, (x + 0.5, x + 2.0)), "b": ([0, 9], [-1, 3], None)}
    figures.curves(tmp_path / "c.png", series, "Title", "updates", "loss", log=True)
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == (864, 528)
        colours = {colour[:3] for _, colour in picture.convert("RGB").getcolors(99999)}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours
    assert os.listdir(tmp_path) == ["c.png"]


def test_a_long_label_stays_in_the_picture(tmp_path):
    path, series = tmp_path / "c.png", {"a": ([0, 1], [1.0, 2.0], None)}
    figures.curves(path, series, "", "x", "kernel distance, " * 5)
    with Image.open(path) as picture:
        left = np.asarray(picture.convert("L"))[:, :60]
    assert left.min() < 128
    assert left[[0, 1, -2, -1]].min() == 255


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ({}, "no curve to draw"),
        ({"a": ([1, 2], [1], None)}, r"curve 'a' has \[2, 1\] values"),
        ({"a": ([1], [1], ([1], []))}, r"curve 'a' has \[1, 1, 1, 0\] values"),
    ],
)
def test_curves_refuses_what_it_cannot_draw(tmp_path, series, message):
    with pytest.raises(errors.InputError, match=message):
        figures.curves(tmp_path / "c.png", series, "Title", "x", "y")


def test_gif_has_every_frame_with_its_caption_and_rests_on_the_last(tmp_path):
    frames = list(images(4, 40, 70))
    figures.gif(
        tmp_path / "a.gif", frames, 100, captions=[f"step {i}" for i in range(4)]
    )
    durations = []
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 4
        for index in range(4):
            animation.seek(index)
            durations.append(animation.info["duration"])
            picture = np.asarray(animation.convert("L"))
            np.testing.assert_array_equal(
                picture[-56:-16, 16:86], frames[index][..., 0]
            )
    assert durations == [100, 100, 100, 500]
    assert os.listdir(tmp_path) == ["a.gif"]


def test_gif_refuses_frames_of_two_shapes_and_missing_captions(tmp_path):
    with pytest.raises(errors.InputError, match="2 frames of 2 shapes"):
        figures.gif(tmp_path / "a.gif", [images(1)[0], images(1, 6)[0]])
    with pytest.raises(errors.InputError, match="0 frames of 0 shapes"):
        figures.gif(tmp_path / "a.gif", [])
    with pytest.raises(errors.InputError, match="1 captions for 2 frames"):
        figures.gif(tmp_path / "a.gif", list(images(2)), captions=["a"])


def test_dots_have_a_colour_a_series_and_show_values_below_0(tmp_path):
    path, shades = tmp_path / "dots.png", {}
    series = {"train": {"plain": [-0.5, 3.0], "lost": []}, "test": {"plain": [200.0]}}
    figures.dots(path, series, "Title", "distance")
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    for name, colour in (("train", (0, 0x72, 0xB2)), ("test", (0xD5, 0x5E, 0))):
        places = (np.abs(picture - colour) < 9).all(axis=-1)
        shades[name] = np.flatnonzero(places[: len(places) * 2 // 3].any(axis=0))
    # From left to right: -0.5, 3 and their mean; then 200.
    groups = np.split(shades["train"], np.flatnonzero(np.diff(shades["train"]) > 3) + 1)
    assert len(groups) == 3
    assert shades["test"].min() > shades["train"].max()
    assert os.listdir(tmp_path) == ["dots.png"]
