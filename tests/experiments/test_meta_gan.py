"""The few-shot GAN: rates by validation characters, learners that start as trained."""

import pathlib
import types

import numpy as np

from experiments.support import meta_gan
from gan_transfer import data, errors


def test_validation_characters_choose_a_rate_for_every_budget(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (120, 28, 28, 1), np.uint8)
    training, held_out, tasks = pixels[:100], pixels[100:], ["first", "second"]
    split = types.SimpleNamespace(
        seed=0,
        validation=tasks,
        drawings=lambda: training,
        held_out=lambda given: held_out if given is tasks else None,
    )
    settings = meta_gan.Settings(None, 4, 1, (0, 5), (0, 1, 10))
    study = meta_gan.Study(settings, split, pathlib.Path())

    def samples(learner, task, number, row, column):
        assert task == tasks[number]
        made = held_out[10 * number : 10 * (number + 1)]
        return made if learner == column else 255 - made

    monkeypatch.setattr(study, "_samples", samples)
    learners = {rate: number for number, rate in enumerate(meta_gan.RATES)}
    rates = study._chosen_rates(learners)
    # No examples go with no steps, and take no rate.
    assert rates.tolist() == [[0, 0, 0], [0, *meta_gan.RATES[1:]]]


def test_a_rate_that_diverges_is_not_chosen(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (120, 28, 28, 1), np.uint8)
    split = types.SimpleNamespace(
        seed=0,
        validation=["first", "second"],
        drawings=lambda: pixels[:100],
        held_out=lambda given: pixels[100:],
    )
    settings = meta_gan.Settings(None, 4, 1, (0, 5), (0, 1))
    study = meta_gan.Study(settings, split, pathlib.Path())

    def samples(learner, task, number, row, column):
        if number and learner != meta_gan.RATES[1]:
            raise errors.Diverged("not finite")
        return pixels[:10]

    monkeypatch.setattr(study, "_samples", samples)
    rates = study._chosen_rates({rate: rate for rate in meta_gan.RATES})
    assert rates.tolist() == [[0, 0], [0, meta_gan.RATES[1]]]


def test_without_steps_a_learner_has_the_generator_that_was_trained():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1), np.uint8)
    split = types.SimpleNamespace(seed=0, test=[types.SimpleNamespace(pixels=pixels)])
    settings = meta_gan.Settings(None, 4, 1, (0, 5), (0, 1))
    study = meta_gan.Study(settings, split, pathlib.Path())
    gan = study._gan(True)
    trained = gan.averaged_generator
    trained.set_weights([each + 0.1 for each in trained.get_weights()])
    learner = study._learner(gan, meta_gan.RATES[0])
    adapted = learner.adapt(data.to_float(pixels[:10])[None], 0)
    for found, wanted in zip(adapted.weights, trained.weights, strict=True):
        np.testing.assert_array_equal(found, wanted)
