"""Copying weights between networks, and the printed plan (documents A 3.1, B 3.2.1).

Copying is strict: what may differ between the networks is declared, and the report says
what became of every layer.
"""

import dataclasses
from collections.abc import Iterable

import keras
import numpy as np

from gan_transfer import errors, transfer


@dataclasses.dataclass(frozen=True)
class LayerCopy:
    """What became of one layer (document A 3.1).

    `origin` is copied, adapted or new for a target layer; dropped for a source layer
    that the target has no place for.
    """

    layer: str
    origin: str
    detail: str = ""


def _counterparts(source: keras.Model, target: keras.Model, align: str) -> dict:
    """Source layer for each target layer; blocks are counted from end `align`."""

    def place(model):
        order = [s for s in transfer.stages(model) if s.startswith("block")]
        if align == "output":
            order.reverse()
        return {stage: f"block@{number}" for number, stage in enumerate(order)}

    def keyed(model):
        places = place(model)
        return {
            (
                places.get(transfer.stage_of(layer), transfer.stage_of(layer)),
                layer.name.split("_", 1)[1],
            ): layer
            for layer in model.layers
            if layer.weights
        }

    sources = keyed(source)
    return {layer.name: sources.get(key) for key, layer in keyed(target).items()}


def copy_weights(
    source: keras.Model,
    target: keras.Model,
    *,
    align: str = "input",
    exceptions: Iterable[str] = (),
) -> list[LayerCopy]:
    """Copy every weight of `source` into `target`, strictly (document B 3.2.1).

    Stages are paired by name, blocks by their number counted from the end `align`, so
    that nets of different depth share the stages next to the image.

    Args:
        source: the pretrained network.
        target: the network to fill, in place.
        align: `input` for discriminators, `output` for generators.
        exceptions: what may differ, out of `channels` (image channels are repeated or
            averaged), `classes` (class embeddings start at the source's mean), `size`
            (layers without a counterpart of the same shape stay new).

    Returns:
        One `LayerCopy` per target layer with weights, then one per source layer that
        has no place in the target.

    Raises:
        InputError: a layer cannot be copied and no declared exception covers it.
    """
    exceptions = set(exceptions)
    report, refused, fitted = [], [], []
    image = {"input": -2, "output": -1}[align]
    edges = [layer.name for layer in target.layers if layer.weights]
    edge = edges[0] if align == "input" else edges[-1]
    pairs = _counterparts(source, target, align)
    for name, old in pairs.items():
        new = target.get_layer(name)
        values, origin, detail = _fitted(old, new, image if name == edge else None)
        if origin != "copied" and not exceptions & _causes(old, new, origin, edge):
            refused.append(f"{name} ({detail})")
            continue
        if values is not None:
            fitted.append((new, values))
        report.append(LayerCopy(name, origin, detail))
    for old in source.layers:
        if old.weights and old not in pairs.values():
            cause = "classes" if old.name.endswith("_classes") else "size"
            if cause not in exceptions:
                refused.append(f"{old.name} (no place for it here)")
            report.append(LayerCopy(old.name, "dropped", "no place for it here"))
    if refused:
        raise errors.InputError(
            f"cannot copy {source.name} into {target.name}: {'; '.join(refused)}; use a"
            " model of the same architecture, or declare the difference (exceptions=)"
        )
    for layer, values in fitted:
        layer.set_weights(values)
    return report


def _causes(old, new, origin: str, edge: str) -> set[str]:
    """The exceptions any of which allows `new` not to be a copy of `old`."""
    if old is None and new.name.endswith("_classes"):
        return {"classes"}
    if origin == "adapted":
        return {"channels"} if new.name == edge else {"classes"}
    return {"channels", "size"} if new.name == edge else {"size"}


def _fitted(old, new, channel_axis: int | None):
    """Weights for `new` made from `old`'s: (values or None, origin, detail)."""
    if old is None:
        return None, "new", "no counterpart in the source"
    sources = old.get_weights()
    shapes = [w.shape for w in new.get_weights()]
    if [w.shape for w in sources] == shapes:
        return sources, "copied", ""
    detail = f"{_text(sources[0].shape)} in the source, {_text(shapes[0])} here"
    if len(sources) != len(shapes):
        return None, "new", detail
    if new.name.endswith("_classes") and sources[0].shape[1] == shapes[0][1]:
        mean = np.broadcast_to(sources[0].mean(axis=0), shapes[0])
        return [mean], "adapted", f"mean of {len(sources[0])} source classes"
    if new.name == "stem_dense" and sources[0].shape[1] == shapes[0][1]:
        # Latents come first, the class embedding after them (networks.convolutional).
        kernel = np.zeros(shapes[0], sources[0].dtype)
        rows = min(len(kernel), len(sources[0]))
        kernel[:rows] = sources[0][:rows]
        return [kernel], "adapted", f"{rows} latent rows copied, class rows zero"
    if channel_axis is not None:
        return _fit_channels(sources, shapes, channel_axis, detail)
    return None, "new", detail


def _fit_channels(sources, shapes, axis: int, detail: str):
    """Repeat or average the image channels of a layer at the image's edge."""
    kernel = sources[0]
    kept = [n for i, n in enumerate(kernel.shape) if i != kernel.ndim + axis]
    wanted = [n for i, n in enumerate(shapes[0]) if i != kernel.ndim + axis]
    if kernel.ndim != 4 or kept != wanted:
        return None, "new", detail
    mean = kernel.mean(axis=axis, keepdims=True)
    if axis == -2:  # a sum over image channels: keep its size
        mean = mean * (kernel.shape[axis] / shapes[0][axis])
    values = [np.broadcast_to(mean, shapes[0])]
    for weight, shape in zip(sources[1:], shapes[1:], strict=True):
        same = weight.shape == shape
        values.append(weight if same else np.broadcast_to(weight.mean(), shape))
    old, new = kernel.shape[axis], shapes[0][axis]
    return values, "adapted", f"{old} -> {new} image channels"


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def plan(
    model: keras.Model,
    copies: list[LayerCopy],
    *,
    learning_rate: float,
    rates: dict[str, float] | None = None,
) -> str:
    """The transfer as a table: each layer's origin, state and rate (document A 3.1).

    Args:
        model: the target network with its flags set.
        copies: the report of `copy_weights`; layers missing in it are new.
        learning_rate: of the network's optimizer.
        rates: multipliers as from `layerwise_rates`.

    Returns:
        Lines of text with parameter counts and totals.
    """
    known = {copy.layer: copy for copy in copies}
    lines = [f"{model.name:<22}{'weights':>10}  origin   state       rate"]
    totals = {"trained": 0, "frozen": 0}
    for layer in model.layers:
        if not layer.weights:
            continue
        copy = known.get(layer.name, LayerCopy(layer.name, "new"))
        trained = sum(int(np.prod(v.shape)) for v in layer.trainable_weights)
        count = layer.count_params()
        totals["trained"] += trained
        totals["frozen"] += count - trained
        state = "trained" if trained else "frozen"
        if not trained and layer.trainable:
            state = "statistics"
        rate = learning_rate * (rates or {}).get(layer.weights[0].path, 1.0)
        shown = f"{rate:.1e}" if trained else "-"
        lines.append(
            f"  {layer.name:<20}{count:>10,}  {copy.origin:<8} {state:<11} {shown:<8}"
            f" {copy.detail}".rstrip()
        )
    lines += [
        f"  {copy.layer:<20}{'':>10}  dropped  of the source, {copy.detail}"
        for copy in copies
        if copy.origin == "dropped"
    ]
    lines.append(
        f"  trained {totals['trained']:,}, frozen {totals['frozen']:,} weights"
        " (batch-norm statistics count as frozen)"
    )
    return "\n".join(lines)
