"""The flagfiles of scripts for single adversarial families (document E 3.3)."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from experiments.support import heat
from gan_transfer import adversarial, errors, pretrained
from gan_transfer.networks import presets

ROOT = pathlib.Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))
TINY = {"attention_maps": ("--count=3",)}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Writes an untrained GAN and returns its path."""
    folder = tmp_path_factory.mktemp("stored")

    def write(model, size=28, classes=0):
        networks = presets.build(model, size, 1, classes=classes, width=4, latent_dim=8)
        path = folder / f"{model}{size}-{classes}.gan.npz"
        described = dict.fromkeys(pretrained.DESCRIBED, 0) | {"model": model}
        pretrained.save(adversarial.GAN(*networks), path, described)
        return path

    return write


def check_pictures(folder):
    names = {"generator.png", "discriminator.png"}
    assert {path.name for path in folder.iterdir()} == names
    for path in folder.iterdir():
        pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
        # Blue marks of the points, in every column.
        assert (pixels == (0, 114, 178)).all(axis=2).sum() >= 4 * 3


@pytest.mark.parametrize(
    "flagfile",
    [path for path in FLAGFILES if path.parent.name in TINY],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_flagfile_draws_the_maps(command, stored, flagfile, tmp_path):
    words = [*TINY[flagfile.parent.name], f"--model={stored('sagan')}"]
    words = [f"--flagfile={flagfile}", *words, f"--out_dir={tmp_path}"]
    done = command(flagfile.parent.name, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"wrote {tmp_path}/generator.png",
        f"wrote {tmp_path}/discriminator.png",
    ]
    check_pictures(tmp_path)


def test_maps_of_a_conditional_gan(command, stored, tmp_path):
    model = stored("sagan", size=16, classes=2)
    done = command("attention_maps", f"--model={model}", f"--out_dir={tmp_path}")
    assert (done.returncode, done.stderr) == (0, "")
    check_pictures(tmp_path)


def test_a_model_without_attention_and_no_model_are_refused(command, stored, tmp_path):
    out = tmp_path / "out"
    model = stored("dcgan")
    done = command("attention_maps", f"--model={model}", f"--out_dir={out}")
    assert done.returncode == 2
    assert "the generator has no self-attention; train one with" in done.stderr
    done = command("attention_maps", f"--out_dir={out}")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "--model is missing" in done.stderr
    assert not out.exists()


def test_overlay_marks_the_point_and_heats_the_highest_cell():
    images = np.full((2, 6, 4, 1), 100, np.uint8)
    maps = np.zeros((2, 3, 4), np.float32)
    maps[:, 2, 1] = 0.25
    pictures = heat.overlay(images, maps, (0, 3))
    assert pictures.shape == (2, 6, 4, 3) and pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures[:, :2, 3], np.full((2, 2, 3), (0, 114, 178)))
    # 0.6 x 100 + 0.4 x 60 = 84, and four fifths of the way to (230, 97, 0).
    np.testing.assert_array_equal(pictures[0, 0, 0], (84, 84, 84))
    np.testing.assert_array_equal(pictures[1, 4:, 1], [(201, 94, 17)] * 2)
    # 4 pixels and 6 cells: 12 are the fewest that hold both.
    assert heat.overlay(images[:, :4], np.ones((2, 6, 4)), (5, 0)).shape == (
        2,
        12,
        4,
        3,
    )


@pytest.mark.parametrize(
    ("maps", "point"), [((1, 3, 4), (0, 0)), ((2, 3, 4), (3, 0)), ((2, 3, 4), (0, -1))]
)
def test_overlay_refuses_what_does_not_fit(maps, point):
    with pytest.raises(errors.InputError, match="one map per image and a point"):
        heat.overlay(np.zeros((2, 6, 4, 1), np.uint8), np.ones(maps), point)
