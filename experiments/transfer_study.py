"""Does transfer need less data? Methods x image counts x seeds (documents A 6.1, B 6).

Every cell trains for the same number of updates in a folder of its own and can be
stopped and continued; the table, the plot and the verdict are made from all cells. A
cell that diverges is reported as such, and the study goes on.

Example:
    python -m experiments.transfer_study --source=mnist --dataset=fashion_mnist
"""

from absl import flags as absl_flags

from experiments.support import (
    console,
    flags,
    generation,
    judging,
    run,
    study,
    study_report,
)

flags.adopt(
    flags.COUNTS,
    flags.METHODS,
    flags.SEEDS,
    flags.DATASET,
    flags.DATA_DIR,
    flags.OUT_DIR,
    flags.OVERWRITE,
    flags.STEPS,
    flags.BATCH_SIZE,
    flags.VERBOSE,
    flags.EVALUATIONS,
    generation.SOURCE,
    generation.DEPTH,
    generation.BACKBONE,
)
_DEFAULT_STEPS, _DEFAULT_COUNTS = 2000, ["100", "1000"]


def main(argv):
    """Train the cells that are missing, then write table, plot and verdict."""
    with console.quiet_tensorflow():
        from gan_transfer import data, pretrained, transfer

    methods = flags.given(flags.METHODS, list(study.METHODS))
    study.check_methods(methods)
    if flags.differs(generation.DEPTH) and not any("FreezeD" in n for n in methods):
        raise absl_flags.Error("--depth is for the FreezeD methods: leave it out")
    about = pretrained.describe(generation.SOURCE.value)
    # On a copy, and now: a depth that cannot be must not show after hours.
    transfer.freeze_to_depth(
        pretrained.load_gan(generation.SOURCE.value).discriminator,
        generation.DEPTH.value,
        end="input",
    )
    images = data.load(
        flags.DATASET.value,
        data_dir=flags.DATA_DIR.value,
        size=about["size"],
        channels=about["channels"],
    )
    counts = study.check_counts(flags.given(flags.COUNTS, _DEFAULT_COUNTS), images)
    extractors = judging.extractors(images.train)
    measures = study.choose_measures(images, extractors)
    directory = run.RunDirectory.open(
        flags.OUT_DIR.value, flags.configuration(argv[0]), flags.OVERWRITE.value
    )
    results, cells = [], flags.SEEDS.value * len(counts) * len(methods)
    for seed in range(flags.SEEDS.value):
        for count in counts:
            for method in methods:
                cell = study.Cell(method, count, seed)
                folder = directory.path("cells") / cell.name
                if not (folder / study.DONE).exists():
                    place = f"[{len(results) + 1}/{cells}]"
                    print(f"{place} seed {seed}: {method}, {count} images", flush=True)
                    study.train_cell(
                        cell,
                        folder,
                        images,
                        extractors,
                        measures,
                        source=generation.SOURCE.value,
                        depth=generation.DEPTH.value,
                        steps=flags.STEPS.value or _DEFAULT_STEPS,
                    )
                results.append(study.read_cell(folder))
        # After every seed, so that a study of hours has something to show early.
        source = generation.SOURCE.value
        verdict = study_report.write(directory, results, measures, images.name, source)
        directory.write_summary(
            {
                "dataset": images.name,
                "source": source,
                "seeds": seed + 1,
                "protocol": "samples of the averaged generator against images the cell "
                "does not train on, after equal numbers of images shown; nothing is "
                "selected",
                "cells": [_last(result) for result in results],
                "verdict": verdict,
            }
        )
        print(directory.path("table.md").read_text())
        print("\n".join(verdict), flush=True)


def _last(result: dict) -> dict:
    """A cell, how it ended, and its last row, if it has one."""
    cell = {name: value for name, value in result.items() if name != "rows"}
    for row in result["rows"][-1:]:
        cell |= row
    return cell


if __name__ == "__main__":
    console.run(main)
