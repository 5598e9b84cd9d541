"""Sharpen pictures whose blur is known (documents A 2.2, D 2.3 "CIR").

--method alternates between the blur and a prior of pictures: learned (the default, a
restorer as denoiser, 8 iterations), sparse (patches sparse in the cosine transform,
8 iterations) or total_variation (few edges, 10 iterations); NAME_convergence.png shows
how they went. Noise below 0.5 of 255 counts as 0.5.

Example:
    python -m experiments.deblur --kernel=k.npy --input=soft.png --output=sharp.png
"""

from absl import flags as absl_flags

from experiments.support import console, flags, picture_jobs, restorers

_KERNEL = absl_flags.DEFINE_string(
    "kernel",
    None,
    "blur kernel: a picture, whose brightness it is; a .npy file; or an array of an "
    ".npz archive, as kernels.npz:k1",
)
flags.adopt(
    *picture_jobs.FLAGS,
    restorers.METHOD,
    restorers.SIGMA,
    flags.MODEL,
)
_METHODS = (restorers.LEARNED, "sparse", "total_variation")
_LEAST_NOISE = 0.5 / 255  # about that of rounding to 8 bits


def main(argv):
    """Sharpen one picture or a folder."""
    method = restorers.method(_METHODS)
    jobs = picture_jobs.plan(_KERNEL, iterates=True)
    with console.quiet_tensorflow():
        from restoration import data_terms, iterative, noise, operators, priors

    kernel = operators.read_kernel(_KERNEL.value)
    choose = restorers.networks() if method == restorers.LEARNED else None

    def restore(pixels, mask):
        sigma, remark = restorers.noise_level(lambda: noise.estimate_sigma(pixels))
        sigma = max(sigma, _LEAST_NOISE)
        remarks = [f"kernel {kernel.shape[1]}x{kernel.shape[0]}", remark]
        blurred = pixels[None]
        if method == "total_variation":
            sharp, record = iterative.tv_deblur(blurred, kernel, sigma, circular=False)
        else:
            data = data_terms.Deblur(blurred, kernel, sigma, circular=False)
            prior = priors.Sparse()
            if method == restorers.LEARNED:
                prior = priors.Learned(choose(pixels.shape[2]))
            schedule = iterative.plug_and_play_schedule(sigma)
            sharp, record = iterative.minimise(data, prior, schedule=schedule)
        return picture_jobs.Restored(sharp[0].numpy(), remarks, record)

    return picture_jobs.run(jobs, restore)


if __name__ == "__main__":
    console.run(main)
