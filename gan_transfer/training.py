"""What every training procedure shares (documents A 3.1, E 2(4)).

A procedure (`adversarial.GAN` and its siblings) is a `keras.Model` whose weights are
its whole state: networks, optimizers, the update counter. All randomness is keyed by
that counter, so a run continues from its weight file bit for bit.
"""

import keras
import tensorflow as tf

# Draws of one update: keys are (seed, updates * DRAWS + number of the draw).
DRAWS = 64
# Distance of the keys of two replicas, far above that of two runs or two transforms.
_REPLICA_KEYS = 1_000_003


def _replica() -> int | tf.Tensor:
    context = tf.distribute.get_replica_context()
    return context.replica_id_in_sync_group if context else 0


class Procedure(keras.Model):
    """Base of the training procedures: counter, keys, trainable flags (document A 3.1).

    Attributes:
        updates: int64 scalar weight, training steps done.
        seed: fixes latents, augmentation and dropout together with `updates`.
        phase_start: update at which the phase began that `schedule.train` is in.
        sparsity: masks that `step` and `move_average` obey, see `strategies`; or None.
    """

    def __init__(self, seed: int, name: str):
        super().__init__(name=name)
        self.seed = int(seed)
        self.updates = self.add_weight(
            name="updates",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
        )
        self.built = True  # there is no call(); the networks are built already
        self._compiled_flags = None
        self.phase_start = 0
        self.sparsity = None
        self.trackers = []

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Running means (`trackers`) that `fit` resets at each epoch."""
        return self.trackers

    @staticmethod
    def averaged_copy(network: keras.Model) -> keras.Model:
        """A copy of `network`, for `move_average` to move (document A 3.1)."""
        copy = keras.models.clone_model(network)
        copy.set_weights(network.get_weights())
        return copy

    def networks(self) -> dict[str, keras.Model]:
        """The trained networks by attribute name; subclasses say which."""
        raise NotImplementedError

    @property
    def result(self) -> keras.Model:
        """The network that a run is for, whose best state is kept; subclasses say."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop what is kept of the data seen so far, for other data (document D 3.1).

        There is nothing, unless a subclass says so.
        """

    def move_average(
        self, network: keras.Model, averaged: keras.Model, averaging: float
    ) -> None:
        """Move an averaged network: W' = d W' + (1 - d) W, batch norm included.

        d = min(averaging, (1 + t) / (10 + t)) with t the updates since the weights
        were last rewound (`sparsity`). Weights of frozen layers are left out: they stay
        equal bit for bit.
        """
        updates = tf.convert_to_tensor(self.updates)
        t = updates if self.sparsity is None else self.sparsity.age(updates)
        t = tf.cast(t, tf.float32)
        decay = tf.minimum(averaging, (1.0 + t) / (10.0 + t))
        for layer, other in zip(network.layers, averaged.layers, strict=True):
            if layer.trainable:
                for value, average in zip(layer.weights, other.weights, strict=True):
                    average.assign(value + decay * (average - value))
        if self.sparsity is not None:
            self.sparsity.mask_average(network, averaged)

    def step(
        self, optimizer: keras.optimizers.Optimizer, gradients: list, variables: list
    ) -> None:
        """`optimizer.apply`, the masks of sparse training obeyed (document E 2(4)).

        Every gradient step of a procedure goes through here.
        """
        if self.sparsity is None:
            optimizer.apply(gradients, variables)
        else:
            self.sparsity.step(optimizer, gradients, variables, self.updates)

    def scaled(
        self, loss: tf.Tensor, optimizer: keras.optimizers.Optimizer
    ) -> tf.Tensor:
        """A replica's mean loss as `optimizer` takes it (document A 3.1).

        Keras optimizers sum over replicas, so it is divided by their number; float16
        optimizers scale it, others do not.
        """
        return optimizer.scale_loss(
            loss / tf.distribute.get_strategy().num_replicas_in_sync
        )

    def fix_flags(self) -> None:
        """Remember the trainable flags that `compile` saw (document A 3.1).

        A traced step ignores later changes of the flags, so training with other ones is
        refused in `check_flags`.
        """
        super().compile(optimizer=None, loss=None, jit_compile=False)
        self._compiled_flags = self._flags()

    def _flags(self) -> dict[str, bool]:
        return {
            # Two networks may each have a block1_conv/kernel.
            f"{name}/{variable.path}": variable.trainable and layer.trainable
            for name, network in self.networks().items()
            for layer in network.layers
            for variable in layer.trainable_variables + layer.non_trainable_variables
        }

    def check_flags(self) -> None:
        """Refuse to train with flags other than those compiled.

        Raises:
            RuntimeError: not compiled, or flags changed since; call `compile` again.
        """
        if self._compiled_flags is None:
            raise RuntimeError(f"call {type(self).__name__}.compile() before training")
        flags = self._flags()
        changed = [
            path
            for path, flag in flags.items()
            if self._compiled_flags.get(path) != flag
        ]
        if changed:
            raise RuntimeError(
                f"trainable flags changed after compile() ({len(changed)} weights, "
                f"first {changed[0]}): a compiled step would ignore that; call "
                "compile() again with fresh optimizers"
            )

    def make_train_function(self, force: bool = False):
        """Keras' hook before every `fit`: where stale flags are refused."""
        self.check_flags()
        return super().make_train_function(force)

    def key(self, draw: int, replica: int | tf.Tensor | None = None) -> tf.Tensor:
        """Stateless key `[2]` (int32) of draw number `draw` of this update.

        Every replica has its own keys, unless told which replica's to use; the only
        device is number 0.
        """
        if replica is None:
            replica = _replica()
        count = tf.cast(self.updates, tf.int32) * DRAWS + draw
        return tf.stack([self.seed + _REPLICA_KEYS * replica, count])

    def normal(self, count: tf.Tensor | int, width: int, draw: int) -> tf.Tensor:
        """Latents `[count, width]` ~ N(0, 1), float32, keyed by update and replica.

        Every replica draws the global batch's and takes its part, so any number of
        replicas sees the latents of one device.
        """
        strategy = tf.distribute.get_strategy()
        replicas = strategy.num_replicas_in_sync
        key = self.key(draw, replica=0)
        if replicas == 1:
            return tf.random.stateless_normal([count, width], key)
        first = _replica() * count
        draws = tf.random.stateless_normal([count * replicas, width], key)
        return draws[first : first + count]

    def key_dropout(self) -> None:
        """Set the seed generators of all dropout layers from the update counter.

        Keras stores their state in no weight file; keyed like this they resume.
        Replicas share the masks (of different images).
        """
        for network in self.networks().values():
            for number, layer in enumerate(network.layers):
                generator = getattr(layer, "seed_generator", None)
                if generator is not None:
                    count = tf.cast(self.updates * DRAWS, generator.state.dtype)
                    first = tf.cast(self.seed * 1000 + number, generator.state.dtype)
                    generator.state.assign(tf.stack([first, count]))

    def logs(self, **values: tf.Tensor) -> dict[str, tf.Tensor]:
        """Update the running means of this epoch and return them for `fit`."""
        for tracker in self.trackers:
            tracker.update_state(values[tracker.name])
        # Rank 1 because fit's reduction over several workers fails on scalars.
        several = tf.distribute.get_strategy().num_replicas_in_sync > 1
        results = {tracker.name: tracker.result() for tracker in self.trackers}
        return {k: v[None] if several else v for k, v in results.items()}
