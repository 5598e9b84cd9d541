"""The flagfiles of meta-learning, run briefly, and the command for its database."""

import csv
import json
import os
import pathlib

import numpy as np
import pytest

from gan_transfer import meta_database, meta_records

ROOT = pathlib.Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))
TINY = {"meta_database": ()}


@pytest.fixture
def folder(tmp_path):
    """A database of two tasks, and weights that a killed process left."""
    folder = tmp_path / "base"
    models = (
        meta_records.StoredModel("maml", "VAE", {"width": 8}, {"w": np.ones(3)}),
        meta_records.StoredModel("filter", "SR", {}, None, {"w": np.zeros(3)}),
    )
    labels = (
        meta_records.MetaLabel("maml", 5, 10, "elbo", -138.5),
        meta_records.MetaLabel("filter", 5, 0, "psnr", 16.25),
    )
    descriptor = {"group": "Greek", "sigma": 0.125}
    values = {"features": np.float32([1, 2]), "models": models, "labels": labels}
    with meta_database.MetaDatabase.open(folder) as database:
        for name, given in (("alpha", values), ("beta-long-name", {})):
            task = meta_records.StoredTask(
                name, "generation", descriptor, "omniglot.npz", "ab12", **given
            )
            database.add(task)
    (folder / "blobs" / "left.npz").touch()
    return folder


@pytest.mark.parametrize(
    "flagfile",
    [path for path in FLAGFILES if path.parent.name == "meta_database"],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_flagfile_prints_its_table(command, folder, flagfile):
    script = flagfile.parent.name
    done = command(
        script, f"--flagfile={flagfile}", *TINY[script], f"--database={folder}"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "task            kind        algorithms    labels  metrics",
        "alpha           generation  maml, filter  2       elbo, psnr",
        "beta-long-name  generation  -             0       -",
        f"2 tasks, 2 meta-labels in {folder}",
    ]


def test_show_tells_all_of_a_task(command, folder):
    line = (f"--database={folder}", "--action=show")
    done = command("meta_database", *line, "--task=alpha")
    with meta_database.MetaDatabase.open(folder, read_only=True) as database:
        maml, plain = database.get("alpha").models
    assert done.stdout.splitlines() == [
        "alpha (generation)",
        "data omniglot.npz, SHA-256 ab12",
        "  group = Greek",
        "  sigma = 0.125",
        "  2 features",
        f"maml: VAE, {maml.weights[:12]}, from scratch",
        "  width = 8",
        f"filter: SR, no weights, from {plain.parent[:12]}",
        "algorithm  examples  steps  metric  value",
        "maml       5         10     elbo    -138.5",
        "filter     5         0      psnr    16.25",
    ]
    done = command("meta_database", *line, "--task=gamma")
    assert done.returncode == 2
    assert done.stderr == f"error: {folder} holds no task 'gamma'\n"


def test_verify_names_what_is_left_over_and_collect_removes_it(command, folder):
    lines = [
        command("meta_database", f"--database={folder}", f"--action={action}").stdout
        for action in ("verify", "collect", "verify")
    ]
    sound = "2 tasks, all rows and weights are sound\n"
    left = "no task refers to left.npz; --action=collect removes it\n"
    assert lines == [sound + left, "removed 1 files that no task refers to\n", sound]
    for path in (folder / "blobs").iterdir():
        path.write_bytes(b"changed")
    done = command("meta_database", f"--database={folder}", "--action=verify")
    assert done.returncode == 2 and "npz: damaged, its content" in done.stderr


def test_export_writes_both_kinds_and_replaces_only_on_demand(
    command, folder, tmp_path
):
    line = (f"--database={folder}", "--action=export")
    for name in ("all.jsonl", "all.csv"):
        output = f"--output={tmp_path / name}"
        done = command("meta_database", *line, output)
        assert done.stdout == f"wrote {tmp_path / name}\n", done.stderr
        done = command("meta_database", *line, output)
        assert done.returncode == 2 and "exists already; add --over" in done.stderr
        assert command("meta_database", *line, output, "--overwrite").returncode == 0
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    rows = [json.loads(each) for each in lines]
    assert [row["name"] for row in rows] == ["alpha", "beta-long-name"]
    with open(tmp_path / "all.csv", newline="") as stream:
        assert [row["value"] for row in csv.DictReader(stream)] == ["-138.5", "16.25"]
    done = command("meta_database", *line, "--output=none/all.csv")
    assert done.stderr == "error: none: no such folder; create it first\n"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("", 1, "--database must name the folder"),
        ("--database=base --task=alpha", 1, "--task and --action=show need each other"),
        ("--database=base --action=show", 1, "--task and --action=show need each"),
        ("--database=base --action=export", 1, "--output and --action=export need"),
        ("--database=base", 2, "base: no meta-database, tasks.sqlite is missing"),
        ("--database=base --action=collect", 2, "base: no meta-database"),
    ],
)
def test_bad_commands_end_in_one_line_and_make_nothing(
    command, monkeypatch, tmp_path, words, status, message
):
    monkeypatch.chdir(tmp_path)
    done = command("meta_database", *words.split())
    assert done.returncode == status
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line
    assert os.listdir(tmp_path) == []
