"""Which weights each recipe moves, bit for bit (document A 3.2(2))."""

import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import (
    adversarial,
    cross_domain,
    data,
    errors,
    gan_settings,
    recipes,
)
from gan_transfer.networks import presets

LATENT = 8

GENERATOR = {
    "stem_dense",
    "stem_bn",
    "block1_conv",
    "block1_bn",
    "block2_conv",
    "block2_bn",
    "head_conv",
}

NORMS = {"stem_bn", "block1_bn", "block2_bn"}


# Per recipe at depth 2 and per phase: the frozen layers of generator, discriminator.
FROZEN = {
    "fine_tune": [(set(), set())],
    "freeze_discriminator": [(set(), {"block1_conv", "block2_conv"})],
    "freeze_generator": [({"head_conv", "block2_conv", "block2_bn"}, set())],
    "scale_shift": [(GENERATOR - NORMS, set())],
    "new_head": [(set(), {"block1_conv", "block2_conv"})],
    "gradual_thaw": [
        ({"head_conv", "block2_conv", "block2_bn"}, {"block1_conv", "block2_conv"}),
        ({"head_conv"}, {"block1_conv"}),
        (set(), set()),
    ],
    "layerwise_rates": [(set(), set())],
    "l2_to_source": [(set(), set())],
    "latent_head": [(GENERATOR, {"block1_conv", "block2_conv"})],
    "cross_domain_correspondence": [(set(), set())],
}


def _pixels(size, channels=1, count=11):
    shape = (count, size, size, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _pair(name="dcgan", channels=1):
    return presets.build(name, 16, channels, width=4, latent_dim=LATENT)


def _source(name):
    """A GAN whose averaged generator is not its generator."""
    gan = adversarial.GAN(*_pair(name))
    rng = np.random.default_rng(1)
    for network in (gan.averaged_generator, gan.discriminator):
        for weight in network.weights:
            noise = rng.uniform(0.0, 0.05, weight.shape).astype("float32")
            weight.assign_add(noise)
    return gan


def _state(model):
    """Arrays by layer and weight name."""
    return {
        layer.name: {w.path.split("/")[-1]: w.numpy() for w in layer.weights}
        for layer in model.layers
        if layer.weights
    }


def _states(gan):
    networks = {**gan.networks(), "averaged": gan.averaged_generator}
    return {name: _state(network) for name, network in networks.items()}


def _train_phase(gan, phase, steps=3):
    phase.prepare()
    gan_settings.Settings(penalties=()).compile(gan, phase)
    images = tf.constant(data.to_float(_pixels(16, count=3)))
    for _ in range(steps):
        gan.train_step(images)


def _assert_only_moved(before, after, frozen):
    assert frozen <= set(before)
    for layer, weights in before.items():
        for name, old in weights.items():
            new = after[layer][name]
            if name == "u" and old.shape == (1,) and layer not in frozen:
                continue  # a unit vector of one entry has nowhere to go
            same = np.array_equal(old, new)
            assert same == (layer in frozen), f"{layer}/{name}"


def test_every_recipe_is_covered():
    assert set(recipes.RECIPES) == set(FROZEN)


@pytest.mark.parametrize("network", ["dcgan", "sngan"])
@pytest.mark.parametrize("recipe", FROZEN)
def test_exactly_the_thawed_weights_move(recipe, network):
    source = _source(network)
    untouched = _states(source)
    gan, _ = cross_domain.migrate(source, *_pair(network), recipe=recipe)
    phases = recipes.by_name(recipe)(gan, 2, "frozen")
    assert len(phases) == len(FROZEN[recipe])
    assert sum(phase.share for phase in phases) == pytest.approx(1.0)
    for phase, (generator, discriminator) in zip(phases, FROZEN[recipe], strict=True):
        before = _states(gan)
        _train_phase(gan, phase)
        after = _states(gan)
        for name, frozen in (
            ("generator", generator),
            ("averaged", generator),
            ("discriminator", discriminator),
        ):
            _assert_only_moved(before[name], after[name], frozen)
    for name, state in _states(source).items():
        _assert_only_moved(untouched[name], state, set(state))


@pytest.mark.parametrize("recipe", ["freeze_generator", "gradual_thaw"])
def test_adapting_batch_norm_moves_the_statistics_alone(recipe):
    gan, _ = cross_domain.migrate(_source("dcgan"), *_pair(), recipe=recipe)
    phase = recipes.by_name(recipe)(gan, 2, "adapt")[0]
    before = _states(gan)
    _train_phase(gan, phase)
    after = _states(gan)
    for name in ("generator", "averaged"):
        old, new = before[name].pop("block2_bn"), after[name].pop("block2_bn")
        for weight, moves in (
            ("gamma", False),
            ("beta", False),
            ("moving_mean", True),
            ("moving_variance", True),
        ):
            assert np.any(old[weight] != new[weight]) == moves, (name, weight)
        _assert_only_moved(before[name], after[name], {"head_conv", "block2_conv"})


def test_new_head_starts_anew_over_the_copied_trunk():
    source = _source("sngan")
    gan, _ = cross_domain.migrate(source, *_pair("sngan"), recipe="new_head")
    recipes.new_head(gan, 1, "frozen")
    old, new = _state(source.discriminator), _state(gan.discriminator)
    _assert_only_moved(old, new, {"block1_conv", "block2_conv"})
    np.testing.assert_array_equal(new["head_dense"]["bias"], [0.0])
    fan = sum(new["head_dense"]["kernel"].shape)
    assert np.abs(new["head_dense"]["kernel"]).max() <= np.sqrt(6 / fan)  # Glorot


def test_l2_to_source_is_anchored_at_the_copied_weights():
    gan, _ = cross_domain.migrate(_source("dcgan"), *_pair(), recipe="l2_to_source")
    (phase,) = recipes.l2_to_source(gan, 1, "frozen")
    assert set(phase.anchors) == {"generator", "discriminator"}
    for name, network in gan.networks().items():
        penalty = phase.anchors[name]
        variables = network.trainable_variables
        assert set(penalty.anchors) == {variable.path for variable in variables}
        assert float(penalty(variables)) == 0.0
        kernel = network.get_layer("block1_conv").kernel
        kernel.assign_add(0.25 * np.ones(kernel.shape))
        count = np.prod(kernel.shape)
        expected = 1e-3 / 2 * count * 0.25**2
        assert float(penalty(variables)) == pytest.approx(expected, rel=1e-5)
    gan_settings.Settings().compile(gan, phase)
    assert set(gan.anchors) == set(phase.anchors)
    assert all(gan.anchors[name] is phase.anchors[name] for name in phase.anchors)


def test_stages_near_the_image_learn_slower():
    gan, copies = cross_domain.migrate(
        _source("dcgan"), *_pair(), recipe="layerwise_rates"
    )
    (phase,) = cross_domain.phases(gan, copies, "layerwise_rates", 1, "frozen")
    gan_settings.Settings().compile(gan, phase)
    rates = gan.generator_optimizer.rates, gan.discriminator_optimizer.rates
    kernels = (
        ("stem_dense", "block1_conv", "block2_conv", "head_conv"),
        (
            "head_dense",
            "block2_conv",
            "block1_conv",
        ),
    )
    for found, layers in zip(rates, kernels, strict=True):
        factors = [found[f"{layer}/kernel"] for layer in layers]
        assert factors == pytest.approx([2.6**-k for k in range(len(layers))])


def _trained(model):
    return {variable.path for variable in model.trainable_variables}


def test_latent_head_is_the_identity_at_first_and_trains_alone():
    generator, discriminator = _pair()
    headed = cross_domain.with_latent_head(generator)
    names = [layer.name for layer in headed.layers]
    assert names[:2] == ["latents", "latent_dense"]
    assert names[2:] == [layer.name for layer in generator.layers[1:]]
    assert headed.get_layer("stem_dense") is generator.get_layer("stem_dense")
    latents = np.random.default_rng(1).normal(size=(4, LATENT)).astype("float32")
    np.testing.assert_allclose(headed(latents), generator(latents), atol=1e-6)
    (phase,) = recipes.latent_head(adversarial.GAN(headed, discriminator), 1, "frozen")
    phase.prepare()
    assert _trained(headed) == {"latent_dense/kernel", "latent_dense/bias"}
    assert _trained(discriminator) == {"head_dense/kernel", "head_dense/bias"}


def test_latent_head_refusals():
    conditional, _ = presets.build("dcgan", 16, 1, classes=3, width=2)
    with pytest.raises(errors.InputError, match="without classes"):
        cross_domain.with_latent_head(conditional)
    (phase,) = recipes.latent_head(adversarial.GAN(*_pair()), 1, "frozen")
    with pytest.raises(errors.InputError, match="'latent_dense' matches no layer"):
        phase.prepare()


@pytest.mark.parametrize(
    ("recipe", "depth"),
    [("freeze_discriminator", 3), ("freeze_generator", 4), ("gradual_thaw", 3)],
)
def test_recipes_refuse_to_freeze_everything(recipe, depth):
    gan = adversarial.GAN(*_pair())
    with pytest.raises(errors.InputError, match="--depth"):
        recipes.by_name(recipe)(gan, depth, "frozen")[0].prepare()


def test_unknown_recipe_lists_the_recipes():
    with pytest.raises(errors.InputError) as caught:
        recipes.by_name("finetune")
    assert "'finetune'" in str(caught.value)
    assert all(name in str(caught.value) for name in FROZEN)
