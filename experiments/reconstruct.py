"""Send images through a trained VAE: pictures and errors (documents C 3.1.2, C 3.3.2).

--source is a run directory of pretrain_vae, --dataset a name, a file or a folder.

Example:
    python -m experiments.reconstruct --source=runs/pretrain-vae-mnist --dataset=mnist
"""

from experiments.support import console, flags, generation, judging, reconstruction
from experiments.support import session as sessions

flags.adopt(
    flags.DATASET,
    flags.DATA_DIR,
    flags.FALLBACK_DATASET,
    flags.OUT_DIR,
    flags.OVERWRITE,
    generation.SOURCE,
)


def main(argv):
    """Reconstruct the test images, draw some, write the scores."""
    with console.quiet_tensorflow():
        import numpy as np

        from gan_transfer import data, errors, pretrained, variational

    vae = pretrained.load(generation.SOURCE.value)
    if not isinstance(vae, variational.VAE):
        raise errors.InputError(
            f"{generation.SOURCE.value} is no VAE, which alone has an encoder; train "
            "one by make pretrain-vae-mnist and name its run directory"
        )
    size, _, channels = vae.image_shape
    images = generation.load_images(size, channels)
    run = generation.open_run(argv[0], images)
    test = data.to_float(images.test)
    error = np.square(vae.reconstruct(test) - test).mean(dtype=np.float64)
    count = len(test)
    scores = {
        f"reconstruction_mse_{images.name}_{count}": error,
        f"minus_elbo_nats_{images.name}_{count}": -vae.bound(test),
    }
    title = f"VAE {generation.SOURCE.value} on {images.name}"
    reconstruction.draw(run, vae, sessions.some(images.test), title)
    run.write_summary(
        {
            "dataset": images.name,
            "protocol": "mean square error of decoded posterior means in [-1, 1]; "
            "bound with one latent per image; test images",
            "scores": scores,
        }
    )
    judging.print_scores(scores)
    print(f"pictures and summary.json are in {run.folder}")


if __name__ == "__main__":
    console.run(main)
