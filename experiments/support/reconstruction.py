"""Pictures of what a VAE makes of images: reconstructions and walks between them."""

from experiments.support import figures

_COLUMNS = 12


def draw(run, vae, images, title: str) -> None:
    """Write `reconstructions.png` and `interpolation.png` of the first 12 images.

    One image is reconstructed, but there is nothing to walk to.

    Args:
        run: the run directory.
        vae: a `variational.VAE`.
        images: uint8 `[N, H, W, C]`.
        title: model and data.
    """
    import numpy as np

    from gan_transfer import data

    shown = data.to_float(images[:_COLUMNS])
    figures.pairs(
        run.path("reconstructions.png"),
        [data.to_uint8(each) for each in (shown, vae.reconstruct(shown))],
        ["images", "reconstructed"],
        f"{title}: images through encoder and decoder",
    )
    if len(shown) == 1:
        return
    means = vae.encode(shown)[0]
    half = len(means) // 2
    t = np.linspace(0, 1, _COLUMNS, dtype=np.float32)[:, None]
    pairs = zip(means[:half], means[half : 2 * half], strict=True)
    rows = [vae.decode((1 - t) * first + t * last) for first, last in pairs]
    figures.sample_grid(
        run.path("interpolation.png"),
        data.to_uint8(np.concatenate(rows)),
        f"{title}: straight lines between the latents of two images",
        columns=_COLUMNS,
    )
