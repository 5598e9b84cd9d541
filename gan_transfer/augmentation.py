"""Differentiable augmentation of real and generated images (document E 2(1)).

Every image that the discriminator sees, real or generated, in its own update and in the
generator's, goes through the same random transforms; gradients flow through them to the
generator. Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN
Training", NeurIPS 2020; the adaptive probability is that of Karras et al., "Training
Generative Adversarial Networks with Limited Data", NeurIPS 2020.
"""

import dataclasses

import tensorflow as tf

from gan_transfer import errors

# Above this probability the transforms leak into the generated images (Karras et al.
# 2020, section 2.2); an unclamped controller was seen at 21.8 in the wild.
MAX_ADAPTIVE_PROBABILITY = 0.8


def _uniform(images: tf.Tensor, key: tf.Tensor, low: float, high: float) -> tf.Tensor:
    shape = [tf.shape(images)[0], 1, 1, 1]
    return tf.random.stateless_uniform(shape, key, low, high, images.dtype)


def color(images: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Brightness +U(-0.5, 0.5), saturation xU(0, 2), contrast xU(0.5, 1.5) (E 2(1)).

    Images `[B, H, W, C]` in [-1, 1]; the result may leave that range. With one channel
    the saturation changes nothing.
    """
    images = images + _uniform(images, key, -0.5, 0.5)
    gray = tf.reduce_mean(images, axis=3, keepdims=True)
    images = gray + (images - gray) * _uniform(images, key + [1, 0], 0.0, 2.0)
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    return mean + (images - mean) * _uniform(images, key + [2, 0], 0.5, 1.5)


def translation(images: tf.Tensor, key: tf.Tensor, share: float = 0.125) -> tf.Tensor:
    """Shift by up to +-`share` of each side, whole pixels; -1 moves in (E 2(1))."""
    batch, height, width, _ = tf.unstack(tf.shape(images))

    def shift(side, subkey):
        most = tf.cast(tf.round(tf.cast(side, tf.float32) * share), tf.int32)
        draws = tf.random.stateless_uniform(
            [batch, 1], subkey, -most, most + 1, dtype=tf.int32
        )
        # Row 0 of the padded image is background; positions outside point at it.
        positions = tf.range(side)[None] - draws + 1
        return tf.clip_by_value(positions, 0, side + 1)

    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=-1.0)
    rows = tf.gather(padded, shift(height, key), axis=1, batch_dims=1)
    rows = tf.transpose(rows, [0, 2, 1, 3])
    columns = tf.gather(rows, shift(width, key + [1, 0]), axis=1, batch_dims=1)
    return tf.transpose(columns, [0, 2, 1, 3])


def cutout(images: tf.Tensor, key: tf.Tensor, share: float = 0.5) -> tf.Tensor:
    """Blank (0, mid-grey) a box with `share` of each side, anywhere (E 2(1))."""
    batch, height, width, _ = tf.unstack(tf.shape(images))

    def inside(side, subkey):
        length = tf.cast(tf.round(tf.cast(side, tf.float32) * share), tf.int32)
        centre = tf.random.stateless_uniform(
            [batch, 1], subkey, 0, side, dtype=tf.int32
        )
        offset = tf.range(side)[None] - (centre - length // 2)
        return tf.logical_and(offset >= 0, offset < length)

    box = tf.logical_and(
        inside(height, key)[:, :, None], inside(width, key + [1, 0])[:, None, :]
    )
    return tf.where(box[..., None], tf.zeros_like(images), images)


TRANSFORMS = {"color": color, "translation": translation, "cutout": cutout}


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Which transforms, and how often (document E 2(1)).

    Attributes:
        transforms: names out of `color`, `translation`, `cutout`, in this order.
        probability: of each transform for each image, in [0, 1]; the start value when
            `target` is given.
        target: None for a fixed probability; otherwise the adaptive one holds the
            overfitting signal r = E sign(D(x) - threshold) at this value (0.6 in the
            paper, whose loss has the threshold 0).
        ramp_images: images shown while the adaptive probability moves by 1.

    Raises:
        InputError: an unknown transform or a probability outside [0, 1].
    """

    transforms: tuple[str, ...] = ("color", "translation", "cutout")
    probability: float = 1.0
    target: float | None = None
    ramp_images: int = 100_000

    def __post_init__(self):
        unknown = [name for name in self.transforms if name not in TRANSFORMS]
        if unknown or not self.transforms:
            raise errors.InputError(
                f"no augmentation called {', '.join(unknown) or 'nothing'}; "
                f"there are {', '.join(TRANSFORMS)}"
            )
        if not 0.0 <= self.probability <= 1.0:
            raise errors.InputError(
                f"augmentation probability {self.probability} is not in [0, 1]"
            )

    def __call__(
        self, images: tf.Tensor, key: tf.Tensor, probability: tf.Tensor
    ) -> tf.Tensor:
        """Transform `[B, H, W, C]` images in [-1, 1]; same shape.

        `key` (int `[2]`) fixes all draws; `probability` is a scalar (the adaptive one
        is a variable of the model).
        """
        always = self.target is None and self.probability == 1.0
        for position, name in enumerate(self.transforms):
            # The key's second number counts the draws of the run: stay off it.
            subkey = key + [4 * position + 4, 0]
            changed = TRANSFORMS[name](images, subkey)
            if always:
                images = changed
            else:
                chosen = _uniform(images, subkey + [3, 0], 0.0, 1.0)
                chosen = chosen < tf.cast(probability, images.dtype)
                images = tf.where(chosen, changed, images)
        return images

    def adapted(
        self,
        probability: tf.Tensor,
        real_scores: tf.Tensor,
        shown: int,
        threshold: float = 0.0,
    ) -> tf.Tensor:
        """Next adaptive probability after `shown` images, clamped to [0, 0.8].

        p' = p + sign(E sign(D(x) - threshold) - target) shown / ramp_images, with the
        `losses.AdversarialLoss.threshold` of D's loss.
        """
        margins = tf.cast(real_scores, tf.float32) - threshold
        overfitting = tf.reduce_mean(tf.sign(margins))
        step = tf.cast(shown, tf.float32) / self.ramp_images
        step *= tf.sign(overfitting - self.target)
        return tf.clip_by_value(probability + step, 0.0, MAX_ADAPTIVE_PROBABILITY)


def by_name(name: str) -> Augmentation | None:
    """Return the augmentation a flag names (document E 2(1)).

    `none`, `ada` (all transforms, adaptive probability), or transforms joined by commas
    such as `translation,cutout` (always applied); `diffaugment` is all three.

    Raises:
        InputError: an unknown name.
    """
    if name == "none":
        return None
    if name == "diffaugment":
        return Augmentation()
    if name == "ada":
        return Augmentation(probability=0.0, target=0.6)
    return Augmentation(tuple(name.split(",")))
