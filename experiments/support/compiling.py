"""Flags of how a GAN is compiled, and what they stand for: loss, penalty, augmentation.

Import it at the top for the flags; `check` them before TensorFlow is imported.
"""

from absl import flags as absl_flags

from experiments.support import flags, generation
from gan_transfer import errors

PENALTY = absl_flags.DEFINE_enum(
    "penalty",
    "r1",
    ["none", "r1", "r2", "r1_r2", "gradient_penalty"],
    "gradient penalty on the discriminator",
)
PENALTY_WEIGHT = absl_flags.DEFINE_float(
    "penalty_weight",
    None,
    "weight of --penalty, above 0; default: 0.1, and 10 for gradient_penalty",
    lower_bound=1e-6,
)
PENALTY_EVERY = absl_flags.DEFINE_integer(
    "penalty_every",
    None,
    "apply --penalty on every n-th update, times n; default: 8, and 1 for "
    "gradient_penalty",
    lower_bound=1,
)
CLIP = absl_flags.DEFINE_float(
    "clip", None, "clip the discriminator's weights to +- this", lower_bound=1e-6
)
AUGMENT = absl_flags.DEFINE_string(
    "augment",
    "auto",
    "none, diffaugment (colour, translation, cutout), ada (the same with adaptive "
    "probability; not with --loss=wasserstein or relativistic), or transforms joined "
    "by commas (translation,cutout); auto: none for training from scratch, by the "
    "number of images for fine-tuning",
)
AUGMENTATIONS = ("auto", "none", "diffaugment", "ada")
TRANSFORMS = ("color", "translation", "cutout")
# Losses whose scores have no threshold between real and generated images.
UNCENTRED = ("wasserstein", "relativistic")
TRAINING_FLAGS = (
    *generation.DATA_FLAGS,
    flags.STEPS,
    flags.BATCH_SIZE,
    flags.STRATEGY,
    flags.MIXED_PRECISION,
    flags.VERBOSE,
    flags.LOSS,
    PENALTY,
    PENALTY_WEIGHT,
    PENALTY_EVERY,
    CLIP,
    AUGMENT,
    flags.LEARNING_RATE,
    generation.BETA_1,
    generation.BETA_2,
    generation.AVERAGING,
    generation.DISCRIMINATOR_STEPS,
    flags.EVALUATIONS,
    generation.BACKBONE,
)


def check() -> None:
    """Refuse flags that contradict each other.

    Raises:
        absl.flags.Error: an unknown `--loss`, or a flag without effect.
        InputError: an unknown `--augment`, or a loss without what it needs.
    """
    loss = flags.one_of(flags.LOSS, generation.LOSSES)
    for holder in (PENALTY_WEIGHT, PENALTY_EVERY):
        if PENALTY.value == "none" and flags.differs(holder):
            raise absl_flags.Error(
                f"--{holder.name} has no effect on --penalty=none: leave it out"
            )
    if loss == "wasserstein" and not (
        PENALTY.value == "gradient_penalty" or CLIP.value
    ):
        raise errors.InputError(
            "--loss=wasserstein needs a Lipschitz discriminator: add "
            "--penalty=gradient_penalty or --clip=0.01"
        )
    if loss in UNCENTRED and AUGMENT.value == "ada":
        raise errors.InputError(
            f"--augment=ada needs a loss whose scores tell real from generated, and "
            f"those of --loss={loss} only compare: use --augment=diffaugment"
        )
    parts = set(AUGMENT.value.split(","))
    if AUGMENT.value not in AUGMENTATIONS and not parts <= set(TRANSFORMS):
        raise errors.InputError(
            f"--augment={AUGMENT.value}: should be one of {', '.join(AUGMENTATIONS)}, "
            f"or out of {', '.join(TRANSFORMS)}, joined by commas"
        )


def settings(chosen_augment: str = "none"):
    """The flags as `gan_settings.Settings`; `--augment=auto` is `chosen_augment`."""
    from gan_transfer import augmentation, gan_settings, losses, regularization

    kinds = {
        "none": (),
        "r1": (regularization.R1,),
        "r2": (regularization.R2,),
        "r1_r2": (regularization.R1, regularization.R2),
        "gradient_penalty": (regularization.GradientPenalty,),
    }
    one_centred = PENALTY.value == "gradient_penalty"
    loss = flags.one_of(flags.LOSS, generation.LOSSES)
    weight = PENALTY_WEIGHT.value or (10.0 if one_centred else 0.1)
    return gan_settings.Settings(
        learning_rate=flags.LEARNING_RATE.value,
        beta_1=generation.BETA_1.value,
        beta_2=generation.BETA_2.value,
        loss=losses.by_name(loss),
        discriminator_steps=generation.DISCRIMINATOR_STEPS.value,
        penalties=tuple(kind(weight) for kind in kinds[PENALTY.value]),
        penalize_every=PENALTY_EVERY.value or (1 if one_centred else 8),
        clip=CLIP.value,
        augmentation=augmentation.by_name(
            chosen_augment if AUGMENT.value == "auto" else AUGMENT.value
        ),
        averaging=generation.AVERAGING.value,
    )
