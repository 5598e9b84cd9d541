"""How a cyclic minimisation converged: the plot beside a restored picture (D 2.3)."""

import os
from collections.abc import Sequence

from experiments.support import figures

_SHOWN = {
    "misfit": "misfit: restored and damaged again, against the input",
    "change": "change since the iteration before",
    "gap": "gap between data step and prior step",
}


def write(
    path: str | os.PathLike[str], name: str, record: Sequence[dict[str, float]]
) -> None:
    """Writes misfit, change and gap of every iteration as a PNG.

    Args:
        path: the file to write.
        name: of the picture, for the title.
        record: of `restoration.iterative.minimise`.
    """
    numbers = [each["iteration"] for each in record]
    figures.curves(
        path,
        {
            label: (numbers, [each[key] for each in record], None)
            for key, label in _SHOWN.items()
        },
        f"{name}: convergence in {len(record)} iterations",
        "iteration",
        "root mean square, pixels on a scale from 0 to 1",
        log=True,
    )
