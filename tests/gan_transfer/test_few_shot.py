"""Reptile over a whole GAN: closed form, fresh optimizers, resuming, meta-test."""

import json
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import adversarial, callbacks, cyclic, errors, few_shot
from gan_transfer.networks import convolutional, fully_connected, translation

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "few_shot.json"
SHAPE, BATCH, STEPS, RATE = (4, 6, 1), 3, 2, 0.25


def make_gan(dense=True, **settings):
    keras.utils.set_random_seed(0)
    if dense:
        networks = (
            fully_connected.generator(SHAPE, latent_dim=2, units=(3,)),
            fully_connected.discriminator(SHAPE, units=(3,)),
        )
    else:
        networks = (
            convolutional.generator(16, 1, latent_dim=2, filters=(4, 3, 2)),
            convolutional.discriminator(
                16, 1, filters=(2, 3), dropout=0.3, norm="spectral"
            ),
        )
    gan = adversarial.GAN(*networks, seed=5)
    compile_gan(gan, **settings)
    return gan


def compile_gan(gan, rate=1e-2, **settings):
    gan.compile(
        *(keras.optimizers.Adam(rate, 0.5) for _ in range(2)), averaging=0.0, **settings
    )


def make(rate=RATE, steps=STEPS, **settings):
    learner = few_shot.ReptileProcedure(make_gan(**settings))
    learner.compile(rate, steps)
    return learner


def tasks(seed=0, count=2, shape=SHAPE, batches=STEPS):
    pixels = np.random.default_rng(seed).uniform(-1, 1, (count, batches, BATCH, *shape))
    return tf.constant(pixels, tf.float32)


def weights(model):
    return [weight.numpy() for weight in model.weights]


def optimizer_state(gan):
    both = gan.generator_optimizer, gan.discriminator_optimizer
    return [variable.numpy() for each in both for variable in each.variables]


def assert_equal(one, other):
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


def test_outer_update_in_closed_form():
    before, after = (
        [np.array([1.0, 2.0]), np.array([4.0])],
        [np.zeros(2), np.array([8.0])],
    )
    moved = few_shot.reptile_outer(before, after, 0.25)
    np.testing.assert_array_equal(np.concatenate(moved), [0.75, 1.5, 5.0])


def test_start_moves_towards_the_mean_of_the_tasks_batch_norm_included():
    learner, data = make(dense=False), tasks(shape=(16, 16, 1))
    gan, twin = learner.procedure, make_gan(dense=False)
    names = [w.path for w in twin.generator.weights]
    assert any("moving_variance" in name for name in names)
    networks = ("generator", "discriminator", "averaged_generator")
    start = {name: weights(getattr(twin, name)) for name in networks}
    ends = []
    for task in data:
        for name in networks:
            getattr(twin, name).set_weights(start[name])
        compile_gan(twin)  # fresh optimizers; the counter goes on
        for batch in task:
            twin.train_step(batch)
        ends.append({name: weights(getattr(twin, name)) for name in networks})
    learner.train_step(data)
    for name in networks:
        means = [
            np.mean(each, axis=0) for each in zip(*(e[name] for e in ends), strict=True)
        ]
        expected = few_shot.reptile_outer(start[name], means, RATE)
        for one, other in zip(weights(getattr(gan, name)), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    assert_equal(weights(gan.generator), weights(gan.averaged_generator))
    assert int(learner.updates) == 1
    assert int(gan.updates) == 2 * STEPS


def make_cyclegan():
    keras.utils.set_random_seed(0)
    networks = [
        *(translation.translator(1, width=2, blocks=0) for _ in range(2)),
        *(translation.patch_discriminator(1, width=2, depth=1) for _ in range(2)),
    ]
    gan = cyclic.CycleGAN(*networks, image_shape=(8, 8, 1), seed=5)
    compile_gan(gan)
    return gan


def test_both_ways_of_a_cyclegan_move_and_every_task_starts_with_empty_pools():
    learner, twin = few_shot.ReptileProcedure(make_cyclegan()), make_cyclegan()
    learner.compile(RATE, STEPS)
    data = tuple(tasks(seed, shape=(8, 8, 1)) for seed in range(2))
    start = {name: weights(getattr(twin, name)) for name in cyclic.NETWORKS}
    ends = []
    for number in range(2):
        for name in cyclic.NETWORKS:
            getattr(twin, name).set_weights(start[name])
        compile_gan(twin)
        twin.pooled.assign(0)
        for step in range(STEPS):
            twin.train_step(tuple(x[number, step] for x in data))
        ends.append({name: weights(getattr(twin, name)) for name in cyclic.NETWORKS})
    learner.procedure.pooled.assign(50)
    learner.train_step(data)
    for name in cyclic.NETWORKS:
        means = [
            np.mean(each, axis=0) for each in zip(*(e[name] for e in ends), strict=True)
        ]
        expected = few_shot.reptile_outer(start[name], means, RATE)
        found = weights(getattr(learner.procedure, name))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    assert int(learner.procedure.pooled) == STEPS * BATCH
    adapted = learner.adapt(tuple(x[0] for x in data), 2)
    assert adapted.name == learner.procedure.averaged_forward.name
    assert int(learner.procedure.pooled) == STEPS * BATCH


def test_optimizers_are_fresh_for_every_task_and_afterwards():
    learner = make()
    fresh = optimizer_state(learner.procedure)
    learner.train_step(tasks())
    assert_equal(fresh, optimizer_state(learner.procedure))


def test_steps_go_round_the_batches_of_a_task():
    one, other = make(steps=3), make(steps=3)
    data = tasks()
    one.train_step(data)
    other.train_step(tf.concat([data, data[:, :1]], axis=1))
    assert_equal(weights(one), weights(other))


def test_frozen_layers_stay_bit_for_bit():
    gan = make_gan()
    gan.discriminator.get_layer("block1_dense").trainable = False
    compile_gan(gan)
    learner = few_shot.ReptileProcedure(gan)
    learner.compile(RATE, STEPS)
    frozen = gan.discriminator.get_layer("block1_dense")
    before, head = frozen.get_weights(), gan.discriminator.get_weights()[-2]
    learner.train_step(tasks(count=3))
    assert_equal(before, frozen.get_weights())
    assert not np.array_equal(head, gan.discriminator.get_weights()[-2])
    frozen.trainable = True
    with pytest.raises(RuntimeError, match="flags changed"):
        learner.train_step(tasks())


def test_eager_equals_compiled():
    eager, compiled = make(), make()
    logs = eager.train_step(tasks())
    traced = tf.function(compiled.train_step, autograph=False)(tasks())
    for name, value in logs.items():
        assert float(traced[name]) == pytest.approx(float(value), abs=1e-5)
    for one, other in zip(weights(eager), weights(compiled), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("case", ["gan", "cyclegan"])
def test_golden_scalars_of_ten_meta_updates(case):
    if case == "gan":
        learner, shape = make(dense=False), (16, 16, 1)
    else:
        # At a hundred times the rate processors disagree after two updates.
        gan, shape = make_cyclegan(), (8, 8, 1)
        compile_gan(gan, rate=1e-4)
        learner = few_shot.ReptileProcedure(gan)
        learner.compile(RATE, STEPS)
    step = tf.function(learner.train_step, autograph=False)
    found = {"d_loss": [], "g_loss": [], "weight": []}
    for number in range(10):
        for tracker in learner.metrics:
            tracker.reset_state()
        parts = [tasks(2 * number + part, shape=shape) for part in range(2)]
        logs = step(parts[0] if case == "gan" else tuple(parts))
        start = np.concatenate([w.ravel() for w in learner.result.get_weights()])
        for name in ("d_loss", "g_loss"):
            found[name].append(float(logs[name]))
        found["weight"].append(float(np.abs(start).mean(dtype=np.float64)))
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("GOLDEN") == "write":
        golden[case] = found
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    for name, series in found.items():
        rtol, atol = (1e-4, 0) if name == "weight" else (1e-3, 1e-4)
        np.testing.assert_allclose(series, golden[case][name], rtol=rtol, atol=atol)


def stream(first=0):
    data = np.stack([tasks(seed) for seed in range(first, first + 6)])
    return tf.data.Dataset.from_tensor_slices(data)


def test_two_updates_and_two_more_are_four(tmp_path):
    straight, first, again = make(), make(), make()
    history = straight.fit(stream(), steps_per_epoch=4, shuffle=False, verbose=0)
    assert set(history.history) == {"d_loss", "g_loss", "d_real", "d_fake"}
    first.fit(stream(), steps_per_epoch=2, shuffle=False, verbose=0)
    first.save_weights(tmp_path / "state.weights.h5")
    assert callbacks.saved_updates(tmp_path) == 2
    again.load_weights(tmp_path / "state.weights.h5")
    again.fit(stream(2), steps_per_epoch=2, shuffle=False, verbose=0)
    assert int(again.updates) == 4
    assert_equal(weights(straight), weights(again))


def test_adapting_trains_as_the_procedure_would_and_leaves_it_as_it_was():
    learner, twin = make(), make_gan()
    before = weights(learner) + optimizer_state(learner.procedure)
    task = tasks()[0]
    adapted = learner.adapt(task, 3)
    for batch in (task[0], task[1], task[0]):
        twin.train_step(batch)
    for one, other in zip(weights(adapted), weights(twin.result), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert_equal(before, weights(learner) + optimizer_state(learner.procedure))
    assert_equal(weights(learner.adapt(task, 0)), weights(learner.result))


def test_nothing_is_traced_anew_for_tasks_or_steps(monkeypatch):
    learner, traces = make(), []
    step = learner.procedure.train_step
    monkeypatch.setattr(
        learner.procedure, "train_step", lambda data: (traces.append(1), step(data))[1]
    )
    learner.fit(stream(), steps_per_epoch=3, shuffle=False, verbose=0)
    for number in range(3):
        learner.adapt(tasks(number)[0], number)
    assert len(traces) == 2


@pytest.mark.parametrize(("rate", "steps"), [(0.0, 1), (1.5, 1), (0.5, 0)])
def test_numbers_out_of_range_are_refused(rate, steps):
    with pytest.raises(errors.InputError, match=r"rate in \(0, 1\]"):
        make(rate, steps)


def test_used_optimizers_are_refused():
    gan = make_gan()
    gan.train_step(tasks()[0, 0])
    with pytest.raises(errors.InputError, match="not fresh"):
        few_shot.ReptileProcedure(gan).compile(RATE, STEPS)


def test_several_devices_are_refused(monkeypatch):
    class Two:
        num_replicas_in_sync = 2

    learner = few_shot.ReptileProcedure(make_gan())
    monkeypatch.setattr(tf.distribute, "get_strategy", Two)
    with pytest.raises(errors.InputError, match="one device"):
        learner.compile(RATE, STEPS)
