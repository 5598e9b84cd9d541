"""What the meta-database keeps of a task (documents D 3.1.1, D 3.2.1, step 4).

The descriptor and features of the task, where its data is, the models trained on it and
their performance, the meta-labels.
"""

import csv
import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from gan_transfer import errors, writing

KINDS = ("generation", "restoration")
_COLUMNS = "task kind descriptor data algorithm examples steps metric value".split()
# Arrays by name when a task is added, their address (`gan_transfer.blobs`) as read.
Weights = Mapping[str, np.ndarray] | str | None


@dataclasses.dataclass(frozen=True, eq=False)
class StoredModel:
    """A model trained on a task (document D 3.1.1, step 4).

    Attributes:
        algorithm: how it was trained, such as `reptile`; one model each per task.
        family: GAN, VAE, CycleGAN, CIR, SR, CNN, ...
        configuration: its architecture and settings, as JSON can hold them.
        weights: the trained weights: arrays by name to add, their SHA-256 as read;
            None for a method without weights.
        parent: the weights it started from, likewise; None = from scratch.
    """

    algorithm: str
    family: str
    configuration: dict
    weights: Weights = None
    parent: Weights = None


@dataclasses.dataclass(frozen=True)
class MetaLabel:
    """The performance of a model at one budget (document D 3.1.1, step 4).

    Attributes:
        algorithm: of the model.
        examples: of the task that it was given.
        steps: of training on them.
        metric: its name, with its protocol.
        value: finite.
    """

    algorithm: str
    examples: int
    steps: int
    metric: str
    value: float


@dataclasses.dataclass(frozen=True, eq=False)
class StoredTask:
    """A task with its data, models and meta-labels (document D 3.1.1, step 4).

    Attributes:
        name: unique in a database.
        kind: `generation` or `restoration`.
        descriptor: numbers and texts by name.
        data: path or name of its data.
        data_sha256: of that data (`blobs.digest`).
        features: float32 `[F]`, means over its examples, or None.
        models: one per algorithm.
        labels: each of one of the models.
    """

    name: str
    kind: str
    descriptor: dict[str, float | str]
    data: str
    data_sha256: str
    features: np.ndarray | None = None
    models: tuple[StoredModel, ...] = ()
    labels: tuple[MetaLabel, ...] = ()

    def as_json(self) -> dict:
        """The task in JSON's types; weights by their addresses (document D 3.1.1)."""
        values = dataclasses.asdict(self)
        if self.features is not None:
            values["features"] = self.features.tolist()
        return values


def task_row(task: StoredTask) -> tuple:
    """Checks a task and returns its row: number, name, ... (document D 3.1.1).

    Raises:
        errors.InputError: another kind, values that JSON cannot hold or that are not
            finite, features that are no vector.
    """
    if task.kind not in KINDS or not task.name:
        raise errors.InputError(
            f"task {task.name!r} of the kind {task.kind!r}; give it a name, and one of "
            f"the kinds {', '.join(KINDS)}"
        )
    features = task.features
    if features is not None:
        features = np.asarray(features, "<f4")
        if features.ndim != 1 or not np.isfinite(features).all():
            raise errors.InputError(
                f"task {task.name!r}: features of shape {features.shape}; they must be "
                "one vector of finite numbers"
            )
        features = features.tobytes()
    descriptor = to_json(task, task.descriptor)
    return None, task.name, task.kind, descriptor, features, task.data, task.data_sha256


def label_row(task: StoredTask, label: MetaLabel) -> tuple:
    """Checks a meta-label and returns its row without the task (document D 3.1.1).

    Raises:
        errors.InputError: a value that is not finite.
    """
    if not math.isfinite(label.value):
        raise errors.InputError(
            f"task {task.name!r}: {label.metric} of {label.algorithm} is {label.value}"
            "; leave out what diverged"
        )
    counts = int(label.examples), int(label.steps)
    return label.algorithm, *counts, label.metric, float(label.value)


def to_json(task: StoredTask, values: Mapping) -> str:
    """JSON of a descriptor or configuration (document D 3.1.1).

    Raises:
        errors.InputError: values that JSON cannot hold, NaN and infinities among them.
    """
    try:
        return json.dumps(values, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise errors.InputError(
            f"task {task.name!r}: {values} cannot be stored as JSON ({error})"
        ) from error


def from_rows(row: tuple, models: list[tuple], labels: list[tuple]) -> StoredTask:
    """The task of its rows, as `task_row` and `label_row` made them (D 3.1.1)."""
    _, name, kind, descriptor, features, data, data_sha256 = row
    if features is not None:
        features = np.frombuffer(features, "<f4").astype(np.float32)
    return StoredTask(
        name,
        kind,
        json.loads(descriptor),
        data,
        data_sha256,
        features,
        tuple(
            StoredModel(algorithm, family, json.loads(configuration), *addresses)
            for algorithm, family, configuration, *addresses in models
        ),
        tuple(MetaLabel(*values) for values in labels),
    )


def write(path: str | os.PathLike, tasks: Sequence[StoredTask]) -> None:
    """Writes tasks to a text file, as a whole or not at all (document D 3.1.1).

    Args:
        path: `.jsonl`: a line of JSON per task, with everything but the weights
            themselves; `.csv`: a row per meta-label.
        tasks: as read.

    Raises:
        errors.InputError: another suffix.
        OSError: the file cannot be written.
    """
    path = pathlib.Path(path)
    if path.suffix not in (".jsonl", ".csv"):
        raise errors.InputError(f"{path}: exports are .jsonl or .csv; name it so")
    with (
        writing.replacing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as stream,
    ):
        if path.suffix == ".jsonl":
            for task in tasks:
                stream.write(json.dumps(task.as_json(), sort_keys=True) + "\n")
            return
        table = csv.writer(stream)
        table.writerow(_COLUMNS)
        for task in tasks:
            descriptor = json.dumps(task.descriptor, sort_keys=True)
            for label in task.labels:
                start = task.name, task.kind, descriptor, task.data
                table.writerow((*start, *label_row(task, label)))
