"""Train a CycleGAN between two domains without pairs (documents C 3.1.3, E 6).

Domain A is --dataset. Domain B is --dataset_b; or half of --dataset under
--known_mapping, so that the distance to the truth can be measured; or half of --dataset
as it is, while domain A is the other half with --damage_a. Run it again to continue
where it was stopped.

Example:
    python -m experiments.pretrain_cyclegan --dataset=mnist --known_mapping=invert
"""

from absl import flags as absl_flags

from experiments.support import (
    console,
    domains,
    flags,
    generation,
    judging,
    translation,
)

_CYCLE_WEIGHT = absl_flags.DEFINE_float(
    "cycle_weight", 10.0, "of the way there and back, 0 or more", lower_bound=0
)
_IDENTITY_WEIGHT = absl_flags.DEFINE_float(
    "identity_weight",
    0.0,
    "of leaving images of the target domain alone, 0 or more; 5 keeps colours",
    lower_bound=0,
)
_BLOCKS = absl_flags.DEFINE_integer("blocks", 4, "residual blocks, 0 to 16", 0, 16)
flags.adopt(
    *generation.DATA_FLAGS,
    *domains.FLAGS,
    flags.SIZE,
    flags.CHANNELS,
    flags.STEPS,
    flags.BATCH_SIZE,
    flags.MIXED_PRECISION,
    flags.VERBOSE,
    flags.LOSS,
    flags.LEARNING_RATE,
    flags.EVALUATIONS,
    generation.WIDTH,
    generation.BETA_1,
    generation.BETA_2,
    generation.AVERAGING,
    generation.BACKBONE,
)
# The default first: that of the paper.
_LOSSES = ("least_squares", *(n for n in generation.LOSSES if n != "least_squares"))
_DEFAULT_STEPS = 4000


def main(argv):
    """Train, measure, write models and pictures."""
    loss = flags.one_of(flags.LOSS, _LOSSES)
    with console.quiet_tensorflow():
        from gan_transfer import cyclic, losses
        from gan_transfer.networks import translation as networks

    images, a, b = domains.load()
    generation.prepare_keras()
    width, shape = generation.WIDTH.value, a.train.shape[1:]
    translators = [
        networks.translator(shape[2], width=width, blocks=_BLOCKS.value, name=name)
        for name in cyclic.NETWORKS[:2]
    ]
    judges = [networks.patch_discriminator(shape[2], width=width) for _ in range(2)]
    gan = cyclic.CycleGAN(
        *translators, *judges, image_shape=shape, seed=flags.SEED.value
    )

    def compile_phase(phase):
        gan.compile(
            _adam(),
            _adam(),
            loss=losses.by_name(loss),
            cycle_weight=_CYCLE_WEIGHT.value,
            identity_weight=_IDENTITY_WEIGHT.value,
            averaging=generation.AVERAGING.value,
        )

    steps = flags.STEPS.value or _DEFAULT_STEPS
    session = translation.Session(argv[0], images, gan, a, b, steps)
    print(
        f"{session.title}: {len(a.train):,} and {len(b.train):,} images "
        f"{'x'.join(map(str, shape))}, {session.epochs * session.epoch_steps:,} "
        f"updates -> {session.run.folder}"
    )
    session.fit(compile_phase)
    scores = session.finish({"outcome": "completed"})
    print(f"{session.title}, test scores:")
    judging.print_scores(scores)
    print(f"pictures, models and summary.json are in {session.run.folder}")


def _adam():
    from gan_transfer import transfer

    return transfer.adam(
        learning_rate=flags.LEARNING_RATE.value,
        beta_1=generation.BETA_1.value,
        beta_2=generation.BETA_2.value,
    )


if __name__ == "__main__":
    console.run(main)
