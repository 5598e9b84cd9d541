"""What adapts in the few-shot study of the VAEs, and its class embeddings."""

import types

import numpy as np
import pytest
import tensorflow as tf

from experiments.support import meta_context, meta_vae

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
