"""Golden scalars of ten steps; `GOLDEN=write pytest -k golden` writes them anew.

The file holds what this code gave when it was reviewed: a test that fails says that
training has changed, not which of the two is right.
"""

import collections
import json
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import transfer
from gan_transfer.networks import translation
from restoration import (
    adversarial,
    mixture,
    networks,
    supervised,
    unmarked,
    unrolled,
)

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "restorer.json"
BANK = np.random.default_rng(0).integers(0, 2, (3, 24, 24, 1), np.uint8)
MIXTURE = mixture.Mixture(BANK)


def _compact():
    return networks.restorer(1, widths=(4, 6), blocks=1)


def _frozen():
    network = _compact()
    transfer.freeze_to_depth(network, 2, end="input")
    return network


CASES = {
    **{name: {"loss": loss} for name, loss in supervised.LOSSES.items()},
    "noise": {"damage": mixture.gaussian},
    "overlays": {"damage": unmarked.Overlays(85 * (MIXTURE.bank + 1))},
    "jpeg": {"damage": unmarked.jpeg},
    "frozen": {"network": _frozen},
    "document_a": {"network": lambda: networks.document_a(1)},
    "unrolled_sparse": {"network": lambda: unrolled.unrolled_sparse(1, 4, 2)},
    "adversarial": {"loss": supervised.l1, "weight": 0.5},
}


def make(network=_compact, loss=supervised.root_mean_square, damage=MIXTURE, weight=0):
    """A compiled `Restorer`, or with a weight of the adversarial loss, its GAN."""
    keras.utils.set_random_seed(0)
    rate = supervised.Cosine(1e-3, 20, warm_up=4)
    optimizer = transfer.LayerwiseAdam(learning_rate=rate, global_clipnorm=1.0)
    arguments = {"loss": loss, "damage": damage}
    if not weight:
        restorer = supervised.Restorer(network(), seed=5)
        restorer.compile(optimizer, **arguments)
        return restorer
    judge = translation.patch_discriminator(1, width=2, depth=1)
    restorer = adversarial.RestorationGAN(network(), judge, seed=5)
    other = transfer.LayerwiseAdam(learning_rate=4e-3, beta_1=0.5)
    restorer.compile(optimizer, other, weight=weight, **arguments)
    return restorer


def logs_of_one_step(restorer, step):
    for tracker in restorer.metrics:
        tracker.reset_state()
    pixels = np.random.default_rng(step).random((3, 16, 20, 1), np.float32)
    logs = restorer.train_step(tf.constant(pixels))
    return {name: float(value) for name, value in logs.items()}


@pytest.mark.parametrize("case", CASES)
def test_golden_scalars_of_ten_steps(case):
    restorer = make(**CASES[case])
    found = collections.defaultdict(list)
    for step in range(10):
        logs = logs_of_one_step(restorer, step)
        weights = [w.ravel() for w in restorer.averaged_network.get_weights()]
        mean = np.abs(np.concatenate(weights)).mean(dtype=np.float64)
        for name, value in (*logs.items(), ("average", float(mean))):
            found[name].append(value)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("GOLDEN") == "write":
        golden[case] = found
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    assert found.keys() == golden[case].keys()
    for name, series in found.items():
        # The mean weight hardly moves in ten steps, so it is held more tightly.
        rtol = 1e-4 if name == "average" else 1e-3
        np.testing.assert_allclose(series, golden[case][name], rtol=rtol)


def test_golden_file_has_exactly_these_cases():
    assert set(json.loads(GOLDEN.read_text())) == set(CASES)
