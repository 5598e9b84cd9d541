"""Carry a pretrained GAN to other images (documents A 3.2(2), B 3.2.1).

--source is a shipped model (mnist, fashion_mnist, emoji64) or a run directory and
--dataset a name, a file or a folder of pictures. Steps, recipe and augmentation are
chosen by the number of images where they are not given. --recipe is one of auto (the
default), scratch (copies nothing: the control), fine_tune, freeze_discriminator,
freeze_generator, scale_shift, new_head, gradual_thaw, l2_to_source, latent_head. Run it
again to continue where it was stopped.

Example, for a folder of 200 pictures of your own:
    python -m experiments.finetune --source=emoji64 --dataset=my_pictures
"""

import time

from absl import flags as absl_flags

from experiments.support import console, figures, flags, generation, judging
from experiments.support import session as sessions

RECIPES = (
    "auto scratch fine_tune freeze_discriminator freeze_generator scale_shift new_head "
    "gradual_thaw l2_to_source latent_head".split()
)
_BATCH_NORM = absl_flags.DEFINE_enum(
    "batch_norm",
    "adapt",
    ["frozen", "adapt"],
    "statistics of frozen batch norms: kept and used, or collected further",
)
flags.adopt(
    flags.RECIPE,
    *generation.TRAINING_FLAGS,
    flags.SIZE,
    flags.CHANNELS,
    generation.CONDITIONAL,
    generation.SOURCE,
    generation.DEPTH,
)


def choose(count: int) -> tuple[str, str, int]:
    """Recipe, augmentation and steps for `count` target images."""
    recipe = "latent_head" if count <= 10 else "freeze_discriminator"
    if count > 5000:
        recipe = "fine_tune"
    augment = "none" if count > 5000 else "diffaugment"
    return recipe, augment, min(4000, max(1000, 2 * count))


def main(argv):
    """Migrate, fine-tune, evaluate, write models and pictures."""
    flags.one_of(flags.LOSS, generation.LOSSES)
    asked = flags.one_of(flags.RECIPE, RECIPES)
    with console.quiet_tensorflow():
        from gan_transfer import (
            adversarial,
            cross_domain,
            pretrained,
            recipes,
            schedule,
        )
        from gan_transfer.networks import presets

    about = pretrained.describe(generation.SOURCE.value)
    size = flags.SIZE.value or about["size"]
    images = generation.load_images(size, flags.CHANNELS.value or about["channels"])
    recipe, augment, steps = choose(len(images.train))
    if asked != "auto":
        recipe = asked
    settings = generation.settings(augment)
    steps = flags.STEPS.value or steps
    classes = generation.classes(images)
    description = {
        **about,
        "size": size,
        "channels": images.channels,
        "classes": classes,
        "class_names": images.class_names if classes else (),
        "dataset": images.name,
        "source": about["dataset"],
        "recipe": recipe,
    }
    with generation.strategy_scope():
        source = pretrained.load(generation.SOURCE.value)
        networks = presets.build(
            about["model"],
            size,
            images.channels,
            classes=classes,
            width=about["width"],
            latent_dim=about["latent_dim"],
        )
        if recipe == "scratch":
            gan = adversarial.GAN(*networks, seed=flags.SEED.value)
            phases = [schedule.Phase("scratch", 1.0, lambda: None)]
        else:
            gan, copies = cross_domain.migrate(
                source, *networks, recipe=recipe, seed=flags.SEED.value
            )
            phases = recipes.by_name(recipe)(
                gan, generation.DEPTH.value, _BATCH_NORM.value
            )
            for phase in phases:
                print(cross_domain.plan(gan, copies, phase, settings.learning_rate))
        session = sessions.Session(argv[0], images, gan, description, steps, phases)
        print(
            f"{session.title} from {about['dataset']}: {len(session.train):,} images, "
            f"recipe {recipe}, {session.epochs * session.epoch_steps:,} updates, "
            f"{'no' if settings.augmentation is None else 'with'} augmentation, about "
            f"{_estimated_minutes(session):.1f} minutes -> {session.run.folder}"
        )
        rows = session.fit(lambda phase: settings.compile(gan, phase))
    scores = session.finish(rows, {"recipe": recipe, "source": generation.SOURCE.value})
    _draw_pairs(session.run, source, gan, about, images.name)
    print(f"{session.title}, test scores:")
    judging.print_scores(scores)
    print(f"pictures, models and summary.json are in {session.run.folder}")


def _estimated_minutes(session) -> float:
    """Minutes of training, from one timed forward pass of each network."""
    import tensorflow as tf

    gan, batch = session.model, flags.BATCH_SIZE.value
    total = 0.0
    # G runs forward twice and backward once, D forward three times and backward three.
    for network, passes in ((gan.generator, 4), (gan.discriminator, 9)):
        shapes = [(batch, *each.shape[1:]) for each in network.inputs]
        inputs = [
            tf.zeros(shape, each.dtype)
            for shape, each in zip(shapes, network.inputs, strict=True)
        ]
        forward = tf.function(network)
        forward(inputs if len(inputs) > 1 else inputs[0])
        start = time.perf_counter()
        forward(inputs if len(inputs) > 1 else inputs[0])
        total += passes * (time.perf_counter() - start)
    return total * session.epochs * session.epoch_steps / 60


def _draw_pairs(directory, source, gan, about, target_name: str) -> None:
    """Source and target images of equal latents, one above the other."""
    from gan_transfer import data, sampling

    if source.latent_dim != gan.latent_dim:
        return
    latents = sampling.sample_latents(12, gan.latent_dim, 0)
    figures.pairs(
        directory.path("pairs.png"),
        [data.to_uint8(each.decode(latents)) for each in (source, gan)],
        [f"source: {about['dataset']}", f"target: {target_name}"],
        "equal latents before and after the transfer",
    )


if __name__ == "__main__":
    console.run(main)
