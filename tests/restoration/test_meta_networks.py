"""MetaNN, MetaCNN, CIR and SR as networks for tasks; the linear filter beside them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import errors, inner_loop, meta_learning
from restoration import linear_filter, meta_networks, supervised

SIZE, TOLD = (6, 10, 1), 3
BUILDERS = {
    "meta_cnn": lambda: meta_networks.meta_cnn(4),
    "told_cnn": lambda: meta_networks.meta_cnn(4, 1, 0, descriptor=TOLD),
    "meta_nn": lambda: meta_networks.meta_nn(6, 5),
    "told_nn": lambda: meta_networks.meta_nn(6, 5, descriptor=TOLD),
    "meta_iterative": lambda: meta_networks.meta_iterative(2, 3, 3, 5),
    "meta_sparse": lambda: meta_networks.meta_sparse(4, 2),
}


def images(*shape, seed=0):
    return np.random.default_rng(seed).random((*shape, 1), np.float32)


def inputs_of(name, count=2):
    image = images(count, 6, 6 if name.endswith("nn") and "cnn" not in name else 10)
    if name.startswith("told"):
        told = np.random.default_rng(1).random((count, TOLD), np.float32)
        return [image, told]
    if name == "meta_sparse":
        return [image, 0.1 + 0 * image, 0 * image]
    return [image]


@pytest.mark.parametrize("name", BUILDERS)
def test_networks_return_images_and_survive_saving(name, tmp_path):
    network, inputs = BUILDERS[name](), inputs_of(name)
    given = inputs if len(inputs) > 1 else inputs[0]
    restored = network(given)
    assert restored.shape == inputs[0].shape
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(given), restored)


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("first_order", [True, False])
def test_a_meta_update_of_any_order_moves_every_weight(name, first_order):
    network = BUILDERS[name]()
    if name == "meta_iterative":
        # At the start A x = y, which says nothing of the threshold.
        for layer in network.layers[1:]:
            randomise(layer)
    before = network.get_weights()
    learner = meta_learning.MAML(network)
    learner.compile(
        keras.optimizers.Adam(1e-2),
        inner_loop.supervised(supervised.l2),
        inner_rates={".*": 0.1},
        inner_steps=1,
        first_order=first_order,
    )
    batch = (*inputs_of(name, 4), images(4, *inputs_of(name)[0].shape[1:3], seed=2))
    parts = [[tf.constant(x)[None, :2] for x in batch] for _ in range(2)]
    learner.train_step((tuple(parts[0]), tuple(x + 0.1 for x in parts[1])))
    for variable, old in zip(network.weights, before, strict=True):
        assert np.any(variable.numpy() != old), variable.path


def test_names_are_stages_of_encoder_and_recoverer():
    network = meta_networks.meta_cnn(4, 2, 1, descriptor=TOLD)
    named = [layer.name for layer in network.layers if layer.weights]
    stages = ("encoder1", "encoder2", "recoverer1")
    expected = [f"{s}_{role}" for s in stages for role in ("conv", "condition")]
    assert sorted(named) == sorted([*expected, "head_conv"])


def test_convolutional_network_is_the_image_plus_what_the_recoverer_finds():
    network = meta_networks.meta_cnn(4)
    image = images(2, 6, 10)
    head = network.get_layer("head_conv")
    bias = np.float32([0.1, 0.2, 0.3, 0.4])
    head.set_weights([np.zeros_like(head.get_weights()[0]), bias])
    added = np.tile(bias.reshape(2, 2), (3, 5))[None, ..., None]
    np.testing.assert_allclose(network(image), image + added, atol=1e-6)


def test_an_untrained_descriptor_changes_nothing_and_a_trained_one_scales():
    network = meta_networks.meta_cnn(4, 1, 0, descriptor=TOLD)
    image, told = inputs_of("told_cnn")
    before = network([image, told])
    np.testing.assert_array_equal(before, network([image, 0 * told]))
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 2)).astype(np.float32)
    both = np.float32([[1, 0, 0, 0.5], [0, -1, 2, 0]])
    layer = meta_networks.Modulate()
    expected = np.stack(
        [
            x[0] * [2, 1] + [0, 0.5],
            x[1] * [1, 0] + [2, 0],
        ]
    )
    np.testing.assert_allclose(layer([x, both]), expected, rtol=1e-6)
    flat = layer([x[:, 0, 0], both])
    np.testing.assert_allclose(flat, expected[:, 0, 0], rtol=1e-6)


def huber(missed, threshold):
    size = tf.abs(missed)
    inner = tf.minimum(size, threshold)
    return tf.reduce_sum(inner * (size - 0.5 * inner))


def randomise(layer):
    rng = np.random.default_rng(3)
    layer.kernel.assign(rng.normal(0, 0.4, layer.kernel.shape))


def test_data_step_descends_the_huber_loss_of_the_blurred_image():
    layer = meta_networks.DataStep(3)
    x, y = tf.constant(images(2, 6, 10)), tf.constant(images(2, 6, 10, seed=1))
    np.testing.assert_allclose(layer([y, y]), y, atol=1e-7)
    randomise(layer)
    with tf.GradientTape() as tape:
        tape.watch(x)
        blurred = tf.nn.conv2d(x, layer.kernel.value, 1, "SAME")
        loss = huber(blurred - y, layer.threshold.value)
    expected = x - layer.rate.value * tape.gradient(loss, x)
    np.testing.assert_allclose(layer([x, y]), expected, atol=1e-6)


def test_prior_step_descends_the_huber_penalty_of_its_filters():
    layer, x = meta_networks.PriorStep(4, 3), tf.constant(images(2, 6, 10))
    layer.build(x.shape)
    randomise(layer)
    layer.threshold.assign([0.05, 0.1, 0.2, 0.4])
    with tf.GradientTape() as tape:
        tape.watch(x)
        responses = tf.nn.conv2d(x, layer.kernel.value, 1, "SAME")
        loss = huber(responses, layer.threshold.value)
    expected = x - tape.gradient(loss, x)
    np.testing.assert_allclose(layer(x), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: meta_networks.meta_cnn(0), "filters 0, encoder 2"),
        (lambda: meta_networks.meta_cnn(descriptor=-1), "descriptor -1"),
        (lambda: meta_networks.meta_nn(0), "size 0, units 256"),
        (lambda: meta_networks.meta_iterative(blur=4), "blur 4"),
        (lambda: meta_networks.meta_sparse(0), "filters 0"),
        (lambda: linear_filter.fit(images(1, 4, 4), images(2, 4, 4)), "of one shape"),
        (lambda: linear_filter.fit(images(1, 4, 4), images(1, 4, 4), 0), "penalty 0"),
        (
            lambda: linear_filter.fit(images(1, 4, 4), images(1, 4, 4), 1, 2),
            "2 pixels",
        ),
    ],
)
def test_numbers_out_of_bounds_are_refused(make, message):
    with pytest.raises(errors.InputError, match=message):
        make()


def test_filter_finds_a_linear_damage_and_a_heavy_penalty_keeps_the_image():
    damaged = images(3, 9, 14)
    # A shift by a pixel, a gain and an offset: exact inside, so no pixel is missed.
    clean = np.pad(damaged, ((0, 0), (0, 0), (1, 0), (0, 0)), mode="symmetric")
    clean = 0.5 * clean[:, :, :-1] + 0.2
    weights = linear_filter.fit(damaged, clean, 1e-12, 3)
    expected = np.zeros(10)
    expected[[3, 4, 9]] = 0.5, -1, 0.2
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    restored = linear_filter.apply(weights, damaged)
    np.testing.assert_allclose(restored, clean, atol=1e-6)
    kept = linear_filter.apply(linear_filter.fit(damaged, clean, 1e9), damaged)
    np.testing.assert_allclose(kept, damaged, atol=1e-6)


def test_filter_minimises_its_objective():
    damaged, clean = images(2, 6, 10), images(2, 6, 10, seed=1)
    weights = linear_filter.fit(damaged, clean, 0.1, 3)

    def objective(w):
        missed = linear_filter.apply(w, damaged).astype(np.float64) - clean
        return np.mean(missed**2) + 0.1 * np.sum(w**2)

    rng = np.random.default_rng(0)
    least = objective(weights)
    for _ in range(5):
        assert objective(weights + 1e-2 * rng.normal(size=len(weights))) > least
