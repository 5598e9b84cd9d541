"""Command-line flags that several scripts share; packages never see them.

A script names the ones it obeys, `adopt(DATASET, STEPS, OUT_DIR)`, at its top:
`--help` lists them, `flags.txt` stores them, and giving another one is an error.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import flags as absl_flags

DATASET = absl_flags.DEFINE_string(
    "dataset",
    "mnist",
    "images to use: a named set (mnist, fashion_mnist, glyphs, ...), a .npz or .npy "
    "file, or a folder of pictures",
)
DATA_DIR = absl_flags.DEFINE_string(
    "data_dir",
    None,
    "folder in which named sets are looked for first; default: $GAN_TRANSFER_DATA",
)
FALLBACK_DATASET = absl_flags.DEFINE_enum(
    "fallback_dataset",
    None,
    ["glyphs"],
    "set to go on with where --dataset can neither be found nor downloaded; "
    "default: none, stop with an error",
)
LIMIT = absl_flags.DEFINE_integer(
    "limit",
    None,
    "number of images to use: of training images a seeded class-balanced choice, of a "
    "test set the first ones; default: all",
    lower_bound=1,
)
SIZE = absl_flags.DEFINE_integer(
    "size",
    None,
    "side of the square images in pixels, 16 to 256, for the convolutional networks 4, "
    "5, 6 or 7 times a power of two; default: as stored, of folders what fits",
    lower_bound=16,
    upper_bound=256,
)
CHANNELS = absl_flags.DEFINE_integer(
    "channels", None, "colour channels, 1 (grey) or 3 (RGB); default: as stored"
)
absl_flags.register_validator(
    CHANNELS.name,
    lambda channels: channels in (None, 1, 3),
    message="must be 1 (grey) or 3 (RGB)",
)
OUT_DIR = absl_flags.DEFINE_string(
    "out_dir",
    None,
    "folder for everything the run writes; default: "
    "runs/<script>-<name of the flagfile>",
)
OVERWRITE = absl_flags.DEFINE_boolean(
    "overwrite",
    False,
    "start anew where --out_dir holds a run; replace what --output names",
)
STEPS = absl_flags.DEFINE_integer(
    "steps",
    None,
    "updates of the weights, at least 1; default: chosen by the script and printed",
    lower_bound=1,
)
BATCH_SIZE = absl_flags.DEFINE_integer(
    "batch_size",
    64,
    "images per update over all replicas together, 1 to 4096",
    lower_bound=1,
    upper_bound=4096,
)
SEED = absl_flags.DEFINE_integer(
    "seed",
    0,
    "fixes every random choice of the run, 0 to 2147483647",
    lower_bound=0,
    upper_bound=2**31 - 1,
)
STRATEGY = absl_flags.DEFINE_enum(
    "strategy",
    "none",
    ["none", "mirrored", "multi_worker"],
    "tf.distribute strategy: none (one device), mirrored (all GPUs of this machine), "
    "multi_worker (the machines that $TF_CONFIG names)",
)
MIXED_PRECISION = absl_flags.DEFINE_enum(
    "mixed_precision",
    "float32",
    ["float32", "mixed_bfloat16", "mixed_float16"],
    "Keras dtype policy of the networks; the mixed ones pay on GPUs and on CPUs "
    "with bfloat16 units",
)
MODEL = absl_flags.DEFINE_string(
    "model",
    None,
    "networks to train, or the trained model to use: a shipped name, a file or a run "
    "directory; default: see the script's description",
)
RECIPE = absl_flags.DEFINE_string(
    "recipe", None, "how to fine-tune: see the script's description"
)
LOSS = absl_flags.DEFINE_string(
    "loss", None, "loss to minimise: see the script's description"
)
LEARNING_RATE = absl_flags.DEFINE_float(
    "learning_rate", 1e-3, "of Adam", lower_bound=1e-8
)
EVALUATIONS = absl_flags.DEFINE_integer(
    "evaluations",
    10,
    "how often the run is evaluated and its state saved; --steps is rounded up to a "
    "multiple",
    lower_bound=1,
)
COUNTS = absl_flags.DEFINE_list(
    "counts", None, "numbers of target images of a study, separated by commas"
)
METHODS = absl_flags.DEFINE_list(
    "methods",
    None,
    "methods of a study's or benchmark's table, separated by commas; default: all",
)
SEEDS = absl_flags.DEFINE_integer("seeds", 3, "repetitions, with seeds 0, 1, ...", 1)
TASKS = absl_flags.DEFINE_integer("tasks", 240, "tasks to meta-train on", lower_bound=4)
TEST_TASKS = absl_flags.DEFINE_integer(
    "test_tasks", 52, "unseen tasks to test on, of every part", lower_bound=4
)
VALIDATION_TASKS = absl_flags.DEFINE_integer(
    "validation_tasks", 12, "tasks to choose rates on, of the kinds trained on", 4
)
SHOTS = absl_flags.DEFINE_list(
    "shots", ["1", "5", "10"], "numbers of examples of an unseen task, 1 to 10"
)
ADAPTATION = absl_flags.DEFINE_list(
    "adaptation",
    ["1", "5", "10", "50"],
    "numbers of steps on an unseen task, 1 or more",
)
SCALE = absl_flags.DEFINE_float(
    "scale",
    1.0,
    "share of the updates that the flagfiles of a study's cells ask for, up to 10",
    1e-4,
    10.0,
)
START_FROM = absl_flags.DEFINE_string(
    "start_from",
    None,
    "pretrained model to start from: a shipped name, a .gan.npz file or a run "
    "directory; default: none",
)
COUNT = absl_flags.DEFINE_integer(
    "count", None, "images to draw, 1 to 1024; default: a sheet of them", 1, 1024
)
VERBOSE = absl_flags.DEFINE_boolean("verbose", True, "print progress while training")

# From here on absl takes a script that calls adopt() as the one that adopts.
absl_flags.disclaim_key_flags()


def adopt(*holders: absl_flags.FlagHolder) -> None:
    """Makes shared flags the calling script's own."""
    for holder in holders:
        absl_flags.declare_key_flag(holder)


def require(*holders: absl_flags.FlagHolder) -> None:
    """Refuses a command line without some flags, and says how one with them looks.

    Raises:
        absl.flags.Error: a flag has no value.
    """
    missing = [holder.name for holder in holders if not holder.value]
    if missing:
        example = " ".join(f"--{holder.name}=..." for holder in holders)
        target = pathlib.Path(default_out_dir(sys.argv)).name
        # Without a flagfile there is no such target.
        by_make = f', or make {target} ARGS="{example}"' if "-" in target else ""
        raise absl_flags.Error(f"--{missing[0]} is missing: add {example}{by_make}")


def one_of(holder: absl_flags.FlagHolder, values: Sequence[str]) -> str:
    """Returns the value of a flag whose choices are the script's own.

    Args:
        holder: such as `MODEL`, `RECIPE` or `LOSS`.
        values: what the script knows; the first is the default.

    Raises:
        absl.flags.Error: another value.
    """
    value = values[0] if holder.value is None else holder.value
    if value not in values:
        raise absl_flags.Error(
            f"--{holder.name}={value}: should be one of {', '.join(values)}"
        )
    return value


def default(holder: absl_flags.FlagHolder, value) -> None:
    """Fills in the script's own default of a shared flag that was not given."""
    if not holder.present:
        absl_flags.FLAGS[holder.name].value = value


def differs(holder: absl_flags.FlagHolder) -> bool:
    """Returns whether a flag has another value than its default.

    `present` would be true of all flags in the flags.txt of a run.
    """
    return holder.value != holder.default


def given(holder: absl_flags.FlagHolder, default: list[str]) -> list[str]:
    """Returns the value of `COUNTS` or `METHODS`, or the script's default."""
    return default if holder.value is None else holder.value


def settle(arguments: Sequence[str]) -> None:
    """Checks the parsed command line and fills in the default of --out_dir.

    Args:
        arguments: what absl left over: the script's name, then everything that is
            no flag.

    Raises:
        absl.flags.Error: an argument is no flag, or a flag is a shared one that the
            script does not obey.
    """
    if len(arguments) > 1:
        raise absl_flags.Error(
            f"'{arguments[1]}' is not a flag: write --name=value, also in flagfiles"
        )
    script = arguments[0]
    own = absl_flags.FLAGS.get_key_flags_for_module(script)
    package = __name__.rpartition(".")[0]
    shared = [
        flag
        for module, held in absl_flags.FLAGS.flags_by_module_dict().items()
        if module.startswith(f"{package}.")
        for flag in held
    ]
    for flag in shared:
        if flag.present and flag not in own:
            raise absl_flags.Error(
                f"--{flag.name} has no effect on {pathlib.Path(script).stem}: "
                "leave it out (--help lists the flags it has)"
            )
    if OUT_DIR.value is None:
        absl_flags.FLAGS[OUT_DIR.name].value = default_out_dir(sys.argv)


def default_out_dir(command_line: Sequence[str]) -> str:
    """Names the run directory of a command.

    Args:
        command_line: as in `sys.argv`: the script, then the arguments.

    Returns:
        `runs/<script>-<flagfile>` of the last `--flagfile`, underscores as hyphens:
        the name of the make target. `runs/<script>` without a flagfile or with one
        named `default.flags`.
    """
    name = pathlib.Path(command_line[0]).stem
    prefixes = ("--flagfile=", "-flagfile=")
    files = [a.partition("=")[2] for a in command_line[1:] if a.startswith(prefixes)]
    if files and (stem := pathlib.Path(files[-1]).stem) != "default":
        name = f"{name}-{stem}"
    return f"runs/{name.replace('_', '-')}"


def configuration(script: str) -> dict[str, str]:
    """Returns what `RunDirectory.open` stores: the script's own flags as text.

    Args:
        script: `argv[0]` as absl gives it to `main`, or a module's name.

    Returns:
        Flag name -> value, a line for each value of a flag that may be given
        several times. Flags without a value and --overwrite are left out.
    """
    texts = {}
    for flag in absl_flags.FLAGS.get_key_flags_for_module(script):
        if flag.value is None or flag.name == OVERWRITE.name:
            continue
        if flag.boolean:
            texts[flag.name] = str(flag.value).lower()
        else:
            lines = flag.serialize().split("\n")
            texts[flag.name] = "\n".join(line.partition("=")[2] for line in lines)
    return texts
