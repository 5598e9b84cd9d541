"""The named ways to fine-tune, a few lines each (documents A 3.2(2), A 3.3(2)).

A recipe takes the target GAN (source weights already copied) and returns its phases.
`Phase.prepare` sets the trainable flags; `train` then compiles with fresh optimizers.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import keras
import tensorflow as tf

from gan_transfer import (
    adversarial,
    callbacks,
    errors,
    losses,
    regularization,
    training,
    transfer,
)
from gan_transfer import (
    augmentation as augmentations,
)


@dataclasses.dataclass(frozen=True)
class Phase:
    """One stretch of training with fixed flags (document A 3.1).

    Attributes:
        name: for the log.
        share: part of the steps, in (0, 1]; a recipe's shares sum to 1.
        prepare: sets the flags; called right before `compile`.
        rates: learning-rate rules of the generator, layer pattern -> multiplier.
        anchors: L2 to the source per network.
    """

    name: str
    share: float
    prepare: Callable[[], None]
    rates: dict[str, float] = dataclasses.field(default_factory=dict)
    anchors: dict[str, regularization.L2ToSource] = dataclasses.field(
        default_factory=dict
    )


def _all_trainable(gan: adversarial.GAN) -> None:
    for network in gan.networks().values():
        transfer.unfreeze(network, ".*")


def _freeze_image_end(gan, batch_norm: str, *, generator=0, discriminator=0) -> None:
    _all_trainable(gan)
    for network, depth, end in (
        (gan.generator, generator, "output"),
        (gan.discriminator, discriminator, "input"),
    ):
        transfer.freeze_to_depth(network, depth, end=end, batch_norm=batch_norm)


def fine_tune(gan: adversarial.GAN, depth: int, batch_norm: str) -> list[Phase]:
    """Train everything from the source's weights: TransferGAN (document A 3.2(2))."""
    return [Phase("fine_tune", 1.0, lambda: _all_trainable(gan))]


def freeze_discriminator(
    gan: adversarial.GAN, depth: int, batch_norm: str
) -> list[Phase]:
    """FreezeD: the `depth` stages of D nearest the image stay (document A 3.2(2))."""
    prepare = functools.partial(_freeze_image_end, gan, batch_norm, discriminator=depth)
    return [Phase("freeze_discriminator", 1.0, prepare)]


def freeze_generator(gan: adversarial.GAN, depth: int, batch_norm: str) -> list[Phase]:
    """Freeze the `depth` stages of G nearest to the image (document A 3.2(2))."""
    prepare = functools.partial(_freeze_image_end, gan, batch_norm, generator=depth)
    return [Phase("freeze_generator", 1.0, prepare)]


def scale_shift(gan: adversarial.GAN, depth: int, batch_norm: str) -> list[Phase]:
    """G trains its batch-norm scale and shift only (document A 3.2(2)).

    Source: Noguchi and Harada, "Image Generation From Small Datasets via Batch
    Statistics Adaptation", ICCV 2019; here with an adversarial loss and all of D.
    """

    def prepare():
        _all_trainable(gan)
        transfer.freeze(gan.generator, ".*")
        transfer.unfreeze(gan.generator, ".*_bn")

    return [Phase("scale_shift", 1.0, prepare)]


def new_head(gan: adversarial.GAN, depth: int, batch_norm: str) -> list[Phase]:
    """D keeps its trunk frozen under a head that starts anew (document A 3.2(2))."""

    def prepare():
        trunk = len(transfer.stages(gan.discriminator)) - 1
        _freeze_image_end(gan, batch_norm, discriminator=trunk)

    for layer in gan.discriminator.layers:
        if transfer.stage_of(layer) == "head" and layer.weights:
            fresh = layer.__class__.from_config(layer.get_config())
            fresh.build(layer.get_build_config()["input_shape"])
            layer.set_weights(fresh.get_weights())
    return [Phase("new_head", 1.0, prepare)]


def gradual_thaw(gan: adversarial.GAN, depth: int, batch_norm: str) -> list[Phase]:
    """Thaw in equal phases: ends first, inner stages later (document A 3.1).

    Phase k of `depth + 1` keeps the `depth - k` stages nearest to the image frozen in
    both networks; the last trains everything. Source: Howard and Ruder, ULMFiT, 2018.
    """

    def phase(frozen: int) -> Phase:
        def prepare():
            _freeze_image_end(gan, batch_norm, generator=frozen, discriminator=frozen)

        return Phase(f"thaw, {frozen} stages frozen", 1.0 / (depth + 1), prepare)

    return [phase(frozen) for frozen in range(depth, -1, -1)]


def l2_to_source(gan: adversarial.GAN, depth: int, batch_norm: str) -> list[Phase]:
    """Fine-tune with w/2 ||W - W_source||^2 on both networks (document A 3.2(2))."""
    anchors = {
        name: regularization.L2ToSource(
            1e-3, {v.path: v.numpy() for v in network.trainable_variables}
        )
        for name, network in gan.networks().items()
    }
    return [Phase("l2_to_source", 1.0, lambda: _all_trainable(gan), anchors=anchors)]


def latent_head(gan: adversarial.GAN, depth: int, batch_norm: str) -> list[Phase]:
    """Linear latent map before a frozen G, linear head on a frozen D (A 3.2(2)).

    For 1 to 10 images. The generator must start with a `latent_dense` layer, see
    `with_latent_head`. Source: Yang et al., "One-Shot Generative Domain Adaptation"
    (GenDA), ICCV 2023.

    Raises:
        InputError: the generator has no `latent_dense` layer.
    """

    def prepare():
        _all_trainable(gan)
        transfer.freeze(gan.generator, ".*")
        transfer.unfreeze(gan.generator, "latent_dense")
        transfer.freeze(gan.discriminator, "(?!head_).*")

    return [Phase("latent_head", 1.0, prepare)]


def with_latent_head(generator: keras.Model) -> keras.Model:
    """The generator behind a linear map of its latents, identity at first (A 3.2(2)).

    G'(z) = G(A z + b) with A = 1, b = 0; the layers of `generator` are shared, not
    copied.

    Raises:
        InputError: a conditional generator.
    """
    if len(generator.inputs) > 1:
        raise errors.InputError("latent_head is for generators without classes")
    width = generator.inputs[0].shape[-1]
    latents = keras.Input((width,), name="latents")
    head = keras.layers.Dense(width, kernel_initializer="identity", name="latent_dense")
    x = head(latents)
    for layer in generator.layers[1:]:
        x = layer(x)
    return keras.Model(latents, x, name="generator")


RECIPES = {
    recipe.__name__: recipe
    for recipe in (
        fine_tune,
        freeze_discriminator,
        freeze_generator,
        scale_shift,
        new_head,
        gradual_thaw,
        l2_to_source,
        latent_head,
    )
}


def by_name(name: str) -> Callable[[adversarial.GAN, int, str], list[Phase]]:
    """Return the recipe called `name` (document A 3.2(2)).

    Raises:
        InputError: there is no such recipe; the message lists them.
    """
    if name not in RECIPES:
        raise errors.InputError(
            f"no recipe called {name!r}; there are {', '.join(RECIPES)}"
        )
    return RECIPES[name]


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
        monitor: name of the measure that chooses the best generator, or None.
        extra: callbacks run before the history is written; they may add to the logs.
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
    rows, first, share = [], 0, 0.0
    for number, phase in enumerate(phases):
        share += phase.share
        last = epochs if number == len(phases) - 1 else round(share * epochs)
        if saved <= last:
            phase.prepare()
            compile_phase(phase)
            if first < saved:
                rows = callbacks.restore(model, directory)
            done = int(model.updates.numpy())
            watchers = callbacks.watchers(directory, rows, images_per_step, monitor)
            model.fit(
                batches(done),
                initial_epoch=done // epoch_steps,
                epochs=last,
                steps_per_epoch=epoch_steps,
                callbacks=[callbacks.FiniteGuard(), *extra, *watchers],
                shuffle=False,
                verbose=verbose,
            )
        first = last
    return rows


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a GAN is compiled: our default recipe, or another one (document A 3.1).

    Attributes are those of `adversarial.GAN.compile`, and of Adam for both networks.
    """

    learning_rate: float = 1e-3
    beta_1: float = 0.5
    beta_2: float = 0.99
    loss: losses.AdversarialLoss = losses.non_saturating
    discriminator_steps: int = 1
    penalties: tuple = (regularization.R1(0.1),)
    penalize_every: int = 8
    clip: float | None = None
    augmentation: augmentations.Augmentation | None = None
    averaging: float = 0.995

    def compile(self, gan: adversarial.GAN, phase: Phase) -> None:
        """Compile `gan` for a phase, with fresh optimizers (document A 3.1)."""
        rates = transfer.layerwise_rates(gan.generator, phase.rates)
        gan.compile(
            self._optimizer(rates),
            self._optimizer({}),
            loss=self.loss,
            discriminator_steps=self.discriminator_steps,
            penalties=self.penalties,
            penalize_every=self.penalize_every,
            clip=self.clip,
            anchors=phase.anchors,
            augmentation=self.augmentation,
            averaging=self.averaging,
        )

    def _optimizer(self, rates: dict[str, float]) -> keras.optimizers.Optimizer:
        adam = transfer.LayerwiseAdam(
            rates,
            learning_rate=self.learning_rate,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
        )
        if keras.config.dtype_policy().name == "mixed_float16":
            return keras.optimizers.LossScaleOptimizer(adam)
        return adam
