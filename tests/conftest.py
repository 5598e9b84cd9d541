import contextlib
import importlib
import io
import os
import shutil
import subprocess
import sys
from unittest import mock

import pytest

# Before the first import of TensorFlow, Keras or Matplotlib.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture(autouse=True)
def seeded():
    """Fixes Python's, NumPy's and TensorFlow's random numbers for each test."""
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def command():
    """Runs a script of `experiments` as a command would, but in this process."""
    from absl.testing import flagsaver

    from experiments.support import console

    def run(script, *arguments):
        name = f"experiments.{script}"
        main = importlib.import_module(name).main
        line = [name, *map(str, arguments)]
        out, err = io.StringIO(), io.StringIO()
        with (
            flagsaver.flagsaver(),
            mock.patch.object(sys, "argv", line),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            console.run(main)
        status = ended.value.code or 0
        return subprocess.CompletedProcess(line, status, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def contents():
    """Returns path -> bytes of everything in a folder."""

    def read(folder):
        return {
            path.relative_to(folder).as_posix(): path.is_file() and path.read_bytes()
            for path in folder.rglob("*")
        }

    return read


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    """Images and untrained models, good and bad, in a folder that is only read."""
    import numpy as np

    from gan_transfer import adversarial, pretrained
    from gan_transfer.networks import presets

    def images(count, *shape):
        return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)

    def save(name, model="dcgan", size=16, classes=0, latent_dim=8):
        networks = presets.build(
            model, size, 1, classes=classes, width=4, latent_dim=latent_dim
        )
        described = {"model": model, "width": 4, "latent_dim": latent_dim}
        described |= {"size": size, "channels": 1, "classes": classes, "dataset": "toy"}
        gan = adversarial.GAN(*networks)
        pretrained.save(gan, folder / f"{name}.gan.npz", described)

    folder = tmp_path_factory.mktemp("material")
    grey = images(60, 16, 16)
    np.savez(folder / "grey.npz", x=grey)
    np.savez(folder / "labelled.npz", x=grey, y=np.arange(60) % 3)
    np.savez(folder / "ten.npz", x=grey[:10])
    np.savez(folder / "two.npz", x=grey[:2])
    np.savez(folder / "one.npz", x=grey[:1])
    np.savez(folder / "odd.npz", x=images(30, 22, 22))
    np.savez(folder / "oblong.npz", x=images(30, 16, 24))
    np.savez(folder / "numbers.npz", layers=np.array(["Conv1"]))
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 not quite")
    (folder / "notes.txt").write_text("notes")
    (folder / "sets").mkdir()
    for name in ("mnist", "fashion_mnist"):
        np.savez(folder / "sets" / f"{name}.npz", x=images(30, 28, 28))
    save("tiny")
    save("six", latent_dim=6)
    save("classes", classes=3)
    save("e", "document_e_mnist", 28)
    content = (folder / "tiny.gan.npz").read_bytes()
    (folder / "cut.gan.npz").write_bytes(content[: len(content) // 2])
    return folder


@pytest.fixture(scope="session")
def short():
    """Flags of a run of two steps on 16x16 images."""
    flags = "--steps=2 --evaluations=1 --batch_size=4 --width=4 --latent_dim=8 "
    return [*flags.split(), "--noverbose", "--penalty=none"]


@pytest.fixture(scope="session")
def finished(command, material, short, tmp_path_factory):
    """A finished run on `grey.npz`, never changed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    done = command(
        "pretrain", f"--dataset={material}/grey.npz", *short, f"--out_dir={folder}"
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def damaged(finished, tmp_path):
    """A copy of the finished run, to be damaged."""
    folder = tmp_path / "damaged"
    shutil.copytree(finished, folder)
    flags = folder / "flags.txt"
    flags.write_text(flags.read_text().replace(str(finished), str(folder)))
    return folder


@pytest.fixture
def refused(command, contents, material, short, tmp_path):
    """Asserts that a command is refused in one line that names things and a remedy.

    In its words {m} is `material` and {short} is `short`; {m} also in the parts.
    """

    def check(words, *parts, out="out"):
        before = contents(tmp_path)
        words = words.format(m=material, short=" ".join(short))
        script, *given = words.split()
        done = command(script, *given, f"--out_dir={tmp_path / out}")
        assert done.returncode == 2, done.stdout + done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        for part in parts:
            assert part.format(m=material) in line, line
        assert contents(tmp_path) == before

    return check
