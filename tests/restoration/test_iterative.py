"""The alternation against closed forms (document D 2.3 "CIR", document A 2.2)."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from skimage import restoration as peer

from gan_transfer import errors
from restoration import data_terms, iterative, priors

SHAPE = (2, 15, 18, 3)


class Shrinkage:
    """R(z) = |z|^2 / 2, whose every step has a closed form."""

    def __call__(self, x, strength):
        return x / (1 + strength**2)

    def objective(self, z):
        return 0.5 * float(tf.reduce_sum(z**2))


def _cartoon(shape=SHAPE):
    image = np.full(shape, 0.2)
    image[:, 3:9, 5:12] = 0.8
    image[:, 11:, :7] = 0.5
    return image


def _noisy(image, sigma):
    noise = np.random.RandomState(0).normal(0, sigma, image.shape)
    return tf.constant(image + noise, tf.float32)


def _kernel():
    kernel = np.outer([1, 2, 1], [1, 3, 4, 2, 0.5])
    return kernel / kernel.sum()


def _rms(x):
    return float(np.sqrt(np.mean(np.square(x))))


def test_plug_and_play_schedule():
    schedule = iterative.plug_and_play_schedule(49 / 255 / 128)
    strengths = [49 / 255 / 2**k for k in range(8)]
    np.testing.assert_allclose([s for _, s in schedule], strengths)
    np.testing.assert_allclose([rho * s * s for rho, s in schedule], 0.23)
    above = iterative.plug_and_play_schedule(0.3, 3, first=0.1, weight=2.0)
    np.testing.assert_allclose(above, [(2 / 0.3**2, 0.3)] * 3)


def test_constant_schedule():
    assert iterative.constant_schedule(16.0, 3) == [(16.0, 0.25)] * 3


def test_admm_reaches_the_minimum_of_two_squares():
    y = _noisy(_cartoon(), 0.1)
    data, schedule = data_terms.Denoise(y, 0.5), iterative.constant_schedule(3.0, 60)
    z, record = iterative.minimise(
        data, Shrinkage(), schedule=schedule, algorithm="admm"
    )
    np.testing.assert_allclose(z, y / (1 + 0.5**2), atol=1e-5)
    assert record[-1]["gap"] < 1e-5


def test_admm_bears_a_rho_that_changes():
    y = _noisy(_cartoon(), 0.1)
    schedule = [(rho, rho**-0.5) for rho in np.geomspace(1.0, 5.0, 60).tolist()]
    data = data_terms.Denoise(y, 0.5)
    z, _ = iterative.minimise(data, Shrinkage(), schedule=schedule, algorithm="admm")
    np.testing.assert_allclose(z, y / (1 + 0.5**2), atol=1e-4)


def test_hqs_reaches_the_minimum_of_the_split_objective():
    y = _noisy(_cartoon(), 0.1)
    data, schedule = data_terms.Denoise(y, 0.5), iterative.constant_schedule(3.0, 60)
    z, record = iterative.minimise(data, Shrinkage(), schedule=schedule)
    # min_x |x - z|^2 rho/2 + |x - y|^2 / (2 sigma^2) puts |y - z|^2 / 2 at the
    # precision 1 / (sigma^2 + 1 / rho).
    np.testing.assert_allclose(z, y / (1 + 0.5**2 + 1 / 3), atol=1e-5)
    assert record[-1]["change"] < 1e-6


def test_admm_deblurs_as_wiener_does():
    y = _noisy(_cartoon(), 0.01)
    data = data_terms.Deblur(y, _kernel(), 0.3)
    schedule = iterative.constant_schedule(4.0, 80)
    z, _ = iterative.minimise(data, Shrinkage(), schedule=schedule, algorithm="admm")
    transfer = np.zeros(SHAPE[1:3])
    transfer[:3, :5] = _kernel()
    transfer = np.fft.fft2(np.roll(transfer, (-1, -2), (0, 1)))[None, ..., None]
    spectrum = np.fft.fft2(y.numpy(), axes=(1, 2)) * np.conj(transfer)
    spectrum /= np.abs(transfer) ** 2 + 0.3**2
    np.testing.assert_allclose(z, np.fft.ifft2(spectrum, axes=(1, 2)).real, atol=2e-5)


def test_admm_with_total_variation_is_its_direct_solution():
    y = _noisy(_cartoon(), 0.1)
    data, prior = data_terms.Denoise(y, 0.1), priors.TotalVariation(8.0, 1e-5)
    schedule = iterative.constant_schedule(100.0, 40)
    z, record = iterative.minimise(data, prior, schedule=schedule, algorithm="admm")
    direct = prior(y, 0.1)
    assert _rms(z - direct) < 1e-4
    expected = data_terms.objective(data, direct) + prior.objective(direct)
    assert record[-1]["objective"] == pytest.approx(expected, rel=1e-4)


def test_no_iteration_of_hqs_increases_the_split_objective():
    blurred = scipy.ndimage.convolve(_cartoon(), _kernel()[None, ..., None])
    y = _noisy(blurred, 0.02)
    rho = 200.0
    _, record = iterative.minimise(
        data_terms.Deblur(y, _kernel(), 0.02),
        priors.TotalVariation(5.0, 1e-5),
        schedule=iterative.constant_schedule(rho, 15),
    )
    split = [
        each["objective"] + 0.5 * rho * each["gap"] ** 2 * y.shape.num_elements()
        for each in record
    ]
    assert len(split) == 15
    assert np.diff(split).max() < 1e-4 * split[-1]
    assert split[0] > 1.05 * split[-1]


def test_the_record_says_what_happened():
    y = _noisy(_cartoon(), 0.1)
    z, record = iterative.minimise(
        data_terms.Denoise(y, 0.5), Shrinkage(), schedule=[(4.0, 1.0), (8.0, 0.5)]
    )
    # rho sigma^2 = 1, then 2; the prior divides by 2, then by 1.25.
    x1, z1 = y, y / 2
    x2 = (y + 2 * z1) / 3
    z2 = x2 / 1.25
    np.testing.assert_allclose(z, z2, atol=1e-6)
    assert [each["iteration"] for each in record] == [1, 2]
    assert (record[1]["rho"], record[1]["strength"]) == (8.0, 0.5)
    for each, x, before, after in zip(record, (x1, x2), (y, z1), (z1, z2), strict=True):
        assert each["misfit"] == pytest.approx(_rms(after - y), rel=1e-4)
        assert each["change"] == pytest.approx(_rms(after - before), rel=1e-4)
        assert each["gap"] == pytest.approx(_rms(x - after), rel=1e-4)
        objective = np.sum((x - y) ** 2) / 0.5 + 0.5 * np.sum(after**2)
        assert each["objective"] == pytest.approx(objective, rel=1e-4)
    assert all(type(value) in (int, float) for value in record[0].values())


def test_a_plain_function_is_a_prior_without_objective():
    y = _noisy(_cartoon(), 0.1)
    z, record = iterative.minimise(
        data_terms.Denoise(y, 0.1), lambda x, strength: x, schedule=[(1.0, 0.1)]
    )
    np.testing.assert_array_equal(z, y)
    assert "objective" not in record[0]


def test_a_learned_prior_is_shown_all_eight_symmetries():
    shown = []

    class Seeing:
        turns = True

        def __call__(self, x, strength):
            shown.append(x.numpy())
            return x

    y = _noisy(_cartoon(), 0.1)
    data = data_terms.Denoise(y, 0.1)
    z, record = iterative.minimise(data, Seeing(), schedule=[(1.0, 0.1)] * 9)
    expected = [
        np.rot90(image, turns, axes=(1, 2))
        for image in (y.numpy(), y.numpy()[:, :, ::-1])
        for turns in range(4)
    ]
    for image, other in zip(shown, [*expected, expected[0]], strict=True):
        np.testing.assert_array_equal(image, other)
    np.testing.assert_array_equal(z, y)
    assert {each["change"] for each in record} == {0.0}


def test_inpainting_keeps_what_is_known_and_closes_a_flat_hole():
    clean = tf.constant(_cartoon(), tf.float32)
    mask = np.zeros((*SHAPE[:3], 1), np.float32)
    mask[:, 5:7, 7:10] = 1
    z, _ = iterative.minimise(
        data_terms.Inpaint(tf.where(mask > 0, np.nan, clean), tf.constant(mask)),
        priors.TotalVariation(1.0),
        schedule=iterative.constant_schedule(100.0, 10),
        algorithm="admm",
    )
    known = np.broadcast_to(mask == 0, SHAPE)
    np.testing.assert_array_equal(z.numpy()[known], clean.numpy()[known])
    np.testing.assert_allclose(z, clean, atol=1e-3)


def test_a_batch_is_restored_as_its_images_are():
    y = _noisy(_cartoon(), 0.05)
    for circular in (True, False):
        together, alone = (
            iterative.minimise(
                data_terms.Deblur(part, _kernel(), 0.05, circular),
                priors.Sparse(),
                schedule=iterative.plug_and_play_schedule(0.05, 4),
            )[0]
            for part in (y, y[1:])
        )
        assert together.shape == y.shape
        np.testing.assert_allclose(together[1:], alone, atol=1e-5)


@pytest.mark.parametrize(("channels", "share"), [(1, 0.8), (3, 1.1)])
def test_tv_denoising_is_scikit_images(channels, share):
    y = _noisy(_cartoon((1, 15, 18, channels)), 0.1)
    if channels == 3:
        # Three equal channels share their edges: |(g, g, g)| = sqrt(3) |g|.
        y, share = tf.repeat(y[..., :1], 3, axis=-1), share / 3**0.5
    expected = peer.denoise_tv_chambolle(
        y.numpy()[0, ..., 0].astype(float),
        weight=share * 0.1,
        eps=1e-12,
        max_num_iter=20_000,
    )
    z = iterative.tv_denoise(y, 0.1)
    for channel in range(channels):
        assert _rms(z[0, ..., channel] - expected) < 1e-3


@pytest.mark.parametrize(("sigma", "weight"), [(0.0, 1.0), (0.1, 11.0)])
def test_tv_inpainting_is_the_minimum_of_its_objective(sigma, weight):
    y = _noisy(_cartoon(), sigma)
    mask = np.float32(np.random.default_rng(0).random((*SHAPE[:3], 1)) < 0.3)
    z, record = iterative.tv_inpaint(tf.where(mask > 0, np.nan, y), mask, sigma)
    assert [each["iteration"] for each in record] == list(range(1, 31))
    data, prior = data_terms.Inpaint(y, mask, sigma), priors.TotalVariation(weight)
    exact, _ = iterative.minimise(
        data,
        priors.TotalVariation(weight, 1e-5),
        schedule=iterative.constant_schedule(20.0 * weight, 100),
        algorithm="admm",
    )
    assert _rms(z - exact) < 0.02
    found, least = (
        prior.objective(x) + data_terms.objective(data, x) for x in (z, exact)
    )
    assert least * (1 - 1e-4) < found < 1.01 * least


def test_tv_deblurring_is_the_minimum_of_its_objective():
    scene = _cartoon((2, 15, 18, 1))
    blurred = scipy.ndimage.convolve(scene, _kernel()[None, ..., None], mode="wrap")
    y, sigma = _noisy(blurred, 0.02), 0.02
    z, record = iterative.tv_deblur(y, _kernel(), sigma)
    assert [each["iteration"] for each in record] == list(range(1, 11))
    weight = 0.42 * sigma ** (-2 / 3)
    same, _ = iterative.tv_deblur(y, _kernel(), sigma, weight)
    np.testing.assert_array_equal(z, same)
    exact, _ = iterative.minimise(
        data_terms.Deblur(y, _kernel(), sigma),
        priors.TotalVariation(weight, 1e-5),
        schedule=iterative.constant_schedule(0.1 / sigma**2, 100),
        algorithm="admm",
    )
    assert _rms(z - exact) < 0.008
    assert _rms(z - scene) < 0.03 < 0.08 < _rms(y - scene)


def test_tv_deblurring_weighs_shared_edges_by_their_length():
    # Three equal channels: sqrt(3) |(g, g, g)| = 3 |g|, so each is deblurred alike.
    y = _noisy(_cartoon((1, 15, 18, 1)), 0.02)
    alone, _ = iterative.tv_deblur(y, _kernel(), 0.02)
    together, _ = iterative.tv_deblur(tf.repeat(y, 3, axis=-1), _kernel(), 0.02)
    np.testing.assert_allclose(together, np.repeat(alone, 3, axis=-1), atol=2e-3)


def test_borders_are_deblurred_like_the_interior():
    # A view of a larger scene: light comes into it from what it does not show.
    rows, columns = np.mgrid[:110, :120] / 14
    scene = 0.5 + 0.2 * np.sign(np.sin(rows + columns)) + 0.2 * np.cos(rows - columns)
    kernel = np.random.default_rng(0).uniform(size=(7, 9)) ** 3
    kernel /= kernel.sum()
    view = np.s_[12:-12, 12:-12]
    y = _noisy(scipy.ndimage.convolve(scene, kernel), 0.01)[view][None, ..., None]
    border = np.ones(scene[view].shape, bool)
    border[8:-8, 8:-8] = False

    def error(circular):
        z, _ = iterative.tv_deblur(y, kernel, 0.01, circular=circular)
        difference = z.numpy()[0, ..., 0] - scene[view]
        return _rms(difference[border]), _rms(difference[~border])

    outside, inside = error(circular=False)
    assert outside < 1.5 * inside < 0.04
    assert error(circular=True)[0] > 3 * outside


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": [(1.0, 0.1)], "algorithm": "ista"}, "there are hqs, admm"),
        ({"schedule": []}, "no iteration"),
    ],
)
def test_bad_calls_are_refused(arguments, message):
    data = data_terms.Denoise(_noisy(_cartoon(), 0.1), 0.1)
    with pytest.raises(errors.InputError, match=message):
        iterative.minimise(data, priors.Sparse(), **arguments)


@pytest.mark.parametrize("arguments", [(0.0,), (0.1, 0), (float("nan"), 8)])
def test_bad_schedules_are_refused(arguments):
    with pytest.raises(errors.InputError, match="all must be positive"):
        iterative.plug_and_play_schedule(*arguments)


def test_deblurring_without_noise_is_refused():
    with pytest.raises(errors.InputError, match="sigma is 0.0"):
        iterative.tv_deblur(_noisy(_cartoon(), 0.1), _kernel(), 0.0)
