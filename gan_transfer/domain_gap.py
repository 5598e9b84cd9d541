"""How far is the target from what a source model makes? (documents B 3.2, B 5).

Measured before training, on samples and feature extractors alone: it chooses among
sources, names a recipe and says where transfer promises nothing.
"""

import dataclasses

import numpy as np

from gan_transfer import errors, features, metrics, nearest_neighbours

NEIGHBOURS = 5  # of the balls around source samples
_LARGEST = 2000  # target images looked at
_SPLITS = 10
_FEW, _MANY = 10, 5000  # target images
_NEAR, _FAR = 0.6, 0.2  # nearness


@dataclasses.dataclass(frozen=True)
class Gap:
    """The gap in the features of one extractor (document B 5).

    Attributes:
        distance: unbiased `metrics.kernel_distance` of source samples and target.
        distance_sd: its standard deviation over subsets.
        floor: the same between two random halves of the target, mean over ten splits,
            about 0; None below 4 target images.
        floor_sd: its standard deviation over the splits.
        recall: share of target images in the ball of some source sample, 0..1.
        own_recall: the same share of further source samples: the most one can expect.
    """

    distance: float
    distance_sd: float
    floor: float | None
    floor_sd: float | None
    recall: float
    own_recall: float


@dataclasses.dataclass(frozen=True)
class DomainGap:
    """From a source model's samples to the target's images (documents B 3.2, B 5).

    Attributes:
        count: target images.
        new_layers: whether size or classes are not the source's: some layers are new.
        conditional: whether the source has classes.
        gaps: one per extractor.
    """

    count: int
    new_layers: bool
    conditional: bool
    gaps: dict[str, Gap]

    @property
    def nearness(self) -> float:
        """Mean over extractors of min(1, recall / own_recall), 0..1 (document B 5).

        1 for a target that the source makes already. Source: Grigoryev, Voynov,
        Babenko, "When, Why, and Which Pretrained GANs Are Useful?", ICLR 2022, choose
        the source by its recall of the target.
        """
        shares = [
            min(1.0, gap.recall / max(gap.own_recall, 1e-12))
            for gap in self.gaps.values()
        ]
        return float(np.mean(shares))

    @property
    def recipe(self) -> str:
        """The recipe that fits, a name of `recipes.RECIPES` (document A 3.2(2)).

        Up to 10 images: `latent_head` where the source makes such images already
        (nearness 0.6 or more) and has no classes, else `cross_domain_correspondence`;
        above 5,000 `fine_tune`; between them, and where some layers are new,
        `freeze_discriminator`.
        """
        if self.count > _MANY:
            return "fine_tune"
        if self.count > _FEW or self.new_layers:
            return "freeze_discriminator"
        if self.nearness >= _NEAR and not self.conditional:
            return "latent_head"
        return "cross_domain_correspondence"

    def advice(self) -> str:
        """One sentence: is transfer advisable, and how? (document B 5).

        By nearness: from 0.6 on the target lies inside the source's domain, from 0.2
        on beside it, and transfer is advisable; below it is not, other than for up to
        10 images, which are too few for anything else. The lower limit lies between the
        known outcomes (README): from faces to babies (0.30) and to elderly faces (0.28)
        transfer ended far below training from scratch with augmentation, from MNIST to
        Fashion-MNIST (0.10) it gained nothing.
        """
        place = "inside" if self.nearness >= _NEAR else "beside"
        if self.nearness < _FAR:
            place = "far from"
        found = f"the target is {place} the source's domain (nearness "
        found += f"{self.nearness:.2f})"
        if self.nearness >= _FAR:
            return f"{found}: transfer is advisable, by {self.recipe}"
        if self.count <= _FEW:
            return (
                f"{found}, yet {self.count} images are too few to train from scratch: "
                f"transfer by {self.recipe}, and expect the source's shapes"
            )
        return (
            f"{found}: transfer is not advisable, look for a nearer source or train "
            f"from scratch with augmentation; if at all, by {self.recipe}"
        )


def measure(
    source: np.ndarray,
    target: np.ndarray,
    extractors: dict[str, features.Extractor],
    *,
    new_layers: bool = False,
    conditional: bool = False,
    seed: int = 0,
) -> DomainGap:
    """The gap between two sets of images, per extractor (documents B 3.2, B 5).

    A ball of a source sample reaches to its fifth nearest other sample in the first
    half of `source`; the second half measures `own_recall`. A classifier trained on
    both domains, or a generator that falls short in its own, lowers the recall: give
    two unrelated extractors.

    Args:
        source: samples of the source model, uint8 `[N, H, W, C]`, N at least 12,
            brought to the target's format (`data.to_format`).
        target: uint8 `[M, H, W, C]`, M at least 2; a seeded 2,000 of them are used.
        extractors: by name.
        new_layers: see `DomainGap`.
        conditional: see `DomainGap`.
        seed: fixes subsets and splits.

    Raises:
        InputError: too few images.
    """
    if len(source) < 2 * NEIGHBOURS + 2 or len(target) < 2:
        raise errors.InputError(
            f"a domain gap takes 12 source samples and 2 target images or more, not "
            f"{len(source)} and {len(target)}; add pictures to --dataset"
        )
    order = np.random.default_rng(seed).permutation(len(target))[:_LARGEST]
    gaps = {
        name: _gap(
            features.extract(extractor, source).astype(np.float64),
            features.extract(extractor, target[order]).astype(np.float64),
            seed,
        )
        for name, extractor in extractors.items()
    }
    return DomainGap(len(target), new_layers, conditional, gaps)


def _gap(source: np.ndarray, target: np.ndarray, seed: int) -> Gap:
    """The gap between two sets of feature rows."""
    distance, spread = metrics.kernel_distance(source, target, seed=seed)
    generator, half = np.random.default_rng(seed), len(target) // 2
    floors = []
    for _ in range(_SPLITS if half > 1 else 0):
        rows = target[generator.permutation(len(target))]
        floors.append(metrics.kernel_distance(rows[:half], rows[half : 2 * half])[0])
    balls, others = np.array_split(source, 2)
    return Gap(
        distance=distance,
        distance_sd=spread,
        floor=float(np.mean(floors)) if floors else None,
        floor_sd=float(np.std(floors)) if floors else None,
        recall=_recalled(target, balls),
        own_recall=_recalled(others, balls),
    )


def _recalled(rows: np.ndarray, balls: np.ndarray) -> float:
    """Share of `rows` [N, D] inside a ball of `balls` [M, D], any N."""
    radii = nearest_neighbours.squared_radii(balls, NEIGHBOURS)
    blocks = nearest_neighbours.squared_distance_blocks(rows, balls)
    return sum(int((each <= radii).any(axis=1).sum()) for _, each in blocks) / len(rows)
