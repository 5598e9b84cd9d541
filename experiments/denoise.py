"""Remove Gaussian noise from pictures (documents A 2.2, D 2.3).

--method is learned (the default, a trained restorer), sparse (orthogonal matching
pursuit over cosine patches), ksvd (the same over patches that K-SVD learns from the
picture), sliding_dct (thresholded cosine patches) or total_variation (few edges).
sparse and ksvd take 10 to 25 seconds for a megapixel at noise 25, and longer the weaker
the noise is. A --model that was trained to find the damage itself (pairs, overlays,
jpeg) takes the picture as it is, without --sigma.

Example:
    python -m experiments.denoise --sigma=25 --input=noisy.png --output=clean.png
"""

from experiments.support import console, flags, picture_jobs, restorers

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
    method = restorers.method(_METHODS)
    jobs = picture_jobs.plan()
    with console.quiet_tensorflow():
        from restoration import inference, iterative, noise, patch_sparse

    choose = restorers.networks(blind=True) if method == restorers.LEARNED else None
    blind = restorers.is_blind()

    def restore(pixels, mask):
        sigma, remark = 0.0, restorers.BLIND
        if not blind:
            sigma, remark = restorers.noise_level(
                lambda: noise.estimate_sigma(pixels), grain=True
            )
        if sigma == 0 and not blind:
            restored = pixels
        elif method == restorers.LEARNED:
            network = choose(pixels.shape[2])
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
