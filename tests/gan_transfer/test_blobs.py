import hashlib
import os

import numpy as np
import pytest

from gan_transfer import blobs, errors


def test_the_name_of_a_file_is_the_hash_of_its_content(tmp_path):
    arrays = {"b/kernel": np.eye(3), "a": np.array("text"), "c": np.array([True])}
    address = blobs.save(tmp_path, arrays)
    (name,) = os.listdir(tmp_path)
    assert name == f"{address}.npz"
    assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == address
    loaded = blobs.load(tmp_path, address)
    assert loaded.keys() == arrays.keys()
    for key, array in arrays.items():
        assert loaded[key].dtype == array.dtype
        np.testing.assert_array_equal(loaded[key], array)


def test_equal_arrays_in_any_order_are_one_file(tmp_path):
    first = blobs.save(tmp_path, {"a": np.ones(2), "b": np.zeros(3)})
    assert blobs.save(tmp_path, {"b": np.zeros(3), "a": np.ones(2)}) == first
    other = blobs.save(tmp_path, {"b": np.zeros(3), "a": np.ones(2, np.float32)})
    assert other != first and len(os.listdir(tmp_path)) == 2


def test_objects_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(errors.InputError, match="'w' has the type object"):
        blobs.save(tmp_path, {"w": np.array([{}])})
    assert os.listdir(tmp_path) == []


def test_a_digest_tells_values_types_shapes_and_order():
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    changed = array.copy()
    changed[1, 2] = 7
    sets = ([array], [changed], [array.T], [array.astype(np.uint32)])
    sets += ([array.reshape(3, 2)], [array, changed], [changed, array], [array, array])
    assert len({blobs.digest(*each) for each in sets}) == len(sets)
    assert blobs.digest(array.T) == blobs.digest(np.ascontiguousarray(array.T))
