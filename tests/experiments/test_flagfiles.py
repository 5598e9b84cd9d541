import functools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from keras import datasets
from PIL import Image

from gan_transfer import adversarial, archive, callbacks, glyphs, pretrained
from gan_transfer.networks import presets

ROOT = pathlib.Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))
# Side and channels of every data set and source that a flagfile names.
COLOUR = "noto_emoji_64 celeba2k_64 target_babies_64 target_elderly_64 emoji64 "
COLOUR += "target_emoji_faces_64 runs/pretrain-faces runs/pretrain-emoji-without-faces"
FORMATS = {
    **dict.fromkeys(("mnist", "fashion_mnist"), (28, 1)),
    **dict.fromkeys(COLOUR.split(), (64, 3)),
    "bsds500_train": (256, 3),
}
SHORT = ("--steps=2", "--evaluations=1", "--batch_size=4", "--noverbose")
STUDIED = ("scratch", "scratch+augmentation", "FreezeD+augmentation")
TINY = {
    "benchmark_generation": ("--steps=2", "--repeats=1", "--batch_size=4"),
    "evaluate": ("--limit=40",),
    "export": (),
    "finetune": (*SHORT, "--limit=40"),
    "pretrain": (*SHORT, "--limit=40"),
    "sample": (),
    "train_classifier": ("--limit=200", "--epochs=1", "--noverbose"),
    "transfer_study": (
        *(*SHORT, "--counts=20", "--seeds=1"),
        f"--methods={','.join(STUDIED)}",
    ),
}
SCALABLE = ("dcgan", "sngan", "sagan", "attention", "prelu", "relu")
# They differ from the others in a loss or a size, which other tests hold.
RARE = "minimax_mnist lsgan_mnist huber_mnist wgan_mnist prelu_mnist sngan_mnist "
RARE += "relativistic_mnist relu_mnist document_e_mnist document_b_256"
TRIED = [
    pytest.param(path, marks=[pytest.mark.slow] * (path.stem in RARE.split()))
    for path in FLAGFILES
    if path.parent.name in TINY
]
RUN = {"flags.txt", "summary.json"}
MODELS = {"generator.keras", "discriminator.keras", "averaged_generator.keras"}
PRETRAINED = RUN | MODELS | {"metrics.csv", "state.weights.h5", "losses.png"}
PRETRAINED |= {"samples.png", "samples/step_000002.png"}
CELL = ("cell.json", "metrics.csv", "samples.png", "state.weights.h5")


def write_set(path, size, channels, train=200, test=20):
    generator = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", train), ("test", test)):
        shape = (count, size, size, channels)
        arrays[f"x_{part}"] = generator.integers(0, 256, shape, np.uint8)
        arrays[f"y_{part}"] = np.arange(count) % 10
    np.savez(path, **arrays)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name in (each for each in FORMATS if "/" not in each):
        # Equal draws: a set of fewer images is in those of more.
        count = 50 if name == "target_emoji_faces_64" else 200
        write_set(folder / f"{name}.npz", *FORMATS[name], count)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The path of an untrained model in the place of a shipped one."""

    @functools.cache
    def write(name):
        size, channels = FORMATS[name]
        networks = presets.build("dcgan", size, channels, width=4, latent_dim=8)
        path = tmp_path_factory.mktemp("source") / "model.gan.npz"
        description = {
            "model": "dcgan",
            "width": 4,
            "latent_dim": 8,
            "size": size,
            "channels": channels,
            "classes": 0,
            "dataset": name,
        }
        pretrained.save(adversarial.GAN(*networks), path, description)
        return path

    return write


@pytest.fixture
def tiny(command, data_dir, source, tmp_path):
    """Runs a flagfile for two steps and returns the run's folder and the process."""

    def run(flagfile):
        script, given = flagfile.parent.name, flags_of(flagfile)
        tiny = [*TINY[script], *["--width=4"] * (given.get("model") in SCALABLE)]
        arguments = [f"--flagfile={flagfile}", *tiny, f"--out_dir={tmp_path}"]
        if "dataset" in given or script == "train_classifier":
            arguments.append(f"--data_dir={data_dir}")
        if "source" in given:
            arguments.append(f"--source={source(given['source'])}")
        return command(script, *arguments)

    return run


def flags_of(flagfile):
    lines = flagfile.read_text().splitlines()
    pairs = [line[2:].partition("=") for line in lines if line.startswith("--")]
    return {name: value for name, _, value in pairs}


def files(folder):
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return {p.as_posix() for p in found if p.parts[0] != "tensorboard"}


def summary(folder):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads((folder / "summary.json").read_text(), parse_constant=refuse)


def check_pictures(folder):
    for path in [*folder.rglob("*.png"), *folder.rglob("*.gif")]:
        with Image.open(path) as picture:
            assert min(picture.size) > 60, path
            assert picture.convert("L").getextrema() != (255, 255), path


def check_scores(folder, dataset, classifier):
    scores = summary(folder)["scores"]
    assert summary(folder)["dataset"] == dataset
    assert scores["count_real"] == 20 and scores["count_generated"] == 1000
    kinds = {"pca_kernel", "precision_pca", "coverage_pca"}
    kinds |= {"kcd", "recall_classifier"} if classifier else set()
    assert {f"{kind}_{dataset}_1k" for kind in kinds} <= scores.keys()
    assert ("kcd" in str(scores)) == classifier


def check_trained(folder, flagfile):
    given = flags_of(flagfile)
    size, channels = FORMATS[given["dataset"]]
    (row,) = callbacks.read_history(folder)
    images = 8 * int(given.get("discriminator_steps", 1))
    assert (row["step"], row["images"]) == (2, images)
    parts = [given[key] for key in ("dataset", "without") if key in given]
    name = "-without-".join(parts)
    check_scores(folder, name, classifier=(size, channels) == (28, 1))
    described = pretrained.describe(folder)
    assert (described["size"], described["channels"]) == (size, channels)
    assert described["dataset"] == name
    gan = pretrained.load(folder)
    assert gan.generate(2).shape == (2, size, size, channels)
    assert np.abs(gan.generate(2)).max() <= 1


def check_pretrain(folder, flagfile):
    assert files(folder) == PRETRAINED
    check_trained(folder, flagfile)
    assert summary(folder)["training_images"] == 40
    model = flags_of(flagfile).get("model", "dcgan")
    assert summary(folder)["description"]["model"] == model


def check_finetune(folder, flagfile):
    given = flags_of(flagfile)
    assert files(folder) == PRETRAINED | {"pairs.png"}
    check_trained(folder, flagfile)
    assert summary(folder)["recipe"] == given["recipe"]
    assert summary(folder)["description"]["source"] == given["source"]


def check_evaluate(folder, flagfile):
    assert files(folder) == RUN | {"nearest.png"}
    check_scores(folder, flags_of(flagfile)["dataset"], classifier=True)
    assert "memorised_classifier_unseen" in summary(folder)["scores"]


def check_export(folder, flagfile):
    assert flags_of(flagfile)["format"] == "litert"
    assert files(folder) == {"generator.tflite"}
    assert (folder / "generator.tflite").read_bytes()[4:8] == b"TFL3"


def check_sample(folder, flagfile):
    pictures = {"grid": "grid.png", "gif": "walk.gif"}
    assert files(folder) == {pictures[flags_of(flagfile)["kind"]]}


def check_train_classifier(folder, flagfile):
    assert files(folder) == RUN | {"classifier_28.npz"}
    models, shown = archive.load(folder / "classifier_28.npz")
    assert models["classifier"].output_shape == (None, 20)
    accuracy = summary(folder)["accuracy"]
    assert summary(folder)["dataset"] == ["mnist", "fashion_mnist"]
    assert accuracy.keys() == shown.keys() == {"mnist", "fashion_mnist"}
    assert shown == {name: f"{value:.4f}" for name, value in accuracy.items()}


def check_transfer_study(folder, flagfile):
    cells = [f"cells/{method}-20-seed0" for method in STUDIED]
    expected = RUN | {"table.md", "distance_20.png"}
    assert files(folder) == expected | {f"{c}/{n}" for c in cells for n in CELL}
    table = (folder / "table.md").read_text().splitlines()
    rows = [line.split(" | ")[:2] for line in table[4:]]
    assert rows == [["| 20", method] for method in STUDIED]
    (verdict,) = summary(folder)["verdict"]
    assert verdict.startswith("20 images: ") and "FreezeD+augmentation" in verdict
    assert summary(folder)["dataset"] == flags_of(flagfile)["dataset"]


def check_benchmark_generation(folder, flagfile):
    assert files(folder) == RUN
    numbers = summary(folder)
    assert numbers["batch_size"] == 4
    steps_per_second = numbers["step_gflops"] / numbers["step_gflop"]
    assert numbers["fit_images_per_second"] == pytest.approx(4 * steps_per_second)
    share = numbers["step_gflops"] / numbers["peak_gflops"]
    assert numbers["of_peak"] == pytest.approx(share)


@pytest.mark.parametrize(
    "flagfile", TRIED, ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_flagfile_runs_for_two_steps_and_leaves_its_artefacts(flagfile, tiny, tmp_path):
    done = tiny(flagfile)
    assert done.returncode == 0, done.stderr
    silent = "benchmark_generation evaluate transfer_study".split()
    assert str(tmp_path) in done.stdout or flagfile.parent.name in silent
    check_pictures(tmp_path)
    check = getattr(sys.modules[__name__], f"check_{flagfile.parent.name}")
    check(tmp_path, flagfile)


def test_every_flagfile_is_run_by_its_make_target():
    # `make test` would tell this make that it is its child.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    for flagfile in FLAGFILES:
        script, name = flagfile.parent.name, flagfile.stem
        parts = [script] if name == "default" else [script, name]
        target = "-".join(parts).replace("_", "-")
        made = subprocess.run(
            ["make", "--dry-run", target, "ARGS=--steps=2", "VENV=there"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert made.returncode == 0, made.stderr
        assert made.stdout.splitlines()[-1] == (
            f"there/bin/python -m experiments.{script} "
            f"--flagfile={flagfile.relative_to(ROOT)} --steps=2"
        )


def test_a_finished_run_is_left_as_it_is_and_other_flags_are_refused(command, tmp_path):
    path, folder = tmp_path / "mnist.npz", tmp_path / "run"
    write_set(path, 16, 1, train=1000)
    flagfile = ROOT / "experiments" / "flags" / "pretrain" / "mnist.flags"
    arguments = [f"--flagfile={flagfile}", *SHORT, "--width=4", "--penalty=none"]
    arguments += [f"--data_dir={tmp_path}", f"--out_dir={folder}"]
    first = command("pretrain", *arguments)
    assert first.returncode == 0, first.stderr
    assert files(folder) == PRETRAINED | {"best.weights.h5", "distance.png"}
    kept = {name: (folder / name).read_bytes() for name in files(folder)}
    before = summary(folder)
    assert before["training_images"] == 900 and not before["resumed"]
    second = command("pretrain", *arguments)
    assert (second.returncode, second.stderr, second.stdout) == (0, "", first.stdout)
    for name in ("state.weights.h5", "best.weights.h5", "metrics.csv", "samples.png"):
        assert (folder / name).read_bytes() == kept[name], name
    assert summary(folder)["resumed"] and summary(folder)["scores"] == before["scores"]
    kept = {name: (folder / name).read_bytes() for name in files(folder)}
    refused = command("pretrain", *arguments, "--seed=1")
    assert refused.returncode == 2
    assert "(--seed is 0 there and 1 now); add --overwrite" in refused.stderr
    assert {name: (folder / name).read_bytes() for name in files(folder)} == kept


def test_fallback_is_loud_and_named_everywhere(command, monkeypatch, tmp_path):
    def no_network():
        raise Exception("URL fetch failure on\n https://example.org: unreachable")

    few = functools.partial(glyphs.load, samples_per_class=6)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GAN_TRANSFER_DATA", raising=False)
    monkeypatch.setattr(glyphs, "load", few)
    monkeypatch.setattr(datasets.mnist, "load_data", no_network)
    folder, flags = tmp_path / "run", ROOT / "experiments/flags/pretrain/mnist.flags"
    arguments = [f"--flagfile={flags}", *SHORT, "--width=4", f"--out_dir={folder}"]
    done = command("pretrain", *arguments)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("WARNING: mnist is neither in the data folder nor")
    assert line.endswith("Going on with GLYPHS INSTEAD.")
    assert done.stdout.startswith("dcgan on glyphs: 60 images 28x28x1")
    assert "mnist" not in done.stdout.replace(str(folder), "")
    assert summary(folder)["dataset"] == "glyphs"
    assert pretrained.describe(folder)["dataset"] == "glyphs"
    assert "pca_kernel_glyphs_1k" in summary(folder)["scores"]
    assert "--dataset=glyphs\n" in (folder / "flags.txt").read_text()
    # When the network is back, the half-done run must not go on with other images.
    write_set(tmp_path / "mnist.npz", 28, 1)
    refused = command("pretrain", *arguments, f"--data_dir={tmp_path}")
    assert refused.returncode == 2
    assert "(--dataset is glyphs there and mnist now)" in refused.stderr
