"""Restore pictures of unknown damage: noise, impulses, missing parts (A 2.2, D 2.3).

The noise level is estimated (or given by --sigma), dead and stuck pixels (salt and
pepper) are found, and what --mask or --mask_alpha marks is filled in. --method is
learned (the default, a trained restorer), sparse (patches sparse in the cosine
transform) or total_variation (few edges; where pixels are missing, NAME_convergence.png
shows the course of its iterations). For one known damage, inpaint, denoise and deblur
do better; a picture without any comes back as it is. A --model that was trained to find
the damage itself (pairs, overlays, jpeg) takes the picture as it is, without --sigma
and mask.

Example:
    python -m experiments.restore --input=old.jpg --mask=cracks.png --output=new.png
"""

from experiments.support import console, flags, picture_jobs, restorers

flags.adopt(
    *picture_jobs.FLAGS,
    *picture_jobs.MASK_FLAGS,
    restorers.METHOD,
    restorers.SIGMA,
    restorers.ENSEMBLE,
    flags.MODEL,
)
_METHODS = (restorers.LEARNED, "sparse", "total_variation")


def main(argv):
    """Restore one picture or a folder."""
    method = restorers.method(_METHODS)
    jobs = picture_jobs.plan(iterates=method == "total_variation")
    with console.quiet_tensorflow():
        from restoration import inference

    learned = method == restorers.LEARNED
    choose = restorers.networks(blind=True) if learned else None
    marked = bool(picture_jobs.MASK.value or picture_jobs.MASK_ALPHA.value)
    blind = learned and restorers.is_blind(mask=marked)

    def restore(pixels, mask):
        missing, sigma, remarks = None, 0.0, [restorers.BLIND]
        if not blind:
            found = inference.diagnose(pixels, mask)
            missing = found.mask
            if learned and missing is not None:
                restorers.refuse_holes()
            sigma, remark = restorers.noise_level(
                lambda: found.sigma, grain=missing is None
            )
            remarks = [f"{found.impulses:.1%} impulses", remark]
            if missing is None and sigma == 0:
                return picture_jobs.Restored(pixels, remarks)
        if not learned:
            restored, record = _classical(method, pixels, missing, sigma)
            return picture_jobs.Restored(restored, remarks, record)
        restored = inference.restore(
            choose(pixels.shape[2]),
            pixels,
            missing,
            sigma,
            ensemble=restorers.ENSEMBLE.value,
        )
        return picture_jobs.Restored(restored, remarks)

    return picture_jobs.run(jobs, restore)


def _classical(method: str, pixels, mask, sigma: float) -> tuple:
    """A picture restored without a network, and the record of its iterations."""
    from restoration import iterative, patch_sparse

    if method == "sparse":
        if mask is None:
            return patch_sparse.sliding_dct(pixels, sigma), []
        return patch_sparse.inpaint(pixels, mask, sigma), []
    if mask is None:
        return iterative.tv_denoise(pixels[None], sigma)[0].numpy(), []
    restored, record = iterative.tv_inpaint(pixels[None], mask[None], sigma)
    return restored[0].numpy(), record


if __name__ == "__main__":
    console.run(main)
