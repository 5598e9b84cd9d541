"""What the restoration transfer study carries a denoiser to: content and damage."""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from experiments.support import restoration_data, sheet

SIDE = 192  # pixels, of the pictures measured with, and of pages and sheets
_TEST = 16  # pictures to measure with
_SIGMA = 25 / 255
_LETTERS = "aaabcdeeeefghiiijklmnnnoooprrssstttuuvwxyzABCDEFGHIJLMNOPRSTUVW0123456789,."
# Grey of rust brown, and of scratched film.
_PAINTS = ((0.35, 0.35, 0.35), (0.9, 0.9, 0.9))
_FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral")


@dataclasses.dataclass(frozen=True)
class Target:
    """Pictures that were not seen before, and how they are damaged.

    Attributes:
        train: uint8 `[H, W, 1]`, 100 or more.
        test: 16 others, `SIDE` a side.
        damage: (clean, key) -> (damaged, level, mask); for training.
        test_damage: the same, from damages that training does not see.
    """

    train: list[np.ndarray]
    test: list[np.ndarray]
    damage: Callable
    test_damage: Callable


def text() -> Target:
    """Rendered pages of text, Gaussian noise of 25 of 255."""
    from restoration import mixture

    pages = [_page(np.random.default_rng((1, number))) for number in range(100 + _TEST)]
    noise = mixture.FixedGaussian(_SIGMA)
    return Target(pages[_TEST:], pages[:_TEST], noise, noise)


def omniglot() -> Target:
    """Sheets of handwritten characters, Gaussian noise of 25 of 255.

    The alphabets of the test sheets are not among those of the training sheets.
    """
    from restoration import mixture

    path = restoration_data.find("omniglot_small.npz")
    with np.load(path, allow_pickle=False) as archive:
        characters, alphabets = archive["x"], archive["alphabet"]
    held = np.isin(alphabets, np.unique(alphabets)[-2:])
    sheets = [
        [
            _sheet(characters[chosen], np.random.default_rng((2, number)))
            for number in range(count)
        ]
        for chosen, count in ((~held, 100), (held, _TEST))
    ]
    noise = mixture.FixedGaussian(_SIGMA)
    return Target(*sheets, noise, noise)


def rust() -> Target:
    """Photographs with rust, stains and scratches that nobody marked.

    Photographs and overlays of the test are not among those of the training.
    """
    from restoration import overlays, patches, unmarked

    alphas = overlays.read(restoration_data.find("restoration/film_damage"))
    kinds = ("scratches", "stain", "spots", "dirt", "smut")
    names = [name for name in alphas if name.split("/")[0] in kinds]
    held = names[::4]
    banks = [
        overlays.bank([alphas[name] for name in chosen], SIDE)
        for chosen in ([name for name in names if name not in held], held)
    ]
    folders = ("restoration/bsds500_train", "restoration/bsd68_gray")
    train, test = (
        patches.read_folders([restoration_data.find(name)], 1) for name in folders
    )
    test = [picture[:SIDE, :SIDE] for picture in test[:_TEST]]
    damages = [unmarked.Overlays(bank, _PAINTS) for bank in banks]
    return Target(train, test, *damages)


TARGETS = {"text": text, "omniglot": omniglot, "rust": rust}


def _page(rng: np.random.Generator) -> np.ndarray:
    picture = Image.new("L", (SIDE, SIDE), int(rng.integers(225, 256)))
    draw = ImageDraw.Draw(picture)
    font = sheet.font(_FONTS[rng.integers(len(_FONTS))], int(rng.integers(9, 19)))
    top, ink = int(rng.integers(0, 8)), int(rng.integers(0, 60))
    while top < SIDE:
        words = [_word(rng) for _ in range(8)]
        draw.text((int(rng.integers(2, 8)), top), " ".join(words), ink, font)
        top += int(font.size * rng.uniform(1.2, 1.6))
    return np.asarray(picture)[..., None]


def _word(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(_LETTERS), rng.integers(2, 10)))


def _sheet(characters: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """7x7 characters, cropped to the study's side."""
    chosen = characters[rng.permutation(len(characters))[:49]].reshape(7, 7, 28, 28)
    sheet_ = chosen.transpose(0, 2, 1, 3).reshape(196, 196)
    return sheet_[2:-2, 2:-2, None]
