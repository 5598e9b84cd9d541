"""Parts of a data set: some, held out, limited, left out (document A 3.2)."""

from collections.abc import Sequence

import numpy as np

from gan_transfer import errors


def some(images: np.ndarray, count: int) -> np.ndarray:
    """Chooses images to show or to measure with, seeded and in their order (E 6).

    The first ones would be of the first class where a set is sorted.

    Args:
      images: `[N, ...]`.
      count: images to choose; where there are no more, all of them.

    Returns:
      `[min(count, N), ...]`; the same ones for the same N.
    """
    order = np.random.default_rng(0).permutation(len(images))
    return images[np.sort(order[:count])]


def hold_out(
    images: np.ndarray, labels: np.ndarray | None, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]:
    """Splits off a validation part, seeded and disjoint (document A 3.2).

    With labels the part has the classes in the proportions of the whole. Both parts
    keep the order of the images.

    Args:
      images: `[N, ...]`.
      labels: integers `[N]`, or None.
      count: images to hold out, 1 to N - 1.
      seed: same seed, same split.

    Returns:
      The remaining images and labels, then the held-out images and labels.

    Raises:
      errors.InputError: `count` leaves one of the parts empty.
    """
    if not 1 <= count < len(images):
        raise errors.InputError(
            f"cannot hold out {count} of {len(images)} images; "
            "at least one must be on either side, so use more images"
        )
    order = np.random.default_rng(seed).permutation(len(images))
    if labels is not None:
        # Evenly spaced positions per class: any prefix has the proportions.
        rank, total = _rank_in_class(labels[order])
        order = order[np.argsort((rank + 0.5) / total, kind="stable")]
    held, kept = np.sort(order[:count]), np.sort(order[count:])
    if labels is None:
        return images[kept], None, images[held], None
    return images[kept], labels[kept], images[held], labels[held]


def limited(
    train: np.ndarray, labels: np.ndarray | None, limit: int, seed: int, name: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Chooses training images, seeded and in their order (document A 3.2).

    With labels the counts of the classes differ by at most one, as long as no class
    runs out.

    Args:
      train: `[N, ...]`.
      labels: integers `[N]`, or None.
      limit: images to keep, 1 to N.
      seed: same seed, same choice.
      name: of the data, for the error.

    Returns:
      The chosen images and their labels.

    Raises:
      errors.InputError: there are not as many.
    """
    if not 1 <= limit <= len(train):
        raise errors.InputError(
            f"limit is {limit}, but {name} has {len(train)} training images; "
            f"use 1 to {len(train)}"
        )
    order = np.random.default_rng(seed).permutation(len(train))
    if labels is not None:
        rank, _ = _rank_in_class(labels[order])
        order = order[np.argsort(rank, kind="stable")]
    kept = np.sort(order[:limit])
    return train[kept], None if labels is None else labels[kept]


def without(
    pixels: np.ndarray, labels: np.ndarray | None, left_out: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Leaves out the images that are equal, in every pixel, to given ones (B 2.1).

    Args:
      pixels: uint8 `[N, H, W, C]`.
      labels: integers `[N]`, or None.
      left_out: arrays uint8 `[M, H, W, C]`.

    Returns:
      The remaining images, in their order, and their labels.

    Raises:
      errors.InputError: another format, so that none can be equal; or none remains.
    """
    for others in left_out:
        if others.shape[1:] != pixels.shape[1:]:
            raise errors.InputError(
                f"images to leave out are {list(others.shape[1:])}, those to take from "
                f"{list(pixels.shape[1:])}; none can be equal"
            )
    gone = {image.tobytes() for others in left_out for image in others}
    kept = [index for index, image in enumerate(pixels) if image.tobytes() not in gone]
    if not kept:
        raise errors.InputError("without the images to leave out no image remains")
    return pixels[kept], None if labels is None else labels[kept]


def _rank_in_class(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each item's position within its class, and the size of that class."""
    rank, total = np.empty(len(labels), int), np.empty(len(labels), int)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members], total[members] = np.arange(len(members)), len(members)
    return rank, total
