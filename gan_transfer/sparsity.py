"""Sparse networks: masks that training obeys, measured density (document E 2(4)).

A mask per kernel, which gradient, optimizer slots and weight average obey, so that
masked weights stay exactly 0; `strategies` makes the masks. Masked are the kernels of
dense and convolution layers, of rank 2 or more, except in the stage `head`, whose few
weights make the image or the score, and in layers that are frozen when the masks are
made. Masks are weights of the procedure: a killed run resumes with them bit for bit.
"""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from gan_transfer import errors, training, transfer

# Where Adam, RMSprop and SGD keep what they remember of each weight.
_SLOTS = ("_momentums", "_velocities", "momentums")


def kernels(network: keras.Model) -> list[keras.layers.Layer]:
    """Layers of `network` whose kernels may be masked, in data order (E 2(4))."""
    return [
        layer
        for layer in network.layers
        if len(getattr(getattr(layer, "kernel", None), "shape", ())) >= 2
        and transfer.stage_of(layer) != "head"
    ]


def density(procedure: training.Procedure) -> dict[str, float]:
    """Share of non-zero weights in the `kernels` by network, measured (E 2(4))."""
    shares = {}
    for name, network in procedure.networks().items():
        found = [layer.kernel.numpy() for layer in kernels(network)]
        if found:
            nonzero = sum(np.count_nonzero(kernel) for kernel in found)
            shares[name] = float(nonzero / sum(kernel.size for kernel in found))
    return shares


def layer_budgets(
    shapes: list[tuple[int, ...]], share: float, distribution: str
) -> list[int]:
    """Weights that each kernel keeps; together round(share * all) (document E 2(4)).

    `uniform` keeps the same share of every kernel. `erk` (Erdos-Renyi-Kernel) keeps
    e (n_in + n_out + h + w) weights of a kernel, or all where it has no more, with one
    e for all kernels: small ones stay denser. Source: Evci et al., "Rigging the
    Lottery", ICML 2020.

    Raises:
        InputError: an unknown distribution, or a kernel would keep nothing.
    """
    if distribution not in ("uniform", "erk"):
        raise errors.InputError(
            f"distribution {distribution!r} is not one of uniform, erk"
        )
    sizes = np.array([math.prod(shape) for shape in shapes])
    parts = sizes if distribution == "uniform" else np.array([sum(s) for s in shapes])
    total = round(share * int(sizes.sum()))
    free, exact = np.ones(len(sizes), bool), sizes.astype(float)
    while free.any():
        left = total - sizes[~free].sum()
        exact = np.where(free, left * parts / parts[free].sum(), sizes)
        full = free & (exact >= sizes)
        if not full.any():
            break
        free &= ~full
        exact = np.where(full, sizes, exact)
    whole = np.floor(exact).astype(int)
    rest = total - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:rest]] += 1
    if (whole == 0).any():
        raise errors.InputError(
            f"density {share} leaves a kernel of shape {shapes[int(whole.argmin())]} "
            "without a weight; raise --density"
        )
    return whole.tolist()


def _ranks(values: tf.Tensor) -> tf.Tensor:
    """Place of each of `[N]` values from the largest on; ties in order of position."""
    order = tf.argsort(values, direction="DESCENDING", stable=True)
    return tf.math.invert_permutation(order)


def rewired(
    mask: tf.Tensor, kernel: tf.Tensor, gradient: tf.Tensor, fraction: tf.Tensor
) -> tf.Tensor:
    """The next mask of RigL, with as many ones as `mask` (document E 2(4)).

    Of n ones the k = floor(fraction n) with the smallest |w| are dropped; then the k
    positions outside the other n - k with the largest |gradient| are set, those just
    dropped among them. Source: Evci et al., "Rigging the Lottery", ICML 2020.

    Args:
        mask: bool, of the kernel's shape.
        kernel: the weights, 0 outside the mask.
        gradient: of the loss by the kernel, its masked part included.
        fraction: float32 scalar in [0, 1].
    """
    active = tf.reshape(mask, [-1])
    count = tf.reduce_sum(tf.cast(active, tf.int32))
    moved = tf.cast(fraction * tf.cast(count, tf.float32), tf.int32)
    magnitudes = tf.abs(tf.reshape(kernel, [-1]))
    kept = _ranks(tf.where(active, magnitudes, -1.0)) < count - moved
    slopes = tf.abs(tf.reshape(gradient, [-1]))
    # A float16 gradient may overflow, and NaN has no place in an order.
    slopes = tf.where(tf.math.is_finite(slopes), slopes, 0.0)
    grown = _ranks(tf.where(kept, -1.0, slopes)) < moved
    return tf.reshape(kept | grown, tf.shape(mask))


@dataclasses.dataclass(frozen=True)
class Rewiring:
    """When and how much of a mask moves in dynamic sparse training (document E 2(4)).

    Attributes:
        every: steps of a network's optimizer between two moves.
        updates: of the whole run.
        first: share of the ones moved at the start; it falls along half a cosine,
            first / 2 (1 + cos(pi t / updates)), to 0 at the end.
    """

    every: int
    updates: int
    first: float = 0.3

    def fraction(self, updates: tf.Tensor) -> tf.Tensor:
        """Share of the ones that moves after `updates` updates, float32 scalar."""
        done = tf.minimum(tf.cast(updates, tf.float32) / self.updates, 1.0)
        return 0.5 * self.first * (1.0 + tf.cos(math.pi * done))


@dataclasses.dataclass(frozen=True)
class Masked:
    """A layer, its network's name and the mask (bool weight) of its kernel (E 2(4))."""

    network: str
    layer: keras.layers.Layer
    mask: keras.Variable


class Sparsity:
    """Masks of a procedure, obeyed in each of its steps (document E 2(4)).

    Attributes:
        masked: the masked layers.
        rewiring: how the masks move, None for masks that stay.
        start: pairs (weight, its first value) of all networks, for rewinding.
        rewound: update at which they were last set back, None without `start`.
    """

    def __init__(
        self,
        masked: list[Masked],
        rewiring: Rewiring | None = None,
        start: tuple[tuple[keras.Variable, keras.Variable], ...] = (),
        rewound: keras.Variable | None = None,
    ):
        self.masked, self.rewiring, self.start = masked, rewiring, start
        self.rewound = rewound
        self._by_kernel = {id(each.layer.kernel): each for each in masked}

    def age(self, updates: tf.Tensor) -> tf.Tensor:
        """Updates that the weights have behind them: since they were last rewound."""
        return updates if self.rewound is None else updates - self.rewound

    def enforce(self) -> None:
        """Set the masked weights to 0."""
        for each in self.masked:
            kernel = each.layer.kernel
            kernel.assign(tf.where(each.mask, kernel, 0.0))

    def step(self, optimizer, gradients, variables, updates: tf.Tensor) -> None:
        """`optimizer.apply` with masked gradients, then move the masks if it is time.

        A weight whose gradient was always 0 has slots of 0 and does not move, so the
        masks hold for Adam's slots too. A position set anew starts at 0 with slots 0.
        """
        found = [self._by_kernel.get(id(variable)) for variable in variables]
        allowed = [
            gradient if each is None else tf.where(each.mask, gradient, 0.0)
            for each, gradient in zip(found, gradients, strict=True)
        ]
        optimizer.apply(allowed, variables)
        moving = [pair for pair in zip(found, gradients, strict=True) if pair[0]]
        if self.rewiring is None or not moving:
            return
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            replica = tf.distribute.get_replica_context()
            sums = replica.all_reduce("SUM", [gradient for _, gradient in moving])
            moving = [(each, s) for (each, _), s in zip(moving, sums, strict=True)]
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        fraction = self.rewiring.fraction(updates)

        def move():
            for each, gradient in moving:
                _move(each, gradient, fraction, optimizer)
            return True

        due = tf.equal(optimizer.iterations % self.rewiring.every, 0)
        tf.cond(due, move, lambda: True)

    def mask_average(self, network: keras.Model, averaged: keras.Model) -> None:
        """Make an averaged network as sparse as its network."""
        for layer, other in zip(network.layers, averaged.layers, strict=True):
            each = self._by_kernel.get(id(getattr(layer, "kernel", None)))
            if each is not None:
                other.kernel.assign(tf.where(each.mask, other.kernel, 0.0))


def _move(each: Masked, gradient, fraction, optimizer) -> None:
    kernel, old = each.layer.kernel, tf.convert_to_tensor(each.mask)
    new = rewired(old, tf.convert_to_tensor(kernel), gradient, fraction)
    number = optimizer._get_variable_index(kernel)
    lists = [getattr(optimizer, name, None) for name in _SLOTS]
    for variable in [kernel, *(slots[number] for slots in lists if slots)]:
        variable.assign(tf.where(old & new, variable, 0.0))
    each.mask.assign(new)


def masks(procedure: training.Procedure, wanted: dict[str, float]) -> list[Masked]:
    """Masks of ones for the kernels of some networks, as weights (document E 2(4)).

    Args:
        procedure: gets the weights; `Sparsity` makes it obey them.
        wanted: network name -> share of the weights to be kept, only checked here.

    Raises:
        InputError: a share out of range, or a network without maskable kernels.
        RuntimeError: the procedure has masks.
    """
    if procedure.sparsity is not None:
        raise RuntimeError(f"this {type(procedure).__name__} has masks already")
    for name, share in wanted.items():
        if not 0 < share <= 1:
            raise errors.InputError(
                f"density {share} of {name} is not above 0 and at most 1"
            )
        if not any(each.trainable for each in kernels(procedure.networks()[name])):
            raise errors.InputError(
                f"{name} has no kernel to prune outside its head and frozen layers; "
                "train it dense, or unfreeze some"
            )
    return [
        Masked(
            name,
            layer,
            procedure.add_weight(
                name=f"{name}_{layer.name}_mask",
                shape=layer.kernel.shape,
                dtype="bool",
                initializer="ones",
                trainable=False,
            ),
        )
        for name in wanted
        for layer in kernels(procedure.networks()[name])
        if layer.trainable
    ]


def by_network(masked: list[Masked]) -> dict[str, list[Masked]]:
    """The masked layers of each network, in data order (document E 2(4))."""
    names = dict.fromkeys(each.network for each in masked)
    return {name: [m for m in masked if m.network == name] for name in names}
