import numpy as np
import pytest

from gan_transfer import data, errors, image_tasks, tasks


@pytest.fixture
def omniglot(tmp_path):
    """Six characters of three alphabets by four hands, in no order."""
    character = np.random.default_rng(0).permutation(np.repeat(np.arange(6), 4))
    x = np.zeros((24, 28, 28), np.uint8)
    x[:] = 40 * character[:, None, None]
    path = tmp_path / "omniglot.npz"
    np.savez(
        path,
        x=x,
        character=character.astype(np.int16),
        alphabet=(character // 2).astype(np.uint8),
        alphabet_names=np.array(["Greek", "Latin", "Tifinagh"]),
        character_names=np.array([f"{i // 2}/c{i}" for i in range(6)]),
    )
    return path


def test_a_task_is_one_character_and_alphabets_are_not_torn_apart(omniglot):
    found = image_tasks.characters(omniglot)
    assert [task.name for task in found] == [
        f"omniglot/{i // 2}/c{i}" for i in range(6)
    ]
    for number, task in enumerate(found):
        assert task.kind == "generation" and len(task) == 4
        assert task.pixels.shape == (4, 28, 28, 1)
        assert (task.pixels == 40 * number).all()
        assert task.group == ("Greek", "Latin", "Tifinagh")[number // 2]
        assert task.descriptor == {"set": "omniglot", "group": task.group}
        (images,) = task.examples([2, 0, 1])
        assert images.shape == (3, 28, 28, 1) and images.dtype == np.float32
        np.testing.assert_allclose(images, 40 * number / 127.5 - 1, rtol=1e-6)
    rest, held = tasks.hold_out(found, 1, seed=0)
    assert len(rest) == 4 and len(held) == 2
    assert not {task.group for task in rest} & {task.group for task in held}


def test_a_task_is_one_class_of_the_part_that_was_asked_for():
    pixels = np.arange(12, dtype=np.uint8)[:, None, None, None] + np.zeros(
        (12, 16, 16, 1), np.uint8
    )
    labels = np.arange(12, dtype=np.int32) % 3
    names = ("dress", "coat", "bag", "boot")
    images = data.Images("clothes", pixels, pixels[:4], labels, labels[:4], names)
    found = image_tasks.classes(images)
    assert [task.name for task in found] == [
        "clothes/dress",
        "clothes/coat",
        "clothes/bag",
    ]
    assert [task.group for task in found] == ["dress", "coat", "bag"]
    assert found[1].pixels[:, 0, 0, 0].tolist() == [1, 4, 7, 10]
    (dress, *_) = image_tasks.classes(images, test=True)
    assert dress.pixels[:, 0, 0, 0].tolist() == [0, 3]
    unlabelled = data.Images("photos", pixels, pixels, None, None, ())
    with pytest.raises(errors.InputError, match="photos has no labels"):
        image_tasks.classes(unlabelled)


def test_a_task_is_one_row_of_emoji_without_near_copies(tmp_path):
    names = [f"emoji_u{0x1F430 + n:x}.png" for n in range(12)]
    names += ["emoji_u1f431_1f3fb.png", "emoji_u1f432_200d_2b1b.png"]
    names += [f"emoji_u{0x1F604 + n:x}.png" for n in range(12)]
    names += [f"emoji_u{0x2600 + n:x}_20e3.png" for n in range(11)]
    x = np.arange(len(names), dtype=np.uint8)[:, None, None, None]
    path = tmp_path / "emoji.npz"
    np.savez(path, x=x + np.zeros((1, 16, 16, 3), np.uint8), file_names=np.array(names))
    found = image_tasks.emoji(path)
    assert [(task.name, len(task)) for task in found] == [
        ("emoji/u1f430", 12),
        ("emoji/u1f600", 12),
    ]
    assert found[0].pixels[:, 0, 0, 0].tolist() == list(range(12))
    np.savez(path, x=x, file_names=np.array(["cat.png"]))
    with pytest.raises(errors.InputError, match="cat.png names no code points"):
        image_tasks.emoji(path)


def test_files_without_tasks_are_refused(tmp_path):
    with pytest.raises(errors.InputError, match="no such file"):
        image_tasks.characters(tmp_path / "none.npz")
    np.savez(tmp_path / "plain.npz", x=np.zeros((2, 16, 16), np.uint8))
    with pytest.raises(errors.InputError, match="has no array 'alphabet'; there must"):
        image_tasks.characters(tmp_path / "plain.npz")
