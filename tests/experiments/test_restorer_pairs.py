"""Restorers trained on the documents' noisy_images.npy and clean_images.npy (A 4.2)."""

import json

import numpy as np
import pytest
from PIL import Image

from gan_transfer import callbacks
from restoration import metrics, networks, patches, pretrained

SHORT = ("--steps=4", "--evaluations=4", "--batch_size=4", "--noverbose")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Document A 4.2's 64x64x3 pictures with noise that leaves [0, 1], and others."""
    folder = tmp_path_factory.mktemp("pairs")
    draws = np.random.default_rng(0)
    clean = draws.random((6, 64, 64, 3), np.float32)
    noisy = clean + 0.2 * draws.standard_normal(clean.shape, np.float32)
    assert noisy.min() < 0 and noisy.max() > 1
    arrays = {"clean": clean, "noisy": noisy, "few": noisy[:3], "bytes": 255 * noisy}
    arrays |= {"small_clean": clean[:, :40, :48], "small_noisy": noisy[:, :40, :48]}
    arrays["holed"] = np.where(noisy > 1.5, np.nan, noisy)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """Every batch that training draws, as (patches, update)."""
    batches, original = [], patches.batch

    def batch(pictures, count, size, seed, step):
        found = original(pictures, count, size, seed, step)
        batches.append((found, step))
        return found

    monkeypatch.setattr(patches, "batch", batch)
    return batches


def train(command, files, out, script, noisy, clean, *arguments):
    return command(
        script,
        f"--noisy_images={files}/{noisy}.npy",
        f"--clean_images={files}/{clean}.npy",
        f"--out_dir={out}",
        "--validation=1",
        *SHORT,
        *arguments,
    )


def values(images):
    """All values of each image in order: they do not depend on flips and rotations."""
    return [np.sort(image, axis=None).tobytes() for image in images]


def test_float_pairs_of_64_pixels_reach_training_as_they_are(
    command, files, drawn, tmp_path
):
    # The patches and phases of the defaults, as the README has it.
    flags = ["--model=document_a", "--channels=3", "--loss=l1"]
    done = train(
        command, files, tmp_path, "pretrain_restorer", "noisy", "clean", *flags
    )
    assert done.returncode == 0, done.stderr
    said = "pairs of 64x64 pixels: patches of 64 pixels, none of 128, which do not fit"
    assert done.stdout.splitlines()[0] == said
    pairs = np.concatenate(
        [np.load(files / f"{name}.npy") for name in ("noisy", "clean")], axis=-1
    )
    known = values(pairs)
    assert {step for _, step in drawn} >= {0, 1, 2, 3}
    for batch, _ in drawn:
        assert batch.shape == (4, 64, 64, 6) and batch.dtype == np.float32
        assert set(values(batch)) <= set(known)
    # All but the one that is held out, whose noise is not rounded either.
    assert len({each for batch, _ in drawn for each in values(batch)}) == 5
    described = pretrained.describe(tmp_path)
    assert (described["damage"], described["pictures"]) == ("pairs", "noisy.npy")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["training_pictures"], summary["updates"]) == (5, 4)
    assert set(summary["scores"]) == {"val_psnr", "val_rmse"}


def test_patches_are_no_larger_than_small_pairs(command, files, drawn, tmp_path):
    pair = "small_noisy", "small_clean"
    flags = ["--model=restorer_color"]
    done = train(command, files, tmp_path, "finetune_restorer", *pair, *flags)
    assert done.returncode == 0, done.stderr
    said = "pairs of 48x40 pixels: patches of 40 pixels, none of 64, which do not fit"
    assert said in done.stdout.splitlines()
    assert {batch.shape for batch, _ in drawn} == {(4, 40, 40, 6)}


def test_large_patches_come_last_where_they_fit(command, files, drawn, tmp_path):
    flags = ["--patch=32", "--late_share=0.5", "--channels=1"]
    done = train(
        command, files, tmp_path, "pretrain_restorer", "noisy", "clean", *flags
    )
    assert done.returncode == 0, done.stderr
    assert "fit" not in done.stdout
    sizes = {step: batch.shape for batch, step in drawn if step < 4}
    assert sizes == dict(enumerate(2 * [(4, 32, 32, 2)] + 2 * [(1, 64, 64, 2)]))


@pytest.mark.parametrize(
    ("noisy", "clean", "parts"),
    [
        ("bytes", "clean", ["bytes.npy: values from -", "of -2 to 3; rescale"]),
        ("holed", "clean", ["holed.npy: NaN or infinite in image 0"]),
        ("few", "clean", ["few.npy holds [3, 64, 64, 3]", "as many images"]),
        ("none", "clean", ["none.npy' not found"]),
    ],
)
def test_pairs_that_are_none_are_refused(refused, files, noisy, clean, parts):
    line = f"--noisy_images={files}/{noisy}.npy --clean_images={files}/{clean}.npy"
    refused(f"pretrain_restorer {line} --channels=3", *parts)


def test_one_of_the_two_files_is_not_enough(refused, files):
    refused(f"pretrain_restorer --noisy_images={files}/noisy.npy", "go together")
    pair = f"--noisy_images={files}/noisy.npy --clean_images={files}/clean.npy"
    refused(f"pretrain_restorer {pair} --damage=noise", "without --photographs and")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A noisy picture with salt and pepper, a mask, a network trained on pairs."""
    folder = tmp_path_factory.mktemp("pictures")
    pixels = np.random.default_rng(3).integers(0, 256, (20, 30), np.uint8)
    pixels[::7, ::5], pixels[3::7, 2::5] = 0, 255
    Image.fromarray(pixels).save(folder / "photo.png")
    Image.fromarray(np.uint8(255 * (pixels > 128))).save(folder / "mask.png")
    np.save(folder / "kernel.npy", np.ones((1, 3)) / 3)
    network = networks.restorer(1, widths=(4, 4), blocks=1)
    draws = np.random.default_rng(4)
    network.set_weights(
        [0.3 * draws.standard_normal(w.shape) for w in network.get_weights()]
    )
    pretrained.save(network, folder / "net.restorer.npz", {"damage": "pairs"})
    image = pixels[None, :, :, None] / np.float32(255)
    told_nothing = network([image, 0 * image, 0 * image]).numpy()
    assert np.ptp(told_nothing - network([image, 0 * image + 0.1, 0 * image])) > 0.01
    np.save(folder / "expected.npy", metrics.quantise(told_nothing)[0, :, :, 0])
    return folder


@pytest.mark.parametrize("script", ["restore", "denoise"])
def test_a_network_trained_on_pairs_is_told_nothing(
    command, pictures, tmp_path, script
):
    given = (f"--input={pictures}/photo.png", f"--output={tmp_path}/new.png")
    model = f"--model={pictures}/net.restorer.npz"
    done = command(script, *given, model, "--nostrip")
    assert done.returncode == 0, done.stderr
    said = "8 bits, trained to find the damage itself: told neither noise level nor "
    assert said + "mask;" in done.stdout
    with Image.open(tmp_path / "new.png") as picture:
        np.testing.assert_array_equal(picture, np.load(pictures / "expected.npy"))


def test_the_flags_txt_of_a_run_on_pairs_repeats_it(command, files, tmp_path):
    pair = ("noisy", "clean", "--patch=16", "--channels=3", "--late_share=0")
    done = train(command, files, tmp_path / "first", "pretrain_restorer", *pair)
    assert done.returncode == 0, done.stderr
    given = f"--flagfile={tmp_path}/first/flags.txt"
    again = command("pretrain_restorer", given, f"--out_dir={tmp_path}/again")
    assert (again.returncode, again.stderr) == (0, "")
    histories = [
        [row["loss"] for row in callbacks.read_history(tmp_path / name)]
        for name in ("first", "again")
    ]
    assert histories[0] == histories[1]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("restore --mask={p}/mask.png", "nor mask; leave the mask out"),
        ("restore --sigma=9", "nor mask; leave --sigma out"),
        ("denoise --sigma=0", "nor mask; leave --sigma out"),
        ("inpaint --mask={p}/mask.png", "nor mask; use it with experiments.restore"),
        ("deblur --kernel={p}/kernel.npy", "told neither noise level nor mask; use it"),
    ],
)
def test_what_a_network_trained_on_pairs_cannot_do_is_refused(
    command, contents, pictures, tmp_path, line, part
):
    script, flag = line.format(p=pictures).split()
    given = (f"--input={pictures}/photo.png", f"--output={tmp_path}/new.png")
    done = command(script, flag, *given, f"--model={pictures}/net.restorer.npz")
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert part in error
    assert contents(tmp_path) == {}
