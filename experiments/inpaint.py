"""Fill in missing pixels of pictures (documents A 2.2, D 2.3).

What is missing is said by --mask or --mask_alpha; known pixels stay as they are.
--method is learned (the default, a trained restorer), pull_push (smooth, at once),
sparse (patches sparse in the cosine transform) or total_variation (few edges, 30
iterations, whose course NAME_convergence.png shows).

Example:
    python -m experiments.inpaint --input=old.jpg --mask=holes.png --output=new.png
"""

import numpy as np

from experiments.support import console, flags, picture_jobs, restorers

flags.adopt(
    *picture_jobs.FLAGS,
    *picture_jobs.MASK_FLAGS,
    restorers.METHOD,
    restorers.ENSEMBLE,
    flags.MODEL,
)
# No method here invents content: the middle of wider holes can only be smooth.
_WIDE = 48
_METHODS = (restorers.LEARNED, "pull_push", "sparse", "total_variation")


def main(argv):
    """Fill in one picture or a folder."""
    method = restorers.method(_METHODS)
    by_alpha = picture_jobs.MASK_ALPHA.value
    needed = [] if by_alpha else [picture_jobs.MASK]
    jobs = picture_jobs.plan(*needed, iterates=method == "total_variation")
    with console.quiet_tensorflow():
        from restoration import filling, inference, iterative, patch_sparse

    choose = None
    if method == restorers.LEARNED:
        choose = restorers.networks()
        restorers.refuse_holes()

    def restore(pixels, mask):
        record = []
        if method == restorers.LEARNED:
            network = choose(pixels.shape[2])
            restored = inference.restore(
                network, pixels, mask, 0.0, ensemble=restorers.ENSEMBLE.value
            )
        elif method == "pull_push":
            missing = np.broadcast_to(mask, pixels.shape)
            restored = filling.fill_picture(pixels, missing)
        elif method == "sparse":
            restored = patch_sparse.inpaint(pixels, mask)
        else:
            restored, record = iterative.tv_inpaint(pixels[None], mask[None])
            restored = restored[0].numpy()
        return picture_jobs.Restored(restored, _remarks(mask), record)

    return picture_jobs.run(jobs, restore)


def _remarks(mask: np.ndarray) -> list[str]:
    """Warns of holes that hold a square of `_WIDE` pixels."""
    if min(mask.shape[:2]) < _WIDE:
        return []
    # Rows that are missing over the width, then those so over the height.
    wide = mask[..., 0] > 0.5
    for _ in range(2):
        known = np.cumsum(np.pad(~wide, ((0, 0), (1, 0))), axis=1, dtype=np.int32)
        wide = (known[:, _WIDE:] == known[:, :-_WIDE]).T
    remark = f"holes wider than {_WIDE} pixels stay blurred inside"
    return [remark] if wide.any() else []


if __name__ == "__main__":
    console.run(main)
