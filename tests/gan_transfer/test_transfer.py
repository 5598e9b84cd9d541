"""Freezing, rates, stale flags, weight by weight (documents A 3.1, B 2.1)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import adversarial, data, errors, transfer
from gan_transfer.networks import presets

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


def _trained(model):
    return {variable.path for variable in model.trainable_variables}


def _latents(count=4):
    values = np.random.default_rng(1).normal(size=(count, LATENT))
    return values.astype("float32")


def _images(size=16, channels=1, count=4):
    values = np.random.default_rng(2).uniform(-1, 1, (count, size, size, channels))
    return values.astype("float32")


def test_stages_in_data_order(generator, discriminator):
    assert transfer.stages(generator) == ["stem", "block1", "block2", "head"]
    assert transfer.stages(discriminator) == ["block1", "block2", "head"]
    assert transfer.stage_of(generator.get_layer("block2_conv")) == "block2"


def test_freeze_and_unfreeze_match_whole_names(generator):
    everything = _trained(generator)
    transfer.freeze(generator, "block1_.*", "head_conv")
    frozen = {
        "block1_conv/kernel",
        "block1_bn/gamma",
        "block1_bn/beta",
        "head_conv/kernel",
        "head_conv/bias",
    }
    assert _trained(generator) == everything - frozen
    transfer.unfreeze(generator, "block1_bn")
    assert everything - _trained(generator) == frozen - {
        "block1_bn/gamma",
        "block1_bn/beta",
    }
    transfer.unfreeze(generator, ".*")
    assert _trained(generator) == everything


@pytest.mark.parametrize("pattern", ["block9_.*", "block1", "conv", "stem_act", ""])
@pytest.mark.parametrize("change", [transfer.freeze, transfer.unfreeze])
def test_patterns_that_match_nothing_are_refused(generator, change, pattern):
    before = _trained(generator)
    with pytest.raises(errors.InputError, match="no layer of generator.*stem_dense"):
        change(generator, pattern)
    assert _trained(generator) == before


def test_unknown_batch_norm_policy_is_refused(generator):
    with pytest.raises(errors.InputError, match="'thaw'.*frozen, adapt"):
        transfer.freeze(generator, ".*", batch_norm="thaw")


def _norm_state(layer):
    return [weight.numpy() for weight in layer.weights]


def test_frozen_batch_norm_keeps_its_statistics_and_uses_them(generator):
    transfer.freeze(generator, "block1_.*", batch_norm="frozen")
    layer = generator.get_layer("block1_bn")
    before = _norm_state(layer)
    inputs = np.random.default_rng(3).normal(4, 3, (5, 8, 8, 6)).astype("float32")
    gamma, beta, mean, variance = before
    expected = (inputs - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta
    np.testing.assert_allclose(layer(inputs, training=True), expected, atol=1e-4)
    generator(_latents(), training=True)
    for old, new in zip(before, _norm_state(layer), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("frozen_before", [False, True])
def test_adapting_batch_norm_collects_statistics_alone(generator, frozen_before):
    if frozen_before:
        transfer.freeze(generator, "block1_.*", batch_norm="frozen")
    transfer.freeze(generator, "block1_.*", batch_norm="adapt")
    assert not {p for p in _trained(generator) if p.startswith("block1_")}
    layer = generator.get_layer("block1_bn")
    gamma, beta, mean, variance = _norm_state(layer)
    inputs = np.random.default_rng(3).normal(4, 3, (5, 8, 8, 6)).astype("float32")
    layer(inputs, training=True)
    new_gamma, new_beta, new_mean, new_variance = _norm_state(layer)
    np.testing.assert_array_equal(new_gamma, gamma)
    np.testing.assert_array_equal(new_beta, beta)
    axes = (0, 1, 2)
    np.testing.assert_allclose(
        new_mean, 0.9 * mean + 0.1 * inputs.mean(axes), rtol=1e-5
    )
    np.testing.assert_allclose(
        new_variance, 0.9 * variance + 0.1 * inputs.var(axes), rtol=1e-4
    )
    transfer.unfreeze(generator, "block1_bn")
    assert {"block1_bn/gamma", "block1_bn/beta"} <= _trained(generator)


@pytest.mark.parametrize(
    ("depth", "end", "expected"),
    [
        (0, "input", []),
        (0, "output", []),
        (1, "input", ["stem"]),
        (2, "input", ["stem", "block1"]),
        (1, "output", ["head"]),
        (3, "output", ["block1", "block2", "head"]),
    ],
)
def test_freeze_to_depth(generator, depth, end, expected):
    everything = _trained(generator)
    assert transfer.freeze_to_depth(generator, depth, end=end) == expected
    frozen = {path.split("_")[0] for path in everything - _trained(generator)}
    kept = {path.split("_")[0] for path in _trained(generator)}
    assert frozen == set(expected) and not frozen & kept


def test_freeze_to_depth_passes_the_batch_norm_policy(generator):
    transfer.freeze_to_depth(generator, 2, end="output", batch_norm="adapt")
    layer = generator.get_layer("block2_bn")
    assert layer.trainable and not layer.trainable_variables
    assert not generator.get_layer("block2_conv").trainable


@pytest.mark.parametrize("depth", [-1, 4, 9])
def test_freezing_everything_is_refused(generator, depth):
    with pytest.raises(errors.InputError, match="--depth from 0 to 3"):
        transfer.freeze_to_depth(generator, depth, end="input")


def test_layerwise_rates_the_last_rule_wins(generator):
    rates = transfer.layerwise_rates(
        generator, {"block.*": 0.5, "block2_.*": 0.25, "head_conv": 2.0}
    )
    assert rates["block1_conv/kernel"] == rates["block1_bn/beta"] == 0.5
    assert rates["block2_conv/kernel"] == 0.25
    assert rates["head_conv/kernel"] == rates["head_conv/bias"] == 2.0
    assert not any(path.startswith("stem") for path in rates)
    assert transfer.layerwise_rates(generator, {}) == {}


def test_impossible_rates_are_refused(generator):
    with pytest.raises(errors.InputError, match="'block9_.*' matches no layer"):
        transfer.layerwise_rates(generator, {"block9_.*": 0.5})
    for factor in (0.0, -1.0, float("nan")):
        with pytest.raises(errors.InputError, match="not positive; freeze"):
            transfer.layerwise_rates(generator, {"head_conv": factor})


def _steps(optimizer, variables, gradients, count):
    optimizer.build(variables)
    step = tf.function(lambda: optimizer.apply(gradients, variables))
    for _ in range(count):
        step()
    return [variable.numpy() for variable in variables]


def _zeros(names):
    return [keras.Variable([0.0, 0.0], name=name) for name in names]


def test_layerwise_adam_scales_every_step():
    names = ("slow", "plain")
    gradients = [tf.constant([3.0, -0.02])] * 2
    choices = {"learning_rate": 0.01, "beta_1": 0.5, "beta_2": 0.99}
    variables = _zeros(names)
    rates = {variables[0].path: 0.1}
    slow, plain = _steps(
        transfer.LayerwiseAdam(rates, **choices), variables, gradients, 1
    )
    np.testing.assert_allclose(plain, [-0.01, 0.01], rtol=1e-4)
    np.testing.assert_allclose(slow, 0.1 * plain, rtol=1e-6)

    slow, plain = _steps(
        transfer.LayerwiseAdam(rates, **choices), variables, gradients, 4
    )
    adam = _steps(keras.optimizers.Adam(**choices), _zeros(names), gradients, 4)
    start = np.float32([-0.01, 0.01])
    np.testing.assert_allclose(plain, start + adam[1], rtol=1e-4)
    np.testing.assert_allclose(slow, 0.1 * (start + adam[0]), rtol=1e-4)


def test_layerwise_adam_without_rates_is_adam():
    gradients = [tf.constant([3.0, -0.02]), tf.constant([-1.0, 1e-4])]
    ours = _steps(transfer.LayerwiseAdam(), _zeros("ab"), gradients, 3)
    adam = _steps(keras.optimizers.Adam(), _zeros("ab"), gradients, 3)
    np.testing.assert_array_equal(ours, adam)


def test_layerwise_adam_inside_loss_scaling():
    variables = _zeros(("slow", "plain"))
    optimizer = keras.optimizers.LossScaleOptimizer(
        transfer.LayerwiseAdam({variables[0].path: 0.1}, learning_rate=0.01)
    )
    optimizer.build(variables)
    scaled = [optimizer.scale_loss(tf.constant([1.0, -2.0]))] * 2
    slow, plain = _steps(optimizer, variables, scaled, 1)
    np.testing.assert_allclose(plain, [-0.01, 0.01], rtol=1e-4)
    np.testing.assert_allclose(slow, 0.1 * plain, rtol=1e-6)


def test_layerwise_adam_configuration_round_trip():
    optimizer = transfer.LayerwiseAdam(
        {"head_conv/kernel": 0.1}, learning_rate=0.02, beta_1=0.4, beta_2=0.9
    )
    for copy in (
        transfer.LayerwiseAdam.from_config(optimizer.get_config()),
        keras.optimizers.deserialize(keras.optimizers.serialize(optimizer)),
    ):
        assert type(copy) is transfer.LayerwiseAdam
        assert copy.rates == {"head_conv/kernel": 0.1}
        assert (copy.beta_1, copy.beta_2) == (0.4, 0.9)
        assert float(copy.learning_rate) == pytest.approx(0.02)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_adam_scales_the_loss_in_float16_alone(policy):
    keras.config.set_dtype_policy(policy)
    try:
        optimizer = transfer.adam({"a": 0.1}, learning_rate=0.02, beta_1=0.4)
    finally:
        keras.config.set_dtype_policy("float32")
    if policy == "mixed_float16":
        assert type(optimizer) is keras.optimizers.LossScaleOptimizer
        optimizer = optimizer.inner_optimizer
    assert type(optimizer) is transfer.LayerwiseAdam
    assert (optimizer.rates, optimizer.beta_1) == ({"a": 0.1}, 0.4)


def _gan():
    gan = adversarial.GAN(*_pair(width=2))
    gan.compile(transfer.LayerwiseAdam(), transfer.LayerwiseAdam())
    return gan


def _fit(gan, steps=1):
    pixels = np.random.default_rng(3).integers(0, 256, (9, 16, 16, 1), dtype=np.uint8)
    gan.fit(data.batches(pixels, 4), steps_per_epoch=steps, verbose=0, shuffle=False)


@pytest.mark.parametrize(
    ("network", "layer", "batch_norm"),
    [
        ("discriminator", "head_dense", "frozen"),
        ("generator", "head_conv", "frozen"),
        # Both networks have a layer of this name.
        ("discriminator", "block1_conv", "frozen"),
        ("generator", "block1_conv", "frozen"),
        ("generator", "block1_bn", "frozen"),
        ("generator", "block1_bn", "adapt"),
    ],
)
def test_training_with_stale_flags_is_refused(network, layer, batch_norm):
    gan = _gan()
    transfer.freeze(gan.networks()[network], layer, batch_norm=batch_norm)
    with pytest.raises(RuntimeError, match=f"flags changed.*{layer}.*compile"):
        _fit(gan)
    gan.compile(transfer.LayerwiseAdam(), transfer.LayerwiseAdam())
    gan.check_flags()
    transfer.unfreeze(gan.networks()[network], layer)
    with pytest.raises(RuntimeError, match="flags changed"):
        gan.check_flags()


def test_training_without_compile_is_refused():
    gan = adversarial.GAN(*_pair(width=2))
    with pytest.raises(RuntimeError, match=r"call GAN.compile\(\) before"):
        gan.train_step(tf.constant(_images()))


def test_compile_makes_a_traced_step_heed_new_flags():
    gan = _gan()
    _fit(gan)
    layer = gan.generator.get_layer("block1_conv")
    moved = layer.kernel.numpy()
    transfer.freeze(gan.generator, "block1_conv")
    with pytest.raises(RuntimeError, match="flags changed"):
        _fit(gan)
    gan.compile(transfer.LayerwiseAdam(), transfer.LayerwiseAdam())
    other = gan.generator.get_layer("block2_conv").kernel.numpy()
    _fit(gan)
    np.testing.assert_array_equal(layer.kernel.numpy(), moved)
    assert np.all(gan.generator.get_layer("block2_conv").kernel.numpy() != other)
