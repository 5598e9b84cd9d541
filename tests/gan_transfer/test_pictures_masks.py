import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gan_transfer import errors, pictures

HEIGHT, WIDTH = 3, 5


def save(path, samples):
    path.write_bytes(tf.io.encode_png(samples).numpy())
    return path


def refusal(path, **options):
    with pytest.raises(errors.InputError) as caught:
        pictures.read_mask(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


@pytest.mark.parametrize("scale, dtype", [(1, np.uint8), (257, np.uint16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_white_is_missing_above_127_of_255(tmp_path, scale, dtype, channels):
    grey = np.arange(256, dtype=dtype).reshape(8, 32, 1) * dtype(scale)
    path = save(tmp_path / "m.png", grey.repeat(channels, axis=2))
    mask = pictures.read_mask(path)
    assert mask.dtype == np.float32 and mask.shape == (8, 32, 1)
    np.testing.assert_array_equal(mask.ravel(), np.arange(256) > 127)
    inverted = pictures.read_mask(path, invert=True)
    np.testing.assert_array_equal(inverted, 1 - mask)
    assert pictures.missing_share(mask) == 0.5


def test_luma_decides_over_colours(tmp_path):
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 0, 255]]])
    path = save(tmp_path / "m.png", colours.astype(np.uint8))
    assert pictures.read_mask(path).ravel().tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("scale, dtype", [(1, np.uint8), (257, np.uint16)])
@pytest.mark.parametrize("channels", [2, 4])
def test_transparent_is_missing_below_128_of_255(tmp_path, scale, dtype, channels):
    samples = np.random.default_rng(0).integers(0, 256, (8, 32, channels))
    samples[..., -1] = np.arange(256).reshape(8, 32)
    path = save(tmp_path / "m.png", (samples * scale).astype(dtype))
    mask = pictures.read_mask(path, from_alpha=True)
    np.testing.assert_array_equal(mask.ravel(), np.arange(256) < 128)
    inverted = pictures.read_mask(path, from_alpha=True, invert=True)
    np.testing.assert_array_equal(inverted, 1 - mask)


def test_white_strokes_on_a_transparent_layer_are_missing(tmp_path):
    layer = np.full((HEIGHT, WIDTH, 2), 255, np.uint8)
    layer[..., 1] = 0
    layer[1, 2:4, 1] = 255
    mask = pictures.read_mask(save(tmp_path / "m.png", layer))
    assert np.argwhere(mask[..., 0]).tolist() == [[1, 2], [1, 3]]


def test_jpeg_speckle_and_1_bit_masks(tmp_path):
    hole = np.zeros((16, 24), np.uint8)
    hole[8:, 8:16] = 255
    Image.fromarray(hole).save(tmp_path / "m.jpg", quality=30)
    Image.fromarray(hole > 0).save(tmp_path / "m.png")
    for name in ("m.jpg", "m.png"):
        mask = pictures.read_mask(tmp_path / name, shape=(16, 24))
        np.testing.assert_array_equal(mask[..., 0], hole / 255)


def test_masks_of_another_size_are_refused_with_both_sizes(tmp_path):
    hole = np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    hole[0] = 255
    path = save(tmp_path / "m.png", hole)
    assert pictures.read_mask(path, shape=(HEIGHT, WIDTH)).sum() == WIDTH
    message = refusal(path, shape=(WIDTH, HEIGHT))
    assert "5x3" in message and "3x5" in message and "same size" in message


@pytest.mark.parametrize("value, share", [(0, "0%"), (127, "0%"), (255, "100%")])
def test_empty_and_full_masks_are_refused(tmp_path, value, share):
    path = save(tmp_path / "m.png", np.full((HEIGHT, WIDTH, 1), value, np.uint8))
    message = refusal(path)
    assert f"marks {share} of the pixels" in message and "white" in message
    assert "invert the mask" in message


def test_alpha_masks_need_transparency(tmp_path):
    opaque = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    message = refusal(save(tmp_path / "a.png", opaque), from_alpha=True)
    assert "marks 0%" in message and "transparent" in message
    message = refusal(save(tmp_path / "b.png", opaque[..., :3]), from_alpha=True)
    assert "no transparency" in message


def test_missing_share_counts_channels_apart():
    mask = np.zeros((4, 5, 3), np.float32)
    mask[:, :, 0] = 1
    mask[0, 0, 1] = 1
    assert pictures.missing_share(mask) == 21 / 60
