"""Few-shot translation without pairs: a meta-learned CycleGAN (documents D 2.2, D 3.1).

A task is a way to redraw drawings: strokes and two colours; domain B is other drawings
redrawn, so nothing is paired. Meta-training sees many such tasks of the training images
of --dataset; meta-test adapts to unseen combinations of strokes and hue, on test
images, with few examples of both domains, and measures the distance to the true
translation of held-out drawings. Methods: scratch; pretrain, a CycleGAN of all tasks
mixed; reptile, which starts from half of that and costs as much. Run it again to
continue where it was stopped.

Example:
    python -m experiments.meta_translate --dataset=mnist --seeds=1 --steps=400
"""

from absl import flags as absl_flags

from experiments.support import (
    console,
    flags,
    generation,
    meta_study,
    meta_translation,
    meta_translation_report,
    run,
)

flags.adopt(
    flags.DATASET,
    flags.DATA_DIR,
    flags.OUT_DIR,
    flags.OVERWRITE,
    flags.SHOTS,
    flags.ADAPTATION,
    flags.TASKS,
    flags.TEST_TASKS,
    flags.VALIDATION_TASKS,
    flags.SEEDS,
    flags.STEPS,
    flags.BATCH_SIZE,
    flags.EVALUATIONS,
    flags.VERBOSE,
    generation.WIDTH,
)
_DEFAULT_STEPS = 2000
_UNSEEN = 5  # groups of tasks held out


def main(argv):
    """Meta-train, meta-test, write table, plots and pictures."""
    steps = flags.STEPS.value or _DEFAULT_STEPS
    if flags.TASKS.value < flags.BATCH_SIZE.value:
        raise absl_flags.Error(
            f"--tasks={flags.TASKS.value}: should be at least --batch_size="
            f"{flags.BATCH_SIZE.value}, an image of each makes a batch"
        )
    shots = meta_study.rising(flags.SHOTS, 10)[1:]
    settings = meta_translation.Settings(
        generation.WIDTH.value, steps, shots, meta_study.rising(flags.ADAPTATION)
    )
    with console.quiet_tensorflow():
        from gan_transfer import data, translation_tasks
        from gan_transfer.networks import translation

    images = data.load(flags.DATASET.value, data_dir=flags.DATA_DIR.value, channels=1)
    translation.check_sides(*images.train.shape[1:3])
    size, parts = 2 * meta_translation.QUERY, []
    for seed in range(flags.SEEDS.value):
        known, unseen = translation_tasks.split(_UNSEEN, seed)
        parts.append(
            tuple(
                translation_tasks.draw(pixels, groups, count, size, key)
                for pixels, groups, count, key in (
                    (images.train, known, flags.TASKS.value, seed),
                    (images.train, known, flags.VALIDATION_TASKS.value, 1000 + seed),
                    (images.test, unseen, flags.TEST_TASKS.value, seed),
                )
            )
        )
    directory = run.RunDirectory.open(
        flags.OUT_DIR.value, flags.configuration(argv[0]), flags.OVERWRITE.value
    )
    cells = []
    for seed, tasks in enumerate(parts):
        study = meta_translation.Study(directory, settings, *tasks, seed)
        cells += study.cells()
        if seed == 0:
            study.draw(directory.path("pictures.png"))
        # After every seed, so that a study of hours has something to show early.
        about = (
            f"CycleGAN on {images.name}, {len(tasks[-1])} unseen tasks a seed, "
            f"{seed + 1} seed(s), {steps:,} updates of {flags.BATCH_SIZE.value} images"
        )
        verdicts = meta_translation_report.write(directory, cells, settings, about)
        directory.write_summary(
            {
                "dataset": images.name,
                "seeds": seed + 1,
                "unseen": [sorted({task.group for task in part[-1]}) for part in parts],
                "rates": {
                    f"{cell['method']}, {cell['examples']} examples, seed "
                    f"{cell['seed']}": cell["rates"]
                    for cell in cells
                    if "rates" in cell
                },
                "verdicts": verdicts,
            }
        )
        print(directory.path("table.md").read_text(encoding="utf-8"), flush=True)
    print(f"table, plots, pictures and cells are in {directory.folder}")


if __name__ == "__main__":
    console.run(main)
