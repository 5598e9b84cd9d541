"""Translate pictures by a trained CycleGAN (documents C 3.1.3, E 6).

--model is a run of pretrain_cyclegan. Pictures keep their size, but a translator knows
only things as large as in its training images, so scale pictures to that size first.
Without --input, test images of --dataset, changed as the run changed them for its
domain (negatives, outlines, noise, stains), are translated there and back into a sheet.

Example:
    python -m experiments.translate --model=RUN --input=digits --output=negatives
"""

from absl import flags as absl_flags

from experiments.support import (
    console,
    domains,
    figures,
    flags,
    generation,
    picture_jobs,
    run,
)

_DIRECTION = absl_flags.DEFINE_enum(
    "direction",
    "forward",
    ["forward", "backward"],
    "forward: from domain A to B; backward: from B to A",
)
flags.adopt(
    *picture_jobs.FLAGS,
    flags.COUNT,
    flags.MODEL,
    flags.DATASET,
    flags.DATA_DIR,
    flags.FALLBACK_DATASET,
    flags.OUT_DIR,
)


def main(argv):
    """Translate a picture, a folder, or test images of a data set."""
    flags.require(flags.MODEL)
    pictures = picture_jobs.INPUT.value or picture_jobs.OUTPUT.value
    jobs = picture_jobs.plan(flags.MODEL) if pictures else None
    with console.quiet_tensorflow():
        from gan_transfer import trained_translators

    gan = trained_translators.load(flags.MODEL.value)
    if jobs is None:
        return _sheet(gan, trained_translators.describe(flags.MODEL.value)["domains"])
    return picture_jobs.run(
        jobs, lambda pixels, mask: picture_jobs.Restored(_translated(gan, pixels))
    )


def _translated(gan, pixels):
    """float32 `[H, W, C]` in [0, 1], translated; grey if the translator is."""
    import numpy as np

    from gan_transfer import errors, pictures

    channels = gan.image_shape[2]
    if pixels.shape[2] < channels:
        raise errors.InputError(
            "it is grey and the translator was trained on colour pictures; save it as "
            "RGB"
        )
    is_mixed = pixels.shape[2] > channels
    inputs = pixels @ pictures.LUMA[:, None] if is_mixed else pixels
    there = gan.translate(2 * inputs[None] - 1, _DIRECTION.value)[0]
    return np.broadcast_to((there + 1) / 2, pixels.shape)


def _sheet(gan, names) -> None:
    from gan_transfer import cyclic, data

    size, _, channels = gan.image_shape
    images = generation.load_images(size, channels).test[: flags.COUNT.value or 12]
    way = cyclic.DIRECTIONS.index(_DIRECTION.value)
    images = domains.brought_into(names[way], images)
    there = gan.translate(data.to_float(images), cyclic.DIRECTIONS[way])
    back = gan.translate(there, cyclic.DIRECTIONS[1 - way])
    path = run.make_folder(flags.OUT_DIR.value) / f"{_DIRECTION.value}.png"
    figures.pairs(
        path,
        [images, data.to_uint8(there), data.to_uint8(back)],
        ["given", f"as {names[1 - way]}", f"back as {names[way]}"],
        f"{flags.MODEL.value}: {names[way]} -> {names[1 - way]}",
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    console.run(main)
