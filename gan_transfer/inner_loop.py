"""The inner loop of meta-learning: one task's gradient steps (document D 3.1.2).

A task's parameters are tensors that `keras.Model.stateless_call` runs the network with.
Assigning variables instead would cut the second-order term silently.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from gan_transfer import errors, training, transfer

Call = Callable[..., Any]
Objective = Callable[[Call, Any, tf.Tensor], tf.Tensor]
_BETA, _EPSILON = 0.999, 1e-16


def supervised(loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Objective:
    """The objective loss(f(input), target) (document D 3.2.3).

    Args:
        loss: (outputs, target) -> scalar, as those of `restoration.supervised`.

    Returns:
        An objective over batches `(input, target)` or `(input, ..., input, target)`.
    """

    def objective(call, batch, key):
        *inputs, target = batch
        return loss(call(inputs if len(inputs) > 1 else inputs[0]), target)

    return objective


class InnerLoop:
    """Gradient steps on a task's parameters; no variable changes (document D 3.1.2).

    Attributes:
        adapting: places of the adapting parameters among the trainable ones.
        base_rates: their rates.
        constraints: what keeps them where they belong after a step, or None.
    """

    def __init__(
        self,
        network: keras.Model,
        objective: Objective,
        rates: dict[str, float],
        *,
        batch: int | None = None,
        optimizer: str = "sgd",
        first_order: bool = True,
    ):
        """Fix what adapts, and how.

        Args:
            network: a flat network; what is not trainable does not adapt.
            objective: (call, batch, key) -> scalar mean over a task's batch `[shots,
                ...]`. `call(inputs, training=True)` runs the network with the task's
                parameters; `key`, int32 `[2]`, is for stateless draws: `training.DRAWS`
                of them, by counting up its second number.
            rates: layer pattern -> rate > 0; the last matching rule wins, layers
                without one do not adapt.
            batch: examples of the task drawn for each step, None for all.
            optimizer: `sgd`, or `adam` (beta_1 = 0, as Reptile's authors use it).
            first_order: no gradient flows through the steps' gradients.

        Raises:
            InputError: a pattern matches no layer, nothing adapts, `batch` or
                `optimizer` is out of range, or a layer keeps state.
        """
        if batch is not None and batch < 1:
            raise errors.InputError(f"inner batch is {batch}; choose at least 1")
        if optimizer not in ("sgd", "adam"):
            raise errors.InputError(
                f"inner optimizer {optimizer!r} is not one of sgd, adam"
            )
        _refuse_state(network)
        by_path = transfer.layerwise_rates(network, rates)
        variables = network.trainable_variables
        self.adapting = [i for i, v in enumerate(variables) if v.path in by_path]
        if not self.adapting:
            raise errors.InputError(
                f"all layers that {', '.join(rates)} names are frozen; unfreeze some"
            )
        paths = [variables[i].path for i in self.adapting]
        self.base_rates = [by_path[path] for path in paths]
        self.constraints = [variables[i].constraint for i in self.adapting]
        self.network, self.objective = network, objective
        self.batch, self.optimizer, self.first_order = batch, optimizer, first_order

    def start(self) -> list[tf.Tensor]:
        """All trainable parameters as they are, before a task (document D 3.1.2)."""
        return [tf.convert_to_tensor(v) for v in self.network.trainable_variables]

    def moments(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        """The inner optimizer's state before a task: zeros, or none for SGD."""
        if self.optimizer == "sgd":
            return []
        return [tf.zeros_like(values[i]) for i in self.adapting]

    def loss(self, values: list[tf.Tensor], batch, key, objective=None) -> tf.Tensor:
        """The objective (or another one) with the parameters `values`, a scalar."""
        fixed = [tf.convert_to_tensor(v) for v in self.network.non_trainable_variables]

        def call(inputs, training=True):
            outputs, _ = self.network.stateless_call(
                values, fixed, inputs, training=training
            )
            return outputs

        value = (objective or self.objective)(call, batch, key)
        return tf.cast(value, values[0].dtype)

    def step(self, values, moments, rates, batch, key, number):
        """One update of a task's parameters (document D 3.1.2).

        W' = W - rate * dL/dW, with `adam` W' = W - rate * dL/dW / sqrt(v + 1e-16),
        v the bias-corrected running mean of the squared gradient; then the variable's
        constraint, if it has one.

        Args:
            values: all trainable parameters, tensors.
            moments: of the inner optimizer.
            rates: of the adapting parameters, scalars.
            batch: the task's, a nest of `[shots, ...]`.
            key: the task's.
            number: of the step, from 0.

        Returns:
            Values, moments, and the loss before the step.
        """
        key += tf.stack([0, training.DRAWS * number])
        if self.batch is not None:
            batch = self._draw(batch, key + tf.constant([1, 0]))
        fast = [values[i] for i in self.adapting]
        with tf.GradientTape() as tape:
            tape.watch(fast)
            loss = self.loss(values, batch, key)
        slopes = tape.gradient(loss, fast, unconnected_gradients="zero")
        if self.first_order:
            slopes = [tf.stop_gradient(each) for each in slopes]
        if self.optimizer == "adam":
            slopes, moments = _adam(slopes, moments, number)
        values = list(values)
        adapting = zip(self.adapting, rates, slopes, self.constraints, strict=True)
        for i, rate, slope, constraint in adapting:
            values[i] -= tf.cast(rate, slope.dtype) * slope
            if constraint is not None:
                values[i] = constraint(values[i])
        return values, moments, loss

    def run(self, values, moments, rates, batch, key, first, last):
        """Steps number `first` to `last` - 1 as one loop in the graph (D 3.1.2).

        Returns:
            Values, moments, and the sum of the losses before the steps.
        """

        def body(number, values, moments, total):
            values, moments, loss = self.step(
                values, moments, rates, batch, key, number
            )
            return number + 1, values, moments, total + loss

        start = (first, values, moments, tf.zeros((), values[0].dtype))
        return tf.while_loop(lambda number, *_: number < last, body, start)[1:]

    def _draw(self, batch, key):
        count = tf.shape(tf.nest.flatten(batch)[0])[0]
        chosen = tf.argsort(tf.random.stateless_uniform([count], key))[: self.batch]
        return tf.nest.map_structure(lambda x: tf.gather(x, chosen), batch)


def _adam(slopes, moments, number):
    moments = [
        _BETA * moment + (1.0 - _BETA) * tf.square(slope)
        for moment, slope in zip(moments, slopes, strict=True)
    ]
    seen = 1.0 - _BETA ** tf.cast(number + 1, slopes[0].dtype)
    slopes = [
        # The root of 0 has no derivative, so epsilon stands inside.
        slope / tf.sqrt(moment / seen + _EPSILON)
        for slope, moment in zip(slopes, moments, strict=True)
    ]
    return slopes, moments


def _refuse_state(network: keras.Model) -> None:
    for layer in network.layers:
        # A frozen batch norm is still; frozen dropout goes on to drop.
        drops = getattr(layer, "seed_generator", None) is not None
        if (layer.trainable or drops) and layer.non_trainable_variables:
            raise errors.InputError(
                f"layer {layer.name} keeps state "
                f"({layer.non_trainable_variables[0].name}), which tasks would share; "
                "use no dropout, and group norm or a frozen batch norm"
            )
