import contextlib
import errno
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest

from gan_transfer import errors, meta_database, meta_records, transactions

ROOT = pathlib.Path(__file__).parents[2]


def task(name, seed=0, **changes):
    arrays = {"head_conv/kernel": np.full((2, 3), seed, np.float32)}
    start = {"head_conv/kernel": np.full((2, 3), -1, np.float32)}
    models = (meta_records.StoredModel("reptile", "GAN", {}, arrays, start),)
    labels = (meta_records.MetaLabel("reptile", 5, 10, "kernel", 1 / 3),)
    values = {"data": "omniglot", "data_sha256": "", "models": models}
    values |= {"labels": labels, **changes}
    return meta_records.StoredTask(name, "generation", {"sigma": 0.5}, **values)


@pytest.fixture
def database(tmp_path):
    with meta_database.MetaDatabase.open(tmp_path / "base") as opened:
        yield opened


def child(code, folder):
    """Starts a process that has the names of this module, and a database."""
    lines = (
        "import os, signal, sys",
        f"sys.path[:0] = [{str(ROOT)!r}, {str(pathlib.Path(__file__).parent)!r}]",
        "from gan_transfer import blobs, meta_database",
        "import test_transactions as here",
        f"database = meta_database.MetaDatabase.open({str(folder)!r})",
        "def end(*_): os.kill(os.getpid(), signal.SIGKILL)",
        code,
    )
    return subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- nothing half-stored -------------------------------------------------------------


@pytest.mark.parametrize(
    "prepare",
    [
        "save = blobs.save\nblobs.save = lambda *given: (save(*given), end())",
        "database._connection.set_trace_callback("
        "lambda line: line.startswith('COMMIT') and end())",
    ],
    ids=["between weights and row", "before the commit"],
)
def test_a_kill_loses_nothing_reported_and_leaves_no_dangling_row(tmp_path, prepare):
    folder = tmp_path / "base"
    code = "database.add(here.task('a'))\nprint('a', flush=True)\n"
    process = child(f"{code}{prepare}\ndatabase.add(here.task('b', 1))", folder)
    reported, trouble = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, trouble
    assert reported == "a\n"
    with meta_database.MetaDatabase.open(folder) as database:
        assert [each.name for each in database.tasks()] == ["a"]
        (kernel,) = database.weights("a", "reptile").values()
        np.testing.assert_array_equal(kernel, np.zeros((2, 3), np.float32))
        garbage = database.verify()
        assert len(garbage) == 1
        assert database.collect() == garbage and database.verify() == []
        database.add(task("b", 1))
        assert database.verify() == []


def test_two_processes_write_and_a_third_collects(tmp_path):
    folder = tmp_path / "base"
    code = "for n in range(8): database.add(here.task('{}-%d' % n, n))"
    writers = [child(code.format(name), folder) for name in "ab"]
    writers.append(child("for n in range(30): database.collect()", folder))
    for process in writers:
        _, trouble = process.communicate(timeout=60)
        assert process.returncode == 0, trouble
    with meta_database.MetaDatabase.open(folder) as database:
        names = [f"{name}-{number}" for name in "ab" for number in range(8)]
        assert [each.name for each in database.tasks()] == names
        assert database.verify() == []
        assert len(os.listdir(folder / "blobs")) == 9


def test_a_new_file_that_another_process_writes_to_is_waited_for(tmp_path):
    path = tmp_path / "new.sqlite"
    with contextlib.closing(
        sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("CREATE TABLE t (x)")
        other.execute("PRAGMA user_version = 1")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):  # at once
            hasty = sqlite3.connect(path, isolation_level=None)
            with contextlib.closing(hasty):
                hasty.execute("PRAGMA journal_mode = WAL")
        ending = threading.Timer(0.2, lambda: other.execute("COMMIT"))
        ending.start()
        with contextlib.closing(transactions.connect(path, (), 1)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        ending.join()
    assert mode == "wal"


def test_a_full_disk_leaves_nothing_half_stored(database, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(OSError) as caught:
            database.add(task("a"))
    assert caught.value.errno == errno.ENOSPC
    assert str(database.folder / "blobs") in caught.value.filename
    assert database.tasks() == [] and database.verify() == []
    (pages,) = database._connection.execute("PRAGMA page_count").fetchone()
    database._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OSError) as caught:
        database.add(task("a", data="x" * 100_000))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(database.folder / "tasks.sqlite")
    assert database.tasks() == []
    database.add(task("a"))
    assert len(database.tasks()) == 1


# --- files that are no database ------------------------------------------------------


def test_a_missing_database_is_not_made_by_a_reader(tmp_path):
    with pytest.raises(errors.InputError, match="no meta-database, tasks.sqlite is mi"):
        meta_database.MetaDatabase.open(tmp_path / "none", read_only=True)
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").touch()
    with pytest.raises(errors.InputError, match="a file stands where this folder"):
        meta_database.MetaDatabase.open(tmp_path / "file")


def write_other(path, statement):
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b"no database" * 99), "damaged, or no SQLite"),
        (lambda path: write_other(path, "CREATE TABLE t (x)"), "of another program"),
        (lambda path: write_other(path, "PRAGMA user_version = 2"), "has number 2, th"),
    ],
)
def test_other_files_are_refused_and_left_alone(tmp_path, spoil, message, read_only):
    path = tmp_path / "tasks.sqlite"
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(errors.InputError, match=message) as caught:
        meta_database.MetaDatabase.open(tmp_path, read_only=read_only)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_damaged_page_is_found(database):
    for number in range(30):
        database.add(task(f"t{number}", number))
    database.close()
    path = database.folder / "tasks.sqlite"
    content = bytearray(path.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 200] = b"?" * 200
    path.write_bytes(content)
    with meta_database.MetaDatabase.open(database.folder, read_only=True) as spoilt:
        with pytest.raises(errors.InputError, match="tasks.sqlite: damaged"):
            spoilt.verify()
        with pytest.raises(errors.InputError, match="tasks.sqlite: damaged"):
            spoilt.tasks()


def test_who_waits_too_long_is_told(database, monkeypatch):
    database._connection.execute("PRAGMA busy_timeout = 1")
    with meta_database.MetaDatabase.open(database.folder) as other:
        with other._transaction():
            with pytest.raises(errors.InputError, match="another process has been wri"):
                database.add(task("a"))
    database.add(task("a"))
