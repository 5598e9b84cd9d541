"""A deeper restorer that starts as the one it was made from (document A 3.3(2)).

What was trained is kept, and the new blocks begin as identities: fine-tuning starts at
the quality of the source and has more to learn with.
"""

import keras
import numpy as np

from gan_transfer import copying, errors, transfer
from restoration import networks


def deepen(
    network: keras.Model, late_blocks: int
) -> tuple[keras.Model, list[copying.LayerCopy]]:
    """The same function with more blocks from the coarsest scale on (A 3.3(2)).

    Every added block is x + conv2(relu(conv1(x))) with conv2 = 0, behind the source's
    blocks of its scale. Source: Chen et al., "Net2Net: Accelerating Learning via
    Knowledge Transfer", ICLR 2016 (deeper nets).

    Args:
        network: of `networks.restorer`.
        late_blocks: as of `networks.restorer`, more than the network has.

    Returns:
        The deeper network, and what became of each of its layers.

    Raises:
        InputError: another architecture, or nothing to add.
    """
    runs = _runs(network)
    if network.name != "restorer" or "stem_conv" not in runs:
        raise errors.InputError(
            f"{network.name} cannot be deepened; give a network of networks.restorer, "
            "such as restorer_gray"
        )
    downs = [name for name in runs if name.startswith("down")]
    present = len(runs[["stem_conv", *downs][-1]])
    if late_blocks <= present:
        raise errors.InputError(
            f"the network has {present} blocks per scale from the coarsest on; ask for "
            f"more than that to deepen it, not {late_blocks}"
        )
    deeper = networks.restorer(
        network.inputs[0].shape[-1],
        widths=tuple(network.get_layer(name).filters for name in ("stem_conv", *downs)),
        blocks=len(runs["stem_conv"]),
        late_blocks=late_blocks,
    )
    report = []
    for name, stages in _runs(deeper).items():
        pairs = [(name, name)]
        for place, stage in enumerate(stages):
            old = runs[name][place] if place < len(runs[name]) else None
            for role in ("conv1", "conv2"):
                pairs.append((f"{stage}_{role}", old and f"{old}_{role}"))
        for target, source in pairs:
            layer = deeper.get_layer(target)
            if source:
                layer.set_weights(network.get_layer(source).get_weights())
            elif target.endswith("_conv2"):
                layer.set_weights([np.zeros(layer.kernel.shape, "float32")])
            origin = "copied" if source else "new"
            detail = f"{source} in the source" if source not in (None, target) else ""
            report.append(copying.LayerCopy(target, origin, detail))
    return deeper, report


def _runs(network: keras.Model) -> dict[str, list[str]]:
    """Layers with weights outside the blocks -> the block stages that follow each."""
    runs = {}
    for layer in network.layers:
        stage = transfer.stage_of(layer)
        if not layer.weights:
            continue
        if not stage.startswith("block"):
            last = runs[layer.name] = []
        elif runs and stage not in last:
            last.append(stage)
    return runs
