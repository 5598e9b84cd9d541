"""Train a GAN from scratch and evaluate it (documents A 3.2(1), B 3.1.3, C 3.2).

--model is dcgan (the default), sngan (spectral normalisation), attention
(self-attention), sagan (both), prelu, relu, document_a_mnist, document_b_256,
document_c_64, document_e_mnist or tensorflow_tutorial; --loss is non_saturating (the
default), minimax, least_squares, huber, wasserstein, hinge or relativistic. Run it
again to continue where it was stopped.

Example:
    python -m experiments.pretrain --flagfile=experiments/flags/pretrain/mnist.flags
"""

import itertools
import math

from absl import flags as absl_flags

from experiments.support import compiling, console, flags, generation, judging
from experiments.support import session as sessions

_TRAINING = absl_flags.DEFINE_enum(
    "training",
    "dense",
    ["dense", "pruned", "two_stage", "dynamic_sparse"],
    "strategy: all weights; twice the largest ones kept and set back to their start; "
    "the same, with augmentation for the last of the three phases; or few weights that "
    "move while training",
)
_DENSITY = absl_flags.DEFINE_float(
    "density", 0.3, "share of weights that the sparse strategies keep", 0.01, 0.99
)
flags.adopt(*compiling.TRAINING_FLAGS, *generation.NETWORK_FLAGS, generation.WITHOUT)

_DEFAULT_STEPS = 4000


def main(argv):
    """Train, evaluate, write models and pictures."""
    model = flags.one_of(flags.MODEL, generation.MODELS)
    compiling.check()
    generation.check_layer_flags(model)
    if flags.differs(_DENSITY) and _TRAINING.value == "dense":
        raise absl_flags.Error("--density has no effect on --training=dense")
    two_stage = _TRAINING.value == "two_stage"
    if two_stage and compiling.AUGMENT.value == "none":
        raise absl_flags.Error(
            "--training=two_stage augments its last phase: leave --augment=none out, "
            "or take --training=pruned"
        )
    with console.quiet_tensorflow():
        from gan_transfer import adversarial, schedule, sparsity, strategies
        from gan_transfer.networks import presets

    images = generation.load_images(*generation.wanted_format(model))
    settings = compiling.settings("diffaugment" if two_stage else "none")
    classes = generation.classes(images)
    description = {
        "model": model,
        "width": generation.WIDTH.value,
        "size": images.size,
        "channels": images.channels,
        "classes": classes,
        "dataset": images.name,
        "class_names": images.class_names if classes else (),
    }
    with generation.strategy_scope():
        networks = presets.build(
            model,
            images.size,
            images.channels,
            classes=classes,
            width=generation.WIDTH.value,
            latent_dim=generation.LATENT_DIM.value,
        )
        gan = adversarial.GAN(*networks, seed=flags.SEED.value)
        description["latent_dim"] = gan.latent_dim
        steps = flags.STEPS.value or _DEFAULT_STEPS
        phases = strategies.phases(
            _TRAINING.value,
            gan,
            _DENSITY.value,
            updates=math.prod(generation.evaluations(steps)),
        )
        session = sessions.Session(argv[0], images, gan, description, steps, phases)
        print(
            f"{session.title}: {len(session.train):,} images "
            f"{images.size}x{images.size}x{images.channels}, "
            f"{session.epochs * session.epoch_steps:,} updates -> {session.run.folder}"
        )
        ends = [0, *schedule.ends(phases, session.epochs)]
        for phase, (first, last) in zip(phases, itertools.pairwise(ends), strict=True):
            print(f"  {phase.name}: {(last - first) * session.epoch_steps:,} updates")

        def about():
            return {"density": sparsity.density(gan)}

        rows = session.fit(lambda phase: settings.compile(gan, phase), about)
    scores = session.finish(rows, about)
    print(f"{session.title}, test scores:")
    judging.print_scores(scores)
    print(f"pictures, models and summary.json are in {session.run.folder}")


if __name__ == "__main__":
    console.run(main)
