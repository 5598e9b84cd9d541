"""What every trained generator can do: sample and decode (document A 3.2(3)).

`adversarial.GAN` and `variational.VAE` are such procedures: latents go in at `sampler`
and images come out.
"""

import keras
import numpy as np
import tensorflow as tf

from gan_transfer import errors, training


class Generative(training.Procedure):
    """A procedure whose result draws images from latents (document A 3.2(3)).

    Attributes:
        latent_dim: length of the latent vectors.
        image_shape: `(H, W, C)` of the images.
        classes: number of classes, 0 without.
    """

    # Where each trained network has its image: recipes freeze stages from there.
    IMAGE_ENDS: dict[str, str]

    @property
    def sampler(self) -> keras.Model:
        """The network that makes images; subclasses say which."""
        raise NotImplementedError

    def stored_networks(self) -> dict[str, keras.Model]:
        """What a run stores: constructor argument -> network; subclasses say."""
        raise NotImplementedError

    def fix_format(self) -> None:
        """Read latent size, image shape and classes off `sampler`."""
        self.latent_dim = self.sampler.inputs[0].shape[-1]
        self.image_shape = tuple(self.sampler.outputs[0].shape[1:])
        self.classes = 0
        if len(self.sampler.inputs) > 1:
            self.classes = self.sampler.get_layer("stem_classes").input_dim

    def generate(
        self,
        count: int,
        seed: int = 0,
        labels: np.ndarray | int | None = None,
        *,
        batch_size: int = 256,
    ) -> np.ndarray:
        """Draw images from the prior (document A 3.2(3)).

        Args:
            count: number of images.
            seed: fixes the latents; the same seed gives the same images.
            labels: class per image `[count]`, or one for all; for conditional networks,
                where None cycles through the classes.
            batch_size: images per call of the network.

        Returns:
            float32 `[count, H, W, C]` in [-1, 1].

        Raises:
            InputError: a label for an unconditional network or out of range.
        """
        latents = sample_latents(count, self.latent_dim, seed)
        return self.decode(latents, labels, batch_size=batch_size)

    def decode(
        self,
        latents: np.ndarray,
        labels: np.ndarray | int | None = None,
        *,
        batch_size: int = 256,
    ) -> np.ndarray:
        """Images of given latents `[N, latent_dim]`, as `generate` (document A 3.2)."""
        inputs = [np.asarray(latents, np.float32)]
        if self.classes or labels is not None:
            inputs.append(self._checked_labels(labels, len(latents)))
        parts = [
            self._decode([tf.constant(x[s : s + batch_size]) for x in inputs]).numpy()
            for s in range(0, len(latents), batch_size)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, *self.image_shape), "f")

    @tf.function(reduce_retracing=True, autograph=False)
    def _decode(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        inputs = inputs if self.classes else inputs[0]
        return self.sampler(inputs, training=False)

    def _checked_labels(self, labels, count: int) -> np.ndarray:
        if not self.classes:
            raise errors.InputError(
                "this model was trained without classes: leave the label out"
            )
        if labels is None:
            labels = np.arange(count) % self.classes
        labels = np.asarray(labels)
        fitting = labels.shape in ((), (count,)) and labels.dtype.kind in "iu"
        if not (fitting and np.isin(labels, range(self.classes)).all()):
            raise errors.InputError(
                f"labels must be integers within 0..{self.classes - 1}, one for all or "
                f"one for each of the {count} images"
            )
        return np.broadcast_to(labels.astype(np.int32), (count,))


def sample_latents(count: int, width: int, seed: int) -> np.ndarray:
    """Latents `[count, width]` ~ N(0, 1), float32, fixed by `seed` (document A 3.2)."""
    return tf.random.stateless_normal([count, width], [seed, 0]).numpy()
