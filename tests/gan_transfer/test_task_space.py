import numpy as np
import pytest

from gan_transfer import errors, task_space


def distance(space, first, second):
    return np.linalg.norm(space.vector(*first) - space.vector(*second))


def test_numbers_count_by_their_spread_and_categories_as_0_or_1():
    known = [{"sigma": 0.0, "kind": "a"}, {"sigma": 4.0, "kind": "b"}]
    space = task_space.TaskSpace(known)
    # The spread of sigma is 2.
    for here, there, expected in (
        ({"sigma": 1.0, "kind": "a"}, {"sigma": 2.0, "kind": "a"}, 0.5**2 / 2),
        ({"sigma": 1.0, "kind": "a"}, {"sigma": 1.0, "kind": "b"}, 1 / 2),
        ({"sigma": 1.0, "kind": "a"}, {"sigma": 3.0, "kind": "new"}, (1 + 1) / 2),
        ({"kind": "a"}, {"sigma": 0.0, "kind": "a"}, 0),
        ({"sigma": 1.0}, {"sigma": 1.0, "kind": "b"}, 1 / 2),
    ):
        found = distance(space, (here,), (there,))
        assert found == pytest.approx(np.sqrt(expected))
    assert space.width == space.vector(known[0]).size == 4


def test_features_count_by_their_spread():
    features = [np.float32([0, 5, 1]), np.float32([2, 5, 7])]
    space = task_space.TaskSpace([{}, {}], features)
    here, there = np.float32([1, 9, 1]), np.float32([3, 5, 4])
    expected = np.sqrt(((2 / 1) ** 2 + (3 / 3) ** 2) / 2)
    assert distance(space, ({}, here), ({}, there)) == pytest.approx(expected)
    assert space.width == 2


def test_what_all_tasks_share_is_left_out():
    known = [{"size": 28, "set": "omniglot", "ink": ink} for ink in (0.1, 0.3)]
    space = task_space.TaskSpace(known)
    assert space.width == 1
    other = {"size": 64, "set": "emoji", "ink": 0.1}
    assert distance(space, (known[0],), (other,)) == 0
    assert task_space.TaskSpace(known[:1]).vector(known[0]).size == 0


@pytest.mark.parametrize(
    ("descriptors", "features", "message"),
    [
        ([], None, "no tasks to measure"),
        ([{"a": 1}, {"a": "x"}], None, "'a' is a number in one task and a text"),
        ([{}, {}], [np.ones(2), None], "or some have none"),
        ([{}, {}], [np.ones(2), np.ones(3)], "of different lengths"),
    ],
)
def test_tasks_that_cannot_be_compared_are_refused(descriptors, features, message):
    with pytest.raises(errors.InputError, match=message):
        task_space.TaskSpace(descriptors, features)


def test_a_task_of_another_make_is_refused():
    known = [{"a": 1.0, "b": "x"}, {"a": 2.0, "b": "y"}]
    space = task_space.TaskSpace(known, [np.zeros(2), np.ones(2)])
    for descriptor, features, message in (
        ({"a": "one"}, np.ones(2), "'a' is 'one', but the stored tasks have numbers"),
        ({"b": 1.0}, np.ones(2), "'b' is 1.0, but the stored tasks have texts"),
        ({}, np.ones(3), r"features have shape \(3,\), .* \(2,\)"),
        ({}, None, r"features have shape \(\), those"),
    ):
        with pytest.raises(errors.InputError, match=message):
            space.vector(descriptor, features)
