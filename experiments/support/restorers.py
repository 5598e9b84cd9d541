"""How a command restores: the method, the network, the noise level.

Import it at the top for the flags; the networks are imported inside the functions,
after the flags are checked.
"""

import functools
from collections.abc import Callable, Sequence

from absl import flags as absl_flags

from experiments.support import flags, picture_jobs
from gan_transfer import errors

METHOD = absl_flags.DEFINE_string(
    "method", None, "how to restore: see the script's description; default: learned"
)
SIGMA = absl_flags.DEFINE_string(
    "sigma",
    "auto",
    "standard deviation of the noise, counted in 0-255 (not 0-1); auto: estimated",
)
ENSEMBLE = absl_flags.DEFINE_boolean(
    "ensemble",
    False,
    "--method=learned: mean over 8 rotations and flips, a little better, 8x slower",
)
LEARNED = "learned"
BLIND = "trained to find the damage itself: told neither noise level nor mask"
SHIPPED = {1: "restorer_gray", 3: "restorer_color"}
_HARDLY_NOISY = 2 / 255


def _is_noise_level(text: str) -> bool:
    try:
        return text == "auto" or 0 <= float(text) < 255
    except ValueError:
        return False


absl_flags.register_validator(
    SIGMA.name, _is_noise_level, message="must be auto, or a number from 0 to below 255"
)


def method(names: Sequence[str]) -> str:
    """Returns --method, one of `names`.

    Raises:
        absl.flags.Error: another one, or flags that have no effect on it.
    """
    chosen = flags.one_of(METHOD, names)
    for holder in (flags.MODEL, ENSEMBLE):
        if chosen != LEARNED and holder.value:
            raise absl_flags.Error(
                f"--{holder.name} has no effect on --method={chosen}: leave it out"
            )
    return chosen


def noise_level(
    estimate: Callable[[], float], *, grain: bool = False
) -> tuple[float, str]:
    """Returns --sigma on the scale of the pixels, estimated if auto, and a remark.

    Args:
        estimate: of the level, on the scale of the pixels.
        grain: whether to say, where hardly any noise is found, that grain is none.
    """
    if SIGMA.value == "auto":
        level, origin = estimate(), "estimated"
        if grain and level < _HARDLY_NOISY:
            # White noise only: the grain of old prints spans several pixels.
            origin += "; grain is no white noise: --sigma=15 removes more"
        return level, f"noise {255 * level:.1f} of 255 ({origin})"
    given = float(SIGMA.value)
    origin = "given; --sigma counts in 0-255" if 0 < given < 1 else "given"
    return given / 255, f"noise {given:g} of 255 ({origin})"


def refuse_holes() -> None:
    """To be called where pixels are missing and --model is to fill them.

    Raises:
        errors.InputError: it was trained on noise alone and never saw a mask.
    """
    from restoration import pretrained

    model = flags.MODEL.value
    if model is not None and pretrained.describe(model).get("damage") == "noise":
        raise errors.InputError(
            f"--model={model} was trained on noise alone and cannot fill missing "
            f"pixels or impulses; use --model={' or '.join(SHIPPED.values())}"
        )


def is_blind(mask: bool = False) -> bool:
    """Whether nothing told --model of the damage when it was trained.

    Args:
        mask: whether the command's flags mark damage.

    Raises:
        errors.InputError: it was so, and --sigma or a mask would tell it something.
    """
    from restoration import pretrained

    model = flags.MODEL.value
    if model is None:
        return False
    # Of a file that does not say what it was trained on: as the shipped ones.
    told = pretrained.describe(model).get("damage", "mixture")
    if told in pretrained.TOLD:
        return False
    if mask or SIGMA.value != "auto":
        what = "the mask" if mask else "--sigma"
        raise errors.InputError(f"--model={model} was {BLIND}; leave {what} out")
    return True


def networks(*, blind: bool = False) -> Callable[[int], object]:
    """Returns what gives the network for 1 or 3 channels: --model, or a shipped one.

    Args:
        blind: whether the command applies networks that are told nothing, too.

    Raises:
        errors.InputError: --model cannot be loaded, must be told nothing, or later, is
            for other channels.
    """
    from restoration import pretrained

    load = functools.cache(pretrained.load)
    model = flags.MODEL.value
    if model is None:
        return lambda channels: load(SHIPPED[channels])
    made_for = load(model).inputs[0].shape[-1]
    if is_blind() and not blind:
        raise errors.InputError(
            f"--model={model} was {BLIND}; use it with experiments.restore or "
            "experiments.denoise"
        )

    def given(channels: int):
        if channels != made_for:
            raise errors.InputError(
                f"a {picture_jobs.KINDS[channels]} picture, and --model={model} is for "
                f"{picture_jobs.KINDS[made_for]} ones; use --model={SHIPPED[channels]}"
            )
        return load(model)

    return given
