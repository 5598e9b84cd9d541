"""What a person asks of a GAN: my pictures, export, samples, scores, all GPUs."""

import json
import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments import sample
from experiments.support import generation
from gan_transfer import data, features, metrics, pretrained, sampling, subsets
from gan_transfer.networks import presets


def write_pictures(folder, count, side):
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (side, side), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_my_pictures_with_sub_folders_as_classes(command, material, tmp_path):
    for number, name in enumerate(("cats", "dogs")):
        write_pictures(tmp_path / "mine" / name, 6, 20 + 8 * number)
    done = command(
        *("finetune", f"--source={material}/tiny.gan.npz", "--conditional"),
        *(f"--dataset={tmp_path}/mine", f"--out_dir={tmp_path}/run", "--noverbose"),
        *("--steps=2", "--evaluations=1", "--batch_size=4"),
    )
    assert done.returncode == 0, done.stderr
    # Ten or fewer pictures, but class layers that no source has.
    found = summary(tmp_path / "run")
    assert found["recipe"] == "freeze_discriminator"
    assert found["training_images"] == 11
    assert found["description"]["class_names"] == ["cats", "dogs"]
    assert found["description"]["classes"] == 2
    assert "stem_classes" in done.stdout and " new " in done.stdout
    assert re.search(
        r"11 images, recipe .*, 2 updates, with augmentation, about \d+\.\d "
        "minutes",
        done.stdout,
    )
    assert (tmp_path / "run" / "samples.png").exists()
    assert pretrained.load(tmp_path / "run").generate(3, labels=1).shape == (
        3,
        16,
        16,
        1,
    )


@pytest.mark.parametrize(("side", "size"), [(100, 96), (72, 64), (28, 28), (300, 256)])
def test_the_size_of_a_folder_is_one_that_the_networks_take(tmp_path, side, size):
    write_pictures(tmp_path / "mine", 2, side)
    assert data.load(tmp_path / "mine").size == size


def test_evaluate_takes_the_images_that_the_run_trained_on(
    command, material, short, tmp_path
):
    run = tmp_path / "run"
    words = (f"--dataset={material}/grey.npz", "--limit=20", "--seed=3")
    done = command("pretrain", *words, *short, f"--out_dir={run}")
    assert done.returncode == 0, done.stderr
    words = (f"--source={run}", f"--dataset={material}/grey.npz")
    done = command("evaluate", *words, f"--out_dir={tmp_path}/scores")
    assert done.returncode == 0, done.stderr
    stored = (tmp_path / "scores" / "flags.txt").read_text()
    assert "--limit=20\n" in stored and "--seed=3\n" in stored
    assert summary(tmp_path / "scores")["training_images"] == 20
    done = command("evaluate", *words, "--limit=30", f"--out_dir={tmp_path}/other")
    assert summary(tmp_path / "other")["training_images"] == 30


def test_evaluate_leaves_out_what_the_run_held_out(
    command, short, tmp_path, monkeypatch
):
    draws, looked = np.random.default_rng(0), []
    train = draws.integers(0, 256, (1000, 16, 16), np.uint8)
    test = draws.integers(0, 256, (20, 16, 16), np.uint8)
    np.savez(tmp_path / "many.npz", x_train=train, x_test=test)
    words = (f"--dataset={tmp_path}/many.npz", f"--out_dir={tmp_path}/run")
    done = command("pretrain", *words, *short)
    assert done.returncode == 0, done.stderr
    whole = metrics.memorisation
    monkeypatch.setattr(
        metrics, "memorisation", lambda *rows: looked.append(rows) or whole(*rows)
    )
    words = (f"--source={tmp_path}/run", words[0], f"--out_dir={tmp_path}/scores")
    done = command("evaluate", *words)
    assert done.returncode == 0, done.stderr
    found = [summary(tmp_path / name) for name in ("run", "scores")]
    assert [each["training_images"] for each in found] == [900, 900]
    trained_on = subsets.hold_out(train[..., None], None, 100, seed=0)[0]
    extractor = features.PixelPCA(trained_on, 64)
    np.testing.assert_array_equal(looked[0][1], features.extract(extractor, trained_on))


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_exported_generators_make_the_same_images(command, material, tmp_path):
    source = material / "tiny.gan.npz"
    gan = pretrained.load(source)
    latents = sampling.sample_latents(4, gan.latent_dim, 0)
    wanted = gan.decode(latents)
    for kind in ("saved_model", "litert", "weights"):
        done = command(
            *("export", f"--source={source}"),
            *(f"--format={kind}", f"--out_dir={tmp_path / kind}"),
        )
        assert done.returncode == 0, done.stderr
    layer = keras.layers.TFSMLayer(
        tmp_path / "saved_model" / "generator", call_endpoint="serve"
    )
    np.testing.assert_allclose(layer(latents), wanted, atol=1e-5)
    lite = tf.lite.Interpreter(str(tmp_path / "litert" / "generator.tflite"))
    (taken,), (made,) = lite.get_input_details(), lite.get_output_details()
    lite.resize_tensor_input(taken["index"], latents.shape)
    lite.allocate_tensors()
    lite.set_tensor(taken["index"], np.asarray(latents))
    lite.invoke()
    np.testing.assert_allclose(lite.get_tensor(made["index"]), wanted, atol=1e-5)
    again = pretrained.load(tmp_path / "weights" / "model.gan.npz")
    np.testing.assert_array_equal(again.decode(latents), wanted)


def test_samples_of_every_kind(command, material, tmp_path):
    tiny, classes = (f"--source={material}/{n}.gan.npz" for n in ("tiny", "classes"))
    for words, name in (
        ((tiny, "--kind=grid", "--count=6"), "grid"),
        ((tiny, "--kind=interpolation", "--count=3"), "interpolation"),
        ((tiny, "--kind=pairs", f"--other={material}/tiny.gan.npz"), "pairs"),
        ((classes, "--label=1", "--count=6"), "grid"),
        ((classes, "--label=2", "--count=6"), "grid"),
    ):
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        done = command("sample", *words, f"--out_dir={out}")
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"wrote {out}/{name}.png\n"
    pairs = np.asarray(Image.open(tmp_path / "2" / "pairs.png").convert("L"))
    assert pairs.std() > 10
    grids = [(tmp_path / name / "grid.png").read_bytes() for name in "34"]
    assert grids[0] != grids[1]  # a class each


def test_every_row_of_a_walk_has_one_class():
    def draw(latents):
        """As `decode`: classes in turn; an image shows its class and its latent."""
        shown = [[number % 3, *latent] for number, latent in enumerate(latents)]
        return np.reshape(shown, (len(latents), 1, 1, 3))

    latents = np.random.default_rng(0).normal(size=(8, 2))
    walk = sample._walk(draw, latents, 4).reshape(4, 4, 3)
    np.testing.assert_array_equal(walk[..., 0], np.repeat([[0], [1], [2], [0]], 4, 1))
    np.testing.assert_array_equal(walk[:, 0, 1:], latents[:4])
    half = (latents[:4] + latents[4:]) / np.sqrt(2)
    np.testing.assert_allclose(walk[:, 2, 1:], half, rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sample --kind=grid --other=mnist", "--other has no effect on --kind=grid"),
        ("sample --kind=gif --count=3", "--count has no effect on --kind=gif"),
        (
            "pretrain --dataset={m}/grey.npz --penalty=none --penalty_every=4",
            "--penalty_every has no effect on --penalty=none",
        ),
        (
            "finetune --dataset={m}/grey.npz --recipe=scale_shift --depth=2",
            "--depth has no effect on --recipe=scale_shift",
        ),
        (
            "finetune --dataset={m}/grey.npz --recipe=fine_tune --batch_norm=frozen",
            "--batch_norm has no effect on --recipe=fine_tune",
        ),
        (
            "transfer_study --dataset={m}/grey.npz --methods=scratch --depth=2",
            "--depth is for the FreezeD methods",
        ),
    ],
)
def test_flags_without_effect_are_refused(command, material, tmp_path, words, message):
    script, *given = words.format(m=material).split()
    if script != "pretrain":
        given.append(f"--source={material}/tiny.gan.npz")
    done = command(script, *given, f"--out_dir={tmp_path}/out")
    assert done.returncode == 1 and message in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("--loss=wasserstein", ["needs a Lipschitz discriminator", "--clip=0.01"]),
        ("--augment=mixup", ["--augment=mixup", "diffaugment", "translation"]),
        ("--augment=cutout,", ["--augment=cutout,", "joined by commas"]),
        (
            "--loss=relativistic --augment=ada",
            ["--augment=ada needs a loss", "use --augment=diffaugment"],
        ),
    ],
)
@pytest.mark.parametrize("script", ["pretrain", "finetune"])
def test_flags_that_contradict_each_other_need_no_tensorflow(
    refused, monkeypatch, script, words, parts
):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    refused(f"{script} --dataset=no.npz {words}", *parts)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (
            "--dataset={m}/grey.npz --model=document_a_mnist --size=64",
            ["--size=64 does not fit --model=document_a_mnist, which is for 28"],
        ),
        (
            "--dataset={m}/grey.npz --model=tensorflow_tutorial --channels=3",
            ["--channels=3 does not fit --model=tensorflow_tutorial"],
        ),
        (
            "--dataset={m}/labelled.npz --model=document_e_mnist --conditional",
            ["without classes", "use --model=dcgan"],
        ),
    ],
)
def test_networks_of_one_format_refuse_another(refused, words, parts):
    refused(f"pretrain {words}", *parts)


def test_layer_sizes_that_are_fixed_need_no_tensorflow(refused, monkeypatch):
    fixed = [each for each in presets.NAMES if presets.image_format(each)[0]]
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for model in fixed:
        words = f"pretrain --dataset=no.npz --model={model} --latent_dim=9"
        refused(words, f"--latent_dim has no effect on --model={model}")


def test_a_recipe_that_fits_no_layer_is_refused(refused):
    words = "finetune --dataset={m}/sets/mnist.npz --source={m}/e.gan.npz "
    refused(
        words + "--recipe=scale_shift --steps=2", "'.*_bn'", "a recipe for its layers"
    )


def test_any_keras_model_measures_distances(command, material, short, tmp_path):
    inputs = keras.Input((16, 16, 1))
    outputs = keras.layers.Conv2D(5, 3, activation="relu")(inputs)
    keras.Model(inputs, outputs).save(tmp_path / "mine.keras")
    done = command(
        *("pretrain", f"--dataset={material}/grey.npz", *short),
        *(f"--backbone={tmp_path}/mine.keras", f"--out_dir={tmp_path}/run"),
    )
    assert done.returncode == 0, done.stderr
    scores = summary(tmp_path / "run")["scores"]
    assert any(name.startswith("kernel_backbone_grey") for name in scores)


def test_mirrored_strategy_as_a_command(command, material, short, tmp_path):
    runs = {}
    for strategy in ("none", "mirrored"):
        done = command(
            *("pretrain", f"--dataset={material}/grey.npz", *short),
            *(f"--strategy={strategy}", f"--out_dir={tmp_path}/{strategy}"),
        )
        assert done.returncode == 0, done.stderr
        runs[strategy] = pretrained.load(tmp_path / strategy).generate(4, seed=1)
    np.testing.assert_allclose(runs["mirrored"], runs["none"], atol=1e-5)


def test_other_workers_have_folders_of_their_own(monkeypatch, tmp_path):
    cluster = {"worker": ["localhost:1", "localhost:2"]}
    for index, name in ((0, ""), (1, "worker1")):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(task))
        assert generation._worker() == name


@pytest.mark.parametrize(
    "line",
    [
        "pretrain --penalty=none --width=4 --latent_dim=8",
        "pretrain --model=document_a_mnist",
        "pretrain_vae --model=vae_dense",
        "finetune --source={m}/tiny.gan.npz --recipe=fine_tune",
    ],
)
def test_the_flags_txt_of_a_run_repeats_it(command, material, tmp_path, line):
    script, *words = line.format(m=material).split()
    words += [f"--dataset={material}/grey.npz", "--steps=2", "--evaluations=1"]
    words += ["--batch_size=4", "--noverbose"]
    done = command(script, *words, f"--out_dir={tmp_path}/first")
    assert done.returncode == 0, done.stderr
    given = f"--flagfile={tmp_path}/first/flags.txt"
    again = command(script, given, f"--out_dir={tmp_path}/again")
    assert (again.returncode, again.stderr) == (0, "")
    assert (
        summary(tmp_path / "again")["scores"] == summary(tmp_path / "first")["scores"]
    )
