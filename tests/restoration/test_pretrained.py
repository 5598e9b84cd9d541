import json

import keras
import numpy as np
import pytest

from gan_transfer import archive, errors
from restoration import networks, pretrained, unrolled

DESCRIBED = {"model": "restorer", "channels": 3, "scores": {"val_psnr": 27.5}}
MAKERS = {
    "restorer": lambda: networks.restorer(3, widths=(4,), blocks=1),
    "document_a": lambda: networks.document_a(3),
    "unrolled_sparse": lambda: unrolled.unrolled_sparse(3, 4, 2),
}


def _network(name="restorer"):
    """A tiny network with random weights, the head's too."""
    network, rng = MAKERS[name](), np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(np.abs(rng.normal(0, 0.1, weight.shape)))
    return network


def _inputs():
    rng = np.random.default_rng(1)
    image = rng.random((1, 9, 14, 3), np.float32)
    return [image, 0.1 * image[..., :1], (image > 0.8).astype(np.float32)]


def _finish(folder, network):
    folder.mkdir()
    network.save(folder / "restorer.keras")
    summary = json.dumps({"description": DESCRIBED, "seed": 0})
    (folder / "summary.json").write_text(summary)


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """A folder in the place of the package's weights."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(pretrained, "WEIGHTS", folder)
    return folder


@pytest.mark.parametrize("name", MAKERS)
def test_a_file_gives_the_network_back_bit_for_bit(tmp_path, name):
    network, path = _network(name), tmp_path / "my.restorer.npz"
    pretrained.save(network, path, DESCRIBED)
    for source in (path, str(path)):
        loaded = pretrained.load(source)
        np.testing.assert_array_equal(loaded(_inputs()), network(_inputs()))
        assert loaded.name == network.name
        assert pretrained.describe(source) == DESCRIBED


def test_large_networks_are_stored_in_half_the_bytes(tmp_path):
    paths = [tmp_path / f"{size}.restorer.npz" for size in ("small", "large")]
    small, large = networks.restorer(1, blocks=1), networks.restorer(1)
    assert 1.5e6 < 4 * small.count_params() < 3e6 < 4 * large.count_params()
    for path, network in zip(paths, (small, large), strict=True):
        pretrained.save(network, path, DESCRIBED)
    stored = [archive.read(path)["restorer/stem_conv/kernel"] for path in paths]
    assert [each.dtype for each in stored] == [np.float32, np.float16]
    assert paths[1].stat().st_size < 3e6
    loaded = pretrained.load(paths[1])
    assert {weight.dtype for weight in loaded.weights} == {"float32"}
    for one, other in zip(loaded.get_weights(), large.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other.astype(np.float16))


def test_shipped_restorers_are_known_by_name(shipped):
    assert pretrained.names() == []
    for name in ("two", "one"):
        pretrained.save(_network(), shipped / f"{name}.restorer.npz", DESCRIBED)
    (shipped / "README.md").write_text("where they come from")
    assert pretrained.names() == ["one", "two"]
    loaded = pretrained.load("two")
    np.testing.assert_array_equal(loaded(_inputs()), _network()(_inputs()))
    assert pretrained.describe("one") == DESCRIBED


@pytest.mark.parametrize("name", MAKERS)
def test_a_finished_run_is_loaded_from_its_folder(tmp_path, name):
    network, folder = _network(name), tmp_path / "run"
    _finish(folder, network)
    for source in (folder, str(folder)):
        loaded = pretrained.load(source)
        np.testing.assert_array_equal(loaded(_inputs()), network(_inputs()))
        assert pretrained.describe(source) == DESCRIBED


@pytest.mark.parametrize("ask", [pretrained.load, pretrained.describe])
def test_unknown_restorers_are_refused_with_the_names_there_are(shipped, ask):
    for name in ("two", "one"):
        (shipped / f"{name}.restorer.npz").touch()
    with pytest.raises(errors.InputError, match="no restorer 'three': .* one, two$"):
        ask("three")


def test_files_with_other_models_are_refused(tmp_path):
    gan, path = keras.Sequential([keras.Input((2,))]), tmp_path / "my.gan.npz"
    archive.save(path, {"generator": gan, "discriminator": gan})
    expected = r"my.gan.npz holds no restorer but generator, discriminator$"
    with pytest.raises(errors.InputError, match=expected):
        pretrained.load(path)
    archive.save(path, {"restorer": gan, "discriminator": gan})
    with pytest.raises(errors.InputError, match="but restorer, discriminator$"):
        pretrained.load(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not quite", b"text"])
def test_broken_files_are_refused(tmp_path, content):
    path = tmp_path / "broken.restorer.npz"
    path.write_bytes(content)
    for ask in (pretrained.load, pretrained.describe):
        with pytest.raises(errors.InputError, match="broken.restorer.npz") as caught:
            ask(path)
        assert "\n" not in str(caught.value)


def test_unfinished_runs_are_refused(tmp_path):
    (tmp_path / "metrics.csv").write_text("step\n")
    expected = "no finished restoration run: restorer.keras is missing; run its"
    with pytest.raises(errors.InputError, match=expected):
        pretrained.load(tmp_path)
    with pytest.raises(errors.InputError, match="describes no restorer .*; finish"):
        pretrained.describe(tmp_path)


def test_a_damaged_model_of_a_run_is_refused(tmp_path):
    folder = tmp_path / "run"
    _finish(folder, _network())
    whole = (folder / "restorer.keras").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        (folder / "restorer.keras").write_bytes(content)
        with pytest.raises(
            errors.InputError, match="restorer.keras cannot be"
        ) as error:
            pretrained.load(folder)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("summary", ["", "{}", "[]", '{"description"'])
def test_a_damaged_summary_describes_nothing(tmp_path, summary):
    folder = tmp_path / "run"
    _finish(folder, _network())
    (folder / "summary.json").write_text(summary)
    with pytest.raises(errors.InputError, match="run describes no restorer"):
        pretrained.describe(folder)


def test_a_file_without_a_description_describes_nothing(tmp_path):
    path = tmp_path / "my.restorer.npz"
    archive.save(path, {"restorer": _network()})
    with pytest.raises(errors.InputError, match="write the file with `pretrained.save"):
        pretrained.describe(path)
    assert pretrained.load(path).name == "restorer"
