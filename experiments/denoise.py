"""Remove Gaussian noise from pictures (documents A 2.2, D 2.3).

--method is learned (the default, a trained restorer), sparse (orthogonal matching
pursuit over cosine patches), ksvd (the same over patches that K-SVD learns from the
picture), sliding_dct (thresholded cosine patches) or total_variation (few edges).
sparse and ksvd take about ten seconds for a megapixel at noise 25 and a minute at noise
5: the longer, the weaker the noise. --adapt tunes the learned restorer to each picture
before it restores it, from the noisy picture alone. A --model that was trained to find
the damage itself (pairs, overlays, jpeg) takes the picture as it is, without --sigma.

Example:
    python -m experiments.denoise --sigma=25 --input=noisy.png --output=clean.png
"""

from absl import flags as absl_flags

from experiments.support import console, flags, picture_jobs, restorers
from gan_transfer import errors

_ADAPT = absl_flags.DEFINE_boolean(
    "adapt",
    False,
    "--method=learned: train a factor per channel on the noisy picture first, about 20 "
    "seconds each; pays on what the restorer has not seen: text, drawings, microscopy",
)
flags.adopt(
    *picture_jobs.FLAGS,
    restorers.METHOD,
    restorers.SIGMA,
    restorers.ENSEMBLE,
    flags.MODEL,
)
_METHODS = (restorers.LEARNED, "sparse", "ksvd", "sliding_dct", "total_variation")


def main(argv):
    """Denoise one picture or a folder."""
    method = restorers.method(_METHODS, _ADAPT)
    jobs = picture_jobs.plan()
    with console.quiet_tensorflow():
        from restoration import adaptation, inference, iterative, noise, patch_sparse

    choose = restorers.networks(blind=True) if method == restorers.LEARNED else None
    blind = restorers.is_blind()
    if blind and _ADAPT.value:
        raise errors.InputError(
            f"--model={flags.MODEL.value} was {restorers.BLIND}; leave --adapt out, "
            "which needs the noise level"
        )

    def restore(pixels, mask):
        sigma, remark = 0.0, restorers.BLIND
        if not blind:
            sigma, remark = restorers.noise_level(lambda: noise.estimate_sigma(pixels))
        if sigma == 0 and not blind:
            restored = pixels
        elif method == restorers.LEARNED:
            network = choose(pixels.shape[2])
            if _ADAPT.value:
                network = adaptation.adapt(network, pixels, sigma)
                remark += ", adapted"
            restored = inference.restore(
                network, pixels, None, sigma, ensemble=restorers.ENSEMBLE.value
            )
        elif method in ("sparse", "ksvd"):
            restored = patch_sparse.denoise(pixels, sigma, adapt=method == "ksvd")
        elif method == "sliding_dct":
            restored = patch_sparse.sliding_dct(pixels, sigma)
        else:
            restored = iterative.tv_denoise(pixels[None], sigma)[0].numpy()
        return picture_jobs.Restored(restored, [remark])

    return picture_jobs.run(jobs, restore)


if __name__ == "__main__":
    console.run(main)
