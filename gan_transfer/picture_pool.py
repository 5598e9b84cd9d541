"""Translated pictures kept for the discriminators of a CycleGAN (document C 3.1.3)."""

import tensorflow as tf


def exchange(
    images: tf.Tensor,
    pool: tf.Tensor,
    filled: tf.Tensor,
    keys: tuple[tf.Tensor, tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Put images into a pool, take older ones out (document C 3.1.3).

    Until the pool is full, images are put in and returned. From then on each is
    returned as it is with probability 1/2, else it changes places with a kept one.
    Every image of a batch has a place of its own; of more images than places, the
    others are only returned. Source: Shrivastava et al., "Learning from Simulated and
    Unsupervised Images through Adversarial Training", CVPR 2017, section 2.3.

    Args:
        images: `[B, H, W, C]`.
        pool: `[P, H, W, C]`.
        filled: int32 scalar, how many of its places hold an image.
        keys: two stateless keys `[2]`, of the places and of the choice.

    Returns:
        Images for the discriminator `[B, H, W, C]`, and the new pool.
    """
    size = pool.shape[0]
    count = tf.minimum(tf.shape(images)[0], size)
    is_full = tf.equal(filled, size)
    drawn = tf.random.experimental.stateless_shuffle(tf.range(size), seed=keys[0])
    swaps = tf.random.stateless_uniform([count], keys[1]) < 0.5
    following = filled + tf.range(count)
    places = tf.where(is_full, drawn[:count], following % size)
    puts = tf.where(is_full, swaps, following < size)[:, None, None, None]
    kept = tf.gather(pool, places)
    put = tf.where(puts, images[:count], kept)
    shown = tf.where(puts & is_full, kept, images[:count])
    pool = tf.tensor_scatter_nd_update(pool, places[:, None], put)
    return tf.concat([shown, images[count:]], axis=0), pool
