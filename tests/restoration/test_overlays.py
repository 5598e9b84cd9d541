import numpy as np
import pytest
from PIL import Image

from gan_transfer import errors
from restoration import overlays


def test_overlays_are_the_opacities_by_path(tmp_path):
    pixels = np.zeros((3, 5, 4), np.uint8)
    pixels[1, 2] = (255, 0, 0, 255)
    pixels[0, 4, 3] = 51
    (tmp_path / "dirt").mkdir()
    Image.fromarray(pixels).save(tmp_path / "dirt" / "one.png")
    found = overlays.read(tmp_path)
    assert list(found) == ["dirt/one.png"]
    expected = np.zeros((3, 5), np.float32)
    expected[1, 2], expected[0, 4] = 1, 0.2
    np.testing.assert_array_equal(found["dirt/one.png"], expected)
    assert found["dirt/one.png"].dtype == np.float32


def test_a_bank_of_opacities_takes_the_middle_and_enlarges_what_is_too_small():
    wide = np.zeros((20, 40), np.float32)
    wide[:, 10:30] = np.linspace(0.2, 1, 20)
    bank = overlays.bank([wide, np.full((30, 24), 0.4)], 11)
    assert bank.shape == (2, 20, 20, 1) and bank.dtype == np.uint8
    np.testing.assert_array_equal(bank[0, ..., 0], np.round(255 * wide[:, 10:30]))
    assert (bank[1] == 102).all()
    # No more than twice what is needed, however large they are.
    cut = overlays.bank([wide, np.full((30, 24), 0.4)], 8)
    np.testing.assert_array_equal(cut, bank[:, 2:18, 2:18])
    half = np.repeat([[0.0, 1.0]], 3, axis=0)
    grown = overlays.bank([half], 12)
    assert grown.shape == (1, 12, 12, 1)
    assert (grown[0, :, 0] == 0).all() and (grown[0, :, -1] == 255).all()
    assert (np.diff(grown[0, :, :, 0].astype(int)) >= 0).all()


def test_overlays_without_alpha_or_broken_are_refused(tmp_path):
    with pytest.raises(errors.InputError, match="holds no pictures"):
        overlays.read(tmp_path)
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 3)).save(path)
    with pytest.raises(errors.InputError, match="a.png: has no alpha channel"):
        overlays.read(tmp_path)
    Image.effect_noise((50, 50), 9).convert("RGBA").save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(errors.InputError, match="a.png"):
        overlays.read(tmp_path)
