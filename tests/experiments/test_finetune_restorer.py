"""What `finetune_restorer` makes of any restorer, by each recipe."""

import json
import re
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver
from PIL import Image

from experiments.support import restoration, restoration_data
from gan_transfer import callbacks
from restoration import networks, pretrained, supervised, validation

SHORT = ("--steps=2", "--evaluations=1", "--batch_size=2", "--patch=16", "--noverbose")
OWN = "own.restorer.npz"
RATE = "--learning_rate=20"  # so that the first steps of the warm-up are seen


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Few masks."""
    monkeypatch.setattr(restoration_data, "BANK", (6, 16))


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """Pictures, and a restorer with widths of its own and nothing written of it."""
    folder, draws = tmp_path_factory.mktemp("there"), np.random.default_rng(0)
    for count in (1, 5):
        (folder / f"pictures{count}").mkdir()
        for number in range(count):
            pixels = draws.integers(0, 256, (20, 24), np.uint8)
            Image.fromarray(pixels).save(folder / f"pictures{count}" / f"{number}.png")
    network = networks.restorer(1, widths=(6, 10), blocks=1)
    network.set_weights(
        [0.1 * draws.standard_normal(w.shape) for w in network.get_weights()]
    )
    pretrained.save(network, folder / OWN, {})
    return folder


def finetune(command, there, out, count, *told):
    model = f"--model={there}/{OWN}"
    given = (model, f"--photographs={there}/pictures{count}", f"--out_dir={out}")
    done = command("finetune_restorer", *given, *SHORT, *told)
    assert done.returncode == 0, done.stderr
    keras.config.set_dtype_policy("float32")
    return done.stdout


def weights(source):
    network = pretrained.load(source)
    assert network.name == "restorer"
    assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}
    return {layer.name: layer.get_weights() for layer in network.layers}


def changes(there, folder):
    """Name -> kernel after the training over the kernel before, of every layer."""
    before, after = weights(there / OWN), weights(folder)
    assert list(after) == list(before)
    return {name: after[name][0] / before[name][0] for name in after if after[name]}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_gains_are_folded_into_the_kernels(command, there, tmp_path, policy):
    told = ("--recipe=gains", "--validation=1", f"--mixed_precision={policy}", RATE)
    lines = finetune(command, there, tmp_path, 5, *told).splitlines()
    ratios = changes(there, tmp_path)
    assert len(ratios) == 10
    for name, ratio in ratios.items():
        per_channel = ratio.reshape(-1, ratio.shape[-1])
        np.testing.assert_allclose(per_channel, 0 * per_channel + per_channel[0], 2e-6)
        assert (np.abs(per_channel[0] - 1) > 1e-5).any(), name
    # The plan, before anything is trained.
    assert lines[0] == "phase gains, 100% of the updates"
    (head,) = (line for line in lines if line.startswith("  head_conv "))
    assert head.split()[1:] == ["216", "copied", "frozen", "-"]
    (gain,) = (line for line in lines if line.startswith("  head_conv_gain "))
    assert gain.split()[1:5] == ["4", "new", "trained", "2.0e+01"]
    channels = sum(ratio.shape[-1] for ratio in ratios.values())
    counts = (channels, sum(ratio.size for ratio in ratios.values()))
    (total,) = (line for line in lines if line.startswith("  trained "))
    assert total.startswith("  trained {:,}, frozen {:,} weights".format(*counts))


def test_head_only_moves_the_head_and_nothing_else(command, there, tmp_path):
    told = ("--recipe=head_only", "--validation=1", RATE)
    assert "phase head_only, 100%" in finetune(command, there, tmp_path, 5, *told)
    ratios = changes(there, tmp_path)
    assert {name for name, ratio in ratios.items() if (ratio != 1).any()} == {
        "head_conv"
    }


def test_all_of_a_restorer_of_any_width_is_fine_tuned(command, there, tmp_path):
    finetune(command, there, tmp_path, 5, "--validation=1", RATE)
    assert all((ratio != 1).any() for ratio in changes(there, tmp_path).values())
    described = pretrained.describe(tmp_path)
    assert (described["model"], described["channels"]) == ("restorer", 1)
    assert described["recipe"] == "fine_tune"
    assert described["source"] == f"{there}/{OWN}"


def test_a_restorer_is_deepened_before_it_is_fine_tuned(command, there, tmp_path):
    told = ("--late_blocks=2", "--validation=1", "--learning_rate=1e-8")
    lines = finetune(command, there, tmp_path, 5, *told).splitlines()
    (added,) = (line for line in lines if line.startswith("  block3_conv1 "))
    assert added.split()[1:4] == ["900", "new", "trained"]
    (kept,) = (line for line in lines if line.startswith("  block4_conv1 "))
    assert kept.endswith("copied   trained     1.0e-08  block3_conv1 in the source")
    # At this rate nothing moves: it still computes what its source computes.
    deeper, source = pretrained.load(tmp_path), pretrained.load(there / OWN)
    assert len(deeper.weights) == len(source.weights) + 4
    image = np.random.default_rng(1).random((1, 9, 14, 1), np.float32)
    inputs = [image, 0.1 + 0 * image, 0 * image]
    np.testing.assert_allclose(deeper(inputs), source(inputs), atol=1e-6)


def test_stages_join_one_by_one_and_the_rate_goes_on(command, there, tmp_path):
    stages, compile_for = [], restoration.compile_for

    def watch(restorer, phase, damage, loss, steps, first):
        compile_for(restorer, phase, damage, loss, steps, first)
        trained = {v.path.split("_")[0] for v in restorer.network.trainable_variables}
        stages.append((first, steps, trained))

    with mock.patch.object(restoration, "compile_for", watch):
        told = ("--recipe=gradual_thaw", "--depth=2", "--steps=6", "--evaluations=3")
        finetune(command, there, tmp_path, 5, "--validation=1", *told)
    rest = {"down1", "block2", "up1", "block3", "head"}
    assert stages == [
        (0, 6, rest),
        (2, 6, {"block1", *rest}),
        (4, 6, {"stem", "block1", *rest}),
    ]


def test_stages_near_the_picture_learn_slower(command, there, tmp_path):
    told = ("--validation=1", "--recipe=layerwise_rates")
    lines = finetune(command, there, tmp_path, 5, *told).splitlines()
    rows = [line.split() for line in lines if " trained  " in line]
    rates = {row[0]: float(row[4]) for row in rows}
    # stem, block1, down1, block2, up1, block3, head.
    ratio = rates["head_conv"] / rates["stem_conv"]
    assert ratio == pytest.approx(2.6**6, rel=0.05)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--depth=3", "--depth has no effect with --recipe=fine_tune"),
        (
            "--recipe=l2_to_source --adversarial_weight=0.1",
            "--adversarial_weight does not go with --recipe=l2_to_source",
        ),
    ],
)
def test_flags_that_do_not_go_together_are_refused(command, tmp_path, words, said):
    done = command("finetune_restorer", *words.split(), f"--out_dir={tmp_path}/run")
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize("recipe", ["gains", "head_only"])
def test_blocks_that_no_recipe_trains_are_refused(command, there, tmp_path, recipe):
    told = (f"--model={there}/{OWN}", "--late_blocks=2", f"--recipe={recipe}")
    done = command("finetune_restorer", *told, f"--out_dir={tmp_path}/run")
    assert done.returncode == 1
    assert f"--late_blocks has no effect with --recipe={recipe}" in done.stderr


def test_a_restorer_that_is_as_deep_already_is_refused(command, there, tmp_path):
    told = (f"--model={there}/{OWN}", f"--photographs={there}/pictures5")
    told += ("--late_blocks=1", f"--out_dir={tmp_path}/run", *SHORT)
    done = command("finetune_restorer", *told)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the network has 1 blocks per scale")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage", ["overlays", "overlays of a folder", "jpeg"])
def test_what_finds_its_damage_itself_is_told_nothing(
    command, there, tmp_path, damage, monkeypatch
):
    kind, _, folder = damage.partition(" ")
    told = [f"--damage={kind}"]
    if folder:
        (tmp_path / "films").mkdir()
        for number, opacity in enumerate((64, 128, 128, 128)):
            grey = Image.fromarray(np.full((30, 40, 4), opacity, np.uint8))
            grey.save(tmp_path / "films" / f"{number}.png")
        told.append(f"--overlays={tmp_path}/films")
    seen, update = [], supervised.Restorer.update

    def keep(restorer, inputs, clean):
        seen.append(restorer.damage)
        largest = [tf.reduce_max(tf.abs(each)) for each in inputs[1:]]
        with tf.control_dependencies([tf.debugging.assert_equal(largest, [0.0, 0.0])]):
            return update(restorer, [tf.identity(each) for each in inputs], clean)

    judges, judge = [], validation.Validation.__init__

    def watch(self, pictures, size, damage, **told):
        judges.append(damage)
        judge(self, pictures, size, damage, **told)

    monkeypatch.setattr(supervised.Restorer, "update", keep)
    monkeypatch.setattr(validation.Validation, "__init__", watch)
    finetune(command, there, tmp_path / "run", 5, *told)
    if kind == "overlays":
        assert (seen[0].bank == 128).all() == bool(folder)
        judged = judges[0].bank
        assert (judged == 64).all() == bool(folder)
        assert not {each.tobytes() for each in seen[0].bank} & {
            each.tobytes() for each in judged
        }
    described = pretrained.describe(tmp_path / "run")
    assert described["damage"] == kind
    assert set(described["scores"]) == {"train_psnr", "train_rmse"}
    picture, out = there / "pictures1" / "0.png", tmp_path / "new.png"
    done = command(
        *("restore", f"--input={picture}", f"--output={out}", "--nostrip"),
        f"--model={tmp_path}/run",
    )
    assert done.returncode == 0, done.stderr
    assert "find the damage itself: told neither noise level nor mask" in done.stdout


def test_overlays_of_another_damage_are_refused(command, there, tmp_path):
    done = command(
        *("finetune_restorer", f"--photographs={there}/pictures5", "--damage=jpeg"),
        *(f"--overlays={there}", f"--out_dir={tmp_path}/run", *SHORT),
    )
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert "--overlays has no effect on --damage=jpeg; leave it out" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("count", [1, 5])
def test_a_few_pictures_are_all_trained_on(command, there, tmp_path, count):
    told = (RATE, "--evaluations=2")
    lines = finetune(command, there, tmp_path, count, *told).splitlines()
    (begun,) = (line for line in lines if line.startswith("restorer from "))
    assert f": {count} pictures and 0 held out, " in begun
    assert re.match(r"training pictures: train_psnr_25 -?\d+\.\d\d dB, ", lines[-1])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["training_pictures"], summary["held_out"]) == (count, 0)
    # Nothing to select by: the last weights are kept.
    assert summary["best_update"] == summary["updates"] == 2
    assert summary["protocol"].endswith(
        "training pictures, not quantised; last evaluation"
    )
    names = {"train_psnr", "train_psnr_25", "train_rmse"}
    assert set(summary["scores"]) == names
    files = {path.name for path in tmp_path.iterdir()}
    assert {"restorer.keras", "samples.png", "psnr.png"} <= files
    assert "best.weights.h5" not in files
    last = callbacks.read_history(tmp_path)[-1]
    assert {name: last[name] for name in names} == summary["scores"]
    assert all((ratio != 1).any() for ratio in changes(there, tmp_path).values())


@pytest.mark.parametrize(
    ("asked", "count", "held"),
    [(None, 1, 0), (None, 9, 0), (None, 10, 1), (None, 25, 2), (None, 400, 16)]
    + [(0, 400, 0), (3, 4, 3)],
)
def test_a_tenth_is_held_out_unless_told_otherwise(asked, count, held):
    pictures = [np.full((2, 3, 1), number, np.uint16) for number in range(count)]
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(validation=asked):
        rest, found, judged = restoration_data._hold_out(pictures)
    assert (len(rest), found) == (count - held, held)
    assert len(judged) == (held or min(count, 16))
    numbers = {int(each[0, 0, 0]) for each in rest}
    assert len(numbers) == count - held
    assert numbers.isdisjoint(int(each[0, 0, 0]) for each in judged) == bool(held)
