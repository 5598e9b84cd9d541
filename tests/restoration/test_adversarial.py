import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import losses
from gan_transfer.networks import translation
from restoration import adversarial, networks, supervised


def tiny(seed=0):
    keras.utils.set_random_seed(seed)
    network = networks.restorer(1, widths=(4,), blocks=1)
    judge = translation.patch_discriminator(1, width=2, depth=1)
    return adversarial.RestorationGAN(network, judge, seed=seed)


def noise(clean, key):
    level = tf.fill([*clean.shape[:3], 1], 0.1)
    normal = tf.random.stateless_normal(clean.shape, key)
    return clean + 0.1 * normal, level, tf.zeros_like(clean)


def compiled(weight=0.5, **arguments):
    gan = tiny()
    gan.compile(
        keras.optimizers.SGD(0.1),
        keras.optimizers.SGD(0.1),
        weight=weight,
        loss=supervised.l1,
        damage=noise,
        **arguments,
    )
    return gan


@pytest.fixture
def clean():
    return np.random.default_rng(1).random((2, 8, 12, 1), np.float32)


def test_one_step_is_discriminator_then_restorer_by_hand(clean):
    gan, twin = compiled(adversarial_loss=losses.least_squares), tiny()
    inputs = noise(tf.constant(clean), gan.key(0))
    # The discriminator's power iteration comes before its gradient.
    for layer in twin.discriminator.layers:
        if hasattr(layer, "update_spectral_norm"):
            layer.update_spectral_norm()
    with tf.GradientTape() as tape:
        real, fake = twin.discriminator(clean), twin.discriminator(twin.network(inputs))
        loss = losses.least_squares.discriminator(real, fake)
    variables = twin.discriminator.trainable_variables
    for variable, gradient in zip(
        variables, tape.gradient(loss, variables), strict=True
    ):
        variable.assign_sub(0.1 * gradient)
    with tf.GradientTape() as tape:
        restored = twin.network(inputs)
        scores = twin.discriminator(restored)
        total = tf.reduce_mean(tf.abs(restored - clean))
        total += 0.5 * losses.least_squares.generator(None, scores)
    variables = twin.network.trainable_variables
    for variable, gradient in zip(
        variables, tape.gradient(total, variables), strict=True
    ):
        variable.assign_sub(0.1 * gradient)
    logs = gan.train_step(tf.constant(clean))
    assert float(logs["loss"]) == pytest.approx(float(total), rel=1e-5)
    assert float(logs["d_loss"]) == pytest.approx(float(loss), rel=1e-5)
    for name in ("network", "discriminator"):
        pairs = zip(
            getattr(gan, name).weights, getattr(twin, name).weights, strict=True
        )
        for found, expected in pairs:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_weight_0_moves_the_restorer_as_without_a_discriminator(clean):
    gan = compiled(weight=0.0)
    plain = supervised.Restorer(tiny().network)
    plain.compile(keras.optimizers.SGD(0.1), loss=supervised.l1, damage=noise)
    for model in (gan, plain):
        model.train_step(tf.constant(clean))
    for one, other in zip(gan.network.weights, plain.network.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_fit_runs_compiled_and_resumes_bit_for_bit(clean, tmp_path):
    data = tf.data.Dataset.from_tensors(clean).repeat()
    whole, first = compiled(), compiled()
    whole.fit(data, steps_per_epoch=4, shuffle=False, verbose=0)
    first.fit(data, steps_per_epoch=2, shuffle=False, verbose=0)
    first.save_weights(tmp_path / "state.weights.h5")
    second = compiled()
    second.load_weights(tmp_path / "state.weights.h5")
    second.fit(data, steps_per_epoch=2, shuffle=False, verbose=0)
    assert int(second.updates.numpy()) == 4
    for one, other in zip(whole.weights, second.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_eager_equals_compiled(clean):
    eager, traced = compiled(), compiled()
    step = tf.function(traced.train_step)
    for _ in range(2):
        logs, others = eager.train_step(tf.constant(clean)), step(tf.constant(clean))
        assert logs.keys() == others.keys() == {"loss", "d_loss", "psnr"}
        for name, value in logs.items():
            assert float(others[name]) == pytest.approx(float(value), rel=1e-4)
    for one, other in zip(eager.weights, traced.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_freezing_the_discriminator_keeps_it_bit_for_bit(clean):
    gan = tiny()
    before = [w.numpy() for w in gan.discriminator.weights]
    head = [w.numpy() for w in gan.discriminator.get_layer("head_conv").weights]
    gan.discriminator.get_layer("block1_conv").trainable = False
    gan.compile(
        keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), damage=noise, weight=0.5
    )
    gan.train_step(tf.constant(clean))
    frozen = gan.discriminator.get_layer("block1_conv").weights
    for value, old in zip(frozen, before, strict=False):
        np.testing.assert_array_equal(value, old)
    moved = gan.discriminator.get_layer("head_conv").weights
    assert not np.array_equal(moved[0], head[0])


def test_patch_discriminator_scores_38_pixels_at_any_size():
    judge = translation.patch_discriminator(3, width=4)
    assert judge(np.zeros((1, 64, 40, 3), np.float32)).shape == (1, 8, 5, 1)
    assert judge(np.zeros((2, 33, 17, 3), np.float32)).shape == (2, 5, 3, 1)
    assert [layer.name for layer in judge.layers if layer.weights] == [
        "block1_conv",
        "block2_conv",
        "block3_conv",
        "head_conv",
    ]
    images = tf.random.stateless_uniform((1, 96, 96, 3), (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(images)
        score = judge(images)[0, 6, 6, 0]
    seen = np.abs(tape.gradient(score, images)[0].numpy()).max(axis=-1) > 0
    rows, columns = np.nonzero(seen)
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == 38
