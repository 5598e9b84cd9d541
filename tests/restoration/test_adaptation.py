import keras
import numpy as np
import tensorflow as tf

from gan_transfer import recipes, regularization
from restoration import adaptation, networks, supervised


def network(seed=0):
    keras.utils.set_random_seed(seed)
    made = networks.restorer(1, widths=(4,), blocks=1)
    generator = np.random.default_rng(seed)
    for weight in made.weights:
        weight.assign(0.2 * generator.normal(size=weight.shape))
    return made


def inputs(height=8, width=12):
    image = np.random.default_rng(1).random((1, height, width, 1), np.float32)
    return [image, np.full_like(image, 0.1), np.zeros_like(image)]


def test_recorrupted_pairs_have_independent_errors():
    noisy = tf.zeros((1, 256, 256, 1))
    given, level, mask, target = adaptation.recorrupt(noisy, 0.2, tf.constant([3, 4]))
    z = given.numpy() / 0.5
    np.testing.assert_allclose(target.numpy(), -z / 0.5, rtol=1e-5, atol=1e-7)
    assert abs(z.std() - 0.2) < 0.002
    np.testing.assert_allclose(level.numpy(), 0.2 * 1.25**0.5, rtol=1e-6)
    assert not mask.numpy().any() and level.shape == noisy.shape
    # With y's own noise n: cov(n + a z, n - z / a) = var n - var z = 0.
    n = 0.2 * tf.random.stateless_normal((1, 512, 512, 1), (5, 6))
    given, _, _, target = adaptation.recorrupt(n, 0.2, tf.constant([7, 8]))
    correlation = np.corrcoef(given.numpy().ravel(), target.numpy().ravel())[0, 1]
    assert abs(correlation) < 0.01


def test_gains_start_as_the_identity_and_fold_into_the_kernels():
    plain = network()
    gained = networks.with_gains(plain)
    np.testing.assert_array_equal(
        gained.predict_on_batch(inputs()), plain.predict_on_batch(inputs())
    )
    generator = np.random.default_rng(2)
    for layer in gained.layers:
        if isinstance(layer, networks.Gain):
            layer.factor.assign(generator.uniform(0.5, 1.5, layer.factor.shape))
    folded = network(seed=3)
    networks.fold_gains(gained, folded)
    np.testing.assert_allclose(
        folded.predict_on_batch(inputs()),
        gained.predict_on_batch(inputs()),
        rtol=1e-4,
        atol=1e-5,
    )


def test_recipes_of_a_restorer_move_exactly_what_they_name():
    for name, moving in (
        ("head_only", {"head_conv"}),
        ("gains", {"gain"}),
        ("fine_tune", None),
    ):
        source = network()
        source = networks.with_gains(source) if name == "gains" else source
        restorer = supervised.Restorer(source)
        (phase,) = recipes.RESTORATION_RECIPES[name](restorer, 0, "frozen")
        phase.prepare()
        restorer.compile(keras.optimizers.SGD(0.1), loss=supervised.l1)
        before = {layer.name: layer.get_weights() for layer in source.layers}
        image, level, mask = map(tf.constant, inputs())
        restorer.train_step((image, level, mask, image + 0.5))
        moved = {
            layer.name
            for layer in source.layers
            if any(
                not np.array_equal(old, new)
                for old, new in zip(
                    before[layer.name], layer.get_weights(), strict=True
                )
            )
        }
        weighted = {layer.name for layer in source.layers if layer.weights}
        if moving == {"gain"}:
            assert moved == {name for name in weighted if name.endswith("_gain")}
        else:
            assert moved == (moving or weighted)


def test_an_anchor_adds_its_gradient():
    image, level, mask = map(tf.constant, inputs())

    def stepped(weight):
        source = network()
        start = {v.path: v.numpy() - 0.5 for v in source.trainable_variables}
        anchors = {"network": regularization.L2ToSource(weight, start)}
        restorer = supervised.Restorer(source)
        restorer.compile(keras.optimizers.SGD(0.1), loss=supervised.l1, anchors=anchors)
        restorer.train_step((image, level, mask, image + 0.5))
        return source.get_weights()

    # w/2 (W - W_0)^2 has the gradient w (W - W_0).
    for free, held in zip(stepped(0.0), stepped(0.3), strict=True):
        np.testing.assert_allclose(held, free - 0.1 * 0.3 * 0.5, atol=1e-6)


def test_adapting_lowers_the_error_where_the_network_is_wrong():
    # A network that returns the noisy picture plus something it should not.
    wrong = network()
    clean = np.tile(np.linspace(0, 1, 24, dtype=np.float32)[:, None, None], (1, 40, 1))
    noise = 0.1 * np.random.default_rng(5).normal(size=clean.shape)
    noisy = clean + noise.astype(np.float32)
    given = [noisy[None], np.full_like(noisy[None], 0.1), np.zeros_like(noisy[None])]
    before = [w.numpy() for w in wrong.weights]
    adapted = adaptation.adapt(wrong, noisy, 0.1, steps=60, rate=0.02)
    for old, new in zip(before, wrong.weights, strict=True):
        np.testing.assert_array_equal(old, new)
    errors = [
        np.mean((each.predict_on_batch(given)[0] - clean) ** 2)
        for each in (wrong, adapted)
    ]
    assert errors[1] < 0.5 * errors[0]
    again = adaptation.adapt(wrong, noisy, 0.1, steps=60, rate=0.02)
    for one, other in zip(adapted.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)
