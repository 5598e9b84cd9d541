"""Golden scalars of ten steps; `GOLDEN=write pytest -k golden` writes them anew.

The file holds what this code gave when it was reviewed: a test that fails says that
training has changed, not which of the two is right.
"""

import json
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import (
    adversarial,
    augmentation,
    losses,
    regularization,
    strategies,
)
from gan_transfer.networks import attention, convolutional, presets

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "gan.json"
BATCH, LATENT = 4, 8

ADA = augmentation.Augmentation(probability=0.5, target=0.6, ramp_images=100)
CASES = {
    **{name: {"loss": loss} for name, loss in losses.FAMILIES.items()},
    "spectral_ada": {"norm": "spectral", "augmentation": ADA},
    "gradient_penalty": {
        "loss": losses.wasserstein,
        "penalties": (regularization.GradientPenalty(),),
        "discriminator_steps": 2,
    },
    "lazy_r1": {"penalties": (regularization.R1(1.0),), "penalize_every": 4},
    "dropout": {"dropout": 0.3},
    "conditional": {"classes": 3},
    "clipped": {
        "loss": losses.wasserstein,
        "clip": 0.01,
        "discriminator_steps": 5,
    },
    "r1_r2": {
        "loss": losses.relativistic,
        "penalties": (regularization.R1(0.1), regularization.R2(0.1)),
        "penalize_every": 4,
    },
    "dynamic_sparse": {"density": 0.3},
    "sngan": {"model": "sngan", "loss": losses.hinge},
    "sagan": {"model": "sagan", "loss": losses.hinge, "classes": 3},
    "prelu": {"model": "prelu"},
    "relu": {"model": "relu"},
    "document_a_mnist": {"model": "document_a_mnist"},
    # At 1e-3 its losses run away within ten steps, which magnifies the rounding of one
    # processor against another's a hundred times.
    "document_b_256": {"model": "document_b_256", "rate": 1e-5},
    "document_c_64": {"model": "document_c_64"},
    "document_e_mnist": {"model": "document_e_mnist"},
}
# Weight gamma of a fresh attention layer is 0: ten steps alone would hardly show it.
GAMMA = 0.5


def make(
    classes=0,
    dropout=0.0,
    norm="none",
    model=None,
    rate=1e-3,
    density=None,
    **settings,
):
    keras.utils.set_random_seed(0)
    if model is None:
        networks = (
            convolutional.generator(
                16, 1, latent_dim=LATENT, filters=(16, 8, 4), classes=classes
            ),
            convolutional.discriminator(
                16, 1, filters=(4, 8), dropout=dropout, norm=norm, classes=classes
            ),
        )
    else:
        size, channels = presets.image_format(model)
        networks = presets.build(
            model, size or 16, channels or 1, classes=classes, width=4, latent_dim=8
        )
    for layer in (layer for network in networks for layer in network.layers):
        if isinstance(layer, attention.SelfAttention):
            layer.gamma.assign(GAMMA)
    gan = adversarial.GAN(*networks, seed=5)
    if density is not None:
        shares = dict.fromkeys(gan.networks(), density)
        strategies.dynamic(gan, shares, updates=8, every=2)
    gan.compile(*(keras.optimizers.Adam(rate, 0.5) for _ in networks), **settings)
    return gan


def step_batch(gan, step=0):
    shape = (BATCH * gan.discriminator_steps, *gan.image_shape)
    pixels = np.random.default_rng(step).uniform(-1, 1, shape)
    images = tf.constant(pixels, tf.float32)
    if not gan.classes:
        return images
    return images, tf.range(len(images)) % gan.classes


def logs_of_one_step(gan, step=0, train_step=None):
    for tracker in gan.metrics:
        tracker.reset_state()
    logs = (train_step or gan.train_step)(step_batch(gan, step))
    return {name: float(value) for name, value in logs.items()}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] * (case == "document_b_256"))
        for case in CASES
    ],
)
def test_golden_scalars_of_ten_steps(case):
    gan = make(**CASES[case])
    found = {"d_loss": [], "g_loss": [], "g_weight": []}
    for step in range(10):
        logs = logs_of_one_step(gan, step)
        weights = np.concatenate([w.ravel() for w in gan.generator.get_weights()])
        logs["g_weight"] = float(np.abs(weights).mean(dtype=np.float64))
        for name, series in found.items():
            series.append(logs[name])
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("GOLDEN") == "write":
        golden[case] = found
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    for name, series in found.items():
        # The mean weight hardly moves in ten steps, so it is held more tightly.
        rtol, atol = (1e-4, 0) if name == "g_weight" else (1e-3, 1e-4)
        np.testing.assert_allclose(series, golden[case][name], rtol=rtol, atol=atol)


def test_golden_file_has_exactly_these_cases():
    assert set(json.loads(GOLDEN.read_text())) == set(CASES)


@pytest.mark.parametrize(
    "case", ["spectral_ada", "gradient_penalty", "lazy_r1", "sagan", "prelu"]
)
def test_eager_equals_compiled(case):
    eager, compiled = make(**CASES[case]), make(**CASES[case])
    logs = logs_of_one_step(eager)
    traced = tf.function(compiled.train_step)
    assert logs_of_one_step(compiled, train_step=traced) == pytest.approx(
        logs, abs=1e-5
    )
    for one, other in zip(eager.weights, compiled.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-5)
