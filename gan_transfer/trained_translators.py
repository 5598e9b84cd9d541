"""CycleGANs from finished runs (documents A 3.1 step 1, C 3.1.3)."""

import json
import os
import pathlib

from gan_transfer import cyclic, errors, pretrained


def load(path: str | os.PathLike) -> cyclic.CycleGAN:
    """Load a finished run of `experiments.pretrain_cyclegan` (document B 2.1).

    Of one that a guard stopped it warns (`errors.StoppedRun`).

    Raises:
        InputError: no such run, or one that has not finished.
    """
    path = pathlib.Path(path)
    pretrained.warn_if_stopped(path)
    networks = {
        name: pretrained.load_network(path / f"{name}.keras")
        for name in cyclic.NETWORKS
    }
    return cyclic.CycleGAN(**networks, image_shape=describe(path)["image_shape"])


def describe(path: str | os.PathLike) -> dict:
    """What a finished run translates: `domains`, `image_shape`, more (document B 2.1).

    Raises:
        InputError: no such run, or one that has not finished.
    """
    path = pathlib.Path(path)
    try:
        summary = json.loads((path / "summary.json").read_text())
        return {key: summary[key] for key in ("domains", "image_shape", "scores")}
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise errors.InputError(
            f"{path} is no finished CycleGAN run (no usable summary.json: {error}); "
            "run its command again until it ends"
        ) from error
