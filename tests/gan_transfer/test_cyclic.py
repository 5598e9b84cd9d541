"""The cyclic training step, its pools, resuming, and golden scalars."""

import json
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import cyclic, errors, losses, trained_translators, transfer
from gan_transfer.networks import translation

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "cyclegan.json"
SHAPE = (8, 12, 1)
CASES = {
    "identity": {"identity_weight": 5.0},
    "relativistic": {"loss": losses.relativistic, "cycle_weight": 2.0},
}


def make(seed=0, shape=SHAPE):
    keras.utils.set_random_seed(seed)
    networks = [
        translation.translator(shape[2], width=2, blocks=1, name=name)
        for name in cyclic.NETWORKS[:2]
    ]
    networks += [
        translation.patch_discriminator(shape[2], width=2, depth=1) for _ in range(2)
    ]
    return cyclic.CycleGAN(*networks, image_shape=shape, seed=5)


def compiled(optimizer=lambda: keras.optimizers.Adam(1e-3, 0.5), **settings):
    gan = make()
    gan.compile(optimizer(), optimizer(), **settings)
    return gan


def batch(step=0, count=4):
    rng = np.random.default_rng(step)
    pair = rng.uniform(-1, 1, (2, count, *SHAPE)).astype("float32")
    return tuple(map(tf.constant, pair))


def logs_of_one_step(gan, step=0, train_step=None):
    for tracker in gan.metrics:
        tracker.reset_state()
    logs = (train_step or gan.train_step)(batch(step))
    return {name: float(value) for name, value in logs.items()}


def weights(network):
    return [weight.numpy() for weight in network.weights]


def assert_same(one, other):
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


def descend(network_variables, tape, loss):
    found = tape.gradient(loss, network_variables)
    for variable, gradient in zip(network_variables, found, strict=True):
        variable.assign_sub(0.1 * gradient)


def test_one_step_is_generators_then_discriminators_by_hand():
    gan = compiled(lambda: keras.optimizers.SGD(0.1), identity_weight=3.0)
    twin, (a, b) = make(), batch()
    there, back = twin.forward_generator, twin.backward_generator
    d_a, d_b = twin.discriminator_a, twin.discriminator_b
    with tf.GradientTape() as tape:
        fake_b, fake_a = there(a), back(b)
        g_loss = sum(
            0.5 * tf.reduce_mean((scores - 1) ** 2)
            for scores in (d_b(fake_b), d_a(fake_a))
        )
        cycle = tf.reduce_mean(tf.abs(back(fake_b) - a))
        cycle += tf.reduce_mean(tf.abs(there(fake_a) - b))
        identity = tf.reduce_mean(tf.abs(there(b) - b))
        identity += tf.reduce_mean(tf.abs(back(a) - a))
        total = g_loss + 10 * cycle + 3 * identity
    descend(there.trainable_variables + back.trainable_variables, tape, total)
    for layer in d_a.layers + d_b.layers:
        if hasattr(layer, "update_spectral_norm"):
            layer.update_spectral_norm()
    with tf.GradientTape() as tape:
        d_loss = 0.5 * sum(
            tf.reduce_mean((judge(real) - 1) ** 2) + tf.reduce_mean(judge(fake) ** 2)
            for judge, real, fake in ((d_a, a, fake_a), (d_b, b, fake_b))
        )
    descend(d_a.trainable_variables + d_b.trainable_variables, tape, d_loss)
    logs = logs_of_one_step(gan)
    expected = {"g_loss": g_loss, "cycle": cycle, "identity": identity}
    assert logs == pytest.approx(
        {k: float(v) for k, v in (expected | {"d_loss": d_loss}).items()}, rel=1e-5
    )
    for name, network in gan.networks().items():
        for found, wanted in zip(
            network.weights, twin.networks()[name].weights, strict=True
        ):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    # The decay of the first average is 1/10.
    start = weights(make().forward_generator)
    for found, old, new in zip(
        gan.averaged_forward.weights, start, gan.forward_generator.weights, strict=True
    ):
        np.testing.assert_allclose(found, 0.1 * old + 0.9 * new, atol=1e-6)


def test_pool_fills_before_it_gives_images_back():
    gan = make()
    numbered = np.broadcast_to(
        np.arange(1, 85, dtype="float32")[:, None, None, None], (84, *SHAPE)
    )
    for start in (0, 20, 40):  # the last one has room for 10 of 20
        shown = gan.exchange(tf.constant(numbered[start : start + 20]), "a")
        np.testing.assert_array_equal(shown, numbered[start : start + 20])
        gan.pooled.assign(min(start + 20, cyclic.POOL))
    held = gan.pool_a.numpy()[:, 0, 0, 0]
    np.testing.assert_array_equal(held, np.arange(1, 51))
    assert not gan.pool_b.numpy().any()
    shown = gan.exchange(tf.constant(numbered[60:84]), "a").numpy()[:, 0, 0, 0]
    after, new = gan.pool_a.numpy()[:, 0, 0, 0], np.arange(61, 85)
    # What is not shown was put in; what is shown instead was taken out.
    swapped = shown != new
    assert 0 < swapped.sum() < len(new)
    assert set(shown[swapped]) == set(held) - set(after)
    assert set(new[swapped]) == set(after) - set(held)
    assert len(set(shown[swapped])) == swapped.sum()


def test_half_of_the_images_change_places_and_draws_follow_the_counter():
    gan = make()
    gan.pooled.assign(cyclic.POOL)
    images, changed = tf.ones((40, *SHAPE)), []
    for update in range(50):
        gan.updates.assign(update)
        gan.pool_a.assign(tf.zeros_like(gan.pool_a))
        changed.append(gan.exchange(images, "a").numpy()[:, 0, 0, 0] == 0)
        assert gan.pool_a.numpy()[:, 0, 0, 0].sum() == changed[-1].sum()
    assert np.mean(changed) == pytest.approx(0.5, abs=0.04)
    assert not np.array_equal(changed[0], changed[1])


def test_more_images_than_places():
    gan = make()
    many = tf.random.stateless_uniform((60, *SHAPE), (0, 1))
    np.testing.assert_array_equal(gan.exchange(many, "b"), many)
    np.testing.assert_array_equal(gan.pool_b, many[: cyclic.POOL])
    gan.pooled.assign(cyclic.POOL)
    shown = gan.exchange(tf.zeros((60, *SHAPE)), "b").numpy()
    assert shown[: cyclic.POOL].any() and not shown[cyclic.POOL :].any()


def test_frozen_networks_stay_bit_for_bit_and_the_others_move():
    gan = make()
    transfer.freeze(gan.forward_generator, ".*")
    transfer.freeze_to_depth(gan.discriminator_b, 1, end="input")
    before = {name: weights(network) for name, network in gan.networks().items()}
    gan.compile(keras.optimizers.Adam(1e-2), keras.optimizers.Adam(1e-2))
    gan.train_step(batch())
    assert_same(weights(gan.forward_generator), before["forward_generator"])
    assert_same(weights(gan.averaged_forward), before["forward_generator"])
    block = 3  # kernel, bias and u
    assert_same(weights(gan.discriminator_b)[:block], before["discriminator_b"][:block])
    for name, first in (("discriminator_b", block), ("backward_generator", 0)):
        now = weights(gan.networks()[name])[first]
        assert not np.array_equal(now, before[name][first]), name
    with pytest.raises(RuntimeError, match="stem_conv.*compile"):
        gan.forward_generator.get_layer("stem_conv").trainable = True
        gan.train_step(batch())


def test_a_run_in_two_parts_is_the_run_in_one_pools_included(tmp_path):
    whole, first, second = compiled(), compiled(), compiled()
    for step in range(4):  # the pools are full after 2
        whole.train_step(batch(step, count=25))
    for step in range(3):
        first.train_step(batch(step, count=25))
    first.save_weights(tmp_path / "state.weights.h5")
    second.load_weights(tmp_path / "state.weights.h5")
    second.train_step(batch(3, count=25))
    assert int(second.updates) == 4 and int(second.pooled) == cyclic.POOL
    assert_same(weights(whole), weights(second))
    assert not np.array_equal(second.pool_a, first.pool_a)


def test_eager_equals_compiled_by_fit():
    eager, other = compiled(), compiled()
    logs = logs_of_one_step(eager)
    stream = tf.data.Dataset.from_tensors(batch()).repeat()
    history = other.fit(stream, steps_per_epoch=1, shuffle=False, verbose=0).history
    found = {name: values[0] for name, values in history.items()}
    assert found == pytest.approx(logs, abs=1e-5)
    for one, two in zip(eager.weights, other.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_golden_scalars_of_ten_steps(case):
    gan = compiled(**CASES[case])
    found = {"d_loss": [], "g_loss": [], "cycle": [], "identity": []}
    for step in range(10):
        for name, value in logs_of_one_step(gan, step).items():
            found[name].append(value)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("GOLDEN") == "write":
        golden[case] = found
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    for name, series in found.items():
        np.testing.assert_allclose(series, golden[case][name], rtol=1e-3, atol=1e-4)


def test_golden_file_has_exactly_these_cases():
    assert set(json.loads(GOLDEN.read_text())) == set(CASES)


def test_translate_is_the_averaged_translator_at_any_size():
    gan, (a, _) = compiled(), batch()
    gan.train_step(batch())
    forward = gan.averaged_forward(a).numpy()
    np.testing.assert_allclose(gan.translate(a.numpy()), forward, atol=1e-6)
    back = gan.averaged_backward(forward).numpy()
    found = gan.translate(forward, "backward", batch_size=3)
    np.testing.assert_allclose(found, back, atol=1e-5)
    error = gan.cycle_error(a.numpy())
    assert error == pytest.approx(np.abs(back - a).mean(), rel=1e-4)
    odd = np.random.default_rng(0).uniform(-1, 1, (2, 7, 10, 1)).astype("float32")
    beyond = np.pad(odd, ((0, 0), (0, 1), (0, 2), (0, 0)), "symmetric")
    expected = gan.averaged_forward(beyond).numpy()[:, :7, :10]
    np.testing.assert_allclose(gan.translate(odd), expected, atol=1e-6)
    assert gan.translate(odd[:0]).shape == (0, 7, 10, 1)


def test_several_devices_are_refused(monkeypatch):
    class Two:
        num_replicas_in_sync = 2

    gan = make()
    optimizers = [keras.optimizers.Adam() for _ in range(2)]
    monkeypatch.setattr(tf.distribute, "get_strategy", Two)
    with pytest.raises(errors.InputError, match="one device"):
        gan.compile(*optimizers)


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(errors.InputError, match="8x10.*multiples of 4"):
        make(shape=(8, 10, 1))
    networks = list(make().networks().values())
    with pytest.raises(errors.InputError, match="1 channels, and 3 are needed"):
        cyclic.CycleGAN(*networks, image_shape=(8, 12, 3))
    gan = make()
    with pytest.raises(errors.InputError, match="direction 'up' is not one of"):
        gan.translate(np.zeros((1, *SHAPE), "f"), "up")
    with pytest.raises(errors.InputError, match=r"takes \[N, H, W, 1\]"):
        gan.translate(np.zeros((1, 8, 8, 3), "f"))
    with pytest.raises(errors.InputError, match="must be 0 or more"):
        compiled(cycle_weight=-1.0)
    with pytest.raises(RuntimeError, match=r"CycleGAN\.compile"):
        make().train_step(batch())
    with pytest.raises(errors.InputError, match="forward_generator.keras is missing"):
        trained_translators.load(tmp_path)
    with pytest.raises(errors.InputError, match="no finished CycleGAN run"):
        trained_translators.describe(tmp_path)
