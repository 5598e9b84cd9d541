"""A guard against collapse: does a GAN still show all modes? (documents E 3.3, E 6).

Training that goes wrong shows in two ways. Numbers stop being finite, which
`callbacks.FiniteGuard` sees; or the generator makes the same few images whatever it is
given, latents or images, while both losses look healthy, which `CollapseGuard` sees.
"""

import pathlib
from collections.abc import Callable, Sequence

import keras
import numpy as np

from gan_transfer import callbacks, errors

COVERAGE = "mode_coverage"
_LOWEST = 1 / 3  # of what real images cover
_FALL = 1 / 2  # of the best coverage of the run so far
_PATIENCE = 3  # evaluations in a row
_RISE = 1.1  # a run that rises by a tenth over its last two goes on


def effective_classes(probabilities: np.ndarray) -> float:
    """How many classes images fill: exp H(mean p) (document E 6).

    1 if all are of one class for certain, K if K classes are equally frequent.

    Args:
        probabilities: of a classifier, `[N, K]`, rows that sum to 1.
    """
    mean = np.asarray(probabilities, np.float64).mean(axis=0)
    seen = mean[mean > 0]
    return float(np.exp(-np.sum(seen * np.log(seen))))


def spread(features: np.ndarray) -> float:
    """Root mean square distance of two images' features: sqrt(2 tr Cov) (E 6).

    Args:
        features: `[N, D]`, N at least 2.
    """
    values = np.asarray(features, np.float64)
    return float(np.sqrt(2.0 * values.var(axis=0, ddof=1).sum()))


def mode_coverage(
    real: np.ndarray,
    fake: np.ndarray,
    real_probabilities: np.ndarray | None = None,
    fake_probabilities: np.ndarray | None = None,
) -> float:
    """Share of the real images' variety that samples have (documents E 3.3, E 6).

    The smaller of two ratios, samples to real images: `spread`, and
    `effective_classes` where a classifier exists. About 1 for a good generator, 0 if it
    makes one image, 1 / K if it makes one of K classes.

    Args:
        real: features `[N, D]`, N at least 2.
        fake: features `[M, D]`, M at least 2.
        real_probabilities: of a classifier, `[N, K]`; None without one.
        fake_probabilities: likewise, `[M, K]`.
    """
    ratios = [spread(fake) / max(spread(real), 1e-12)]
    if real_probabilities is not None:
        classes = effective_classes(real_probabilities)
        ratios.append(effective_classes(fake_probabilities) / classes)
    return min(ratios)


def collapsed(coverages: Sequence[float]) -> bool:
    """Whether a run with these mode coverages has collapsed (document E 3.3).

    True if each of the last three is below a third, or below half of the best before
    it (of 1 where that is more), and none of them rises by a tenth over the two before
    it. The rise is what tells a run that has hardly begun, or that recovers from a dip,
    from one that is stuck; the first is never counted.

    Args:
        coverages: `mode_coverage` of every evaluation so far.
    """
    if len(coverages) <= _PATIENCE:
        return False
    for index in range(len(coverages) - _PATIENCE, len(coverages)):
        best, now = max(coverages[:index]), coverages[index]
        recent = max(coverages[max(0, index - _PATIENCE + 1) : index])
        if now >= max(_LOWEST, _FALL * min(best, 1.0)) or now > _RISE * recent:
            return False
    return True


class CollapseGuard(keras.callbacks.Callback):
    """Stop a run whose generator makes the same few images (document E 3.3).

    Adds `mode_coverage` to the logs of every epoch. The history of the run directory
    decides, so a run that was killed and continued is judged like one that was not;
    only the phase's own, since a phase may begin with other weights (`strategies`).

    Args:
        directory: the run directory.
        measure: returns the `mode_coverage` of fresh samples.
        remedy: a flag that may help, for the message.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        measure: Callable[[], float],
        remedy: str = "--penalty=r1",
    ):
        super().__init__()
        self.remedy = remedy
        self.directory = pathlib.Path(directory)
        self.measure = measure

    def on_epoch_end(self, epoch, logs=None):
        """Measure and judge, before the epoch's state is saved.

        Raises:
            Collapsed: see `collapsed`.
        """
        logs[COVERAGE] = self.measure()
        rows = callbacks.read_history(self.directory)
        seen = [
            row[COVERAGE]
            for row in rows
            if COVERAGE in row and row["step"] > self.model.phase_start
        ]
        if collapsed([*seen, logs[COVERAGE]]):
            raise errors.Collapsed(
                f"training collapsed: at update {int(self.model.updates.numpy())} the "
                f"samples have {logs[COVERAGE]:.0%} of the real images' variety, for "
                f"{_PATIENCE} evaluations; the state of the epoch before is kept; try "
                f"a lower --learning_rate, {self.remedy} or another --loss"
            )
