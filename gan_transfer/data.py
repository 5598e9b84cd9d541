"""Data sets: named, from array files or folders (document A 3.2, document B 3.2.1).

Images stay uint8 `[N, H, W, C]` in memory. The float32 [-1, 1] of the generation
networks is made here, by `to_float` and `batches`, and nowhere else.
"""

import dataclasses
import os

import numpy as np
import tensorflow as tf

from gan_transfer import errors, images, sources, subsets

_HELD_OUT_AS_TEST = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """A data set in memory (document A 3.2, document B 3.2.1).

    Attributes:
      name: of the data really used, also where a fallback stood in.
      train: uint8 `[N, H, W, C]`.
      test: uint8 `[M, H, W, C]`, for reported numbers only.
      train_labels: int32 `[N]`, or None.
      test_labels: int32 `[M]`, or None.
      class_names: one per class, empty without labels.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    train_labels: np.ndarray | None
    test_labels: np.ndarray | None
    class_names: tuple[str, ...]

    @property
    def size(self) -> int:
        """Pixels per side (document B 3.2.1)."""
        return self.train.shape[1]

    @property
    def channels(self) -> int:
        """1 or 3 (document B 3.2.1)."""
        return self.train.shape[3]


def load(
    source: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    size: int | None = None,
    channels: int | None = None,
    without: str | os.PathLike | None = None,
    limit: int | None = None,
    seed: int = 0,
    fallback: str | None = None,
) -> Images:
    """Loads a data set as square images of one size (document A 3.2, B 3.2.1).

    A name is looked up as `NAME.npz` in `data_dir`, else in the folder that the
    variable GAN_TRANSFER_DATA names; then, for `sources.DOWNLOADABLE`, in the Keras
    cache and on the network. `sources.EMBEDDED` sets are always the package's own. The
    name of a folder of pictures that is not here is looked up in the same data folder
    and in its folders.

    Where there is no test part (folders, `x` alone), 10 % of the images, at least one,
    are held out as such, stratified by class: the same ones for every `seed`, so that
    no run trains on what another command tests with.

    Args:
      source: a name; or a folder of pictures (`images.read_folder`); or an array file
        (`array_files.read`).
      data_dir: where named sets lie.
      size: pixels per side; images are cropped and resampled by `images.fit_square`.
        None keeps the size of arrays; for folders see `images.read_folder`.
      channels: 1 or 3; None keeps what there is, without alpha.
      without: a set whose images, as they are stored, are left out of both parts. A
        source that has seen its target says nothing about transfer.
      limit: use only that many training images: a seeded choice in which the counts of
        the classes differ by at most one, as long as no class runs out.
      seed: of `limit`.
      fallback: one of `sources.EMBEDDED`, used with a line on stderr if one of
        `sources.DOWNLOADABLE` cannot be had.

    Returns:
      The data set; its `name` says which it is.

    Raises:
      errors.InputError: unknown, unreachable or broken data, or numbers that do not
        fit it.
    """
    name, arrays, class_names = sources.find(
        source, data_dir=data_dir, size=size, channels=channels, fallback=fallback
    )
    train, train_labels = arrays["x_train"], arrays.get("y_train")
    if "x_test" in arrays:
        test, test_labels = arrays["x_test"], arrays.get("y_test")
    else:
        count = max(1, round(_HELD_OUT_AS_TEST * len(train)))
        train, train_labels, test, test_labels = subsets.hold_out(
            train, train_labels, count, seed=0
        )
    if without is not None:
        others = load(without, data_dir=data_dir)
        left_out, before = (others.train, others.test), len(train) + len(test)
        train, train_labels = subsets.without(train, train_labels, left_out)
        test, test_labels = subsets.without(test, test_labels, left_out)
        if len(train) + len(test) == before:
            raise errors.InputError(
                f"no image of {others.name} is in {name}: nothing to leave out"
            )
        name = f"{name}-without-{others.name}"
    if limit is not None:
        train, train_labels = subsets.limited(train, train_labels, limit, seed, name)
    train = to_format(train, size, channels, name)
    test = to_format(test, size, channels, name)
    if train.shape[1:] != test.shape[1:]:
        raise errors.InputError(
            f"{name}: training images are {list(train.shape[1:])} but test images "
            f"{list(test.shape[1:])}; give the size and the channels they should have"
        )
    if train_labels is not None and not class_names:
        classes = max(arrays["y_train"].max(), test_labels.max()) + 1
        class_names = tuple(str(index) for index in range(classes))
    return Images(name, train, test, train_labels, test_labels, class_names)


def to_format(
    pixels: np.ndarray, size: int | None, channels: int | None, name: str
) -> np.ndarray:
    """Brings images to the channels and to squares of the size (document B 3.2.1).

    Args:
      pixels: uint8 `[N, H, W, C]`.
      size: pixels per side; None keeps squares as they are.
      channels: 1 or 3; None keeps what there is, without alpha.
      name: of the data, for the error.

    Raises:
      errors.InputError: no squares and no size.
    """
    wanted = channels or (1 if pixels.shape[3] == 1 else 3)
    pixels = images.convert_channels(pixels, wanted)
    height, width = pixels.shape[1:3]
    if size is None and height != width:
        raise errors.InputError(
            f"{name}: images are {height}x{width} but networks need squares; "
            "give the size to crop and resample them to"
        )
    if size is None or height == width == size:
        return pixels
    return np.stack([images.fit_square(image, size) for image in pixels])


def to_float(pixels: np.ndarray) -> np.ndarray:
    """Scales 0..255 to [-1, 1]: `x / 127.5 - 1` (document B 3.2.1, normalisation).

    Args:
      pixels: uint8, any shape.

    Returns:
      float32, same shape.

    Raises:
      errors.InputError: values of another type.
    """
    if pixels.dtype != np.uint8:
        raise errors.InputError(f"to_float takes uint8, not {pixels.dtype}")
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Inverts `to_float`: rounds, and clips to 0..255 (document B 3.2.1).

    Args:
      values: floats, any shape; [-1, 1] is black to white.

    Returns:
      uint8, same shape.

    Raises:
      errors.Diverged: NaN or infinite values.
    """
    values = np.asarray(values, np.float32)
    if not np.isfinite(values).all():
        raise errors.Diverged("image has NaN or infinite values; training diverged?")
    return np.clip(np.rint((values + 1) * 127.5), 0, 255).astype(np.uint8)


def batches(
    images: np.ndarray,
    batch_size: int,
    *,
    labels: np.ndarray | None = None,
    seed: int = 0,
    start: int = 0,
) -> tf.data.Dataset:
    """Streams shuffled batches without end (document A 3.2, training).

    Batch t depends on `seed` and t alone, so a run resumed at t sees what it would
    have seen. Epochs follow each other without a gap, a batch may span two; each
    visits every image exactly once, in an order of its own.

    `fit` needs `steps_per_epoch` with it, and `shuffle=False`, else Keras warns.

    Args:
      images: uint8 `[N, H, W, C]`.
      batch_size: B, may exceed N.
      labels: int32 `[N]`, or None.
      seed: of the orders.
      start: the number t of the first batch.

    Returns:
      float32 `[B, H, W, C]` in [-1, 1]; with labels, pairs with int32 `[B]`.

    Raises:
      errors.InputError: images that are not uint8 `[N, H, W, C]`, or numbers out of
        range.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise errors.InputError(
            f"batches takes uint8 [N, H, W, C], not {images.dtype} {list(images.shape)}"
        )
    if batch_size < 1 or start < 0:
        raise errors.InputError(
            f"batch size {batch_size} must be at least 1, start {start} at least 0"
        )
    if labels is not None and len(labels) != len(images):
        raise errors.InputError(f"{len(labels)} labels for {len(images)} images")
    count = len(images)
    epoch, position = divmod(start * batch_size, count)

    def order(number: tf.Tensor) -> tf.data.Dataset:
        # index_shuffle would need no memory, but consecutive epochs of one seed come
        # out nearly in the same order: correlation 0.9 at 60,000 images (TF 2.21).
        shuffled = tf.random.experimental.stateless_shuffle(
            tf.range(count), seed=tf.stack([seed, number]), alg="philox"
        )
        return tf.data.Dataset.from_tensor_slices(shuffled)

    # The pipeline runs on the CPU; arrays on an accelerator would travel back.
    with tf.device("cpu"):
        pixels = tf.constant(images)
        classes = None if labels is None else tf.constant(labels, tf.int32)

    def gather(indices: tf.Tensor):
        batch = tf.cast(tf.gather(pixels, indices), tf.float32) / 127.5 - 1.0
        return batch if classes is None else (batch, tf.gather(classes, indices))

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    stream = tf.data.Dataset.counter(epoch).flat_map(order).skip(position)
    stream = stream.batch(batch_size, drop_remainder=True).map(gather)
    return stream.prefetch(tf.data.AUTOTUNE).with_options(options)
