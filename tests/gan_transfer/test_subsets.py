import numpy as np
import pytest

from gan_transfer import errors, subsets

LABELS = np.repeat(np.arange(3, dtype=np.int32), (30, 20, 10))


def numbered(count, height=8, width=8):
    """Image i has the value i everywhere."""
    values = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(values, (count, height, width, 1)).copy()


def numbers(pixels):
    return pixels[:, 0, 0, 0].tolist()


def refusal(function, *arguments, **options):
    with pytest.raises(errors.InputError) as caught:
        function(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_some_are_seeded_in_order_and_of_all_parts_of_the_set():
    chosen = numbers(subsets.some(numbered(60), 20))
    assert chosen == sorted(set(chosen)) and len(chosen) == 20
    assert len(np.unique(LABELS[chosen])) == 3
    assert numbers(subsets.some(numbered(60), 20)) == chosen
    assert numbers(subsets.some(numbered(60), 60)) == list(range(60))
    assert numbers(subsets.some(numbered(9), 60)) == list(range(9))


def test_hold_out_is_disjoint_seeded_and_in_order():
    pixels = numbered(60)
    train, _, held, _ = subsets.hold_out(pixels, None, 17, 5)
    assert len(held) == 17
    assert sorted(numbers(train) + numbers(held)) == list(range(60))
    assert numbers(held) == sorted(numbers(held))
    assert numbers(subsets.hold_out(pixels, None, 17, 5)[2]) == numbers(held)
    assert numbers(subsets.hold_out(pixels, None, 17, 6)[2]) != numbers(held)


@pytest.mark.parametrize(
    ("count", "expected"), [(6, [3, 2, 1]), (12, [6, 4, 2]), (59, [29, 20, 10])]
)
def test_hold_out_keeps_the_proportions_of_the_classes(count, expected):
    train, kept, held, labels = subsets.hold_out(numbered(60), LABELS, count, 0)
    counts = np.bincount(labels, minlength=3)
    assert np.abs(counts - expected).max() <= (count == 59)
    np.testing.assert_array_equal(labels, LABELS[numbers(held)])
    np.testing.assert_array_equal(kept, LABELS[numbers(train)])


@pytest.mark.parametrize("count", [-1, 0, 60, 61])
def test_hold_out_refuses_empty_parts(count):
    message = refusal(subsets.hold_out, numbered(60), None, count, 0)
    assert f"cannot hold out {count} of 60" in message


def test_equal_images_are_left_out_with_their_labels():
    given = numbered(5) + 58, numbered(1) + 7
    kept, labels = subsets.without(numbered(60), LABELS, given)
    expected = [i for i in range(58) if i != 7]
    assert numbers(kept) == expected
    np.testing.assert_array_equal(labels, LABELS[expected])
    nearly = numbered(60)
    nearly[:, 0, 1] ^= 1
    assert numbers(subsets.without(numbered(60), None, [nearly])[0]) == list(range(60))


def test_leaving_out_refuses_other_formats_and_everything():
    message = refusal(subsets.without, numbered(4), None, [numbered(4, 8, 9)])
    assert "leave out are [8, 9, 1], those to take from [8, 8, 1]" in message
    message = refusal(subsets.without, numbered(4), None, [numbered(4)])
    assert "no image remains" in message
