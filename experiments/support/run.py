"""The folder of a run: what was asked for, what came out, and whose folder it is."""

import datetime
import fnmatch
import functools
import importlib
import importlib.util
import json
import os
import pathlib
import platform
import re
import time
from collections.abc import Mapping
from typing import Any

from gan_transfer import errors, writing

try:
    import fcntl
except ImportError:  # Windows has other locks, and none of folders
    fcntl = None

_FLAGS = "flags.txt"
_TEMPORARY = ".tmp"
# Where things lie and how much is printed does not make another experiment.
_NOT_COMPARED = frozenset({"out_dir", "data_dir", "verbose"})
# Cells of studies are kept one by one: more of them do not make another study.
_NOT_COMPARED |= {"methods", "tests", "targets", "datasets", "counts", "seeds"}
# What runs write: an overwritten run loses these, and in the folders that runs make
# all that ends like them.
_FILES = """
    summary.json metrics.csv results.csv table.md stability.md *.weights.h5 *.keras
    classifier_28.npz .*.tmp samples.png pairs.png nearest.png losses.png psnr.png
    distance.png distance_*.png distances.png interpolation.png pictures.png
    reconstructions.png restoration.png results_*.png error_*.png systems_*.png
    bound_*.png weighted_*.png kcd_*.png pca_kernel_*.png text_*.png omniglot_*.png
    rust_*.png
""".split()
_FOLDERS = re.compile(r"samples|cells|tensorboard|seed\d+|database(_seed\d+)?")
_ENDINGS = """
    *.csv *.json *.md *.h5 *.keras *.npz *.png *.log flags.txt events.* tasks.sqlite*
    .*.tmp
""".split()

# Device and inode of the folders this process works in -> their descriptors.
_locked: dict[tuple[int, int], int] = {}


def make_folder(path: str | os.PathLike[str]) -> pathlib.Path:
    """Makes a folder with its parents, or finds it.

    Raises:
        errors.InputError: a file stands in its way.
        OSError: the system refuses.
    """
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise errors.InputError(
            f"{folder}: a file stands where this folder should be; "
            "give another --out_dir"
        ) from None
    return folder


def output_file(
    name: str | None, suffixes: tuple[str, ...], overwrite: bool
) -> pathlib.Path | None:
    """Where a table goes, checked before the work; None where it was not asked for.

    Raises:
        errors.InputError: another suffix, no such folder, or a file that is there and
            may not be overwritten.
    """
    if name is None:
        return None
    path = pathlib.Path(name)
    if path.suffix.lower() not in suffixes:
        raise errors.InputError(
            f"{path}: is written as {' or '.join(suffixes)}; name it so"
        )
    if not path.parent.is_dir():
        raise errors.InputError(f"{path.parent}: no such folder; create it first")
    if path.exists() and not overwrite:
        raise errors.InputError(
            f"{path}: exists already; add --overwrite, or give another --output"
        )
    return path


class RunDirectory:
    """One run's folder; `open` makes it.

    Attributes:
        folder: the folder itself, existing.
        resumed: whether it already held this run, finished or not.
    """

    def __init__(self, folder: pathlib.Path, resumed: bool):
        self.folder = folder
        self.resumed = resumed
        self._start = time.monotonic()
        self._cpu_start = time.process_time()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        configuration: Mapping[str, str],
        overwrite: bool = False,
    ) -> "RunDirectory":
        """Makes the folder of a run, or finds the same run again.

        `flags.txt` keeps the configuration as a flagfile: `--flagfile=.../flags.txt`
        repeats the run. Other processes are kept out until `release` or the end of
        this one, however it ends.

        Args:
            path: the folder, made with its parents where missing.
            configuration: flag name -> value as text, one line for each value of a
                flag that may be given several times. `out_dir`, `data_dir` and
                `verbose` are stored, but do not tell two runs apart.
            overwrite: remove what an earlier run wrote there; files of other names
                and folders that no run makes stay.

        Returns:
            The folder, with `resumed` set where it held this very configuration.

        Raises:
            errors.InputError: the folder holds another configuration's run or no run
                at all, another process works in it, or a file stands in its way.
            OSError: the folder cannot be written to.
        """
        folder = make_folder(path)
        _lock(folder)
        held = held_configuration(folder)
        if overwrite and held is not None:
            _remove_artefacts(folder)
            held = None
        if held is not None:
            _refuse_another(folder, held, configuration)
        run = cls(folder, resumed=held is not None)
        # Also when resuming: a folder that cannot be written shows now, not at the end.
        with writing.replacing(run.path(_FLAGS)) as temporary:
            temporary.write_text(_flagfile(configuration), encoding="utf-8")
        return run

    def path(self, name: str) -> pathlib.Path:
        """Returns the path of a file of this run."""
        return self.folder / name

    @property
    def samples(self) -> pathlib.Path:
        """The folder for pictures made while training; made at first use."""
        folder = self.path("samples")
        folder.mkdir(exist_ok=True)
        return folder

    def loggers(self) -> tuple:
        """Callbacks that write `tensorboard/`; none where that package is missing.

        The file is opened after the first epoch: a run that keeps nothing leaves none.
        (`keras.callbacks.TensorBoard` opens its own when training begins.)
        """
        if importlib.util.find_spec("tensorboard") is None:
            return ()
        import keras
        import tensorflow as tf

        writer = functools.cache(tf.summary.create_file_writer)
        folder = str(self.path("tensorboard"))

        def log(epoch, logs):
            with writer(folder).as_default(epoch):
                for name, value in logs.items():
                    tf.summary.scalar(name, value)
            writer(folder).flush()

        return (keras.callbacks.LambdaCallback(on_epoch_end=log),)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes `summary.json`: the given numbers, and what they were made with.

        Adds `versions`, `date` (UTC), `seconds` and `cpu_seconds` (all threads) since
        `open`, and `resumed`: then the times are those of the last part only.

        Args:
            summary: names -> numbers, texts, NumPy values, or nested mappings and
                lists of these.
        """
        modules = {
            name: importlib.import_module(name).__version__
            for name in ("tensorflow", "keras", "numpy")
        }
        measured = {
            "versions": {"python": platform.python_version(), **modules},
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._start, 1),
            "cpu_seconds": round(time.process_time() - self._cpu_start, 1),
            "resumed": self.resumed,
        }
        text = json.dumps(
            {**summary, **measured},
            indent=2,
            sort_keys=True,
            default=lambda value: value.tolist(),
        )
        with writing.replacing(self.path("summary.json")) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def release() -> None:
    """Lets other processes into the folders that `RunDirectory.open` opened."""
    while _locked:
        os.close(_locked.popitem()[1])


def _lock(folder: pathlib.Path) -> None:
    if fcntl is None:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    status = os.fstat(descriptor)
    key = status.st_dev, status.st_ino
    try:
        if key not in _locked:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _locked[key] = descriptor
    except BlockingIOError:
        raise errors.InputError(
            f"{folder}: another process works in this folder; wait for its end, or "
            "give another --out_dir"
        ) from None
    except OSError:  # network file systems without locks of folders
        pass
    finally:
        if _locked.get(key) != descriptor:
            os.close(descriptor)


def _flagfile(configuration: Mapping[str, str]) -> str:
    lines = [
        f"--{name}={value}"
        for name in sorted(configuration)
        for value in configuration[name].split("\n")
    ]
    return "".join(f"{line}\n" for line in lines)


def held_configuration(folder: pathlib.Path) -> dict[str, str] | None:
    """Reads the flags of the run that a folder holds; None where it is empty.

    Raises:
        errors.InputError: the folder holds something else.
    """
    try:
        lines = (folder / _FLAGS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        # A run killed while it wrote its very first file leaves only that one.
        if all(entry.name.endswith(_TEMPORARY) for entry in folder.iterdir()):
            return None
        raise errors.InputError(
            f"{folder}: is not empty and holds no run (no {_FLAGS}), nothing was "
            "touched; give another --out_dir"
        ) from None
    held: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        name, equals, value = line.removeprefix("--").partition("=")
        if not (line.startswith("--") and equals):
            raise errors.InputError(
                f"{folder / _FLAGS}, line {number}: not --name=value, so this is no "
                "run's folder, nothing was touched; give another --out_dir"
            )
        held[name] = f"{held[name]}\n{value}" if name in held else value
    return held


def _refuse_another(
    folder: pathlib.Path, held: Mapping[str, str], asked: Mapping[str, str]
) -> None:
    names = sorted((held.keys() | asked.keys()) - _NOT_COMPARED)
    differences = ", ".join(
        f"--{name} is {_shown(held, name)} there and {_shown(asked, name)} now"
        for name in names
        if held.get(name) != asked.get(name)
    )
    if differences:
        raise errors.InputError(
            f"{folder}: holds a run with other flags ({differences}); add --overwrite "
            "to remove that run, or give another --out_dir"
        )


def _shown(configuration: Mapping[str, str], name: str) -> str:
    return configuration.get(name, "unset").replace("\n", ",")


def _remove_artefacts(folder: pathlib.Path) -> None:
    """Removes what runs write; `flags.txt` goes last, by being replaced."""
    for pattern in _FILES:
        for path in folder.glob(pattern):
            path.unlink()
    for made in [path for path in folder.iterdir() if _FOLDERS.fullmatch(path.name)]:
        for parent, _, names in os.walk(made, topdown=False):
            for name in names:
                if any(fnmatch.fnmatchcase(name, each) for each in _ENDINGS):
                    os.unlink(os.path.join(parent, name))
            if not os.listdir(parent):
                os.rmdir(parent)
