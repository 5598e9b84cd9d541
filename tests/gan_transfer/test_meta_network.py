"""MetaNN, MetaCNN, their bounds and the adapter that tests few-shot generation."""

import json
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import errors, few_shot_vae, meta_learning, transfer, variational
from gan_transfer.networks import meta

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "meta_network.json"
SIZE, LATENT, WIDTH = 8, 3, 4


def build(kind="vae_dense", channels=1, **settings):
    keras.utils.set_random_seed(0)
    make = meta.NETWORKS[kind]
    return make(SIZE, channels, latent_dim=LATENT, width=WIDTH, **settings)


def drawings(count=4, seed=0, channels=1):
    pixels = np.random.default_rng(seed).uniform(-1, 1, (count, SIZE, SIZE, channels))
    return pixels.astype(np.float32)


def call_of(network):
    return lambda inputs, training=True: network(inputs, training=training)


def weights_of(network):
    return [variable.numpy() for variable in network.trainable_variables]


@pytest.mark.parametrize("kind", meta.NETWORKS)
@pytest.mark.parametrize("context", [False, True])
def test_one_flat_network_ends_in_logits_and_posterior(kind, context):
    network = build(kind, channels=3, context=context)
    more = [tf.ones((2, LATENT))] * context
    noise = tf.ones((2, LATENT))
    images = tf.constant(drawings(2, channels=3))
    logits, mean, log_variance = network([images, noise, *more])
    assert logits.shape == (2, SIZE, SIZE, 3)
    assert mean.shape == log_variance.shape == (2, LATENT)
    assert not network.non_trainable_variables
    stages = transfer.stages(network)
    roles = [stage.rstrip("0123456789") for stage in stages]
    assert set(roles) == {"encoder", "posterior", "decoder", "generator"}
    assert not any(isinstance(layer, keras.Model) for layer in network.layers)
    # z = mean + sd noise, then f(z) = G(D(z)).
    latents = mean + tf.exp(0.5 * log_variance) * noise
    sampler = meta.sampler(network)
    pixels = sampler([latents, *more] if context else latents)
    np.testing.assert_allclose(pixels, 2 * tf.sigmoid(logits) - 1, atol=1e-6)
    kept = {v.path for v in sampler.trainable_variables}
    assert kept == {
        v.path
        for v in network.trainable_variables
        if v.path.startswith(("decoder", "generator"))
    }


def test_bound_is_that_of_the_formula():
    network, images = build(), drawings()
    key = tf.constant([3, 4])
    found = few_shot_vae.MinusBound(LATENT)(call_of(network), (images,), key)
    pixels = variational.Bernoulli()
    target = pixels.target(images, key)
    noise = tf.random.stateless_normal([4, LATENT], key + [0, 1])
    logits, mean, log_variance = network([2 * target - 1, noise])
    parts = pixels.log_probability(target, logits)
    expected = variational.kl_divergence(mean, log_variance) - parts
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-5)


def test_weighted_bound_is_the_mean_of_the_weights_and_nears_the_likelihood():
    network, images = build(), drawings(2)
    call, key = call_of(network), tf.constant([3, 4])
    count = 5
    found = few_shot_vae.MinusBound(LATENT, count)(call, (images,), key)
    target = tf.repeat(variational.Bernoulli().target(images, key), count, axis=0)
    noise = tf.random.stateless_normal([2 * count, LATENT], key + [0, 1])
    logits, mean, log_variance = map(np.asarray, network([2 * target - 1, noise]))
    latents = mean + np.exp(log_variance / 2) * noise
    log_p = variational.Bernoulli().log_probability(target, logits)
    ratio = np.sum(noise**2 - latents**2 + log_variance, axis=1) / 2
    weights = np.exp(np.float64(log_p + ratio)).reshape(2, count)
    np.testing.assert_allclose(found, -np.log(weights.mean(1)).mean(), rtol=1e-5)
    # One draw is an unbiased estimate of the bound; more draws only raise it.
    bounds = [
        np.mean(
            [
                few_shot_vae.MinusBound(LATENT, k)(call, (images,), tf.constant([s, 0]))
                for s in range(30)
            ]
        )
        for k in (1, 30)
    ]
    assert bounds[1] < bounds[0] - 0.05, bounds


def test_context_is_the_mean_posterior_of_the_given_images():
    network, images = build(context=True), drawings(5)
    call, key = call_of(network), tf.constant([0, 2])
    objective = few_shot_vae.ContextBound(LATENT, 3)
    for count in (1, 3):
        nothing = tf.zeros((count, LATENT))
        target = 2 * variational.Bernoulli().target(images[:count], key) - 1
        mean = network([target, nothing, nothing])[1].numpy()
        found = objective.context(call, tf.constant(images[:count]), key)
        np.testing.assert_allclose(found, mean.mean(0), atol=1e-6)


@pytest.mark.parametrize("kind", meta.NETWORKS)
def test_a_network_that_begins_blind_ignores_its_context(kind):
    blind, network = build(kind), build(kind, context=True)
    meta.begin_blind(network, blind)
    generator = np.random.default_rng(0)
    noise, context = (
        generator.normal(size=(4, LATENT)).astype("float32") for _ in range(2)
    )
    expected = blind([drawings(4), noise])
    for found, wanted in zip(
        network([drawings(4), noise, context]), expected, strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_context_bound_is_that_of_the_other_images():
    network, images = build(context=True), drawings(5)
    call, objective = call_of(network), few_shot_vae.ContextBound(LATENT, 3)
    seen = set()
    for draw in range(12):
        key = tf.constant([draw, 0])
        count = int(tf.random.stateless_uniform([], key + [0, 3], 0, 4, dtype=tf.int32))
        seen.add(count)
        vector = tf.zeros(LATENT)
        if count:
            shown = tf.constant(images[:count])
            vector = objective.context(call, shown, key + [0, 2])
        batch = images[count:], tf.repeat(vector[None], 5 - count, axis=0)
        expected = few_shot_vae.MinusBound(LATENT)(call, batch, key)
        found = objective(call, (images,), key)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", meta.NETWORKS)
def test_adapter_is_the_meta_learner_on_a_task(kind):
    network = build(kind)
    learner = meta_learning.MAML(network, seed=0)
    objective = few_shot_vae.MinusBound(LATENT)
    learner.compile(
        keras.optimizers.Adam(),
        objective,
        inner_rates={".*": 0.01},
        inner_steps=1,
        inner_optimizer="adam",
    )
    support, query = (drawings(3, 1),), (drawings(4, 2),)
    expected = learner.evaluate_tasks([(support, query)], (0, 2), seed=7)[0]
    adapter = few_shot_vae.Adapter(network, weighted=3)
    rates = [0.01] * len(adapter.inner.adapting)
    start = weights_of(network)
    found = list(adapter.outcomes(start, rates, support, query, (0, 2), seed=7))
    np.testing.assert_allclose([each.bound for each in found], expected, rtol=1e-5)
    adapted = learner.adapt(support, 2, seed=7)
    for one, other in zip(found[1].values, adapted.trainable_variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    noise = np.ones((5, LATENT), "f")
    pictures = adapter.images(found[1].values, noise)
    np.testing.assert_allclose(pictures, meta.sampler(adapted)(noise), atol=1e-5)
    for one, other in zip(weights_of(network), start, strict=True):
        np.testing.assert_array_equal(one, other)


def test_frozen_layers_stay_and_no_task_traces_anew():
    network = build()
    adapter = few_shot_vae.Adapter(network, adapting=("generator.*",), weighted=2)
    rates, start = [0.1] * len(adapter.inner.adapting), weights_of(network)
    for seed, steps in ((1, (1, 3)), (2, (2,))):
        support, query = (drawings(3, seed),), (drawings(4, seed + 5),)
        *_, last = adapter.outcomes(start, rates, support, query, steps, seed=seed)
        paths = [v.path for v in network.trainable_variables]
        for path, old, new in zip(paths, start, last.values, strict=True):
            moved = not np.array_equal(old, new)
            assert moved == path.startswith("generator"), path
        adapter.images(last.values, np.ones((2, LATENT), "f"))
    for function in (adapter._fit, adapter._score, adapter._draw):
        assert function.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("kind", meta.NETWORKS)
@pytest.mark.parametrize("context", [False, True])
def test_a_saved_network_loads_with_equal_outputs(kind, context, tmp_path):
    network = build(kind, context=context)
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    noise = np.random.default_rng(1).normal(size=(4, LATENT)).astype(np.float32)
    inputs = [drawings(), noise, *[noise] * context]
    for one, other in zip(network(inputs), loaded(inputs), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [each.name for each in loaded.layers] == [
        each.name for each in network.layers
    ]


@pytest.mark.parametrize("context", [False, True], ids=["maml", "context"])
@pytest.mark.parametrize("kind", meta.NETWORKS)
def test_golden_scalars_of_ten_steps(kind, context):
    objective = few_shot_vae.MinusBound(LATENT)
    if context:
        objective = few_shot_vae.ContextBound(LATENT, 2)
    learner = meta_learning.MAML(build(kind, context=context), seed=5)
    learner.compile(
        keras.optimizers.Adam(1e-2),
        objective,
        inner_rates={".*": 1e-3},
        inner_steps=0 if context else 2,
        inner_optimizer="adam",
        first_order=True,
    )
    step = tf.function(learner.train_step, autograph=False)
    found = {"loss": [], "weight": []}
    for number in range(10):
        learner.metrics[0].reset_state()
        parts = (drawings(6, number).reshape(2, 3, SIZE, SIZE, 1) for _ in range(2))
        support, query = (((tf.constant(part)),) for part in parts)
        found["loss"].append(float(step((support, query))["loss"]))
        moved = np.concatenate([w.ravel() for w in learner.network.get_weights()])
        found["weight"].append(float(np.abs(moved).mean(dtype=np.float64)))
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    kind += "_context" * context
    if os.environ.get("GOLDEN") == "write":
        golden[kind] = found
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    for name, series in found.items():
        np.testing.assert_allclose(series, golden[kind][name], rtol=1e-4, atol=1e-6)


def test_size_that_metacnn_cannot_have_is_refused():
    with pytest.raises(errors.InputError, match="30 is no multiple of 4"):
        meta.convolutional(30, 1)
