"""The rates of the few-shot GAN are chosen on validation characters."""

import pathlib
import types

import numpy as np

from experiments.support import meta_gan


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
