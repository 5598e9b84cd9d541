r"""Train a restorer on photographs or on drawn pictures (documents A 4.2, D 3.2).

--model is restorer (the default), unrolled_sparse or document_a; --loss is
root_mean_square (the default), charbonnier, l1, l2 or huber. The last --late_share of
the updates see a quarter as many patches of twice the side. Pairs (--noisy_images) are
read as they are: floats on a scale from 0 to 1, which noise may leave. Run it again to
continue where it was stopped.

Examples:
    python -m experiments.pretrain_restorer --photographs=my_pictures --channels=3
    python -m experiments.pretrain_restorer --model=document_a --channels=3 --loss=l1 \
        --noisy_images=noisy_images.npy --clean_images=clean_images.npy
"""

from absl import flags as absl_flags

from experiments.support import (
    console,
    flags,
    generation,
    restoration,
    restoration_data,
    restoration_session,
)

_LATE_SHARE = absl_flags.DEFINE_float(
    "late_share",
    0.2,
    "share of the updates, at the end, with patches of twice the side; 0: none",
    0.0,
    1.0,
)
_WIDTHS = absl_flags.DEFINE_list(
    "widths",
    ["32", "64", "96"],
    "--model=restorer: filters per scale, finest first; 64,128,256,512 and "
    "--blocks_per_scale=4 are for GPUs",
)
_BLOCKS = absl_flags.DEFINE_integer(
    "blocks_per_scale",
    2,
    "--model=restorer: residual blocks on the way down, and as many on the way up",
    1,
    16,
)
flags.adopt(*restoration.TRAINING_FLAGS, flags.CHANNELS)
_DEFAULT_STEPS = 20_000


def main(argv):
    """Train, select, score, write the restorer and pictures."""
    model = flags.one_of(flags.MODEL, restoration.MODELS)
    loss = flags.one_of(flags.LOSS, restoration.LOSSES)
    flags.default(generation.BETA_1, restoration.BETA_1)
    size = _size(model)
    with console.quiet_tensorflow():
        from gan_transfer import schedule
        from restoration import networks

    channels = flags.CHANNELS.value or 1
    epoch_steps = -(-(flags.STEPS.value or _DEFAULT_STEPS) // flags.EVALUATIONS.value)
    steps = epoch_steps * flags.EVALUATIONS.value
    first = steps - round(_LATE_SHARE.value * flags.EVALUATIONS.value) * epoch_steps
    sides = [restoration_data.PATCH.value, 2 * restoration_data.PATCH.value]
    sides = sides if first < steps else sides[:1]
    data = restoration_data.training_data(channels, sides)
    if len(data.sides) == 1:
        first = steps
    with generation.strategy_scope():
        network = restoration.build(model, channels, **size)
        restorer = restoration.procedure(network, channels)
    counts = [flags.BATCH_SIZE.value, max(1, round(flags.BATCH_SIZE.value / 4))]
    phases = [
        schedule.Phase(name, share / steps, lambda: None, images_per_step=count)
        for name, share, count in zip(
            ("patches", "larger patches"), (first, steps - first), counts, strict=True
        )
        if share
    ]

    def batches(start):
        late = start >= first
        return data.batches(counts[late], data.sides[late], start)

    restoration_session.train(
        argv[0],
        restorer,
        phases,
        lambda phase: restoration.compile_for(
            restorer,
            phase,
            data.damage,
            loss,
            steps,
            0 if phase is phases[0] else first,
        ),
        batches,
        data,
        epoch_steps=epoch_steps,
        title=f"{model} on {data.name}",
        description={"model": model, "channels": channels},
        finished=lambda best: networks.in_policy(best, "float32"),
    )


def _size(model: str) -> dict:
    """Arguments of `networks.restorer`; nothing for the other models.

    Raises:
        absl.flags.Error: no widths, or a size for another model.
    """
    if model != "restorer":
        for holder in (_WIDTHS, _BLOCKS):
            if flags.differs(holder):
                raise absl_flags.Error(
                    f"--{holder.name} has no effect on --model={model}: leave it out"
                )
        return {}
    widths = _WIDTHS.value
    if not widths or not all(w.isdecimal() and 1 <= int(w) <= 1024 for w in widths):
        raise absl_flags.Error(
            f"--widths={','.join(widths)}: should be numbers from 1 to 1024, one for "
            "each scale"
        )
    return {"widths": tuple(map(int, widths)), "blocks": _BLOCKS.value}


if __name__ == "__main__":
    console.run(main)
