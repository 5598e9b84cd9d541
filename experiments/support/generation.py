"""Flags of the generation scripts, and what they stand for: data, networks, runs.

Import it at the top for the flags; TensorFlow and the packages are imported inside the
functions, after the flags are checked.
"""

import contextlib
import json
import os
import sys

from absl import flags as absl_flags

from experiments.support import flags, run
from gan_transfer import errors

SOURCE = absl_flags.DEFINE_string(
    "source",
    "mnist",
    "pretrained model: a shipped name, a .gan.npz file or a run directory",
)
WITHOUT = absl_flags.DEFINE_string(
    "without",
    None,
    "set whose images are left out of --dataset, so that it can become the "
    "target of a transfer; default: none",
)
DEPTH = absl_flags.DEFINE_integer(
    "depth", 1, "stages that the freezing recipes freeze", lower_bound=0
)
WIDTH = absl_flags.DEFINE_integer(
    "width", 32, "filters of the finest stage of dcgan and its kin, 4 to 256", 4, 256
)
LATENT_DIM = absl_flags.DEFINE_integer(
    "latent_dim",
    64,
    "length of the latent vectors of dcgan and its kin; VAEs: 50 (vae_dense) or 32 "
    "(vae_conv) unless given",
    1,
    1024,
)
CONDITIONAL = absl_flags.DEFINE_boolean(
    "conditional", False, "give both networks the class labels of the data set"
)
BETA_1 = absl_flags.DEFINE_float(
    "beta_1", 0.5, "of Adam, 0 to 1; restorers: 0.9 unless given", 0.0, 0.9999
)
BETA_2 = absl_flags.DEFINE_float("beta_2", 0.99, "of Adam, 0 to 1", 0.0, 0.9999)
AVERAGING = absl_flags.DEFINE_float(
    "averaging", 0.995, "decay of the generator's weight average; 0: none", 0.0, 0.9999
)
DISCRIMINATOR_STEPS = absl_flags.DEFINE_integer(
    "discriminator_steps", 1, "discriminator updates per generator update", 1, 7
)
BACKBONE = absl_flags.DEFINE_string(
    "backbone",
    None,
    "what measures distances, beside pixel features: weights of MobileNetV2 (.npz), a "
    "Keras model for images in [-1, 1] (.keras), inception (Keras' InceptionV3, from "
    "its cache or the network); default: a shipped classifier for 28x28 grey images",
)
# The defaults first.
_SCALABLE = ("dcgan", "sngan", "sagan", "attention", "prelu", "relu")
MODELS = (
    *_SCALABLE,
    *("document_a_mnist", "document_b_256", "document_c_64", "document_e_mnist"),
    "tensorflow_tutorial",
)
LOSSES = (
    "non_saturating minimax least_squares huber wasserstein hinge relativistic".split()
)
DATA_FLAGS = (
    flags.DATASET,
    flags.DATA_DIR,
    flags.FALLBACK_DATASET,
    flags.LIMIT,
    flags.OUT_DIR,
    flags.OVERWRITE,
    flags.SEED,
)
NETWORK_FLAGS = (
    flags.SIZE,
    flags.CHANNELS,
    flags.MODEL,
    WIDTH,
    LATENT_DIM,
    CONDITIONAL,
)


def prepare_keras() -> None:
    """Sets `--mixed_precision` and the global seed."""
    import keras

    keras.mixed_precision.set_global_policy(flags.MIXED_PRECISION.value)
    # Initial weights come from Keras' global seed, all else from the model's own.
    keras.utils.set_random_seed(flags.SEED.value)


def strategy_scope() -> contextlib.AbstractContextManager:
    """The scope of `--strategy`, after `prepare_keras`."""
    import tensorflow as tf

    prepare_keras()
    if flags.STRATEGY.value == "mirrored":
        return tf.distribute.MirroredStrategy().scope()
    if flags.STRATEGY.value == "multi_worker":
        _worker()  # before TensorFlow waits for the others
        return tf.distribute.MultiWorkerMirroredStrategy().scope()
    return contextlib.nullcontext()


def open_run(script: str, images) -> run.RunDirectory:
    """The run directory of the command; other workers get one of their own beside it.

    Open it when all that was asked for is there: a run that cannot start leaves no
    folder behind, and `--overwrite` costs no old one. Where the fallback stood in, the
    folder remembers that: a run resumed with a network does not change its data.

    Under `multi_worker` every process trains the same weights and writes what a single
    one would; the folder of worker 0 is the run's.
    """
    folder = flags.OUT_DIR.value
    if flags.STRATEGY.value == "multi_worker":
        worker = _worker()
        folder += f"-{worker}" if worker else ""
    configuration = flags.configuration(script)
    if images.name == flags.FALLBACK_DATASET.value:
        configuration[flags.DATASET.name] = images.name
    return run.RunDirectory.open(folder, configuration, flags.OVERWRITE.value)


def _worker() -> str:
    """Name of this process beside the chief, whose folder is the run's: `worker1`."""
    try:
        configuration = json.loads(os.environ["TF_CONFIG"])
        kind, index = (configuration["task"][key] for key in ("type", "index"))
        first = "chief" if "chief" in configuration["cluster"] else "worker"
    except (KeyError, TypeError, ValueError) as error:
        raise errors.InputError(
            "--strategy=multi_worker needs $TF_CONFIG, JSON with the cluster, the "
            "task's type and its index; set it on every machine"
        ) from error
    return "" if (kind, index) == (first, 0) else f"{kind}{index}"


def load_images(size: int | None, channels: int | None):
    """`data.load` with the data flags, at the given size and channel count."""
    from gan_transfer import data

    return data.load(
        flags.DATASET.value,
        data_dir=flags.DATA_DIR.value,
        size=size,
        channels=channels,
        without=WITHOUT.value,
        limit=flags.LIMIT.value,
        seed=flags.SEED.value,
        fallback=flags.FALLBACK_DATASET.value,
    )


def classes(images) -> int:
    """Number of classes that `--conditional` asks for, 0 without it.

    Raises:
        InputError: the images have no labels.
    """
    if CONDITIONAL.value and not images.class_names:
        raise errors.InputError(
            f"--conditional: {images.name} has no labels; leave it out, sort the "
            "pictures into a sub-folder per class, or add y_train to the .npz file"
        )
    return len(images.class_names) if CONDITIONAL.value else 0


def settings_with(augment: str):
    """Our default `gan_settings.Settings` with an augmentation by name."""
    from gan_transfer import augmentation, gan_settings

    return gan_settings.Settings(augmentation=augmentation.by_name(augment))


def evaluations(steps: int) -> tuple[int, int]:
    """How often a run of `steps` updates is evaluated, and the updates in between.

    `--evaluations` times, fewer where there are not as many updates; their product is
    `steps` rounded up.
    """
    each = -(-steps // flags.EVALUATIONS.value)
    return -(-steps // each), each


def progress() -> int:
    """`verbose` of `fit`: a bar on a terminal, a line per evaluation elsewhere."""
    if not flags.VERBOSE.value:
        return 0
    return 1 if sys.stdout.isatty() else 2


def wanted_format(model: str) -> tuple[int | None, int | None]:
    """`(size, channels)` from the flags, or what the preset insists on.

    Raises:
        InputError: the flags contradict the preset.
    """
    from gan_transfer.networks import presets

    size, channels = presets.image_format(model)
    for name, asked, fixed in (
        ("size", flags.SIZE.value, size),
        ("channels", flags.CHANNELS.value, channels),
    ):
        if None not in (asked, fixed) and asked != fixed:
            raise errors.InputError(
                f"--{name}={asked} does not fit --model={model}, which is for {fixed}"
            )
    return size or flags.SIZE.value, channels or flags.CHANNELS.value


def check_layer_flags(model: str) -> None:
    """Refuse layer sizes for a preset whose own are fixed.

    Raises:
        InputError: `--width` or `--latent_dim` with one of the documents' networks.
    """
    for holder in (WIDTH, LATENT_DIM):
        if model not in _SCALABLE and flags.differs(holder):
            raise errors.InputError(
                f"--{holder.name} has no effect on --model={model}, whose layer sizes "
                "are fixed; leave it out, or use --model=dcgan"
            )
