"""Models in one .npz file, architecture and weights, without pickles (document B 2.1).

What transfer learning starts from has to travel: as plain arrays it is small, it is
read with `allow_pickle=False`, and two files with the same content are equal.
"""

import json
import os

import keras
import numpy as np

from gan_transfer import errors, writing

_CONFIG = "__config__"
_METADATA = "__metadata__"


def save(
    path: str | os.PathLike,
    models: dict[str, keras.Model],
    *,
    dtype: str = "float32",
    metadata: dict[str, str] | None = None,
) -> None:
    """Write named models and a few lines about them to one file (document B 2.1).

    The entry of a weight is `<model>/<layer>/<weight>`, with further levels for a
    layer inside a layer; inner layers must therefore carry explicit names. Custom
    layers must be registered with
    `keras.saving.register_keras_serializable(package="gan_transfer")`.

    Args:
        path: the .npz file to write; replaced as a whole or not at all.
        models: built models by name; a name has no "/" and no leading "__".
        dtype: how floating weights are stored, "float32" or "float16" (half the
            size, 3 significant digits). Integer weights keep their type.
        metadata: what the reader should know: data, licence, seed, accuracy.

    Raises:
        errors.InputError: a name that cannot be a key, two weights of one name, or a
            weight too large for `dtype`.
    """
    arrays = {_METADATA: np.array(json.dumps(metadata or {}, sort_keys=True))}
    for name, model in models.items():
        if not name or "/" in name or name.startswith("__"):
            raise errors.InputError(
                f"{path}: model name {name!r} cannot be stored; use letters and digits"
            )
        arrays[f"{_CONFIG}/{name}"] = np.array(model.to_json())
        for key, variable in _variables(name, model).items():
            arrays[key] = _stored(path, key, variable, dtype)
    with writing.replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def load(
    path: str | os.PathLike,
) -> tuple[dict[str, keras.Model], dict[str, str]]:
    """Read what `save` wrote (document B 2.1).

    Args:
        path: the .npz file. The modules that define its custom layers must have been
            imported.

    Returns:
        The models by name, rebuilt and not compiled, and the metadata.

    Raises:
        errors.InputError: no such file, not an archive of models, an unknown layer,
            or a weight that is missing, left over or of another shape.
    """
    arrays = read(path)
    metadata = _metadata(path, arrays)
    models = {}
    for key in [key for key in arrays if key.startswith(_CONFIG)]:
        name = key.removeprefix(f"{_CONFIG}/")
        models[name] = _rebuild(path, name, str(arrays.pop(key)))
    expected = {}
    for name, model in models.items():
        expected |= _variables(name, model)
    _assign(path, expected, arrays)
    return models, metadata


def load_metadata(path: str | os.PathLike) -> dict[str, str]:
    """Read only the metadata of what `save` wrote (document B 2.1).

    Raises:
        errors.InputError: no such file, or not an archive of models.
    """
    return _metadata(path, read(path, only=(_METADATA,)))


def _metadata(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """Takes the metadata out of the arrays of an archive."""
    try:
        return json.loads(str(arrays.pop(_METADATA)))
    except (KeyError, ValueError):
        raise errors.InputError(
            f"{path}: not an archive of models; write it with gan_transfer.archive.save"
        ) from None


def _variables(name: str, model: keras.Model) -> dict[str, keras.Variable]:
    """Weights of a model by archive key."""
    variables = {f"{name}/{variable.path}": variable for variable in model.weights}
    if len(variables) != len(model.weights):
        raise errors.InputError(
            f"model {name!r}: two weights have one path; name every inner layer"
        )
    return variables


def _stored(
    path: str | os.PathLike, key: str, variable: keras.Variable, dtype: str
) -> np.ndarray:
    """The array of a weight as stored; overflow is an error, never an infinity."""
    value = variable.numpy()
    if not np.issubdtype(value.dtype, np.floating):
        return value
    with np.errstate(over="ignore"):
        stored = value.astype(dtype)
    if not np.array_equal(np.isfinite(stored), np.isfinite(value)):
        raise errors.InputError(
            f"{path}: {key} has values too large for {dtype}; use dtype='float32'"
        )
    return stored


def read(
    path: str | os.PathLike, only: tuple[str, ...] | None = None
) -> dict[str, np.ndarray]:
    """All arrays of an .npz file, or some, refusing pickles (document B 2.1).

    Raises:
        errors.InputError: no such file, not an archive, or objects in it.
    """
    if not os.path.isfile(path):
        raise errors.InputError(f"{path}: no such file; check the path")
    try:
        # NumPy itself leaves a file open that is no archive.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            wanted = archive.files if only is None else only
            return {key: archive[key] for key in archive.files if key in wanted}
    # Zip, zlib, header and pickle refusals have no common class below Exception.
    except Exception as error:
        raise errors.InputError(
            f"{path}: not a readable .npz archive; write it again"
        ) from error


def _rebuild(path: str | os.PathLike, name: str, config: str) -> keras.Model:
    """The model of a configuration, weights still random."""
    try:
        return keras.models.model_from_json(config)
    except (ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise errors.InputError(
            f"{path}: model {name!r} cannot be rebuilt ({reason}); import the module"
            " that registers its layers"
        ) from error


def _assign(
    path: str | os.PathLike,
    variables: dict[str, keras.Variable],
    arrays: dict[str, np.ndarray],
) -> None:
    """Strict assignment: the two sets of keys and every shape must agree."""
    for keys, problem in (
        (variables.keys() - arrays.keys(), "missing"),
        (arrays.keys() - variables.keys(), "left over"),
    ):
        if keys:
            raise errors.InputError(
                f"{path}: {len(keys)} weights {problem}, first {min(keys)!r};"
                " the file and its architecture disagree, write it again"
            )
    for key, variable in variables.items():
        if arrays[key].shape != tuple(variable.shape):
            raise errors.InputError(
                f"{path}: {key} has shape {arrays[key].shape}, expected"
                f" {tuple(variable.shape)}; write the file again"
            )
        variable.assign(arrays[key].astype(variable.dtype))
