"""Meta-learners under `fit`: compiled, resumed, traced once; draws; what is refused."""

import json
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from gan_transfer import callbacks, errors, inner_loop, meta_learning

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "meta.json"
SIZE, SHOTS, TASKS = (4, 6, 1), 3, 2


def l1(restored, clean):
    return tf.reduce_mean(tf.abs(restored - clean))


OBJECTIVE = inner_loop.supervised(l1)


def denoise(call, batch, key):
    """An objective that draws: the same for every call with the same key."""
    noisy = batch + 0.5 * tf.random.stateless_normal(tf.shape(batch), key)
    return tf.reduce_mean(tf.square(call(noisy) - batch))


def restorer():
    inputs = keras.Input(SIZE)
    x = layers.Conv2D(2, 3, padding="same", use_bias=False, name="block1_conv")(inputs)
    x = layers.GroupNormalization(2, name="block1_norm")(x)
    x = layers.Activation("relu", name="block1_act")(x)
    x = layers.Conv2D(1, 3, padding="same", name="head_conv")(x)
    return keras.Model(inputs, x)


def make(kind=meta_learning.MAML, build=restorer, objective=OBJECTIVE, **settings):
    keras.utils.set_random_seed(0)
    learner = kind(build(), seed=5)
    settings = {"inner_rates": {".*": 0.1}, "inner_steps": 2} | settings
    learner.compile(keras.optimizers.Adam(1e-2), objective, **settings)
    return learner


def images(seed, *shape):
    pixels = np.random.default_rng(seed).uniform(0, 1, (*shape, *SIZE))
    return tf.constant(pixels, tf.float32)


def pairs(seed=0, tasks=(TASKS,)):
    """Support and query of `(damaged, clean)`."""
    clean = images(seed, *tasks, 2 * SHOTS + 1)
    both = (clean + 0.1 * images(seed + 100, *tasks, 2 * SHOTS + 1), clean)
    axis = len(tasks)
    parts = [tf.split(each, [SHOTS, SHOTS + 1], axis=axis) for each in both]
    return tuple(zip(*parts, strict=True))


def stream(first=0):
    """Endless meta-batches from update `first` on."""
    parts = [pairs(seed) for seed in range(first, first + 6)]
    stacked = tf.nest.map_structure(lambda *each: tf.stack(each), *parts)
    return tf.data.Dataset.from_tensor_slices(stacked)


def states(learner):
    optimizer = [v.numpy() for v in learner.meta_optimizer.variables]
    return [w.numpy() for w in learner.weights] + optimizer


CASES = {
    "maml": (meta_learning.MAML, {}),
    "first_order": (meta_learning.MAML, {"first_order": True}),
    "learned_rates": (meta_learning.MAML, {"learned_rates": True}),
    "head": (meta_learning.MAML, {"inner_rates": {"head_.*": 0.1}}),
    "pretrain": (meta_learning.MAML, {"inner_steps": 0}),
    "reptile": (meta_learning.Reptile, {"inner_steps": 3, "inner_batch": 2}),
    "reptile_adam": (
        meta_learning.Reptile,
        {"inner_optimizer": "adam", "inner_rates": {".*": 1e-3}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_golden_scalars_of_ten_steps(case):
    kind, settings = CASES[case]
    learner = make(kind, **settings)
    step = tf.function(learner.train_step, autograph=False)
    found = {"loss": [], "weight": []}
    for number in range(10):
        learner.metrics[0].reset_state()
        found["loss"].append(float(step(pairs(number))["loss"]))
        weights = np.concatenate([w.ravel() for w in learner.network.get_weights()])
        found["weight"].append(float(np.abs(weights).mean(dtype=np.float64)))
    if kind is meta_learning.MAML:
        found["log_rates"] = learner.log_rates.numpy().tolist()
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("GOLDEN") == "write":
        golden[case] = found
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    assert found.keys() == golden[case].keys()
    for name, series in found.items():
        np.testing.assert_allclose(series, golden[case][name], rtol=1e-4, atol=1e-6)


def test_golden_file_has_exactly_these_cases():
    assert set(json.loads(GOLDEN.read_text())) == set(CASES)


@pytest.mark.parametrize("case", ["learned_rates", "reptile"])
def test_eager_equals_compiled(case):
    kind, settings = CASES[case]
    settings = settings | {"inner_steps": 1}
    eager, compiled = make(kind, **settings), make(kind, **settings)
    logs = eager.train_step(pairs())
    traced = tf.function(compiled.train_step)(pairs())
    assert float(traced["loss"]) == pytest.approx(float(logs["loss"]), abs=1e-6)
    for one, other in zip(states(eager), states(compiled), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("case", ["learned_rates", "reptile"])
def test_two_updates_and_two_more_are_four(case, tmp_path):
    kind, settings = CASES[case]
    straight, first = make(kind, **settings), make(kind, **settings)
    straight.fit(stream(), steps_per_epoch=4, shuffle=False, verbose=0)
    first.fit(stream(), steps_per_epoch=2, shuffle=False, verbose=0)
    first.save_weights(tmp_path / "state.weights.h5")
    assert callbacks.saved_updates(tmp_path) == 2
    again = make(kind, **settings)
    again.load_weights(tmp_path / "state.weights.h5")
    again.fit(stream(2), steps_per_epoch=2, shuffle=False, verbose=0)
    assert int(again.updates) == 4
    for one, other in zip(states(straight), states(again), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("case", ["maml", "reptile"])
def test_nothing_is_traced_anew_for_tasks_or_steps(case):
    kind, settings = CASES[case]
    traces = []

    def objective(call, batch, key):
        traces.append(len(batch))
        return OBJECTIVE(call, batch, key)

    learner = make(kind, objective=objective, **settings)
    learner.fit(stream(), steps_per_epoch=1, shuffle=False, verbose=0)
    seen = len(traces)
    assert seen > 0
    learner.fit(stream(1), steps_per_epoch=3, shuffle=False, verbose=0)
    assert len(traces) == seen
    learner.evaluate_tasks([pairs(0, ())])
    seen = len(traces)
    learner.evaluate_tasks([pairs(seed, ()) for seed in range(4)], (0, 2, 7))
    learner.adapt(pairs(9, ())[0], 11)
    assert len(traces) == seen


def test_tests_of_a_task_are_those_of_the_network_adapted_to_it():
    learner = make(measure=lambda call, batch, key: -OBJECTIVE(call, batch, key))
    tasks = [pairs(seed, ()) for seed in range(2)]
    before = learner.network.get_weights()
    found = learner.evaluate_tasks(tasks, (0, 2, 5))
    assert found.shape == (2, 3)
    for row, (support, (damaged, clean)) in zip(found, tasks, strict=True):
        for value, steps in zip(row, (0, 2, 5), strict=True):
            adapted = learner.adapt(support, steps)
            assert value == pytest.approx(-float(l1(adapted(damaged), clean)), abs=1e-6)
    for one, other in zip(before, learner.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("first_order", [False, True])
def test_what_adapts_obeys_its_constraint(first_order):
    def bound():
        inputs = keras.Input(SIZE)
        arguments = {"use_bias": False, "kernel_initializer": "ones"}
        arguments["kernel_constraint"] = keras.constraints.NonNeg()
        outputs = layers.Conv2D(1, 1, name="head_conv", **arguments)(inputs)
        return keras.Model(inputs, outputs)

    settings = {"inner_rates": {".*": 10.0}, "first_order": first_order}
    learner = make(build=bound, **settings)
    adapted = learner.adapt(pairs(0, ())[0], 1)
    # |w x - y| with w x > y goes down the mean of x, far below 0, and stops there.
    assert adapted.get_weights()[0].item() == 0
    settings["inner_rates"] = {".*": 1e-3}
    (damaged, clean), _ = pairs(0, ())
    slope = float(tf.reduce_mean(damaged * tf.sign(damaged - clean)))
    near = make(build=bound, **settings).adapt((damaged, clean), 1)
    assert near.get_weights()[0].item() == pytest.approx(1 - 1e-3 * slope)


def test_draws_differ_between_tasks_steps_and_updates_and_repeat_with_the_seed():
    keys = []

    def objective(call, batch, key):
        keys.append(key.numpy().tolist())
        return denoise(call, batch, key)

    learner = make(objective=objective)
    tasks = images(0, TASKS, SHOTS)
    learner.train_step((tasks, tasks))
    learner.train_step((tasks, tasks))
    assert len(keys) == 2 * TASKS * 3
    assert len({tuple(key) for key in keys}) == len(keys)
    first = list(keys)
    again = make(objective=objective)
    again.train_step((tasks, tasks))
    assert keys[len(first) :] == first[: TASKS * 3]


def test_meta_test_draws_are_fixed_by_the_seed():
    learner = make(objective=denoise)
    support = images(0, SHOTS)
    one, same, other = (
        learner.adapt(support, 2, seed=seed).get_weights()[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_inner_batches_are_parts_of_the_task_without_repetition():
    seen = []

    def objective(call, batch, key):
        seen.append(batch.numpy())
        return denoise(call, batch, key)

    learner = make(
        meta_learning.Reptile, objective=objective, inner_steps=4, inner_batch=5
    )
    numbers = tf.reshape(tf.range(2.0 * SHOTS), [1, -1, 1, 1, 1]) * tf.ones(
        (1, 1, *SIZE)
    )
    learner.train_step(tuple(tf.split(numbers, 2, axis=1)))
    chosen = [batch[:, 0, 0, 0].tolist() for batch in seen]
    assert len(chosen) == 4
    assert all(len(set(each)) == 5 for each in chosen)
    assert len({tuple(each) for each in chosen}) > 1


def test_several_inputs_before_the_target():
    def build():
        image, level = keras.Input(SIZE), keras.Input((1, 1, 1))
        x = layers.Conv2D(1, 3, padding="same", name="head_conv")(image + level)
        return keras.Model([image, level], x)

    learner = make(build=build)
    part = (images(0, TASKS, SHOTS), tf.zeros([TASKS, SHOTS, 1, 1, 1]))
    part = (*part, images(1, TASKS, SHOTS))
    one = tf.nest.map_structure(lambda x: x[0], part)
    found = learner.evaluate_tasks([(one, one)], (0,))
    expected = l1(learner.network([one[0], one[1]]), one[2])
    assert found == pytest.approx(float(expected))
    learner.train_step((part, part))


def bad(role):
    def build():
        inputs = keras.Input(SIZE)
        layer = {
            "bn": layers.BatchNormalization(name="block1_bn"),
            "dropout": layers.Dropout(0.5, name="block1_dropout"),
            "dropping": layers.Dropout(0.5, name="block1_dropout", trainable=False),
            "frozen": layers.Activation("relu", name="block1_act"),
        }[role]
        x = layers.Conv2D(1, 1, name="head_conv", trainable=role != "frozen")(inputs)
        return keras.Model(inputs, layer(x))

    return build


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"build": bad("bn")}, r"block1_bn keeps state \(moving_mean\).*group norm"),
        ({"build": bad("dropout")}, "block1_dropout keeps state"),
        ({"build": bad("dropping")}, "block1_dropout keeps state"),  # frozen, it drops
        ({"build": bad("frozen")}, "frozen; unfreeze"),
        ({"inner_rates": {"tail_.*": 0.1}}, "'tail_.*' matches no layer"),
        ({"inner_rates": {".*": 0.0}}, "not positive"),
        ({"inner_steps": -1}, "choose 0 or more"),
        ({"kind": meta_learning.Reptile, "inner_steps": 0}, "choose 1 or more"),
        ({"inner_steps": 0, "learned_rates": True}, "1 or more"),
        ({"inner_batch": 0}, "at least 1"),
        ({"inner_optimizer": "rmsprop"}, "not one of sgd, adam"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(errors.InputError, match=message):
        make(**settings)


def test_steps_of_a_test_must_rise():
    with pytest.raises(errors.InputError, match="do not rise"):
        make().evaluate_tasks([], (5, 1))
