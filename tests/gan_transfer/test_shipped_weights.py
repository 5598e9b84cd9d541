import hashlib
import os
import pathlib
import re
import time

import numpy as np
import pytest

from gan_transfer import data, features, pretrained

SHAPES = {
    "emoji64": (64, 64, 3),
    "fashion_mnist": (28, 28, 1),
    "mnist": (28, 28, 1),
}


def test_what_is_shipped():
    assert pretrained.names() == sorted(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_loads_and_generates_the_same_every_time(name):
    start = time.process_time()
    gan = pretrained.load(name)
    images = gan.generate(64, seed=0)
    assert time.process_time() - start < 10  # seconds of all threads; 2 when alone
    assert images.shape == (64, *SHAPES[name]) and images.dtype == np.float32
    assert -1 <= images.min() and images.max() <= 1
    # Neither collapsed nor untrained: the images differ from each other.
    assert images.std(axis=0).mean() > 0.2
    np.testing.assert_array_equal(pretrained.load(name).generate(64, seed=0), images)


@pytest.mark.parametrize("name", SHAPES)
def test_size_and_description(name):
    assert (pretrained.WEIGHTS / f"{name}.gan.npz").stat().st_size <= 6e6
    about = pretrained.describe(name)
    size, _, channels = SHAPES[name]
    assert (about["size"], about["channels"], about["classes"]) == (size, channels, 0)


def test_every_file_is_the_one_that_its_readme_describes():
    text = (pretrained.WEIGHTS / "README.md").read_text()
    described = dict(re.findall(r"\| `(\S+\.npz)` .*`([0-9a-f]{64})` \|", text))
    files = pretrained.WEIGHTS.glob("*.npz")
    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    assert digests == described


@pytest.mark.parametrize(("name", "first"), [("mnist", 0), ("fashion_mnist", 10)])
def test_the_classifier_is_as_good_as_its_readme_says(name, first):
    folder = pathlib.Path(os.environ.get("GAN_TRANSFER_DATA", "nowhere"))
    if not (folder / f"{name}.npz").exists():
        pytest.skip(f"{name}.npz is not in $GAN_TRANSFER_DATA: nothing to measure on")
    images = data.load(name, data_dir=folder)
    rows = features.extract(features.classifier_probabilities(), images.test)
    guessed = rows[:, first : first + 10].argmax(axis=1)
    text = (pretrained.WEIGHTS / "README.md").read_text()
    (row,) = re.findall(r"test accuracy (\S+) % and (\S+) %", text)
    stated = dict(zip(("mnist", "fashion_mnist"), row, strict=True))
    accuracy = (guessed == images.test_labels).mean()
    assert accuracy == pytest.approx(float(stated[name]) / 100, abs=5e-4)


def test_digits_are_digits_to_the_classifier():
    images = pretrained.load("mnist").generate(256, seed=1)
    rows = features.extract(features.classifier_probabilities(), images)
    digits = rows[:, :10].sum(axis=1)  # classes 10 to 19 are clothes
    assert (digits > 0.9).mean() > 0.95
    assert len(np.unique(rows.argmax(axis=1))) == 10
