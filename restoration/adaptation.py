"""Test-time adaptation of a restorer to one noisy picture (documents A 3.3, E 2(4)).

No clean picture is needed: the noisy one is made noisier in two ways that do not know
of each other, and one predicts the other. Only a gain per channel is trained.
"""

import keras
import numpy as np
import tensorflow as tf

from gan_transfer import recipes, transfer
from restoration import networks, patches, supervised

_ALPHA = 0.5
_PATCH = 64


def recorrupt(
    noisy: tf.Tensor, sigma: float, key: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """A training pair from noisy images alone (document A 3.3).

    With z ~ N(0, sigma^2): input y + a z, target y - z / a, a = 0.5. For Gaussian noise
    their errors are independent, so predicting the target is, on average, predicting
    the clean image.

    Args:
        noisy: y, float32 `[B, H, W, C]`, noise of level `sigma`.
        sigma: noise level on the image's scale, > 0.
        key: int32 `[2]`.

    Returns:
        Input, its level sqrt(1 + a^2) sigma `[B, H, W, 1]`, an empty mask, target.

    Source: Pang et al., "Recorrupted-to-Recorrupted: Unsupervised Deep Learning for
    Image Denoising", CVPR 2021.
    """
    z = sigma * tf.random.stateless_normal(tf.shape(noisy), key)
    level = tf.ones_like(noisy[..., :1]) * (sigma * (1 + _ALPHA**2) ** 0.5)
    return noisy + _ALPHA * z, level, tf.zeros_like(noisy), noisy - z / _ALPHA


def adapt(
    network: keras.Model,
    noisy: np.ndarray,
    sigma: float,
    *,
    steps: int = 100,
    rate: float = 1e-3,
    seed: int = 0,
) -> keras.Model:
    """Tune a restorer's gains to one noisy picture (document A 3.3(2)).

    Pays where the picture is unlike those trained on (text, microscopy, other noise
    levels); on photographs expect 0.1 dB. The given network is left as it is.

    Args:
        network: of `networks.restorer`, as from `pretrained.load`.
        noisy: float32 `[H, W, C]`, not clipped.
        sigma: its noise level, on the same scale, > 0.
        steps: updates, of 8 patches each.
        rate: of Adam.
        seed: fixes patches and noise.

    Returns:
        A network of the same architecture.

    Source: Mohan et al., "Adaptive Denoising via GainTuning", 2021.
    """
    side = min(_PATCH, *noisy.shape[:2])
    restorer = supervised.Restorer(networks.with_gains(network), seed=seed)
    (phase,) = recipes.gains(restorer, 0, "frozen")
    phase.prepare()
    schedule = supervised.Cosine(rate, steps, warm_up=10)
    restorer.compile(
        transfer.LayerwiseAdam(learning_rate=schedule),
        loss=supervised.l2,
        averaging=0.95,
    )
    pairs = patches.batches([noisy], 8, side, seed=seed).enumerate()
    pairs = pairs.map(
        lambda step, batch: recorrupt(
            batch, sigma, tf.stack([tf.constant(seed), tf.cast(step, tf.int32)])
        )
    )
    restorer.fit(pairs, steps_per_epoch=steps, shuffle=False, verbose=0)
    adapted = keras.models.clone_model(network)
    networks.fold_gains(restorer.averaged_network, adapted)
    return adapted
