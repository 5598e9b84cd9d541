import functools
import gc
import weakref

import keras
import numpy as np
import pytest

from gan_transfer import errors
from restoration import networks, tiles, unrolled


def draw_weights(network, seed=0):
    """Random weights everywhere: an untrained restorer returns its input."""
    generator = np.random.default_rng(seed)
    for weight in network.weights:
        fans = np.prod(weight.shape[:-1])
        weight.assign(generator.normal(0, (2 / fans) ** 0.5, weight.shape))
    return network


def stacked(sides, strides=(), channels=1):
    """Convolutions of these kernels behind pixel unshuffling by these strides."""
    image, level, mask = networks.inputs(channels)
    x = keras.layers.Concatenate()([image, level, mask])
    multiple = int(np.prod(strides))
    x = networks.PadToMultiple(multiple)(x) if strides else x
    for _ in strides:
        x = networks.PixelUnshuffle()(x)
    for side in sides:
        x = keras.layers.Conv2D(4 ** len(strides) * channels, side, padding="same")(x)
    for _ in strides:
        x = networks.PixelShuffle()(x)
    x = networks.CropLike()([x, image])
    return keras.Model([image, level, mask], x)


def damaged(shape, seed=0):
    generator = np.random.default_rng(seed)
    image = generator.random(shape, np.float32)
    return image, (generator.random(shape) < 0.4).astype(np.float32)


@functools.cache
def restorer(channels):
    network = draw_weights(networks.restorer(channels, widths=(4, 6), blocks=1))
    # Else values up to 40 come out, of which float32 keeps no more than 1e-5.
    head = network.get_layer("head_conv").kernel
    head.assign(0.25 * head)
    return network


@pytest.fixture
def small():
    return restorer(1)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, [(0, 1, 0, 1)]),
        (96, [(0, 96, 0, 96)]),
        (97, [(0, 96, 0, 80), (64, 97, 80, 97)]),
        (200, [(0, 96, 0, 80), (64, 160, 80, 144), (128, 200, 144, 200)]),
    ],
)
def test_spans_by_hand(length, expected):
    assert list(tiles.spans(length, 96, 16)) == expected


@pytest.mark.parametrize("length", [1, 95, 96, 129, 160, 161, 500, 1023])
@pytest.mark.parametrize(("tile", "overlap"), [(96, 32), (96, 16), (64, 0)])
def test_spans_keep_everything_once_and_away_from_cuts(length, tile, overlap):
    spans = list(tiles.spans(length, tile, overlap))
    kept = [range(first, last) for *_, first, last in spans]
    assert [position for part in kept for position in part] == list(range(length))
    assert len(spans) == max(1, -(-(length - 2 * overlap) // (tile - 2 * overlap)))
    for start, stop, first, last in spans:
        assert start % 32 == 0 and stop - start <= tile
        assert start == 0 or first - start >= overlap
        assert stop == length or stop - last >= overlap


@pytest.mark.parametrize(
    ("sides", "strides", "expected"),
    [
        ([1], [], 0),
        ([5], [], 2),
        ([3, 3, 7], [], 5),
        ([3, 3], [2], 4),
        ([3, 1, 3], [2, 2], 8),
    ],
)
def test_reach_is_that_of_the_kernels(sides, strides, expected):
    # Cuts are between blocks of pixels, so only other blocks count.
    assert tiles.reach(stacked(sides, strides)) == expected


def test_reach_sees_asymmetric_kernels_and_ignores_the_mean_of_the_picture():
    network = stacked([9])
    kernel = np.zeros((9, 9, 3, 1), np.float32)
    for row, column, expected in ((4, 4, 0), (4, 0, 4), (8, 4, 4), (3, 6, 2)):
        kernel[:] = 0
        kernel[row, column] = 1
        network.layers[-2].set_weights([kernel, np.zeros(1, np.float32)])
        assert tiles.reach(network) == expected
    sparse = unrolled.unrolled_sparse(1, filters=4, iterations=2)
    # Analysis, synthesis, analysis, dictionary of 7x7 pixels: 4 times 3 or 4 blocks.
    assert 4 * 3 <= tiles.reach(sparse) <= 4 * 4


def test_reach_follows_the_weights():
    network = networks.restorer(1, widths=(4, 6), blocks=1)
    assert tiles.reach(network) == 0
    draw_weights(network)
    # Back from the output: 3 convolutions on blocks of 2 pixels, up to whole blocks of
    # 4, 2 convolutions on those, 3 on blocks of 2.
    assert tiles.reach(network) == 8 + 2 * 4 + 3 * 2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "size", [(77, 131), (131, 77), (97, 200), (96, 96), (1, 700), (400, 3), (1, 1)]
)
def test_tiles_give_the_result_of_the_whole_picture(channels, size):
    network = restorer(channels)
    image, mask = damaged((*size, channels))
    level = np.full((1, *size, 1), 0.2, np.float32)
    whole = network([image[None], level, mask[None]], training=False)[0]
    overlap = tiles.overlap(network, image.shape, 96)
    assert overlap == (32 if max(size) > 96 else 0)
    found = tiles.apply(network, image, mask, 0.2, tile=96, overlap=overlap)
    np.testing.assert_allclose(found, whole, atol=1e-5, rtol=0)


def test_tiles_of_document_a():
    network = networks.document_a(3)
    image, mask = damaged((70, 101, 3))
    whole = tiles.apply(network, image, mask, 0.1, tile=128, overlap=0)
    overlap = tiles.overlap(network, image.shape, 64)
    found = tiles.apply(network, image, mask, 0.1, tile=64, overlap=overlap)
    np.testing.assert_allclose(found, whole, atol=1e-5, rtol=0)


def test_too_little_overlap_would_be_seen(small):
    image, mask = damaged((77, 131, 1))
    whole = tiles.apply(small, image, mask, 0.2, tile=160, overlap=0)
    found = tiles.apply(small, image, mask, 0.2, tile=96, overlap=0)
    assert np.abs(found - whole).max() > 1e-3


def test_nothing_missing_is_an_empty_mask(small):
    image, mask = damaged((20, 31, 1))
    expected = tiles.apply(small, image, 0 * mask, 0.2, tile=96, overlap=0)
    found = tiles.apply(small, image, None, 0.2, tile=96, overlap=0)
    np.testing.assert_array_equal(found, expected)


def test_one_graph_serves_all_tiles_and_no_tile_is_larger(monkeypatch):
    network, shapes = stacked([3]), []
    run = tiles._compiled(network)

    def count(*inputs):
        shapes.append(inputs[0].shape[1:3])
        return run(*inputs)

    monkeypatch.setitem(tiles._runs, network, count)
    image, mask = damaged((200, 131, 1))
    tiles.apply(network, image, mask, 0.2, tile=96, overlap=32)
    rows, columns = 5, 3
    assert len(shapes) == rows * columns
    assert max(max(shape) for shape in shapes) == 96
    assert run.experimental_get_tracing_count() == 1


def test_the_graph_follows_the_weights_and_goes_with_the_network():
    network = stacked([3])
    image, mask = damaged((8, 9, 1))
    tiles.apply(network, image, mask, 0.0, tile=32, overlap=0)
    network.set_weights([np.zeros_like(each) for each in network.get_weights()])
    assert not tiles.apply(network, image, mask, 0.0, tile=32, overlap=0).any()
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("tile", [0, 16, 100])
def test_tiles_off_the_grid_are_refused(small, tile):
    with pytest.raises(errors.InputError, match="must be a multiple of 32"):
        tiles.overlap(small, (10, 10, 1), tile)


def test_tiles_smaller_than_the_reach_are_refused(small):
    assert tiles.overlap(small, (64, 64, 1), 64) == 0
    with pytest.raises(errors.InputError, match="up to 32 pixels far; use at least 96"):
        tiles.overlap(small, (64, 65, 1), 64)


def test_a_network_that_looks_farther_than_can_be_measured_is_refused(
    small, monkeypatch
):
    monkeypatch.setattr(tiles, "reach", lambda network: 500)
    with pytest.raises(errors.InputError, match="looks 512 pixels far and more"):
        tiles.overlap(small, (64, 2000, 1), 1984)
