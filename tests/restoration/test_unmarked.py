import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import errors, pictures
from restoration import degradations, unmarked

KEY = tf.constant([3, 5])


def _images(count, height=20, width=28, channels=3):
    draws = np.random.default_rng(0).uniform(0, 1, (count, height, width, channels))
    return tf.constant(draws, tf.float32)


def _damaged(damage, clean, key=KEY):
    """What became of the images; nothing else is told."""
    found, level, mask = damage(clean, key)
    assert found.shape == mask.shape == clean.shape
    assert level.shape == (*clean.shape[:3], 1)
    assert not np.any(level) and not np.any(mask)
    return found.numpy()


@pytest.mark.parametrize("channels", [1, 3])
def test_overlays_are_two_of_the_bank_in_one_of_the_colours(channels):
    """Every image is y = (1 - a) x + a c for one place, two opacities and one c."""
    bank = np.random.default_rng(1).integers(0, 256, (3, 22, 29, 1), np.uint8)
    bank = np.concatenate([bank, 0 * bank], 2)[:, :, :22]  # square
    colours = ((1.0, 0.5, 0.0), (0.1, 0.2, 0.9))
    shades = [np.float32(each) for each in colours]
    if channels == 1:
        shades = [each @ pictures.LUMA for each in shades]
    clean = _images(40, 20, 21, channels)
    ways = {}
    for top, left in np.ndindex(3, 2):
        for one, other in np.ndindex(3, 3):
            pair = np.maximum(bank[one], bank[other])[top : top + 20, left : left + 21]
            for number, shade in enumerate(shades):
                ways[top, left, one, other, number] = pair / np.float32(255), shade
    seen = set()
    damage = unmarked.Overlays(bank, colours)
    for update in range(4):
        damaged = _damaged(damage, clean, tf.constant([3, update]))
        places = set()
        for x, y in zip(clean.numpy(), damaged, strict=True):
            fits = [
                way
                for way, (a, c) in ways.items()
                if np.abs((1 - a) * x + a * c - y).max() < 1e-6
            ]
            assert len({(*way[:2], frozenset(way[2:4]), way[4]) for way in fits}) == 1
            places.add(fits[0][:2])
            seen.add((*sorted(fits[0][2:4]), fits[0][4]))
        assert len(places) == 1
    assert len(seen) == 6 * 2  # all pairs of opacities in both colours


def test_overlays_have_the_colours_of_rust_stain_dirt_and_dust():
    bank = np.full((1, 8, 8, 1), 255, np.uint8)
    damaged = _damaged(unmarked.Overlays(bank), _images(60, 8, 8))
    found = {tuple(np.round(each[0, 0].astype(float), 4)) for each in damaged}
    assert found == set(degradations.COLOURS.values())
    assert (damaged == damaged[:, :1, :1]).all()


def test_images_larger_than_the_overlays_are_refused():
    with pytest.raises(errors.InputError, match="images of 9x8 pixels .* of 8x8; draw"):
        unmarked.Overlays(np.zeros((1, 8, 8, 1), np.uint8))(_images(1, 9, 8), KEY)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_that_of_studies_bit_for_bit_at_qualities_from_10_to_80(channels):
    side = np.linspace(0, 3, 32)
    wave = 0.5 + 0.4 * np.sin(side[:, None] * side + np.arange(channels)[:, None, None])
    one = np.moveaxis(wave, 0, -1).astype(np.float32)
    clean = tf.tile(one[None], [300, 1, 1, 1])
    damaged = _damaged(unmarked.jpeg, clean)
    theirs = {degradations.jpeg(one, q).tobytes(): q for q in range(10, 81)}
    assert len(theirs) > 60  # some neighbours compress alike
    qualities = [theirs[each.tobytes()] for each in damaged]
    assert min(qualities) < 13 and max(qualities) > 77
    assert 40 < np.mean(qualities) < 50


DAMAGES = [
    unmarked.Overlays(np.arange(256, dtype=np.uint8).repeat(9).reshape(1, 48, 48, 1)),
    unmarked.jpeg,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_key_fixes_the_damage_and_another_changes_it(damage):
    clean = _images(16)
    first = _damaged(damage, clean)
    np.testing.assert_array_equal(first, _damaged(damage, clean))
    for key in ([3, 6], [4, 5]):
        assert (first != _damaged(damage, clean, tf.constant(key))).any()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_graph_equals_eager_also_for_an_unknown_batch(damage):
    clean = _images(12)
    signature = [tf.TensorSpec((None, *clean.shape[1:])), tf.TensorSpec((2,), tf.int32)]
    graph = tf.function(damage, input_signature=signature)
    np.testing.assert_allclose(graph(clean, KEY)[0], damage(clean, KEY)[0], atol=1e-6)
