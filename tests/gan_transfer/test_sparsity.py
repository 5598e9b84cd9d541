"""Masks: budgets, RigL against NumPy, what obeys them in training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import adversarial, errors, sparsity, strategies
from gan_transfer.networks import convolutional, fully_connected

BATCH, LATENT, SHARE = 4, 8, 0.3
KERNELS = {
    "generator": ["stem_dense", "block1_conv", "block2_conv"],
    "discriminator": ["block1_conv", "block2_conv"],
}


def build():
    keras.utils.set_random_seed(0)
    return adversarial.GAN(
        convolutional.generator(16, latent_dim=LATENT, filters=(16, 8, 4)),
        convolutional.discriminator(16, filters=(4, 8), norm="spectral"),
        seed=5,
    )


def make(every=2, updates=8, densities=None, **settings):
    gan = build()
    densities = densities or dict.fromkeys(gan.networks(), SHARE)
    strategies.dynamic(gan, densities, updates=updates, every=every, **settings)
    return compiled(gan)


def compiled(gan):
    gan.compile(*(keras.optimizers.Adam(1e-3, 0.5) for _ in range(2)))
    return gan


def real(step=0):
    pixels = np.random.default_rng(step).uniform(-1, 1, (BATCH, 16, 16, 1))
    return tf.constant(pixels, tf.float32)


def masks(gan):
    return [each.mask.numpy() for each in gan.sparsity.masked]


def slots(gan, each):
    optimizer = getattr(gan, f"{each.network}_optimizer")
    variables = gan.networks()[each.network].trainable_variables
    (number,) = (n for n, v in enumerate(variables) if v is each.layer.kernel)
    # Keras lists the moments as iteration, rate, m0, v0, m1, v1, ...
    return optimizer.variables[2 + 2 * number : 4 + 2 * number]


def averaged(gan, each):
    return gan.averaged_generator.get_layer(each.layer.name).kernel


def assert_masked(gan):
    for each in gan.sparsity.masked:
        off = ~each.mask.numpy()
        held = [each.layer.kernel, *slots(gan, each)]
        if each.network == "generator":
            held.append(averaged(gan, each))
        for variable in held:
            assert variable.shape == off.shape, variable.path
            assert not variable.numpy()[off].any(), variable.path
            assert variable.numpy()[~off].any(), variable.path


def test_masked_are_the_kernels_outside_the_heads():
    gan = make()
    found = [(each.network, each.layer.name) for each in gan.sparsity.masked]
    assert found == [(n, layer) for n, layers in KERNELS.items() for layer in layers]
    for each in gan.sparsity.masked:
        assert each.mask.shape == each.layer.kernel.shape
        assert any(weight is each.mask for weight in gan.weights)


def test_uniform_budgets_are_the_share_of_each_and_exact_together():
    shapes = [(5, 7), (3, 3, 2, 11), (3, 5)]
    budgets = sparsity.layer_budgets(shapes, 0.3, "uniform")
    sizes = [35, 198, 15]
    assert sum(budgets) == round(0.3 * sum(sizes))
    for budget, size in zip(budgets, sizes, strict=True):
        assert abs(budget - 0.3 * size) < 1
    assert sparsity.layer_budgets(shapes, 1.0, "uniform") == sizes


def test_erk_budgets_follow_the_sums_of_the_sides_up_to_all():
    # Sums of sides 40, 26, 4: the last would get more than its 3, so it gets all and
    # the others share the rest as 40 : 26.
    shapes = [(20, 20), (4, 4, 9, 9), (3, 1)]
    budgets = sparsity.layer_budgets(shapes, 0.1, "erk")
    total = round(0.1 * (400 + 1296 + 3))
    assert sum(budgets) == total
    assert budgets[2] == 3
    assert budgets[0] == pytest.approx((total - 3) * 40 / 66, abs=1)
    assert sparsity.layer_budgets(shapes, 1.0, "erk") == [400, 1296, 3]


def test_budgets_refuse_an_empty_kernel_and_an_unknown_distribution():
    with pytest.raises(errors.InputError, match="without a weight"):
        sparsity.layer_budgets([(20, 20), (1, 2)], 0.01, "uniform")
    with pytest.raises(errors.InputError, match="uniform, erk"):
        sparsity.layer_budgets([(2, 2)], 0.5, "normal")


def reference_rewired(mask, kernel, gradient, fraction):
    mask, kernel, gradient = mask.ravel(), kernel.ravel(), gradient.ravel()
    ones = np.flatnonzero(mask)
    moved = int(np.float32(fraction) * np.float32(len(ones)))
    kept = ones[np.argsort(-np.abs(kernel[ones]), kind="stable")[: len(ones) - moved]]
    free = np.setdiff1d(np.arange(mask.size), kept)
    grown = free[np.argsort(-np.abs(gradient[free]), kind="stable")[:moved]]
    new = np.zeros(mask.size, bool)
    new[kept] = new[grown] = True
    return new


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("share", [0.2, 0.9, 1.0])
def test_rewired_equals_numpy(fraction, share):
    rng = np.random.default_rng(0)
    shape = (3, 2, 5, 7)
    mask = rng.permutation(np.arange(210) < round(share * 210)).reshape(shape)
    # Rounded, so that there are ties; the gradient of some weights is 0.
    kernel = np.where(mask, rng.normal(size=shape).round(1), 0).astype("f")
    gradient = rng.normal(size=shape).round(1).astype("f")
    new = sparsity.rewired(*map(tf.constant, (mask, kernel, gradient, fraction)))
    expected = reference_rewired(mask, kernel, gradient, fraction)
    np.testing.assert_array_equal(new.numpy().ravel(), expected)
    assert new.numpy().sum() == mask.sum()


def test_rewired_keeps_its_budget_when_gradients_overflow():
    mask = tf.constant([True, True, False, False, False])
    gradient = tf.constant([np.nan, 1.0, np.nan, 2.0, np.inf])
    kernel = tf.constant([1.0, 3.0, 0.0, 0.0, 0.0])
    new = sparsity.rewired(mask, kernel, gradient, tf.constant(0.5))
    np.testing.assert_array_equal(new, [False, True, False, True, False])


def test_fraction_falls_along_half_a_cosine():
    rewiring = sparsity.Rewiring(every=1, updates=8, first=0.4)
    found = [float(rewiring.fraction(tf.constant(t, tf.int64))) for t in (0, 4, 8, 9)]
    np.testing.assert_allclose(found, [0.4, 0.2, 0.0, 0.0], atol=1e-7)


@pytest.mark.parametrize("distribution", ["uniform", "erk"])
def test_density_is_exact_from_the_first_update_to_the_last(distribution):
    gan = make(distribution=distribution)
    first = masks(gan)
    counts = [mask.sum() for mask in first]
    for name, network in gan.networks().items():
        group = sparsity.by_network(gan.sparsity.masked)[name]
        size = sum(each.layer.kernel.numpy().size for each in group)
        ones = sum(each.mask.numpy().sum() for each in group)
        assert ones == round(SHARE * size)
        assert sparsity.density(gan)[name] == ones / size
        assert [layer.name for layer in sparsity.kernels(network)] == KERNELS[name]
    for step in range(5):
        gan.train_step(real(step))
        assert_masked(gan)
        assert [mask.sum() for mask in masks(gan)] == counts
    moved = [(a != b).any() for a, b in zip(first, masks(gan), strict=True)]
    assert moved == [not mask.all() for mask in first]


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_move_is_numpys_and_what_moved_starts_at_nothing(monkeypatch, network):
    # The twin, whose masks stay, has the weights from which the move chooses.
    gan, twin = (make(every, densities={network: SHARE}) for every in (2, 99))
    seen, step = {}, gan.step

    def watched(optimizer, gradients, variables):
        for variable, gradient in zip(variables, gradients, strict=True):
            seen[id(variable)] = gradient.numpy()
        step(optimizer, gradients, variables)

    monkeypatch.setattr(gan, "step", watched)
    for number in range(2):
        before = masks(gan)
        for model in (gan, twin):
            model.train_step(real(number))
    fraction = 0.15 * (1 + np.cos(np.pi / 8))
    moved = []
    for each, old, other in zip(
        gan.sparsity.masked, before, twin.sparsity.masked, strict=True
    ):
        gradient = seen[id(each.layer.kernel)]
        expected = reference_rewired(
            old, other.layer.kernel.numpy(), gradient, fraction
        )
        new = each.mask.numpy()
        np.testing.assert_array_equal(new.ravel(), expected)
        moved.append((new != old).any())
        for found, start in zip(
            (each.layer.kernel, *slots(gan, each)),
            (other.layer.kernel, *slots(twin, other)),
            strict=True,
        ):
            expected = np.where(old & new, start.numpy(), 0)
            np.testing.assert_array_equal(found.numpy(), expected)
    # ERK leaves the discriminator's first kernel whole.
    assert moved == ([True] * 3 if network == "generator" else [False, True])


def test_masks_do_not_move_between_times_and_d_counts_its_own_steps():
    gan = build()
    strategies.dynamic(gan, {"discriminator": SHARE}, updates=99, every=4)
    assert {each.network for each in gan.sparsity.masked} == {"discriminator"}
    gan.compile(*(keras.optimizers.Adam() for _ in range(2)), discriminator_steps=2)
    first = masks(gan)[1]
    for same in (True, False):
        gan.train_step(tf.concat([real(1), real(2)], 0))
        assert np.array_equal(first, masks(gan)[1]) == same
    assert sparsity.density(gan)["generator"] == 1.0


def test_eager_equals_compiled():
    eager, traced = make(), make()
    step = tf.function(traced.train_step)
    for number in range(3):
        eager.train_step(real(number))
        step(real(number))
    for one, other in zip(eager.weights, traced.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-5)


def test_frozen_layers_keep_mask_and_weights():
    gan = build()
    gan.generator.get_layer("block1_conv").trainable = False
    kernel = gan.generator.get_layer("block1_conv").kernel.numpy()
    strategies.dynamic(gan, {"generator": SHARE}, updates=8, every=1)
    gan.generator.get_layer("block2_conv").trainable = False
    compiled(gan)
    names = [each.layer.name for each in gan.sparsity.masked]
    assert names == ["stem_dense", "block2_conv"]
    before = masks(gan)
    second = gan.generator.get_layer("block2_conv").kernel.numpy()
    gan.train_step(real())
    found = gan.generator.get_layer("block1_conv").kernel
    np.testing.assert_array_equal(found.numpy(), kernel)
    assert not np.array_equal(before[0], masks(gan)[0])
    np.testing.assert_array_equal(before[1], masks(gan)[1])
    found = gan.generator.get_layer("block2_conv").kernel
    np.testing.assert_array_equal(found.numpy(), second)
    assert not second[~before[1]].any()


def test_a_dense_state_and_a_sparse_model_do_not_fit(tmp_path):
    path = str(tmp_path / "dense.weights.h5")
    compiled(build()).save_weights(path)
    with pytest.raises(ValueError, match="expected"):
        make().load_weights(path)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(errors.InputError, match="not above 0 and at most 1"):
        strategies.dynamic(build(), {"generator": share}, updates=8)


def test_networks_without_a_kernel_and_second_masks_are_refused():
    gan = adversarial.GAN(
        fully_connected.generator((4, 6, 1), latent_dim=2, units=()),
        fully_connected.discriminator((4, 6, 1), units=(3,)),
    )
    with pytest.raises(errors.InputError, match="generator has no kernel"):
        strategies.dynamic(gan, {"generator": SHARE}, updates=8)
    gan = make()
    with pytest.raises(RuntimeError, match="masks already"):
        strategies.dynamic(gan, {"generator": SHARE}, updates=8)
