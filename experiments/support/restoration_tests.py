"""The restoration benchmark's tests: pictures, damage, the protocol of every number."""

import dataclasses
import functools

import numpy as np

from experiments.support import restoration_data

SETS = {
    "set12": "restoration/set12_gray",
    "set12_small": "restoration/set12_gray",
    "bsd68": "restoration/bsd68_gray",
    "cbsd68": "restoration/cbsd68",
}
_KERNELS = "restoration/levin09_8kernels.npz"
_SMALL = 7  # Set12's 01 to 07, 256x256
PROTOCOL = (
    "damage drawn by numpy.random.RandomState(0) anew for every picture, noise not "
    "clipped; output clipped and rounded to 8 bits; PSNR of the whole picture, colour "
    "over RGB; mean over the pictures (and kernels)"
)


@dataclasses.dataclass(frozen=True)
class Test:
    """One row group of the table.

    Attributes:
        set: of `SETS`.
        damage: noise, missing, impulses or blur.
        level: standard deviation of 255, or per cent of the pixels.
    """

    set: str
    damage: str
    level: float

    @property
    def name(self) -> str:
        """`bsd68-noise-25`: for flags, files and the table."""
        return f"{self.set}-{self.damage}-{self.level:g}"

    @property
    def channels(self) -> int:
        """1 or 3."""
        return 3 if self.set == "cbsd68" else 1


TESTS = {
    test.name: test
    for test in (
        *(
            Test(name, "noise", s)
            for name in SETS
            if name != "set12_small"
            for s in (15, 25, 50)
        ),
        Test("set12_small", "noise", 25),
        *(Test("set12_small", "missing", share) for share in (50, 80)),
        *(Test("set12_small", "impulses", share) for share in (30, 50, 70)),
        *(Test("set12_small", "blur", sigma) for sigma in (2.55, 7.65)),
    )
}


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One damaged picture; images float32 `[H, W, C]` in [0, 1].

    Attributes:
        clean: the truth.
        damaged: what the method gets, missing pixels 0.
        sigma: noise level told to the method, 0..1.
        mask: `[H, W, 1]`, 1 = missing, or None.
        kernel: blur kernel, or None.
    """

    clean: np.ndarray
    damaged: np.ndarray
    sigma: float
    mask: np.ndarray | None = None
    kernel: np.ndarray | None = None


def cases(test: Test, limit: int | None):
    """Yields the cases of a test, at most `limit` pictures."""
    for clean in pictures(test.set, test.channels)[:limit]:
        if test.damage == "blur":
            for kernel in _kernels():
                yield _blurred(clean, test.level / 255, kernel)
        else:
            yield _damaged(clean, test.damage, test.level)


@functools.cache
def pictures(name: str, channels: int) -> list[np.ndarray]:
    """A test set in the order of its file names, float32 in [0, 1].

    Raises:
        errors.InputError: the folder is missing.
    """
    from gan_transfer import images

    paths = images.list_folder(restoration_data.find(SETS[name]))
    paths = paths[:_SMALL] if name == "set12_small" else paths
    return [images.read(path, channels).astype(np.float32) / 255 for path in paths]


def _damaged(clean: np.ndarray, damage: str, level: float) -> Case:
    from restoration import degradations

    draws = np.random.RandomState(0)
    if damage == "noise":
        noisy = degradations.gaussian_noise(clean, level / 255, draws)
        return Case(clean, noisy, level / 255)
    # The reference runs' own draws, which `masks` and `degradations` do not share.
    uniform = draws.uniform(size=(*clean.shape[:2], 1))
    if damage == "missing":
        mask = (uniform < level / 100).astype(np.float32)
        return Case(clean, clean * (1 - mask), 0.0, mask)
    struck = np.where(uniform < level / 200, np.float32(0), clean)
    struck = np.where(uniform > 1 - level / 200, np.float32(1), struck)
    return Case(clean, struck.astype(np.float32), 0.0)


def _blurred(clean: np.ndarray, sigma: float, kernel: np.ndarray) -> Case:
    from restoration import degradations

    blurred = degradations.blur(clean, kernel)
    noisy = degradations.gaussian_noise(blurred, sigma, np.random.RandomState(0))
    return Case(clean, noisy, sigma, kernel=kernel)


@functools.cache
def _kernels() -> tuple[np.ndarray, ...]:
    with np.load(restoration_data.find(_KERNELS), allow_pickle=False) as archive:
        return tuple(archive[f"k{number}"] for number in range(1, 9))
