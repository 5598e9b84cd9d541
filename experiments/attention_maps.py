"""Show where the self-attention of a GAN looks (document E 3.3, "AGAN").

For several samples and for query points down the middle and in a corner, the map of
each point lies as heat over the image; the point is blue. One picture for the
generator, one for the discriminator, which looks at the same samples.

Example:
    python -m experiments.attention_maps --model=runs/pretrain-sagan-mnist
"""

from absl import flags as absl_flags

from experiments.support import console, figures, flags, heat, run

flags.adopt(flags.COUNT, flags.MODEL, flags.OUT_DIR, flags.SEED)
# Row and column of the query points, as parts of the feature map's sides.
_POINTS = ((0.25, 0.5), (0.5, 0.5), (0.75, 0.5), (0.1, 0.1))


def main(argv):
    """Sample, read the maps out, draw."""
    if flags.MODEL.value is None:
        raise absl_flags.Error(
            "--model is missing: a run directory or .gan.npz file of a GAN trained "
            "with --model=sagan"
        )
    with console.quiet_tensorflow():
        import numpy as np

        from gan_transfer import data, pretrained, sampling
        from gan_transfer.networks import attention

    gan = pretrained.load_gan(flags.MODEL.value)
    count, seed = flags.COUNT.value or 10, flags.SEED.value
    latents = sampling.sample_latents(count, gan.latent_dim, seed)
    labels = [np.arange(count) % gan.classes] if gan.classes else []
    images = gan.decode(latents)
    networks = {
        "generator": (gan.averaged_generator, latents),
        "discriminator": (gan.discriminator, images),
    }
    maps = {
        name: attention.attention_maps(network, [first, *labels] if labels else first)
        for name, (network, first) in networks.items()
    }
    folder = run.make_folder(flags.OUT_DIR.value)
    for name, found in maps.items():
        points = [
            (int(row * found.shape[1]), int(column * found.shape[2]))
            for row, column in _POINTS
        ]
        pixels = data.to_uint8(images)
        rows = [heat.overlay(pixels, found[:, i, j], (i, j)) for i, j in points]
        figures.pairs(
            folder / f"{name}.png",
            [pixels, *rows],
            ["sample", *(f"row {i}, column {j}" for i, j in points)],
            f"{flags.MODEL.value}: what positions of the {name}'s "
            f"{found.shape[1]}x{found.shape[2]} feature map attend to, seed {seed}",
        )
        print(f"wrote {folder / name}.png")


if __name__ == "__main__":
    console.run(main)
