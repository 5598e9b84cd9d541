"""What an adversarial loss gains and loses: two restorers side by side (A 2.2, A 3.3).

--model is the one trained without it, --adversarial_model the one with it: run
directories of experiments.finetune_restorer that differ in --adversarial_weight alone.
Kernel distances are between 64x64 patches, on the pixels' principal components and, in
colour and with --backbone, on MobileNetV2's features. --limit takes the first pictures.

Example:
    python -m experiments.perception_study --model=runs/finetune-restorer-texture-l1 \
        --adversarial_model=runs/finetune-restorer-texture-gan --backbone=FILE.npz
"""

from absl import flags as absl_flags

from experiments.support import (
    console,
    figures,
    flags,
    generation,
    picture_jobs,
    restoration,
    restoration_methods,
    restoration_tests,
)
from gan_transfer import errors

_ADVERSARIAL_MODEL = absl_flags.DEFINE_string(
    "adversarial_model", None, "restorer trained with an adversarial loss"
)
_TEST = absl_flags.DEFINE_string(
    "test", "cbsd68-noise-50", "damage to undo, as benchmark_restoration names it"
)
flags.adopt(
    flags.MODEL,
    flags.DATA_DIR,
    flags.LIMIT,
    flags.OUT_DIR,
    flags.OVERWRITE,
    generation.BACKBONE,
)
_SIDE, _SHOWN, _CROP = 64, 6, 128


def main(argv):
    """Restore with both, measure distortion and distance of features, draw."""
    if _TEST.value not in restoration_tests.TESTS:
        raise errors.InputError(
            f"--test={_TEST.value}: there are {', '.join(restoration_tests.TESTS)}"
        )
    for holder in (flags.MODEL, _ADVERSARIAL_MODEL):
        if holder.value is None:
            raise errors.InputError(
                f"--{holder.name}: name the run directory of a restorer to compare"
            )
    with console.quiet_tensorflow():
        import numpy as np

        from experiments.support import judging
        from gan_transfer import evaluation, features, metrics
        from restoration import metrics as distortion
        from restoration import pretrained

    test = restoration_tests.TESTS[_TEST.value]
    restorers = {
        "without": pretrained.load(flags.MODEL.value),
        "adversarial": pretrained.load(_ADVERSARIAL_MODEL.value),
    }
    for name, network in restorers.items():
        if network.inputs[0].shape[-1] != test.channels:
            raise errors.InputError(
                f"the restorer {name} is for {picture_jobs.KINDS[4 - test.channels]} "
                f"pictures and --test={test.name} has "
                f"{picture_jobs.KINDS[test.channels]} ones; choose another --test"
            )
    clean = restoration_tests.pictures(test.set, test.channels)[: flags.LIMIT.value]
    extractors = judging.extractors(_patches([distortion.quantise(x) for x in clean]))
    directory = restoration.open_run(argv[0])
    pictures = {name: [] for name in ("damaged", *restorers, "truth")}
    for case in restoration_tests.cases(test, flags.LIMIT.value):
        found = {"damaged": case.damaged, "truth": case.clean}
        for name, network in restorers.items():
            found[name] = restoration_methods.METHODS["restorer"].run(case, network)
        for name, image in found.items():
            pictures[name].append(distortion.quantise(image))
    patches = {name: _patches(each) for name, each in pictures.items()}
    kind = "rgb" if test.channels == 3 else "grey"
    reference = f"{test.set}_{_SIDE}x{_SIDE}", len(patches["truth"])
    table = {}
    for name in ("damaged", *restorers):
        pairs = list(zip(pictures["truth"], pictures[name], strict=True))
        row = {}
        for score in (f"psnr_{kind}", f"ssim_{kind}"):
            measure = getattr(distortion, score)
            row[score] = float(np.mean([measure(*pair) for pair in pairs]))
        for by, extractor in extractors.items():
            both = (features.extract(extractor, patches[n]) for n in ("truth", name))
            key = evaluation.metric_name(f"kernel_{by}", *reference)
            row[key] = float(metrics.kernel_distance(*both)[0])
        table[name] = row
    figures.pairs(
        directory.path("pictures.png"),
        [np.stack([_crop(each) for each in pictures[n][:_SHOWN]]) for n in pictures],
        list(pictures),
        f"{test.name}: the same restorer without and with an adversarial loss",
    )
    directory.write_summary(
        {
            "test": test.name,
            "protocol": restoration_tests.PROTOCOL,
            "patches": len(patches["truth"]),
            "scores": table,
        }
    )
    names = list(table["damaged"])
    print("| " + " | ".join(["", *names]) + " |\n" + "|---" * (len(names) + 1) + "|")
    for name, row in table.items():
        print("| " + " | ".join([name, *(f"{row[key]:.4g}" for key in names)]) + " |")
    if len(extractors) == 1:
        print("one extractor only: --backbone=FILE.npz adds a network's features")


def _patches(pictures: list):
    """All patches of `_SIDE` pixels that do not overlap, uint8 `[N, S, S, C]`."""
    import numpy as np

    found = []
    for picture in pictures:
        rows, columns = (side // _SIDE for side in picture.shape[:2])
        whole = picture[: rows * _SIDE, : columns * _SIDE]
        split = whole.reshape(rows, _SIDE, columns, _SIDE, -1).swapaxes(1, 2)
        found.append(split.reshape(rows * columns, _SIDE, _SIDE, -1))
    return np.concatenate(found)


def _crop(picture):
    """The centre, `_CROP` pixels a side."""
    top, left = ((side - _CROP) // 2 for side in picture.shape[:2])
    return picture[top : top + _CROP, left : left + _CROP]


if __name__ == "__main__":
    console.run(main)
