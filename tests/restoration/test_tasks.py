import numpy as np
import pytest

from gan_transfer import errors
from gan_transfer import tasks as meta_tasks
from restoration import tasks


def pictures(seed=0, sides=(60, 70), channels=1):
    draws = np.random.default_rng(seed)
    return [draws.integers(0, 256, (*sides, channels), np.uint8) for _ in range(3)]


def drawn(part="train", count=16, **changes):
    contents = {"photographs": pictures(), "text": pictures(1)}
    return tasks.draw(contents, part, count, size=20, examples=9, **changes)


def strength(task):
    """Where the damage of a task lies in the range of its kind."""
    weakest, strongest = tasks.RANGES[task.damage.kind]
    fields = {"noise": "sigma", "blur": "along", "pixels": "missing", "jpeg": "quality"}
    value = getattr(task.damage, fields.get(task.damage.kind, task.damage.kind))
    return (value - weakest) / (strongest - weakest)


# --- damage --------------------------------------------------------------------------


def test_a_blur_has_the_covariance_that_its_descriptor_tells():
    damage = tasks.Damage("blur", along=2.0, across=0.9, angle=0.6)
    kernel, reach = damage.kernel(), damage.margin
    assert kernel.shape == (13, 13) and kernel.sum() == pytest.approx(1)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    # Cut off at three widths, it is a little narrower than told.
    found = [(kernel * a * b).sum() for a, b in ((x, x), (y, y), (x, y))]
    told = [damage.descriptor[f"blur_{axes}"] for axes in ("xx", "yy", "xy")]
    np.testing.assert_allclose(found, told, rtol=0.02)
    assert told[0] > told[1] and told[2] > 0
    turned = tasks.Damage("blur", along=2.0, across=0.9, angle=0.6 + np.pi)
    for key, value in turned.descriptor.items():
        assert value == pytest.approx(damage.descriptor[key])


def test_a_blur_sees_what_surrounds_the_patch():
    damage = tasks.Damage("blur", along=1.1, across=0.5, angle=0.3)
    edge, kernel = damage.margin, damage.kernel()
    rng = np.random.default_rng(0)
    picture = rng.uniform(size=(7 + 2 * edge, 9 + 2 * edge, 2)).astype(np.float32)
    damaged, clean = damage(picture, rng)
    np.testing.assert_array_equal(clean, picture[edge:-edge, edge:-edge])
    expected = np.zeros((7, 9, 2))
    for row, column in np.ndindex(kernel.shape):
        shifted = picture[2 * edge - row :, 2 * edge - column :][:7, :9]
        expected += kernel[row, column] * shifted
    assert damaged.dtype == np.float32
    np.testing.assert_allclose(damaged, expected, atol=1e-5)


def test_every_damage_is_applied_and_nothing_else():
    clean = np.full((40, 50, 3), 0.5, np.float32)

    def of(**values):
        damaged, same = tasks.Damage("noise", **values)(clean, np.random.default_rng(0))
        np.testing.assert_array_equal(same, clean)
        return damaged

    np.testing.assert_array_equal(of(), clean)
    assert of(sigma=0.1).std() == pytest.approx(0.1, rel=0.05)
    assert set(np.unique(of(impulses=0.4))) == {0, 0.5, 1}
    assert np.mean(of(missing=0.3) == 0) == pytest.approx(0.3)
    assert 0.1 <= np.mean(of(strokes=0.1) == 0) < 0.3
    assert abs(of(quality=20) - 128 / 255).max() < 1e-6
    both = of(sigma=0.1, missing=0.3)
    assert np.mean(both == 0) == pytest.approx(0.3) and both.std() > 0.2


def test_kinds_and_strengths_that_do_not_exist_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(
        errors.InputError, match="damage 'rain' of strength 0.5; .*jpeg"
    ):
        tasks.draw_damage("rain", 0.5, rng)
    with pytest.raises(errors.InputError, match="a strength from 0 to 1"):
        tasks.draw_damage("noise", 1.5, rng)


# --- tasks ---------------------------------------------------------------------------


def test_the_parts_have_no_damage_in_common():
    parts = {part: drawn(part, 80) for part in tasks.PARTS}
    low, high = tasks.UNSEEN_STRENGTHS
    strengths = [strength(task) for task in parts["train"]]
    assert all(0 <= each < low or high <= each <= 1 for each in strengths)
    assert min(strengths) < 0.1 and max(strengths) > 0.9
    for task in parts["unseen_strengths"]:
        assert low - 1e-9 <= strength(task) <= high + 1e-9
    kinds = {part: {task.group for task in found} for part, found in parts.items()}
    assert kinds["train"] == kinds["unseen_strengths"] == set(tasks.TRAINED_KINDS)
    assert kinds["unseen_kinds"] == set(tasks.UNSEEN_KINDS)
    assert not kinds["train"] & kinds["unseen_kinds"]
    names = [task.name for found in parts.values() for task in found]
    assert len(set(names)) == 240
    seeds = [task.seed for found in parts.values() for task in found]
    assert len(set(seeds)) == 240


def test_kinds_meet_every_content():
    pairs = {(task.damage.kind, task.content) for task in drawn("train", 8)}
    assert len(pairs) == 8


def test_tasks_and_examples_are_fixed_by_the_seed():
    first, again, longer = drawn(), drawn(), drawn(count=20)
    for task, same, also in zip(first, again, longer[:16], strict=True):
        assert task.name == same.name == also.name
        assert task.descriptor == same.descriptor == also.descriptor
        for one, two in zip(
            task.examples(range(9)), same.examples(range(9)), strict=True
        ):
            assert one.shape == (9, 20, 20, 1) and one.dtype == np.float32
            np.testing.assert_array_equal(one, two)
    other = drawn(seed=1)
    assert all(a.damage != b.damage for a, b in zip(first, other, strict=True))


def test_an_example_does_not_depend_on_which_others_are_asked_for():
    task = drawn()[1]
    damaged, clean = task.examples(range(9))
    few = task.examples([7, 2])
    np.testing.assert_array_equal(few[0], damaged[[7, 2]])
    np.testing.assert_array_equal(few[1], clean[[7, 2]])
    assert len({each.tobytes() for each in clean}) == 9
    assert task.examples([])[0].shape == (0, 20, 20, 1)


def test_meta_batches_are_pairs():
    batch = meta_tasks.sample_batch(drawn(), 3, 4, 5, (0, 1))
    assert [each.shape for each in batch.support] == [(3, 4, 20, 20, 1)] * 2
    assert [each.shape for each in batch.query] == [(3, 5, 20, 20, 1)] * 2
    assert {task.kind for task in batch.tasks} == {"restoration"}
    for damaged, clean in (batch.support, batch.query):
        assert 0 <= clean.min() and clean.max() <= 1
        assert not np.array_equal(damaged, clean)


def test_a_descriptor_has_the_same_keys_for_every_damage():
    found = [*drawn(), *drawn("unseen_kinds", 2)]
    (keys,) = {tuple(task.descriptor) for task in found}
    assert keys[0] == "kind" and keys[-1] == "content"
    noise = found[0].descriptor
    assert {key for key, value in noise.items() if value} == {
        "kind",
        "sigma",
        "content",
    }


@pytest.mark.parametrize(
    ("contents", "part", "message"),
    [
        ({"a": pictures()}, "test", "of the part 'test' .* unseen_strengths"),
        ({}, "train", "from 0 contents"),
        ({"a": []}, "train", "a: 0 pictures"),
        ({"a": pictures(sides=(30, 99))}, "train", "side 30; patches of 20 need 36"),
    ],
)
def test_what_no_tasks_can_be_made_of_is_refused(contents, part, message):
    with pytest.raises(errors.InputError, match=message):
        tasks.draw(contents, part, 4, size=20)
