"""The restorer's training step against independent computations."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import errors, transfer
from restoration import mixture, networks, supervised

BANK = np.zeros((2, 16, 16, 1), np.uint8)
BANK[0, 4:9, 3:5] = BANK[1, :, 7] = 1
MIXTURE = mixture.Mixture(BANK)


def make(network=None, optimizer=None, **settings):
    keras.utils.set_random_seed(0)
    if network is None:
        network = networks.restorer(1, widths=(4,), blocks=1)
        network.get_layer("head_conv").kernel.assign(
            0.1 * keras.random.normal((3, 3, 4, 4), seed=1)
        )
    restorer = supervised.Restorer(network, seed=settings.pop("seed", 5))
    restorer.compile(optimizer or keras.optimizers.SGD(1.0), **settings)
    return restorer


def clean(count=3, height=10, width=14, seed=0):
    draws = np.random.default_rng(seed).random((count, height, width, 1), np.float32)
    return tf.constant(draws)


def pair(seed=0):
    """A batch as it comes without a damage: damaged, level, mask, clean."""
    truth = clean(seed=seed)
    damaged, level, mask = MIXTURE(truth, tf.constant([9, seed]))
    return damaged, level, mask, truth


def values(variables):
    return [np.copy(variable.numpy()) for variable in variables]


def assert_equal(ones, others):
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_array_equal(one, other)


def assert_close(ones, others, atol=1e-6):
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


def gradients(network, batch, loss):
    *inputs, truth = batch
    with tf.GradientTape() as tape:
        value = loss(network(inputs, training=True), truth)
    return value, tape.gradient(value, network.trainable_variables)


def losses_of(differences):
    truth = np.full(np.shape(differences), 0.25, np.float32)
    restored = tf.constant(truth + np.float32(differences))
    return {name: float(f(restored, truth)) for name, f in supervised.LOSSES.items()}


def test_losses_in_closed_form():
    # Two images of 1x2 pixels: one small and one large difference each.
    found = losses_of(np.reshape([0.03, -0.1, 0.3, 0.4], (2, 1, 2, 1)))
    assert found["l1"] == pytest.approx(0.83 / 4)
    assert found["l2"] == pytest.approx((0.0009 + 0.01 + 0.09 + 0.16) / 4)
    roots = np.sqrt(np.square([0.03, 0.1, 0.3, 0.4]) + 1e-6)
    assert found["charbonnier"] == pytest.approx(roots.mean())
    outer = 0.05 * (0.8 - 3 * 0.025)
    assert found["huber"] == pytest.approx((0.00045 + outer) / 4)
    squares = np.array([(0.0009 + 0.01) / 2, (0.09 + 0.16) / 2])
    mean = np.sqrt(squares + 1e-6).mean()
    assert found["root_mean_square"] == pytest.approx(mean)


def test_huber_loss_agrees_with_keras():
    expected = float(keras.losses.Huber(0.05)(clean(), clean(seed=1)))
    found = float(supervised.huber(clean(seed=1), clean()))
    assert found == pytest.approx(expected, rel=1e-5)


def test_losses_of_no_difference():
    found = losses_of(np.zeros((2, 3, 4, 1)))
    assert found["l1"] == found["l2"] == found["huber"] == 0
    assert found["charbonnier"] == pytest.approx(1e-3)
    assert found["root_mean_square"] == pytest.approx(1e-3)
    zeros = tf.zeros((2, 3, 4, 1))
    for loss in supervised.LOSSES.values():
        with tf.GradientTape() as tape:
            tape.watch(zeros)
            value = loss(zeros, tf.zeros_like(zeros))
        assert not tape.gradient(value, zeros).numpy().any()


def test_huber_and_its_derivative_are_continuous_at_the_corner():
    d = tf.constant([0.0499, 0.05, 0.0501, -0.0499, -0.0501, 0.02, -0.7])
    with tf.GradientTape() as tape:
        tape.watch(d)
        value = supervised.huber(d, tf.zeros_like(d))
    slopes = 7 * tape.gradient(value, d).numpy()
    np.testing.assert_allclose(slopes, np.clip(d, -0.05, 0.05), rtol=1e-5)
    at = [float(supervised.huber(d[n : n + 1], tf.zeros(1))) for n in range(3)]
    assert at[1] == pytest.approx(0.05**2 / 2)
    np.testing.assert_allclose(np.diff(at), 0.05 * 1e-4, rtol=2e-3)


@pytest.mark.parametrize("first", [0, 300])
def test_cosine_rates(first):
    rate = supervised.Cosine(2e-3, steps=1000, first=first, warm_up=50)

    def at(update):
        return float(rate(tf.constant(update - first)))

    if not first:
        assert at(0) == pytest.approx(2e-3 / 50)
        for update, warmth in ((24, 0.5), (49, 1.0)):
            falling = 0.001 + 0.999 * (1 + np.cos(np.pi * update / 1000)) / 2
            assert at(update) == pytest.approx(2e-3 * warmth * falling)
    assert at(500) == pytest.approx(2e-3 * (0.001 + 0.999 / 2))
    assert at(1000) == at(5000) == pytest.approx(2e-6)
    assert (np.diff([at(update) for update in range(300, 1001, 50)]) < 0).all()


def test_cosine_is_saved_with_its_optimizer():
    rate = supervised.Cosine(1e-3, 100, first=7, warm_up=3)
    optimizer = keras.optimizers.SGD(rate)
    copy = keras.optimizers.SGD.from_config(optimizer.get_config())
    assert isinstance(copy._learning_rate, supervised.Cosine)
    assert copy._learning_rate.get_config() == rate.get_config()
    assert float(optimizer.learning_rate) == pytest.approx(float(rate(0)))


@pytest.mark.parametrize("loss", supervised.LOSSES.values())
def test_one_step_is_a_gradient_step(loss):
    restorer, batch = make(loss=loss), pair()
    before = values(restorer.network.trainable_variables)
    value, slopes = gradients(restorer.network, batch, loss)
    logs = restorer.train_step(batch)
    assert float(logs["loss"]) == pytest.approx(float(value), rel=1e-6)
    expected = [w - g.numpy() for w, g in zip(before, slopes, strict=True)]
    assert_close(values(restorer.network.trainable_variables), expected)
    assert int(restorer.updates) == int(restorer.network_optimizer.iterations) == 1


def test_two_steps_of_adam_by_hand():
    optimizer = transfer.LayerwiseAdam(
        learning_rate=supervised.Cosine(1e-2, 10, warm_up=4), beta_1=0.8, beta_2=0.9
    )
    restorer = make(optimizer=optimizer, loss=supervised.l2)
    variables = restorer.network.trainable_variables
    weights = [w.astype(np.float64) for w in values(variables)]
    first, second = ([0.0] * len(weights) for _ in range(2))
    for t in (1, 2):
        batch = pair(t)
        slopes = gradients(restorer.network, batch, supervised.l2)[1]
        share = (1 + np.cos(np.pi * (t - 1) / 10)) / 2
        rate = 1e-2 * t / 4 * (0.001 + 0.999 * share)
        for place, slope in enumerate(slopes):
            g = slope.numpy().astype(np.float64)
            first[place] = 0.8 * first[place] + 0.2 * g
            second[place] = 0.9 * second[place] + 0.1 * g**2
            step = rate * np.sqrt(1 - 0.9**t) / (1 - 0.8**t)
            weights[place] -= step * first[place] / (np.sqrt(second[place]) + 1e-7)
        restorer.train_step(batch)
        assert_close(values(variables), weights, atol=1e-5)


def test_a_scaled_loss_makes_the_same_step():
    plain, batch = make(), pair()
    scaled = make(
        optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0))
    )
    plain.train_step(batch)
    scaled.train_step(batch)
    assert_close(plain.network.get_weights(), scaled.network.get_weights())


def test_a_damage_is_drawn_anew_in_every_update_and_trained_like_pairs():
    drawn = []

    def damage(images, key):
        drawn.append((key.numpy().tolist(), MIXTURE(images, key)))
        return drawn[-1][1]

    afresh, paired, truth = make(damage=damage, seed=8), make(seed=8), clean()
    for _ in range(3):
        afresh.train_step(truth)
        paired.train_step((*drawn[-1][1], truth))
    assert [key for key, _ in drawn] == [[8, 0], [8, 64], [8, 128]]
    assert (drawn[0][1][0] != drawn[1][1][0]).numpy().any()
    assert_equal(afresh.network.get_weights(), paired.network.get_weights())


def test_seed_fixes_a_run_and_another_changes_it():
    runs = [make(damage=MIXTURE, seed=seed) for seed in (1, 1, 2)]
    for run in runs:
        run.train_step(clean())
    first, same, other = (run.network.get_weights() for run in runs)
    assert_equal(first, same)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_logs_are_the_loss_and_the_mean_psnr_of_the_images():
    identity = networks.restorer(1, widths=(4,), blocks=1)
    restorer = make(identity, loss=supervised.l1)
    offsets = np.reshape([0.1, 0.01, 0.0], (3, 1, 1, 1)).astype(np.float32)
    zeros = tf.zeros((3, 10, 14, 1))
    logs = restorer.train_step((0.5 + offsets + zeros, zeros, zeros, 0.5 + zeros))
    assert list(logs) == ["loss", "psnr"]
    assert float(logs["loss"]) == pytest.approx(0.11 / 3, rel=1e-4)
    # 20, 40 and, for a perfect image, 100 dB.
    assert float(logs["psnr"]) == pytest.approx(160 / 3, rel=1e-4)


@pytest.mark.parametrize("pattern", ["stem_.*", "block1_.*", "(?!head).*"])
@pytest.mark.parametrize("averaging", [0.0, 0.999])
def test_only_unfrozen_weights_move(pattern, averaging):
    network = make().network
    transfer.freeze(network, pattern)
    restorer = make(network, damage=MIXTURE, averaging=averaging)
    copies = (network, restorer.averaged_network)
    before = [values(each.weights) for each in copies]
    moves = [v.path for v in network.trainable_variables]
    assert 0 < len(moves) < len(network.weights)
    for _ in range(2):
        restorer.train_step(clean())
    for each, old in zip(copies, before, strict=True):
        for variable, value in zip(each.weights, old, strict=True):
            moved = (variable.numpy() != value).any()
            assert moved == (variable.path in moves), variable.path


def test_frozen_batch_norm_keeps_its_statistics():
    network = networks.document_a(1)
    transfer.freeze(network, "block[1-3]_.*")
    restorer = make(network)
    before = values(network.weights)
    restorer.train_step(pair())
    for variable, value in zip(network.weights, before, strict=True):
        moved = (variable.numpy() != value).any()
        # A bias before a batch norm has no gradient but rounding.
        if not variable.path.endswith("bias"):
            assert moved == (variable.path[5] in "456"), variable.path


def test_average_follows_its_closed_form():
    restorer = make(averaging=0.15)
    average = values(restorer.averaged_network.weights)
    assert_equal(average, values(restorer.network.weights))
    for update in range(4):
        restorer.train_step(pair(update))
        decay = min(0.15, (1 + update) / (10 + update))
        weights = values(restorer.network.weights)
        pairs = zip(average, weights, strict=True)
        average = [decay * a + (1 - decay) * w for a, w in pairs]
        assert_close(values(restorer.averaged_network.weights), average)
    assert restorer.result is restorer.averaged_network
    assert not restorer.averaged_network.trainable_variables


def test_an_average_of_zero_is_a_copy_and_a_given_network_is_used():
    network, given = (networks.restorer(1, widths=(4,), blocks=1) for _ in range(2))
    restorer = supervised.Restorer(network, given)
    assert restorer.averaged_network is given and restorer.network is network
    restorer.compile(keras.optimizers.SGD(1.0), averaging=0.0)
    restorer.train_step(pair())
    assert_equal(given.get_weights(), network.get_weights())


def test_a_wholly_frozen_network_is_refused():
    network = networks.restorer(1, widths=(4,), blocks=1)
    transfer.freeze(network, ".*")
    with pytest.raises(errors.InputError, match="every layer of the restorer is froz"):
        make(network)


def test_changed_flags_and_a_missing_compile_are_refused():
    restorer = make()
    transfer.freeze(restorer.network, "stem_.*")
    fit = functools.partial(restorer.fit, pair(), verbose=0)
    for train in (lambda: restorer.train_step(pair()), fit):
        with pytest.raises(RuntimeError, match=r"\(1 weights, first network/stem_conv"):
            train()
    fresh = supervised.Restorer(networks.restorer(1, widths=(4,), blocks=1))
    with pytest.raises(RuntimeError, match=r"call Restorer.compile\(\)"):
        fresh.train_step(pair())


@pytest.mark.parametrize("damage", [None, MIXTURE])
def test_eager_equals_compiled(damage):
    eager, compiled = (make(damage=damage, averaging=0.9) for _ in range(2))
    traced = tf.function(compiled.train_step)
    for seed in range(2):
        batch = clean(seed=seed) if damage else pair(seed)
        logs, traced_logs = eager.train_step(batch), traced(batch)
        for name, value in logs.items():
            assert float(traced_logs[name]) == pytest.approx(float(value), rel=1e-4)
    assert_close(values(eager.weights), values(compiled.weights), atol=1e-5)


def test_fit_takes_pairs_and_makes_the_same_steps():
    fitted, stepped = (make(loss=supervised.huber) for _ in range(2))
    data = tf.data.Dataset.from_tensors(pair()).repeat(4)
    history = fitted.fit(
        data, steps_per_epoch=2, epochs=2, shuffle=False, verbose=0
    ).history
    for _ in range(4):
        stepped.train_step(pair())
    assert_close(fitted.network.get_weights(), stepped.network.get_weights(), 1e-5)
    assert history.keys() == {"loss", "psnr"}
