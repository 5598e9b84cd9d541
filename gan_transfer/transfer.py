"""Freezing, unfreezing, depth, learning rates per layer (documents A 3.1, B 2.1).

Everything works on flat Functional models whose layers are called `<stage>_<role>`.
A rule that matches nothing is an error. Flags take effect at the next `compile`.
"""

import re

import keras

from gan_transfer import errors


def stage_of(layer: keras.layers.Layer) -> str:
    """Stage of a layer: its name up to the first underscore (document A 3.1)."""
    return layer.name.split("_", 1)[0]


def stages(model: keras.Model) -> list[str]:
    """Stages with weights in data order: `[stem, block1, head]` (document A 3.1)."""
    found = (stage_of(layer) for layer in model.layers if layer.weights)
    return list(dict.fromkeys(found))


def _matching(model: keras.Model, pattern: str) -> list[keras.layers.Layer]:
    """Layers with weights whose whole name matches the regular expression."""
    layers = [
        layer
        for layer in model.layers
        if layer.weights and re.fullmatch(pattern, layer.name)
    ]
    if not layers:
        names = ", ".join(layer.name for layer in model.layers if layer.weights)
        raise errors.InputError(
            f"{pattern!r} matches no layer of {model.name}; use a pattern or a recipe "
            f"for its layers, which are {names}"
        )
    return layers


def freeze(model: keras.Model, *patterns: str, batch_norm: str = "frozen") -> None:
    """Freeze the layers matching any pattern (document A 3.1, step 2).

    Args:
        model: a network; its `trainable` flags change, nothing else.
        patterns: regular expressions for whole layer names (`block1_.*`).
        batch_norm: `frozen` normalises with the stored statistics and keeps them;
            `adapt` keeps scale and shift but goes on collecting statistics.

    Raises:
        InputError: a pattern matches no layer, or an unknown batch-norm policy.
    """
    if batch_norm not in ("frozen", "adapt"):
        raise errors.InputError(
            f"batch-norm policy {batch_norm!r} is not one of frozen, adapt"
        )
    for pattern in patterns:
        for layer in _matching(model, pattern):
            adapts = isinstance(layer, keras.layers.BatchNormalization)
            if adapts and batch_norm == "adapt":
                layer.trainable = True
                layer.gamma.trainable = layer.beta.trainable = False
            else:
                layer.trainable = False


def unfreeze(model: keras.Model, *patterns: str) -> None:
    """Make the layers matching any pattern trainable again (document A 3.1, step 2).

    Raises:
        InputError: a pattern matches no layer.
    """
    for pattern in patterns:
        for layer in _matching(model, pattern):
            layer.trainable = True
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.gamma.trainable = layer.beta.trainable = True


def freeze_to_depth(
    model: keras.Model, depth: int, *, end: str, batch_norm: str = "frozen"
) -> list[str]:
    """Freeze the `depth` stages nearest to one end (document A 3.1; FreezeD).

    Args:
        model: a network.
        depth: stages to freeze, from 0 to all but one.
        end: `input` (a discriminator's generic layers) or `output` (a generator's).
        batch_norm: see `freeze`.

    Returns:
        The frozen stages.

    Raises:
        InputError: `depth` would freeze everything or is negative.

    Source: Mo, Cho, Shin, "Freeze the Discriminator", 2020.
    """
    if end not in ("input", "output"):
        raise errors.InputError(f"end {end!r} is not one of input, output")
    order = stages(model)
    if not 0 <= depth < len(order):
        raise errors.InputError(
            f"cannot freeze {depth} of the {len(order)} stages of {model.name} "
            f"({', '.join(order)}); choose --depth from 0 to {len(order) - 1}"
        )
    chosen = order[:depth] if end == "input" else order[len(order) - depth :]
    for stage in chosen:
        freeze(model, f"{stage}_.*", batch_norm=batch_norm)
    return chosen


def layerwise_rates(model: keras.Model, rules: dict[str, float]) -> dict[str, float]:
    """Rate multiplier of every variable path; the last matching rule wins (A 3.1).

    Args:
        model: a network.
        rules: regular expression for layer names -> multiplier > 0.

    Returns:
        Path -> multiplier for the variables that a rule names; others have 1.

    Raises:
        InputError: a rule matches no layer, or a multiplier is not positive.
    """
    rates = {}
    for pattern, factor in rules.items():
        if not factor > 0:
            raise errors.InputError(
                f"learning-rate multiplier {factor} for {pattern!r} is not positive; "
                "freeze the layers instead"
            )
        for layer in _matching(model, pattern):
            rates.update({variable.path: factor for variable in layer.weights})
    return rates


@keras.saving.register_keras_serializable(package="gan_transfer")
class LayerwiseAdam(keras.optimizers.Adam):
    """Adam with a learning-rate multiplier per variable path (document A 3.1)."""

    def __init__(self, rates: dict[str, float] | None = None, **arguments):
        super().__init__(**arguments)
        self.rates = dict(rates or {})

    def update_step(self, gradient, variable, learning_rate):
        """One Adam step at the variable's own rate."""
        # Here the backend's bare variable arrives, which has no path.
        known = self._trainable_variables[self._get_variable_index(variable)]
        factor = self.rates.get(known.path, 1.0)
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self) -> dict:
        """Keras configuration, rates included."""
        return {**super().get_config(), "rates": self.rates}


def adam(
    rates: dict[str, float] | None = None, **arguments
) -> keras.optimizers.Optimizer:
    """Adam as the global dtype policy needs it (document A 3.1).

    `mixed_float16` scales the loss, so that small gradients do not vanish, and leaves
    out the steps in which it overflows.

    Args:
        rates: as of `LayerwiseAdam`.
        **arguments: of `keras.optimizers.Adam`.
    """
    optimizer = LayerwiseAdam(rates, **arguments)
    if keras.config.dtype_policy().name == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
