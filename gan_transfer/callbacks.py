"""Full state for resuming, history, best so far, the NaN guard (document A 3.1, E 3.3).

A run directory holds `state.weights.h5` (the model: networks, optimizers, counter),
`metrics.csv` (one row per epoch of `fit`) and `best.weights.h5`. The state file is the
truth: it is written last, and on resuming the history is cut back to it. Of several
workers each has a directory of its own; they write the same.
"""

import csv
import errno
import math
import os
import pathlib
import shutil
import time
import warnings

import h5py
import keras
import numpy as np
import tensorflow as tf

from gan_transfer import errors, training, writing

STATE, HISTORY, BEST = "state.weights.h5", "metrics.csv", "best.weights.h5"


def _save_weights(model: keras.Model, path: pathlib.Path) -> None:
    """Save under a temporary name, then rename: never half a file."""
    try:
        _require_space(model, path)
        with writing.partial(path) as temporary:
            model.save_weights(temporary)
    except Exception as error:
        number, reason = getattr(error, "errno", None), " ".join(str(error).split())
        raise OSError(number, f"cannot write it ({reason})", str(path)) from error


def _require_space(model: keras.Model, path: pathlib.Path) -> None:
    """Refuse a disk too full for all weights and two moments each.

    A disk that fills up under HDF5 crashes the process instead of raising.
    """
    needed = 3 * sum(4096 + 4 * math.prod(each.shape) for each in model.variables)
    if shutil.disk_usage(path.parent).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class History(keras.callbacks.Callback):
    """Append a row per epoch to `metrics.csv`: step, images, CPU seconds, logs (A 3.1).

    Args:
        directory: the run directory.
        images_per_step: real images one update looks at.
        rows: of the run so far, cut back to the state; grows in place.
    """

    def __init__(self, directory: pathlib.Path, images_per_step: int, rows: list):
        super().__init__()
        self.directory = pathlib.Path(directory)
        self.images_per_step = images_per_step
        self.rows = rows
        self.spent = float(rows[-1]["cpu_seconds"]) if rows else 0.0

    def on_train_begin(self, logs=None):
        """Start the clock."""
        self.start = time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        """Write the epoch's row."""
        step = int(self.model.updates.numpy())
        last = self.rows[-1] if self.rows else {"step": 0, "images": 0}
        self.rows.append(
            {
                "step": step,
                "images": last["images"] + (step - last["step"]) * self.images_per_step,
                "cpu_seconds": round(self.spent + time.process_time() - self.start, 2),
                **{name: float(value) for name, value in logs.items()},
            }
        )
        write_history(self.directory, self.rows)


def write_history(directory: pathlib.Path, rows: list[dict]) -> None:
    """Write `metrics.csv` whole, atomically (document A 3.1)."""
    path = pathlib.Path(directory) / HISTORY
    names = list(dict.fromkeys(name for row in rows for name in row))
    with writing.partial(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def read_history(directory: pathlib.Path) -> list[dict[str, float]]:
    """Rows of `metrics.csv` as numbers; an empty list without the file (A 3.1).

    Raises:
        InputError: the file is damaged.
    """
    path = pathlib.Path(directory) / HISTORY
    if not path.exists():
        return []
    try:
        with path.open(newline="") as file:
            rows = [
                {name: _number(value) for name, value in row.items() if value != ""}
                for row in csv.DictReader(file, restval="")
            ]
    except (AttributeError, ValueError) as error:
        raise errors.InputError(
            f"{path} is damaged ({error}); start anew with --overwrite"
        ) from error
    return rows


def _number(text: str) -> float:
    # Whole numbers stay whole: a history read and written again is the same file.
    return int(text) if text.isdecimal() else float(text)


class BestSoFar(keras.callbacks.Callback):
    """Keep the model's `result` of the lowest `monitor` (document A 3.1, step 3).

    The measure must come from a validation part of the training data.

    Args:
        directory: the run directory.
        monitor: name in the epoch's logs.
        before: rows of the interrupted run: the best value is read off them.
    """

    def __init__(self, directory: pathlib.Path, monitor: str, before: list):
        super().__init__()
        self.path = pathlib.Path(directory) / BEST
        self.monitor = monitor
        seen = [row[monitor] for row in before if monitor in row]
        self.best = min(seen, default=math.inf)

    def on_epoch_end(self, epoch, logs=None):
        """Save when the measure has fallen."""
        value = float(logs[self.monitor])
        if value < self.best:
            self.best = value
            _save_weights(self.model.result, self.path)


class FiniteGuard(keras.callbacks.Callback):
    """Stop a run that diverged before its state is saved (document E 3.3)."""

    def on_epoch_end(self, epoch, logs=None):
        """Check the epoch's logs, and the weights: a last step may spoil those alone.

        Raises:
            Diverged: a logged number or a weight is NaN or infinite.
        """
        bad = [name for name, value in logs.items() if not np.isfinite(value)]
        bad += [v.path for v in self.model.weights if not np.isfinite(v.numpy()).all()]
        if bad:
            raise errors.Diverged(
                f"training diverged: {bad[0]} is not finite at update "
                f"{int(self.model.updates.numpy())}; the state of the epoch before "
                "is kept; try a lower --learning_rate, or for a GAN --penalty=r1"
            )


class FullState(keras.callbacks.Callback):
    """Save the whole model after every epoch, atomically and last (document A 3.1)."""

    def __init__(self, directory: pathlib.Path):
        super().__init__()
        self.path = pathlib.Path(directory) / STATE

    def on_epoch_end(self, epoch, logs=None):
        """Save the state."""
        _save_weights(self.model, self.path)


def watchers(
    directory: pathlib.Path, rows: list[dict], images_per_step: int, monitor: str | None
) -> list[keras.callbacks.Callback]:
    """Guard, best so far, history and state, in the order they rely on (A 3.1).

    Args:
        directory: the run directory.
        rows: history so far, cut back to the state; new rows are appended to it.
        images_per_step: real images one update looks at.
        monitor: measure that chooses the best state, or None.
    """
    pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
    best = [] if monitor is None else [BestSoFar(directory, monitor, rows)]
    history = History(directory, images_per_step, rows)
    return [FiniteGuard(), *best, history, FullState(directory)]


def restore(model: training.Procedure, directory: pathlib.Path) -> list[dict]:
    """Load the saved state, if any, and cut the history back to it (document A 3.1).

    Args:
        model: compiled, as it was when the state was saved.
        directory: the run directory.

    Returns:
        The history's rows up to the state; empty for a fresh run.

    Raises:
        InputError: the state belongs to another model or is damaged.
    """
    path = pathlib.Path(directory) / STATE
    if not path.exists():
        return []
    try:
        with warnings.catch_warnings():
            # Keras only warns of weights that it leaves as they are.
            warnings.filterwarnings("error", "Skipping nested container")
            model.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        first = str(error).strip().splitlines()[0]
        raise errors.InputError(
            f"{path} cannot be continued with this model ({first}); use the flags of "
            "that run (flags.txt beside it), another --out_dir, or --overwrite"
        ) from error
    step = int(model.updates.numpy())
    rows = [row for row in read_history(directory) if row["step"] <= step]
    write_history(directory, rows)
    return rows


def saved_updates(directory: pathlib.Path) -> int:
    """Updates done in the saved state of a run, 0 without one (document A 3.1).

    Raises:
        InputError: the state file is damaged, or those of the workers differ.
    """
    path, done = pathlib.Path(directory) / STATE, 0
    if path.exists():
        try:
            with h5py.File(path) as file:
                done = int(file["vars/0"][()])
        except (OSError, KeyError) as error:
            raise errors.InputError(
                f"{path} is damaged ({error}); start anew with --overwrite"
            ) from error
    strategy = tf.distribute.get_strategy()
    found = strategy.run(lambda: tf.constant(done, tf.int64))
    if strategy.reduce("SUM", found, axis=None) != done * strategy.num_replicas_in_sync:
        raise errors.InputError(
            f"{path} is at update {done}, but those of other workers are not; copy the "
            "older one over the others"
        )
    return done
