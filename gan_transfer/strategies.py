"""Training strategies: sparse training, two-stage training (document E 2(4)).

Document E names both and says no more. Sparse: a network with a share of its weights,
found by magnitude with rewind (`tickets`, `prune`) or moved about during training
(`dynamic`). Two stages: find a sparse network, then train it anew with augmentation
(`phases`). What is masked, and how training obeys, is in `sparsity`.
"""

import functools
import math

import numpy as np

from gan_transfer import errors, schedule, training
from gan_transfer import sparsity as sparse

NAMES = ("dense", "pruned", "two_stage", "dynamic_sparse")


def dynamic(
    procedure: training.Procedure,
    densities: dict[str, float],
    *,
    updates: int,
    every: int = 100,
    first: float = 0.3,
    distribution: str = "erk",
) -> None:
    """Dynamic sparse training: random masks that move, RigL (document E 2(4)).

    The masks are drawn from the procedure's seed and the number of ones of each kernel
    never changes. Call it before `compile`.

    Args:
        procedure: gets masks as weights, and `sparsity`.
        densities: network name -> share of kernel weights kept, in (0, 1].
        updates: of the whole run.
        every: steps of a network's optimizer between two moves.
        first: share of the ones moved at the start, see `sparsity.Rewiring`.
        distribution: see `sparsity.layer_budgets`.

    Raises:
        InputError: a density out of range, or a network without maskable kernels.

    Source: RigL, Evci et al., ICML 2020; for GANs STU-GAN, Liu et al., "Don't Be So
    Dense: Sparse-to-Sparse GAN Training Without Sacrificing Performance", 2022.
    """
    masked = sparse.masks(procedure, densities)
    generator = np.random.default_rng(procedure.seed)
    for name, group in sparse.by_network(masked).items():
        shapes = [tuple(each.mask.shape) for each in group]
        budgets = sparse.layer_budgets(shapes, densities[name], distribution)
        for each, budget in zip(group, budgets, strict=True):
            ones = np.arange(math.prod(each.mask.shape)) < budget
            each.mask.assign(generator.permutation(ones).reshape(each.mask.shape))
    procedure.sparsity = sparse.Sparsity(masked, sparse.Rewiring(every, updates, first))
    procedure.sparsity.enforce()


def tickets(procedure: training.Procedure, densities: dict[str, float]) -> None:
    """Make `procedure` ready for `prune`: masks of ones, first values (E 2(4)).

    The first values of all weights, batch norm and averages included, become weights of
    the procedure, at the cost of one more copy of its networks. Call it before
    `compile`.

    Args:
        procedure: gets masks and first values as weights, and `sparsity`.
        densities: network name -> share that the last `prune` is to keep, (0, 1]; only
            checked here, before any training.

    Raises:
        InputError: a density out of range, or a network without maskable kernels.
    """
    masked = sparse.masks(procedure, densities)
    start = []
    for weight in [w for network in procedure.layers for w in network.weights]:
        first = procedure.add_weight(
            name=f"first_{weight.path.replace('/', '_')}",
            shape=weight.shape,
            dtype=weight.dtype,
            initializer="zeros",
            trainable=False,
        )
        first.assign(weight)
        start.append((weight, first))
    rewound = procedure.add_weight(
        name="rewound",
        shape=(),
        dtype=procedure.updates.dtype,
        initializer="zeros",
        trainable=False,
    )
    procedure.sparsity = sparse.Sparsity(masked, start=tuple(start), rewound=rewound)


def prune(procedure: training.Procedure, densities: dict[str, float]) -> None:
    """Keep the largest weights, rewind them to their first values (document E 2(4)).

    In each network the round(density N) largest |w| of all its N masked weights stay,
    none that was pruned before; then every weight of every network returns to its value
    at `tickets`, pruned ones to 0. An average is masked when it next moves, and warms
    up as at the start. Call `compile` afterwards: the optimizers must be fresh.

    Source: Frankle and Carbin, "The Lottery Ticket Hypothesis", ICLR 2019.
    """
    sparsity = procedure.sparsity
    for name, group in sparse.by_network(sparsity.masked).items():
        masks = [each.mask.numpy() for each in group]
        sizes = [np.abs(each.layer.kernel.numpy()) for each in group]
        flat = [np.where(m, s, -1).ravel() for m, s in zip(masks, sizes, strict=True)]
        flat = np.concatenate(flat)
        keep = np.zeros(len(flat), bool)
        count = round(densities[name] * len(flat))
        keep[np.argsort(-flat, kind="stable")[:count]] = True
        parts = np.split(keep, np.cumsum([mask.size for mask in masks])[:-1])
        for each, part, mask in zip(group, parts, masks, strict=True):
            each.mask.assign(part.reshape(mask.shape) & mask)
    for weight, first in sparsity.start:
        weight.assign(first)
    sparsity.rewound.assign(procedure.updates)
    sparsity.enforce()


def phases(
    name: str,
    procedure: training.Procedure,
    share: float = 0.3,
    *,
    updates: int,
    rounds: int = 2,
) -> list[schedule.Phase]:
    """The phases of a training strategy, for `schedule.train` (document E 2(4)).

    - `dense`: one phase, no masks.
    - `dynamic_sparse`: one phase with masks that move, see `dynamic`.
    - `pruned`: iterative magnitude pruning with rewind. `rounds` + 1 phases from the
      same first weights, of equal length where the evaluations divide by their number;
      before round r the networks keep a share of share^(r / rounds). Only the last
      phase's states may become the best.
    - `two_stage`: the same, where the search runs without the augmentation of the
      settings and the last phase with it. Source: Chen et al., "Data-Efficient GAN
      Training Beyond (Just) Augmentations: A Lottery Ticket Perspective", NeurIPS 2021
      (20 % per round; their augmentation of features is left out).

    Args:
        name: one of `NAMES`.
        procedure: not compiled yet; gets the masks of its strategy.
        share: of the kernel weights of every network that the result keeps, (0, 1].
        updates: of the whole run.
        rounds: of pruning, 1 or more.

    Raises:
        InputError: an unknown name, a share out of range, nothing to prune.
    """
    wanted = dict.fromkeys(procedure.networks(), share)
    if name == "dense":
        return [schedule.Phase(name, 1.0, lambda: None)]
    if name == "dynamic_sparse":
        dynamic(procedure, wanted, updates=updates)
        return [schedule.Phase(name, 1.0, lambda: None)]
    if name not in NAMES:
        raise errors.InputError(
            f"no training strategy called {name!r}; there are {', '.join(NAMES)}"
        )
    tickets(procedure, wanted)

    def phase(number: int) -> schedule.Phase:
        kept, last = share ** (number / rounds), number == rounds
        pruning = functools.partial(prune, procedure, dict.fromkeys(wanted, kept))
        return schedule.Phase(
            f"{name}, {kept:.2f} of the weights",
            1.0 / (rounds + 1),
            pruning if number else lambda: None,
            augmented=last or name == "pruned",
            candidate=last,
        )

    return [phase(number) for number in range(rounds + 1)]
