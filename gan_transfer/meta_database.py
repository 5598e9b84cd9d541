"""The meta-database: tasks, data, models and meta-labels (documents D 3.1.1, D 3.2.1).

Rows are in SQLite, weights in files named by their content (`gan_transfer.blobs`). A
task is stored as a whole or not at all: what `add` returned from survives kill -9 and
power cuts, and no row refers to weights that are not there. Several processes may use
one database.
"""

import os
import pathlib
import sqlite3

import numpy as np

from gan_transfer import blobs, errors, meta_records, task_space, transactions

FILE = "tasks.sqlite"
BLOBS = "blobs"
SCHEMA = 1
_TABLES = (
    """CREATE TABLE task (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
        descriptor TEXT NOT NULL, features BLOB,
        data TEXT NOT NULL, data_sha256 TEXT NOT NULL)""",
    """CREATE TABLE model (
        task INTEGER NOT NULL REFERENCES task ON DELETE CASCADE,
        algorithm TEXT NOT NULL, family TEXT NOT NULL, configuration TEXT NOT NULL,
        weights TEXT, parent TEXT, PRIMARY KEY (task, algorithm))""",
    """CREATE TABLE label (
        task INTEGER NOT NULL, algorithm TEXT NOT NULL, examples INTEGER NOT NULL,
        steps INTEGER NOT NULL, metric TEXT NOT NULL, value REAL NOT NULL,
        PRIMARY KEY (task, algorithm, examples, steps, metric),
        FOREIGN KEY (task, algorithm) REFERENCES model ON DELETE CASCADE)""",
)
_USED = "SELECT weights FROM model UNION SELECT parent FROM model"


class MetaDatabase:
    """A folder with `tasks.sqlite` and `blobs/` (document D 3.1.1); `open` makes it."""

    def __init__(self, folder: pathlib.Path, connection: sqlite3.Connection):
        self.folder = folder
        self._connection = connection

    @classmethod
    def open(
        cls, folder: str | os.PathLike, *, read_only: bool = False
    ) -> "MetaDatabase":
        """Opens a database; close it, or use it in a `with` (document D 3.1.1).

        Args:
            folder: made with its parents where missing, unless `read_only`.
            read_only: nothing is written, and the folder may be write-protected.

        Raises:
            errors.InputError: no database there, a damaged or foreign file, or one of
                another version.
            OSError: the folder cannot be made, read or written.
        """
        folder = pathlib.Path(folder)
        path = folder / FILE
        if read_only and not path.is_file():
            raise errors.InputError(f"{folder}: no meta-database, {FILE} is missing")
        if not read_only:
            try:
                (folder / BLOBS).mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise errors.InputError(
                    f"{folder}: a file stands where this folder should be"
                ) from None
        connection = transactions.connect(path, _TABLES, SCHEMA, read_only=read_only)
        return cls(folder, connection)

    def close(self) -> None:
        """Closes the file (document D 3.1.1)."""
        self._connection.close()

    def __enter__(self) -> "MetaDatabase":
        return self

    def __exit__(self, *details) -> None:
        self.close()

    def _transaction(self, kind: str = "IMMEDIATE"):
        return transactions.transaction(self._connection, self.folder / FILE, kind)

    def add(self, task: meta_records.StoredTask, *, replace: bool = False) -> None:
        """Stores a task with its models and meta-labels (document D 3.1.1, step 4).

        Weights are on the disk before a row names them; all rows are one transaction.

        Args:
            task: with arrays, or with addresses of weights stored before.
            replace: whether it may take the place of a task of the same name, with all
                models and labels of that.

        Raises:
            errors.InputError: a name that is taken, a value that cannot be stored, a
                label without a model, an address without weights.
            OSError: the disk is full, or does not let itself be written.
        """
        row = meta_records.task_row(task)
        labels = [meta_records.label_row(task, each) for each in task.labels]
        execute = self._connection.execute
        with self._transaction():
            if execute("SELECT 1 FROM task WHERE name = ?", [task.name]).fetchone():
                if not replace:
                    raise errors.InputError(
                        f"{self.folder} holds a task {task.name!r} already; "
                        "replace it, or give another name"
                    )
                execute("DELETE FROM task WHERE name = ?", [task.name])
            # Inside the transaction: `collect` must not see them without their row.
            models = [self._model_row(task, each) for each in task.models]
            added = execute("INSERT INTO task VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            try:
                for table, values in (("model", models), ("label", labels)):
                    for each in values:
                        execute(
                            f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?)",
                            (added.lastrowid, *each),
                        )
            except sqlite3.IntegrityError as error:
                raise errors.InputError(
                    f"task {task.name!r}: a model or label is there twice, or a label "
                    f"has no model of its algorithm ({error})"
                ) from error

    def _model_row(self, task, model: meta_records.StoredModel) -> tuple:
        configuration = meta_records.to_json(task, model.configuration)
        addresses = map(self._address, (model.weights, model.parent))
        return model.algorithm, model.family, configuration, *addresses

    def _address(self, weights: meta_records.Weights) -> str | None:
        folder = self.folder / BLOBS
        if isinstance(weights, str):
            blobs.read(folder, weights)
            return weights
        return None if weights is None else blobs.save(folder, weights)

    def tasks(self, kind: str | None = None) -> list[meta_records.StoredTask]:
        """The stored tasks in the order of their names (document D 3.1.2).

        Args:
            kind: `generation` or `restoration`; None = both.
        """
        where = "" if kind is None else "WHERE kind = :value"
        return self._read(where, kind)

    def get(self, name: str) -> meta_records.StoredTask:
        """One task (document D 3.1.2).

        Raises:
            errors.InputError: no such task.
        """
        found = self._read("WHERE name = :value", name)
        if not found:
            raise errors.InputError(f"{self.folder} holds no task {name!r}")
        return found[0]

    def _read(self, where: str, value: str | None) -> list[meta_records.StoredTask]:
        def select(columns, table, order):
            query = f"SELECT {columns} FROM {table} {where} ORDER BY {order}"
            return self._connection.execute(query, {"value": value}).fetchall()

        models: dict[int, list] = {}
        labels: dict[int, list] = {}
        with self._transaction("DEFERRED"):
            rows = select("*", "task", "name")
            for table, found in (("model", models), ("label", labels)):
                joined = f"{table} JOIN task ON task.id = {table}.task"
                for number, *values in select(f"{table}.*", joined, f"{table}.rowid"):
                    found.setdefault(number, []).append(values)
        return [
            meta_records.from_rows(row, models.get(row[0], []), labels.get(row[0], []))
            for row in rows
        ]

    def weights(self, name: str, algorithm: str) -> dict[str, np.ndarray]:
        """The weights that an algorithm reached on a task (document D 3.1.2).

        Raises:
            errors.InputError: no such task, no weights of that algorithm, or a damaged
                file.
        """
        stored = {each.algorithm: each.weights for each in self.get(name).models}
        if stored.get(algorithm) is None:
            there = ", ".join(key for key, value in stored.items() if value) or "none"
            raise errors.InputError(
                f"task {name!r} has no weights of {algorithm!r}; there are {there}"
            )
        return self.load(stored[algorithm])

    def load(self, address: str) -> dict[str, np.ndarray]:
        """Weights by their address, such as a model's `parent` (document D 3.1.2).

        Raises:
            errors.InputError: no such weights, or a damaged file.
        """
        return blobs.load(self.folder / BLOBS, address)

    def nearest(
        self,
        kind: str,
        *,
        descriptor: task_space.Descriptor | None = None,
        features: np.ndarray | None = None,
        count: int = 1,
    ) -> list[tuple[str, float]]:
        """The stored tasks most like a new one (document D 3.1.2, zero- and few-shot).

        Args:
            kind: `generation` or `restoration`.
            descriptor: of the new task; None = do not compare it.
            features: of its examples, `[F]`; None = do not compare them.
            count: how many at most.

        Returns:
            Names and distances (`task_space.TaskSpace`), the nearest first; of equals
            the first by name.

        Raises:
            errors.InputError: nothing to compare, no stored task of this kind, or as of
                `TaskSpace`.
        """
        tasks = self.tasks(kind)
        if descriptor is None and features is None or not tasks:
            raise errors.InputError(
                f"{self.folder}: {len(tasks)} {kind} tasks to compare with; there must "
                "be one, and a descriptor or features to compare"
            )
        compared = [each.descriptor if descriptor is not None else {} for each in tasks]
        known = [each.features for each in tasks]
        space = task_space.TaskSpace(compared, None if features is None else known)
        vectors = [space.vector(*each) for each in zip(compared, known, strict=True)]
        here = space.vector({} if descriptor is None else descriptor, features)
        distances = np.linalg.norm(np.stack(vectors) - here, axis=1)
        order = np.argsort(distances, kind="stable")[:count]
        return [(tasks[number].name, float(distances[number])) for number in order]

    def verify(self) -> list[str]:
        """Checks every row and all weights (document D 3.1.1).

        Returns:
            Names of the files in `blobs/` that no row refers to: what a killed process
            left, see `collect`.

        Raises:
            errors.InputError: a damaged file, or a row whose weights are missing or
                damaged.
        """
        with self._transaction("DEFERRED"):
            for check in ("integrity_check", "foreign_key_check"):
                for row in self._connection.execute(f"PRAGMA {check}"):
                    if row != ("ok",):
                        raise errors.InputError(
                            f"{self.folder / FILE}: damaged ({row}); "
                            "restore it from a copy"
                        )
            used = self._used()
            for address in sorted(used):
                blobs.read(self.folder / BLOBS, address)
            return self._garbage(used)

    def collect(self) -> list[str]:
        """Removes the files that no row refers to; returns their names (D 3.1.1)."""
        # No other process can be between writing weights and their row.
        with self._transaction():
            garbage = self._garbage(self._used())
            for name in garbage:
                (self.folder / BLOBS / name).unlink()
        return garbage

    def _used(self) -> set[str]:
        return {row[0] for row in self._connection.execute(_USED)} - {None}

    def _garbage(self, used: set[str]) -> list[str]:
        names = {blobs.path_of("", address).name for address in used}
        return sorted(set(os.listdir(self.folder / BLOBS)) - names)

    def export(self, path: str | os.PathLike) -> None:
        """Writes all rows to a text file, as a whole or not at all (document D 3.1.1).

        Args:
            path: `.jsonl` or `.csv`, see `meta_records.write`.

        Raises:
            errors.InputError: another suffix.
            OSError: the file cannot be written.
        """
        meta_records.write(path, self.tasks())
