"""Preprocess, migrate, fine-tune: the pipeline of document B 3.2.1."""

import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import adversarial, cross_domain, errors, recipes
from gan_transfer.networks import presets

# Input pipelines are traced also where steps run eagerly.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Even though the .tf.config:UserWarning",
)


@pytest.fixture
def eager():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def pictures(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 24), dtype=np.uint8)
    np.savez(tmp_path / "pictures.npz", x=pixels)
    return tmp_path / "pictures.npz"


def build(channels=1, size=16):
    return presets.build("dcgan", size, channels, width=2, latent_dim=3)


@pytest.fixture
def source():
    gan = adversarial.GAN(*build())
    rng = np.random.default_rng(1)
    for weight in gan.weights[2:]:
        weight.assign(rng.uniform(0.1, 1.0, weight.shape))
    return gan


def assert_equal_weights(one, other):
    for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_preprocessing_gives_one_format_and_size(pictures):
    images = cross_domain.preprocess(pictures, 16, 3, limit=5)
    assert images.train.shape == (5, 16, 16, 3)
    assert images.test.shape[1:] == (16, 16, 3)


def test_migration_starts_from_the_averaged_generator(source):
    gan, copies = cross_domain.migrate(source, *build(), recipe="fine_tune", seed=4)
    assert gan.seed == 4
    assert_equal_weights(gan.generator, source.averaged_generator)
    assert_equal_weights(gan.averaged_generator, source.averaged_generator)
    assert_equal_weights(gan.discriminator, source.discriminator)
    for name, network in gan.networks().items():
        layers = [layer.name for layer in network.layers if layer.weights]
        assert [copy.layer for copy in copies[name]] == layers
        assert {copy.origin for copy in copies[name]} == {"copied"}


def test_migration_to_colour_reports_what_it_changed(source):
    _, copies = cross_domain.migrate(source, *build(channels=3), recipe="fine_tune")
    changed = {
        name: [copy.layer for copy in each if copy.origin != "copied"]
        for name, each in copies.items()
    }
    assert changed == {"generator": ["head_conv"], "discriminator": ["block1_conv"]}


def test_the_latent_head_is_the_identity_at_first(source):
    gan, _ = cross_domain.migrate(source, *build(), recipe="latent_head")
    assert gan.generator.layers[1].name == "latent_dense"
    np.testing.assert_allclose(gan.generate(2), source.generate(2), atol=1e-6)


def test_the_plan_shows_the_flags_of_its_phase(source):
    gan, copies = cross_domain.migrate(source, *build(), recipe="freeze_discriminator")
    (phase,) = recipes.by_name("freeze_discriminator")(gan, 1, "adapt")
    lines = cross_domain.plan(gan, copies, phase, 1e-3).splitlines()
    frozen = [
        line.split()[0] for line in lines if " frozen " in line and "," not in line
    ]
    assert frozen == ["block1_conv"]
    assert not gan.discriminator.get_layer("block1_conv").trainable


def test_l2_to_source_leaves_new_layers_free(source):
    gan, copies = cross_domain.migrate(source, *build(size=32), recipe="l2_to_source")
    (phase,) = cross_domain.phases(gan, copies, "l2_to_source", 1, "frozen")
    for name, network in gan.networks().items():
        new = {copy.layer for copy in copies[name] if copy.origin == "new"}
        anchored = {path.split("/")[0] for path in phase.anchors[name].anchors}
        assert new and anchored and not new & anchored
        trained = {v.path.split("/")[0] for v in network.trainable_variables}
        assert new | anchored == trained


def test_a_new_head_is_reported_as_new(source):
    _, copies = cross_domain.migrate(source, *build(), recipe="new_head")
    origins = {copy.layer: copy.origin for copy in copies["discriminator"]}
    assert origins == {
        "block1_conv": "copied",
        "block2_conv": "copied",
        "head_dense": "new",
    }


def test_adapting_trains_a_copy_the_same_way_each_time(source, pictures, eager):
    before = [weight.numpy().copy() for weight in source.weights]

    def adapt():
        return cross_domain.adapt(source, pictures, steps=3, batch_size=4, verbose=0)

    gan, images = adapt()
    assert images.train.shape[1:] == (16, 16, 1)
    assert int(gan.updates) == 5  # five epochs of one step are the least
    for old, weight in zip(before, source.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)
    for name, frozen in (("block1_conv", True), ("block2_conv", False)):
        one, other = (g.discriminator.get_layer(name) for g in (gan, source))
        assert np.array_equal(one.kernel, other.kernel) == frozen
    again, _ = adapt()
    assert_equal_weights(gan, again)


def test_adapting_refuses_a_conditional_source(pictures):
    networks = presets.build("dcgan", 16, 1, classes=2, width=2, latent_dim=3)
    with pytest.raises(errors.InputError, match="without classes"):
        cross_domain.adapt(adversarial.GAN(*networks), pictures)
