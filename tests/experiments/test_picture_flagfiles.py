"""The flagfiles that restore pictures, each on a tiny one."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from restoration import networks, pretrained

ROOT = pathlib.Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))
TINY = {
    "inpaint": ("--mask={}/mask.png",),
    "denoise": (),
    "deblur": ("--kernel={}/kernel.npy",),
    "restore": (),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    mask = np.zeros((20, 30), np.uint8)
    mask[5:9, 6:9] = 255
    Image.fromarray(photo).save(folder / "photo.png")
    Image.fromarray(mask).save(folder / "mask.png")
    np.save(folder / "kernel.npy", np.ones((3, 3)))
    network = networks.restorer(3, widths=(4, 4), blocks=1)
    pretrained.save(network, folder / "tiny.restorer.npz", {})
    return folder


@pytest.mark.parametrize(
    "flagfile",
    [path for path in FLAGFILES if path.parent.name in TINY],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_flagfile_restores_a_picture(command, folder, flagfile, tmp_path):
    words = [each.format(folder) for each in TINY[flagfile.parent.name]]
    if flagfile.stem == "photo":
        words.append(f"--model={folder}/tiny.restorer.npz")
    words += [f"--input={folder}/photo.png", f"--output={tmp_path}/new.png"]
    done = command(flagfile.parent.name, f"--flagfile={flagfile}", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("photo.png: 30x20 colour, 8 bits")
    with Image.open(tmp_path / "new.png") as restored:
        assert (restored.size, restored.mode) == ((30, 20), "RGB")
    beside = {"new_convergence.png"} if flagfile.parent.name == "deblur" else set()
    expected = {"new.png", "new_before_after.png"} | beside
    assert {p.name for p in tmp_path.iterdir()} == expected
