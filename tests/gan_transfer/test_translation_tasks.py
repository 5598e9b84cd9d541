import numpy as np
import pytest

from gan_transfer import data, errors, tasks, translation_tasks

GROUPS = translation_tasks.GROUPS
RED, WHITE = (1.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def numbered(count):
    """Image i has the value i everywhere."""
    values = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(values, (count, 4, 4, 1)).copy()


def test_strokes_in_closed_form():
    drawing = np.full((1, 4, 4, 3), -1, np.float32)
    drawing[0, 0, 1] = 1
    near = np.zeros((4, 4))
    near[:2, :3] = 1
    alone = (drawing[0, ..., 0] + 1) / 2
    for strokes, wanted in (
        ("plain", alone),
        ("bold", near),
        ("outline", near - alone),
    ):
        redrawn = translation_tasks.Redrawing(strokes, RED, WHITE)(drawing)
        assert redrawn.dtype == np.float32 and redrawn.shape == (1, 4, 4, 3)
        np.testing.assert_array_equal(redrawn[0, ..., 0], np.ones((4, 4)))
        for channel in (1, 2):
            np.testing.assert_array_equal(redrawn[0, ..., channel], 1 - 2 * wanted)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_bold_is_the_largest_of_the_pixels_around(dtype):
    drawings = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3)).astype(dtype)
    found = translation_tasks.bold(drawings)
    assert found.dtype == dtype
    for row, column in np.ndindex(5, 7):
        near = drawings[:, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        np.testing.assert_array_equal(found[:, row, column], near.max((1, 2)))


def test_half_tones_mix_ink_and_paper():
    drawing = np.zeros((1, 1, 1, 3), np.float32)
    redrawn = translation_tasks.Redrawing("plain", (0.2, 0.4, 1.0), (0.6, 0.0, 0.0))
    np.testing.assert_allclose(redrawn(drawing)[0, 0, 0], [-0.2, -0.6, 0.0], atol=1e-6)


def test_groups_are_split_into_disjoint_ones_by_the_seed():
    known, unseen = translation_tasks.split(5, 0)
    assert len(unseen) == 5 and set(known) | set(unseen) == set(GROUPS)
    assert not set(known) & set(unseen)
    assert translation_tasks.split(5, 0)[1] == unseen
    assert translation_tasks.split(5, 1)[1] != unseen


def test_every_stroke_and_hue_is_learned_from_and_combinations_are_unseen():
    every = [set(each) for each in zip(*(g.split("/") for g in GROUPS), strict=True)]
    held = len(GROUPS) - max(map(len, every))
    for count, seed in ((5, 0), (5, 7), (9, 3), (held, 0)):
        known, unseen = translation_tasks.split(count, seed)
        assert len(unseen) == count
        pairs = zip(*(group.split("/") for group in known), strict=True)
        assert [set(each) for each in pairs] == every
    with pytest.raises(errors.InputError, match="hold out fewer"):
        translation_tasks.split(held + 1, 0)


def test_tasks_have_the_strokes_and_hues_of_their_groups_and_no_partners():
    groups = ["bold/2", "plain/0"]
    drawn = translation_tasks.draw(numbered(60), groups, 6, 10, 0)
    again = translation_tasks.draw(numbered(60), groups, 6, 10, 0)
    assert [task.group for task in drawn] == groups * 3
    assert len({task.name for task in drawn}) == 6
    for task, other in zip(drawn, again, strict=True):
        assert isinstance(task.descriptor["ink_r"], float)
        assert task.descriptor == other.descriptor
        assert task.descriptor["strokes"] == task.group.split("/")[0]
        red, green, blue = task.mapping.ink
        # Hues from 120 to 180 degrees: green leads; from 0 to 60: red.
        assert (green if task.group == "bold/2" else red) == max(red, green, blue)
        values = task.pixels[:, 0, 0, 0].tolist()
        assert len(task) == 10 and len(set(values)) == 20
        first, second = task.examples([3, 0])
        assert first.shape == second.shape == (2, 4, 4, 3)
        given = data.to_float(numbered(60))
        np.testing.assert_array_equal(first[0, 0, 0], given[values[3], 0, 0].repeat(3))
        partners = np.repeat(given[[values[13], values[10]]], 3, axis=3)
        np.testing.assert_array_equal(second, task.mapping(partners))


def test_tasks_are_what_meta_batches_are_drawn_from():
    drawn = translation_tasks.draw(numbered(60), ["plain/0"], 3, 10, 0)
    batch = tasks.sample_batch(drawn, 2, 4, 0, (0, 0))
    assert [x.shape for x in batch.support] == [(2, 4, 4, 4, 3)] * 2
    support, query = tasks.split(drawn[0], 2, 8, 0)
    assert [x.shape[0] for x in (*support, *query)] == [2, 2, 8, 8]


@pytest.mark.parametrize(
    "pixels", [numbered(19), np.zeros((20, 4, 4, 3), np.uint8)], ids=["few", "colour"]
)
def test_drawings_that_do_not_do_are_refused(pixels):
    with pytest.raises(errors.InputError, match="need grey drawings, 20 or more, not"):
        translation_tasks.draw(pixels, ["plain/0"], 1, 10, 0)
