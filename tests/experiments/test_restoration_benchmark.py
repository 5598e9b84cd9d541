"""The restoration benchmark's rows, its bars and its damages."""

import numpy as np
import pytest

from experiments.support import (
    restoration_methods,
    restoration_published,
    restoration_tests,
)


def test_published_bars_stand_beside_what_was_measured():
    key = "bsd68-noise-25", "unrolled sparse"
    assert restoration_published.table({key: 28.801, ("x", "y"): 1.0}) == [
        "| PSNR (dB) | method | measured | classical peer, published | floor | goal |",
        "|---|---|---|---|---|---|",
        "| bsd68-noise-25 | unrolled sparse | 28.80 | K-SVD 28.28, BM3D 28.57 | 28.75 "
        "| CDLNet 28.99 |",
    ]
    assert restoration_published.table({("x", "y"): 1.0}) == []
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
