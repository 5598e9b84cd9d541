"""SQLite files that survive a kill, with errors in one line (document D 3.1.1).

Write-ahead log, synchronous=FULL: what a finished transaction wrote is on the disk, and
what a killed one wrote is gone. One process writes at a time, the others wait for it.
"""

import contextlib
import errno
import os
import pathlib
import sqlite3
import time
from collections.abc import Iterator, Sequence

from gan_transfer import errors

_PATIENCE = 60.0  # seconds that another process may write
# The system's own numbers have remedies in the commands.
_SYSTEM = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EACCES,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
}


def connect(
    path: pathlib.Path, tables: Sequence[str], schema: int, *, read_only: bool = False
) -> sqlite3.Connection:
    """Opens a file, and makes its tables where it is new (document D 3.1.1).

    Args:
        path: of the file, in an existing folder.
        tables: statements that make the tables.
        schema: number of this set of tables, >= 1; it is in the file.
        read_only: nothing is written, and the folder may be write-protected.

    Returns:
        A connection without transactions of its own: see `transaction`.

    Raises:
        errors.InputError: no such file to read, a damaged or foreign one, or one with
            another number.
        OSError: the system refuses.
    """
    mode = "mode=rwc"
    if read_only:
        if not path.is_file():
            raise errors.InputError(f"{path}: no such file")
        # SQLite cannot lock in a folder that it cannot write to.
        log = path.with_name(f"{path.name}-wal")
        alone = not os.access(path.parent, os.W_OK) and not log.exists()
        mode = "mode=ro&immutable=1" if alone else "mode=ro"
    address = f"{path.absolute().as_uri()}?{mode}"
    with _explained(path):
        connection = sqlite3.connect(
            address, uri=True, timeout=_PATIENCE, isolation_level=None
        )
        try:
            _prepare(connection, path, tables, schema, read_only)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection, path, tables, schema, read_only) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    if not read_only and _schema(connection) is None:
        with transaction(connection, path):
            # Another process may have been faster.
            if _schema(connection) is None:
                for statement in (*tables, f"PRAGMA user_version = {schema}"):
                    connection.execute(statement)
    found = _schema(connection)
    if not found:
        raise errors.InputError(f"{path}: an SQLite file of another program")
    if found != schema:
        raise errors.InputError(
            f"{path}: its schema has number {found}, this version reads {schema}; "
            "use the version of gan-transfer that wrote it, or a newer one"
        )
    if not read_only:
        _log_ahead(connection)


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, once nobody writes.

    The timeout of the connection does not count here: SQLite gives up at once where two
    connections could wait for each other.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > end:
                raise
        time.sleep(0.01)


def _schema(connection: sqlite3.Connection) -> int | None:
    """Number of the schema, 0 in a foreign file, None in an empty one."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return number if number or tables else None


@contextlib.contextmanager
def transaction(
    connection: sqlite3.Connection, path: pathlib.Path, kind: str = "IMMEDIATE"
) -> Iterator[None]:
    """All of the block or nothing of it (document D 3.1.1).

    Args:
        connection: of `connect`.
        path: its file, for errors.
        kind: IMMEDIATE for the one writer at a time; DEFERRED for readers, who see one
            state of the file.

    Raises:
        errors.InputError: another process wrote for a minute, or the file is damaged.
        OSError: the disk is full, or does not let itself be written.
    """
    with _explained(path):
        connection.execute(f"BEGIN {kind}")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            # A full disk may have ended the transaction already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def _explained(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _SYSTEM:
            number = _SYSTEM[code]
            raise OSError(number, os.strerror(number), str(path)) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise errors.InputError(
                f"{path}: another process has been writing for {_PATIENCE:.0f} s; "
                "try again when it is done"
            ) from error
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise errors.InputError(
                f"{path}: damaged, or no SQLite file ({error}); restore it from a copy"
            ) from error
        raise
