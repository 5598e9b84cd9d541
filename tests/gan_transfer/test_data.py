import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gan_transfer import data, errors, images

LABELS = np.repeat(np.arange(3, dtype=np.int32), (30, 20, 10))


def numbered(count, height=8, width=8, channels=1):
    """Image i has the value i everywhere."""
    shape = (count, height, width, channels)
    return np.broadcast_to(
        np.arange(count, dtype=np.uint8)[:, None, None, None], shape
    ).copy()


def numbers(pixels):
    return pixels[:, 0, 0, 0].tolist()


def npz(folder, name="set", **arrays):
    np.savez(folder / f"{name}.npz", **arrays)
    return folder / f"{name}.npz"


def refusal(function, *arguments, **options):
    with pytest.raises(errors.InputError) as caught:
        function(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_both_parts_labels_and_names(tmp_path):
    path = npz(
        tmp_path,
        x_train=numbered(60)[..., 0],
        y_train=LABELS,
        x_test=numbered(4),
        y_test=np.array([0, 1, 4, 0]),
    )
    loaded = data.load(path)
    assert loaded.name == "set.npz"
    assert numbers(loaded.train) == list(range(60))
    assert numbers(loaded.test) == [0, 1, 2, 3]
    np.testing.assert_array_equal(loaded.train_labels, LABELS)
    assert loaded.test_labels.tolist() == [0, 1, 4, 0]
    assert loaded.class_names == ("0", "1", "2", "3", "4")
    assert (loaded.size, loaded.channels) == (8, 1)


def test_a_tenth_is_held_out_where_there_is_no_test_part(tmp_path):
    path = npz(tmp_path, x=numbered(60), y=LABELS)
    loaded = data.load(path, seed=3)
    assert sorted(numbers(loaded.train) + numbers(loaded.test)) == list(range(60))
    assert np.bincount(loaded.test_labels).tolist() == [3, 2, 1]
    np.testing.assert_array_equal(loaded.test_labels, LABELS[numbers(loaded.test)])
    np.testing.assert_array_equal(loaded.train_labels, LABELS[numbers(loaded.train)])
    # Whatever the seed: what one command trains on, no other takes for unseen.
    np.testing.assert_array_equal(data.load(path, seed=4).test, loaded.test)


def test_at_least_one_is_held_out(tmp_path):
    loaded = data.load(npz(tmp_path, x=numbered(3)))
    assert (len(loaded.train), len(loaded.test)) == (2, 1)
    assert loaded.train_labels is None and loaded.test_labels is None
    assert loaded.class_names == ()
    message = refusal(data.load, npz(tmp_path, x=numbered(1)))
    assert "cannot hold out 1 of 1 images" in message


@pytest.mark.parametrize("limit", [1, 7, 30, 59])
def test_limit_is_balanced_as_long_as_no_class_runs_out(tmp_path, limit):
    path = npz(
        tmp_path,
        x_train=numbered(60),
        y_train=LABELS,
        x_test=numbered(2),
        y_test=np.array([0, 1]),
    )
    loaded = data.load(path, limit=limit, seed=1)
    assert len(set(numbers(loaded.train))) == len(loaded.train) == limit
    np.testing.assert_array_equal(loaded.train_labels, LABELS[numbers(loaded.train)])
    counts = np.bincount(loaded.train_labels, minlength=3)
    if limit <= 30:
        assert counts.max() - counts.min() <= 1
    else:
        assert counts.tolist() == [29, 20, 10]
    assert numbers(loaded.test) == [0, 1]
    assert loaded.class_names == ("0", "1", "2")


def test_limit_without_labels_is_seeded(tmp_path):
    path = npz(tmp_path, x_train=numbered(60), x_test=numbered(2))
    chosen = [numbers(data.load(path, limit=9, seed=s).train) for s in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert all(len(set(c)) == 9 and c == sorted(c) for c in chosen)


@pytest.mark.parametrize("limit", [-1, 0, 61])
def test_limits_that_cannot_be_met_are_refused(tmp_path, limit):
    path = npz(tmp_path, x_train=numbered(60), x_test=numbered(2))
    message = refusal(data.load, path, limit=limit)
    assert f"limit is {limit}, but set.npz has 60" in message


def test_size_and_channels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 9, 12, 3), np.uint8)
    path = npz(tmp_path, x_train=pixels, x_test=pixels[:2])
    loaded = data.load(path, size=16, channels=1)
    grey = images.convert_channels(pixels, 1)
    expected = np.stack([images.fit_square(image, 16) for image in grey])
    np.testing.assert_array_equal(loaded.train, expected)
    np.testing.assert_array_equal(loaded.test, expected[:2])
    cropped = data.load(path, size=9)
    np.testing.assert_array_equal(cropped.train, pixels[:, :, 1:10])


def test_alpha_goes_onto_white_unasked(tmp_path):
    loaded = data.load(npz(tmp_path, x=np.zeros((4, 8, 8, 4), np.uint8)))
    assert loaded.train.shape == (3, 8, 8, 3) and (loaded.train == 255).all()


def test_images_that_do_not_fit_are_refused(tmp_path):
    flat = npz(tmp_path, x=numbered(4, 8, 12))
    assert "8x12 but networks need squares" in refusal(data.load, flat)
    assert "must be 1 or 3" in refusal(data.load, flat, channels=2, size=8)
    assert "size is 4" in refusal(data.load, flat, size=4)
    sizes = npz(tmp_path, x_train=numbered(4, 8, 8), x_test=numbered(4, 9, 9))
    assert "training images are [8, 8, 1] but test images [9, 9, 1]" in refusal(
        data.load, sizes
    )
    assert data.load(sizes, size=8).test.shape == (4, 8, 8, 1)


def test_folder_of_classes(tmp_path):
    for name in ("ape", "bee"):
        (tmp_path / "zoo" / name).mkdir(parents=True)
        for index in range(10):
            grey = Image.new("L", (10 + index, 13), 100 if name == "ape" else 200)
            grey.save(tmp_path / "zoo" / name / f"{index}.png")
    loaded = data.load(tmp_path / "zoo")
    assert loaded.name == "zoo" and loaded.class_names == ("ape", "bee")
    assert loaded.train.shape == (18, 10, 10, 1)  # 5 times a power of two
    assert loaded.test.shape == (2, 10, 10, 1)
    assert loaded.test_labels.tolist() == [0, 1]
    assert numbers(loaded.train) == [100] * 9 + [200] * 9


def test_images_of_another_set_are_left_out_of_both_parts(tmp_path):
    path = npz(
        tmp_path,
        x_train=numbered(60),
        y_train=LABELS,
        x_test=numbered(9) + 90,
        y_test=np.zeros(9, np.int32),
    )
    other = npz(tmp_path, "other", x_train=numbered(9) + 3, x_test=numbered(1) + 95)
    loaded = data.load(path, without=other, limit=30)
    whole = data.load(path, without=other)
    left = [i for i in range(60) if not 3 <= i < 12]
    assert loaded.name == "set.npz-without-other.npz"
    assert numbers(whole.train) == left and len(loaded.train) == 30
    assert numbers(whole.test) == [90, 91, 92, 93, 94, 96, 97, 98]
    np.testing.assert_array_equal(whole.train_labels, LABELS[left])
    strange = npz(
        tmp_path, "strange", x_train=numbered(3) + 70, x_test=numbered(1) + 99
    )
    message = refusal(data.load, path, without=strange)
    assert "no image of strange.npz is in set.npz" in message


def test_range_conversion_is_exact_and_inverts():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    floats = data.to_float(every)
    assert floats.dtype == np.float32
    assert floats.min() == -1 and floats.max() == 1
    exact = every.astype(np.float64) / 127.5 - 1
    np.testing.assert_allclose(floats, exact, rtol=0, atol=6e-8)
    np.testing.assert_array_equal(data.to_uint8(floats), every)
    assert data.to_uint8(np.array([-7.0, -1.0, 0.0, 1.0, 9.0])).tolist() == [
        0,
        0,
        128,
        255,
        255,
    ]


def test_range_conversion_refuses_what_it_cannot_convert():
    assert "takes uint8, not float32" in refusal(data.to_float, np.zeros(3, "float32"))
    assert "NaN" in refusal(data.to_uint8, np.array([0, np.nan]))
    assert "infinite" in refusal(data.to_uint8, np.array([0, np.inf]))


def taken(dataset, count):
    return [batch.numpy() for batch in dataset.take(count)]


def indices(batches_):
    return data.to_uint8(np.concatenate([b[:, 0, 0, 0] for b in batches_])).tolist()


@pytest.mark.parametrize("batch_size", [1, 4, 5, 10, 23])
def test_every_epoch_visits_each_image_once_and_in_another_order(batch_size):
    stream = data.batches(numbered(10), batch_size, seed=2)
    seen = indices(taken(stream, -(-60 // batch_size)))[:60]
    epochs = [tuple(seen[k : k + 10]) for k in range(0, 60, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(epochs)) == 6


def test_batches_have_static_shapes_and_the_range_of_the_networks():
    pixels = np.arange(256, dtype=np.uint8).reshape(2, 8, 16, 1)
    stream = data.batches(pixels, 3)
    assert stream.element_spec == tf.TensorSpec((3, 8, 16, 1), tf.float32)
    (batch,) = taken(stream, 1)
    floats = data.to_float(pixels)
    for image in batch:
        assert any((image == original).all() for original in floats)


def test_batches_carry_the_labels_of_their_images():
    labels = np.arange(60, dtype=np.int32) * 3
    stream = data.batches(numbered(60), 7, labels=labels)
    assert stream.element_spec[1] == tf.TensorSpec((7,), tf.int32)
    for pixels, classes in stream.take(12):
        assert (np.array(indices([pixels.numpy()])) * 3).tolist() == list(classes)


@pytest.mark.parametrize("start", [1, 3, 17, 1000])
def test_stream_resumed_at_a_batch_equals_the_uninterrupted_one(start):
    pixels = np.random.default_rng(0).integers(0, 256, (13, 8, 9, 3), np.uint8)
    whole = data.batches(pixels, 4, seed=9).skip(start)
    resumed = data.batches(pixels, 4, seed=9, start=start)
    for one, other in zip(taken(whole, 8), taken(resumed, 8), strict=True):
        np.testing.assert_array_equal(one, other)


def test_orders_depend_on_the_seed_and_epochs_are_unrelated():
    pixels = numbered(200)
    first, other = (
        indices(taken(data.batches(pixels, 200, seed=s), 2)) for s in (0, 1)
    )
    orders = np.array([first[:200], first[200:], other[:200], np.arange(200)])
    # Four standard errors of the correlation of unrelated orders.
    off_diagonal = np.corrcoef(orders) - np.eye(4)
    assert np.abs(off_diagonal).max() < 4 / np.sqrt(200)


def test_batches_refuse_what_they_cannot_feed():
    pixels = numbered(4)
    floats = pixels.astype(np.float32)
    assert "takes uint8 [N, H, W, C]" in refusal(data.batches, floats, 2)
    assert "takes uint8 [N, H, W, C]" in refusal(data.batches, pixels[0], 2)
    assert "takes uint8 [N, H, W, C]" in refusal(data.batches, pixels[:0], 2)
    assert "batch size 0" in refusal(data.batches, pixels, 0)
    assert "start -1" in refusal(data.batches, pixels, 2, start=-1)
    assert "3 labels for 4 images" in refusal(
        data.batches, pixels, 2, labels=np.zeros(3, np.int32)
    )
