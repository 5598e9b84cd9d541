"""Cross-domain generation: preprocess, migrate, fine-tune (document B 3.2.1).

The three steps of the document as three functions, and `adapt`, which runs them: a
pretrained GAN and a folder of pictures in, a GAN of those pictures out.
"""

import dataclasses
import os
import pathlib
import tempfile

import keras

from gan_transfer import (
    adversarial,
    augmentation,
    copying,
    data,
    errors,
    gan_settings,
    recipes,
    sampling,
    schedule,
    transfer,
)

Copies = dict[str, list[copying.LayerCopy]]


def preprocess(
    dataset: str | os.PathLike, size: int, channels: int, **choices
) -> data.Images:
    """Bring the target's images to one format and size (document B 3.2.1, step 1).

    Args:
        dataset: as for `data.load`: name, folder or file.
        size: side of the square images in pixels.
        channels: 1 or 3.
        **choices: `data_dir`, `limit`, `seed`, `fallback` of `data.load`.
    """
    return data.load(dataset, size=size, channels=channels, **choices)


def copy_networks(
    source: sampling.Generative, networks: dict[str, keras.Model], ends: dict[str, str]
) -> Copies:
    """Fill new networks from a source GAN or VAE (document B 3.2.1, step 2).

    What makes images is filled from the source's sampler, be it generator or decoder,
    what sees them from its discriminator or encoder: stages of equal shape are copied,
    the rest is new and in the report.

    Args:
        source: a pretrained model.
        networks: of the target by name, filled in place.
        ends: `IMAGE_ENDS` of the target's class.
    """
    (seeing,) = (n for n, end in source.IMAGE_ENDS.items() if end == "input")
    found = {"output": source.sampler, "input": source.networks()[seeing]}
    return {
        name: copying.copy_weights(
            found[ends[name]],
            network,
            align=ends[name],
            exceptions=("channels", "classes", "size"),
        )
        for name, network in networks.items()
    }


def migrate(
    source: sampling.Generative,
    generator: keras.Model,
    discriminator: keras.Model,
    *,
    recipe: str,
    seed: int = 0,
) -> tuple[adversarial.GAN, Copies]:
    """Fill new networks from a source GAN (document B 3.2.1, step 2).

    The generator starts from the source's averaged weights: those are the better
    ones, and with one start for both the averaged generator's frozen layers stay equal.
    Image channels, classes and size may differ; what was not copied is in the report.
    The recipe `latent_head` gets its linear map in front of the generator.

    Returns:
        The target GAN and, per network, what became of each layer.

    Raises:
        InputError: `cross_domain_correspondence` with layers that have no source.
    """
    networks = {"generator": generator, "discriminator": discriminator}
    copies = copy_networks(source, networks, adversarial.GAN.IMAGE_ENDS)
    new = [copy.layer for copy in copies["generator"] if copy.origin == "new"]
    if new and recipe == recipes.cross_domain_correspondence.__name__:
        raise errors.InputError(
            f"{recipe} holds the generator to its source, and {', '.join(new)} would be"
            " new; keep the source's image size and classes, or use another recipe"
        )
    if recipe == recipes.latent_head.__name__:
        generator = with_latent_head(generator)
    if recipe == recipes.new_head.__name__:
        copies["discriminator"] = [
            dataclasses.replace(copy, origin="new", detail="starts anew")
            if copy.layer.startswith("head_")
            else copy
            for copy in copies["discriminator"]
        ]
    return adversarial.GAN(generator, discriminator, seed=seed), copies


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


def phases(
    model: sampling.Generative,
    copies: Copies,
    recipe: str,
    depth: int,
    batch_norm: str,
) -> list[schedule.Phase]:
    """The recipe's phases; nothing pulls new layers to their random start (A 3.2(2)).

    Args:
        model: after `copy_networks`.
        copies: its report.
        recipe: a name of `recipes.RECIPES`.
        depth: stages the recipe freezes.
        batch_norm: `frozen` or `adapt`, see `transfer.freeze`.

    Raises:
        InputError: an unknown recipe.
    """
    new = {
        name: {copy.layer for copy in copied if copy.origin == "new"}
        for name, copied in copies.items()
    }

    def freed(name, anchor):
        kept = {
            path: value
            for path, value in anchor.anchors.items()
            if path.split("/")[0] not in new[name]
        }
        return dataclasses.replace(anchor, anchors=kept)

    return [
        dataclasses.replace(
            phase,
            anchors={name: freed(name, each) for name, each in phase.anchors.items()},
        )
        for phase in recipes.by_name(recipe)(model, depth, batch_norm)
    ]


def plan(
    model: sampling.Generative,
    copies: Copies,
    phase: schedule.Phase,
    learning_rate: float,
) -> str:
    """The printed plan of both networks in one phase (document B 3.2.1, step 2).

    Sets the phase's flags; `schedule.train` sets them again.
    """
    phase.prepare()
    lines = [f"phase {phase.name}, {phase.share:.0%} of the updates"]
    for name, network in model.networks().items():
        rates = transfer.layerwise_rates(network, phase.rates.get(name, {}))
        copied = copies[name]
        lines.append(
            copying.plan(network, copied, learning_rate=learning_rate, rates=rates)
        )
    return "\n".join(lines)


def adapt(
    source: adversarial.GAN,
    dataset: str | os.PathLike,
    *,
    recipe: str = "freeze_discriminator",
    depth: int = 1,
    batch_norm: str = "adapt",
    steps: int = 500,
    batch_size: int = 32,
    seed: int = 0,
    verbose: int | str = "auto",
) -> tuple[adversarial.GAN, data.Images]:
    """The whole of document B 3.2.1 for pictures like the source's in format.

    Args:
        source: a pretrained GAN without classes; it is not changed.
        dataset: name, folder or file of the target's images.
        recipe: a name of `recipes.RECIPES`.
        depth: stages the recipe freezes.
        batch_norm: `frozen` or `adapt`, see `transfer.freeze`.
        steps: updates, rounded up to five epochs of equal length.
        batch_size: images per update.
        seed: fixes the run. Sets Keras' global seed.
        verbose: of `fit`.

    Returns:
        The adapted GAN, and the images used.

    Raises:
        InputError: a conditional source, an unknown recipe, or bad images.
    """
    if source.classes:
        raise errors.InputError(
            "adapt is for models without classes; use experiments.finetune "
            "--conditional for this one"
        )
    keras.utils.set_random_seed(seed)
    size, _, channels = source.image_shape
    images = preprocess(dataset, size, channels, seed=seed)
    gan, copies = migrate(
        source,
        keras.models.clone_model(source.generator),
        keras.models.clone_model(source.discriminator),
        recipe=recipe,
        seed=seed,
    )
    settings = dataclasses.replace(
        gan_settings.Settings(), augmentation=augmentation.Augmentation()
    )
    with tempfile.TemporaryDirectory() as temporary:
        schedule.train(
            gan,
            phases(gan, copies, recipe, depth, batch_norm),
            lambda phase: settings.compile(gan, phase),
            lambda start: data.batches(
                images.train, batch_size, seed=seed, start=start
            ),
            pathlib.Path(temporary),
            epochs=5,
            epoch_steps=-(-steps // 5),
            images_per_step=batch_size,
            verbose=verbose,
        )
    return gan, images
