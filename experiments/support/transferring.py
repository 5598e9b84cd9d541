"""The transfer of a pretrained GAN, from the domain gap to the summary (document B)."""

import dataclasses
import time

from absl import flags as absl_flags

from experiments.support import compiling, console, figures, flags, generation, judging
from experiments.support import session as sessions

RECIPES = (
    "auto scratch fine_tune freeze_discriminator freeze_generator scale_shift new_head "
    "gradual_thaw layerwise_rates l2_to_source latent_head "
    "cross_domain_correspondence"
).split()
BATCH_NORM = absl_flags.DEFINE_enum(
    "batch_norm",
    "adapt",
    ["frozen", "adapt"],
    "statistics of frozen batch norms: kept and used, or collected further",
)
FLAGS = (
    flags.RECIPE,
    *compiling.TRAINING_FLAGS,
    flags.SIZE,
    flags.CHANNELS,
    generation.CONDITIONAL,
    generation.DEPTH,
    BATCH_NORM,
)
# Those that freeze stages up to --depth; and all that obey --batch_norm.
_FREEZING = ("auto", "freeze_discriminator", "freeze_generator", "gradual_thaw")
_OBEYING = ((generation.DEPTH, _FREEZING), (BATCH_NORM, (*_FREEZING, "new_head")))
_SAMPLES = 2000  # of a source, for the domain gap; half of them shape its balls
_JUDGED = 1000  # samples whose diversity is reported


def choose(count: int) -> tuple[str, int]:
    """Augmentation and steps for `count` target images."""
    augment = "none" if count > 5000 else "diffaugment"
    return augment, min(4000, max(1000, 2 * count))


def check(recipe: str) -> None:
    """Refuse what a recipe does not obey.

    Raises:
        absl.flags.Error: `--depth` or `--batch_norm` with a recipe of another kind.
    """
    for holder, recipes in _OBEYING:
        if flags.differs(holder) and recipe not in recipes:
            raise absl_flags.Error(
                f"--{holder.name} has no effect on --recipe={recipe}: leave it out"
            )


def run(script: str, candidates: list[str]) -> None:
    """Measure the domain gap, migrate, fine-tune, evaluate, write (document B 3.2.1).

    Args:
        script: `argv[0]`.
        candidates: sources; the one nearest to the target is taken. Without `--size`
            and `--channels` the images get the first one's format.
    """
    compiling.check()
    asked = flags.one_of(flags.RECIPE, RECIPES)
    check(asked)
    with console.quiet_tensorflow():
        from gan_transfer import cross_domain, diversity, pretrained

    about = pretrained.describe(candidates[0])
    size = flags.SIZE.value or about["size"]
    images = generation.load_images(size, flags.CHANNELS.value or about["channels"])
    augment, steps = choose(len(images.train))
    settings = compiling.settings(augment)
    steps = flags.STEPS.value or steps
    with generation.strategy_scope():
        gaps = {name: _gap(name, images) for name in candidates}
        name = max(gaps, key=lambda each: gaps[each].nearness)
        recipe = gaps[name].recipe if asked == "auto" else asked
        print(f"{name}: {gaps[name].advice()}")
        source, about = pretrained.load_gan(name), pretrained.describe(name)
        gan, phases, copies = start(
            source,
            about,
            images,
            recipe,
            classes=generation.classes(images),
            depth=generation.DEPTH.value,
            batch_norm=BATCH_NORM.value,
            seed=flags.SEED.value,
        )
        for phase in phases if copies else ():
            print(cross_domain.plan(gan, copies, phase, settings.learning_rate))
        description = {
            **about,
            "size": size,
            "channels": images.channels,
            "classes": gan.classes,
            "class_names": images.class_names if gan.classes else (),
            "dataset": images.name,
            "source": about["dataset"],
            "recipe": recipe,
        }
        session = sessions.Session(script, images, gan, description, steps, phases)
        print(
            f"{session.title} from {about['dataset']}: {len(session.train):,} images, "
            f"recipe {recipe}, {session.epochs * session.epoch_steps:,} updates, "
            f"{'no' if settings.augmentation is None else 'with'} augmentation, about "
            f"{_estimated_minutes(session):.1f} minutes -> {session.run.folder}"
        )
        summary = {
            "recipe": recipe,
            "source": name,
            "domain_gap": {each: _stored(gap) for each, gap in gaps.items()},
        }

        def measured():
            summary["diversity"] = diversity.report(
                session.extractors,
                session.train,
                images.test,
                judging.pixels(gan, _JUDGED, seed=4),
            )
            return summary

        rows = session.fit(lambda phase: settings.compile(gan, phase), measured)
    scores = session.finish(rows, measured)
    _draw_pairs(session.run, source, gan, about, images.name)
    print(f"{session.title}, test scores:")
    judging.print_scores(scores)
    _print_diversity(summary["diversity"])
    print(f"pictures, models and summary.json are in {session.run.folder}")


def start(
    source,
    about: dict,
    images,
    recipe: str,
    *,
    classes: int,
    depth: int,
    batch_norm: str,
    seed: int,
) -> tuple:
    """A GAN for the images that starts from a source, or from scratch.

    Args:
        source: a pretrained GAN; `scratch` copies nothing of it.
        about: its `pretrained.describe`: the target's networks are of the same kind.
        images: of the target.
        recipe: one of `RECIPES` but `auto`.
        classes: of the target, 0 without.
        depth: stages that freezing recipes freeze.
        batch_norm: `frozen` or `adapt`, see `transfer.freeze`.
        seed: of the GAN; initial weights come from Keras' global one.

    Returns:
        The GAN, the phases, and per network what became of each layer; nothing of it
        from scratch.
    """
    from gan_transfer import adversarial, cross_domain, schedule
    from gan_transfer.networks import presets

    networks = presets.build(
        about["model"],
        images.size,
        images.channels,
        classes=classes,
        width=about["width"],
        latent_dim=about["latent_dim"],
    )
    if recipe == "scratch":
        gan = adversarial.GAN(*networks, seed=seed)
        return gan, [schedule.Phase(recipe, 1.0, lambda: None)], {}
    gan, copies = cross_domain.migrate(source, *networks, recipe=recipe, seed=seed)
    phases = cross_domain.phases(gan, copies, recipe, depth, batch_norm)
    return gan, phases, copies


def _gap(name: str, images):
    """The `domain_gap.DomainGap` of a source, printed."""
    import numpy as np

    from gan_transfer import data, domain_gap, pretrained, subsets

    source = pretrained.load_gan(name)
    size, channels = images.size, images.channels
    shown = judging.pixels(source, _SAMPLES, seed=5)
    new_layers = shown.shape[1] != size or generation.classes(images) != source.classes
    shown = data.to_format(shown, size, channels, name)
    # Components of both sets: the target's own would not see what the source has more.
    target = subsets.some(images.train, _SAMPLES)
    both = np.concatenate([shown[: _SAMPLES // 2], target])
    gap = domain_gap.measure(
        shown,
        images.train,
        judging.extractors(both),
        new_layers=new_layers,
        conditional=source.classes > 0,
    )
    print(f"domain gap {name} -> {images.name}, {len(shown):,} samples:")
    for kind, each in gap.gaps.items():
        floor = "not known"
        if each.floor is not None:
            floor = f"{each.floor:.3g} +- {each.floor_sd:.2g}"
        print(
            f"  {kind:<11} kernel distance {each.distance:.3g} +- "
            f"{each.distance_sd:.2g} (target to itself: {floor}), recall of the "
            f"source {each.recall:.3f} (of its own samples: {each.own_recall:.3f})"
        )
    return gap


def _stored(gap) -> dict:
    """A domain gap as `summary.json` holds it."""
    return {
        **dataclasses.asdict(gap),
        "nearness": gap.nearness,
        "advice": gap.advice(),
    }


def _print_diversity(spreads: dict) -> None:
    """Scores of samples beside those of as many unseen real images."""
    for kind, sets in spreads.items():
        count = sets["generated"]["count"]
        for score, made in list(sets["generated"].items())[1:]:
            real = sets["real"][score]
            print(
                f"  {score}_{kind}: {made:.3g}, unseen real images {real:.3g} "
                f"({count:,} each)"
            )


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
