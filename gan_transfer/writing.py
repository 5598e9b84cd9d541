"""Files that appear whole or not at all (documents A-E, results).

What is written goes to a temporary name beside the file and is then moved there.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a hidden name of this process, moved to `path` when all went well (A-E).

    Nothing is left behind after an error, and an older file stays.

    Raises:
        OSError: the file cannot be moved there.
    """
    path = pathlib.Path(path)
    with _moving(path.with_name(f".{path.name}.{os.getpid()}.tmp"), path) as temporary:
        yield temporary


@contextlib.contextmanager
def partial(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """As `replacing`, under the one name `partial.<name>` (document A 3.1).

    For the states and models of a run: Keras tells by the suffix what to write, and
    what a kill leaves behind is overwritten when the run goes on.

    Raises:
        OSError: the file cannot be moved there.
    """
    path = pathlib.Path(path)
    with _moving(path.with_name(f"partial.{path.name}"), path) as temporary:
        yield temporary


@contextlib.contextmanager
def _moving(temporary: pathlib.Path, path: pathlib.Path) -> Iterator[pathlib.Path]:
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        # Where even that fails, the first error is the one to tell.
        with contextlib.suppress(OSError):
            temporary.unlink()
