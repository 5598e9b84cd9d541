"""The restoration benchmark's rows, its bars and its damages."""

import pathlib
import subprocess
import sys
import zlib

import numpy as np
import pytest
from absl import flags

from experiments import benchmark_restoration
from experiments.support import (
    restoration_methods,
    restoration_published,
    restoration_tests,
)

ROOT = pathlib.Path(__file__).parents[2]


def test_the_perception_study_refuses_flags_without_tensorflow(tmp_path):
    words = ["-X", "importtime", "-m", "experiments.perception_study", "--test=x"]
    done = subprocess.run(
        [sys.executable, *words, f"--out_dir={tmp_path / 'run'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: --test=x: there are set12-noise-15" in done.stderr
    assert "absl.flags" in done.stderr and "tensorflow" not in done.stderr
    assert not any(tmp_path.iterdir())


def test_published_bars_stand_beside_what_was_measured():
    key = "bsd68-noise-25", "unrolled sparse"
    assert restoration_published.table({key: 28.801, ("x", "y"): 1.0}) == [
        "| PSNR (dB) | method | measured | classical peer, published or reference run "
        "| floor | goal |",
        "|---|---|---|---|---|---|",
        "| bsd68-noise-25 | unrolled sparse | 28.80 | K-SVD 28.28, BM3D 28.57 | 28.75 "
        "| CDLNet 28.99 |",
    ]
    assert restoration_published.table({("x", "y"): 1.0}) == []
    blur = "set12_small-blur-2.55"
    found = {(blur, "restorer"): 32.2, (blur, "total variation"): 30.541}
    assert restoration_published.table(found)[2:] == [
        f"| {blur} | restorer | 32.20 | total variation 30.54 | 32.54 |  |"
    ]
    for test, method in restoration_published.BARS:
        asked = restoration_tests.TESTS[test]
        assert restoration_methods.METHODS[method].fits(asked), (test, method)


def _case(test, channels):
    clean = np.full((24, 20, channels), 0.25, np.float32)
    mask = kernel = None
    if test.damage == "missing":
        mask = np.zeros((24, 20, 1), np.float32)
        mask[4:6, 3:9] = 1
    if test.damage == "blur":
        kernel = np.full((3, 5), 1 / 15)
    damaged = clean if mask is None else clean * (1 - mask)
    return restoration_tests.Case(clean, damaged, test.level / 255, mask, kernel)


@pytest.mark.parametrize(
    ("name", "tests"),
    [
        ("total variation", ("cbsd68-noise-15", "set12_small-missing-50")),
        ("total variation", ("set12_small-blur-2.55",)),
        ("patch sparse", ("set12_small-missing-50",)),
        ("masked omp", ("set12_small-missing-50",)),
        ("pull-push", ("set12_small-missing-50",)),
        ("sparse prior", ("set12_small-blur-2.55",)),
    ],
)
def test_classical_rows_restore_a_flat_picture(name, tests):
    method = restoration_methods.METHODS[name]
    for test in (restoration_tests.TESTS[each] for each in tests):
        assert method.fits(test)
        case = _case(test, test.channels)
        restored = method.run(case, None)
        assert restored.shape == case.clean.shape
        np.testing.assert_allclose(restored, case.clean, atol=2e-3)


def _cases(monkeypatch, name):
    """The first case of two equal grey pictures, after a look at the second."""
    clean = np.full((16, 12, 1), 0.75, np.float32)
    monkeypatch.setattr(restoration_tests, "pictures", lambda *_: [clean, clean])
    kernel = np.full((3, 5), 1 / 15)
    monkeypatch.setattr(restoration_tests, "_kernels", lambda: (kernel,) * 2)
    first, *_, last = restoration_tests.cases(restoration_tests.TESTS[name], None)
    np.testing.assert_array_equal(first.damaged, last.damaged)
    assert first.damaged.dtype == np.float32
    return first


def test_noise_of_the_tests_is_that_of_the_published_tables(monkeypatch):
    # The first standard normal numbers of RandomState(0).
    normal = np.array([1.76405235, 0.40015721, 0.97873798, 2.24089320])
    noisy = _cases(monkeypatch, "set12-noise-50")
    assert (noisy.sigma, noisy.mask) == (50 / 255, None)
    expected = 0.75 + normal * 50 / 255  # not clipped
    np.testing.assert_allclose(noisy.damaged[0, :4, 0], expected, rtol=1e-6)
    blurred = _cases(monkeypatch, "set12_small-blur-2.55")
    assert blurred.kernel.shape == (3, 5)
    expected = 0.75 + normal * 2.55 / 255
    np.testing.assert_allclose(blurred.damaged[0, :4, 0], expected, rtol=1e-6)


def test_pixels_of_the_tests_are_missing_and_struck_as_in_the_reference_runs(
    monkeypatch,
):
    holed = _cases(monkeypatch, "set12_small-missing-80")
    # The first uniform numbers of RandomState(0): 0.55 0.72 0.60 0.54 0.42 0.65 0.44
    # 0.89 0.96 0.38 0.79 0.53.
    missing = [1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(holed.mask[0, :, 0], missing)
    np.testing.assert_array_equal(holed.damaged, 0.75 * (1 - holed.mask))
    struck = _cases(monkeypatch, "set12_small-impulses-30").damaged
    assert struck[0, :, 0].tolist() == [0.75] * 7 + [1.0, 1.0] + [0.75] * 3
    assert zlib.crc32(holed.mask.astype(np.uint8)) == 2481989838
    assert zlib.crc32((2 * struck).astype(np.uint8)) == 2681576811


def test_every_new_shape_is_run_once_before_the_clock_starts(monkeypatch):
    shapes = [(4, 6, 1), (4, 6, 1), (6, 4, 1), (4, 6, 1)]
    cases = [
        restoration_tests.Case(*2 * [np.full(shape, 0.5, np.float32)], 0.1, None, None)
        for shape in shapes
    ]
    ran, clock = [], iter(range(100))
    monkeypatch.setattr(restoration_tests, "cases", lambda test, limit: cases)
    monkeypatch.setattr(benchmark_restoration.time, "perf_counter", lambda: next(clock))

    def run(case, network):
        ran.append(case.clean.shape)
        next(clock)
        return case.clean + 0.1

    method = restoration_methods.Method(("noise",), run)
    flags.FLAGS.mark_as_parsed()
    cell = benchmark_restoration._measure(
        restoration_tests.TESTS["set12-noise-25"], method, None
    )
    first, second = (4, 6, 1), (6, 4, 1)
    assert ran == [first, first, first, second, second, first]
    # Two ticks a picture: its start and its own.
    assert cell["seconds_per_megapixel"] == pytest.approx(1e6 * 2 * 4 / (4 * 24))
    assert cell["pictures"] == 4


def test_the_figure_says_what_is_missing_before_it_makes_a_folder(
    command, monkeypatch, tmp_path
):
    monkeypatch.setattr(restoration_methods.importlib.util, "find_spec", lambda n: None)
    done = command("restoration_figure", f"--out_dir={tmp_path}/run")
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert "the figure shows scikit-image tv, and skimage is not installed" in error
    assert not any(tmp_path.iterdir())
