"""One training of a restorer from batches to summary: measures, pictures, files."""

from collections.abc import Callable, Mapping
from typing import Any

from experiments.support import (
    figures,
    flags,
    generation,
    restoration,
    restoration_data,
)
from gan_transfer import writing


def train(
    script: str,
    restorer,
    phases: list,
    compile_phase: Callable,
    batches: Callable,
    data: restoration_data.TrainingData,
    *,
    epoch_steps: int,
    title: str,
    description: Mapping[str, Any],
    finished: Callable,
) -> None:
    """Train through the phases, select, score, write the restorer and pictures.

    Args:
        script: `argv[0]`, whose flags are the run's configuration.
        restorer: a `supervised.Restorer`, already in the strategy's scope.
        phases: of `schedule.train`.
        compile_phase: compiles the restorer for a phase.
        batches: number of the first update -> endless data set.
        data: what it learns from; the `val_rmse` of its judge chooses the weights,
            without an adversarial loss and where pictures are held out.
        epoch_steps: updates between two evaluations.
        title: model and data.
        description: what `pretrained.describe` will return of the run, and more.
        finished: best averaged network -> plain float32 network to keep.
    """
    import keras

    from gan_transfer import schedule

    run = restoration.open_run(script)
    evaluations = flags.EVALUATIONS.value
    print(
        f"{title}: {len(data.pictures):,} pictures and {data.held} held out, "
        f"{restorer.network.count_params():,} weights, "
        f"{evaluations * epoch_steps:,} updates -> {run.folder}"
    )

    def watch(epoch, logs):
        logs.update(data.scores(restorer.averaged_network))

    # The error is not what an adversarial loss lowers: then the last weights are kept.
    selects = data.held and not restoration.ADVERSARIAL_WEIGHT.value
    monitor = "val_rmse" if selects else None
    rows = schedule.train(
        restorer,
        phases,
        compile_phase,
        batches,
        run.folder,
        epochs=evaluations,
        epoch_steps=epoch_steps,
        images_per_step=flags.BATCH_SIZE.value,
        monitor=monitor,
        extra=(keras.callbacks.LambdaCallback(on_epoch_end=watch),),
        loggers=run.loggers(),
        verbose=generation.progress(),
    )
    best = rows[-1]
    if monitor:
        best = min(rows, key=lambda row: row[monitor])
        restorer.averaged_network.load_weights(run.path("best.weights.h5"))
    network = finished(restorer.averaged_network)
    with writing.partial(run.path("restorer.keras")) as temporary:
        network.save(temporary)
    restoration.draw_validation(run, data.judge, network, title)
    names = [name for name in best if name.startswith(f"{data.judged}_psnr")]
    shown = "pictures held out" if data.held else "training pictures"
    steps = [row["step"] for row in rows]
    figures.curves(
        run.path("psnr.png"),
        {name: (steps, [row[name] for row in rows], None) for name in names},
        f"{title}: {shown}",
        "updates",
        "PSNR (dB)",
    )
    scores = {name: best[name] for name in (*names, f"{data.judged}_rmse")}
    damaged = data.judge.damaged_psnr()
    run.write_summary(
        {
            "description": {
                **description,
                "pictures": data.name,
                "damage": restoration_data.DAMAGE.value if data.damage else "pairs",
                "scores": scores,
            },
            "dataset": data.name,
            "training_pictures": len(data.pictures),
            "held_out": data.held,
            "updates": int(restorer.updates.numpy()),
            "best_update": int(best["step"]),
            "seed": flags.SEED.value,
            "scores": scores,
            "damaged_psnr": damaged,
            "protocol": f"centre crops of {shown}, not quantised; "
            + ("best evaluation by val_rmse" if monitor else "last evaluation"),
        }
    )
    values = ", ".join(f"{name} {scores[name]:.2f} dB" for name in names)
    print(
        f"{shown}: {values}, damaged {damaged:.2f} dB; model and summary.json are in "
        f"{run.folder}"
    )
