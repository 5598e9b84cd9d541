"""What adapts in the few-shot study of the VAEs, and its class embeddings."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf
from absl import flags as absl_flags
from absl.testing import flagsaver

from experiments.support import (
    meta_characters,
    meta_context,
    meta_vae,
    meta_vae_training,
)
from gan_transfer import schedule

PATTERNS = ("generator.*",)


@pytest.fixture
def study(tmp_path):
    """A study of which only MAML's and Reptile's generator adapts."""
    task = types.SimpleNamespace(pixels=np.zeros((20, 28, 28, 1), np.uint8))
    split = types.SimpleNamespace(seed=0, test=[task])
    settings = meta_vae.Settings("vae_dense", 4, (0, 1), (0, 1), PATTERNS)
    tf.config.run_functions_eagerly(True)  # one step takes less time than tracing it
    yield meta_vae.Study(settings, split, tmp_path)
    tf.config.run_functions_eagerly(False)


def test_baselines_adapt_all_layers_whatever_adapting_says(study):
    start = study.start("scratch")
    names = [v.path for v in study.adapter("maml").network.trainable_variables]
    drawings = np.random.default_rng(0).uniform(-1, 1, (2, 28, 28, 1))
    divided = [(np.float32(drawings),)] * 2
    moved = {}
    for method in ("scratch", "pretrain", "maml", "reptile"):
        (outcome,) = study.outcomes(method, start, 1e-2, divided, (1,))
        moved[method] = {
            name
            for name, old, new in zip(names, start, outcome.values, strict=True)
            if not np.array_equal(old, new)
        }
    generator = {name for name in names if name.startswith("generator")}
    assert 0 < len(generator) < len(names)
    assert moved["maml"] == moved["reptile"] == generator
    assert moved["scratch"] == moved["pretrain"] == set(names)


def test_equal_compute_counts_gradients_of_images():
    assert meta_characters.updates(100, 64, 160) == 40
    ways = meta_vae_training.TRAININGS
    assert ways["maml"].gradients() == 4 * (5 * 5 + 15)
    assert ways["reptile"].gradients() == 4 * 8 * 10
    assert ways["context"].gradients() == 4 * 14


def test_all_methods_take_as_many_gradients_of_images(study, monkeypatch, tmp_path):
    spent = {}
    absl_flags.FLAGS.mark_as_parsed()

    def count(learner, phases, compile_phase, batches, directory, **kwargs):
        updates = kwargs["epochs"] * kwargs["epoch_steps"]
        spent[directory.name[: -len("-seed0")]] = updates * kwargs["images_per_step"]

    monkeypatch.setattr(schedule, "train", count)
    settings = dataclasses.replace(study.settings, steps=4000)
    with flagsaver.flagsaver(batch_size=64, evaluations=4):
        study = meta_vae.Study(settings, study.split, tmp_path)
        for method in ("pretrain", "maml", "reptile", "context"):
            study.trained(method)
    assert spent["pretrain"] == 4000 * 64
    assert spent["warm_up"] + spent["maml"] == spent["pretrain"]
    assert spent["warm_up"] + spent["reptile"] == spent["pretrain"]
    assert spent["warm_up"] + spent["context"] == pytest.approx(256000, rel=0.01)


class Conditioned:
    """Embeds a character as the numbers it was made with."""

    def embedding(self, task, count):
        assert count == 10
        return tf.constant(task.vector)


def character(alphabet, *vector):
    return types.SimpleNamespace(
        descriptor={"group": alphabet}, vector=np.float32(vector)
    )


def test_an_alphabets_embedding_is_the_mean_of_its_own_characters():
    training = [character("A", 1, 0), character("A", 3, 0), character("B", 0, 8)]
    alphabets = meta_context.Alphabets(Conditioned(), training)
    np.testing.assert_array_equal(alphabets(character("A")), [2, 0])
    np.testing.assert_array_equal(alphabets(character("B")), [0, 8])
    # An unknown one: the mean of all characters, not of the alphabets.
    np.testing.assert_allclose(alphabets(character("C")), [4 / 3, 8 / 3])
