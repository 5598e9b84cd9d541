"""Reptile over a whole training procedure: few-shot generation (document D 3.1).

A GAN has two networks, two losses and batch norm, so its task is not one gradient step
of one objective but some ordinary training steps. Sources: Clouatre and Demers, "FIGR:
Few-shot Image Generation with Reptile", 2019; Liang, Liu, Liu, "DAWSON: A Domain
Adaptive Few Shot Generation Framework", 2020.
"""

import keras
import tensorflow as tf

from gan_transfer import errors, training


def reptile_outer(before: list, after: list, rate: float) -> list:
    """Reptile's update W + e (W' - W) of lists of arrays or tensors (document D 3.1.1).

    Args:
        before: the start's parameters W.
        after: those that the tasks ended with, W', the mean over tasks.
        rate: e, in (0, 1]; 1 takes W' over.
    """
    return [w + rate * (end - w) for w, end in zip(before, after, strict=True)]


class ReptileProcedure(training.Procedure):
    """Meta-train the start of any compiled procedure (document D 3.1.1).

    A meta-update starts every task at the same weights with fresh optimizers, trains it
    by the procedure's own steps, and moves the start towards the mean of where they
    end. What the procedure keeps of other tasks' data is forgotten. Batch-norm
    statistics and averaged weights move like weights; the procedure's counter and
    augmentation probability simply go on. `fit` takes batches of tasks: what the
    procedure's `train_step` takes, `[tasks, batches, ...]`.

    Compile the procedure with `averaging=0`: a moving average does not follow within a
    few steps. One device only.

    Attributes:
        procedure: holds the start; trained by its own `train_step`.
    """

    def __init__(self, procedure: training.Procedure):
        super().__init__(procedure.seed, name="reptile_procedure")
        self.procedure = procedure
        self.trackers = procedure.trackers

    # Both lists are computed: Keras files variables of a list as weights of the model.
    def _moving(self) -> list:
        kept = [each for each in self.procedure.layers if isinstance(each, keras.Model)]
        weights = [weight for network in kept for weight in network.weights]
        return list({id(weight): weight for weight in weights}.values())

    def _optimizers(self) -> list[keras.optimizers.Optimizer]:
        attributes = vars(self.procedure).values()
        return [a for a in attributes if isinstance(a, keras.optimizers.Optimizer)]

    def _optimizer_state(self) -> list:
        return [v for each in self._optimizers() for v in each.variables]

    def networks(self) -> dict[str, keras.Model]:
        """Those of the procedure."""
        return self.procedure.networks()

    @property
    def result(self) -> keras.Model:
        """That of the procedure, at the start's weights."""
        return self.procedure.result

    def compile(self, rate: float, inner_steps: int) -> None:
        """Fix the outer rate and the length of a task (document D 3.1.1).

        Args:
            rate: e of `reptile_outer`, in (0, 1].
            inner_steps: k, training steps of a task, 1 or more; they go round its
                batches.

        Raises:
            InputError: a number out of range, several devices, or the procedure was
                trained since it was compiled.
        """
        if not 0.0 < rate <= 1.0 or inner_steps < 1:
            raise errors.InputError(
                f"rate is {rate} and inner_steps {inner_steps}; choose a rate in (0, 1]"
                " and 1 or more steps"
            )
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise errors.InputError(
                "Reptile over a procedure runs on one device; give it no strategy"
            )
        self.procedure.check_flags()
        if any(int(each.iterations) for each in self._optimizers()):
            raise errors.InputError(
                "the procedure's optimizers are not fresh; compile it again first"
            )
        self._fresh = [v.numpy() for v in self._optimizer_state()]
        self.rate, self.inner_steps = rate, inner_steps
        self._adapt = tf.function(self._train_task, autograph=False)
        self.fix_flags()

    def train_step(self, data) -> dict[str, tf.Tensor]:
        """One meta-update, W + e (mean W_k - W); Keras compiles it."""
        self.check_flags()
        moving = self._moving()
        start = [tf.identity(weight) for weight in moving]
        tasks = tf.shape(tf.nest.flatten(data)[0])[0]

        def body(number, sums):
            _assign(moving, start)
            batches = tf.nest.map_structure(lambda x: x[number], data)
            self._train_task(batches, tf.constant(self.inner_steps))
            # Sums of differences: frozen weights stay as they are to the last bit.
            sums = [
                each + (end - first)
                for each, end, first in zip(sums, moving, start, strict=True)
            ]
            return number + 1, sums

        sums = [tf.zeros_like(weight) for weight in start]
        _, sums = tf.while_loop(lambda n, _: n < tasks, body, (tf.constant(0), sums))
        ends = [
            first + each / tf.cast(tasks, each.dtype)
            for first, each in zip(start, sums, strict=True)
        ]
        _assign(moving, reptile_outer(start, ends, self.rate))
        _assign(self._optimizer_state(), self._fresh)
        self.updates.assign_add(1)
        return {tracker.name: tracker.result() for tracker in self.trackers}

    def _train_task(self, batches, steps) -> None:
        """Ordinary training steps with fresh optimizers."""
        _assign(self._optimizer_state(), self._fresh)
        self.procedure.forget()
        count = tf.shape(tf.nest.flatten(batches)[0])[0]

        def body(number):
            chosen = number % count
            self.procedure.train_step(
                tf.nest.map_structure(lambda x: x[chosen], batches)
            )
            return (number + 1,)

        tf.while_loop(lambda number: number < steps, body, (tf.constant(0),))

    def adapt(self, batches, steps: int) -> keras.Model:
        """Meta-test: the procedure's `result` trained on one task (document D 3.1.2).

        Compiled once: another task or number of steps does not trace anew.

        Args:
            batches: as in training, without the axis of tasks: `[batches, ...]`.
            steps: training steps, 0 or more, going round the batches.

        Returns:
            A new network. The procedure is put back as it was, bit for bit.
        """
        state = self.procedure.weights + self._optimizer_state()
        before = [tf.identity(variable) for variable in state]
        batches = tf.nest.map_structure(tf.convert_to_tensor, batches)
        self._adapt(batches, tf.constant(steps))
        adapted = self.averaged_copy(self.result)
        _assign(state, before)
        return adapted


def _assign(variables: list, values: list) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
