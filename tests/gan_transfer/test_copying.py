"""Copying weights strictly, the plan (documents A 3.1, B 3.2.1)."""

import numpy as np
import pytest

from gan_transfer import copying, errors, transfer
from gan_transfer.networks import fully_connected, presets

LATENT = 6


def _pair(name="dcgan", size=16, channels=1, classes=0, width=3):
    """A small pair whose biases and batch-norm statistics are not trivial."""
    networks = presets.build(
        name, size, channels, classes=classes, width=width, latent_dim=LATENT
    )
    rng = np.random.default_rng(0)
    for network in networks:
        for weight in network.weights:
            if weight.path.endswith(("bias", "beta", "moving_mean")):
                weight.assign(rng.normal(0, 0.1, weight.shape))
    return networks


@pytest.fixture
def generator():
    """Stages stem, block1, block2, head."""
    return _pair()[0]


@pytest.fixture
def discriminator():
    """Stages block1, block2, head."""
    return _pair()[1]


def _latents(count=4):
    values = np.random.default_rng(1).normal(size=(count, LATENT))
    return values.astype("float32")


def _images(size=16, channels=1, count=4):
    values = np.random.default_rng(2).uniform(-1, 1, (count, size, size, channels))
    return values.astype("float32")


def _copy(source, target, *exceptions):
    align = "output" if source.name == "generator" else "input"
    report = copying.copy_weights(source, target, align=align, exceptions=exceptions)
    kept = [copy.layer for copy in report if copy.origin != "dropped"]
    assert kept == [layer.name for layer in target.layers if layer.weights]
    return {copy.layer: copy.origin for copy in report}


def _names(origins, origin):
    return {name for name, found in origins.items() if found == origin}


@pytest.mark.parametrize("name", ["dcgan", "sngan"])
@pytest.mark.parametrize("classes", [0, 3])
def test_identical_networks_are_copied_whole(name, classes):
    pairs = _pair(name, classes=classes), _pair(name, classes=classes)
    for source, target in zip(*pairs, strict=True):
        assert set(_copy(source, target).values()) == {"copied"}
        for old, new in zip(source.weights, target.weights, strict=True):
            np.testing.assert_array_equal(old.numpy(), new.numpy())


def test_one_to_three_channels_keeps_the_functions():
    (old_g, old_d), (new_g, new_d) = _pair(channels=1), _pair(channels=3)
    assert _names(_copy(old_g, new_g, "channels"), "adapted") == {"head_conv"}
    gray = old_g(_latents()).numpy()
    np.testing.assert_allclose(new_g(_latents()), gray.repeat(3, axis=3), atol=1e-6)
    assert _names(_copy(old_d, new_d, "channels"), "adapted") == {"block1_conv"}
    images = _images()
    np.testing.assert_allclose(
        new_d(images.repeat(3, axis=3)), old_d(images), rtol=1e-4, atol=1e-6
    )


def test_three_to_one_channels_keeps_the_functions():
    (old_g, old_d), (new_g, new_d) = _pair(channels=3), _pair(channels=1)
    assert _names(_copy(old_g, new_g, "channels"), "adapted") == {"head_conv"}
    before_tanh = np.arctanh(old_g(_latents()).numpy()).mean(axis=3, keepdims=True)
    np.testing.assert_allclose(new_g(_latents()), np.tanh(before_tanh), atol=1e-5)
    assert _names(_copy(old_d, new_d, "channels"), "adapted") == {"block1_conv"}
    images = _images()
    np.testing.assert_allclose(
        new_d(images), old_d(images.repeat(3, axis=3)), rtol=1e-4, atol=1e-6
    )


def test_other_classes_start_at_the_mean_class():
    for source, target in zip(_pair(classes=10), _pair(classes=4), strict=True):
        (adapted,) = _names(_copy(source, target, "classes"), "adapted")
        assert adapted == f"{'stem' if source.name == 'generator' else 'head'}_classes"
        mean = source.get_layer(adapted).get_weights()[0].mean(axis=0)
        found = target.get_layer(adapted).get_weights()[0]
        assert found.shape[0] == 4
        np.testing.assert_allclose(found, np.tile(mean, (4, 1)), rtol=1e-6)


def test_classes_for_an_unconditional_source():
    (old_g, old_d), (new_g, new_d) = _pair(), _pair(classes=4)
    origins = _copy(old_g, new_g, "classes")
    assert _names(origins, "adapted") == {"stem_dense"}
    assert _names(origins, "new") == {"stem_classes"}
    # No class has a say at first: all images are the source's.
    np.testing.assert_allclose(
        new_g([_latents(), np.arange(4)]), old_g(_latents()), atol=1e-6
    )
    origins = _copy(old_d, new_d, "classes")
    assert _names(origins, "new") == {"head_classes"}
    assert not _names(origins, "adapted")
    embeddings = new_d.get_layer("head_classes").embeddings
    embeddings.assign(np.zeros(embeddings.shape))
    np.testing.assert_allclose(
        new_d([_images(), np.arange(4)]), old_d(_images()), rtol=1e-5, atol=1e-6
    )


def test_classes_left_out():
    (old_g, _), (new_g, _) = _pair(classes=4), _pair()
    report = _copy(old_g, new_g, "classes")
    assert _names(report, "adapted") == {"stem_dense"}
    assert _names(report, "dropped") == {"stem_classes"}
    kernel = old_g.get_layer("stem_dense").get_weights()[0]
    np.testing.assert_array_equal(
        new_g.get_layer("stem_dense").get_weights()[0], kernel[:LATENT]
    )


def test_other_size_shares_the_stages_next_to_the_image():
    (old_g, old_d), (new_g, new_d) = _pair(size=16), _pair(size=32)
    origins = _copy(old_g, new_g, "size")
    # Seen from the image: the target's block3 is the source's block2.
    shared = {
        "block2_conv": "block1_conv",
        "block2_bn": "block1_bn",
        "block3_conv": "block2_conv",
        "block3_bn": "block2_bn",
        "head_conv": "head_conv",
    }
    assert _names(origins, "copied") == set(shared)
    assert _names(origins, "new") == {
        "stem_dense",
        "stem_bn",
        "block1_conv",
        "block1_bn",
    }
    for new, old in shared.items():
        for a, b in zip(
            new_g.get_layer(new).get_weights(),
            old_g.get_layer(old).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)

    origins = _copy(old_d, new_d, "size")
    assert _names(origins, "copied") == {"block1_conv", "block2_conv"}
    assert _names(origins, "new") == {"block3_conv", "head_dense"}
    for name in ("block1_conv", "block2_conv"):
        np.testing.assert_array_equal(
            new_d.get_layer(name).kernel.numpy(), old_d.get_layer(name).kernel.numpy()
        )


def test_new_layers_keep_their_own_weights():
    (old_g, _), (new_g, _) = _pair(size=16), _pair(size=32)
    before = new_g.get_layer("stem_dense").kernel.numpy()
    _copy(old_g, new_g, "size")
    np.testing.assert_array_equal(new_g.get_layer("stem_dense").kernel.numpy(), before)


DIFFERENCES = {
    "channels": ({"channels": 3}, "head_conv", "block1_conv"),
    "classes": ({"classes": 4}, "stem_classes", "head_classes"),
    "size": ({"size": 32}, "stem_dense", "head_dense"),
    "start": ({"size": 28}, "stem_dense", "head_dense"),
    "width": ({"width": 4}, "block1_conv", "block2_conv"),
}

COVERED = {
    "channels": "channels",
    "classes": "classes",
    "size": "size",
    "start": "size",
}


@pytest.mark.parametrize(
    ("difference", "declared"),
    [
        (difference, declared)
        for difference in DIFFERENCES
        for declared in ("", "channels", "classes", "size")
        if declared != COVERED.get(difference)
        # Another width is another shape everywhere: "size" leaves those layers new.
        and (difference, declared) != ("width", "size")
    ],
)
def test_undeclared_differences_are_refused_and_change_nothing(difference, declared):
    choices, *named = DIFFERENCES[difference]
    for source, target, name in zip(_pair(), _pair(**choices), named, strict=True):
        before = target.get_weights()
        with pytest.raises(errors.InputError) as caught:
            _copy(source, target, *([declared] if declared else []))
        assert f"{name} (" in str(caught.value) and "\n" not in str(caught.value)
        for old, new in zip(before, target.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


def test_dense_networks_copy_all_but_the_pixels():
    sources, targets = (
        [
            fully_connected.generator(shape, latent_dim=5, units=(7, 6)),
            fully_connected.discriminator(shape, units=(6, 7)),
        ]
        for shape in ((4, 6, 1), (4, 6, 3))
    )
    for source, target, edge in zip(
        sources, targets, ("head_dense", "block1_dense"), strict=True
    ):
        with pytest.raises(errors.InputError, match=edge):
            _copy(source, target)
        assert _names(_copy(source, target, "channels"), "new") == {edge}


def test_plan_names_every_layer_with_its_state(generator):
    source = _pair()[0]
    target = _pair(channels=3)[0]
    copies = copying.copy_weights(
        source, target, align="output", exceptions=["channels"]
    )
    transfer.freeze(target, "stem_.*", batch_norm="adapt")
    transfer.freeze(target, "block1_.*")
    rates = transfer.layerwise_rates(target, {"block2_.*": 0.25})
    text = copying.plan(target, copies, learning_rate=4e-4, rates=rates)
    rows = {line.split()[0]: line.split() for line in text.splitlines()}
    assert text.startswith("generator")
    states = {
        "stem_dense": ("copied", "frozen", "-"),
        "stem_bn": ("copied", "statistics", "-"),
        "block1_conv": ("copied", "frozen", "-"),
        "block1_bn": ("copied", "frozen", "-"),
        "block2_conv": ("copied", "trained", "1.0e-04"),
        "block2_bn": ("copied", "trained", "1.0e-04"),
        "head_conv": ("adapted", "trained", "4.0e-04"),
    }
    for name, state in states.items():
        count = f"{target.get_layer(name).count_params():,}"
        assert tuple(rows[name][1:5]) == (count, *state)
    assert set(rows) == {"generator", "trained", *states}
    assert rows["head_conv"][5:] == "1 -> 3 image channels".split()
    trained = sum(np.prod(v.shape) for v in target.trainable_variables)
    frozen = target.count_params() - trained
    assert f"trained {trained:,}, frozen {frozen:,} weights" in text


def test_plan_calls_layers_without_a_report_new(discriminator):
    text = copying.plan(discriminator, [], learning_rate=1e-3)
    for name in ("block1_conv", "block2_conv", "head_dense"):
        (line,) = (line for line in text.splitlines() if line.split()[0] == name)
        assert line.split()[2:] == ["new", "trained", "1.0e-03"]
