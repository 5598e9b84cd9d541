"""What a person can get wrong at the command line: one line back, nothing written."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from experiments import finetune, finetune_restorer
from experiments.support import compiling, generation
from gan_transfer import (
    adversarial,
    augmentation,
    callbacks,
    gan_settings,
    losses,
    recipes,
    schedule,
)
from gan_transfer.networks import presets

# --- flags: refused by absl, before TensorFlow is imported, status 1 -----------------


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("pretrain --stpes=5", ["Unknown command line flag 'stpes'", "steps"]),
        ("pretrain --steps=-1", ["--steps=-1", "positive"]),
        ("pretrain --steps=0", ["--steps=0", "positive"]),
        ("pretrain --steps=many", ["--steps=many", "invalid"]),
        ("pretrain --loss=wgan", ["--loss=wgan", "wasserstein"]),
        ("pretrain --training=two_stage --augment=none", ["--training=pruned"]),
        ("pretrain --model=dcgna", ["--model=dcgna", "dcgan"]),
        ("finetune --recipe=magic", ["--recipe=magic", "freeze_discriminator"]),
        ("pretrain --channels=2", ["--channels=2", "1 (grey) or 3 (RGB)"]),
        ("pretrain --size=300", ["--size=300", "[16, 256]"]),
        ("pretrain --seed=-1", ["--seed=-1"]),
        ("pretrain --seed=2147483648", ["--seed=2147483648", "2147483647"]),
        ("pretrain --learning_rate=0", ["--learning_rate=0"]),
        ("pretrain --beta_1=1.5", ["--beta_1=1.5"]),
        ("pretrain --discriminator_steps=8", ["--discriminator_steps=8", "[1, 7]"]),
        ("pretrain --fallback_dataset=mnist", ["fallback_dataset=mnist", "glyphs"]),
        ("sample --count=0", ["--count=0", "[1, 1024]"]),
        ("transfer_study --seeds=0", ["--seeds=0"]),
        ("export --format=pb", ["--format=pb", "saved_model"]),
        ("pretrain --flagfile=missing.flags", ["missing.flags"]),
        ("pretrain steps=5", ["'steps=5' is not a flag: write --name=value"]),
        ("sample --steps=5", ["--steps has no effect on", "leave it out"]),
        ("sample --width=8", ["--width has no effect on", "leave it out"]),
        ("translate --limit=5", ["--limit has no effect on", "leave it out"]),
        ("reconstruct --limit=5", ["--limit has no effect on", "leave it out"]),
        ("reconstruct --seed=5", ["--seed has no effect on", "leave it out"]),
        ("evaluate --loss=hinge", ["--loss has no effect on", "leave it out"]),
    ],
)
def test_wrong_flags_end_with_status_1(
    command, contents, tmp_path, monkeypatch, line, parts
):
    monkeypatch.chdir(tmp_path)
    done = command(*line.split())
    assert (done.returncode, done.stdout) == (1, "")
    for part in parts:
        assert part in done.stderr
    assert contents(tmp_path) == {}


def test_models_losses_and_recipes_that_flags_list_are_those_there_are():
    assert list(generation.MODELS) == list(presets.NAMES)
    assert set(generation.LOSSES) == set(losses.FAMILIES)
    uncentred = {n for n, loss in losses.FAMILIES.items() if loss.threshold is None}
    assert set(compiling.UNCENTRED) == uncentred
    assert set(compiling.TRANSFORMS) == set(augmentation.TRANSFORMS)
    assert set(finetune.RECIPES) == {"auto", "scratch", *recipes.RECIPES}
    known = recipes.RESTORATION_RECIPES
    assert set(finetune_restorer.RECIPES) == set(known)


# --- data, networks and folders: status 2 -------------------------------------------


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("--dataset={m}/no.npz", ["{m}/no.npz: no such array file"]),
        ("--dataset=mnits", ["'mnits' not found", "mnist, fashion_mnist"]),
        ("--dataset={m}/notes.txt", ["notes.txt: not a data set; give a folder"]),
        ("--dataset={m}/broken.npz", ["broken.npz: broken", "save it again"]),
        ("--dataset={m}/numbers.npz", ["numbers.npz: has the keys layers; x_train"]),
        ("--dataset=mnist --data_dir={m}/no", ["data_dir names {m}/no"]),
        ("--dataset={m}/one.npz", ["cannot hold out 1 of 1 images", "use more"]),
        ("--dataset={m}/two.npz", ["only 1 image to train on", "add pictures"]),
        ("--dataset={m}/grey.npz --limit=1", ["only 1 image", "--limit"]),
        ("--dataset={m}/grey.npz --limit=55", ["limit is 55", "54 training images"]),
        ("--dataset={m}/odd.npz", ["image size 22", "choose for example 28"]),
        ("--dataset={m}/oblong.npz", ["images are 16x24", "give the size"]),
        ("--dataset={m}/grey.npz --size=17", ["image size 17", "(--size)"]),
        ("--dataset={m}/grey.npz --augment=mixup", ["mixup", "translation"]),
        ("--dataset={m}/grey.npz --conditional", ["grey.npz has no labels; leave it"]),
        (
            "--dataset={m}/grey.npz --model=document_a_mnist --width=8",
            ["--width has no effect on --model=document_a_mnist", "--model=dcgan"],
        ),
        ("--dataset={m}/grey.npz --backbone=no.npz", ["no.npz: no such file; check"]),
        (
            "--dataset={m}/grey.npz --backbone={m}/numbers.npz",
            ["numbers.npz: not the folded weights of MobileNetV2"],
        ),
        (
            "--dataset={m}/grey.npz --strategy=multi_worker",
            ["--strategy=multi_worker needs $TF_CONFIG"],
        ),
    ],
)
def test_pretrain_refuses_data_and_networks_that_do_not_fit(
    refused, monkeypatch, line, parts
):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("GAN_TRANSFER_DATA", raising=False)
    refused(f"pretrain {line} {{short}}", *parts)


def test_a_folder_with_one_broken_picture_is_refused_by_its_name(refused, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    for number in range(3):
        Image.fromarray(noise).save(folder / f"{number}.png")
    (folder / "1.png").write_bytes((folder / "0.png").read_bytes()[:60])
    line = f"pretrain --dataset={folder} {{short}}"
    refused(line, "1 of 3 pictures cannot be used", "1.png")


@pytest.mark.parametrize("out", ["file", "file/below"])
@pytest.mark.parametrize(
    "line",
    [
        "pretrain --dataset={m}/grey.npz {short}",
        "sample --source={m}/tiny.gan.npz",
        "export --source={m}/tiny.gan.npz --format=weights",
        "evaluate --source={m}/tiny.gan.npz --dataset={m}/grey.npz",
    ],
)
def test_a_file_in_the_place_of_the_folder_is_refused(refused, tmp_path, line, out):
    (tmp_path / "file").write_text("mine")
    parts = [f"{tmp_path / out}: a file stands where", "give another --out_dir"]
    refused(line, *parts, out=out)


def test_folders_with_other_things_are_left_alone(refused, damaged, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    line = "pretrain --dataset={m}/grey.npz {short} --overwrite"
    refused(line, "holds no run", "--out_dir")
    line = "pretrain --dataset={m}/grey.npz {short} --seed=7"
    refused(line, "--seed is 0 there and 7 now", "--overwrite", out="damaged")


def test_overwrite_costs_no_run_when_the_new_one_cannot_start(refused, damaged):
    line = "pretrain --dataset=no.npz {short} --overwrite"
    refused(line, "no.npz: no such array file", out="damaged")


# --- sources of a transfer -----------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("--source=no_such", ["no pretrained model 'no_such'", "run directory"]),
        ("--source={m}/notes.txt", ["notes.txt"]),
        ("--source={m}/cut.gan.npz", ["cut.gan.npz: not a readable .npz archive"]),
        ("--source={m}/grey.npz", ["grey.npz: not an archive of models"]),
        ("--source={m}", ["{m} is no finished run", "run its command"]),
        ("--source={m}/tiny.gan.npz --size=50", ["image size 50", "choose"]),
        ("--source={m}/tiny.gan.npz --depth=9", ["cannot freeze 9", "--depth"]),
        ("--source={m}/tiny.gan.npz --conditional", ["grey.npz has no labels"]),
        (
            "--source={m}/tiny.gan.npz --recipe=gradual_thaw",
            ["2 phases", "raise --evaluations"],
        ),
        (
            "--source={m}/classes.gan.npz --recipe=latent_head --conditional "
            "--dataset={m}/labelled.npz",
            ["latent_head", "without classes"],
        ),
        (
            "--source={m}/e.gan.npz --size=64",
            ["document_e_mnist is for 28x28x1 images", "bring the images"],
        ),
    ],
)
def test_finetune_refuses_sources_that_do_not_serve(refused, line, parts):
    short = "--steps=2 --evaluations=1 --recipe=freeze_discriminator"
    refused(f"finetune --dataset={{m}}/grey.npz {short} {line}", *parts)


def break_file(folder, name, how):
    path = folder / name
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_bytes(how)


@pytest.mark.parametrize(
    ("name", "how", "parts"),
    [
        ("summary.json", "missing", ["is no finished run", "run its command again"]),
        ("summary.json", "cut", ["is no finished run", "run its command again"]),
        ("summary.json", b"[]", ["is no finished run", "run its command again"]),
        ("summary.json", b'{"description": {}}', ["is no finished run", "model"]),
        ("generator.keras", "missing", ["is no finished generation run"]),
        ("generator.keras", "cut", ["generator.keras cannot be loaded"]),
        ("generator.keras", b"", ["generator.keras cannot be loaded"]),
        ("discriminator.keras", b"words", ["discriminator.keras cannot be loaded"]),
    ],
)
def test_damaged_and_killed_runs_are_no_source(refused, damaged, name, how, parts):
    break_file(damaged, name, how)
    line = f"finetune --dataset={{m}}/grey.npz --source={damaged} --steps=2"
    refused(line, str(damaged), *parts)


# --- resuming ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", b"", b"words", "other"])
def test_a_state_that_cannot_be_continued_is_refused_and_kept(refused, damaged, how):
    if how == "other":
        other = adversarial.GAN(*presets.build("dcgan", 16, 1, width=4, latent_dim=6))
        gan_settings.Settings().compile(other, schedule.Phase("p", 1.0, lambda: None))
        other.updates.assign(2)
        other.save_weights(damaged / callbacks.STATE)
    else:
        break_file(damaged, callbacks.STATE, how)
    line = "pretrain --dataset={m}/grey.npz {short}"
    refused(line, f"{damaged / callbacks.STATE} ", "--overwrite", out="damaged")


def test_a_damaged_history_is_refused(refused, damaged):
    (damaged / "metrics.csv").write_text("step,d_loss\n2,many\n")
    line = "pretrain --dataset={m}/grey.npz {short}"
    refused(line, "metrics.csv", "--overwrite", out="damaged")


# --- pictures, exports, studies ------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("sample --source={m}/tiny.gan.npz --label=1", ["leave the label out"]),
        ("sample --source={m}/classes.gan.npz --label=3", ["within 0..2"]),
        ("sample --source={m}/tiny.gan.npz --kind=pairs", ["needs --other"]),
        (
            "sample --source={m}/tiny.gan.npz --kind=pairs --other={m}/six.gan.npz",
            ["six.gan.npz has 6 latents", "pairs need equal latents"],
        ),
        (
            "sample --source={m}/tiny.gan.npz --kind=pairs --other=no_such",
            ["no pretrained model 'no_such'"],
        ),
        ("evaluate --source=no_such", ["no pretrained model 'no_such'"]),
        ("evaluate --source={m}/tiny.gan.npz --dataset=no.npz", ["no.npz: no such"]),
        (
            "transfer_study --counts=10,59",
            ["--counts=10,59: grey.npz has 60 images", "choose 1 to 58"],
        ),
        ("transfer_study --counts=ten", ["--counts=ten", "choose 1 to 58"]),
        ("transfer_study --counts=-5", ["--counts=-5", "choose 1 to 58"]),
        ("transfer_study --counts=", ["--counts=", "choose 1 to 58"]),
        ("transfer_study --methods=magic", ["no method magic; there are scratch,"]),
        ("transfer_study --methods=", ["no method given; there are scratch,"]),
        ("transfer_study --counts=9 --depth=5", ["cannot freeze 5", "--depth"]),
        (
            "train_classifier --data_dir={m}/sets",
            ["mnist: has no labels", "add y_train to mnist.npz"],
        ),
        ("benchmark_generation --baseline={m}", ["{m}: holds no metrics.csv"]),
        ("benchmark_generation --runs={m}", ["--runs needs --baseline"]),
    ],
)
def test_other_scripts_refuse_what_they_cannot_do(refused, line, parts):
    if line.startswith("transfer_study"):
        line += " --source={m}/tiny.gan.npz --dataset={m}/grey.npz"
    refused(line, *parts)


@pytest.mark.parametrize("missing", [["tf2onnx", "onnx"], ["onnx"]])
def test_export_names_the_packages_that_onnx_needs(refused, monkeypatch, missing):
    found = importlib.util.find_spec

    def find_spec(name, *rest):
        if name in ("tf2onnx", "onnx"):
            return None if name in missing else found("json")
        return found(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    line = "export --source={m}/tiny.gan.npz --format=onnx"
    refused(line, "--format=onnx", f"pip install {' '.join(missing)}")


def test_export_does_not_replace_a_folder_that_is_no_model(refused, tmp_path):
    (tmp_path / "out" / "generator").mkdir(parents=True)
    (tmp_path / "out" / "generator" / "diesel.txt").write_text("mine")
    refused("export --source={m}/tiny.gan.npz", "no SavedModel", "another --out_dir")


def test_benchmark_refuses_damaged_and_unmeasured_histories(refused, damaged):
    line = f"benchmark_generation --baseline={damaged}"
    refused(line, f"{damaged}: holds no metrics.csv with val_distance")
    (damaged / "metrics.csv").write_text("step,val_distance\n2,near\n")
    refused(line, "metrics.csv is damaged", "start anew with --overwrite")
