import shutil
from pathlib import Path

import numpy as np
import pytest
from keras import datasets
from PIL import Image

from gan_transfer import data, errors, glyphs

PIXELS = np.full((6, 8, 8), 9, np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    """No data folder, an empty current folder, a small embedded set, no network."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GAN_TRANSFER_DATA", raising=False)
    small = glyphs.load
    monkeypatch.setattr(
        glyphs, "load", lambda letters: small(letters, samples_per_class=10)
    )
    for name in ("mnist", "fashion_mnist", "cifar10"):
        monkeypatch.setattr(getattr(datasets, name), "load_data", no_network)


def no_network():
    raise Exception("URL fetch failure on https://example.org: None --\n no name")


def refusal(*arguments, **options):
    with pytest.raises(errors.InputError) as caught:
        data.load(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def put(folder, name, value):
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{name}.npz", x=np.full((6, 8, 8), value, np.uint8))
    return folder


@pytest.mark.parametrize("name", ["mnist", "my_pictures"])
def test_data_dir_comes_before_the_variable(tmp_path, monkeypatch, name):
    monkeypatch.setenv("GAN_TRANSFER_DATA", str(put(tmp_path / "variable", name, 1)))
    loaded = data.load(name)
    assert loaded.name == name and (loaded.train == 1).all()
    loaded = data.load(name, data_dir=put(tmp_path / "argument", name, 2))
    assert loaded.name == name and (loaded.train == 2).all()


@pytest.mark.parametrize("inside", ["", "photographs"])
def test_a_folder_of_pictures_is_found_in_the_data_folder(tmp_path, inside):
    for folder, value in ((tmp_path / "data" / inside / "mine", 1), (Path("mine"), 2)):
        folder.mkdir(parents=True)
        for number in range(4):
            picture = Image.new("L", (8, 8), value)
            picture.save(folder / f"{number}.png")
    for data_dir, value in ((tmp_path / "data", 2), (None, 2)):
        assert (data.load("mine", data_dir=data_dir).train == value).all()
    shutil.rmtree("mine")  # the one here comes first
    found = data.load("mine", data_dir=tmp_path / "data")
    assert found.name == "mine" and (found.train == 1).all()
    assert "'mine' not found" in refusal("mine")
    assert "'x/mine' not found" in refusal("x/mine", data_dir=tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "classes"), [("glyphs", glyphs.DIGITS), ("glyph_letters", glyphs.LETTERS)]
)
def test_embedded_sets_are_never_looked_up(tmp_path, name, classes):
    loaded = data.load(name, data_dir=put(tmp_path / "other", name, 1))
    assert loaded.name == name
    assert loaded.class_names == tuple(classes)
    assert loaded.train.shape == (10 * len(classes), 28, 28, 1)
    (x, y), (x_test, y_test) = glyphs.load(name == "glyph_letters")
    np.testing.assert_array_equal(loaded.train, x)
    np.testing.assert_array_equal(loaded.test, x_test)
    np.testing.assert_array_equal(loaded.train_labels, y)
    np.testing.assert_array_equal(loaded.test_labels, y_test)


def test_keras_is_asked_last(monkeypatch):
    colour = np.full((6, 32, 32, 3), 7, np.uint8)
    answer = (colour, LABELS[:, None]), (colour[:2], LABELS[:2, None])
    monkeypatch.setattr(datasets.cifar10, "load_data", lambda: answer)
    loaded = data.load("cifar10", fallback="glyphs")
    assert loaded.name == "cifar10" and loaded.class_names[1] == "automobile"
    assert len(loaded.class_names) == 10
    np.testing.assert_array_equal(loaded.train, colour)
    assert loaded.train_labels.tolist() == LABELS.tolist()
    assert loaded.test_labels.tolist() == [0, 1]


def test_without_a_network_one_line_says_how_to_mend_it():
    message = refusal("mnist")
    assert "URL fetch failure" in message
    assert "put mnist.npz into the folder" in message and "glyphs" in message


def test_fallback_is_loud_and_named(capfd):
    loaded = data.load("fashion_mnist", fallback="glyphs")
    assert loaded.name == "glyphs" and loaded.class_names == tuple(glyphs.DIGITS)
    error = capfd.readouterr().err
    assert "WARNING: fashion_mnist" in error
    assert "GLYPHS INSTEAD" in error


@pytest.mark.parametrize("source", ["mnits", "missing/folder", "no.npz", ""])
def test_fallback_does_not_hide_a_wrong_name(source):
    if source == "":
        assert "holds no pictures" in refusal(source, fallback="glyphs")
    else:
        assert source in refusal(source, fallback="glyphs")


def test_fallback_does_not_hide_a_broken_file(tmp_path):
    (tmp_path / "mnist.npz").write_bytes(b"broken")
    message = refusal("mnist", data_dir=tmp_path, fallback="glyphs")
    assert "mnist.npz" in message


def test_only_embedded_sets_are_fallbacks():
    assert "fallback 'cifar10' is unknown" in refusal("glyphs", fallback="cifar10")


def test_data_folders_that_are_none_are_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    message = refusal("mnist", data_dir=tmp_path / "file")
    assert message.startswith(f"data_dir names {tmp_path / 'file'}")
    monkeypatch.setenv("GAN_TRANSFER_DATA", str(tmp_path / "missing"))
    assert refusal("mnist").startswith("$GAN_TRANSFER_DATA names")


def test_files_of_another_kind_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    assert "notes.txt: not a data set" in refusal(tmp_path / "notes.txt")
