"""The named ways to fine-tune, a few lines each (documents A 3.2(2), A 3.3(2)).

A recipe takes the target model (a GAN, a VAE or a restorer, weights already copied) and
returns the phases to train through (`schedule.train`). All take `depth`, the stages to
freeze, and `batch_norm`, the policy of `transfer.freeze`; those that freeze by other
rules ignore them.
"""

import functools
from collections.abc import Callable

import keras

from gan_transfer import (
    adversarial,
    correspondence,
    errors,
    regularization,
    sampling,
    schedule,
    training,
    transfer,
)


def _all_trainable(model: training.Procedure) -> None:
    for network in model.networks().values():
        transfer.unfreeze(network, ".*")


def _freeze_image_end(model, batch_norm: str, *, output: int = 0, input: int = 0):
    """Freeze the stages nearest to the image, made (`output`) or seen (`input`)."""
    _all_trainable(model)
    depths = {"output": output, "input": input}
    for name, network in model.networks().items():
        end = model.IMAGE_ENDS[name]
        transfer.freeze_to_depth(network, depths[end], end=end, batch_norm=batch_norm)


def _network(model: sampling.Generative, end: str) -> keras.Model:
    """The trained network that makes images (`output`) or sees them (`input`)."""
    (name,) = (name for name, each in model.IMAGE_ENDS.items() if each == end)
    return model.networks()[name]


def fine_tune(
    model: training.Procedure, depth: int, batch_norm: str
) -> list[schedule.Phase]:
    """Train everything from the source's weights: TransferGAN (document A 3.2(2))."""
    return [schedule.Phase("fine_tune", 1.0, lambda: _all_trainable(model))]


def freeze_discriminator(
    model: sampling.Generative, depth: int, batch_norm: str
) -> list[schedule.Phase]:
    """FreezeD: the `depth` stages of D nearest the image stay (document A 3.2(2)).

    Of a VAE, the encoder's.
    """
    prepare = functools.partial(_freeze_image_end, model, batch_norm, input=depth)
    return [schedule.Phase("freeze_discriminator", 1.0, prepare)]


def freeze_generator(
    model: sampling.Generative, depth: int, batch_norm: str
) -> list[schedule.Phase]:
    """Freeze the `depth` stages of G nearest to the image (document A 3.2(2)).

    Of a VAE, the decoder's.
    """
    prepare = functools.partial(_freeze_image_end, model, batch_norm, output=depth)
    return [schedule.Phase("freeze_generator", 1.0, prepare)]


def scale_shift(
    model: sampling.Generative, depth: int, batch_norm: str
) -> list[schedule.Phase]:
    """G trains its batch-norm scale and shift only (document A 3.2(2)).

    Source: Noguchi and Harada, "Image Generation From Small Datasets via Batch
    Statistics Adaptation", ICCV 2019; here with an adversarial loss and all of D.
    """

    def prepare():
        _all_trainable(model)
        transfer.freeze(_network(model, "output"), ".*")
        transfer.unfreeze(_network(model, "output"), ".*_bn")

    return [schedule.Phase("scale_shift", 1.0, prepare)]


def new_head(
    model: sampling.Generative, depth: int, batch_norm: str
) -> list[schedule.Phase]:
    """D keeps its trunk frozen under a head that starts anew (document A 3.2(2))."""

    def prepare():
        trunk = len(transfer.stages(_network(model, "input"))) - 1
        _freeze_image_end(model, batch_norm, input=trunk)

    for layer in _network(model, "input").layers:
        if transfer.stage_of(layer) == "head" and layer.weights:
            fresh = layer.__class__.from_config(layer.get_config())
            fresh.build(layer.get_build_config()["input_shape"])
            layer.set_weights(fresh.get_weights())
    return [schedule.Phase("new_head", 1.0, prepare)]


def gradual_thaw(
    model: sampling.Generative, depth: int, batch_norm: str
) -> list[schedule.Phase]:
    """Thaw in equal phases: inner stages first, the image's last (document A 3.1).

    Phase k of `depth + 1` keeps the `depth - k` stages nearest to the image frozen in
    both networks; the last trains everything. Source: Howard and Ruder, ULMFiT, 2018.
    """

    def phase(frozen: int) -> schedule.Phase:
        def prepare():
            _freeze_image_end(model, batch_norm, output=frozen, input=frozen)

        share = 1.0 / (depth + 1)
        return schedule.Phase(f"thaw, {frozen} stages frozen", share, prepare)

    return [phase(frozen) for frozen in range(depth, -1, -1)]


def layerwise_rates(
    model: sampling.Generative, depth: int, batch_norm: str
) -> list[schedule.Phase]:
    """Train everything, the stages near the image slower (document A 3.1).

    In both networks a stage learns 2.6 times slower than its neighbour further from the
    image. Source: Howard and Ruder, ULMFiT ("discriminative fine-tuning"), 2018.
    """
    rates = {}
    for name, network in model.networks().items():
        order = transfer.stages(network)
        if model.IMAGE_ENDS[name] == "input":
            order = order[::-1]
        rates[name] = {f"{stage}_.*": 2.6**-place for place, stage in enumerate(order)}
    prepare = functools.partial(_all_trainable, model)
    return [schedule.Phase("layerwise_rates", 1.0, prepare, rates=rates)]


def l2_to_source(
    model: sampling.Generative, depth: int, batch_norm: str
) -> list[schedule.Phase]:
    """Fine-tune with w/2 ||W - W_source||^2 on both networks (document A 3.2(2)).

    Layers that are new have no source: `cross_domain.phases` leaves them free.
    """
    anchors = {
        name: regularization.L2ToSource(
            1e-3, {v.path: v.numpy() for v in network.trainable_variables}
        )
        for name, network in model.networks().items()
    }
    return [
        schedule.Phase(
            "l2_to_source", 1.0, lambda: _all_trainable(model), anchors=anchors
        )
    ]


def latent_head(
    model: sampling.Generative, depth: int, batch_norm: str
) -> list[schedule.Phase]:
    """Linear latent map before a frozen G, linear head on a frozen D (A 3.2(2)).

    For 1 to 10 images. The generator must start with a `latent_dense` layer, which
    `cross_domain.with_latent_head` adds. Source: Yang et al., "One-Shot Generative
    Domain Adaptation" (GenDA), ICCV 2023.

    Raises:
        InputError: the generator has no `latent_dense` layer.
    """

    def prepare():
        _all_trainable(model)
        transfer.freeze(_network(model, "output"), ".*")
        transfer.unfreeze(_network(model, "output"), "latent_dense")
        transfer.freeze(_network(model, "input"), "(?!head_).*")

    return [schedule.Phase("latent_head", 1.0, prepare)]


def cross_domain_correspondence(
    model: adversarial.GAN, depth: int, batch_norm: str
) -> list[schedule.Phase]:
    """Train everything; what was alike stays alike, for up to 10 images (document B 5).

    See `correspondence.Correspondence`, here with its published weight.
    """
    terms = (correspondence.to_start(model.generator, 1000 / 3),)
    name = cross_domain_correspondence.__name__
    all_of_it = functools.partial(_all_trainable, model)
    return [schedule.Phase(name, 1.0, all_of_it, generator_terms=terms)]


def head_only(
    model: training.Procedure, depth: int, batch_norm: str
) -> list[schedule.Phase]:
    """Train the last stage of a restorer, all else stays (document A 3.3(2))."""

    def prepare():
        network = model.networks()["network"]
        transfer.freeze(network, ".*", batch_norm=batch_norm)
        transfer.unfreeze(network, "head_.*")

    return [schedule.Phase("head_only", 1.0, prepare)]


def gains(
    model: training.Procedure, depth: int, batch_norm: str
) -> list[schedule.Phase]:
    """Train one factor per channel of a frozen restorer (document A 3.3(2)).

    The network must come from `restoration.networks.with_gains`. Source: Mohan et al.,
    "Adaptive Denoising via GainTuning", 2021.

    Raises:
        InputError: the network has no gains.
    """

    def prepare():
        network = model.networks()["network"]
        transfer.freeze(network, ".*", batch_norm=batch_norm)
        transfer.unfreeze(network, ".*_gain")

    return [schedule.Phase("gains", 1.0, prepare)]


RECIPES = {
    recipe.__name__: recipe
    for recipe in (
        fine_tune,
        freeze_discriminator,
        freeze_generator,
        scale_shift,
        new_head,
        gradual_thaw,
        layerwise_rates,
        l2_to_source,
        latent_head,
        cross_domain_correspondence,
    )
}

# Of a restorer.
RESTORATION_RECIPES = {
    recipe.__name__: recipe
    for recipe in (
        head_only,
        gains,
        fine_tune,
        gradual_thaw,
        layerwise_rates,
        l2_to_source,
    )
}


def by_name(
    name: str,
) -> Callable[[training.Procedure, int, str], list[schedule.Phase]]:
    """Return the recipe called `name` (document A 3.2(2)).

    Raises:
        InputError: there is no such recipe; the message lists them.
    """
    if name not in RECIPES:
        raise errors.InputError(
            f"no recipe called {name!r}; there are {', '.join(RECIPES)}"
        )
    return RECIPES[name]
