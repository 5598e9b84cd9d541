"""Cross-domain correspondence: alike stays alike (documents B 5, B 6, A 3.2(2)).

With ten images to learn from, a generator soon makes those ten and nothing between
them. What it keeps here is the source's sense of which latents look alike.
"""

import dataclasses

import keras
import tensorflow as tf

from gan_transfer import training, transfer

_OWN = -1e9  # logit of a sample's likeness to itself


@dataclasses.dataclass(frozen=True, eq=False)
class Correspondence:
    """Term of G's loss: w times a mean of KL(p || q) over stages l and latents i.

    p_ij = softmax over j != i of cos(h_l(z_i), h_l(z_j)), where h_l are the flattened
    activations of stage l of the source for a batch of latents z; q the same of the
    generator that is trained (document B 5). Both run in inference mode: equal weights
    give 0 and batch-norm statistics do not move.

    Source: Ojha et al., "Few-shot Image Generation via Cross-domain Correspondence",
    CVPR 2021, whose patch discriminator around anchor latents is left out. The
    published weight is 1,000 times a mean over i and the three j of a batch of 4.

    Attributes:
        weight: w.
        source: from latents to the activations of every stage, never trained.
        target: the same of the generator that is trained, its layers shared.
    """

    weight: float
    source: keras.Model
    target: keras.Model

    def __call__(self, inputs: tf.Tensor | list[tf.Tensor]) -> tf.Tensor:
        """The term at a generator's inputs, a float32 scalar."""
        pairs = zip(
            self.source(inputs, training=False),
            self.target(inputs, training=False),
            strict=True,
        )
        terms = [_divergence(tf.stop_gradient(kept), moved) for kept, moved in pairs]
        return self.weight * tf.add_n(terms) / len(terms)


def to_start(generator: keras.Model, weight: float) -> Correspondence:
    """The term that holds `generator` to what it is now (document B 5).

    The copy of the source is in no weight file: a resumed run makes it again, like its
    other starting weights.

    Args:
        generator: to be trained, filled from the source.
        weight: of the term.
    """
    source = training.Procedure.averaged_copy(generator)
    source.trainable = False
    return Correspondence(weight, _activations(source), _activations(generator))


def _activations(generator: keras.Model) -> keras.Model:
    """From latents to the last activations of every stage but the image's own."""
    last = {}
    for layer in generator.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            last[transfer.stage_of(layer)] = layer.output
    del last["head"]
    return keras.Model(generator.input, list(last.values()))


def _divergence(kept: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
    p, q = _log_likeness(kept), _log_likeness(moved)
    return tf.reduce_mean(tf.reduce_sum(tf.exp(p) * (p - q), axis=1))


def _log_likeness(activations: tf.Tensor) -> tf.Tensor:
    """Log softmax over j != i of the cosines `[B, B]` of activations `[B, ...]`."""
    rows = tf.reshape(activations, [tf.shape(activations)[0], -1])
    rows = tf.math.l2_normalize(tf.cast(rows, tf.float32), axis=1)
    cosines = tf.matmul(rows, rows, transpose_b=True)
    own = tf.fill([tf.shape(rows)[0]], _OWN)
    return tf.nn.log_softmax(tf.linalg.set_diag(cosines, own))
