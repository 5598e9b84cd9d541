"""Does a restorer transfer? Targets x methods x image counts (documents A 3.3, D 5).

A denoiser pretrained on photographs is carried to other content (pages of text,
Omniglot characters) and to another damage (rust and scratches nobody marked). Every
cell trains for the same number of updates in a folder of its own, for about half a
minute on two cores, and can be stopped and continued. --model is the pretrained grey
restorer, restorer_gray by default.

Example:
    python -m experiments.restoration_transfer_study --counts=1,10 --seeds=1
"""

import json

from absl import flags as absl_flags

from experiments.support import (
    console,
    flags,
    restoration,
    restoration_study,
    restoration_targets,
)
from gan_transfer import errors

_TARGETS = absl_flags.DEFINE_list(
    "targets",
    list(restoration_targets.TARGETS),
    "what to transfer to, separated by commas",
)
flags.adopt(
    flags.MODEL,
    flags.COUNTS,
    flags.METHODS,
    flags.SEEDS,
    flags.STEPS,
    flags.BATCH_SIZE,
    flags.EVALUATIONS,
    flags.DATA_DIR,
    flags.OUT_DIR,
    flags.OVERWRITE,
)
_DEFAULT_STEPS, _COUNTS = 400, ["1", "4", "10", "30", "100"]


def main(argv):
    """Train the cells that are missing, then write table, plots and verdict."""
    methods = flags.given(flags.METHODS, list(restoration_study.METHODS))
    restoration_study.check("methods", methods, restoration_study.METHODS)
    restoration_study.check("targets", _TARGETS.value, restoration_targets.TARGETS)
    counts = _counts(flags.given(flags.COUNTS, _COUNTS))
    with console.quiet_tensorflow():
        from restoration import pretrained

    source = flags.MODEL.value or "restorer_gray"
    network = pretrained.load(source)
    if network.inputs[0].shape[-1] != 1:
        raise errors.InputError(
            f"--model={source} is for colour pictures and those of the study are grey; "
            "leave it out, or name a grey restorer"
        )
    for method in methods:
        restoration_study.start(method, source, 0)
    targets = {name: restoration_targets.TARGETS[name]() for name in _TARGETS.value}
    directory = restoration.open_run(argv[0])
    measures, references = {}, {}
    for name, target in targets.items():
        measure = measures[name] = restoration_study.Measure(target)
        references[name] = {
            "damaged": measure.psnr_of(measure.damaged()),
            "pretrained": measure.psnr(network),
        }
    results = []
    for seed in range(flags.SEEDS.value):
        for name, target in targets.items():
            for count in counts:
                for method in methods:
                    cell = restoration_study.Cell(name, method, count, seed)
                    folder = directory.path("cells") / cell.name
                    if not (folder / restoration_study.DONE).exists():
                        print(f"seed {seed}: {name}, {method}, {count}", flush=True)
                        restoration_study.train_cell(
                            cell,
                            folder,
                            target,
                            measures[name],
                            source,
                            flags.STEPS.value or _DEFAULT_STEPS,
                        )
                    done = folder / restoration_study.DONE
                    results.append(json.loads(done.read_text()))
        # After every seed, so that a study of hours has something to show early.
        verdict = restoration_study.report(directory, results, references)
        directory.write_summary(
            {
                "source": source,
                "seeds": seed + 1,
                "references": references,
                "verdict": verdict,
                "cells": results,
            }
        )
        print(directory.path("table.md").read_text())
        print("\n".join(verdict), flush=True)


def _counts(texts: list[str]) -> list[int]:
    counts = [int(text) if text.isdecimal() else 0 for text in texts]
    if not counts or not all(1 <= count <= 100 for count in counts):
        raise errors.InputError(
            f"--counts={','.join(texts)}: give numbers of images from 1 to 100"
        )
    return counts


if __name__ == "__main__":
    console.run(main)
