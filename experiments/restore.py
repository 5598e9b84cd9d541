"""Restore pictures of unknown damage: noise, impulses, missing parts (A 2.2, D 2.3).

The noise level is estimated (or given by --sigma), dead and stuck pixels (salt and
pepper) are found, and what --mask or --mask_alpha marks is filled in. --method is
learned. For one known damage, inpaint, denoise and deblur do better. A --model that was
trained on pairs takes the picture as it is, whatever --sigma says, and no mask.

Example:
    python -m experiments.restore --input=old.jpg --mask=cracks.png --output=new.png
"""

from experiments.support import console, flags, picture_jobs, restorers
from gan_transfer import errors

flags.adopt(
    *picture_jobs.FLAGS,
    *picture_jobs.MASK_FLAGS,
    restorers.METHOD,
    restorers.SIGMA,
    restorers.ENSEMBLE,
    flags.MODEL,
)
_METHODS = (restorers.LEARNED,)


def main(argv):
    """Restore one picture or a folder."""
    restorers.method(_METHODS)
    jobs = picture_jobs.plan()
    with console.quiet_tensorflow():
        from restoration import inference

    choose = restorers.networks(blind=True)
    blind = restorers.is_blind()
    if blind and (picture_jobs.MASK.value or picture_jobs.MASK_ALPHA.value):
        raise errors.InputError(
            f"--model={flags.MODEL.value} was {restorers.BLIND}; leave the mask out"
        )

    def told(pixels, mask):
        """Mask, noise level and what is printed of them."""
        if blind:
            return None, 0.0, [restorers.BLIND]
        found = inference.diagnose(pixels, mask)
        sigma, remark = restorers.noise_level(lambda: found.sigma)
        return found.mask, sigma, [f"{found.impulses:.1%} impulses", remark]

    def restore(pixels, mask):
        missing, sigma, remarks = told(pixels, mask)
        restored = inference.restore(
            choose(pixels.shape[2]),
            pixels,
            missing,
            sigma,
            ensemble=restorers.ENSEMBLE.value,
        )
        return restored, remarks

    return picture_jobs.run(jobs, restore)


if __name__ == "__main__":
    console.run(main)
