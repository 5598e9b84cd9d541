import gzip
import io
import struct
import zipfile

import numpy as np
import pytest

from gan_transfer import array_files, errors

PIXELS = (np.arange(5 * 8 * 9) % 251).astype(np.uint8).reshape(5, 8, 9)


def npz(folder, **arrays):
    path = folder / "set.npz"
    np.savez(path, **arrays)
    return path


def npy(folder, array):
    path = folder / "set.npy"
    np.save(path, array)
    return path


def idx(pixels=PIXELS, magic=0x0803, shape=None):
    shape = shape or pixels.shape
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + pixels.tobytes()


def refusal(path):
    with pytest.raises(errors.InputError) as caught:
        array_files.read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_keras_keys_and_others_passed_over(tmp_path):
    labels = np.array([3, 0, 1, 1, 2])
    path = npz(
        tmp_path,
        x_train=PIXELS,
        y_train=labels[:, None],
        x_test=PIXELS[:2],
        y_test=labels[:2].astype(np.uint8),
        names=np.array(["a", "b"]),
    )
    arrays = array_files.read(path)
    assert sorted(arrays) == ["x_test", "x_train", "y_test", "y_train"]
    np.testing.assert_array_equal(arrays["x_train"], PIXELS[..., None])
    np.testing.assert_array_equal(arrays["x_test"], PIXELS[:2, ..., None])
    assert arrays["y_train"].tolist() == [3, 0, 1, 1, 2]
    assert arrays["y_test"].tolist() == [3, 0]
    assert arrays["y_train"].dtype == arrays["y_test"].dtype == np.int32


def test_short_keys_and_colour(tmp_path):
    colour = np.stack([PIXELS, PIXELS + 1, PIXELS + 2], -1)
    arrays = array_files.read(npz(tmp_path, x=colour, y=np.arange(5)))
    np.testing.assert_array_equal(arrays["x_train"], colour)
    assert arrays["y_train"].tolist() == [0, 1, 2, 3, 4]
    assert sorted(array_files.read(npz(tmp_path, x=colour))) == ["x_train"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_from_0_to_1_come_back_exactly(tmp_path, dtype):
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    arrays = array_files.read(npy(tmp_path, (every / 255).astype(dtype)))
    np.testing.assert_array_equal(arrays["x_train"][..., 0], every)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_with_a_negative_one_are_from_minus_1_to_1(tmp_path, dtype):
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    arrays = array_files.read(npy(tmp_path, (every / 127.5 - 1).astype(dtype)))
    np.testing.assert_array_equal(arrays["x_train"][..., 0], every)


def test_one_range_is_decided_for_both_parts(tmp_path):
    dark, bright = np.full((1, 8, 8), -1.0), np.full((1, 8, 8), 1.0)
    arrays = array_files.read(npz(tmp_path, x_train=bright, x_test=dark))
    assert (arrays["x_train"] == 255).all() and (arrays["x_test"] == 0).all()
    arrays = array_files.read(npz(tmp_path, x_train=bright * 0, x_test=dark))
    assert (arrays["x_train"] == 128).all()


def test_integers_and_booleans(tmp_path):
    arrays = array_files.read(npy(tmp_path, PIXELS.astype(np.int64)))
    np.testing.assert_array_equal(arrays["x_train"][..., 0], PIXELS)
    arrays = array_files.read(npy(tmp_path, PIXELS > 100))
    np.testing.assert_array_equal(arrays["x_train"][..., 0], (PIXELS > 100) * 255)


@pytest.mark.parametrize("name", ["a.idx", "t10k-images-idx3-ubyte", "b-ubyte.gz"])
def test_idx(tmp_path, name):
    content = gzip.compress(idx()) if name.endswith(".gz") else idx()
    (tmp_path / name).write_bytes(content)
    assert array_files.is_array_file(tmp_path / name)
    arrays = array_files.read(tmp_path / name)
    assert sorted(arrays) == ["x_train"]
    np.testing.assert_array_equal(arrays["x_train"], PIXELS[..., None])


def test_other_files_are_not_claimed(tmp_path):
    assert not array_files.is_array_file(tmp_path / "a.png")
    assert not array_files.is_array_file(tmp_path / "a.gz")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "begins with nothing"),
        (b"\0\0", "not an IDX file"),
        (b"\x89PNG....", "begins with 89504e47"),
        (idx(magic=0x0D03), "not an IDX file of bytes"),
        (idx(np.arange(5, dtype=np.uint8), magic=0x0801), "1 axes, labels maybe"),
        (idx()[:10], "truncated"),
        (idx()[:-1], "header says [5, 8, 9], the file has 359 bytes"),
        (idx() + b"\0", "too long"),
        (idx(shape=(2**31, 2**31, 4)), "truncated"),
        (idx(np.zeros((0, 8, 9), np.uint8)), "no image"),
    ],
)
def test_bad_idx_files_are_refused(tmp_path, content, expected):
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(content)
    assert expected in refusal(path)


@pytest.mark.parametrize("content", [b"", b"plain", gzip.compress(idx())[:-12]])
def test_bad_gzip_files_are_refused(tmp_path, content):
    path = tmp_path / "images-idx3-ubyte.gz"
    path.write_bytes(content)
    assert "fetch it again" in refusal(path)


@pytest.mark.parametrize("name", ["set.npz", "set.npy"])
def test_missing_empty_foreign_and_cut_numpy_files_are_refused(tmp_path, name):
    path = tmp_path / name
    assert "no such array file" in refusal(path)
    buffer = io.BytesIO()
    (np.savez if name.endswith("z") else np.save)(buffer, PIXELS)
    for content in (b"", b"hello", buffer.getvalue()[:-200], buffer.getvalue()[:50]):
        path.write_bytes(content)
        assert "broken, or no plain NumPy arrays" in refusal(path)


@pytest.mark.parametrize("key", ["x", "x_train", "y"])
def test_object_arrays_are_refused_unopened(tmp_path, key):
    objects = np.array([PIXELS, None], dtype=object)
    path = npz(tmp_path, **({"x": PIXELS} | {key: objects}))
    assert "broken, or no plain NumPy arrays" in refusal(path)
    path = tmp_path / "set.npy"
    np.save(path, objects)
    assert "broken, or no plain NumPy arrays" in refusal(path)


def test_archive_with_a_damaged_member_is_refused(tmp_path):
    path = npz(tmp_path, x=PIXELS)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("x.npy").header_offset + 150
    content = bytearray(path.read_bytes())
    content[start + 60] ^= 0xFF
    path.write_bytes(content)
    assert "CRC" in refusal(path)


def test_archive_without_images_is_refused_with_its_keys(tmp_path):
    assert "has the keys a, b;" in refusal(npz(tmp_path, a=PIXELS, b=PIXELS))
    with zipfile.ZipFile(tmp_path / "set.npz", "w"):
        pass
    assert "has the keys none;" in refusal(tmp_path / "set.npz")


@pytest.mark.parametrize(
    "shape", [(), (64,), (5, 64), (5, 3, 8, 9), (5, 8, 9, 2), (1, 2, 8, 9, 3)]
)
def test_shapes_that_are_no_images_are_refused(tmp_path, shape):
    path = npy(tmp_path, np.zeros(shape, np.uint8))
    assert f"shape {list(shape)} is not [N, H, W]" in refusal(path)


@pytest.mark.parametrize("shape", [(0, 8, 8), (5, 1, 1), (5, 7, 20), (0, 0, 0, 3)])
def test_empty_and_tiny_images_are_refused(tmp_path, shape):
    path = npy(tmp_path, np.zeros(shape, np.uint8))
    assert "has no image of at least 8x8" in refusal(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_their_image(tmp_path, value):
    array = np.zeros((4, 8, 9), np.float32)
    array[2, 1, 3] = value
    assert "NaN or infinite in image 2" in refusal(npy(tmp_path, array))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((1, 8, 8), 1.01), "[0, 1] or [-1, 1]"),
        (np.full((1, 8, 8), -1.5), "[0, 1] or [-1, 1]"),
        (np.full((1, 8, 8), 256, np.int32), "rescale them to 0..255"),
        (np.full((1, 8, 8), -1, np.int8), "rescale them to 0..255"),
        (np.full((1, 8, 8), 60_000, np.uint16), "rescale them to 0..255"),
        (np.zeros((1, 8, 8), np.complex64), "complex64 values are no images"),
        (np.full((1, 8, 8), "a"), "values are no images"),
    ],
)
def test_values_that_are_no_pixels_are_refused(tmp_path, array, expected):
    assert expected in refusal(npy(tmp_path, array))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.arange(4), "shape [4] does not fit 5 images"),
        (np.zeros((5, 10), int), "shape [5, 10] does not fit"),
        (np.arange(5.0), "float64 labels"),
        (np.array(list("abcde")), "labels; number the classes"),
        (np.array([-1, 0, 0, 0, 0]), "labels from -1 to 0"),
        (np.array([0, 0, 0, 0, 10**9]), "below 10000"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, labels, expected):
    assert expected in refusal(npz(tmp_path, x=PIXELS, y=labels))


def test_labels_of_one_part_only_are_refused(tmp_path):
    path = npz(tmp_path, x_train=PIXELS, y_train=np.arange(5), x_test=PIXELS)
    assert "has y_train but no y_test" in refusal(path)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (PIXELS, PIXELS / np.float32(255)),
        (PIXELS.astype(np.int64), PIXELS / np.float32(255)),
        (257 * PIXELS.astype(np.uint16), PIXELS / np.float32(255)),
        (PIXELS > 100, (PIXELS > 100).astype(np.float32)),
        (PIXELS / 200 - 0.5, np.float32(PIXELS / 200 - 0.5)),
        (np.float16(PIXELS), np.float32(PIXELS)),
    ],
)
def test_floats_are_read_as_they_are_and_integers_by_their_full_scale(
    tmp_path, array, expected
):
    found = array_files.read_floats(npy(tmp_path, array))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected[..., None], rtol=1e-7)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((1, 8, 8), np.nan), "NaN or infinite in image 0"),
        (np.full((1, 8, 8), 256, np.int32), "rescale them to 0..255"),
        (np.full((1, 8, 8), -1, np.int16), "rescale them to 0..255"),
        (np.zeros((1, 8, 8), np.complex64), "complex64 values are no images"),
        (np.zeros((1, 8, 8, 2)), "is not [N, H, W]"),
    ],
)
def test_floats_that_are_none_are_refused(tmp_path, array, expected):
    path = npy(tmp_path, array)
    with pytest.raises(errors.InputError) as caught:
        array_files.read_floats(path)
    assert str(path) in str(caught.value) and expected in str(caught.value)
