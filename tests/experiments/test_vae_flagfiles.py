"""The flagfiles of the VAE: training, transfer, reconstruction (document C 3.3.2)."""

import json
import pathlib

import keras
import numpy as np
import pytest
from PIL import Image

from gan_transfer import adversarial, callbacks, pretrained, subsets, variational
from gan_transfer.networks import presets

ROOT = pathlib.Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))
SHORT = ("--steps=2", "--evaluations=1", "--batch_size=4", "--noverbose", "--limit=40")
WEIGHTED = 12
TINY = {"pretrain_vae": (*SHORT, "--weighted_images=2"), "reconstruct": ()}
PICTURES = {"reconstructions.png", "interpolation.png"}
WRITTEN = PICTURES | {
    "flags.txt",
    "summary.json",
    "encoder.keras",
    "decoder.keras",
    "metrics.csv",
    "state.weights.h5",
    "losses.png",
    "samples.png",
    "samples/step_000002.png",
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name, shape in (
        ("mnist", (28, 28, 1)),
        ("fashion_mnist", (28, 28, 1)),
        ("celeba2k_64", (64, 64, 3)),
    ):
        arrays = {
            f"x_{part}": rng.integers(0, 256, (count, *shape), np.uint8)
            for part, count in (("train", 60), ("test", 20))
        }
        np.savez(folder / f"{name}.npz", **arrays)
    return folder


@pytest.fixture(scope="module")
def trained(command, data_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("vae") / "run"
    words = (*SHORT, f"--weighted_images={WEIGHTED}")
    done = command("pretrain_vae", *words, f"--data_dir={data_dir}", f"--out_dir={out}")
    assert (done.returncode, done.stderr) == (0, "")
    return out


@pytest.fixture(scope="module")
def convolutional(command, data_dir, tmp_path_factory):
    """What the flagfile of a transfer starts from: a run of conv_mnist.flags."""
    out = tmp_path_factory.mktemp("vae") / "convolutional"
    flagfile = ROOT / "experiments" / "flags" / "pretrain_vae" / "conv_mnist.flags"
    words = (f"--flagfile={flagfile}", *TINY["pretrain_vae"])
    done = command("pretrain_vae", *words, f"--data_dir={data_dir}", f"--out_dir={out}")
    assert (done.returncode, done.stderr) == (0, "")
    return out


def written(folder):
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return {p.as_posix() for p in found if p.parts[0] != "tensorboard"}


@pytest.mark.parametrize(
    "flagfile",
    [path for path in FLAGFILES if path.parent.name in TINY],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_flagfile_runs_for_two_steps(
    command, data_dir, trained, convolutional, flagfile, tmp_path
):
    script, out = flagfile.parent.name, tmp_path / "out"
    words = [f"--flagfile={flagfile}", *TINY[script], f"--data_dir={data_dir}"]
    if script == "reconstruct":
        words.append(f"--source={trained}")
    elif "--start_from" in flagfile.read_text():
        words.append(f"--start_from={convolutional}")
    done = command(script, *words, f"--out_dir={out}")
    assert done.returncode == 0, done.stderr
    if "--start_from" in flagfile.read_text():
        # Fashion has the digits' format: every layer with weights is copied.
        counted = [line for line in done.stdout.splitlines() if " trained " in line]
        assert len(counted) > 8 and not [x for x in counted if " new " in x]
    expected = PICTURES | {"flags.txt", "summary.json"}
    assert written(out) == (expected if script == "reconstruct" else WRITTEN)
    for name in written(out):
        if name.endswith(".png"):
            Image.open(out / name).verify()


def test_summary_holds_the_bound_of_the_stored_model(trained, data_dir):
    summary = json.loads((trained / "summary.json").read_text())
    vae = pretrained.load(trained)
    test = np.load(data_dir / "mnist.npz")["x_test"] / np.float32(127.5) - 1
    minus_elbo = -vae.bound(test)
    assert summary["minus_elbo_nats"] == pytest.approx(minus_elbo, rel=1e-6)
    # Of all 20 images, by the gap of a seeded choice of them.
    weighted, bounds = vae.log_likelihood(subsets.some(test, WEIGHTED), 5000)
    gap = weighted - bounds
    found = summary["minus_log_likelihood_iw5000_nats"]
    assert found == pytest.approx(minus_elbo - gap.mean(), rel=1e-5)
    error = summary["minus_log_likelihood_standard_error"]
    assert error == pytest.approx(gap.std(ddof=1) / WEIGHTED**0.5, rel=1e-3)
    assert summary["minus_log_likelihood_images"] == WEIGHTED


def test_bounds_are_those_of_the_best_state(command, monkeypatch, tmp_path):
    # Enough images to hold some out; of two states the first is kept as the best.
    draws = np.random.default_rng(0).integers(0, 256, (1020, 28, 28, 1), np.uint8)
    np.savez(tmp_path / "own.npz", x_train=draws[20:], x_test=draws[:20])
    kept = callbacks.BestSoFar.on_epoch_end

    def first_only(callback, epoch, logs=None):
        if epoch == 0:
            kept(callback, epoch, logs)

    monkeypatch.setattr(callbacks.BestSoFar, "on_epoch_end", first_only)
    words = (*SHORT, f"--dataset={tmp_path}/own.npz", f"--out_dir={tmp_path}/run")
    words += ("--limit=1000", "--steps=8", "--evaluations=2", "--weighted_images=2")
    done = command("pretrain_vae", *words)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run" / "summary.json").read_text())
    vae = pretrained.load(tmp_path / "run")
    test = draws[:20] / np.float32(127.5) - 1
    assert found["minus_elbo_nats"] == pytest.approx(-vae.bound(test), rel=1e-6)


def test_decoder_starts_from_a_gan(command, data_dir, tmp_path):
    gan = adversarial.GAN(*presets.build("dcgan", 28, 1, width=32, latent_dim=32))
    path = tmp_path / "gan.gan.npz"
    about = dict.fromkeys(pretrained.DESCRIBED, 1)
    pretrained.save(gan, path, about)
    out = tmp_path / "out"
    words = (*SHORT, f"--data_dir={data_dir}", f"--out_dir={out}", "--model=vae_conv")
    done = command(
        "pretrain_vae", *words, f"--start_from={path}", "--weighted_images=2"
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if "_conv" in line]
    origins = {words[0]: "copied" in words for words in lines}
    assert origins["block1_conv"] and origins["head_conv"]


def test_float16_scales_the_loss(command, data_dir, monkeypatch, tmp_path):
    found, compiled = [], variational.VAE.compile

    def recording(vae, optimizer):
        found.append(type(optimizer))
        compiled(vae, optimizer)

    monkeypatch.setattr(variational.VAE, "compile", recording)
    words = ("--weighted_images=2", f"--data_dir={data_dir}", f"--out_dir={tmp_path}")
    try:
        done = command(
            "pretrain_vae", *SHORT, *words, "--mixed_precision=mixed_float16"
        )
    finally:
        keras.config.set_dtype_policy("float32")
    assert done.returncode == 0, done.stderr
    assert found == [keras.optimizers.LossScaleOptimizer]


def test_five_pictures_are_enough(command, tmp_path):
    np.savez(tmp_path / "five.npz", x=np.zeros((5, 28, 28, 1), np.uint8))
    for script, words in (
        ("pretrain_vae", (*SHORT[:-1], "--weighted_images=2")),
        ("reconstruct", (f"--source={tmp_path}/pretrain_vae",)),
    ):
        out = tmp_path / script
        data = f"--dataset={tmp_path}/five.npz"
        done = command(script, *words, data, f"--out_dir={out}")
        assert done.returncode == 0, done.stderr
        said = "  minus_elbo_nats  " in done.stdout
        assert said == (script == "pretrain_vae")
        pictures = written(out) & PICTURES
        assert pictures == {"reconstructions.png"}  # one test image, no walk


def test_reconstructing_with_a_gan_is_refused(command, data_dir, tmp_path):
    out = tmp_path / "out"
    done = command(
        "reconstruct", "--source=mnist", f"--data_dir={data_dir}", f"--out_dir={out}"
    )
    assert done.returncode == 2
    assert "mnist is no VAE, which alone has an encoder" in done.stderr
    assert not out.exists()


def test_a_vae_can_be_exported_and_sampled_but_is_no_gan(command, trained, tmp_path):
    words = (f"--source={trained}", f"--out_dir={tmp_path / 'out'}")
    for script, more in (("export", ("--format=weights",)), ("sample", ("--count=4",))):
        done = command(script, *words, *more)
        assert done.returncode == 0, done.stderr
    done = command("transfer_study", *words, "--dataset=glyphs", "--counts=20")
    assert done.returncode == 2
    assert f"{trained} is a VAE, and this needs a GAN" in done.stderr


def test_another_likelihood_than_the_sources_is_refused(command, trained, tmp_path):
    out = tmp_path / "out"
    words = ("--likelihood=gaussian", "--dataset=glyphs", f"--out_dir={out}")
    done = command("pretrain_vae", *SHORT, *words, f"--start_from={trained}")
    assert done.returncode == 2
    assert "was trained with another likelihood" in done.stderr
    done = command("pretrain_vae", *SHORT, "--recipe=scale_shift", f"--out_dir={out}")
    assert done.returncode == 1
    assert "--recipe=scale_shift is for pretrained weights" in done.stderr
    start = f"--start_from={trained}"
    done = command("pretrain_vae", *SHORT, "--depth=3", start, f"--out_dir={out}")
    assert done.returncode == 1
    assert "--depth has no effect on --recipe=fine_tune" in done.stderr
    assert not out.exists()
