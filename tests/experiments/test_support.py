import errno
import importlib.util
import json
import os
import platform
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags as absl_flags
from absl.testing import flagsaver
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments.support import console, flags, run
from gan_transfer import errors, writing

SCRIPT = """
    '''A script for the tests.'''
    import pathlib, sys, time
    from experiments.support import console, flags
    from gan_transfer import errors

    flags.adopt(flags.STEPS, flags.OUT_DIR)

    def main(argv):
        if flags.STEPS.value == 2:
            raise errors.InputError("pictures/a.png: broken; make it anew")
        if flags.STEPS.value == 3:
            pathlib.Path("missing/file").read_bytes()
        if flags.STEPS.value == 4:
            raise KeyboardInterrupt
        print(flags.OUT_DIR.value, sorted(flags.configuration(argv[0]).items()))
        print("tensorflow" in sys.modules)

    if __name__ == "__main__":
        console.run(main)
"""


@pytest.fixture
def script(tmp_path):
    """Runs a small script as a command and returns the finished process."""
    path = tmp_path / "tiny_script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}

    def command(*arguments):
        return subprocess.run(
            [sys.executable, str(path), *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return command


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "one"


# --- console and flags ---------------------------------------------------------------


def test_script_reads_flagfile_and_names_its_run_after_it(script, tmp_path):
    (tmp_path / "small_one.flags").write_text("# Small.\n--steps=7\n")
    done = script("--flagfile=small_one.flags")
    out_dir = "runs/tiny-script-small-one"
    expected = f"{out_dir} [('out_dir', '{out_dir}'), ('steps', '7')]\nFalse\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


@pytest.mark.parametrize(
    ("argument", "status", "message"),
    [
        ("--steps=2", 2, "error: pictures/a.png: broken; make it anew\n"),
        ("--steps=3", 2, "error: missing/file: No such file or directory\n"),
        ("--steps=4", 130, "stopped; run the same command again to continue\n"),
        (
            "--size=32",
            1,
            "error: --size has no effect on tiny_script: leave it out "
            "(--help lists the flags it has)\n",
        ),
        (
            "steps=5",
            1,
            "error: 'steps=5' is not a flag: write --name=value, also in flagfiles\n",
        ),
    ],
)
def test_script_ends_in_one_line(script, argument, status, message):
    done = script(argument)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", message)


def test_script_refuses_a_number_out_of_bounds_and_help_lists_adopted_flags(script):
    refused = script("--steps=0")
    assert refused.returncode == 1
    assert "--steps=0" in refused.stderr and "Traceback" not in refused.stderr
    usage = script("--help").stdout
    assert "A script for the tests." in usage
    assert "--steps" in usage and "--out_dir" in usage
    assert "--batch_size" not in usage


def test_describe_names_the_file_and_fits_one_line():
    full = OSError(errno.ENOSPC, "No space left on device", "runs/a/state.h5")
    assert console.describe(full) == "runs/a/state.h5: No space left on device"
    assert console.describe(OSError("cannot\n  write")) == "cannot write"
    assert console.describe(OSError()) == "OSError"


def test_quiet_tensorflow_hides_output_of_c_code_unless_the_import_fails(capfd):
    with console.quiet_tensorflow():
        os.write(2, b"banner\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(ImportError), console.quiet_tensorflow():
        os.write(2, b"the cause\n")
        raise ImportError
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "the cause\nlater\n"


@pytest.mark.parametrize(
    ("command_line", "expected"),
    [
        (["experiments/benchmark_generation.py"], "runs/benchmark-generation"),
        (["x/inpaint.py", "--flagfile=a/photo.flags"], "runs/inpaint-photo"),
        (["inpaint.py", "--flagfile=a/default.flags"], "runs/inpaint"),
        (
            ["inpaint.py", "--flagfile=a.flags", "--flagfile=b_c.flags"],
            "runs/inpaint-b-c",
        ),
    ],
)
def test_default_out_dir_is_the_make_target(command_line, expected):
    assert flags.default_out_dir(command_line) == expected


@pytest.mark.parametrize(
    "argument",
    ["--channels=2", "--batch_size=4097", "--size=15", "--strategy=tpu", "--limit=0"],
)
def test_shared_flags_refuse_values_out_of_bounds(argument):
    with flagsaver.flagsaver(), pytest.raises(absl_flags.IllegalFlagValueError):
        absl_flags.FLAGS(["script.py", argument])


def test_configuration_is_a_flagfile_that_gives_the_same_values(folder):
    arguments = ["--channels=3", "--noverbose", "--dataset=a=b", "--overwrite"]
    with flagsaver.flagsaver():
        absl_flags.FLAGS(["script.py", *arguments])
        configuration = flags.configuration(flags.__name__)
        assert configuration["dataset"] == "a=b"
        assert configuration["verbose"] == "false"
        assert "overwrite" not in configuration and "limit" not in configuration
        run.RunDirectory.open(folder, configuration)
    with flagsaver.flagsaver():
        absl_flags.FLAGS(["script.py", f"--flagfile={folder / 'flags.txt'}"])
        assert (flags.CHANNELS.value, flags.VERBOSE.value) == (3, False)
        assert flags.configuration(flags.__name__) == configuration


# --- run directory -------------------------------------------------------------------


def test_open_writes_sorted_flags_and_resumes_the_same_configuration(folder):
    new = run.RunDirectory.open(
        folder, {"steps": "5", "layer": "a\nb", "out_dir": "x", "data_dir": "here"}
    )
    written = (folder / "flags.txt").read_text()
    assert written == "--data_dir=here\n--layer=a\n--layer=b\n--out_dir=x\n--steps=5\n"
    assert not new.resumed
    again = run.RunDirectory.open(
        folder, {"steps": "5", "layer": "a\nb", "out_dir": "y", "verbose": "false"}
    )
    assert again.resumed
    assert os.listdir(folder) == ["flags.txt"]


def test_open_refuses_another_configuration_and_says_which_flags_differ(folder):
    run.RunDirectory.open(folder, {"steps": "5", "seed": "1", "size": "28"})
    with pytest.raises(errors.InputError) as refused:
        run.RunDirectory.open(folder, {"steps": "9", "seed": "1", "depth": "a\nb"})
    assert str(refused.value) == (
        f"{folder}: holds a run with other flags (--depth is unset there and a,b now, "
        "--size is 28 there and unset now, --steps is 5 there and 9 now); add "
        "--overwrite to remove that run, or give another --out_dir"
    )
    assert (folder / "flags.txt").read_text() == "--seed=1\n--size=28\n--steps=5\n"


def test_overwrite_removes_what_runs_write_and_nothing_else(folder):
    old = run.RunDirectory.open(folder, {"steps": "5"})
    (old.samples / "step_5.png").touch()
    old.path("tensorboard").mkdir()
    theirs = "metrics.csv state.weights.h5 .a.keras.7.tmp tensorboard/events.out.7"
    cell = old.path("cells") / "a-seed0"
    cell.mkdir(parents=True)
    for name in (*theirs.split(), "notes.md", "cells/a-seed0/flags.txt"):
        old.path(name).touch()
    for name in ("mine", "seed0", "seed0_old", "database_seed1", "database_backup"):
        (folder / name).mkdir()
        (folder / name / "samples.png").touch()
    for name in ("mine/thesis.tex", "holiday.png"):
        (folder / name).touch()
    new = run.RunDirectory.open(folder, {"steps": "9"}, overwrite=True)
    assert not new.resumed
    left = sorted(os.listdir(folder))
    mine = ["database_backup", "mine", "seed0_old"]
    assert left == sorted(["flags.txt", "holiday.png", "notes.md", *mine])
    assert all((folder / name / "samples.png").exists() for name in mine)
    assert (folder / "mine" / "thesis.tex").exists()
    assert (folder / "flags.txt").read_text() == "--steps=9\n"


def test_a_run_is_logged_for_tensorboard_where_that_is_installed(folder, monkeypatch):
    opened = run.RunDirectory.open(folder, {"steps": "5"})
    (logger,) = opened.loggers()
    logger.on_train_begin()
    assert not (folder / "tensorboard").exists()
    for epoch, distance in enumerate((3.5, 2.25)):
        logger.on_epoch_end(epoch, {"val_distance": distance})
    (written,) = (folder / "tensorboard").iterdir()
    events = EventAccumulator(str(written)).Reload().Tensors("val_distance")
    assert [(e.step, tf.make_ndarray(e.tensor_proto)) for e in events] == [
        (0, 3.5),
        (1, 2.25),
    ]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert opened.loggers() == ()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", [{"a.png": ""}, {"flags.txt": "flags of Europe\n"}])
def test_open_leaves_a_folder_alone_that_holds_no_run(folder, content, overwrite):
    folder.mkdir(parents=True)
    for name, text in content.items():
        (folder / name).write_text(text)
    with pytest.raises(errors.InputError, match="nothing was touched; give another"):
        run.RunDirectory.open(folder, {"steps": "5"}, overwrite)
    assert {p.name: p.read_text() for p in folder.iterdir()} == content


def test_open_goes_on_where_a_run_was_killed_at_its_first_file(folder):
    folder.mkdir(parents=True)
    (folder / ".flags.txt.123.tmp").touch()
    assert not run.RunDirectory.open(folder, {"steps": "5"}).resumed


@pytest.mark.parametrize("inside", ["", "below"])
def test_open_refuses_a_file_in_its_way(tmp_path, inside):
    (tmp_path / "file").touch()
    with pytest.raises(errors.InputError, match="a file stands where"):
        run.RunDirectory.open(tmp_path / "file" / inside, {"steps": "5"})


def test_a_folder_is_one_processes_until_that_ends(folder):
    code = "from experiments.support import run; import sys, time; "
    code += "run.RunDirectory.open(sys.argv[1], {'steps': '5'}); print(flush=True); "
    line = [sys.executable, "-c", code + "time.sleep(60)", str(folder)]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        for overwrite in (False, True):
            with pytest.raises(errors.InputError, match="another process works in"):
                run.RunDirectory.open(folder, {"steps": "5"}, overwrite)
        other.kill()
    for _ in range(2):
        assert run.RunDirectory.open(folder, {"steps": "5"}).resumed
    assert os.listdir(folder) == ["flags.txt"]
    refused = subprocess.run(line, capture_output=True, text=True)
    assert "InputError" in refused.stderr and "another process" in refused.stderr
    run.release()
    line[2] = code
    subprocess.run(line, check=True, capture_output=True)


def test_summary_holds_the_numbers_and_what_made_them(folder):
    directory = run.RunDirectory.open(folder, {"steps": "5"})
    directory.write_summary({"z": np.float32(0.5), "a": {"b": np.arange(2)}})
    text = directory.path("summary.json").read_text()
    summary = json.loads(text)
    assert (summary["z"], summary["a"], summary["resumed"]) == (
        0.5,
        {"b": [0, 1]},
        False,
    )
    assert summary["versions"] == {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
    assert summary["seconds"] >= 0 and summary["cpu_seconds"] >= 0
    assert summary["date"].endswith("+00:00")
    assert list(summary) == sorted(summary)


def test_replacing_leaves_the_old_file_and_no_other_after_an_error(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), writing.replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert (os.listdir(tmp_path), path.read_text()) == (["a.txt"], "old")
