"""The flagfiles of CycleGAN, run for two steps, killed, resumed and used."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments.support import domains, translation
from gan_transfer import callbacks, cyclic, trained_translators

# Input pipelines are traced also where steps run eagerly.
pytestmark = pytest.mark.filterwarnings("ignore:Even though the .tf.config:UserWarning")
ROOT = pathlib.Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))
SHORT = ("--steps=2", "--evaluations=2", "--batch_size=4", "--width=4", "--blocks=1")
TINY = {
    "pretrain_cyclegan": (*SHORT, "--limit=40", "--noverbose"),
    "translate": (),
}
TRAINED = {"flags.txt", "summary.json", "metrics.csv", "state.weights.h5"}
TRAINED |= {f"{name}.keras" for name in cyclic.NETWORKS}
TRAINED |= {"samples.png", "samples/step_000001.png", "samples/step_000002.png"}


@pytest.fixture(scope="module", autouse=True)
def eager():
    """Two steps take less time than tracing one."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    formats = {"mnist": (28, 1), "celeba2k_64": (64, 3), "noto_emoji_64": (64, 3)}
    for number, (name, (side, channels)) in enumerate(formats.items()):
        rng = np.random.default_rng(number)
        arrays = {
            f"x_{part}": rng.integers(0, 256, (count, side, side, channels), np.uint8)
            for part, count in (("train", 60), ("test", 20))
        }
        np.savez(folder / f"{name}.npz", **arrays)
    return folder


@pytest.fixture(scope="module")
def trained(command, data_dir, tmp_path_factory):
    """A finished run of grey 28x28 images, never changed."""
    folder = tmp_path_factory.mktemp("trained")
    done = train(command, data_dir, folder, "--known_mapping=invert")
    assert done.returncode == 0, done.stderr
    return folder


def train(command, data_dir, out, *arguments):
    tiny = TINY["pretrain_cyclegan"]
    places = [f"--data_dir={data_dir}", f"--out_dir={out}"]
    return command("pretrain_cyclegan", *arguments, *tiny, *places)


def files(folder):
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return {p.as_posix() for p in found if p.parts[0] != "tensorboard"}


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def flags_of(flagfile):
    lines = flagfile.read_text().splitlines()
    return dict(line[2:].split("=") for line in lines if line.startswith("--"))


@pytest.mark.parametrize(
    "flagfile",
    [path for path in FLAGFILES if path.parent.name == "pretrain_cyclegan"],
    ids=lambda path: path.stem,
)
def test_flagfile_runs_for_two_steps_and_leaves_its_artefacts(
    command, data_dir, flagfile, tmp_path
):
    done = train(command, data_dir, tmp_path, f"--flagfile={flagfile}")
    assert done.returncode == 0, done.stderr
    assert files(tmp_path) == TRAINED
    given, found = flags_of(flagfile), summary(tmp_path)
    two_sets = "dataset_b" in given
    # Halves of 40 images, or 40 of one set and all of the other.
    assert found["training_images"] == ([40, 60] if two_sets else [20, 20])
    names = {key.partition("_")[2] for key in found["scores"]}
    target = given.get("dataset_b", "mnist")
    assert {"cycle_l1", f"pca_kernel_{target}_{20 if two_sets else 10}"} <= names
    ways = {key.split("_")[0] for key in found["scores"] if "truth_l1" in key}
    known = {"forward", "backward"} if "known_mapping" in given else {"forward"}
    assert ways == (set() if two_sets else known)
    rows = callbacks.read_history(tmp_path)
    assert [(row["step"], row["images"]) for row in rows] == [(1, 8), (2, 16)]
    with Image.open(tmp_path / "samples.png") as picture:
        assert min(picture.size) > 60
        assert picture.convert("L").getextrema() != (255, 255)
    gan = trained_translators.load(tmp_path)
    assert list(gan.image_shape) == found["image_shape"]


def test_any_backbone_judges(command, data_dir, tmp_path):
    inputs = keras.Input((28, 28, 1))
    outputs = keras.layers.Conv2D(5, 3, activation="relu")(inputs)
    keras.Model(inputs, outputs).save(tmp_path / "mine.keras")
    words = ("--known_mapping=invert", f"--backbone={tmp_path}/mine.keras")
    done = train(command, data_dir, tmp_path / "run", *words)
    assert done.returncode == 0, done.stderr
    found = {key for key in summary(tmp_path / "run")["scores"] if "backbone" in key}
    names = (
        "forward_kernel_backbone_mnist_invert_10",
        "backward_kernel_backbone_mnist_10",
    )
    assert found == {name + tail for name in names for tail in ("", "_untranslated")}


class Killed(BaseException):
    """Like SIGKILL: nothing in the packages may catch it."""


def test_a_killed_run_ends_like_the_uninterrupted_one(
    command, data_dir, monkeypatch, tmp_path, trained
):
    draw = translation.Session.draw

    def dying(session, path, about):
        if path.name == "step_000002.png":
            raise Killed
        draw(session, path, about)

    monkeypatch.setattr(translation.Session, "draw", dying)
    with pytest.raises(Killed):
        train(command, data_dir, tmp_path, "--known_mapping=invert")
    monkeypatch.undo()
    assert callbacks.saved_updates(tmp_path) == 1
    done = train(command, data_dir, tmp_path, "--known_mapping=invert")
    assert done.returncode == 0, done.stderr
    assert summary(tmp_path)["scores"] == summary(trained)["scores"]
    one, other = trained_translators.load(tmp_path), trained_translators.load(trained)
    for name in cyclic.NETWORKS:
        pairs = zip(
            getattr(one, name).weights, getattr(other, name).weights, strict=True
        )
        assert all(np.array_equal(a, b) for a, b in pairs), name
    refused = train(command, data_dir, tmp_path, "--known_mapping=outline")
    assert refused.returncode == 2 and "--known_mapping is invert" in refused.stderr


def test_numbers_are_what_the_summary_says(trained):
    scores = summary(trained)["scores"]
    generator = np.random.default_rng(0)
    generator.integers(0, 256, (60, 28, 28, 1), np.uint8)
    test = generator.integers(0, 256, (20, 28, 28, 1), np.uint8)
    from gan_transfer import data, subsets

    first, _, second, _ = subsets.hold_out(test, None, 10, 0)
    expected = np.abs(2 * np.float64(first) - 255).mean() / 255
    assert scores["forward_identity_l1"] == pytest.approx(expected)
    gan = trained_translators.load(trained)
    there = data.to_uint8(gan.translate(data.to_float(255 - second), "backward"))
    error = np.abs(np.float64(there) - second).mean() / 255
    assert scores["backward_truth_l1"] == pytest.approx(error, rel=1e-5)


def test_a_sheet_shows_the_domain_it_names():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    for name in ("mnist", "fashion_mnist", "celeba2k_64"):
        assert domains.brought_into(name, images) is images
    inverted = domains.brought_into("mnist_invert", images)
    np.testing.assert_array_equal(inverted, 255 - images)
    stained = domains.brought_into("mnist_stains", images)
    expected = domains._damaged(images, domains._stains)
    np.testing.assert_array_equal(stained, expected)
    assert (stained != images).any()


def test_outlines_and_damage():
    square = np.zeros((1, 6, 7, 1), np.uint8)
    square[0, 2:5, 2:5] = 9
    rim = np.zeros((6, 7), np.uint8)
    rim[1:6, 1:6] = 9
    rim[2:5, 2:5] = 0
    np.testing.assert_array_equal(domains._outline(square)[0, ..., 0], rim)
    image, rng = np.full((28, 28, 1), 0.5, np.float32), np.random.default_rng(0)
    noisy = domains._noise(image, rng)
    assert np.std(noisy) == pytest.approx(0.3, rel=0.05)
    share = np.mean(domains._stains(image, rng) != image)
    assert 0.04 < share < 0.26


@pytest.mark.parametrize("stem", ["mnist_negatives", "clean"])
def test_translate_flagfiles(command, data_dir, stem, tmp_path, trained):
    flagfile = ROOT / "experiments" / "flags" / "translate" / f"{stem}.flags"
    words = [f"--flagfile={flagfile}", f"--model={trained}", f"--data_dir={data_dir}"]
    words.append(f"--out_dir={tmp_path}")
    if stem == "clean":
        pixels = np.random.default_rng(0).integers(0, 256, (30, 21, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        words += [f"--input={tmp_path}/photo.png", f"--output={tmp_path}/new.png"]
    done = command("translate", *words)
    assert (done.returncode, done.stderr) == (0, "")
    if stem == "mnist_negatives":
        assert files(tmp_path) == {"forward.png"}
        return
    assert files(tmp_path) == {"photo.png", "new.png", "new_before_after.png"}
    with Image.open(tmp_path / "new.png") as new:
        found = np.asarray(new)
    # A grey translator gives grey, here in three channels.
    assert found.shape == pixels.shape and not np.ptp(found, axis=2).any()


def test_every_script_has_flagfiles():
    assert TINY.keys() <= {path.parent.name for path in FLAGFILES}


@pytest.mark.parametrize(
    ("words", "parts", "status"),
    [
        ("pretrain_cyclegan", ["one of --dataset_b, --known_mapping and"], 1),
        ("pretrain_cyclegan --damage_a=noise --known_mapping=invert", ["only one"], 1),
        ("pretrain_cyclegan --loss=wgan", ["--loss=wgan", "least_squares"], 1),
        ("pretrain_cyclegan --dataset_b=mnist", ["are both mnist"], 2),
        ("pretrain_cyclegan --damage_a=noise --limit=1", ["hold out 0 of 1"], 2),
        ("pretrain_cyclegan --damage_a=noise --size=30", ["30x30", "multiples"], 2),
        ("pretrain_cyclegan --damage_a=noise --backbone=no.keras", ["no.keras"], 2),
        ("translate", ["--model is missing"], 1),
        ("translate --model={d}", ["forward_generator.keras is missing"], 2),
        ("translate --model={d} --input={d}/no.png", ["--output is missing"], 1),
    ],
)
def test_what_cannot_work_is_refused(command, data_dir, words, parts, status, tmp_path):
    script, *given = words.format(d=data_dir).split()
    out = tmp_path / "out"
    done = command(script, *given, f"--data_dir={data_dir}", f"--out_dir={out}")
    assert done.returncode == status, done.stderr
    (line,) = done.stderr.splitlines()
    assert all(part in line for part in parts), line
    assert not out.exists()
