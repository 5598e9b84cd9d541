"""The VAE's bound, step and likelihood against closed forms (document C 3.3.2)."""

import json
import math
import os
import pathlib

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from gan_transfer import (
    adversarial,
    cross_domain,
    errors,
    pretrained,
    recipes,
    variational,
)
from gan_transfer.networks import autoencoder, fully_connected, presets

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "vae.json"
SHAPE, LATENT, BATCH = (4, 6, 2), 3, 5
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(-1, 1, (BATCH, *SHAPE)).astype(np.float32)


def make(likelihood="bernoulli", optimizer=None, output="tanh"):
    keras.utils.set_random_seed(0)
    vae = variational.VAE(
        autoencoder.dense_encoder(SHAPE, latent_dim=LATENT, units=(7,)),
        fully_connected.generator(
            SHAPE, latent_dim=LATENT, units=(8, 9), output=output
        ),
        likelihood=variational.LIKELIHOODS[likelihood],
        seed=5,
    )
    vae.compile(optimizer or keras.optimizers.Adam(1e-2))
    return vae


def make_convolutional():
    keras.utils.set_random_seed(0)
    vae = variational.VAE(
        *autoencoder.convolutional_pair(16, 1, latent_dim=LATENT, width=4), seed=5
    )
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae


def batch(vae, step):
    rng = np.random.default_rng(step)
    return tf.constant(rng.uniform(-1, 1, (BATCH, *vae.image_shape)), tf.float32)


def assert_equal_weights(one, other):
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), mine.path)


def test_divergence_is_the_integral_that_defines_it():
    mean, log_variance = 0.7, math.log(0.3)
    grid = np.linspace(-12, 12, 200_001)
    q = scipy.stats.norm.pdf(grid, mean, math.sqrt(0.3))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(q > 0, np.log(q / scipy.stats.norm.pdf(grid)), 0)
    expected = np.trapezoid(q * ratio, grid)
    found = variational.kl_divergence(
        tf.constant([[mean, 0.0]]), tf.constant([[log_variance, 0.0]])
    )
    np.testing.assert_allclose(found.numpy(), [expected], rtol=1e-5)


def test_bernoulli_is_the_product_of_its_pixels():
    logits = RNG.normal(0, 2, (2, *SHAPE)).astype(np.float32)
    target = (RNG.uniform(size=logits.shape) < 0.5).astype(np.float32)
    found = variational.Bernoulli().log_probability(target, tf.constant(logits))
    p = scipy.special.expit(logits)
    expected = np.log(np.where(target == 1, p, 1 - p)).sum((1, 2, 3))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_binary_images_have_the_grey_value_as_probability():
    images = tf.fill([1, 200, 300, 1], -0.4)
    target = variational.Bernoulli().target(images, tf.constant([1, 2])).numpy()
    assert set(np.unique(target)) == {0.0, 1.0}
    assert target.mean() == pytest.approx(0.3, abs=0.01)


def test_gaussian_is_the_product_of_its_pixels():
    logits = RNG.normal(0, 2, (2, *SHAPE)).astype(np.float32)
    found = variational.Gaussian(0.5).log_probability(
        tf.constant(IMAGES[:2]), tf.constant(logits)
    )
    decoded = 2 * scipy.special.expit(logits) - 1
    expected = scipy.stats.norm.logpdf(IMAGES[:2], decoded, 0.5).sum((1, 2, 3))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("output", ["tanh", "sigmoid"])
def test_logits_are_those_of_the_decoded_image(output):
    vae = make(output=output)
    latents = RNG.normal(size=(3, LATENT)).astype(np.float32)
    logits = vae.logits(latents).numpy()
    np.testing.assert_allclose(
        2 * scipy.special.expit(logits) - 1, vae.decode(latents), atol=1e-6
    )


def test_a_decoder_without_logits_is_refused():
    latents = keras.Input((LATENT,))
    linear = keras.Model(latents, keras.layers.Dense(4)(latents), name="linear")
    with pytest.raises(errors.InputError, match="linear does not end in a tanh"):
        autoencoder.logits(linear)


def test_likelihood_without_latents_is_that_of_the_biases():
    vae = make()
    for weight in (
        *vae.encoder.get_layer("head_dense").weights,
        vae.decoder.get_layer("head_dense").weights[0],
    ):
        weight.assign(tf.zeros_like(weight))
    bias = RNG.normal(size=math.prod(SHAPE)).astype(np.float32)
    vae.decoder.get_layer("head_dense").bias.assign(bias)
    binary = np.where(IMAGES > 0, 1.0, -1.0).astype(np.float32)
    p = scipy.special.expit(2 * bias).reshape(SHAPE)
    expected = np.log(np.where(binary > 0, p, 1 - p)).sum((1, 2, 3))
    for found in vae.log_likelihood(binary, 7):  # no latent matters: no gap
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert vae.bound(binary) == pytest.approx(expected.mean(), rel=1e-5)


def test_weighted_likelihood_is_the_integral_over_latents():
    keras.utils.set_random_seed(1)
    vae = variational.VAE(
        autoencoder.dense_encoder((1, 2, 1), latent_dim=1, units=(4,)),
        fully_connected.generator((1, 2, 1), latent_dim=1, units=(6,)),
    )
    for weight in vae.decoder.weights:
        weight.assign(2.0 * weight)
    image = np.array([[[[1.0], [-1.0]]]], np.float32)
    z = np.linspace(-8, 8, 4001)
    logits = vae.logits(np.float32(z[:, None])).numpy()[:, 0, :, 0].astype(float)
    joint = scipy.stats.norm.logpdf(z) - np.logaddexp(0, logits * [-1, 1]).sum(1)
    mean, log_variance = vae.encode(image)
    posterior = scipy.stats.norm(mean[0, 0], np.exp(log_variance[0, 0] / 2))
    expected = np.log(np.trapezoid(np.exp(joint), z))
    bounds = np.trapezoid(posterior.pdf(z) * (joint - posterior.logpdf(z)), z)
    found, bound = vae.log_likelihood(image, 20_000)
    assert found == pytest.approx([expected], abs=5e-3)
    assert bound == pytest.approx([bounds], abs=0.02)
    assert vae.bound(np.repeat(image, 2000, 0)) < found[0]
    assert bound[0] < found[0] - 0.1


def test_one_step_follows_the_gradient_of_the_bound():
    vae, twin = make(optimizer=keras.optimizers.SGD(0.1)), make()
    images = batch(vae, 0)
    logs = vae.train_step(images)
    target = twin.likelihood.target(images, twin.key(0))
    noise = twin.normal(BATCH, LATENT, 1)
    variables = twin.encoder.trainable_variables + twin.decoder.trainable_variables
    with tf.GradientTape() as tape:
        mean, log_variance = tf.split(twin.encoder(2 * target - 1), 2, -1)
        decoded = twin.decoder(mean + tf.exp(0.5 * log_variance) * noise)
        p = tf.cast((1 + decoded) / 2, tf.float64)
        x = tf.cast(target, tf.float64)
        log_p = tf.reduce_sum(x * tf.math.log(p) + (1 - x) * tf.math.log(1 - p)) / BATCH
        kl = 0.5 * tf.reduce_sum(mean**2 + tf.exp(log_variance) - log_variance - 1)
        loss = tf.cast(kl, tf.float64) / BATCH - log_p
    gradients = tape.gradient(loss, variables)
    assert float(logs["loss"]) == pytest.approx(float(loss), rel=1e-5)
    assert float(logs["kl_loss"]) == pytest.approx(float(kl) / BATCH, rel=1e-5)
    moved = vae.encoder.trainable_variables + vae.decoder.trainable_variables
    for before, after, gradient in zip(variables, moved, gradients, strict=True):
        np.testing.assert_allclose(
            after.numpy(), before.numpy() - 0.1 * gradient.numpy(), atol=1e-5
        )
    assert int(vae.updates) == 1


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian", "convolutional"])
def test_golden_scalars_of_ten_steps(kind):
    vae = make_convolutional() if kind == "convolutional" else make(kind)
    found = {"loss": [], "kl_loss": []}
    for step in range(10):
        for tracker in vae.metrics:
            tracker.reset_state()
        logs = vae.train_step(batch(vae, step))
        for name, series in found.items():
            series.append(float(logs[name]))
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("GOLDEN") == "write":
        golden[kind] = found
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    for name, series in found.items():
        np.testing.assert_allclose(series, golden[kind][name], rtol=1e-3, atol=1e-4)


def test_eager_equals_compiled():
    eager, compiled = make_convolutional(), make_convolutional()
    traced = tf.function(compiled.train_step)
    for step in range(2):
        eager.train_step(batch(eager, step))
        traced(batch(compiled, step))
    for one, other in zip(eager.weights, compiled.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=2e-4)


@pytest.mark.parametrize("build", [make, make_convolutional])
def test_resumed_equals_uninterrupted(tmp_path, build):
    straight, killed, resumed = build(), build(), build()
    for step in range(4):
        straight.train_step(batch(straight, step))
    for step in range(2):
        killed.train_step(batch(killed, step))
    killed.save_weights(tmp_path / "state.weights.h5")
    resumed.load_weights(tmp_path / "state.weights.h5")
    for step in range(2, 4):
        resumed.train_step(batch(resumed, step))
    assert_equal_weights(straight, resumed)
    for mine, theirs in zip(
        straight.vae_optimizer.variables, resumed.vae_optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


@pytest.mark.parametrize(
    ("recipe", "moved"),
    [
        ("fine_tune", {"encoder": None, "decoder": None}),
        ("freeze_discriminator", {"encoder": "(block2|neck|head)", "decoder": None}),
        ("freeze_generator", {"encoder": None, "decoder": "(stem|block)"}),
        ("scale_shift", {"encoder": None, "decoder": ".*_bn"}),
    ],
)
def test_recipes_move_only_what_they_say(recipe, moved):
    import re

    vae = make_convolutional()
    (phase,) = recipes.by_name(recipe)(vae, 1, "frozen")
    phase.prepare()
    vae.compile(keras.optimizers.Adam(1e-2))
    before = {
        (name, layer.name): layer.get_weights()
        for name, network in vae.networks().items()
        for layer in network.layers
        if layer.weights
    }
    vae.train_step(batch(vae, 0))
    for (name, layer), values in before.items():
        now = vae.networks()[name].get_layer(layer).get_weights()
        same = all(np.array_equal(a, b) for a, b in zip(values, now, strict=True))
        pattern = moved[name]
        assert same != (pattern is None or bool(re.match(pattern, layer))), layer


def test_decoder_and_generator_exchange_weights_bit_for_bit():
    vae = make_convolutional()
    generator, discriminator = presets.build("dcgan", 16, 1, width=4, latent_dim=LATENT)
    gan = adversarial.GAN(generator, discriminator)
    for weight in gan.averaged_generator.weights:
        weight.assign(RNG.uniform(0.1, 1, weight.shape))
    copies = cross_domain.copy_networks(gan, vae.networks(), vae.IMAGE_ENDS)
    assert {each.origin for each in copies["decoder"]} == {"copied"}
    assert_equal_weights(vae.decoder, gan.averaged_generator)
    origins = {each.layer: each.origin for each in copies["encoder"]}
    assert origins == {
        "block1_conv": "copied",
        "block2_conv": "copied",
        "neck_dense": "new",
        "head_dense": "new",
    }
    cross_domain.copy_networks(vae, gan.networks(), gan.IMAGE_ENDS)
    assert_equal_weights(gan.generator, vae.decoder)


def test_loaded_run_draws_and_reconstructs_the_same(tmp_path):
    vae = make("gaussian")
    for name, network in vae.stored_networks().items():
        network.save(tmp_path / f"{name}.keras")
    about = dict.fromkeys(pretrained.DESCRIBED, 1) | {"likelihood": "gaussian"}
    (tmp_path / "summary.json").write_text(json.dumps({"description": about}))
    loaded = pretrained.load(tmp_path)
    assert loaded.likelihood == variational.Gaussian()
    np.testing.assert_array_equal(loaded.generate(3, 1), vae.generate(3, 1))
    np.testing.assert_array_equal(loaded.reconstruct(IMAGES), vae.reconstruct(IMAGES))
    path = tmp_path / "model.gan.npz"
    pretrained.save(vae, path, about)
    np.testing.assert_array_equal(pretrained.load(path).generate(3), vae.generate(3))


def test_misfits_are_refused():
    encoder = autoencoder.dense_encoder(SHAPE, latent_dim=4, units=(7,))
    decoder = fully_connected.generator(SHAPE, latent_dim=LATENT, units=(8,))
    with pytest.raises(errors.InputError, match="8 outputs; .* 3 latents needs 6"):
        variational.VAE(encoder, decoder)
    vae = make()
    vae.encoder.trainable = vae.decoder.trainable = False
    with pytest.raises(errors.InputError, match="every layer of the VAE is frozen"):
        vae.compile(keras.optimizers.Adam())
