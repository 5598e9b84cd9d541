"""The restoration benchmark's rows: our methods, and what a user would pick instead."""

import dataclasses
import importlib.util
from collections.abc import Callable

import numpy as np

from experiments.support import restoration_tests, restorers


@dataclasses.dataclass(frozen=True)
class Method:
    """One column of the table.

    Attributes:
        damages: kinds it can undo.
        run: (case, network) -> restored image `[H, W, C]`.
        model: shipped restorer by channel count, or None for a classical method.
        needs: module it needs, or None.
    """

    damages: tuple[str, ...]
    run: Callable
    model: dict[int, str] | None = None
    needs: str | None = None

    def fits(self, test: restoration_tests.Test) -> bool:
        """Whether the method can be asked this test."""
        return test.damage in self.damages and (
            self.model is None or test.channels in self.model
        )

    def installed(self) -> bool:
        """Whether what it needs is there."""
        return self.needs is None or importlib.util.find_spec(self.needs) is not None


def _deblurred(case, prior):
    from restoration import data_terms, iterative

    data = data_terms.Deblur(case.damaged[None], case.kernel, case.sigma)
    schedule = iterative.plug_and_play_schedule(case.sigma)
    return iterative.minimise(data, prior, schedule=schedule)[0][0].numpy()


def _learned(case, network):
    from restoration import inference, priors

    if case.kernel is not None:
        return _deblurred(case, priors.Learned(network))
    # Impulses are to be found; everything else is told.
    sigma = case.sigma if case.sigma or case.mask is not None else None
    return inference.restore(network, case.damaged, case.mask, sigma)


def _ensemble(case, network):
    from restoration import inference

    return inference.restore(
        network, case.damaged, case.mask, case.sigma, ensemble=True
    )


def _total_variation(case, network):
    from restoration import iterative

    if case.mask is not None:
        found, _ = iterative.tv_inpaint(case.damaged[None], case.mask[None])
        return found[0].numpy()
    if case.kernel is not None:
        found, _ = iterative.tv_deblur(case.damaged[None], case.kernel, case.sigma)
        return found[0].numpy()
    return iterative.tv_denoise(case.damaged[None], case.sigma)[0].numpy()


def _sparse_deblurred(case, network):
    from restoration import priors

    return _deblurred(case, priors.Sparse())


def _patch_sparse(case, network):
    from restoration import patch_sparse

    return patch_sparse.inpaint(case.damaged, case.mask)


def _masked_omp(case, network):
    from restoration import patch_sparse

    return patch_sparse.inpaint_known(case.damaged, case.mask)


def _pull_push(case, network):
    from restoration import filling

    return filling.fill(case.damaged[None], case.mask[None])[0].numpy()


def _k_svd(case, network):
    from restoration import patch_sparse

    return patch_sparse.denoise(case.damaged, case.sigma, adapt=True)


def _omp_dct(case, network):
    from restoration import patch_sparse

    return patch_sparse.denoise(case.damaged, case.sigma)


def _sliding_dct(case, network):
    from restoration import patch_sparse

    return patch_sparse.sliding_dct(case.damaged, case.sigma)


def _masked(case):
    """Missing pixels `[H, W]`; impulses by the textbook rule: every 0 and every 1."""
    if case.mask is not None:
        return case.mask[..., 0] > 0
    return np.all((case.damaged <= 0) | (case.damaged >= 1), axis=-1)


def _biharmonic(case, network):
    from skimage import restoration

    return restoration.inpaint_biharmonic(
        case.damaged, _masked(case), channel_axis=-1, split_into_regions=False
    )


def _telea(case, network):
    import cv2

    pixels = np.round(255 * np.clip(case.damaged, 0, 1)).astype(np.uint8)
    filled = cv2.inpaint(pixels, _masked(case).astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return filled.reshape(case.damaged.shape) / np.float32(255)


def _skimage_means(case, network):
    from skimage import restoration

    found = restoration.denoise_nl_means(
        case.damaged,
        h=0.8 * case.sigma,
        sigma=case.sigma,
        patch_size=5,
        patch_distance=6,
        channel_axis=-1,
    )
    return found.reshape(case.damaged.shape)  # one channel is dropped


def _skimage_variation(case, network):
    from skimage import restoration

    return restoration.denoise_tv_chambolle(
        case.damaged, weight=1.2 * case.sigma, channel_axis=-1
    )


def _opencv_means(case, network):
    import cv2

    pixels = np.round(255 * np.clip(case.damaged, 0, 1)).astype(np.uint8)
    strength = 0.9 * 255 * case.sigma
    if pixels.shape[2] == 3:
        found = cv2.fastNlMeansDenoisingColored(pixels, None, strength, strength)
    else:
        found = cv2.fastNlMeansDenoising(pixels, None, strength)
    return found.reshape(case.damaged.shape) / np.float32(255)


def _bm3d(case, network):
    import bm3d

    colour = case.damaged.shape[2] == 3
    run = bm3d.bm3d_rgb if colour else bm3d.bm3d
    given = case.damaged if colour else case.damaged[..., 0]
    return np.asarray(run(given, case.sigma)).reshape(case.damaged.shape)


_RESTORERS = restorers.SHIPPED
METHODS = {
    "restorer": Method(("noise", "missing", "impulses", "blur"), _learned, _RESTORERS),
    "restorer x8": Method(("noise",), _ensemble, _RESTORERS),
    "restorer synthetic": Method(
        ("noise", "missing", "impulses"), _learned, {3: "restorer_synthetic_color"}
    ),
    "unrolled sparse": Method(("noise",), _learned, {1: "unrolled_sparse_gray"}),
    "k-svd": Method(("noise",), _k_svd),
    "omp-dct": Method(("noise",), _omp_dct),
    "sliding dct": Method(("noise",), _sliding_dct),
    "total variation": Method(("noise", "missing", "blur"), _total_variation),
    "patch sparse": Method(("missing",), _patch_sparse),
    "masked omp": Method(("missing",), _masked_omp),
    "pull-push": Method(("missing",), _pull_push),
    "sparse prior": Method(("blur",), _sparse_deblurred),
    "bm3d": Method(("noise",), _bm3d, needs="bm3d"),
    "scikit-image non-local means": Method(("noise",), _skimage_means, needs="skimage"),
    "scikit-image tv": Method(("noise",), _skimage_variation, needs="skimage"),
    "scikit-image biharmonic": Method(
        ("missing", "impulses"), _biharmonic, needs="skimage"
    ),
    "opencv fastNlMeans": Method(("noise",), _opencv_means, needs="cv2"),
    "opencv telea": Method(("missing", "impulses"), _telea, needs="cv2"),
}
