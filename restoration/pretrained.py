"""Pretrained restorers by name, file or run directory (documents A 3.1, D 3.2).

`load("restorer_gray")` works offline: the weights lie in `restoration/weights/`, with
their data, licence and numbers in its README.
"""

import json
import os
import pathlib

import keras

from gan_transfer import archive, errors

# Importing these registers the custom layers that saved models name.
from restoration import networks as _networks  # noqa: F401
from restoration import unrolled as _unrolled  # noqa: F401

WEIGHTS = pathlib.Path(__file__).parent / "weights"
_SUFFIX = ".restorer.npz"
_LIMIT = 3e6  # bytes of a shipped file
# A description's `damage` of which a network is told level and mask, in training and
# use; of others (pairs, overlays, jpeg) it is told nothing.
TOLD = ("mixture", "noise")


def names() -> list[str]:
    """Names of the shipped restorers (document A 3.1)."""
    return sorted(
        path.name.removesuffix(_SUFFIX) for path in WEIGHTS.glob(f"*{_SUFFIX}")
    )


def load(source: str | os.PathLike) -> keras.Model:
    """Load a restorer: shipped name, `.restorer.npz` file or run directory (A 3.1).

    Returns:
        A network `[image, level, mask] -> image`, see `networks`; `inference.restore`
        puts pictures through it.

    Raises:
        InputError: no such model, or a run that has not finished.
    """
    path = _path(source)
    if not path.is_dir():
        models, _ = archive.load(path)
        if set(models) != {"restorer"}:
            raise errors.InputError(f"{path} holds no restorer but {', '.join(models)}")
        return models["restorer"]
    file = path / "restorer.keras"
    if not file.exists():
        raise errors.InputError(
            f"{path} is no finished restoration run: {file.name} is missing; run its "
            "command again until it ends"
        )
    try:
        return keras.saving.load_model(file, compile=False)
    except (ValueError, TypeError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise errors.InputError(f"{file} cannot be loaded: {first}") from error


def describe(source: str | os.PathLike) -> dict:
    """What a restorer is: networks, channels, damage, data, scores (document A 3.1).

    Raises:
        InputError: no such model, or a run that has not finished.
    """
    path = _path(source)
    try:
        if path.is_dir():
            return json.loads((path / "summary.json").read_text())["description"]
        return json.loads(archive.load_metadata(path)["description"])
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise errors.InputError(
            f"{path} describes no restorer ({error}); finish its run, or write the "
            "file with `pretrained.save`"
        ) from error


def save(network: keras.Model, path: str | os.PathLike, description: dict) -> None:
    """Write a restorer and its description to one `.restorer.npz` file (A 3.1).

    Weights are stored as float16 where that is needed to stay below 3 MB.
    """
    archive.save(
        path,
        {"restorer": network},
        dtype="float32" if 4 * network.count_params() < _LIMIT else "float16",
        metadata={"description": json.dumps(description, sort_keys=True)},
    )


def _path(source: str | os.PathLike) -> pathlib.Path:
    for path in (WEIGHTS / f"{source}{_SUFFIX}", pathlib.Path(source)):
        if path.exists():
            return path
    raise errors.InputError(
        f"no restorer {str(source)!r}: it is neither a run directory, nor a "
        f"{_SUFFIX} file, nor one of {', '.join(names())}"
    )
