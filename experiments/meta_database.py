"""List, show, check and export a meta-database (document D 3.1.1, 3.2.1).

--action=list prints a table of the stored tasks with their algorithms, meta-labels and
metrics; show prints all that is known of --task; verify checks every row
and all weights; collect removes what a killed process left; export writes --output: a
line of JSON per task (.jsonl), or a row per meta-label (.csv).

Example:
    python -m experiments.meta_database --database=DIR --action=show --task=NAME
"""

from absl import flags as absl_flags

from experiments.support import console, flags, picture_jobs, run

_DATABASE = absl_flags.DEFINE_string(
    "database", None, "folder of the meta-database, as a meta-training wrote it"
)
_ACTION = absl_flags.DEFINE_enum(
    "action",
    "list",
    ["list", "show", "verify", "collect", "export"],
    "what to do with it",
)
_TASK = absl_flags.DEFINE_string("task", None, "name of the task to show")
flags.adopt(picture_jobs.OUTPUT, flags.OVERWRITE)


def main(argv):
    """Print what was asked for, or write it to --output."""
    for holder, action in ((_TASK, "show"), (picture_jobs.OUTPUT, "export")):
        if (holder.value is not None) != (_ACTION.value == action):
            raise absl_flags.Error(
                f"--{holder.name} and --action={action} need each other"
            )
    if _DATABASE.value is None:
        raise absl_flags.Error("--database must name the folder of a meta-database")
    output = run.output_file(
        picture_jobs.OUTPUT.value, (".jsonl", ".csv"), flags.OVERWRITE.value
    )
    from gan_transfer import meta_database

    collects = _ACTION.value == "collect"
    if collects:
        # Made where there is none, otherwise.
        meta_database.MetaDatabase.open(_DATABASE.value, read_only=True).close()
    with meta_database.MetaDatabase.open(
        _DATABASE.value, read_only=not collects
    ) as database:
        if _ACTION.value == "show":
            _show(database.get(_TASK.value))
        elif _ACTION.value == "export":
            database.export(output)
            print(f"wrote {output}")
        elif _ACTION.value == "list":
            _list(database)
        else:
            _check(database)
    return 0


def _list(database) -> None:
    tasks = database.tasks()
    heads = ("task", "kind", "algorithms", "labels", "metrics")
    rows = [
        (
            task.name,
            task.kind,
            ", ".join(model.algorithm for model in task.models) or "-",
            str(len(task.labels)),
            ", ".join(sorted({label.metric for label in task.labels})) or "-",
        )
        for task in tasks
    ]
    _table(heads, rows)
    labels = sum(len(task.labels) for task in tasks)
    print(f"{len(tasks)} tasks, {labels} meta-labels in {database.folder}")


def _show(task) -> None:
    print(f"{task.name} ({task.kind})")
    print(f"data {task.data}, SHA-256 {task.data_sha256}")
    for key, value in sorted(task.descriptor.items()):
        print(f"  {key} = {value if isinstance(value, str) else format(value, '.6g')}")
    if task.features is not None:
        print(f"  {len(task.features)} features")
    for model in task.models:
        start = "scratch" if model.parent is None else model.parent[:12]
        weights = "no weights" if model.weights is None else model.weights[:12]
        print(f"{model.algorithm}: {model.family}, {weights}, from {start}")
        for key, value in sorted(model.configuration.items()):
            print(f"  {key} = {value}")
    _table(
        ("algorithm", "examples", "steps", "metric", "value"),
        [
            (
                *(each.algorithm, str(each.examples), str(each.steps)),
                *(each.metric, f"{each.value:.6g}"),
            )
            for each in task.labels
        ],
    )


def _check(database) -> None:
    if _ACTION.value == "collect":
        print(f"removed {len(database.collect())} files that no task refers to")
        return
    garbage = database.verify()
    print(f"{len(database.tasks())} tasks, all rows and weights are sound")
    for name in garbage:
        print(f"no task refers to {name}; --action=collect removes it")


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    console.run(main)
