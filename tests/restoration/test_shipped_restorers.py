"""What the shipped restorers are and do, on pictures that anyone can draw again."""

import functools
import hashlib
import re

import numpy as np
import pytest

from restoration import degradations, inference, metrics, pretrained, synthetic

SIGMA = 25 / 255
# Name -> channels, and the gain in dB over the noisy picture below; measured 7.05,
# 5.28, 7.19 and 5.28.
SHIPPED = {
    "restorer_color": (3, 7.0),
    "restorer_gray": (1, 5.2),
    "restorer_synthetic_color": (3, 7.1),
    "unrolled_sparse_gray": (1, 5.2),
}


@functools.cache
def load(name):
    return pretrained.load(name)


def test_what_is_shipped():
    assert pretrained.names() == sorted(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_size_and_sum_are_those_of_the_readme(name):
    content = (pretrained.WEIGHTS / f"{name}.restorer.npz").read_bytes()
    assert len(content) <= 3e6
    readme = (pretrained.WEIGHTS / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{name}\.restorer\.npz` \|.*$", readme, re.MULTILINE)
    *_, size, digest = row.strip("| ").split(" | ")
    assert digest == f"`{hashlib.sha256(content).hexdigest()}`"
    assert size == f"{len(content) / 1e6:.1f}"


@pytest.mark.parametrize(
    ("name", "channels", "gain"), [(k, *v) for k, v in SHIPPED.items()]
)
def test_noise_is_removed_as_well_as_when_it_was_shipped(name, channels, gain):
    clean = synthetic.dead_leaves(1, 160, channels=channels, seed=4)[0]
    rng = np.random.default_rng(0)
    noisy = degradations.gaussian_noise(clean / np.float32(255), SIGMA, rng)
    restored = inference.restore(load(name), noisy, sigma=SIGMA)
    psnr = metrics.psnr_rgb if channels == 3 else metrics.psnr_grey
    before, after = (psnr(clean, metrics.quantise(each)) for each in (noisy, restored))
    assert before + gain < after < before + gain + 0.2


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("holes", [False, True])
def test_tiles_are_the_whole_picture(name, holes):
    # Brighter from left to right: no two tiles have one mean.
    rng, channels = np.random.default_rng(0), SHIPPED[name][0]
    image = 0.3 * rng.random((300, 400, channels), np.float32)
    image += np.linspace(0, 0.7, 400, dtype=np.float32)[None, :, None]
    mask = rng.random((300, 400)) < 0.3 if holes else None
    whole = inference.restore(load(name), image, mask, SIGMA, tile=416)
    tiled = inference.restore(load(name), image, mask, SIGMA, tile=288)
    np.testing.assert_allclose(tiled, whole, atol=1e-5, rtol=0)
    means = [whole[:, part].mean() for part in (slice(0, 200), slice(200, 400))]
    assert means[1] - means[0] > 0.3
