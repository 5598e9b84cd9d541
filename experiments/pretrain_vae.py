"""Train a variational autoencoder and evaluate it (documents A 2.1, C 3.1.2, C 3.3.2).

--model is vae_dense (200-200, 50 latents; the default) or vae_conv, whose decoder is
the generator of pretrain's dcgan. With --start_from, another VAE's or a GAN's run, it
starts from those weights and --recipe says what is trained: fine_tune (the default),
freeze_discriminator (here: the encoder's first stages), freeze_generator (the decoder's
last ones), scale_shift, gradual_thaw. Run it again to continue where it was
stopped.

Example:
    python -m experiments.pretrain_vae --dataset=mnist --model=vae_conv --steps=5000
"""

from absl import flags as absl_flags

from experiments.support import (
    console,
    flags,
    generation,
    judging,
    reconstruction,
    transferring,
)
from experiments.support import session as sessions

MODELS = ("vae_dense", "vae_conv")
RECIPES = (
    "fine_tune freeze_discriminator freeze_generator scale_shift gradual_thaw"
).split()
_LIKELIHOOD = absl_flags.DEFINE_enum(
    "likelihood",
    "bernoulli",
    ["bernoulli", "gaussian"],
    "of a pixel: 0 or 1, drawn from the grey value at every visit; or normal with "
    "standard deviation 0.2 on the scale of [-1, 1]",
)
_WEIGHTED_IMAGES = absl_flags.DEFINE_integer(
    "weighted_images",
    100,
    "test images on which the gap between likelihood (5,000 samples each) and bound is "
    "measured",
    lower_bound=2,
)
flags.adopt(
    *generation.DATA_FLAGS,
    flags.STEPS,
    flags.BATCH_SIZE,
    flags.STRATEGY,
    flags.MIXED_PRECISION,
    flags.VERBOSE,
    flags.LEARNING_RATE,
    flags.EVALUATIONS,
    flags.RECIPE,
    flags.START_FROM,
    flags.SIZE,
    flags.CHANNELS,
    flags.MODEL,
    generation.LATENT_DIM,
    generation.BACKBONE,
    generation.DEPTH,
)
_DEFAULT_STEPS = 10_000
_SAMPLES = 5000


def main(argv):
    """Train, evaluate, write models and pictures."""
    model = flags.one_of(flags.MODEL, MODELS)
    recipe = flags.one_of(flags.RECIPE, RECIPES)
    if recipe != RECIPES[0] and flags.START_FROM.value is None:
        raise absl_flags.Error(
            f"--recipe={recipe} is for pretrained weights: name some by --start_from"
        )
    transferring.check(recipe)
    with console.quiet_tensorflow():
        import keras

        from gan_transfer import (
            cross_domain,
            errors,
            pretrained,
            recipes,
            transfer,
            variational,
        )
        from gan_transfer.networks import autoencoder

    images = generation.load_images(flags.SIZE.value, flags.CHANNELS.value)
    steps = flags.STEPS.value or _DEFAULT_STEPS
    latents = generation.LATENT_DIM
    lengths = {"latent_dim": latents.value} if latents.present else {}
    with generation.strategy_scope():
        networks = autoencoder.MODELS[model](images.size, images.channels, **lengths)
        vae = variational.VAE(
            *networks,
            likelihood=variational.LIKELIHOODS[_LIKELIHOOD.value],
            seed=flags.SEED.value,
        )
        flags.default(latents, vae.latent_dim)  # so that flags.txt repeats the run
        phases = recipes.by_name(recipe)(vae, generation.DEPTH.value, "adapt")
        if flags.START_FROM.value is not None:
            source = pretrained.load(flags.START_FROM.value)
            likelihood = getattr(source, "likelihood", vae.likelihood)
            if likelihood != vae.likelihood:
                raise errors.InputError(
                    f"{flags.START_FROM.value} was trained with another likelihood: "
                    "give the same --likelihood"
                )
            copies = cross_domain.copy_networks(source, vae.networks(), vae.IMAGE_ENDS)
            for phase in phases:
                rate = flags.LEARNING_RATE.value
                print(cross_domain.plan(vae, copies, phase, rate))
        description = {
            "model": model,
            "likelihood": _LIKELIHOOD.value,
            "width": 0,
            "latent_dim": vae.latent_dim,
            "size": images.size,
            "channels": images.channels,
            "classes": 0,
            "dataset": images.name,
        }
        measures = {"val_loss": _minus_bound}
        measures["val_distance"] = sessions.Session.validation_distance
        session = sessions.Session(
            argv[0], images, vae, description, steps, phases, measures
        )
        print(
            f"{session.title}: {len(session.train):,} images "
            f"{images.size}x{images.size}x{images.channels}, "
            f"{session.epochs * session.epoch_steps:,} updates -> {session.run.folder}"
        )

        def compile_phase(phase):
            updates = max(1, round(phase.share * session.epochs * session.epoch_steps))
            rate = keras.optimizers.schedules.CosineDecay(
                flags.LEARNING_RATE.value, updates, alpha=0.01
            )
            vae.compile(transfer.adam(learning_rate=rate))

        rows = session.fit(compile_phase)
    nats = {}

    def bounds():
        nats.update(_bounds(session))
        return nats

    scores = session.finish(rows, bounds)
    shown = sessions.some(images.test)
    reconstruction.draw(session.run, vae, shown, session.title)
    print(f"{session.title}, test scores:")
    judging.print_scores(nats | scores)
    print(f"pictures, models and summary.json are in {session.run.folder}")


def _minus_bound(session) -> float:
    """-L in nats per image on the validation part."""
    from gan_transfer import data

    return -session.model.bound(data.to_float(session.validation))


def _bounds(session) -> dict[str, float]:
    """-ELBO of all test images, and their -log p by the gap between both on some.

    The gap is far more alike from image to image than either, so a few hundred images
    measure it for all; the standard error is that of its mean.
    """
    from gan_transfer import data, subsets

    test = data.to_float(session.images.test)
    some = subsets.some(test, _WEIGHTED_IMAGES.value)
    weighted, bounds = session.model.log_likelihood(some, samples=_SAMPLES)
    minus_elbo, gaps = -session.model.bound(test), weighted - bounds
    found = {
        "minus_elbo_nats": minus_elbo,
        f"minus_log_likelihood_iw{_SAMPLES}_nats": minus_elbo - gaps.mean(),
        "minus_log_likelihood_images": len(gaps),
    }
    if len(gaps) > 1:
        error = gaps.std(ddof=1) / len(gaps) ** 0.5
        found["minus_log_likelihood_standard_error"] = error
    return found


if __name__ == "__main__":
    console.run(main)
