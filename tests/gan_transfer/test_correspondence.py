"""Cross-domain correspondence: what was alike stays alike (document B 5)."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import (
    adversarial,
    callbacks,
    correspondence,
    cross_domain,
    data,
    errors,
    gan_settings,
    recipes,
    schedule,
)
from gan_transfer.networks import convolutional, fully_connected, presets

LATENT, BATCH = 3, 4
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 6, 1), dtype=np.uint8)
# d_loss and g_loss of ten steps, as reviewed.
GOLDEN = [
    [1.82973, 0.80025],
    [1.64963, 0.77259],
    [1.80050, 0.74109],
    [1.64048, 0.79711],
    [1.74802, 0.74840],
    [1.65065, 0.73823],
    [1.87363, 0.74370],
    [1.77370, 0.76214],
    [1.61789, 0.77419],
    [1.81520, 0.74508],
]


def dense():
    return fully_connected.generator((4, 6, 1), latent_dim=LATENT, units=(5, 7))


def convolutions():
    return convolutional.generator(16, latent_dim=LATENT, filters=(8, 4, 2))


def latents(count=BATCH):
    return np.random.default_rng(1).normal(size=(count, LATENT)).astype("float32")


def shake(network, seed):
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        weight.assign_add(rng.uniform(0.0, 0.5, weight.shape).astype("float32"))


def make(seed=3):
    keras.utils.set_random_seed(0)
    discriminator = fully_connected.discriminator((4, 6, 1), units=(3,))
    return adversarial.GAN(dense(), discriminator, seed=seed)


def compiled(gan):
    (phase,) = recipes.cross_domain_correspondence(gan, 1, "adapt")
    phase.prepare()
    gan_settings.Settings(penalties=()).compile(gan, phase)
    return phase


def log_likeness(rows):
    """Row i: log softmax over j != i of the cosines of rows i and j."""
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = []
    for i, row in enumerate(rows):
        cosines = np.delete(rows @ row, i)
        found.append(cosines - np.log(np.exp(cosines).sum()))
    return np.array(found)


def test_the_term_is_zero_at_the_start():
    for generator in (dense(), convolutions()):
        term = correspondence.to_start(generator, 7.0)
        assert float(term(latents())) == 0.0


def test_the_term_is_the_mean_divergence_of_the_likenesses():
    generator = dense()
    shake(generator, 2)
    term = correspondence.to_start(generator, 7.0)
    expected, weights = [], [generator.get_weights()]
    shake(generator, 3)
    weights.append(generator.get_weights())
    stages = []
    for kernel1, bias1, kernel2, bias2, *_ in weights:
        first = latents() @ kernel1 + bias1
        first = np.where(first > 0, first, 0.2 * first)
        second = first @ kernel2 + bias2
        stages.append((first, np.where(second > 0, second, 0.2 * second)))
    for source, target in zip(*stages, strict=True):
        p, q = log_likeness(source), log_likeness(target)
        expected.append(np.sum(np.exp(p) * (p - q), axis=1).mean())
    assert float(term(latents())) == pytest.approx(7 * np.mean(expected), rel=1e-3)
    assert float(term(latents())) > 1e-4


def test_two_samples_are_alike_in_one_way_only():
    generator = dense()
    term = correspondence.to_start(generator, 7.0)
    shake(generator, 3)
    assert float(term(latents(2))) == 0.0


def test_the_gradient_reaches_the_generator_alone():
    generator = convolutions()
    term = correspondence.to_start(generator, 1.0)
    assert term.source.trainable_variables == []
    names = {variable.path for variable in generator.trainable_variables}
    reached = {variable.path for variable in term.target.trainable_variables}
    assert names - reached == {"head_conv/kernel", "head_conv/bias"}
    shake(generator, 3)
    statistics = [v.numpy() for v in generator.non_trainable_variables]
    with tf.GradientTape() as tape:
        loss = term(latents())
    wanted = [term.source.weights, term.target.trainable_variables]
    source, moved = tape.gradient(loss, wanted)
    assert source == [None] * len(source)
    assert all(np.any(gradient != 0) for gradient in moved)
    for old, new in zip(statistics, generator.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_training_keeps_the_source_and_pays_for_leaving_it():
    gan = make()
    phase = compiled(gan)
    (term,) = phase.generator_terms
    assert gan.generator_terms == phase.generator_terms
    assert term.weight == pytest.approx(1000 / 3)
    kept = [weight.numpy() for weight in term.source.weights]
    paths = [weight.path for weight in gan.weights]
    for _ in range(3):
        gan.train_step(tf.constant(data.to_float(PIXELS[:BATCH])))
    for old, new in zip(kept, term.source.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    # No copy of the source among the weights: they are what a state file holds.
    assert len(paths) == len(gan.weights)
    assert {id(w) for w in term.source.weights}.isdisjoint(map(id, gan.weights))
    plain = make()
    gan_settings.Settings(penalties=()).compile(
        plain, schedule.Phase("all", 1, lambda: 0)
    )
    for _ in range(3):
        plain.train_step(tf.constant(data.to_float(PIXELS[:BATCH])))
    free = correspondence.to_start(make().generator, 1.0)
    distances = []
    for trained in (gan, plain):
        free.target.set_weights(
            [
                weight.numpy()
                for layer in trained.generator.layers
                if not layer.name.startswith("head")
                for weight in layer.weights
            ]
        )
        distances.append(float(free(latents(32))))
    assert 0 < distances[0] < distances[1]


def test_conditional_generators_are_held_too():
    moved = []
    for weight in (1.0, 0.0):
        keras.utils.set_random_seed(0)
        gan = adversarial.GAN(
            *presets.build("dcgan", 16, 1, classes=2, width=2, latent_dim=LATENT)
        )
        (term,) = compiled(gan).generator_terms
        shake(gan.generator, 3)  # where it started, the term has no gradient
        gan.generator_terms = [dataclasses.replace(term, weight=weight * term.weight)]
        gan.train_step((tf.zeros((BATCH, 16, 16, 1)), tf.range(BATCH) % 2))
        moved.append([each.numpy() for each in term.target.trainable_variables])
    for held, free in zip(*moved, strict=True):
        assert np.isfinite(held).all()
        assert np.any(held != free)


def test_eager_equals_compiled():
    eager, traced = make(), make()
    images = tf.constant(data.to_float(PIXELS[:BATCH]))
    for gan, wrap in ((eager, lambda step: step), (traced, tf.function)):
        compiled(gan)
        step = wrap(gan.train_step)
        for _ in range(2):
            step(images)
    for one, other in zip(eager.weights, traced.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-4)


def test_golden_scalars_of_ten_steps():
    gan, found = make(), []
    compiled(gan)
    step = tf.function(gan.train_step)
    for number in range(10):
        for tracker in gan.metrics:
            tracker.reset_state()
        chosen = np.random.default_rng(number).permutation(len(PIXELS))[:BATCH]
        logs = step(tf.constant(data.to_float(PIXELS[chosen])))
        found.append([float(logs["d_loss"]), float(logs["g_loss"])])
    np.testing.assert_allclose(found, GOLDEN, rtol=1e-3, atol=1e-4)


def train(directory, epochs):
    gan = make()
    phase = recipes.cross_domain_correspondence(gan, 1, "adapt")
    schedule.train(
        gan,
        phase,
        lambda each: gan_settings.Settings(penalties=()).compile(gan, each),
        lambda start: data.batches(PIXELS, BATCH, seed=1, start=start),
        directory,
        epochs=epochs,
        epoch_steps=1,
        images_per_step=BATCH,
        verbose=0,
        extra=(keras.callbacks.LambdaCallback(on_epoch_end=stop_at(directory)),),
    )
    return gan


def stop_at(directory):
    def stop(epoch, logs):
        if epoch == 2 and directory.name == "killed" and not any(directory.glob("on")):
            (directory / "on").touch()
            raise KeyboardInterrupt

    return stop


def test_a_killed_run_ends_like_one_that_was_not(tmp_path):
    (tmp_path / "killed").mkdir()
    straight = train(tmp_path / "straight", 4)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", 4)
    assert callbacks.saved_updates(tmp_path / "killed") == 2
    resumed = train(tmp_path / "killed", 4)
    for one, other in zip(straight.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_new_layers_have_no_likeness_to_keep():
    source = adversarial.GAN(*presets.build("dcgan", 16, 1, width=2, latent_dim=LATENT))
    networks = presets.build("dcgan", 32, 1, width=2, latent_dim=LATENT)
    with pytest.raises(errors.InputError, match=r"block1_conv.* would be new; keep"):
        cross_domain.migrate(source, *networks, recipe="cross_domain_correspondence")
