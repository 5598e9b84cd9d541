"""Two unpaired domains: flags, images, known mappings between them, damage.

Import it at the top for the flags; TensorFlow and the packages are imported inside the
functions, after the flags are checked.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from absl import flags as absl_flags

from experiments.support import flags, generation
from gan_transfer import errors

DATASET_B = absl_flags.DEFINE_string(
    "dataset_b",
    None,
    "images of domain B, brought to the size and channels of --dataset, which is "
    "domain A, and whole whatever --limit says; default: one half of --dataset, the "
    "other half being domain A",
)
KNOWN_MAPPING = absl_flags.DEFINE_enum(
    "known_mapping",
    "none",
    ["none", "invert", "outline"],
    "what makes domain B of half the images: negatives, or outlines of bright strokes; "
    "the translator's distance to it is measured",
)
DAMAGE = absl_flags.DEFINE_enum(
    "damage_a",
    "none",
    ["none", "noise", "stains"],
    "what makes domain A of half the images, domain B being the clean other half: "
    "noise of deviation 0.3 in [0, 1], or stains on 5 to 25 % of the pixels",
)
FLAGS = (DATASET_B, KNOWN_MAPPING, DAMAGE)
_SIGMA = 0.3

Mapping = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Domain:
    """Images of one domain, uint8 `[N, S, S, C]`.

    Attributes:
        name: for titles and the names of scores.
        train: to train on.
        test: for reported numbers only.
        truth: what `test` should be translated to, or None where nobody knows.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    truth: np.ndarray | None = None


def load() -> tuple[object, Domain, Domain]:
    """The data set of domain A as loaded, domain A and domain B.

    Halves of one data set have no image in common, neither for training nor for tests.

    Raises:
        absl.flags.Error: flags that exclude each other.
        errors.InputError: the two domains would be the same, or cannot be had.
    """
    made = (KNOWN_MAPPING.value, DAMAGE.value, DATASET_B.value or "none")
    if sum(each != "none" for each in made) != 1:
        raise absl_flags.Error(
            "the domains need one of --dataset_b, --known_mapping and --damage_a, and "
            "only one: two data sets, or halves of one of which one half is changed"
        )
    images = generation.load_images(flags.SIZE.value, flags.CHANNELS.value)
    if DATASET_B.value is not None:
        return images, *_two_sets(images)
    (train_a, train_b), (test_a, test_b) = map(_halves, (images.train, images.test))
    name = images.name
    if KNOWN_MAPPING.value != "none":
        mapped = _MAPPINGS[KNOWN_MAPPING.value]
        mapped_name = f"{name}_{KNOWN_MAPPING.value}"
        a = Domain(name, train_a, test_a, mapped(test_a))
        return images, a, Domain(mapped_name, mapped(train_b), mapped(test_b), test_b)
    damage = _DAMAGES[DAMAGE.value]
    damaged = [_damaged(part, damage) for part in (train_a, test_a)]
    a = Domain(f"{name}_{DAMAGE.value}", *damaged, test_a)
    return images, a, Domain(name, train_b, test_b)


def _two_sets(images) -> tuple[Domain, Domain]:
    from gan_transfer import data

    other = data.load(
        DATASET_B.value,
        data_dir=flags.DATA_DIR.value,
        size=images.size,
        channels=images.channels,
        seed=flags.SEED.value,
    )
    if other.name == images.name:
        raise errors.InputError(
            f"--dataset and --dataset_b are both {images.name}: give another "
            "--dataset_b, or --known_mapping or --damage_a instead of it"
        )
    return tuple(Domain(each.name, each.train, each.test) for each in (images, other))


def _halves(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from gan_transfer import subsets

    first, _, second, _ = subsets.hold_out(
        images, None, len(images) // 2, flags.SEED.value
    )
    return first, second


def brought_into(name: str, images: np.ndarray) -> np.ndarray:
    """Images of a data set as the domain called `name` has them.

    A domain that is called data set, underscore and a mapping or damage has them
    mapped or damaged; any other as they are.

    Args:
        name: of a `Domain`.
        images: uint8 `[N, S, S, C]`.
    """
    change = name.rpartition("_")[2]
    if change in _MAPPINGS:
        return _MAPPINGS[change](images)
    return _damaged(images, _DAMAGES[change]) if change in _DAMAGES else images


def _outline(images: np.ndarray) -> np.ndarray:
    """Maximum over 3x3 pixels minus the pixel: strokes become their outlines."""
    from gan_transfer import translation_tasks

    return translation_tasks.bold(images) - images


_MAPPINGS: dict[str, Mapping] = {
    "invert": lambda images: 255 - images,
    "outline": _outline,
}


def _damaged(images: np.ndarray, damage) -> np.ndarray:
    rng = np.random.default_rng(flags.SEED.value)
    pixels = (damage(image / np.float32(255), rng) for image in images)
    return np.stack([np.uint8(np.round(255 * np.clip(x, 0, 1))) for x in pixels])


def _noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    from restoration import degradations

    return degradations.gaussian_noise(image, _SIGMA, rng)


def _stains(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    from restoration import degradations, masks

    share = rng.uniform(0.05, 0.25)
    opacity = rng.uniform(0.6, 1) * masks.blobs(image.shape[:2], share, rng)[..., 0]
    return degradations.overlay(image, opacity, "stain")[0]


_DAMAGES = {"noise": _noise, "stains": _stains}
