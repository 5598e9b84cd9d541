"""Restoration by cyclic iterative minimisation (document D 2.3 "CIR", document A 2.2).

min_x f(x) + R(x), f the data term of the damage and R a prior, is split into x = z and
solved in turns: an x-step that knows only the damage (`restoration.data_terms`), and a
z-step that knows only images, a denoiser (`restoration.priors`). Either can be
exchanged. Images are float32 `[B, H, W, C]`, nominally in [0, 1].
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from gan_transfer import errors
from restoration import data_terms, priors

ALGORITHMS = ("hqs", "admm")

Prior = Callable[[tf.Tensor, float], tf.Tensor]
Schedule = Sequence[tuple[float, float]]


def plug_and_play_schedule(
    sigma: float,
    iterations: int = 8,
    *,
    first: float = 49 / 255,
    weight: float = 0.23,
) -> list[tuple[float, float]]:
    """Schedule for a denoiser as prior, strong to weak (documents A 2.2, D 2.3).

    s_k falls from `first` to `sigma` in equal ratios and rho_k = weight / s_k^2: the
    denoiser is called at the level at which the splitting's x - z acts as noise.

    Args:
        sigma: noise level of the data, > 0; the last strength. For data without noise,
            a small number such as 1/255. Above `first` all strengths are `sigma`.
        iterations: of x-step and z-step, >= 1.
        first: strength of the first z-step.
        weight: of the prior, lambda.

    Returns:
        Pairs (rho, strength) for `minimise`.

    Raises:
        InputError: a number that is not positive.

    Source: Zhang et al., "Plug-and-Play Image Restoration with Deep Denoiser Prior",
    2021 (its alpha_k is rho_k sigma^2).
    """
    if not all(number > 0 for number in (sigma, iterations, first, weight)):
        raise errors.InputError(
            f"schedule of sigma {sigma}, {iterations} iterations, first strength "
            f"{first} and weight {weight}: all must be positive"
        )
    strengths = np.geomspace(max(first, sigma), sigma, iterations)
    return [(float(weight / s**2), float(s)) for s in strengths]


def constant_schedule(rho: float, iterations: int) -> list[tuple[float, float]]:
    """Schedule that minimises f + R itself, R as its prior states it (document A 2.2).

    The z-step of strength s is argmin_z R(z) + |z - x|^2 / (2 s^2), hence s =
    1 / sqrt(rho). ADMM reaches the minimum whatever `rho` > 0; HQS that of the split
    objective f(x) + R(z) + rho/2 |x - z|^2, which no iteration increases.
    """
    return [(rho, rho**-0.5)] * iterations


def minimise(
    data: data_terms.DataTerm,
    prior: Prior,
    *,
    schedule: Schedule,
    algorithm: str = "hqs",
) -> tuple[tf.Tensor, list[dict[str, float]]]:
    """Alternate data term and prior (document D 2.3 "CIR", document A 2.2).

    x <- argmin f(x) + rho/2 |x - (z - u)|^2, z <- prior(x + u, strength), and for ADMM
    u <- u + x - z; half-quadratic splitting (HQS) keeps u = 0. A prior with a true
    `turns`, such as `priors.Learned`, is shown another of the eight rotations and
    reflections in each iteration, so that its faults do not add up.

    Args:
        data: `Denoise`, `Inpaint` or `Deblur` of `restoration.data_terms`.
        prior: `(images, strength) -> images`, of `restoration.priors` or any denoiser.
        schedule: pairs (rho, strength), one per iteration.
        algorithm: "hqs", also for `plug_and_play_schedule`; "admm", made for
            `constant_schedule`, where only it reaches the minimum of f + R.

    Returns:
        The restored images float32 `[B, H, W, C]`, not clipped, and one record per
        iteration: `iteration` from 1, `rho`, `strength`; the root mean squares `misfit`
        (A z - y: near sigma if all went well), `change` (of z) and `gap` (x - z); and
        `objective`, f(x) + R(z), for priors that can tell R. All over the batch.

    Raises:
        InputError: an unknown algorithm or an empty schedule.

    Source: Geman and Yang, "Nonlinear Image Recovery with Half-Quadratic
    Regularization", 1995; Boyd et al., "Distributed Optimization and Statistical
    Learning via the Alternating Direction Method of Multipliers", 2011.
    """
    if algorithm not in ALGORITHMS:
        raise errors.InputError(
            f"no algorithm called {algorithm}; there are {', '.join(ALGORITHMS)}"
        )
    if not schedule:
        raise errors.InputError("the schedule has no iteration; at least 1 is needed")
    z = data.initial()
    dual = tf.zeros_like(z)
    record, last_rho = [], schedule[0][0]
    for number, (rho, strength) in enumerate(schedule, 1):
        # u is the multiplier divided by rho, and the multiplier is what goes on.
        dual *= last_rho / rho
        last_rho = rho
        x = data.proximal(z - dual, rho)
        previous, z = z, _denoised(prior, x + dual, strength, number - 1)
        if algorithm == "admm":
            dual += x - z
        values = {"iteration": number, "rho": rho, "strength": strength}
        values["misfit"] = _rms(data.residual(z))
        values["change"], values["gap"] = _rms(z - previous), _rms(x - z)
        if hasattr(prior, "objective"):
            fit = data_terms.objective(data, x)
            values["objective"] = fit + prior.objective(z)
        record.append(values)
    return data.finish(z), record


def tv_denoise(y: tf.Tensor, sigma: float) -> tf.Tensor:
    """Denoising by total variation, the classical baseline (document A 2.2).

    min_x |x - y|^2 / (2 sigma^2) + weight TV(x), solved directly. The weight is 0.8 /
    sigma for grey and 1.1 / sigma for colour images: within 0.3 dB of the best on seven
    images of Set12 and four of CBSD68 at sigma 15, 25 and 50 of 255.

    Args:
        y: noisy images `[B, H, W, C]`.
        sigma: standard deviation of the noise, > 0.

    Returns:
        float32 `[B, H, W, C]`, not clipped.
    """
    y = data_terms.Denoise(y, sigma).y
    return priors.TotalVariation(_tv_weight(y, sigma))(y, sigma)


def tv_inpaint(
    y: tf.Tensor, mask: tf.Tensor, sigma: float = 0.0
) -> tuple[tf.Tensor, list[dict[str, float]]]:
    """Inpainting by total variation, the classical baseline (document A 2.2).

    min_x |V (x - y)|^2 / (2 sigma^2) + weight TV(x), V = 1 - mask, with the weight of
    `tv_denoise`; without noise the least TV(x) that meets the known pixels. 30
    iterations of ADMM with rho = 50 weight, within 0.1 dB of the minimum on dead leaves
    with 30 % missing and noise up to 25 of 255, and 0.2 dB at 50.

    Args:
        y: images `[B, H, W, C]`; what stands at missing pixels does not matter.
        mask: `[B, H, W, 1]` or `[B, H, W, C]`, 1 = missing.
        sigma: noise of the known pixels; with 0 they are kept bit for bit.

    Returns:
        As `minimise`.
    """
    data = data_terms.Inpaint(y, mask, sigma)
    weight = _tv_weight(data.y, sigma) if sigma else 1.0
    return minimise(
        data,
        priors.TotalVariation(weight),
        schedule=constant_schedule(rho=50.0 * weight, iterations=30),
        algorithm="admm",
    )


def tv_deblur(
    y: tf.Tensor,
    kernel: np.ndarray,
    sigma: float,
    weight: float | None = None,
    *,
    circular: bool = True,
) -> tuple[tf.Tensor, list[dict[str, float]]]:
    """Deblurring by total variation, the classical baseline (document A 2.2).

    min_x |k * x - y|^2 / (2 sigma^2) + weight TV(x), ten iterations of ADMM with
    rho = 0.01 / sigma^2, which is within 0.1 dB of the minimum.

    Args:
        y: blurred images `[B, H, W, C]`.
        kernel: `[h, w]`, sums to 1.
        sigma: standard deviation of the noise, > 0.
        weight: of the total variation; None for 0.42 sigma^(-2/3) sqrt(C): the best on
            two grey images with two of Levin's kernels at sigma 2.55/255 and 7.65/255,
            and C channels that share an edge count its length sqrt(C) fold.
        circular: whether the images wrap around, see `data_terms.Deblur`.

    Returns:
        As `minimise`.
    """
    data = data_terms.Deblur(y, kernel, sigma, circular)
    if weight is None:
        weight = 0.42 * sigma ** (-2 / 3) * y.shape[-1] ** 0.5
    schedule = constant_schedule(0.01 / sigma**2, 10)
    # An exact z-step takes far longer and changes no decibel.
    prior = priors.TotalVariation(weight, iterations=100)
    return minimise(data, prior, schedule=schedule, algorithm="admm")


def _tv_weight(y: tf.Tensor, sigma: float) -> float:
    return (0.8 if y.shape[-1] == 1 else 1.1) / sigma


def _denoised(prior: Prior, x: tf.Tensor, strength: float, number: int) -> tf.Tensor:
    if not getattr(prior, "turns", False):
        return prior(x, strength)
    turns, mirrored = number % 4, number % 8 > 3
    x = tf.image.rot90(x[:, :, ::-1] if mirrored else x, turns)
    z = tf.image.rot90(prior(x, strength), -turns % 4)
    return z[:, :, ::-1] if mirrored else z


def _rms(x: tf.Tensor) -> float:
    return float(tf.sqrt(tf.reduce_mean(tf.square(x))))
