"""The GAN's training step against independent computations; sampling it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import (
    adversarial,
    augmentation,
    errors,
    gan_settings,
    losses,
    regularization,
    sampling,
    schedule,
)
from gan_transfer.networks import presets

BATCH, LATENT = 4, 8

ADA = augmentation.Augmentation(probability=0.5, target=0.6, ramp_images=100)


def make(classes=0, **settings):
    """A tiny GAN; compiled with Adam unless the settings name other optimizers."""
    keras.utils.set_random_seed(0)
    networks = presets.build(
        "dcgan", 16, 1, classes=classes, width=4, latent_dim=LATENT
    )
    gan = adversarial.GAN(*networks, seed=5)
    optimizer = settings.pop("optimizer", lambda: keras.optimizers.Adam(1e-3, 0.5))
    gan.compile(optimizer(), optimizer(), **settings)
    return gan


def sgd():
    return keras.optimizers.SGD(1.0)


def real(count=BATCH, seed=0):
    pixels = np.random.default_rng(seed).uniform(-1, 1, (count, 16, 16, 1))
    return tf.constant(pixels, tf.float32)


def values(variables):
    return [np.copy(variable.numpy()) for variable in variables]


def test_one_step_is_a_gradient_step_of_d_then_one_of_g_against_the_new_d():
    gan, twin = make(optimizer=sgd), make(optimizer=sgd)
    images = real()
    gan.train_step(images)
    d, g = twin.discriminator, twin.generator
    fake = g(twin.normal(BATCH, LATENT, adversarial.D_DRAWS), training=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.math.softplus(-d(images)) + tf.math.softplus(d(fake)))
    for variable, slope in zip(
        d.trainable_variables,
        tape.gradient(loss, d.trainable_variables),
        strict=True,
    ):
        variable.assign(variable - slope)
    latents = twin.normal(BATCH, LATENT, adversarial.G_DRAWS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.math.softplus(-d(g(latents, training=True))))
    for variable, slope in zip(
        g.trainable_variables,
        tape.gradient(loss, g.trainable_variables),
        strict=True,
    ):
        variable.assign(variable - slope)
    for network in ("discriminator", "generator"):
        for one, other in zip(
            getattr(gan, network).weights, getattr(twin, network).weights, strict=True
        ):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6)


def test_averaged_generator_has_the_closed_form_of_three_steps():
    gan = make(averaging=0.15)
    expected = values(gan.generator.weights)
    for step, decay in enumerate((1 / 10, 0.15, 0.15)):
        gan.train_step(real(seed=step))
        expected = [
            decay * average + (1 - decay) * value
            for average, value in zip(
                expected, values(gan.generator.weights), strict=True
            )
        ]
    names = [weight.path for weight in gan.averaged_generator.weights]
    assert any("moving_variance" in name for name in names)
    for average, value in zip(gan.averaged_generator.weights, expected, strict=True):
        np.testing.assert_allclose(average.numpy(), value, rtol=1e-5, atol=1e-7)
    assert int(gan.updates) == 3


def test_averages_of_frozen_layers_are_left_alone():
    gan = make()
    gan.generator.get_layer("block1_conv").trainable = False
    gan.compile(sgd(), sgd())
    frozen = gan.averaged_generator.get_layer("block1_conv")
    frozen.set_weights([weight + 1 for weight in frozen.get_weights()])
    before = frozen.get_weights()
    gan.train_step(real())
    np.testing.assert_array_equal(frozen.get_weights(), before)


def test_discriminator_updates_see_other_images_and_other_latents(monkeypatch):
    gan = make(discriminator_steps=3)
    images, seen, latents = real(3 * BATCH), [], []
    update, normal = gan.update_discriminator, gan.normal
    monkeypatch.setattr(
        gan,
        "update_discriminator",
        lambda part, *rest: (seen.append(part), update(part, *rest))[1],
    )
    monkeypatch.setattr(
        gan,
        "normal",
        lambda *arguments: (latents.append(normal(*arguments)), latents[-1])[1],
    )
    gan.train_step(images)
    gan.train_step(images)
    np.testing.assert_array_equal(tf.concat(seen[:3], 0), images)
    rows = np.concatenate(latents)
    assert rows.shape == (2 * 4 * BATCH, LATENT)
    assert len(np.unique(rows, axis=0)) == len(rows)


@pytest.mark.parametrize("steps", [0, 8])
def test_more_discriminator_updates_than_random_numbers_are_refused(steps):
    with pytest.raises(errors.InputError, match="1 to 7"):
        make(discriminator_steps=steps)


@pytest.mark.parametrize(("updates", "due"), [(0, True), (1, False), (3, True)])
def test_lazy_penalty_is_applied_every_third_time_and_times_three(updates, due):
    weight, images = 2.0, real()
    gan = make(optimizer=sgd, penalties=(regularization.R1(weight),), penalize_every=3)
    gan.updates.assign(updates)
    d = gan.discriminator
    fake = gan.fakes(BATCH, None, adversarial.D_DRAWS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.math.softplus(-d(images)) + tf.math.softplus(d(fake)))
        with tf.GradientTape() as inner:
            inner.watch(images)
            scores = d(images)
        slopes = inner.gradient(scores, images)
        norms = tf.reduce_sum(slopes**2, axis=[1, 2, 3])
        if due:
            loss += 3 * weight / 2 * tf.reduce_mean(norms)
    variables = d.trainable_variables
    found = tape.gradient(loss, variables, unconnected_gradients="zero")
    expected = [v.numpy() - slope for v, slope in zip(variables, found, strict=True)]
    gan.update_discriminator(images, None, 0)
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, atol=1e-6)


class Blank:
    """An augmentation that leaves nothing of the image."""

    target, probability = None, 1.0

    def __call__(self, images, key, probability):
        return 0.0 * images


def test_penalties_see_augmented_images():
    images = real()
    plain = make(penalties=(regularization.R1(1.0),))
    blank = make(penalties=(regularization.R1(1.0),), augmentation=Blank())
    draw = adversarial.D_DRAWS
    assert float(plain.penalty(images, images, None, draw)) > 1e-4
    assert float(blank.penalty(images, images, None, draw)) == 0.0


@pytest.mark.parametrize("steps", [1, 2])
def test_adaptive_probability_follows_the_sign_of_the_real_scores(steps):
    gan = make(augmentation=ADA, discriminator_steps=steps)
    bias = gan.discriminator.get_layer("head_dense").bias
    assert float(gan.augment_probability) == 0.5
    move = steps * BATCH / 100
    for updates, (score, sign) in enumerate(((1e3, 1), (1e3, 1), (-1e3, -1)), 1):
        bias.assign([score])
        before = float(gan.augment_probability)
        gan.train_step(real(steps * BATCH))
        assert int(gan.updates) == updates
        assert float(gan.augment_probability) == pytest.approx(before + sign * move)


@pytest.mark.parametrize(("score", "sign"), [(0.45, -1), (0.55, 1)])
def test_adaptive_probability_counts_from_the_threshold_of_the_loss(score, sign):
    gan = make(augmentation=ADA, loss=losses.least_squares)
    kernel, bias = gan.discriminator.get_layer("head_dense").weights
    kernel.assign(tf.zeros_like(kernel))
    bias.assign([score])
    gan.train_step(real())
    assert float(gan.augment_probability) == pytest.approx(0.5 + sign * BATCH / 100)


@pytest.mark.parametrize("loss", [losses.wasserstein, losses.relativistic])
def test_adaptive_augmentation_needs_a_threshold(loss):
    with pytest.raises(errors.InputError, match=f"{loss.name} .*--augment=diffaugment"):
        make(augmentation=ADA, loss=loss)


def test_a_later_phase_goes_on_with_the_adapted_probability():
    gan = make(augmentation=ADA)
    gan.train_step(real())
    adapted = float(gan.augment_probability)
    assert adapted != 0.5
    gan.compile(sgd(), sgd(), augmentation=ADA)
    assert float(gan.augment_probability) == adapted
    gan.compile(sgd(), sgd(), augmentation=augmentation.Augmentation(probability=0.25))
    assert float(gan.augment_probability) == 0.25


def test_weights_are_clipped_after_each_discriminator_update():
    gan = make(optimizer=sgd, loss=losses.wasserstein, clip=0.01)
    gan.train_step(real())
    largest = [np.abs(v).max() for v in values(gan.discriminator.trainable_variables)]
    assert max(largest) == np.float32(0.01)


def test_one_conditional_network_alone_is_refused():
    conditional, _ = presets.build("dcgan", 16, 1, classes=3, width=4, latent_dim=8)
    _, plain = presets.build("dcgan", 16, 1, width=4, latent_dim=8)
    with pytest.raises(errors.InputError, match="same number of classes"):
        adversarial.GAN(conditional, plain)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_float32_weights(policy):
    keras.config.set_dtype_policy(policy)
    try:
        gan = make()
        phase = schedule.Phase("all", 1.0, lambda: None)
        gan_settings.Settings().compile(gan, phase)
    finally:
        keras.config.set_dtype_policy("float32")
    scaled = policy == "mixed_float16"
    for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer) == scaled
    before = values(gan.generator.weights + gan.discriminator.weights)
    traced = tf.function(gan.train_step)
    for step in range(3):
        traced(real(seed=step))
    after = values(gan.generator.weights + gan.discriminator.weights)
    for old, new in zip(before, after, strict=True):
        assert new.dtype == np.float32
        assert np.isfinite(new).all()
        assert not np.array_equal(old, new)
    images = gan.generate(2)
    assert images.dtype == np.float32
    assert np.isfinite(images).all()


def test_generate_depends_on_the_seed_and_not_on_the_batch_size():
    gan = make()
    # Not so far from the start that float32 sums in another order differ by 1e-6.
    gan.averaged_generator.set_weights([w * 1.5 for w in gan.generator.get_weights()])
    images = gan.generate(5, seed=1)
    assert images.shape == (5, 16, 16, 1)
    assert images.dtype == np.float32
    assert -1 <= images.min() < images.max() <= 1
    np.testing.assert_array_equal(gan.generate(5, seed=1), images)
    np.testing.assert_allclose(gan.generate(5, seed=1, batch_size=2), images, atol=1e-6)
    assert np.abs(gan.generate(5, seed=2) - images).max() > 0.01
    latents = sampling.sample_latents(5, LATENT, 1)
    expected = gan.averaged_generator(latents, training=False)
    np.testing.assert_allclose(images, expected, atol=1e-6)
    assert gan.generate(0).shape == (0, 16, 16, 1)
    assert gan.generate(0).dtype == np.float32


def test_generate_cycles_through_the_classes_or_takes_labels():
    gan = make(classes=3)
    rng = np.random.default_rng(0)
    embedding = gan.averaged_generator.get_layer("stem_classes")
    embedding.set_weights([rng.normal(size=(3, LATENT))])
    images = gan.generate(5)
    np.testing.assert_array_equal(gan.generate(5, labels=[0, 1, 2, 0, 1]), images)
    ones = gan.generate(5, labels=1)
    np.testing.assert_array_equal(ones[[1, 4]], images[[1, 4]])
    assert np.abs(ones[0] - images[0]).max() > 1e-3
    assert gan.generate(0, labels=2).shape == (0, 16, 16, 1)


@pytest.mark.parametrize("labels", [3, -1, [0, 1], [0, 1, 3], [0.0, 1.0, 2.0], "a"])
def test_labels_that_do_not_fit_are_refused(labels):
    gan = make(classes=3)
    with pytest.raises(errors.InputError, match=r"0\.\.2"):
        gan.generate(3, labels=labels)


def test_a_label_without_classes_is_refused():
    with pytest.raises(errors.InputError, match="without classes"):
        make().generate(3, labels=1)
