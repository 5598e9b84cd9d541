"""Training in phases of fixed flags, resumable (documents A 3.1, E 2(4)).

`compile` fixes the trainable flags, so each phase sets them, compiles with fresh
optimizers and runs `fit`; the full state is saved after every epoch.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable

import keras
import tensorflow as tf

from gan_transfer import callbacks, errors, regularization, training


@dataclasses.dataclass(frozen=True)
class Phase:
    """One stretch of training with fixed flags (document A 3.1).

    Attributes:
        name: for the log.
        share: part of the steps, in (0, 1]; a recipe's shares sum to 1.
        prepare: sets the flags; called right before `compile`.
        rates: learning-rate rules per network, layer pattern -> multiplier.
        anchors: L2 to the source per network.
        generator_terms: added to a GAN's generator loss, see `adversarial.GAN.compile`.
        images_per_step: real images one update looks at; None: the run's number.
        augmented: False leaves out the augmentation of the settings.
        candidate: False keeps the phase's states from becoming the best so far.
    """

    name: str
    share: float
    prepare: Callable[[], None]
    rates: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    anchors: dict[str, regularization.L2ToSource] = dataclasses.field(
        default_factory=dict
    )
    generator_terms: tuple[Callable, ...] = ()
    images_per_step: int | None = None
    augmented: bool = True
    candidate: bool = True


def ends(phases: list[Phase], epochs: int) -> list[int]:
    """Epochs at which the phases end: their shares, rounded (document A 3.1).

    Args:
        phases: of a recipe.
        epochs: of the whole run.
    """
    shares = itertools.accumulate(phase.share for phase in phases)
    return [round(share * epochs) for share in shares][:-1] + [epochs]


def train(
    model: training.Procedure,
    phases: list[Phase],
    compile_phase: Callable[[Phase], None],
    batches: Callable[[int], tf.data.Dataset],
    directory: pathlib.Path,
    *,
    epochs: int,
    epoch_steps: int,
    images_per_step: int,
    monitor: str | None = None,
    extra: tuple[keras.callbacks.Callback, ...] = (),
    loggers: tuple[keras.callbacks.Callback, ...] = (),
    verbose: int | str = "auto",
) -> list[dict]:
    """`fit` phase by phase, continuing where a run was killed (document A 3.1).

    Args:
        model: the procedure to train.
        phases: of a recipe.
        compile_phase: compiles `model` with fresh optimizers, after `prepare`.
        batches: number of the first update -> endless data set from there on.
        directory: the run directory: state, history and best weights go there.
        epochs: evaluations of the whole run; phases begin at an epoch's start.
        epoch_steps: updates per epoch of `fit`.
        images_per_step: real images one update looks at.
        monitor: name of the measure that chooses the best state, or None.
        extra: callbacks run before the history is written; they may add to the logs.
        loggers: callbacks run when the state is saved: they see only what is kept.
        verbose: of `fit`.

    Returns:
        The history's rows.

    Raises:
        InputError: fewer epochs than phases, or a saved state of another run.
    """
    if epochs < len(phases):
        raise errors.InputError(
            f"{len(phases)} phases need as many evaluations or more, got {epochs}"
        )
    saved, odd = divmod(callbacks.saved_updates(directory), epoch_steps)
    if odd or saved > epochs:
        raise errors.InputError(
            f"{directory} holds a run of other length ({saved * epoch_steps + odd} "
            f"updates, asked for {epochs} times {epoch_steps}); use another directory"
        )
    rows, first = [], 0
    for phase, last in zip(phases, ends(phases, epochs), strict=True):
        if saved <= last:
            phase.prepare()
            compile_phase(phase)
            model.phase_start = first * epoch_steps
            if first < saved:
                rows = callbacks.restore(model, directory)
            done = int(model.updates.numpy())
            watchers = callbacks.watchers(
                directory,
                rows,
                phase.images_per_step or images_per_step,
                monitor if phase.candidate else None,
            )
            if monitor is not None and not phase.candidate:
                watchers = [_set_aside(monitor), *watchers]
            model.fit(
                batches(done),
                initial_epoch=done // epoch_steps,
                epochs=last,
                steps_per_epoch=epoch_steps,
                callbacks=[callbacks.FiniteGuard(), *extra, *watchers, *loggers],
                shuffle=False,
                verbose=verbose,
            )
        first = last
    return rows


def _set_aside(monitor: str) -> keras.callbacks.Callback:
    """Log `monitor` as `search_<monitor>`: the best is looked for under its name."""

    def rename(epoch, logs):
        logs[f"search_{monitor}"] = logs.pop(monitor)

    return keras.callbacks.LambdaCallback(on_epoch_end=rename)
