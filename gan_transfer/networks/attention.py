"""Self-attention for convolutional networks: "AGAN" (document E 3.3).

Document E names "DCGAN, WGAN, CGAN, AGAN" and defines none of them. The first three
are a choice of architecture, of loss and of condition; the fourth is read here as a
choice of attention, the self-attention GAN. The other candidate, the auxiliary
classifier GAN, is a conditional GAN again and everywhere abbreviated ACGAN. Source:
Zhang, Goodfellow, Metaxas, Odena, "Self-Attention Generative Adversarial Networks",
ICML 2019.
"""

import keras
import numpy as np
import tensorflow as tf

from gan_transfer import errors, regularization

_NARROWING = 8  # channels of queries and keys: C / 8, as in the paper


@keras.saving.register_keras_serializable(package="gan_transfer")
class SelfAttention(keras.layers.Layer):
    """Every position looks at all positions of its feature map (document E 3.3).

    With f = x W_f and g = x W_g of C / 8 channels and h = x W_h of C (1x1 convolutions
    without bias): a_ij = softmax_j(<f_i, g_j>), y_i = x_i + gamma sum_j a_ij h_j. gamma
    starts at 0, so a fresh layer is the identity. Costs (H W)^2 numbers per image.

    Args:
        spectral: normalise the three kernels, as `regularization.SpectralConv2D` does.
    """

    def __init__(self, spectral: bool = False, **arguments):
        super().__init__(**arguments)
        self.spectral = spectral

    def build(self, input_shape):
        """Create the three kernels, gamma and, if spectral, three vectors u."""
        width = input_shape[-1]
        narrow = max(1, width // _NARROWING)
        self.kernels, self.directions = {}, {}
        for role, units in (("query", narrow), ("key", narrow), ("value", width)):
            self.kernels[role] = self.add_weight(
                name=f"{role}_kernel", shape=(width, units), initializer="glorot_normal"
            )
            if self.spectral:
                self.directions[role] = self.add_weight(
                    name=f"{role}_u",
                    shape=(units,),
                    initializer=keras.initializers.RandomNormal(seed=0),
                    trainable=False,
                    autocast=False,
                )
        self.gamma = self.add_weight(name="gamma", shape=(), initializer="zeros")
        self.built = True

    def _project(self, positions: tf.Tensor, role: str) -> tf.Tensor:
        kernel = tf.cast(tf.convert_to_tensor(self.kernels[role]), positions.dtype)
        if self.spectral:
            kernel = regularization.normalised(kernel, self.directions[role])
        return tf.matmul(positions, kernel)

    def attention(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps a `[B, H W, H W]` of features `[B, H, W, C]`; rows sum to 1; float32."""
        positions = _positions(inputs)
        query, key = self._project(positions, "query"), self._project(positions, "key")
        scores = tf.matmul(query, key, transpose_b=True)
        return tf.nn.softmax(tf.cast(scores, tf.float32))

    def call(self, inputs):
        """Return x + gamma (attention x values), `[B, H, W, C]`."""
        values = self._project(_positions(inputs), "value")
        seen = tf.matmul(tf.cast(self.attention(inputs), values.dtype), values)
        gamma = tf.cast(tf.convert_to_tensor(self.gamma), inputs.dtype)
        return inputs + gamma * tf.reshape(seen, tf.shape(inputs))

    def update_spectral_norm(self) -> None:
        """One power iteration per kernel; nothing when frozen or not spectral."""
        if self.trainable:
            for role, u in self.directions.items():
                kernel = tf.convert_to_tensor(self.kernels[role])
                u.assign(regularization.directions(kernel, u)[1])

    def get_config(self) -> dict:
        """Keras configuration."""
        return {**super().get_config(), "spectral": self.spectral}


def _positions(features: tf.Tensor) -> tf.Tensor:
    """`[B, H, W, C]` -> `[B, H W, C]`, row by row."""
    shape = tf.shape(features)
    return tf.reshape(features, [shape[0], shape[1] * shape[2], features.shape[-1]])


def attention_side(size: int) -> int:
    """Side of the feature map that attends: the largest half below 17 (document E 3.3).

    14 for images of 28 pixels, 16 for 32, 64, 128 and 256.
    """
    side = size // 2
    while side > 16:
        side //= 2
    return side


def attention_maps(network: keras.Model, inputs) -> np.ndarray:
    """What every position of a network's attention looks at (document E 3.3).

    Args:
        network: with one `SelfAttention` layer.
        inputs: of the network: latents `[B, D]` or images `[B, H, W, C]`; with labels
            a list of both.

    Returns:
        float32 `[B, h, w, h, w]`: `[b, i, j]` is the map of position (i, j) over the
        h x w feature map and sums to 1.

    Raises:
        InputError: the network has no attention.
    """
    found = [each for each in network.layers if isinstance(each, SelfAttention)]
    if not found:
        raise errors.InputError(
            f"the {network.name} has no self-attention; train one with --model=sagan"
        )
    before = keras.Model(network.input, found[0].input)
    features = before(keras.tree.map_structure(tf.convert_to_tensor, inputs))
    sides = tuple(features.shape[1:3])
    maps = found[0].attention(features).numpy()
    return maps.reshape(len(maps), *sides, *sides)
