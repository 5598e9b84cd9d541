"""Model files: exact round trips and strict refusals (document B 2.1)."""

import json
import os

import keras
import numpy as np
import pytest
from keras import layers

from gan_transfer import archive, errors


@keras.saving.register_keras_serializable(package="gan_transfer_tests")
class _Gated(layers.Layer):
    """A layer with an inner layer and a weight of its own."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.inner = layers.Dense(units, name="inner")

    def build(self, shape):
        self.inner.build(shape)
        self.gate = self.add_weight(shape=(self.units,), name="gate")

    def call(self, inputs):
        return self.inner(inputs) * self.gate

    def get_config(self):
        return super().get_config() | {"units": self.units}


def _network(name="generator"):
    inputs = keras.Input((4, 6, 1), name="images")
    outputs = layers.Conv2D(3, 3, name="block1_conv")(inputs)
    outputs = layers.BatchNormalization(name="block1_bn")(outputs)
    outputs = layers.Dropout(0.5, name="block1_dropout")(outputs)
    outputs = _Gated(2, name="head_gated")(outputs)
    model = keras.Model(inputs, outputs, name=name)
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    return model


def _rewritten(path, change):
    with np.load(path) as file:
        arrays = dict(file)
    change(arrays)
    np.savez(path, **arrays)
    return path


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "models.npz"
    models = {"generator": _network(), "average": _network("other")}
    archive.save(path, models, metadata={"seed": "7"})
    return path


def test_round_trip_is_exact(path):
    models, metadata = archive.load(path)
    assert metadata == {"seed": "7"}
    assert list(models) == ["generator", "average"]
    assert models["average"].name == "other"
    images = np.random.default_rng(1).normal(size=(2, 4, 6, 1)).astype(np.float32)
    expected = _network()(images, training=False)
    for model in models.values():
        np.testing.assert_array_equal(model(images, training=False), expected)


def test_keys_name_model_layer_and_weight(path):
    with np.load(path) as file:
        keys = {key for key in file.files if key.startswith("generator/")}
    assert {
        "generator/block1_conv/kernel",
        "generator/block1_bn/moving_variance",
        "generator/head_gated/gate",
        "generator/head_gated/inner/bias",
    } < keys
    assert len(keys) == 2 + 4 + 3


def test_half_precision_is_stored_and_cast_back(tmp_path, path):
    small = tmp_path / "small.npz"
    archive.save(small, {"generator": _network()}, dtype="float16")
    loaded = archive.load(small)[0]["generator"]
    for weight, original in zip(loaded.weights, _network().weights, strict=True):
        assert weight.dtype == "float32"
        np.testing.assert_array_equal(
            weight, original.numpy().astype(np.float16).astype(np.float32)
        )
    huge = _network()
    huge.get_layer("block1_conv").bias.assign([1.0, 1e6, 1.0])
    with pytest.raises(
        errors.InputError, match="block1_conv/bias has values too large"
    ):
        archive.save(small, {"generator": huge}, dtype="float16")


def test_equal_content_gives_equal_files(tmp_path):
    paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for path in paths:
        archive.save(path, {"generator": _network()})
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    before = path.read_bytes()

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="no space"):
        archive.save(path, {"generator": _network()})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["models.npz"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("generator/block1_bn/gamma"), "1 weights missing"),
        (lambda arrays: arrays.update({"generator/x": np.ones(1)}), "1 weights left"),
        (
            lambda arrays: arrays.update({"average/block1_bn/gamma": np.ones(4)}),
            r"average/block1_bn/gamma has shape \(4,\), expected \(3,\)",
        ),
        (lambda arrays: arrays.pop("__metadata__"), "not an archive of models"),
        (
            lambda arrays: arrays.update(
                {"__metadata__": np.array({"a": 1}, dtype=object)}
            ),
            "not a readable .npz",
        ),
    ],
)
def test_a_changed_file_is_refused(path, change, message):
    with pytest.raises(errors.InputError, match=message):
        archive.load(_rewritten(path, change))


def test_an_unknown_layer_is_refused(path):
    def rename(arrays):
        config = str(arrays["__config__/average"])
        arrays["__config__/average"] = np.array(config.replace("_Gated", "_Lost"))

    with pytest.raises(errors.InputError, match="'average' cannot be rebuilt"):
        archive.load(_rewritten(path, rename))


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(errors.InputError, match="no such file"):
        archive.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "array.npy", np.ones(3))
    for name in ("text.npz", "array.npy"):
        with pytest.raises(errors.InputError, match="not a readable .npz"):
            archive.load(tmp_path / name)


def test_names_that_are_no_keys_are_refused(tmp_path):
    for name in ("", "a/b", "__config__"):
        with pytest.raises(errors.InputError, match="cannot be stored"):
            archive.save(tmp_path / "models.npz", {name: _network()})
    assert os.listdir(tmp_path) == []


def test_the_configuration_is_plain_json(path):
    with np.load(path) as file:
        config = json.loads(str(file["__config__/generator"]))
    assert config["class_name"] == "Functional"
