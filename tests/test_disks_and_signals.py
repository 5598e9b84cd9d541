"""Full disks, few pictures, signals and real commands: runs where life is hard."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import h5py
import pytest

from gan_transfer import callbacks


def stored(folder):
    """Every array of a run's state; the file itself has dates in it."""
    arrays = {}

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()].tobytes()

    with h5py.File(folder / callbacks.STATE) as file:
        file.visititems(add)
    assert len(arrays) > 50
    return arrays


# --- disks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "out"),
    [
        ("sample --source={m}/tiny.gan.npz --count=4", "grid.png"),
        ("export --source={m}/tiny.gan.npz --format=weights", "model.gan.npz"),
        ("pretrain --dataset={m}/grey.npz {short}", "flags.txt"),
    ],
)
def test_a_full_disk_leaves_nothing_half_written(
    refused, monkeypatch, tmp_path, line, out
):
    (tmp_path / "out").mkdir()

    def full(source, target, *rest):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(os, "replace", full)
    refused(line, f"{tmp_path / 'out' / out}: No space left", "free some space")


def test_a_run_on_a_disk_that_fills_up_goes_on_when_there_is_space(
    command, contents, finished, material, monkeypatch, short, tmp_path
):
    folder, replace = tmp_path / "run", os.replace

    def full(source, target, *rest):
        if str(target).endswith(callbacks.STATE):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return replace(source, target, *rest)

    line = [f"--dataset={material}/grey.npz", *short, f"--out_dir={folder}"]
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        done = command("pretrain", *line)
    assert done.returncode == 2
    (message,) = done.stderr.splitlines()
    assert str(folder / callbacks.STATE) in message
    assert "No space left" in message and "free some space" in message
    written = {"flags.txt", "metrics.csv", "samples", "samples/step_000002.png"}
    assert contents(folder).keys() == written
    assert command("pretrain", *line).returncode == 0
    assert stored(folder) == stored(finished)


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 400 kB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(line, capture_output=True).returncode
    ):
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_run_on_a_really_full_disk_ends_in_one_line(
    command, contents, material, short, tiny_disk
):
    folder = tiny_disk / "run"
    line = [f"--dataset={material}/grey.npz", *short, "--width=32"]
    done = command("pretrain", *line, f"--out_dir={folder}")
    assert done.returncode == 2
    (message,) = done.stderr.splitlines()
    assert message.startswith("error: ") and str(folder) in message
    assert "o space left" in message and "free some space" in message
    assert not [name for name in contents(folder) if "partial" in name]
    assert not [name for name in contents(folder) if name.endswith((".tmp", ".h5"))]


@pytest.mark.parametrize("script", ["pretrain", "finetune"])
def test_ten_pictures_are_enough_and_scores_without_ground_are_left_out(
    command, material, short, tmp_path, script
):
    line = [f"--dataset={material}/ten.npz", *short]
    if script == "finetune":
        line = [f"--source={material}/tiny.gan.npz", line[0], "--steps=2", short[1]]
    done = command(script, *line, f"--out_dir={tmp_path}")
    assert done.returncode == 0
    assert done.stderr.startswith("WARNING: ten.npz has only 1 test images: no prec")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["scores"] == {"count_real": 1, "count_generated": 1000}
    recipe = "cross_domain_correspondence"  # both sets are noise: one domain
    assert summary.get("recipe") == (None if script == "pretrain" else recipe)


# --- commands ------------------------------------------------------------------------


def environment():
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A job in the background hands a deaf ear for SIGINT down to its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_a_mistyped_flag_answers_at_once_without_tensorflow():
    def spent():
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime

    before = spent()
    process = start("-X", "importtime", "-m", "experiments.pretrain", "--stpes=5")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Unknown command line flag 'stpes'. Did you mean: steps" in stderr
    assert "absl.flags" in stderr and "tensorflow" not in stderr
    assert spent() - before < 3


def test_a_missing_data_set_ends_with_status_2(contents, tmp_path):
    process = start(
        *("-m", "experiments.pretrain", "--dataset=no/such.npz"),
        f"--out_dir={tmp_path / 'run'}",
    )
    answer = process.communicate(timeout=120)
    assert (process.returncode, *answer) == (
        2,
        "",
        "error: no/such.npz: no such array file\n",
    )
    assert contents(tmp_path) == {}


def test_ctrl_c_ends_with_status_130_and_the_run_can_be_continued(
    command, material, short, tmp_path
):
    folder = tmp_path / "run"
    line = [f"--dataset={material}/grey.npz", *short, f"--out_dir={folder}"]
    line += ["--steps=16", "--evaluations=8"]
    process = start("-m", "experiments.pretrain", *line)
    deadline = time.monotonic() + 120
    while not (folder / callbacks.STATE).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.endswith("stopped; run the same command again to continue\n")
    assert "Traceback" not in stderr
    assert not (folder / "summary.json").exists()
    assert command("pretrain", *line).returncode == 0
    assert [row["step"] for row in callbacks.read_history(folder)] == [*range(2, 17, 2)]
    assert json.loads((folder / "summary.json").read_text())["resumed"]


def test_a_run_directory_can_be_sampled_by_a_command(contents, finished, tmp_path):
    process = start(
        *("-m", "experiments.sample", f"--source={finished}", "--count=4"),
        f"--out_dir={tmp_path}",
    )
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (0, f"wrote {tmp_path / 'grid.png'}\n")
    assert "Traceback" not in stderr
    assert contents(tmp_path).keys() == {"grid.png"}
