"""MAML and Reptile against finite differences, hand and NumPy calculations."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from gan_transfer import inner_loop, meta_learning

SHOTS, RATE = 3, 0.1


def square(outputs, targets):
    return tf.reduce_mean(tf.square(outputs - targets))


OBJECTIVE = inner_loop.supervised(square)


def network(width=3):
    """f: R^2 -> R^1 with two adapting stages."""
    inputs = keras.Input((2,))
    x = layers.Dense(width, activation="tanh", name="block1_dense")(inputs)
    return keras.Model(inputs, layers.Dense(1, name="head_dense")(x))


def linear():
    inputs = keras.Input((2,))
    return keras.Model(inputs, layers.Dense(1, use_bias=False, name="head")(inputs))


def make(kind=meta_learning.MAML, build=network, optimizer=None, **settings):
    keras.utils.set_random_seed(0)
    learner = kind(build(), seed=5)
    settings = {"inner_rates": {".*": RATE}, "inner_steps": 2} | settings
    objective = settings.pop("objective", OBJECTIVE)
    learner.compile(optimizer or keras.optimizers.SGD(1.0), objective, **settings)
    return learner


def meta_batch(tasks=2, seed=0):
    """Support and query `((x, y), (x, y))`, `[tasks, shots, ...]`."""
    rng = np.random.default_rng(seed)

    def part(shots):
        x, y = rng.normal(size=(tasks, shots, 2)), rng.normal(size=(tasks, shots, 1))
        dtype = keras.config.floatx()
        return tf.constant(x, dtype), tf.constant(y, dtype)

    return part(SHOTS), part(SHOTS + 1)


def tasks_of(batch):
    count = len(batch[0][0])
    return [tf.nest.map_structure(lambda x, n=n: x[n], batch) for n in range(count)]


def gradients(learner, batch):
    """The meta-gradient: what a step of SGD at rate 1 takes away."""
    before = [v.numpy() for v in learner.meta_variables()]
    learner.train_step(batch)
    return [
        b - v.numpy() for b, v in zip(before, learner.meta_variables(), strict=True)
    ]


@pytest.fixture
def float64():
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


def finite_differences(learner, batch, steps, epsilon=1e-5):
    """Central differences of the mean query loss after `steps` inner steps."""
    found = []
    for variable in learner.meta_variables():
        value, slopes = variable.numpy(), np.zeros(variable.shape)
        for place in np.ndindex(*variable.shape):
            ends = []
            for sign in (1, -1):
                moved = np.copy(value)
                moved[place] += sign * epsilon
                variable.assign(moved)
                ends.append(learner.evaluate_tasks(tasks_of(batch), (steps,)).mean())
            slopes[place] = (ends[0] - ends[1]) / (2 * epsilon)
        variable.assign(value)
        found.append(slopes)
    return found


@pytest.mark.parametrize("vectorised", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {"inner_steps": 0},
        {"inner_steps": 1},
        {"inner_steps": 3, "learned_rates": True},
        {"inner_steps": 2, "inner_optimizer": "adam"},
        {"inner_steps": 2, "inner_rates": {"head_.*": 0.3}, "learned_rates": True},
    ],
)
def test_meta_gradients_are_finite_differences(float64, settings, vectorised):
    learner, batch = make(vectorised=vectorised, **settings), meta_batch()
    expected = finite_differences(learner, batch, settings["inner_steps"])
    found = gradients(learner, batch)
    scale = max(np.abs(each).max() for each in expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8 * scale)
    learned = settings.get("learned_rates", False)
    assert len(found) == 4 + learned
    if settings.get("inner_rates"):  # the first layer has no rate to learn
        assert found[-1][0] == 0 != found[-1][1]


def test_first_order_is_the_query_gradient_at_the_adapted_weights(float64):
    batch = meta_batch(tasks=1)
    (support, query), *_ = tasks_of(batch)
    first, second = make(first_order=True), make()
    adapted = first.adapt(support, 2)
    with tf.GradientTape() as tape:
        loss = square(adapted(query[0]), query[1])
    expected = tape.gradient(loss, adapted.trainable_variables)
    found, true = gradients(first, batch), gradients(second, batch)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)
    kernels = found[0].ravel(), true[0].ravel()
    assert np.linalg.norm(kernels[0] - kernels[1]) > 0.05 * np.linalg.norm(kernels[1])


@pytest.mark.parametrize(("first_order", "slope"), [(False, 1.28), (True, 1.6)])
def test_one_step_on_the_square_of_a_weight(first_order, slope):
    # W = 1, L = W^2, rate 0.1: W' = 0.8 W; dL(W')/dW = 2 * 0.8 * 0.8, or 2 * 0.8.
    def objective(call, batch, key):
        return tf.reduce_sum(tf.square(call(batch)))

    inputs = keras.Input((1,))
    head = layers.Dense(1, use_bias=False, kernel_initializer="ones", name="head")
    learner = make(
        build=lambda: keras.Model(inputs, head(inputs)),
        objective=objective,
        inner_steps=1,
        first_order=first_order,
    )
    ones = tf.ones([1, 1, 1])
    ((found,),) = gradients(learner, (ones, ones))
    assert found == pytest.approx([slope])


def descend(w, x, y, rate, steps, adam=False):
    """Gradient steps on mean (x w - y)^2 in NumPy."""
    v = 0.0
    for t in range(1, steps + 1):
        slope = 2 * x.T @ (x @ w - y) / len(x)
        v = 0.999 * v + 0.001 * slope**2
        w = w - rate * (slope / np.sqrt(v / (1 - 0.999**t)) if adam else slope)
    return w


@pytest.mark.parametrize("inner_optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("vectorised", [False, True])
def test_reptile_moves_towards_the_mean_of_the_tasks(inner_optimizer, vectorised):
    learner = make(
        meta_learning.Reptile,
        linear,
        keras.optimizers.SGD(0.25),
        inner_steps=3,
        inner_optimizer=inner_optimizer,
        vectorised=vectorised,
    )
    batch = meta_batch(tasks=3)
    (start,) = learner.network.get_weights()
    ends = []
    for (x, y), (x_query, y_query) in tasks_of(batch):
        x, y = np.concatenate([x, x_query]), np.concatenate([y, y_query])
        ends.append(descend(start, x, y, RATE, 3, inner_optimizer == "adam"))
    learner.train_step(batch)
    expected = start + 0.25 * (np.mean(ends, axis=0) - start)
    np.testing.assert_allclose(learner.network.get_weights()[0], expected, atol=1e-6)


def test_reptile_of_one_step_is_joint_training():
    reptile = make(
        meta_learning.Reptile,
        optimizer=keras.optimizers.SGD(1 / RATE),
        inner_steps=1,
    )
    joint = make(inner_steps=0)
    support, query = meta_batch()
    both = tuple(tf.concat(each, axis=1) for each in zip(support, query, strict=True))
    found, expected = (
        gradients(reptile, (support, query)),
        gradients(joint, (both, both)),
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_meta_training_by_maml_goes_to_layers_that_do_not_adapt_too():
    learner = make(inner_rates={"head_.*": RATE})
    batch = meta_batch()
    adapted = learner.adapt(tasks_of(batch)[0][0], 2).get_weights()
    same = [
        np.array_equal(one, other)
        for one, other in zip(learner.network.get_weights(), adapted, strict=True)
    ]
    assert same == [True, True, False, False]
    assert all(np.any(each) for each in gradients(learner, batch))


def test_reptile_moves_only_the_layers_that_adapt():
    learner = make(meta_learning.Reptile, inner_rates={"head_.*": RATE})
    before = learner.network.get_weights()
    learner.train_step(meta_batch())
    after = learner.network.get_weights()
    same = [np.array_equal(*pair) for pair in zip(before, after, strict=True)]
    assert same == [True, True, False, False]


@pytest.mark.parametrize("kind", [meta_learning.MAML, meta_learning.Reptile])
def test_frozen_layers_stay_in_both_loops(kind):
    def build():
        inputs = keras.Input((2,))
        x = layers.Dense(3, name="block1_dense", trainable=False)(inputs)
        x = layers.BatchNormalization(name="block1_bn", trainable=False)(x)
        return keras.Model(inputs, layers.Dense(1, name="head_dense")(x))

    learner = make(kind, build)
    before = learner.network.get_weights()
    learner.train_step(meta_batch())
    adapted = learner.adapt(tasks_of(meta_batch())[0][0], 1)
    for after in (learner.network.get_weights(), adapted.get_weights()):
        for one, other in zip(before[:6], after[:6], strict=True):
            np.testing.assert_array_equal(one, other)
        assert not np.array_equal(before[6], after[6])
    learner.network.get_layer("block1_dense").trainable = True
    with pytest.raises(RuntimeError, match="flags changed"):
        learner.train_step(meta_batch())


def test_later_rules_win_and_rates_are_those_of_the_layers():
    learner = make(inner_rates={".*": 0.1, "head_.*": 0.4}, build=network)
    assert [float(rate) for rate in learner.rates()] == pytest.approx(
        [0.1] * 2 + [0.4] * 2
    )
    learner.log_rates.assign(np.log([2.0, 0.5]))
    assert [float(rate) for rate in learner.rates()] == pytest.approx([0.2] * 4)
