r"""Carry a pretrained restorer to other pictures or damage (documents A 3.3(2), D 5).

--model is a shipped restorer (restorer_gray by default), a .restorer.npz file or a run
directory; --loss is root_mean_square (the default), charbonnier, l1, l2 or huber;
--recipe is fine_tune (the default), head_only (the last stage), gains (a factor per
channel), gradual_thaw (the --depth stages nearest to the damaged picture join one by
one), layerwise_rates (they learn slower) or l2_to_source (all are held to the source);
what it trains is printed. Run it again to continue where it was stopped.

Examples:
    python -m experiments.finetune_restorer --photographs=my_scans --recipe=gains
    python -m experiments.finetune_restorer --model=restorer_color \
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

# The default first.
RECIPES = ("fine_tune", "head_only", "gains", "gradual_thaw", "layerwise_rates")
RECIPES += ("l2_to_source",)
_LATE_BLOCKS = absl_flags.DEFINE_integer(
    "late_blocks",
    None,
    "deepen the restorer before training it: residual blocks per scale from the "
    "coarsest on, more than it has; they start as identities, --recipe=fine_tune only",
    1,
    16,
)
flags.adopt(*restoration.TRAINING_FLAGS, flags.RECIPE, generation.DEPTH)
_DEFAULT_STEPS = 1000


def main(argv):
    """Fine-tune, select, score, write the restorer and pictures."""
    loss = flags.one_of(flags.LOSS, restoration.LOSSES)
    flags.default(generation.BETA_1, restoration.BETA_1)
    recipe = flags.one_of(flags.RECIPE, RECIPES)
    if _LATE_BLOCKS.value and recipe != "fine_tune":
        raise absl_flags.Error(
            f"--late_blocks has no effect with --recipe={recipe}, which leaves the new "
            "blocks as they are: identities; leave one of them out"
        )
    if restoration.ADVERSARIAL_WEIGHT.value and recipe not in RECIPES[:3]:
        raise absl_flags.Error(
            f"--adversarial_weight does not go with --recipe={recipe}, which would "
            f"hold back the new discriminator; use one of {', '.join(RECIPES[:3])}"
        )
    if flags.differs(generation.DEPTH) and recipe != "gradual_thaw":
        raise absl_flags.Error(
            f"--depth has no effect with --recipe={recipe}: leave it out"
        )
    with console.quiet_tensorflow():
        from gan_transfer import copying, recipes, schedule, transfer
        from restoration import deepening, networks, pretrained

    source = flags.MODEL.value or "restorer_gray"
    loaded = pretrained.load(source)
    copies = [copying.LayerCopy(each.name, "copied") for each in loaded.layers]
    if _LATE_BLOCKS.value:
        loaded, copies = deepening.deepen(loaded, _LATE_BLOCKS.value)
    model, channels = loaded.name, loaded.inputs[0].shape[-1]
    data = restoration_data.training_data(channels, [restoration_data.PATCH.value])
    epoch_steps = -(-(flags.STEPS.value or _DEFAULT_STEPS) // flags.EVALUATIONS.value)
    with generation.strategy_scope():
        network = networks.in_policy(loaded, flags.MIXED_PRECISION.value)
        if recipe == "gains":
            network = networks.with_gains(network)
        restorer = restoration.procedure(network, channels)
    phases = recipes.RESTORATION_RECIPES[recipe](
        restorer, generation.DEPTH.value, "frozen"
    )
    for phase in phases:
        phase.prepare()
        print(f"phase {phase.name}, {phase.share:.0%} of the updates")
        rates = transfer.layerwise_rates(network, phase.rates.get("network", {}))
        rate = flags.LEARNING_RATE.value
        print(copying.plan(network, copies, learning_rate=rate, rates=rates))
    ends = schedule.ends(phases, flags.EVALUATIONS.value)
    firsts = dict(zip([p.name for p in phases], [0, *ends], strict=False))

    def finished(best):
        if recipe == "gains":
            networks.fold_gains(best, loaded)
            return loaded
        return networks.in_policy(best, "float32")

    restoration_session.train(
        argv[0],
        restorer,
        phases,
        lambda phase: restoration.compile_for(
            restorer,
            phase,
            data.damage,
            loss,
            epoch_steps * flags.EVALUATIONS.value,
            epoch_steps * firsts[phase.name],
        ),
        lambda start: data.batches(flags.BATCH_SIZE.value, data.sides[0], start),
        data,
        epoch_steps=epoch_steps,
        title=f"{model} from {source}, {recipe}, on {data.name}",
        description={
            "model": model,
            "channels": channels,
            "source": source,
            "recipe": recipe,
        },
        finished=finished,
    )


if __name__ == "__main__":
    console.run(main)
