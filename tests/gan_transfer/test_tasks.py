import numpy as np
import pytest

from gan_transfer import errors, image_tasks, tasks


def made(count=12, examples=20, sides=(4, 5), groups=4):
    """Tasks whose pixel values tell task (row) and example (column)."""
    found = []
    for number in range(count):
        pixels = np.zeros((examples, *sides, 2), np.uint8)
        pixels[..., 0] = number
        pixels[..., 1] = np.arange(examples)[:, None, None]
        group = f"g{number % groups}"
        found.append(image_tasks.ImageTask(f"t{number}", group, {}, pixels))
    return found


def told(images):
    """Task and example numbers `[..., 2]` of images."""
    return np.rint((images[..., 0, 0, :] + 1) * 127.5).astype(int)


def test_groups_are_on_one_side_of_a_split():
    rest, held = tasks.hold_out(made(), 4, seed=0)
    groups = [{task.group for task in side} for side in (rest, held)]
    assert not groups[0] & groups[1]
    assert [len(each) for each in groups] == [2, 2] and len(held) == 6
    names = [task.name for task in rest]
    again, _ = tasks.hold_out(list(reversed(made())), 4, seed=0)
    assert sorted(names) == sorted(task.name for task in again)
    chosen = {
        tuple(task.name for task in tasks.hold_out(made(), 3, seed=seed)[1])
        for seed in range(20)
    }
    assert len(chosen) == 4
    for count in (0, 10, 12):
        with pytest.raises(errors.InputError, match=f"hold out {count} of 12 tasks in"):
            tasks.hold_out(made(), count, seed=0)


def test_support_and_query_are_apart_and_shots_nested():
    task = made(1)[0]
    support, query = (told(each) for (each,) in tasks.split(task, 5, 15, seed=1))
    assert sorted([*support[:, 1], *query[:, 1]]) == list(range(20))
    (few,), (same,) = tasks.split(task, 2, 15, seed=1)
    np.testing.assert_array_equal(told(few), support[:2])
    np.testing.assert_array_equal(told(same), query)
    (other,), _ = tasks.split(task, 5, 15, seed=2)
    assert not np.array_equal(told(other), support)


def test_a_batch_is_drawn_without_replacement():
    known = made()
    batch = tasks.sample_batch(known, 7, 4, 6, (3, 5))
    (support,), (query,) = batch.support, batch.query
    assert support.shape == (7, 4, 4, 5, 2) and query.shape == (7, 6, 4, 5, 2)
    assert support.dtype == query.dtype == np.float32
    numbers = [int(task.name[1:]) for task in batch.tasks]
    assert len(set(numbers)) == 7
    for number, shown, asked in zip(numbers, told(support), told(query), strict=True):
        assert set(shown[:, 0]) | set(asked[:, 0]) == {number}
        assert len({*shown[:, 1], *asked[:, 1]}) == 10
    drawn = {
        tuple(task.name for task in tasks.sample_batch(known, 1, 1, 0, (0, t)).tasks)
        for t in range(100)
    }
    assert len(drawn) == 12


def test_a_batch_is_fixed_by_seed_and_update():
    known = made()

    def draw(*key):
        return tasks.sample_batch(known, 3, 2, 2, key).support[0].tobytes()

    assert draw(1, 4) == draw(1, 4)
    assert len({draw(1, 4), draw(1, 5), draw(2, 4), draw(4, 1)}) == 4


def test_the_stream_resumes_where_it_was():
    known = made()
    stream = tasks.batches(known, 3, 2, 4, seed=6)
    taken = list(stream.take(4).as_numpy_iterator())
    for step, ((support,), (query,)) in enumerate(taken):
        batch = tasks.sample_batch(known, 3, 2, 4, (6, step))
        np.testing.assert_array_equal(support, batch.support[0])
        np.testing.assert_array_equal(query, batch.query[0])
    resumed = tasks.batches(known, 3, 2, 4, seed=6, start=3)
    ((support,), _) = next(resumed.as_numpy_iterator())
    np.testing.assert_array_equal(support, taken[3][0][0])
    (shape,), (asked,) = (tuple(s.shape for s in side) for side in stream.element_spec)
    assert (shape, asked) == ((3, 2, 4, 5, 2), (3, 4, 4, 5, 2))


def test_batches_that_cannot_be_drawn_are_refused():
    known = made(3)
    for numbers, message in (
        ((4, 1, 1), "batch of 4 tasks cannot be drawn from 3"),
        ((0, 1, 1), "batch of 0 tasks"),
        ((3, 15, 6), "task t[012] has 20 examples, not 15 .+ 6"),
        ((3, 0, 6), "at least 1 shot"),
    ):
        with pytest.raises(errors.InputError, match=message):
            tasks.sample_batch(known, *numbers, (0, 0))
    with pytest.raises(errors.InputError, match="images of the shapes"):
        tasks.sample_batch([*known, *made(1, sides=(4, 4))], 4, 1, 1, (0, 0))
