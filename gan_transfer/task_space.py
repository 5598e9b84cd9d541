"""Distances between tasks, by descriptor and by features (document D 3.1.2, 3.2.2).

Meta-testing looks for stored tasks like the new one. `TaskSpace` turns a task into a
vector such that the Euclidean distance of two vectors is the distance of the tasks.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from gan_transfer import errors

Descriptor = Mapping[str, float | str]


class TaskSpace:
    """The vectors of tasks, scaled by a set of known ones (document D 3.1.2).

    d(a, b)^2 = mean over the keys of the descriptor of d_k^2
              + mean over the components of the features of d_j^2

    d_k = (a_k - b_k) / s_k for numbers, with the standard deviation s_k of the known
    tasks, and 0 or 1 for categories (equal or not); d_j as for numbers. A number that
    a descriptor leaves out is 0, a category is one of its own. What is the same for
    all known tasks tells none of them apart and is left out.

    Attributes:
        width: components of a vector.

    Raises:
        errors.InputError: no tasks, a key that is a number here and a text there, or
            features that only some tasks have or that differ in length.
    """

    def __init__(
        self,
        descriptors: Sequence[Descriptor],
        features: Sequence[np.ndarray | None] | None = None,
    ):
        if not descriptors:
            raise errors.InputError("there are no tasks to measure distances to")
        found: dict[str, list] = {}
        for key in sorted({key for each in descriptors for key in each}):
            values = [each[key] for each in descriptors if key in each]
            if len({isinstance(value, str) for value in values}) > 1:
                raise errors.InputError(
                    f"descriptor {key!r} is a number in one task and a text in another"
                )
            found[key] = values
        self._numbers, self._categories = {}, {}
        for key, values in found.items():
            if isinstance(values[0], str):
                known = sorted({str(each.get(key, "")) for each in descriptors})
                if len(known) > 1:
                    self._categories[key] = known
            elif spread := np.std([float(each.get(key, 0)) for each in descriptors]):
                self._numbers[key] = spread
        self._spreads = None if features is None else _spreads(features)
        # One place more for a category that no known task has.
        self.width = len(self._numbers) + (
            sum(len(known) + 1 for known in self._categories.values())
        )
        if self._spreads is not None:
            self.width += int(np.count_nonzero(self._spreads))

    def vector(
        self, descriptor: Descriptor, features: np.ndarray | None = None
    ) -> np.ndarray:
        """The vector of a task, float64 `[width]` (document D 3.1.2).

        Args:
            descriptor: of the task; keys that no known task has are passed over.
            features: `[F]`; needed if the space was made with features, else passed
                over.

        Raises:
            errors.InputError: a text where the known tasks have a number, or the other
                way round; features that are missing or of another length.
        """
        for key, value in descriptor.items():
            other = self._numbers if isinstance(value, str) else self._categories
            if key in other:
                raise errors.InputError(
                    f"descriptor {key!r} is {value!r}, but the stored tasks have "
                    f"{'numbers' if key in self._numbers else 'texts'} there"
                )
        parts = [
            float(descriptor.get(key, 0)) / spread
            for key, spread in self._numbers.items()
        ]
        for key, known in self._categories.items():
            value = descriptor.get(key, "")
            hot = np.zeros(len(known) + 1)
            hot[known.index(value) if value in known else -1] = np.sqrt(0.5)
            parts.extend(hot)
        keys = len(self._numbers) + len(self._categories)
        return np.concatenate(
            [np.array(parts) / np.sqrt(max(keys, 1)), self._scaled(features)]
        )

    def _scaled(self, features: np.ndarray | None) -> np.ndarray:
        if self._spreads is None:
            return np.zeros(0)
        if features is None or np.shape(features) != self._spreads.shape:
            raise errors.InputError(
                f"the task's features have shape {np.shape(features)}, those of the "
                f"stored tasks {self._spreads.shape}; use the same extractor"
            )
        used = self._spreads > 0
        scaled = np.asarray(features, np.float64)[used] / self._spreads[used]
        return scaled / np.sqrt(max(np.count_nonzero(used), 1))


def _spreads(features: Sequence[np.ndarray | None]) -> np.ndarray:
    shapes = {None if each is None else np.shape(each) for each in features}
    if len(shapes) > 1 or None in shapes:
        raise errors.InputError(
            "the stored tasks have features of different lengths, or some have none; "
            "measure by the descriptors alone"
        )
    return np.std(np.asarray(features, np.float64), axis=0)
