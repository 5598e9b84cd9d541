"""Pretraining and Reptile of a GAN or CycleGAN, at equal compute (document D 3.1).

Every method costs as many gradients of an image: `pretrain` takes all updates, Reptile
starts from a pretraining with half of them and spends as much on meta-updates.
"""

import pathlib
from collections.abc import Callable

from experiments.support import flags, meta_characters, meta_study

METHODS = ("scratch", "pretrain", "reptile")
# Of a meta-update: tasks, inner steps, images of a batch, outer rate.
TASKS, INNER_STEPS, BATCH, OUTER_RATE = 4, 10, 10, 0.5
_WARM = "warm_up"


def learner(gan):
    """What meta-trains a compiled GAN or CycleGAN, and adapts it to a task."""
    from gan_transfer import few_shot

    procedure = few_shot.ReptileProcedure(gan)
    procedure.compile(OUTER_RATE, INNER_STEPS)
    return procedure


def start(
    method: str,
    gan,
    compile_gan: Callable[[], None],
    plain: Callable,
    tasks: list,
    steps: int,
    folder: Callable[[str], pathlib.Path],
) -> None:
    """Train a method's start, or go on with it; nothing is trained for `scratch`.

    Args:
        method: of `METHODS`.
        gan: a `training.Procedure` with random or with pretrained weights.
        compile_gan: gives it fresh optimizers.
        plain: first update -> batches of `--batch_size` for ordinary training steps.
        tasks: of `gan_transfer.tasks`, for Reptile.
        steps: updates of `pretrain`.
        folder: from the name of a training to where it is kept.
    """
    if method == "reptile":
        _train(_WARM, gan, compile_gan, plain, tasks, steps, folder(_WARM))
    if method != "scratch":
        _train(method, gan, compile_gan, plain, tasks, steps, folder(method))


def _train(name, gan, compile_gan, plain, tasks, steps, folder) -> None:
    from gan_transfer import few_shot, schedule

    batch, epochs = flags.BATCH_SIZE.value, flags.EVALUATIONS.value
    model, per_update, batches = gan, batch, plain
    if name == "reptile":
        model, per_update = few_shot.ReptileProcedure(gan), TASKS * INNER_STEPS * BATCH
        batches = _meta_batches(tasks, gan.seed)
    share = 1.0 if name == "pretrain" else 0.5
    updates = meta_characters.updates(share * steps, batch, per_update)

    def compile_phase(phase):
        compile_gan()
        if name == "reptile":
            model.compile(OUTER_RATE, INNER_STEPS)

    schedule.train(
        model,
        [schedule.Phase("all", 1.0, lambda: None)],
        compile_phase,
        batches,
        folder,
        epochs=epochs,
        epoch_steps=-(-updates // epochs),
        images_per_step=per_update,
        verbose=2 if flags.VERBOSE.value else 0,
    )
    meta_study.save_networks(folder, gan)


def _meta_batches(tasks: list, seed: int) -> Callable:
    """Two batches of every task, `[TASKS, 2, BATCH, ...]`."""
    import tensorflow as tf

    from gan_transfer import tasks as meta_tasks

    def reshaped(support, query):
        parts = tuple(
            tf.reshape(part, (TASKS, 2, BATCH, *part.shape[-3:])) for part in support
        )
        return parts[0] if len(parts) == 1 else parts

    return lambda start: meta_tasks.batches(
        tasks, TASKS, 2 * BATCH, 0, seed=seed, start=start
    ).map(reshaped)
