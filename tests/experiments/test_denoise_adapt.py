"""`denoise --adapt`: the restorer tuned to the picture it restores."""

import keras
import numpy as np
import pytest
from PIL import Image

from restoration import adaptation, inference, metrics, networks, pretrained

SIGMA = 20


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A noisy ramp, a restorer that makes it worse, one that is told nothing."""
    folder, draws = tmp_path_factory.mktemp("there"), np.random.default_rng(0)
    ramp = np.tile(np.linspace(40, 215, 40), (28, 1))
    Image.fromarray(np.uint8(ramp)).save(folder / "truth.png")
    noisy = np.clip(ramp + draws.normal(0, SIGMA, ramp.shape), 0, 255)
    Image.fromarray(np.uint8(noisy)).save(folder / "noisy.png")
    network = networks.restorer(1, widths=(4,), blocks=1)
    network.set_weights(
        [0.2 * draws.standard_normal(w.shape) for w in network.get_weights()]
    )
    pretrained.save(network, folder / "wrong.restorer.npz", {})
    pretrained.save(network, folder / "blind.restorer.npz", {"damage": "jpeg"})
    return folder


def arguments(there, out, *more):
    return f"--input={there}/noisy.png", f"--output={out}", "--nostrip", *more


def read(path):
    return np.asarray(Image.open(path))[..., None]


def test_the_restorer_is_tuned_to_the_picture_first(command, there, tmp_path):
    model = f"--model={there}/wrong.restorer.npz"
    given = arguments(there, tmp_path / "clean.png", model, f"--sigma={SIGMA}")
    done = command("denoise", *given, "--adapt")
    assert (done.returncode, done.stderr) == (0, "")
    assert ", noise 20.0 of 255 (given), adapted; " in done.stdout
    image = read(there / "noisy.png").astype(np.float32) / 255
    source = pretrained.load(there / "wrong.restorer.npz")
    adapted = adaptation.adapt(source, image, SIGMA / 255)
    expected = inference.restore(adapted, image, None, SIGMA / 255)
    np.testing.assert_array_equal(
        read(tmp_path / "clean.png"), metrics.quantise(expected)
    )
    plain = inference.restore(source, image, None, SIGMA / 255)
    truth = read(there / "truth.png") / 255
    better, worse = (np.mean((each - truth) ** 2) for each in (expected, plain))
    assert better < 0.9 * worse
    assert keras.config.dtype_policy().name == "float32"


def test_a_network_that_is_told_nothing_cannot_be_adapted(command, there, tmp_path):
    model = f"--model={there}/blind.restorer.npz"
    given = arguments(there, tmp_path / "clean.png", model)
    done = command("denoise", *given, "--adapt")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("leave --adapt out, which needs the noise level")
    assert not (tmp_path / "clean.png").exists()


def test_the_unrolled_network_has_no_gains_to_adapt(command, there, tmp_path):
    given = arguments(there, tmp_path / "clean.png", "--model=unrolled_sparse_gray")
    done = command("denoise", *given, "--adapt", f"--sigma={SIGMA}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "noisy.png: " in line and "_gain" in line
    assert not (tmp_path / "clean.png").exists()
