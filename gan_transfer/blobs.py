"""Arrays in files named by the hash of their content (document D 3.1.1, the models).

Such a file is complete or absent, never changes, and is stored once however often it
is referred to; its name proves what is in it.
"""

import hashlib
import io
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from gan_transfer import errors, writing

SUFFIX = ".npz"
# Booleans, integers, floats, complex numbers, bytes and text: what needs no pickle.
_KINDS = "biufcSU"


def save(folder: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> str:
    """Store named arrays, on the disk itself when this returns (document D 3.1.1).

    Args:
        folder: an existing folder.
        arrays: of numbers or text, by name.

    Returns:
        The address: SHA-256 of the file `<address>.npz`, 64 hexadecimal digits. Equal
        arrays have equal addresses.

    Raises:
        errors.InputError: an array that only a pickle could hold.
        OSError: the disk is full, or the folder cannot be written.
    """
    content = _packed(arrays)
    address = hashlib.sha256(content).hexdigest()
    path = path_of(folder, address)
    try:
        if path.is_file() and path.read_bytes() == content:
            return address
        with writing.replacing(path) as temporary, open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # The new name must survive a power cut as well as the bytes.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    return address


def load(folder: str | os.PathLike, address: str) -> dict[str, np.ndarray]:
    """The arrays of an address, bit for bit as they were stored (document D 3.1.1).

    Raises:
        errors.InputError: no such file, or another content than its name says.
    """
    with np.load(io.BytesIO(read(folder, address)), allow_pickle=False) as archive:
        return dict(archive)


def read(folder: str | os.PathLike, address: str) -> bytes:
    """The bytes of an address, after a check against it (document D 3.1.1).

    Raises:
        errors.InputError: as of `load`.
    """
    path = path_of(folder, address)
    if not path.is_file():
        raise errors.InputError(
            f"{path}: these weights are missing; restore the file from a copy"
        )
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != address:
        raise errors.InputError(
            f"{path}: damaged, its content is not what its name says; "
            "restore the file from a copy"
        )
    return content


def path_of(folder: str | os.PathLike, address: str) -> pathlib.Path:
    """The file of an address (document D 3.1.1)."""
    return pathlib.Path(folder) / f"{address}{SUFFIX}"


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 of arrays, their types and shapes: names a data set (document D 3.1.1).

    Returns:
        64 hexadecimal digits; another order of the arrays gives another digest.
    """
    total = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        total.update(f"{array.dtype.str} {array.shape} ".encode())
        total.update(array.data)
    return total.hexdigest()


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    arrays = {name: np.asarray(arrays[name]) for name in sorted(arrays)}
    for name, array in arrays.items():
        if array.dtype.kind not in _KINDS:
            raise errors.InputError(
                f"weight {name!r} has the type {array.dtype}, which needs a pickle; "
                "convert it to float32"
            )
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()
