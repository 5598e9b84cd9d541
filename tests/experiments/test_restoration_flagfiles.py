"""The flagfiles that train restorers, and the commands they stand for, run briefly."""

import ast
import json
import pathlib

import keras
import numpy as np
import pytest
from PIL import Image

from experiments.support import restoration, restoration_data
from gan_transfer import callbacks
from restoration import networks, pretrained

ROOT = pathlib.Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))
FOLDERS = ("bsds500_test", "bsds500_train", "train400_gray")
SHORT = ("--steps=2", "--evaluations=1", "--batch_size=4", "--noverbose")
TINY = {"pretrain_restorer": (*SHORT, "--validation=2")}
PHASES = ("--patch=16", "--evaluations=2", "--late_share=0.5")
TRAINED = {"flags.txt", "summary.json", "restorer.keras", "samples.png", "psnr.png"}
TRAINED |= {"metrics.csv", "state.weights.h5", "best.weights.h5", "tensorboard"}
SCORES = ("val_psnr", "val_psnr_25", "val_rmse")


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Few masks and drawn pictures; no policy of a command is left to other tests."""
    monkeypatch.setattr(restoration_data, "BANK", (6, restoration_data.BANK[1]))
    monkeypatch.setattr(restoration_data, "_SYNTHETIC_COUNT", 4)
    yield
    keras.config.set_dtype_policy("float32")


def write_photographs(folder, count, height, width):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(folder.name))
    for number in range(count):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name in FOLDERS:
        write_photographs(folder / "restoration" / name, 2, 140, 150)
    write_photographs(folder / "many", 4, 40, 52)
    write_photographs(folder / "large", 2, 210, 200)
    write_photographs(folder / "few", 1, 140, 150)
    write_photographs(folder / "small", 1, 7, 7)
    return folder


def flags_of(flagfile):
    lines = flagfile.read_text().splitlines()
    return [line[2:].partition("=")[::2] for line in lines if line.startswith("--")]


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def check_trained(folder, channels, model="restorer"):
    assert {path.name for path in folder.iterdir()} == TRAINED
    for name in ("samples.png", "psnr.png"):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 60, name
            assert picture.convert("L").getextrema() != (255, 255), name
    described = pretrained.describe(folder)
    assert (described["model"], described["channels"]) == (model, channels)
    assert described["scores"] == summary(folder)["scores"]
    network = pretrained.load(folder)
    assert network.name == model
    # Kept in float32, whatever the policy of the training.
    computing = [layer for layer in network.layers if layer.weights]
    assert {layer.compute_dtype for layer in computing} == {"float32"}
    image = np.random.default_rng(0).random((1, 9, 14, channels), np.float32)
    restored = network([image, 0.1 + 0 * image[..., :1], 0 * image])
    assert restored.shape == image.shape and np.isfinite(restored).all()


def check_pretrain_restorer(folder, flagfile):
    given = dict(flags_of(flagfile))
    model = given.get("model", "restorer")
    check_trained(folder, int(given["channels"]), model)
    (row,) = callbacks.read_history(folder)
    assert (row["step"], row["images"]) == (2, 8)
    numbers = summary(folder)
    assert numbers["scores"] == {name: row[name] for name in SCORES}
    assert numbers["best_update"] == numbers["updates"] == 2
    names = [v for name, v in flags_of(flagfile) if name == "photographs"]
    assert numbers["dataset"] == "+".join(pathlib.Path(name).name for name in names)
    count = 4 if names == ["synthetic"] else 2 * len(names)
    assert numbers["training_pictures"] == count - 2


@pytest.mark.parametrize(
    "flagfile",
    [path for path in FLAGFILES if path.parent.name in TINY],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_flagfile_runs_for_two_steps_and_leaves_its_artefacts(
    command, data_dir, flagfile, tmp_path
):
    script = flagfile.parent.name
    done = command(
        script,
        f"--flagfile={flagfile}",
        *TINY[script],
        f"--data_dir={data_dir}",
        f"--out_dir={tmp_path}",
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout
    globals()[f"check_{script}"](tmp_path, flagfile)


def test_every_flagfile_is_run_by_exactly_one_test():
    scripts = []
    for path in pathlib.Path(__file__).parent.glob("test_*flagfiles.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TINY":
                scripts += [key.value for key in node.value.keys]
    assert sorted(scripts) == sorted({path.parent.name for path in FLAGFILES})


def train(command, data_dir, out, photographs, *arguments):
    return command(
        "pretrain_restorer",
        f"--photographs={photographs}",
        f"--data_dir={data_dir}",
        f"--out_dir={out}",
        *SHORT,
        "--validation=1",
        *arguments,
    )


@pytest.mark.parametrize(("given", "beta_1"), [((), 0.9), (("--beta_1=0.5",), 0.5)])
def test_beta_1_is_stored_and_reaches_the_optimizer(
    command, data_dir, tmp_path, monkeypatch, given, beta_1
):
    compiled, compile_for = [], restoration.compile_for

    def compile_and_keep(restorer, *arguments):
        compile_for(restorer, *arguments)
        compiled.append(restorer.network_optimizer)

    monkeypatch.setattr(restoration, "compile_for", compile_and_keep)
    flags = ["--patch=16", "--late_share=0", "--damage=noise", *given]
    done = train(command, data_dir, tmp_path, "many", *flags)
    assert done.returncode == 0, done.stderr
    assert [optimizer.beta_1 for optimizer in compiled] == [beta_1]
    assert f"--beta_1={beta_1}" in (tmp_path / "flags.txt").read_text().splitlines()


def test_updates_are_made_in_both_phases(command, data_dir, tmp_path):
    flags = [*PHASES, "--damage=noise", "--loss=l2"]
    done = train(command, data_dir, tmp_path, "many", *flags)
    assert done.returncode == 0, done.stderr
    check_trained(tmp_path, 1)
    rows = callbacks.read_history(tmp_path)
    assert [(row["step"], row["images"]) for row in rows] == [(1, 4), (2, 5)]
    best = min(rows, key=lambda row: row["val_rmse"])
    assert summary(tmp_path)["best_update"] == best["step"]
    assert summary(tmp_path)["training_pictures"] == 3


def test_a_finished_run_is_left_as_it_is_and_other_flags_are_refused(
    command, data_dir, tmp_path
):
    flags = [*PHASES, "--model=document_a", "--channels=3", "--loss=l1"]
    done = train(command, data_dir, tmp_path, "many", *flags)
    assert done.returncode == 0, done.stderr
    check_trained(tmp_path, 3, "document_a")
    kept = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    again = train(command, data_dir, tmp_path, "many", *flags)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    for name in ("state.weights.h5", "best.weights.h5", "metrics.csv", "samples.png"):
        assert (tmp_path / name).read_bytes() == kept[name], name
    assert (
        summary(tmp_path)["resumed"] and not json.loads(kept["summary.json"])["resumed"]
    )
    refused = train(command, data_dir, tmp_path, "many", *flags, "--late_share=0")
    assert refused.returncode == 2
    assert "(--late_share is 0.5 there and 0.0 now)" in refused.stderr


def test_patches_may_be_larger_than_the_usual_masks(command, data_dir, tmp_path):
    flags = [*PHASES, "--patch=100", "--model=document_a", "--batch_size=1"]
    done = train(command, data_dir, tmp_path, "large", *flags)
    assert done.returncode == 0, done.stderr
    check_trained(tmp_path, 1, "document_a")


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        # The patches of the last updates, before anything is trained.
        ("--photographs={d}/many --patch=24", ["of 48 pixels", "at most 40"]),
        ("--photographs={d}/many --patch=41 --late_share=0", ["of 41 pixels"]),
        # Also where the only small picture might be held out.
        ("--photographs={d}/large --photographs={d}/small", ["a side of 7;"]),
        ("--photographs={d}/few", ["1 validation pictures", "hold out fewer"]),
        ("--photographs={d}/none", ["/none' not found", "--data_dir"]),
        ("--photographs={d}/few --photographs=synthetic", ["cannot be mixed"]),
    ],
)
def test_photographs_that_cannot_serve_are_refused(refused, data_dir, flags, parts):
    flags = f"{flags.format(d=data_dir)} --validation=1 --noverbose"
    refused(f"pretrain_restorer {flags} --steps=10 --evaluations=5", *parts)


def test_a_restorer_of_another_size_is_trained(command, data_dir, tmp_path):
    size = ("--widths=4,6", "--blocks_per_scale=1", "--patch=16")
    done = train(command, data_dir, tmp_path, f"{data_dir}/many", *size)
    assert done.returncode == 0, done.stderr
    network = pretrained.load(tmp_path)
    expected = networks.restorer(1, widths=(4, 6), blocks=1)
    assert network.count_params() == expected.count_params()
    assert [w.path for w in network.weights] == [w.path for w in expected.weights]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--widths=4,x", "--widths=4,x: should be numbers from 1 to 1024"),
        ("--widths=0", "--widths=0: should be numbers from 1 to 1024"),
        ("--model=document_a --blocks_per_scale=3", "--blocks_per_scale has no effect"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(command, tmp_path, words, said):
    done = command("pretrain_restorer", *words.split(), f"--out_dir={tmp_path}/run")
    assert done.returncode == 1
    assert said in done.stderr
    assert not (tmp_path / "run").exists()
