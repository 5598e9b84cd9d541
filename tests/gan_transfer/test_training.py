"""What all procedures share: the counter's keys, dropout, trainable flags."""

import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import (
    adversarial,
    augmentation,
    data,
    gan_settings,
    schedule,
    training,
)
from gan_transfer.networks import convolutional, presets

# Input pipelines are traced also where steps run eagerly.
pytestmark = pytest.mark.filterwarnings("ignore:Even though the .tf.config:UserWarning")

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 1), dtype=np.uint8)
BATCH = 4
SETTINGS = gan_settings.Settings(
    penalize_every=3, augmentation=augmentation.Augmentation()
)


@pytest.fixture
def eager():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def make(seed=3):
    generator, _ = presets.build("dcgan", 16, 1, width=2, latent_dim=4)
    discriminator = convolutional.discriminator(16, 1, filters=(2, 4), dropout=0.3)
    return adversarial.GAN(generator, discriminator, seed=seed)


def test_keys_differ_by_draw_and_update_and_latents_have_their_own():
    gan = make(seed=7)
    assert gan.key(0).numpy().tolist() == [7, 0]
    assert gan.key(63).numpy().tolist() == [7, 63]
    gan.updates.assign(2)
    assert gan.key(1).numpy().tolist() == [7, 2 * training.DRAWS + 1]
    expected = tf.random.stateless_normal([3, 4], gan.key(5))
    np.testing.assert_array_equal(gan.normal(3, 4, 5), expected)


def test_dropout_depends_on_update_and_seed_alone():
    def masks(seed, updates):
        gan = make(seed)
        gan.updates.assign(updates)
        gan.discriminator.get_layer("block1_dropout")(tf.ones([2, 3]), training=True)
        gan.key_dropout()
        layer = gan.discriminator.get_layer("block1_dropout")
        return layer(tf.ones([50, 7]), training=True).numpy()

    np.testing.assert_array_equal(masks(1, 4), masks(1, 4))
    assert not np.array_equal(masks(1, 4), masks(1, 5))
    assert not np.array_equal(masks(1, 4), masks(2, 4))


def test_training_without_compile_is_an_error():
    with pytest.raises(RuntimeError, match=r"GAN\.compile"):
        make().train_step(tf.zeros([4, 16, 16, 1]))


def test_flags_changed_after_compile_are_an_error(eager):
    gan = make()
    SETTINGS.compile(gan, schedule.Phase("all", 1.0, lambda: None))
    batches = data.batches(PIXELS, BATCH)
    gan.fit(batches, steps_per_epoch=1, shuffle=False, verbose=0)
    gan.discriminator.get_layer("block1_conv").trainable = False
    with pytest.raises(RuntimeError, match="block1_conv.*compile"):
        gan.fit(batches, steps_per_epoch=1, shuffle=False, verbose=0)
    with pytest.raises(RuntimeError, match="block1_conv.*compile"):
        gan.train_step(tf.zeros([4, 16, 16, 1]))
    frozen = gan.discriminator.get_layer("block1_conv").get_weights()
    SETTINGS.compile(gan, schedule.Phase("all", 1.0, lambda: None))
    assert int(gan.discriminator_optimizer.iterations) == 0
    gan.fit(batches, steps_per_epoch=1, shuffle=False, verbose=0)
    assert int(gan.discriminator_optimizer.iterations) == 1
    assert int(gan.updates) == 2
    after = gan.discriminator.get_layer("block1_conv").get_weights()
    for one, other in zip(frozen, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_flag_of_a_single_weight_counts_too():
    gan = make()
    SETTINGS.compile(gan, schedule.Phase("all", 1.0, lambda: None))
    gan.generator.get_layer("stem_bn").gamma.trainable = False
    with pytest.raises(RuntimeError, match="gamma"):
        gan.check_flags()


def test_compiling_again_gives_fresh_optimizers(eager):
    gan = make()
    for _ in range(2):
        SETTINGS.compile(gan, schedule.Phase("all", 1.0, lambda: None))
        for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):
            assert int(optimizer.iterations) == 0
            assert all(not np.any(v.numpy()) for v in optimizer.variables[2:])
        gan.fit(
            data.batches(PIXELS, BATCH), steps_per_epoch=2, shuffle=False, verbose=0
        )
        assert int(gan.generator_optimizer.iterations) == 2
