"""Flags of the restoration scripts, and what they stand for: networks and training.

Import it at the top for the flags; TensorFlow and the packages are imported inside the
functions, after the flags are checked. The data flags are in `restoration_data`.
"""

from absl import flags as absl_flags

from experiments.support import figures, flags, generation, restoration_data, run

ADVERSARIAL_WEIGHT = absl_flags.DEFINE_float(
    "adversarial_weight",
    0.0,
    "weight of the adversarial loss against a discriminator of patches; 0: none",
    lower_bound=0.0,
)
TRAINING_FLAGS = (
    *restoration_data.FLAGS,
    ADVERSARIAL_WEIGHT,
    flags.MODEL,
    flags.LOSS,
    flags.DATA_DIR,
    flags.STEPS,
    flags.BATCH_SIZE,
    flags.EVALUATIONS,
    flags.LEARNING_RATE,
    generation.BETA_1,
    flags.OUT_DIR,
    flags.OVERWRITE,
    flags.SEED,
    flags.STRATEGY,
    flags.MIXED_PRECISION,
    flags.VERBOSE,
)
# The defaults first.
MODELS = ("restorer", "unrolled_sparse", "document_a")
LOSSES = ("root_mean_square", "charbonnier", "l1", "l2", "huber")
BETA_1 = 0.9  # where --beta_1 is not given


def build(model: str, channels: int, **size):
    """The untrained network called `model`; `size` is of `networks.restorer` alone."""
    from restoration import networks, unrolled

    makers = {
        "restorer": networks.restorer,
        "unrolled_sparse": unrolled.unrolled_sparse,
        "document_a": networks.document_a,
    }
    return makers[model](channels, **size)


def procedure(network, channels: int):
    """`supervised.Restorer`, or with --adversarial_weight `RestorationGAN`."""
    from gan_transfer.networks import translation
    from restoration import adversarial, supervised

    if not ADVERSARIAL_WEIGHT.value:
        return supervised.Restorer(network, seed=flags.SEED.value)
    judge = translation.patch_discriminator(channels)
    return adversarial.RestorationGAN(network, judge, seed=flags.SEED.value)


def compile_for(restorer, phase, damage, loss: str, steps: int, first: int) -> None:
    """Compile with fresh optimizers: a cosine of `steps` updates from `first` on.

    The phase says which layers learn slower and what holds them to their source.
    """
    from gan_transfer import transfer
    from restoration import supervised

    rate = supervised.Cosine(flags.LEARNING_RATE.value, steps, first)
    rates = transfer.layerwise_rates(restorer.network, phase.rates.get("network", {}))
    optimizer = transfer.adam(
        rates, learning_rate=rate, beta_1=generation.BETA_1.value, global_clipnorm=1.0
    )
    arguments = {"loss": supervised.LOSSES[loss], "damage": damage}
    arguments |= {"anchors": phase.anchors}
    if ADVERSARIAL_WEIGHT.value:
        # The discriminator starts from nothing.
        faster = supervised.Cosine(4 * flags.LEARNING_RATE.value, steps, first)
        other = transfer.adam(learning_rate=faster, beta_1=0.5)
        arguments |= {"weight": ADVERSARIAL_WEIGHT.value}
        arguments |= {"discriminator_optimizer": other}
    restorer.compile(optimizer, **arguments)


def open_run(script: str) -> run.RunDirectory:
    """The run directory of a restoration command."""
    return run.RunDirectory.open(
        flags.OUT_DIR.value, flags.configuration(script), flags.OVERWRITE.value
    )


def draw_validation(directory: run.RunDirectory, judge, network, title: str) -> None:
    """Damaged, restored and true crops of the judge's pictures: `samples.png`."""
    import numpy as np

    from restoration import metrics

    count = len(judge.mixed[0])
    shown = slice(0, None, max(1, count // 12))
    inputs = [part[shown] for part in judge.mixed]
    restored = network.predict_on_batch(inputs)
    clean = np.tile(judge.clean, (count // len(judge.clean), 1, 1, 1))[shown]
    rows = [metrics.quantise(each) for each in (inputs[0], restored, clean)]
    labels = ["damaged (missing pixels filled)", "restored", "truth"]
    figures.pairs(directory.path("samples.png"), rows, labels, title)
