"""How settings compile a GAN for a phase (document A 3.1)."""

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
    schedule,
    transfer,
)
from gan_transfer.networks import presets


def _pair(model="dcgan"):
    return presets.build(model, 16, 1, width=2, latent_dim=8)


def test_settings_compile_with_the_given_values():
    gan = adversarial.GAN(*_pair())
    anchors = {"generator": regularization.L2ToSource(0.1, {})}
    phase = schedule.Phase(
        "all", 1.0, lambda: None, rates={"generator": {"head_.*": 0.1}}, anchors=anchors
    )
    settings = gan_settings.Settings(
        learning_rate=3e-3,
        beta_1=0.1,
        beta_2=0.8,
        loss=losses.hinge,
        discriminator_steps=3,
        penalties=(regularization.R2(2.0), regularization.GradientPenalty()),
        penalize_every=5,
        clip=0.01,
        augmentation=augmentation.Augmentation(("cutout",), probability=0.25),
        averaging=0.9,
    )
    settings.compile(gan, phase)
    for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):
        assert type(optimizer) is transfer.LayerwiseAdam
        assert float(optimizer.learning_rate) == pytest.approx(3e-3)
        assert (optimizer.beta_1, optimizer.beta_2) == (0.1, 0.8)
        assert int(optimizer.iterations) == 0
    assert gan.generator_optimizer is not gan.discriminator_optimizer
    assert gan.generator_optimizer.rates == {
        "head_conv/kernel": 0.1,
        "head_conv/bias": 0.1,
    }
    assert gan.discriminator_optimizer.rates == {}
    assert gan.loss_family is losses.hinge
    assert gan.discriminator_steps == 3
    assert gan.penalties == settings.penalties
    assert gan.penalize_every == 5
    assert gan.clip == 0.01
    assert gan.anchors == anchors
    assert gan.augmentation is settings.augmentation
    assert float(gan.augment_probability) == 0.25
    assert gan.averaging == 0.9
    before = gan.generator_optimizer
    settings.compile(gan, phase)
    assert gan.generator_optimizer is not before


def test_settings_refuse_rates_that_match_nothing():
    gan = adversarial.GAN(*_pair())
    phase = schedule.Phase(
        "typo", 1.0, lambda: None, rates={"generator": {"haed_.*": 0.1}}
    )
    with pytest.raises(errors.InputError, match="'haed_"):
        gan_settings.Settings().compile(gan, phase)


def test_settings_scale_the_loss_in_float16():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        gan = adversarial.GAN(*_pair("sngan"))
        phase = schedule.Phase(
            "all", 1.0, lambda: None, rates={"generator": {"head_.*": 0.1}}
        )
        gan_settings.Settings().compile(gan, phase)
        logs = gan.train_step(tf.zeros((3, 16, 16, 1)))
    finally:
        keras.config.set_dtype_policy(before)
    for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):
        assert type(optimizer) is keras.optimizers.LossScaleOptimizer
        assert type(optimizer.inner_optimizer) is transfer.LayerwiseAdam
    assert gan.generator_optimizer.inner_optimizer.rates["head_conv/bias"] == 0.1
    assert all(np.isfinite(value) for value in logs.values())
