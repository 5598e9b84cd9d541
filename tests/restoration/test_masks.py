import numpy as np
import pytest

from gan_transfer import errors
from restoration import masks

DRAWN = (masks.strokes, masks.blocks, masks.text, masks.scratches, masks.dirt)
EXACT = (masks.random_pixels, masks.blobs)


def draw(kind, shape=(40, 60), share=0.1, seed=0):
    return kind(shape, share, np.random.default_rng(seed))


def thickness(mask):
    """Share of the missing pixels whose four neighbours are missing too."""
    plane = mask[:, :, 0]
    inner = plane[1:-1, 1:-1] * plane[:-2, 1:-1] * plane[2:, 1:-1]
    inner *= plane[1:-1, :-2] * plane[1:-1, 2:]
    return inner.sum() / plane[1:-1, 1:-1].sum()


@pytest.mark.parametrize("kind", DRAWN + EXACT)
def test_masks_are_zero_or_one_and_fixed_by_the_generator(kind):
    mask = draw(kind)
    assert mask.shape == (40, 60, 1) and mask.dtype == np.float32
    assert set(np.unique(mask)) == {0, 1}
    np.testing.assert_array_equal(mask, draw(kind))
    assert (mask != draw(kind, seed=1)).any()


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("share", [0, 0.07, 0.5, 1])
def test_counted_kinds_lose_exactly_the_share(kind, share):
    assert draw(kind, (7, 9), share).sum() == round(share * 63)


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("share", [0.02, 0.2])
def test_drawn_kinds_lose_at_least_the_share(kind, share):
    lost = [draw(kind, (90, 130), share, seed).mean() for seed in range(8)]
    assert min(lost) >= share - 0.5 / (90 * 130)
    # One mark covers at most the largest block, (0.33)^2 = 11 %.
    assert np.mean(lost) < share + 0.06
    assert draw(kind, share=0).sum() == 0


@pytest.mark.parametrize("kind", DRAWN + EXACT)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (5, 2)])
def test_tiny_pictures_have_masks(kind, shape):
    assert draw(kind, shape, 0.9).sum() >= round(0.9 * shape[0] * shape[1])


def test_random_pixels_are_spread_evenly():
    mask = draw(masks.random_pixels, (200, 300), 0.3)
    assert thickness(mask) == pytest.approx(0.3**4, abs=0.002)
    assert mask[:100].sum() == pytest.approx(mask[100:].sum(), rel=0.05)


def test_shapes_are_connected_and_thick_ones_more_than_thin_ones():
    shape, share = (128, 160), 0.1
    thick_share = {k: thickness(draw(k, shape, share)) for k in DRAWN + EXACT}
    thick = min(
        thick_share[kind] for kind in (masks.strokes, masks.blocks, masks.blobs)
    )
    thin = max(thick_share[kind] for kind in (masks.text, masks.scratches, masks.dirt))
    assert thick > 0.7 > 0.5 > thin > 0.1 > thick_share[masks.random_pixels]


def test_a_block_is_a_full_rectangle():
    mask = draw(masks.blocks, (100, 140), 1e-4, seed=3)[:, :, 0]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert mask.sum() == len(rows) * len(columns)
    assert (np.diff(rows) == 1).all() and (np.diff(columns) == 1).all()


def test_bank_holds_all_shapes_with_shares_between_2_and_40_percent():
    bank = masks.bank(60, 48, seed=0)
    assert bank.shape == (60, 48, 48, 1) and bank.dtype == np.uint8
    assert set(np.unique(bank)) == {0, 1}
    shares = bank.mean(axis=(1, 2, 3))
    assert 0.02 <= shares.min() < 0.06 and 0.2 < shares.max() <= 0.4
    assert len(np.unique(bank.reshape(60, -1), axis=0)) == 60
    np.testing.assert_array_equal(bank[:7], masks.bank(7, 48, seed=0))
    assert (bank[0] != masks.bank(1, 48, seed=1)[0]).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw(masks.random_pixels, share=1.01), r"1.01 is not in \[0, 1\]"),
        (lambda: draw(masks.blobs, share=-0.1), r"-0.1 is not in \[0, 1\]"),
        (lambda: draw(masks.text, share=0.95), r"0.95 is not in \[0, 0.9\]"),
        (lambda: draw(masks.blobs, share=float("nan")), "nan is not in"),
        (lambda: draw(masks.dirt, shape=(0, 4)), r"\(0, 4\); give \(height, width\)"),
        (lambda: draw(masks.strokes, shape=(4, 4, 1)), "give .height, width."),
        (lambda: masks.bank(0, 32, 0), "at least 1 of at least 16"),
        (lambda: masks.bank(3, 15, 0), "at least 1 of at least 16"),
    ],
)
def test_impossible_masks_are_refused(call, message):
    with pytest.raises(errors.InputError, match=message):
        call()
