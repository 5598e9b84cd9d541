"""The flagfiles of `cross_domain`: sources measured, the nearest one transferred."""

import json
import pathlib

import numpy as np
import pytest

from gan_transfer import adversarial, domain_gap, pretrained
from gan_transfer.networks import presets

ROOT = pathlib.Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))
TINY = {
    "cross_domain": (
        *("--steps=2", "--evaluations=1", "--batch_size=4", "--noverbose"),
        "--limit=10",
    )
}
SIZES = {"mnist": (28, 1), "emoji64": (64, 3), "runs/pretrain-faces": (64, 3)}
SETS = {
    "fashion_mnist": (28, 1),
    "target_emoji_faces_64": (64, 3),
    "target_babies_64": (64, 3),
    "bsds500_train": (40, 3),
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name, (size, channels) in SETS.items():
        parts = {
            f"x_{part}": rng.integers(0, 256, (count, size, size, channels), np.uint8)
            for part, count in (("train", 20), ("test", 24))
        }
        np.savez(folder / f"{name}.npz", **parts)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Writes an untrained model in the place of a named one, returns its path."""
    folder = tmp_path_factory.mktemp("sources")

    def write(name):
        size, channels = SIZES[name]
        networks = presets.build("dcgan", size, channels, width=4, latent_dim=8)
        path = folder / f"{name.replace('/', '-')}.gan.npz"
        described = {"model": "dcgan", "width": 4, "latent_dim": 8, "size": size}
        described |= {"channels": channels, "classes": 0, "dataset": name}
        pretrained.save(adversarial.GAN(*networks), path, described)
        return str(path)

    return write


def flags_of(flagfile):
    lines = flagfile.read_text().splitlines()
    pairs = [line[2:].partition("=") for line in lines if line.startswith("--")]
    return {name: value for name, _, value in pairs}


@pytest.mark.parametrize(
    "flagfile",
    [
        pytest.param(path, marks=[pytest.mark.slow] * (path.stem != "mnist_to_fashion"))
        for path in FLAGFILES
        if path.parent.name in TINY
    ],
    ids=lambda path: path.stem,
)
def test_flagfile_measures_transfers_and_evaluates(
    command, data_dir, source, flagfile, tmp_path
):
    given = flags_of(flagfile)
    sources = [source(name) for name in given["sources"].split(",")]
    done = command(
        "cross_domain",
        f"--flagfile={flagfile}",
        *TINY["cross_domain"],
        f"--sources={','.join(sources)}",
        f"--data_dir={data_dir}",
        f"--out_dir={tmp_path}",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    gaps = [line for line in lines if line.startswith("domain gap ")]
    assert len(gaps) == len(sources)
    summary = json.loads((tmp_path / "summary.json").read_text())
    measured = summary["domain_gap"]
    assert sorted(measured) == sorted(sources)
    chosen = summary["source"]
    assert measured[chosen]["nearness"] == max(
        each["nearness"] for each in measured.values()
    )
    assert f"{chosen}: {measured[chosen]['advice']}" in lines
    assert measured[chosen]["count"] == 10
    described = pretrained.describe(chosen)
    size = int(given.get("size", SIZES[given["sources"].split(",")[0]][0]))
    assert measured[chosen]["new_layers"] == (described["size"] != size)
    kinds = {"classifier", "pca"} if size == 28 else {"pca"}
    assert measured[chosen]["gaps"].keys() == kinds == summary["diversity"].keys()
    for sets in summary["diversity"].values():
        assert sets["generated"].keys() == sets["real"].keys()
        assert {"spread", "intra_cluster_spread", "recall"} <= sets["real"].keys()
    assert any("unseen real images" in line for line in lines)
    for name in ("pairs.png", "samples.png", "averaged_generator.keras"):
        assert (tmp_path / name).exists()
    trained = pretrained.load(tmp_path)
    assert trained.image_shape == (size, size, summary["description"]["channels"])


def test_auto_takes_the_recipe_of_the_gap(
    command, data_dir, source, tmp_path, monkeypatch
):
    monkeypatch.setattr(domain_gap.DomainGap, "recipe", "scale_shift")
    done = command(
        "finetune",
        *TINY["cross_domain"],
        "--dataset=fashion_mnist",
        f"--source={source('mnist')}",
        f"--data_dir={data_dir}",
        f"--out_dir={tmp_path}",
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["recipe"] == "scale_shift"
    assert "phase scale_shift, 100% of the updates" in done.stdout


def test_no_sources_are_refused(command):
    done = command("cross_domain", "--sources=")
    assert (done.returncode, done.stdout) == (1, "")
    assert "must name a model" in done.stderr


def test_a_larger_target_has_no_likenesses_to_keep(
    command, data_dir, source, tmp_path, contents
):
    done = command(
        "cross_domain",
        *TINY["cross_domain"],
        "--dataset=target_babies_64",
        f"--sources={source('mnist')}",
        "--size=64",
        "--recipe=cross_domain_correspondence",
        f"--data_dir={data_dir}",
        f"--out_dir={tmp_path}",
    )
    assert done.returncode == 2
    assert "would be new; keep the source's image size" in done.stderr
    assert contents(tmp_path) == {}
