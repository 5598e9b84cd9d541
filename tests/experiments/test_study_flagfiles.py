"""The flagfiles of the restoration studies, run briefly on tiny pictures."""

import json
import pathlib

import keras
import numpy as np
import pytest
from PIL import Image

from experiments.support import (
    restoration_data,
    restoration_methods,
    restoration_study,
    restoration_tests,
)
from gan_transfer import callbacks
from restoration import metrics, networks, pretrained

ROOT = pathlib.Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))
METHODS = (
    "restorer",
    "sliding dct",
    "total variation",
    "scikit-image biharmonic",
    "scikit-image non-local means",
)
TESTS = ("set12-noise-25", "set12_small-missing-50", "set12_small-impulses-30")
TINY = {
    "benchmark_restoration": (
        "--limit=1",
        f"--methods={','.join(METHODS)}",
        f"--tests={','.join(TESTS)}",
    ),
    "finetune_restorer": (
        *("--steps=2", "--evaluations=1", "--batch_size=2", "--patch=16"),
        *("--validation=1", "--noverbose", "--model=restorer_color"),
    ),
    "perception_study": (
        *("--model=restorer_color", "--adversarial_model=restorer_color"),
        "--limit=2",
    ),
    "restoration_figure": (),
    "restoration_transfer_study": (
        *("--steps=2", "--evaluations=1", "--batch_size=2", "--seeds=1"),
        *("--counts=1,2", "--methods=scratch,gains", "--targets=omniglot,rust"),
    ),
}
FOLDERS = {
    "bsds500_train": (3, 70, 80),
    "bsds500_test": (2, 70, 80),
    "train400_gray": (2, 70, 80),
    "set12_gray": (7, 200, 192),
    "bsd68_gray": (16, 192, 200),
    "cbsd68": (3, 240, 250),
}


@pytest.fixture(autouse=True)
def policy():
    """No policy of a command is left to other tests."""
    yield
    keras.config.set_dtype_policy("float32")


def write(folder, name, pixels):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    draws = np.random.default_rng(0)
    for name, (count, *sides) in FOLDERS.items():
        for number in range(count):
            pixels = np.full((*sides, 3), 40 + 10 * number, np.uint8)
            pixels[20:150, 30:60] = 200
            write(folder / "restoration" / name, f"{number:02d}.png", pixels)
    for number in range(5):
        overlay = draws.integers(0, 256, (200, 200, 4), np.uint8)
        damage = folder / "restoration" / "film_damage" / "scratches"
        write(damage, f"scratches-{number}.png", overlay)
    kernels = {f"k{number}": np.ones((3, 5)) / 15 for number in range(1, 9)}
    np.savez(folder / "restoration" / "levin09_8kernels.npz", **kernels)
    characters = draws.integers(0, 2, (200, 28, 28), np.uint8) * 255
    alphabet = np.arange(200, dtype=np.uint8) // 50
    np.savez(folder / "omniglot_small.npz", x=characters, alphabet=alphabet)
    return folder


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def names(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def check_benchmark_restoration(folder):
    cells = summary(folder)["cells"]
    assert set(cells) == {
        "set12-noise-25, restorer",
        "set12-noise-25, sliding dct",
        "set12-noise-25, total variation",
        "set12_small-missing-50, total variation",
        "set12-noise-25, scikit-image non-local means",
        *(f"{test}, restorer" for test in TESTS[1:]),
        *(f"{test}, scikit-image biharmonic" for test in TESTS[1:]),
    }
    # Two flat greys: every method nearly restores them.
    assert all(26 < cell["psnr"] < 90 for cell in cells.values())
    cost = cells["set12-noise-25, restorer"]["multiply_adds_per_pixel"]
    assert cost == pytest.approx(56_584)
    table = (folder / "table.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == [
        *(f"| {test}" for test in TESTS),
        "| s / megapixel, grey noise",
        "| s / megapixel, grey missing",
        "| s / megapixel, grey impulses",
        "| k multiply-adds / grey pixel and pass",
    ]
    # The bars are those of whole sets.
    assert table[0].startswith("| PSNR (dB), first 1 pictures of each set | restorer |")


def check_finetune_restorer(folder):
    described = pretrained.describe(folder)
    assert (described["model"], described["channels"]) == ("restorer", 3)
    assert (described["source"], described["recipe"]) == (
        "restorer_color",
        "fine_tune",
    )
    asked = (folder / "flags.txt").read_text()
    assert f"--damage={described['damage']}\n" in asked
    told = described["damage"] in pretrained.TOLD
    assert ("val_psnr_25" in described["scores"]) == told
    (row,) = callbacks.read_history(folder)
    assert ("d_loss" in row) == ("--adversarial_weight=0.05\n" in asked)
    before, after = pretrained.load("restorer_color"), pretrained.load(folder)
    if "--late_blocks=4\n" in asked:
        assert len(after.weights) == len(before.weights) + 6
        return
    weights = zip(before.get_weights(), after.get_weights(), strict=True)
    assert all((a != b).any() for a, b in weights)


def check_perception_study(folder):
    scores = summary(folder)["scores"]
    assert scores["without"] == scores["adversarial"]
    assert scores["without"]["psnr_rgb"] > scores["damaged"]["psnr_rgb"]
    # Two pictures of 240x250 hold 3x3 patches each.
    kernel = "kernel_pca_cbsd68_64x64_18"
    assert {"psnr_rgb", "ssim_rgb", kernel} == set(scores["without"])
    assert names(folder) == {"flags.txt", "summary.json", "pictures.png"}


def check_restoration_figure(folder):
    assert names(folder) == {"flags.txt", "summary.json", "restoration.png"}
    assert len(summary(folder)["psnr"]) == 15


def check_restoration_transfer_study(folder):
    found = names(folder)
    for target in ("omniglot", "rust"):
        assert {f"{target}_images.png", f"{target}_steps.png"} <= found
        for method in ("scratch", "gains"):
            assert f"cells/{target}-{method}-2-seed0/cell.json" in found
    verdicts = summary(folder)["verdict"]
    assert [line.split(":")[0] for line in verdicts] == ["omniglot", "rust"]
    assert all("dB on scratch" in line for line in verdicts)
    table = (folder / "table.md").read_text()
    assert "| 1 | " in table and "| 2 | " in table


@pytest.mark.slow
@pytest.mark.parametrize(
    "flagfile",
    [path for path in FLAGFILES if path.parent.name in TINY],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_flagfile_runs_briefly_and_leaves_its_artefacts(
    command, data_dir, flagfile, tmp_path, monkeypatch
):
    monkeypatch.setattr(restoration_data, "BANK", (6, restoration_data.BANK[1]))
    restoration_tests.pictures.cache_clear()
    script = flagfile.parent.name
    words = [f"--flagfile={flagfile}", *TINY[script], f"--data_dir={data_dir}"]
    words += ["--late_blocks=4"] * flagfile.stem.endswith("_deeper")
    done = command(script, *words, f"--out_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    for path in tmp_path.rglob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) > 60, path
            assert picture.convert("L").getextrema() != (255, 255), path
    globals()[f"check_{script}"](tmp_path)


def test_names_that_do_not_exist_are_refused_with_those_that_do(refused):
    parts = ["no magic; there are scratch, head, gains, all"]
    refused("restoration_transfer_study --methods=magic", *parts)
    refused("restoration_transfer_study --targets=moon", "no moon", "text, omniglot")
    refused("restoration_transfer_study --counts=0,5", "--counts=0,5", "1 to 100")
    model = "restorer_color"
    refused(f"restoration_transfer_study --model={model}", f"{model} is for colour")
    model = "unrolled_sparse_gray --methods=scratch,gains"
    refused(f"restoration_transfer_study --model={model}", "matches no layer")
    refused("benchmark_restoration --methods=", "no name given", "k-svd")
    refused("benchmark_restoration --tests=bsd68", "no bsd68; there are", "noise-25")
    refused("perception_study --test=x", "--test=x: there are set12-noise-15")
    refused("perception_study", "--model: name the run directory")
    grey = "perception_study --model=restorer_gray --adversarial_model=restorer_gray"
    refused(grey, "without is for grey pictures and --test=cbsd68-noise-50 has colour")


def test_scratch_is_the_same_network_with_random_weights(tmp_path):
    own = networks.restorer(1, widths=(6, 10), blocks=1)
    own.set_weights([w + 1 for w in own.get_weights()])
    source = tmp_path / "own.restorer.npz"
    pretrained.save(own, source, {})
    (scratch, _), (again, _), (other, _), (copied, _) = (
        restoration_study.start(method, str(source), seed)
        for method, seed in (("scratch", 1), ("scratch", 1), ("scratch", 2), ("all", 1))
    )
    for kept, *drawn in zip(
        *(each.network.get_weights() for each in (copied, scratch, again, other)),
        own.get_weights(),
        strict=True,
    ):
        first, second, third, source_weights = drawn
        np.testing.assert_array_equal(kept, source_weights)
        np.testing.assert_array_equal(first, second)
        assert first.shape == kept.shape
        # The last layer of every block starts at 0.
        assert (first != third).any() == first.any() and (first != kept).any()


@pytest.mark.parametrize("name", ["set12_small-impulses-30", "set12_small-blur-2.55"])
def test_the_perception_study_restores_as_the_benchmark_does(
    command, data_dir, tmp_path, name
):
    restoration_tests.pictures.cache_clear()
    model = "restorer_gray"
    done = command(
        *("perception_study", f"--test={name}", f"--model={model}", "--limit=1"),
        f"--adversarial_model={model}",
        *(f"--data_dir={data_dir}", f"--out_dir={tmp_path}"),
    )
    assert done.returncode == 0, done.stderr
    restorer, network = restoration_methods.METHODS["restorer"], pretrained.load(model)
    found = [
        metrics.psnr_grey(
            metrics.quantise(case.clean), metrics.quantise(restorer.run(case, network))
        )
        for case in restoration_tests.cases(restoration_tests.TESTS[name], 1)
    ]
    scores = summary(tmp_path)["scores"]
    assert scores["without"]["psnr_grey"] == pytest.approx(np.mean(found), abs=1e-3)
    assert scores["damaged"]["psnr_grey"] < np.mean(found) - 3


def test_verdict_names_the_best_and_its_gain():
    curves = {
        ("text", method, count): np.array([[20.0, value], [20.0, value + 1]])
        for method, values in (("scratch", (21, 25)), ("gains", (26, 27)))
        for count, value in zip((1, 10), values, strict=True)
    }
    sentence = restoration_study._verdict(
        "text", ["scratch", "gains"], [1, 10], curves, 25.0
    )
    assert sentence == (
        "text: with 1 image gains is best, +1.50 dB on the pretrained network and "
        "+5.00 dB on scratch; with 10 images gains is best, +2.50 dB on the pretrained "
        "network and +2.00 dB on scratch."
    )
