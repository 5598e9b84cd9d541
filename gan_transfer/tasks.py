"""Tasks to learn to learn from, and meta-batches of them (documents D 3.1.1, D 3.2.1).

A task has few examples. They are divided into support examples to learn from and query
examples to measure with, never the same ones. Tasks of generation are made in
`gan_transfer.image_tasks`, those of restoration in `restoration.tasks`.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from gan_transfer import errors

# One array [N, H, W, C] of images, or two of damaged and clean ones.
Examples = tuple[np.ndarray, ...]


class Task(Protocol):
    """What meta-learning asks of a task (document D 3.1.1, step 1).

    Attributes:
        name: unique among the tasks of an experiment.
        kind: `generation` or `restoration`.
        group: tasks of one group are too alike to be on both sides of a split.
        descriptor: what is known of the task beforehand: numbers and texts by name.
    """

    name: str
    kind: str
    group: str
    descriptor: Mapping[str, float | str]

    def __len__(self) -> int:
        """How many examples there are."""

    def examples(self, numbers: Sequence[int]) -> Examples:
        """Some of them: float32 arrays `[len(numbers), H, W, C]`, always the same."""


def hold_out(
    tasks: Sequence[Task], count: int, seed: int
) -> tuple[list[Task], list[Task]]:
    """Splits off tasks that nothing like was seen of (document D 3.1.2).

    Whole groups are held out, in a random order, until at least `count` tasks are. Call
    it for meta-testing first, then on the rest for validation.

    Args:
        tasks: to split.
        count: tasks to hold out at least.
        seed: same seed, same split.

    Returns:
        The remaining and the held-out tasks; no group is in both.

    Raises:
        errors.InputError: one of the sides would be empty.
    """
    groups = sorted({task.group for task in tasks})
    sizes = collections.Counter(task.group for task in tasks)
    held, total = set(), 0
    for number in np.random.default_rng(seed).permutation(len(groups)):
        if total >= count:
            break
        held.add(groups[number])
        total += sizes[groups[number]]
    if not 0 < total < len(tasks):
        raise errors.InputError(
            f"cannot hold out {count} of {len(tasks)} tasks in {len(groups)} groups; "
            "at least one group must be on either side"
        )
    rest = [task for task in tasks if task.group not in held]
    return rest, [task for task in tasks if task.group in held]


def split(task: Task, shots: int, query: int, seed: int) -> tuple[Examples, Examples]:
    """Support and query examples of a task that is tested on (document D 3.1.2).

    The query examples are the same for every number of shots, and fewer shots are the
    first of more.

    Returns:
        Support examples, arrays `[shots, H, W, C]`, and query examples.

    Raises:
        errors.InputError: the task has fewer than `shots` + `query` examples.
    """
    return _divided(task, shots, query, np.random.default_rng(seed))


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Tasks of one meta-update (document D 3.1.1, step 1).

    Attributes:
        tasks: T different ones.
        support: arrays float32 `[T, shots, H, W, C]`.
        query: arrays float32 `[T, query, H, W, C]`, of other examples.
    """

    tasks: tuple[Task, ...]
    support: Examples
    query: Examples


def sample_batch(
    tasks: Sequence[Task], count: int, shots: int, query: int, key: tuple[int, int]
) -> Batch:
    """Draws tasks and divides each into support and query (document D 3.1.1, step 1).

    Everything is drawn without replacement and depends on the key alone, so a run that
    is resumed sees what it would have seen.

    Args:
        tasks: to draw from; images of one shape.
        count: T, tasks of the batch.
        shots: support examples per task.
        query: query examples per task, may be 0.
        key: seed of the run and number of the update.

    Raises:
        errors.InputError: fewer than T tasks, a task with too few examples, or images
            of different shapes.
    """
    if not 1 <= count <= len(tasks):
        raise errors.InputError(
            f"a meta-batch of {count} tasks cannot be drawn from {len(tasks)}"
        )
    rng = np.random.default_rng(key)
    chosen = tuple(
        tasks[number] for number in rng.choice(len(tasks), count, replace=False)
    )
    drawn = [_divided(task, shots, query, rng) for task in chosen]
    shapes = {part[0].shape[1:] for part, _ in drawn}
    if len(shapes) > 1:
        raise errors.InputError(
            f"tasks have images of the shapes {sorted(shapes)}; bring them to one"
        )
    support, questions = (
        tuple(np.stack(arrays) for arrays in zip(*parts, strict=True))
        for parts in zip(*drawn, strict=True)
    )
    return Batch(chosen, support, questions)


def _divided(task, shots, query, rng) -> tuple[Examples, Examples]:
    if shots < 1 or query < 0 or shots + query > len(task):
        raise errors.InputError(
            f"task {task.name} has {len(task)} examples, not {shots} + {query}; "
            "use fewer shots or query examples, at least 1 shot"
        )
    order = rng.permutation(len(task))
    return task.examples(order[:shots]), task.examples(order[len(task) - query :])


def batches(
    tasks: Sequence[Task],
    count: int,
    shots: int,
    query: int,
    *,
    seed: int = 0,
    start: int = 0,
) -> tf.data.Dataset:
    """Endless batches of `sample_batch` for `fit`, from update `start` on (D 3.1.1).

    Returns:
        Pairs (support, query) of tuples of float32 `[count, ..., H, W, C]`.

    Raises:
        errors.InputError: as of `sample_batch`.
    """

    def arrays(step: int) -> Examples:
        batch = sample_batch(tasks, count, shots, query, (seed, int(step)))
        return (*batch.support, *batch.query)

    shapes = [array.shape for array in arrays(start)]

    def draw(step: tf.Tensor):
        found = tf.numpy_function(arrays, [step], [tf.float32] * len(shapes))
        found = tuple(map(tf.ensure_shape, found, shapes))
        return found[: len(shapes) // 2], found[len(shapes) // 2 :]

    return tf.data.Dataset.counter(start).map(draw).prefetch(4)
