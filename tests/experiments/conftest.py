"""What several tests of the experiments are given."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def characters(tmp_path_factory):
    """Four alphabets of three characters with 20 drawings each."""
    path = tmp_path_factory.mktemp("data") / "omniglot_small.npz"
    number = np.repeat(np.arange(12), 20)
    strokes = np.random.default_rng(0).random((12, 28, 28)) < 0.2
    noise = np.random.default_rng(1).integers(0, 56, (240, 28, 28), np.uint8)
    np.savez(
        path,
        x=np.where(strokes[number], 255 - noise, noise).astype(np.uint8),
        alphabet=number // 3,
        character=number,
        alphabet_names=np.array(list("ABCD")),
        character_names=np.array([f"c{each}" for each in range(12)]),
    )
    return path
