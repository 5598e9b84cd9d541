"""Trainings of the few-shot VAE, each at equal gradients per image (document D 3.1)."""

import dataclasses
import pathlib

from experiments.support import flags, meta_characters, meta_study

INNER_RATE, INNER_BATCH = 3e-4, 10


@dataclasses.dataclass(frozen=True)
class Training:
    """A way to train a start: procedure and budget.

    Attributes:
        share: of the budget; what has half of it starts from WARM, plain pretraining
            for the other half: from random weights it is far behind.
        kind: class in `meta_learning`.
        inner_steps: 0 = no adaptation.
        tasks: characters of an update, 0 = plain pretraining on images of all.
        support, query: examples of each.
    """

    share: float = 0.5
    kind: str = "MAML"
    inner_steps: int = 0
    tasks: int = 0
    support: int = 1
    query: int = 0

    def gradients(self) -> int:
        """Gradients of an image that an update costs."""
        if not self.tasks:
            return flags.BATCH_SIZE.value
        if self.kind == "Reptile":
            return self.tasks * self.inner_steps * INNER_BATCH
        return self.tasks * (self.inner_steps * self.support + self.query)


WARM = "warm_up"
TRAININGS = {
    "pretrain": Training(1.0),
    WARM: Training(),
    "maml": Training(inner_steps=5, tasks=4, support=5, query=15),
    "reptile": Training(kind="Reptile", inner_steps=8, tasks=4, support=5, query=15),
    "context": Training(tasks=4, query=14),
}
_EXAMPLES = 10  # the most that a network given examples sees


def _outer(kind: str, steps: int):
    """The meta-optimizer: for Reptile its outer rate, falling from 1 to 0.01."""
    import keras

    if kind == "Reptile":
        rate = keras.optimizers.schedules.PolynomialDecay(1.0, steps, 0.01)
        return keras.optimizers.SGD(rate)
    rate = keras.optimizers.schedules.CosineDecay(
        flags.LEARNING_RATE.value, steps, alpha=0.01
    )
    return keras.optimizers.Adam(rate)


def train(
    network,
    method: str,
    split,
    folder: pathlib.Path,
    *,
    steps: int,
    adapting: tuple[str, ...],
) -> None:
    """Train a start in place, or go on with it, and keep its network.

    Args:
        network: as the training begins.
        method: of `TRAININGS`.
        split: a `meta_characters.Split`.
        folder: of the cell.
        steps: updates that plain pretraining with the whole budget takes.
        adapting: patterns of the layers that adapt.
    """
    from gan_transfer import few_shot_vae, meta_learning, schedule

    way, epochs = TRAININGS[method], flags.EVALUATIONS.value
    learner = getattr(meta_learning, way.kind)(network, seed=split.seed)
    latent_dim = network.inputs[1].shape[-1]
    objective = few_shot_vae.MinusBound(latent_dim)
    if method == "context":
        objective = few_shot_vae.ContextBound(latent_dim, _EXAMPLES)
    updates = meta_characters.updates(
        way.share * steps, flags.BATCH_SIZE.value, way.gradients()
    )
    epoch_steps = -(-updates // epochs)

    def compile_phase(phase):
        learner.compile(
            _outer(way.kind, epochs * epoch_steps),
            objective,
            inner_rates=dict.fromkeys(adapting, INNER_RATE),
            inner_steps=way.inner_steps,
            inner_batch=INNER_BATCH if way.kind == "Reptile" else None,
            inner_optimizer="adam",
            first_order=True,
        )

    schedule.train(
        learner,
        [schedule.Phase("all", 1.0, lambda: None)],
        compile_phase,
        lambda start: _batches(way, split, start),
        folder,
        epochs=epochs,
        epoch_steps=epoch_steps,
        images_per_step=way.gradients(),
        verbose=2 if flags.VERBOSE.value else 0,
    )
    meta_study.save_networks(folder, learner)


def _batches(way: Training, split, start: int):
    from gan_transfer import data, tasks

    if way.tasks:
        counts = way.tasks, way.support, way.query
        return tasks.batches(split.rotated(), *counts, seed=split.seed, start=start)
    # One "task" of images of all characters: plain training.
    stream = data.batches(
        split.drawings(), flags.BATCH_SIZE.value, seed=split.seed, start=start
    )
    return stream.map(lambda images: ((images[None, :1],), (images[None],)))
