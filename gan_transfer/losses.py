"""Adversarial losses on unbounded scores (documents A 3, B 3.2.2, C 3.3.1, E 3.3).

Each family is one frozen `AdversarialLoss` with a discriminator and a generator part;
both take float scores `[B, 1]` (logits, never probabilities) and return a float32
scalar mean to be minimised. `r` are scores of real, `f` of generated images;
softplus(t) = log(1 + e^t), so -log sigmoid(t) = softplus(-t).
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from gan_transfer import errors


@dataclasses.dataclass(frozen=True)
class AdversarialLoss:
    """One family of adversarial losses (document E 3.3).

    Attributes:
        name: the field's name of the family.
        discriminator: `(r, f) -> scalar`.
        generator: `(r, f) -> scalar`; `r` is None unless `needs_real`.
        needs_real: the generator's part compares with real images' scores.
        threshold: score between real and generated images; None where scores mean
            nothing but their differences.
    """

    name: str
    discriminator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    generator: Callable[[tf.Tensor | None, tf.Tensor], tf.Tensor]
    needs_real: bool = False
    threshold: float | None = 0.0


def _float32(scores: tf.Tensor) -> tf.Tensor:
    return tf.cast(scores, tf.float32)


def _mean(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(_float32(values))


def _softplus(scores: tf.Tensor) -> tf.Tensor:
    return tf.math.softplus(_float32(scores))


def _cross_entropy(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    return _mean(_softplus(-real)) + _mean(_softplus(fake))


minimax = AdversarialLoss(
    # L_GAN = E log D(x) + E log(1 - D(G(z))), D = sigmoid(score): the discriminator
    # maximises it, the generator minimises its second term, as documents A 3.2 and
    # B 3.2.2 print it (C 3.3.1 prints D's sign like G's). Goodfellow et al. 2014.
    name="minimax",
    discriminator=_cross_entropy,
    generator=lambda real, fake: -_mean(_softplus(fake)),
)

non_saturating = AdversarialLoss(
    # G maximises log D(G(z)) instead: same fixed point, no vanishing gradient at the
    # start. Goodfellow et al. 2014, section 3.
    name="non_saturating",
    discriminator=_cross_entropy,
    generator=lambda real, fake: _mean(_softplus(-fake)),
)

least_squares = AdversarialLoss(
    # D: (r - 1)^2 + f^2 (halved), G: (f - 1)^2 (halved); document D 4.1 prints the fake
    # target as 1. Mao et al., ICCV 2017, equation 9.
    name="least_squares",
    discriminator=lambda real, fake: (
        0.5 * (_mean(tf.square(_float32(real) - 1.0)) + _mean(_float32(fake) ** 2))
    ),
    generator=lambda real, fake: 0.5 * _mean(tf.square(_float32(fake) - 1.0)),
    threshold=0.5,
)

wasserstein = AdversarialLoss(
    # D: E f - E r, G: -E f; D must be 1-Lipschitz (clipping or gradient penalty). What
    # document A 4.1 prints on sigmoid outputs. Arjovsky et al., ICML 2017.
    name="wasserstein",
    discriminator=lambda real, fake: _mean(fake) - _mean(real),
    generator=lambda real, fake: -_mean(fake),
    threshold=None,
)


def _huber(scores: tf.Tensor, target: float) -> tf.Tensor:
    distances = tf.abs(_float32(scores) - target)
    near = tf.minimum(distances, 1.0)
    return _mean(near * (distances - 0.5 * near))


huber = AdversarialLoss(
    # Document E 3.3 names Huber's loss beside the Wasserstein distance, no more: read
    # as least squares with Huber's function for the square. D: h(r - 1) + h(f), G:
    # h(f - 1), h(t) = t^2 / 2 for |t| <= 1, else |t| - 1/2 (Huber 1964). No publication
    # was found that measures it as an adversarial loss.
    name="huber",
    discriminator=lambda real, fake: _huber(real, 1.0) + _huber(fake, 0.0),
    generator=lambda real, fake: _huber(fake, 1.0),
    threshold=0.5,
)

hinge = AdversarialLoss(
    # D: max(0, 1 - r) + max(0, 1 + f), G: -f. Lim and Ye 2017; Miyato et al. 2018.
    name="hinge",
    discriminator=lambda real, fake: (
        _mean(tf.nn.relu(1.0 - _float32(real)))
        + _mean(tf.nn.relu(1.0 + _float32(fake)))
    ),
    generator=lambda real, fake: -_mean(fake),
)

relativistic = AdversarialLoss(
    # Paired: D: softplus(-(r - f)), G: softplus(-(f - r)). Jolicoeur-Martineau 2019;
    # with R1 and R2 the loss of Huang et al., NeurIPS 2024.
    name="relativistic",
    discriminator=lambda real, fake: _mean(_softplus(_float32(fake) - _float32(real))),
    generator=lambda real, fake: _mean(_softplus(_float32(real) - _float32(fake))),
    needs_real=True,
    threshold=None,
)

FAMILIES = {
    loss.name: loss
    for loss in (
        minimax,
        non_saturating,
        least_squares,
        huber,
        wasserstein,
        hinge,
        relativistic,
    )
}


def by_name(name: str) -> AdversarialLoss:
    """Return the family called `name` (document E 3.3).

    Raises:
        InputError: there is no such family; the message lists them.
    """
    if name not in FAMILIES:
        raise errors.InputError(
            f"no loss called {name!r}; there are {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[name]
