import numpy as np
import pytest

from gan_transfer import errors, transfer
from restoration import deepening, networks


def draw(network):
    """Random weights everywhere, also in the head, which starts at zero."""
    draws = np.random.default_rng(0)
    network.set_weights(
        [0.3 * draws.standard_normal(w.shape) for w in network.get_weights()]
    )
    return network


def inputs(height=9, width=14, channels=1):
    draws = np.random.default_rng(1)
    image = draws.random((2, height, width, channels), np.float32)
    return [image, 0.1 + 0 * image[..., :1], np.float32(image > 0.8)]


@pytest.mark.parametrize("widths", [(4,), (4, 6), (2, 4, 6)])
@pytest.mark.parametrize(("blocks", "late"), [(1, 2), (2, 4)])
def test_a_deeper_network_starts_as_its_source_bit_for_bit(widths, blocks, late):
    source = draw(networks.restorer(3, widths=widths, blocks=blocks))
    deeper, _ = deepening.deepen(source, late)
    given = inputs(channels=3)
    np.testing.assert_array_equal(deeper(given), source(given))
    added = len(widths) * (late - blocks)
    count = sum(s.startswith("block") for s in transfer.stages(source))
    assert len(transfer.stages(deeper)) == len(transfer.stages(source)) + added
    # Deepened once more, from a network whose halves already differ.
    deepest, _ = deepening.deepen(draw(deeper), late + 1)
    np.testing.assert_array_equal(deepest(given), deeper(given))
    stages = [s for s in transfer.stages(deepest) if s.startswith("block")]
    assert len(stages) == count + added + len(widths)


def test_the_report_names_every_layer_and_where_it_comes_from():
    source = draw(networks.restorer(1, widths=(4, 6), blocks=1))
    deeper, report = deepening.deepen(source, 2)
    weighted = [layer.name for layer in deeper.layers if layer.weights]
    assert [copy.layer for copy in report] == weighted
    # stem 1 | down1 2 (3) | up1 3->4 (5) | head
    new = [copy.layer for copy in report if copy.origin == "new"]
    assert new == [f"block{n}_conv{k}" for n in (3, 5) for k in (1, 2)]
    moved = {copy.layer: copy.detail for copy in report if copy.detail}
    assert moved == {f"block4_conv{k}": f"block3_conv{k} in the source" for k in (1, 2)}
    for stage, old in (("block1", "block1"), ("block4", "block3")):
        kernel = deeper.get_layer(f"{stage}_conv1").kernel
        np.testing.assert_array_equal(kernel, source.get_layer(f"{old}_conv1").kernel)
    assert not deeper.get_layer("block5_conv2").kernel.numpy().any()
    assert deeper.get_layer("block5_conv1").kernel.numpy().all()


def test_three_late_blocks_cost_what_the_docstring_says():
    deeper = networks.restorer(1, late_blocks=3)
    assert deeper.count_params() == 1_027_744
    assert networks.multiply_adds(deeper) == 56_584


def test_what_cannot_be_deepened_is_refused():
    small = networks.restorer(1, widths=(4, 6), blocks=2)
    for late in (1, 2):
        with pytest.raises(errors.InputError, match="has 2 blocks .* not "):
            deepening.deepen(small, late)
    with pytest.raises(errors.InputError, match="document_a cannot be deepened"):
        deepening.deepen(networks.document_a(1), 3)
