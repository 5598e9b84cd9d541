"""The learner that predicts meta-labels: the predictor (document D 3.1.2, 3.2.2).

The stored tasks are its examples, their meta-labels what it learns: what a way to learn
a task will reach on a new one, before it is tried.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from gan_transfer import errors, meta_records, task_space

MIN_TASKS = 3
# Ridge weights per task; the last one predicts the mean whatever the task is.
_WEIGHTS = (*(10.0 ** (power / 2) for power in range(-12, 7)), np.inf)


@dataclasses.dataclass(frozen=True, eq=False)
class Ridge:
    """Linear regression with a penalty (document D 3.1.2; Hoerl and Kennard 1970).

    w = argmin sum_i (y_i - m - w . (x_i - c))^2 + a |w|^2, m and c the means of y and
    x; the weight a is the one of the smallest leave-one-out error.

    Attributes:
        coefficients: w, float64 `[D]`.
        intercept: m - w . c.
        weight: a; infinite where the mean predicts best.
        error: root mean square of the leave-one-out residuals; a little too good,
            since a was chosen by it.
        mean_error: the same for the mean alone.
    """

    coefficients: np.ndarray
    intercept: float
    weight: float
    error: float
    mean_error: float

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray) -> "Ridge":
        """Fit x `[N, D]` to y `[N]`, N >= 3 (document D 3.1.2)."""
        weights = len(x) * np.array(_WEIGHTS)
        found = [np.sqrt(np.mean(leave_one_out(x, y, a) ** 2)) for a in weights]
        # Of equals the heaviest: without evidence the task does not matter.
        best = len(found) - 1 - int(np.argmin(found[::-1]))
        left, sizes, right = np.linalg.svd(x - x.mean(0), full_matrices=False)
        shrunk = sizes / (sizes**2 + weights[best])
        coefficients = right.T @ (shrunk * (left.T @ (y - y.mean())))
        intercept = float(y.mean() - coefficients @ x.mean(0))
        return cls(
            coefficients,
            intercept,
            float(weights[best]),
            float(found[best]),
            float(found[-1]),
        )

    def __call__(self, vector: np.ndarray) -> float:
        """The prediction for a vector `[D]`."""
        return float(self.coefficients @ vector + self.intercept)


def leave_one_out(x: np.ndarray, y: np.ndarray, weight: float) -> np.ndarray:
    """What each task's prediction misses when it is not fitted (document D 3.1.2).

    r_i / (1 - h_i), with the residuals r of the fit to all and the diagonal h of its
    hat matrix: exact, without fitting N times (Allen 1974).

    Args:
        x: float64 `[N, D]`.
        y: float64 `[N]`.
        weight: of the penalty, > 0, or infinite.

    Returns:
        float64 `[N]`.
    """
    left, sizes, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    kept = sizes**2 / (sizes**2 + weight)
    fitted = y.mean() + left @ (kept * (left.T @ (y - y.mean())))
    hat = 1 / len(y) + (left**2) @ kept
    return (y - fitted) / (1 - hat)


@dataclasses.dataclass(frozen=True, order=True)
class Candidate:
    """A way to learn a task: what meta-labels are of (document D 3.1.2).

    Attributes:
        algorithm: as stored, such as `reptile`.
        examples: given to it.
        steps: of adaptation, 0 = as it starts.
    """

    algorithm: str
    examples: int
    steps: int


@dataclasses.dataclass(frozen=True)
class Choice:
    """The way that the predictor picks for a new task (document D 3.1.2).

    Attributes:
        candidate: algorithm, examples, steps.
        value: predicted metric.
        error: leave-one-out error of such predictions, in units of the metric.
        task: the nearest stored task that was learned by this algorithm.
        configuration: how it was learned: the settings to use.
        start: address of the weights it started from (`MetaDatabase.load`), None =
            from scratch.
    """

    candidate: Candidate
    value: float
    error: float
    task: str
    configuration: dict
    start: str | None


class Predictor:
    """Predicts a metric of every candidate for a new task (document D 3.1.2).

    One `Ridge` per candidate on the vectors of the tasks (`task_space.TaskSpace`).

    Args:
        tasks: stored tasks, of one kind.
        metric: name of the meta-label, such as `psnr`.
        use_features: whether the tasks' features count.
        use_descriptors: whether their descriptors count; a predictor without them can
            be asked about a task of which only examples are known.

    Attributes:
        fits: candidate -> `Ridge`; candidates with the label in fewer than 3 tasks are
            left out.

    Raises:
        errors.InputError: no candidate has the label in 3 tasks; or as of `TaskSpace`.
    """

    def __init__(
        self,
        tasks: Sequence[meta_records.StoredTask],
        metric: str,
        use_features: bool = False,
        use_descriptors: bool = True,
    ):
        features = [task.features for task in tasks] if use_features else None
        # A space passes over the keys of a descriptor that no known task has.
        self._space = task_space.TaskSpace(
            [task.descriptor if use_descriptors else {} for task in tasks], features
        )
        self._tasks = tuple(tasks)
        self._vectors = np.stack([self._vector(task) for task in tasks])
        self.metric, self.fits = metric, {}
        labels: dict[Candidate, dict[int, float]] = {}
        for number, task in enumerate(tasks):
            for label in task.labels:
                if label.metric == metric:
                    way = Candidate(label.algorithm, label.examples, label.steps)
                    labels.setdefault(way, {})[number] = label.value
        for candidate, values in sorted(labels.items()):
            if len(values) >= MIN_TASKS:
                x, y = self._vectors[list(values)], np.array(list(values.values()))
                self.fits[candidate] = Ridge.fit(x, y)
        if not self.fits:
            raise errors.InputError(
                f"no algorithm has the meta-label {metric!r} in {MIN_TASKS} of the "
                f"{len(tasks)} stored tasks; store more tasks, or name another metric"
            )

    def _vector(self, task) -> np.ndarray:
        return self._space.vector(task.descriptor, task.features)

    def predict(
        self, descriptor: task_space.Descriptor, features: np.ndarray | None = None
    ) -> dict[Candidate, float]:
        """The metric that each candidate should reach on a task (document D 3.1.2).

        Raises:
            errors.InputError: as of `TaskSpace.vector`.
        """
        vector = self._space.vector(descriptor, features)
        return {candidate: fit(vector) for candidate, fit in self.fits.items()}

    def choose(
        self,
        descriptor: task_space.Descriptor,
        features: np.ndarray | None = None,
        *,
        examples: int | None = None,
        maximise: bool = True,
    ) -> Choice:
        """Pick start and settings for a new task (D 3.1.2, zero-shot and few-shot).

        Args:
            descriptor: of the new task.
            features: of its examples, if the predictor uses features.
            examples: how many it has: candidates that need more are passed over. None
                = any number.
            maximise: whether more of the metric is better.

        Raises:
            errors.InputError: every candidate needs more examples; or as of
                `TaskSpace.vector`.
        """
        values = {
            candidate: value
            for candidate, value in self.predict(descriptor, features).items()
            if examples is None or candidate.examples <= examples
        }
        if not values:
            fewest = min(candidate.examples for candidate in self.fits)
            raise errors.InputError(
                f"every stored way to learn needs {fewest} examples or more, "
                f"the task has {examples}"
            )
        best = (max if maximise else min)(values, key=values.get)
        vector = self._space.vector(descriptor, features)
        order = np.argsort(
            np.linalg.norm(self._vectors - vector, axis=1), kind="stable"
        )
        task, model = next(
            (self._tasks[number], model)
            for number in order
            for model in self._tasks[number].models
            if model.algorithm == best.algorithm
        )
        return Choice(
            best,
            values[best],
            self.fits[best].error,
            task.name,
            model.configuration,
            model.parent,
        )
