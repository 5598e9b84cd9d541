"""Where a data set comes from: embedded, named, file or folder (document A 3.2).

Returns what is there; splitting and resizing is left to `gan_transfer.data`.
"""

import os
import pathlib
import socket
import sys

import numpy as np

from gan_transfer import array_files, errors, glyphs, images

DATA_DIR_VARIABLE = "GAN_TRANSFER_DATA"
EMBEDDED = ("glyphs", "glyph_letters")
DOWNLOADABLE = ("mnist", "fashion_mnist", "cifar10")

_CLASS_NAMES = {
    "fashion_mnist": "T-shirt trouser pullover dress coat sandal shirt sneaker bag "
    "boot",
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
    "glyph_letters": " ".join(glyphs.LETTERS),
}

# The name of the data really used; `x_train`, maybe `y_train`, `x_test` and `y_test` as
# from `array_files.read`; the names of the classes where they are known.
Found = tuple[str, dict[str, np.ndarray], tuple[str, ...]]


def find(
    source: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None,
    size: int | None,
    channels: int | None,
    fallback: str | None,
) -> Found:
    """Finds and reads a data set; `data.load` documents the order (document A 3.2).

    Args:
      source: a name, a folder of pictures or an array file.
      data_dir: where `NAME.npz`, and the folder `NAME`, are looked for before
        `$GAN_TRANSFER_DATA`.
      size: for folders, as in `images.read_folder`; arrays are left as they are.
      channels: likewise.
      fallback: one of `EMBEDDED`, for a set that cannot be downloaded, or None.

    Returns:
      The name of the data really used, the arrays, the class names.

    Raises:
      errors.InputError: unknown, unreachable or broken data.
    """
    if fallback is not None and fallback not in EMBEDDED:
        raise errors.InputError(
            f"fallback {fallback!r} is unknown; use one of {', '.join(EMBEDDED)}"
        )
    name, path = str(source), pathlib.Path(source)
    if name in EMBEDDED:
        return _embedded(name)
    if path.name == name and not path.suffix:
        archive = _named_archive(name, data_dir)
        if archive is not None:
            return name, array_files.read(archive), _class_names(name)
        if name in DOWNLOADABLE:
            return _from_keras(name, fallback)
    folder = path if path.is_dir() else _named_folder(name, data_dir)
    if folder is not None:
        return _from_folder(folder, size, channels)
    if array_files.is_array_file(path):
        return path.name, array_files.read(path), ()
    if path.is_file():
        raise errors.InputError(
            f"{path}: not a data set; give a folder of pictures, .npz, .npy or IDX"
        )
    raise errors.InputError(
        f"data {name!r} not found: it is no folder, no array file, no NAME.npz or "
        f"folder in the data folder, and none of {', '.join(EMBEDDED + DOWNLOADABLE)}"
    )


def _from_folder(path: pathlib.Path, size, channels) -> Found:
    pixels, labels, class_names = images.read_folder(path, size, channels)
    arrays = {"x_train": pixels}
    if labels is not None:
        arrays["y_train"] = labels
    return path.resolve().name, arrays, class_names


def _named_archive(name: str, data_dir) -> pathlib.Path | None:
    folder = _data_folder(data_dir)
    archive = folder / f"{name}.npz" if folder else None
    return archive if archive and archive.exists() else None


def _named_folder(name: str, data_dir) -> pathlib.Path | None:
    """The folder called `name` in the data folder, or in one of its folders."""
    folder = _data_folder(data_dir)
    if folder is None or pathlib.Path(name).name != name:
        return None
    inside = sorted(path / name for path in folder.iterdir() if path.is_dir())
    found = [path for path in (folder / name, *inside) if path.is_dir()]
    return found[0] if found else None


def _data_folder(data_dir) -> pathlib.Path | None:
    origin = "data_dir" if data_dir else f"${DATA_DIR_VARIABLE}"
    folder = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    if not folder:
        return None
    if not pathlib.Path(folder).is_dir():
        raise errors.InputError(f"{origin} names {folder}, which is no folder")
    return pathlib.Path(folder)


def _from_keras(name: str, fallback: str | None) -> Found:
    import keras

    patience = socket.getdefaulttimeout()
    # A network that drops packets would keep Keras waiting for ever.
    socket.setdefaulttimeout(30)
    try:
        (x, y), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    # Keras reports a failed download as a bare Exception.
    except Exception as error:
        reason = " ".join(str(error).split())
        problem = f"{name} is neither in the data folder nor in the Keras cache, and "
        problem += f"cannot be downloaded ({reason})"
        if fallback is None:
            raise errors.InputError(
                f"{problem}; put {name}.npz into the folder that --data_dir or "
                f"${DATA_DIR_VARIABLE} names, or use the embedded data: glyphs"
            ) from error
        print(
            f"WARNING: {problem}. Going on with {fallback.upper()} INSTEAD.",
            file=sys.stderr,
        )
        return _embedded(fallback)
    finally:
        socket.setdefaulttimeout(patience)
    arrays = {"x_train": x, "x_test": x_test}
    arrays = {
        key: array_files.to_pixels(part, name, signed=False)
        for key, part in arrays.items()
    }
    arrays["y_train"] = array_files.to_labels(y, len(x), name)
    arrays["y_test"] = array_files.to_labels(y_test, len(x_test), name)
    return name, arrays, _class_names(name)


def _embedded(name: str) -> Found:
    (x, y), (x_test, y_test) = glyphs.load(letters=name == "glyph_letters")
    arrays = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}
    return name, arrays, _class_names(name)


def _class_names(name: str) -> tuple[str, ...]:
    return tuple(_CLASS_NAMES.get(name, "").split())
