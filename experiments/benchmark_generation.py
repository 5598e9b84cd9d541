"""How fast, how near the machine's floor, how soon good (document E 5(3)).

(a) images per second of `fit` against a bare `tf.function` loop over the same step;
(b) the step's arithmetic rate against a measured matrix product, cores kept busy;
(c) CPU seconds until a run's validation distance reaches the baseline's, from the
histories of finished runs: --baseline against --runs.

Example:
    python -m experiments.benchmark_generation \
        --baseline=runs/pretrain-tensorflow-tutorial --runs=runs/pretrain-mnist
"""

import pathlib
import statistics
import time

from absl import flags as absl_flags

from experiments.support import console, flags, run

_BASELINE = absl_flags.DEFINE_string(
    "baseline", None, "finished run whose quality is to be reached; default: skip (c)"
)
_RUNS = absl_flags.DEFINE_list(
    "runs", [], "finished runs to compare with --baseline, separated by commas"
)
_REPEATS = absl_flags.DEFINE_integer(
    "repeats", 5, "timed pairs; the median counts", lower_bound=1
)
flags.adopt(
    flags.BATCH_SIZE, flags.OUT_DIR, flags.OVERWRITE, flags.STEPS, flags.MIXED_PRECISION
)
_DEFAULT_STEPS = 40


def main(argv):
    """Measure (a) and (b), compare recorded runs for (c), write `summary.json`."""
    with console.quiet_tensorflow():
        from gan_transfer import errors

    if _RUNS.value and _BASELINE.value is None:
        raise errors.InputError("--runs needs --baseline, the run to compare with")
    goal = None if _BASELINE.value is None else _history(_BASELINE.value)
    histories = {name: _history(name) for name in _RUNS.value}
    directory = run.RunDirectory.open(
        flags.OUT_DIR.value, flags.configuration(argv[0]), flags.OVERWRITE.value
    )
    results = _speed(flags.STEPS.value or _DEFAULT_STEPS)
    print(
        f"(a) fit {results['fit_images_per_second']:.0f} images/s, bare loop "
        f"{results['loop_images_per_second']:.0f}, ratio "
        f"{results['fit_over_loop']:.3f} (median of {_REPEATS.value} pairs)\n"
        f"(b) {results['step_gflop']:.2f} GFLOP a step, "
        f"{results['step_gflops']:.0f} GFLOP/s of {results['peak_gflops']:.0f} "
        f"measured ({results['of_peak']:.0%}); {results['busy_cores']:.2f} cores busy"
    )
    if goal is None:
        print("(c) left out: name the run to compare with by --baseline and --runs")
    else:
        last = goal[-1]
        print(
            f"(c) {_BASELINE.value} ends at distance {last['val_distance']:.3f} after "
            f"{last['images']:,.0f} images and {last['cpu_seconds']:,.0f} CPU seconds"
        )
        results["baseline"] = last
        for name, history in histories.items():
            results[name] = _reached(history, last)
            print(f"    {name}: {_told(results[name])}")
    directory.write_summary(results)


def _history(folder: str) -> list[dict[str, float]]:
    """Rows of a run that was measured on validation images."""
    from gan_transfer import callbacks, errors

    rows = callbacks.read_history(pathlib.Path(folder))
    if not rows or any("val_distance" not in row for row in rows):
        raise errors.InputError(
            f"{folder}: holds no metrics.csv with val_distance; name a run directory "
            "of pretrain or finetune with 1,000 images or more"
        )
    return rows


def _speed(steps: int) -> dict[str, float]:
    """Time `fit` and a bare loop in turn; then the arithmetic rate."""
    import keras
    import numpy as np
    import tensorflow as tf

    from gan_transfer import adversarial, data, gan_settings, schedule
    from gan_transfer.networks import presets

    keras.mixed_precision.set_global_policy(flags.MIXED_PRECISION.value)
    gan = adversarial.GAN(*presets.build("dcgan", 28, 1))
    gan_settings.Settings().compile(gan, schedule.Phase("benchmark", 1.0, lambda: None))
    images = np.random.default_rng(0).integers(0, 256, (4096, 28, 28, 1), np.uint8)
    batch = flags.BATCH_SIZE.value
    stream = data.batches(images, batch)
    step = tf.function(gan.train_step)

    def fit():
        gan.fit(stream, steps_per_epoch=steps, verbose=0, shuffle=False)

    def loop():
        for real in stream.take(steps):
            step(real)

    fit(), loop()
    walls, cpu = {fit: [], loop: []}, []
    for _ in range(_REPEATS.value):
        for each in (fit, loop):
            start, cpu_start = time.perf_counter(), time.process_time()
            each()
            walls[each].append(time.perf_counter() - start)
            if each is fit:
                cpu.append((time.process_time() - cpu_start) / walls[each][-1])
    seconds = {each.__name__: statistics.median(times) for each, times in walls.items()}
    ratios = [b / a for a, b in zip(walls[fit], walls[loop], strict=True)]
    flop = _step_flop(gan, batch)
    peak = _matrix_peak()
    return {
        "batch_size": batch,
        "fit_images_per_second": batch * steps / seconds["fit"],
        "loop_images_per_second": batch * steps / seconds["loop"],
        "fit_over_loop": statistics.median(ratios),
        "step_gflop": flop / 1e9,
        "step_gflops": flop / 1e9 * steps / seconds["fit"],
        "peak_gflops": peak / 1e9,
        "of_peak": flop * steps / seconds["fit"] / peak,
        "busy_cores": statistics.median(cpu),
    }


def _step_flop(gan, batch: int) -> float:
    """Floating-point operations of one update, counted from the layers' shapes.

    2 x multiplications x passes: G forward for D's update, forward and backward (2) for
    its own; D forward and backward on real and generated images, then forward and
    backward to its input. Penalties, every k-th update, add a second derivative of D on
    real images: about 6 forward passes over k.
    """
    generator = _multiplications(gan.generator)
    discriminator = _multiplications(gan.discriminator)
    passes = 6 + 2 + (6 / gan.penalize_every if gan.penalties else 0)
    return 2.0 * batch * (4 * generator + passes * discriminator)


def _multiplications(model) -> int:
    """Multiplications of one forward pass on one image: dense and convolutions."""
    import keras
    import numpy as np

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            total += int(np.prod(layer.kernel.shape))
        elif isinstance(layer, keras.layers.Conv2DTranspose):
            total += int(np.prod(layer.kernel.shape) * np.prod(layer.input.shape[1:3]))
        elif isinstance(layer, keras.layers.Conv2D):
            total += int(np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:3]))
    return total


def _matrix_peak(side: int = 2048, repeats: int = 5) -> float:
    """Best rate of a float32 matrix product in TensorFlow, in FLOP/s."""
    import tensorflow as tf

    a = tf.random.stateless_normal([side, side], [0, 0])
    tf.linalg.matmul(a, a)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        tf.linalg.matmul(a, a).numpy()
        times.append(time.perf_counter() - start)
    return 2.0 * side**3 / min(times)


def _reached(history: list[dict], goal: dict) -> dict:
    """First row of a history at or below the goal's distance, and the ratios to it."""
    for row in history:
        if row["val_distance"] <= goal["val_distance"]:
            return {
                **row,
                "times_less_cpu": goal["cpu_seconds"] / row["cpu_seconds"],
                "times_fewer_images": goal["images"] / row["images"],
            }
    return {"best": min(row["val_distance"] for row in history)}


def _told(result: dict) -> str:
    if "step" not in result:
        return f"does not reach it (best {result['best']})"
    return (
        f"{result['val_distance']:.3f} after {result['images']:,.0f} images, "
        f"{result['cpu_seconds']:,.0f} CPU seconds: {result['times_less_cpu']:.1f}x "
        f"less CPU, {result['times_fewer_images']:.1f}x fewer images"
    )


if __name__ == "__main__":
    console.run(main)
