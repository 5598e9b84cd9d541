"""Tasks, networks and trainings of the restoration study (documents D 3.2, D 5).

Every method costs as much: the number of gradients of ten images, a second derivative
counted as two gradients. The meta-learned starts begin with plain pretraining, three
quarters of that.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

# Model -> family as the meta-database names it; the default first.
FAMILIES = {
    "meta_cnn": "CNN",
    "meta_nn": "NN",
    "meta_iterative": "CIR",
    "meta_sparse": "SR",
    "restorer_gray": "CNN",
}
MODELS = tuple(FAMILIES)
TOLD_MODELS = ("meta_cnn", "meta_nn")
LEVEL_MODELS = ("meta_sparse", "restorer_gray")
INNER = {"all": ".*", "head": "head_.*", "gains": ".*_gain"}
# Models that have such layers.
INNER_MODELS = {
    "all": MODELS,
    "head": ("meta_cnn", "meta_nn", "meta_sparse", "restorer_gray"),
    "gains": ("meta_cnn", "restorer_gray"),
}
SIZE, SHOTS, QUERY = 32, 10, 14
INNER_STEPS, TASKS = 4, 4
# Largest values of the descriptor's numbers, in their order in the vector.
_LARGEST = {
    "sigma": 60 / 255,
    "blur_xx": 2.4**2,
    "blur_yy": 2.4**2,
    "blur_xy": 2.4**2 / 2,
    "impulses": 0.6,
    "jpeg": 1.0,
    "missing": 0.8,
    "strokes": 0.35,
}
_WARM = 0.75
# Adam moves the logarithm of a layer's rate about as far as a weight: at one rate for
# both, the layers' rates would hardly change within a training.
_RATES_FACTOR = 50.0


@dataclasses.dataclass(frozen=True, eq=False)
class Held:
    """A `tasks.Task` whose examples are in memory: inputs of the network, clean."""

    name: str
    group: str
    descriptor: dict
    arrays: tuple[np.ndarray, ...]
    kind: str = "restoration"

    def __len__(self) -> int:
        return len(self.arrays[0])

    def examples(self, numbers) -> tuple[np.ndarray, ...]:
        """Some of the examples."""
        return tuple(array[numbers] for array in self.arrays)

    def told(self) -> "Held":
        """The same with the descriptor as another input."""
        row = np.float32(
            [self.descriptor[name] / largest for name, largest in _LARGEST.items()]
        )
        rows = np.tile(row, (len(self), 1))
        arrays = (*self.arrays[:-1], rows, self.arrays[-1])
        return dataclasses.replace(self, arrays=arrays)

    def levelled(self) -> "Held":
        """The same with estimated noise level and empty mask as further inputs."""
        damaged, clean = self.arrays
        level = np.broadcast_to(noise_level(damaged), damaged.shape)
        arrays = (damaged, np.ascontiguousarray(level), np.zeros_like(damaged), clean)
        return dataclasses.replace(self, arrays=arrays)


def noise_level(images: np.ndarray) -> np.ndarray:
    """Noise level by the median of diagonal Haar details (Donoho and Johnstone 1994).

    Args:
        images: `[N, H, W, 1]`, even sides.

    Returns:
        float32 `[N, 1, 1, 1]`.
    """
    details = images[:, ::2, ::2] - images[:, 1::2, ::2]
    details = (details - images[:, ::2, 1::2] + images[:, 1::2, 1::2]) / 2
    size = np.median(np.abs(details), axis=(1, 2, 3), keepdims=True)
    return np.float32(size / 0.6745)


def draw(pictures: list, part: str, count: int, seed: int, model: str) -> list[Held]:
    """Tasks of a part, with the inputs that the model takes."""
    from restoration import tasks

    drawn = tasks.draw(
        {"photographs": pictures},
        part,
        count,
        size=SIZE,
        examples=SHOTS + QUERY,
        seed=seed,
    )
    found = []
    for task in drawn:
        arrays = task.examples(range(len(task)))
        held = Held(task.name, task.group, dict(task.descriptor), arrays)
        found.append(held.levelled() if model in LEVEL_MODELS else held)
    return found


def build(model: str, inner: str, *, told: bool = False, untrained: bool = False):
    """The network to train.

    Args:
        model: of `MODELS`; `restorer_gray` is the shipped restorer with its weights.
        inner: of `INNER`; `gains` puts a gain behind every convolution.
        told: whether it takes the descriptor too.
        untrained: `restorer_gray` without its weights.
    """
    import keras

    from restoration import meta_networks, networks, pretrained

    if model == "restorer_gray":
        network = pretrained.load(model)
        if untrained:
            network = keras.models.clone_model(network)
    else:
        arguments = {"descriptor": len(_LARGEST)} if told else {}
        network = getattr(meta_networks, model)(**arguments)
    return networks.with_gains(network) if inner == "gains" else network


@dataclasses.dataclass(frozen=True)
class Training:
    """A way to train a start: procedure and budget.

    Attributes:
        kind: class in `meta_learning`.
        inner_steps: 0 = plain pretraining.
        inner_batch: examples per inner step, None = all.
        told: whether the network takes the descriptor.
        share: of the budget; the meta-learned starts begin where `warm` ended.
        rate: of the inner steps, by SGD: Adam's first is as long for every weight and
            whatever the fit. The command may give MAML another.
        peak: highest rate of the updates.
    """

    kind: str
    inner_steps: int
    inner_batch: int | None = None
    told: bool = False
    share: float = 1.0
    rate: float = 0.005
    peak: float = 2e-3

    def gradients(self, second_order: bool) -> int:
        """Gradients of ten images that a task of an update costs."""
        if self.kind == "Reptile":
            return self.inner_steps
        return self.inner_steps * (3 if second_order else 1) + 1

    def updates(self, steps: int, second_order: bool) -> int:
        """Updates that cost as much as `steps` of first-order MAML."""
        cost = self.gradients(second_order)
        return max(1, round(self.share * steps * (INNER_STEPS + 1) / cost))


TRAININGS = {
    "pretraining": Training("MAML", 0),
    "descriptor": Training("MAML", 0, told=True),
    "warm": Training("MAML", 0, share=_WARM),
    "maml": Training("MAML", INNER_STEPS, share=1 - _WARM, peak=5e-4),
    "reptile": Training("Reptile", INNER_STEPS + 1, SHOTS, share=1 - _WARM, peak=5e-4),
}


def objective():
    """What all trainings and adaptations minimise."""
    from gan_transfer import inner_loop
    from restoration import supervised

    return inner_loop.supervised(supervised.root_mean_square)


def learner(method: str, network, seed: int):
    """The procedure of a training, not yet compiled."""
    from gan_transfer import meta_learning

    return getattr(meta_learning, TRAININGS[method].kind)(network, seed=seed)


def train(
    method: str,
    learner,
    tasks: list[Held],
    folder: pathlib.Path,
    *,
    inner: str,
    inner_rate: float | None,
    second_order: bool,
    steps: int,
    evaluations: int,
    seed: int,
    verbose,
) -> list[dict]:
    """Train a start, or go on with it; its history's rows."""
    from gan_transfer import schedule

    way = TRAININGS[method]
    updates = way.updates(steps, second_order)
    epoch_steps = -(-updates // evaluations)
    shown = SHOTS * TASKS * way.gradients(False)
    tasks = [task.told() for task in tasks] if way.told else tasks
    return schedule.train(
        learner,
        [schedule.Phase(method, 1.0, lambda: None)],
        lambda phase: _compile(
            method, learner, inner, inner_rate, second_order, epoch_steps * evaluations
        ),
        _batches(way, tasks, seed),
        folder,
        epochs=evaluations,
        epoch_steps=epoch_steps,
        images_per_step=shown,
        verbose=verbose,
    )


def _compile(method, learner, inner, inner_rate, second_order, updates) -> None:
    from gan_transfer import transfer
    from restoration import supervised

    way, factors = TRAININGS[method], {}
    extra = {"inner_batch": way.inner_batch}
    if method == "maml":
        extra |= {"learned_rates": True, "first_order": not second_order}
        way = dataclasses.replace(way, rate=inner_rate or way.rate)
        factors = {learner.log_rates.path: _RATES_FACTOR}
    rate = supervised.Cosine(way.peak, updates, warm_up=20)
    learner.compile(
        transfer.LayerwiseAdam(factors, learning_rate=rate, global_clipnorm=1.0),
        objective(),
        inner_rates={INNER[inner]: way.rate},
        inner_steps=way.inner_steps,
        **extra,
    )


def _batches(way: Training, tasks: list[Held], seed: int) -> Callable:
    import tensorflow as tf

    from gan_transfer import tasks as meta_tasks

    def meta(start):
        return meta_tasks.batches(tasks, TASKS, SHOTS, SHOTS, seed=seed, start=start)

    def mixed(start):
        """As many images, each of another task, as the query of a single one."""
        count = TASKS * SHOTS
        stream = meta_tasks.batches(tasks, count, 1, 0, seed=seed, start=start)

        def one(support, query):
            return (tuple(tf.squeeze(part, 1)[None] for part in support),) * 2

        return stream.map(one)

    return meta if way.inner_steps else mixed
