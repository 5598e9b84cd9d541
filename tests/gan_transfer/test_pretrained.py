"""Loading by name, file or run directory; files that are refused (document B 2.1)."""

import json
import zipfile

import keras
import numpy as np
import pytest

from gan_transfer import adversarial, archive, errors, pretrained
from gan_transfer.networks import fully_connected, presets

NETWORKS = ("generator", "discriminator", "averaged_generator")
ABOUT = dict.fromkeys(pretrained.DESCRIBED, 1) | {"scores": {"kernel": 0.25}}


@pytest.fixture(autouse=True)
def shipped(tmp_path, monkeypatch):
    """An empty folder in the place of the package's weights."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(pretrained, "WEIGHTS", folder)
    return folder


def make(classes=0):
    networks = presets.build("sngan", 16, 1, classes=classes, width=2, latent_dim=3)
    gan = adversarial.GAN(*networks)
    rng = np.random.default_rng(0)
    for network in NETWORKS:
        for weight in getattr(gan, network).weights:
            weight.assign(rng.uniform(0.1, 1.0, weight.shape))
    return gan


def weights(gan):
    return [w for name in NETWORKS for w in getattr(gan, name).get_weights()]


def write_run(gan, directory):
    directory.mkdir()
    for name in NETWORKS:
        getattr(gan, name).save(directory / f"{name}.keras")
    (directory / "summary.json").write_text(json.dumps({"description": ABOUT}))


@pytest.mark.parametrize("classes", [0, 3])
def test_a_shipped_model_comes_back_bit_for_bit(shipped, classes):
    gan = make(classes)
    pretrained.save(gan, shipped / "tiny.gan.npz", ABOUT)
    assert pretrained.names() == ["tiny"]
    assert pretrained.describe("tiny") == ABOUT
    for source in ("tiny", shipped / "tiny.gan.npz", str(shipped / "tiny.gan.npz")):
        loaded = pretrained.load(source)
        assert loaded.classes == classes
        for one, other in zip(weights(gan), weights(loaded), strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(loaded.generate(3, seed=1), gan.generate(3, seed=1))


@pytest.mark.parametrize(("units", "stored"), [(10, np.float32), (860, np.float16)])
def test_large_models_are_stored_with_half_the_digits(tmp_path, units, stored):
    generator = fully_connected.generator((4, 6, 1), latent_dim=5, units=(units, units))
    discriminator = fully_connected.discriminator((4, 6, 1), units=(units,))
    gan = adversarial.GAN(generator, discriminator)
    path = tmp_path / "model.gan.npz"
    pretrained.save(gan, path, ABOUT)
    with np.load(path) as arrays:
        kinds = {arrays[key].dtype for key in arrays.files if not key.startswith("__")}
    assert kinds == {np.dtype(stored)}
    for one, other in zip(weights(gan), weights(pretrained.load(path)), strict=True):
        assert other.dtype == np.float32
        np.testing.assert_array_equal(one.astype(stored).astype(np.float32), other)


def test_a_run_directory_comes_back_bit_for_bit(tmp_path):
    gan = make()
    write_run(gan, tmp_path / "run")
    loaded = pretrained.load(tmp_path / "run")
    for one, other in zip(weights(gan), weights(loaded), strict=True):
        np.testing.assert_array_equal(one, other)
    assert pretrained.describe(tmp_path / "run") == ABOUT
    np.testing.assert_array_equal(loaded.generate(3, seed=1), gan.generate(3, seed=1))


def refused(call, *parts):
    """One line that holds all parts."""
    with pytest.raises(errors.InputError) as refusal:
        call()
    message = str(refusal.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


@pytest.mark.parametrize("call", [pretrained.load, pretrained.describe])
def test_an_unknown_name_lists_the_known_ones(shipped, call):
    for name in ("second", "first"):
        (shipped / f"{name}.gan.npz").touch()
    refused(lambda: call("third"), "'third'", "first, second")


def test_an_unfinished_run_is_refused(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    refused(lambda: pretrained.load(run), run, "generator.keras is missing")
    refused(lambda: pretrained.describe(run), run, "no finished run")
    for broken in ("{", "[]", "{}"):
        (run / "summary.json").write_text(broken)
        refused(lambda: pretrained.describe(run), run, "no finished run")


def test_a_description_without_the_sizes_is_refused(tmp_path):
    path = tmp_path / "model.gan.npz"
    pretrained.save(make(), path, {**ABOUT, "later": 1})
    assert pretrained.describe(path)["later"] == 1
    lacking = {key: value for key, value in ABOUT.items() if key != "latent_dim"}
    pretrained.save(make(), path, lacking)
    refused(lambda: pretrained.describe(path), path, "latent_dim")


def test_archives_of_something_else_are_refused(tmp_path):
    path = tmp_path / "classifier.gan.npz"
    archive.save(path, {"classifier": make().discriminator})
    refused(lambda: pretrained.load(path), path, "classifier")
    refused(lambda: pretrained.describe(path), path, "no GAN")
    np.savez(path, x_train=np.zeros(3))
    for call in (pretrained.load, pretrained.describe, archive.load_metadata):
        refused(lambda call=call: call(path), path, "not an archive of models")
    path.write_bytes(b"PK nonsense")
    for call in (pretrained.load, pretrained.describe, archive.load_metadata):
        refused(lambda call=call: call(path), path, "not a readable .npz")


class Trap:
    """Unpickling one of these is code of the file's author being run."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


def test_arrays_of_objects_are_refused_unread(tmp_path):
    path = tmp_path / "trap.gan.npz"
    trap = np.empty(1, object)
    trap[0] = Trap()
    pretrained.save(make(), path, ABOUT)
    with np.load(path) as arrays:
        honest = dict(arrays)
    np.savez(path, **honest | {"generator/head_conv/bias": trap})
    refused(lambda: pretrained.load(path), path, "not a readable .npz")
    assert pretrained.describe(path) == ABOUT
    np.savez(path, **honest | {"__metadata__": trap})
    refused(lambda: pretrained.describe(path), path, "not a readable .npz")


def lambda_model():
    images = keras.Input((4, 6, 1))
    return keras.Model(images, keras.layers.Lambda(lambda x: x + 1)(images))


def test_code_inside_a_saved_model_is_refused(tmp_path):
    write_run(make(), tmp_path / "run")
    path = tmp_path / "run" / "discriminator.keras"
    lambda_model().save(path)
    refused(lambda: pretrained.load(tmp_path / "run"), path, "cannot be loaded")
    path = tmp_path / "code.gan.npz"
    archive.save(path, {"generator": lambda_model()})
    refused(lambda: pretrained.load(path), path, "cannot be rebuilt")


@pytest.mark.parametrize("damage", ["cut", "text", "member"])
def test_a_damaged_keras_file_is_refused(tmp_path, damage):
    write_run(make(), tmp_path / "run")
    path = tmp_path / "run" / "averaged_generator.keras"
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "text":
        path.write_text("hello")
    else:
        with zipfile.ZipFile(path) as file:
            config = file.read("config.json")
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("config.json", config)
            file.writestr("metadata.json", "{}")
    refused(lambda: pretrained.load(tmp_path / "run"), path, "cannot be loaded")
