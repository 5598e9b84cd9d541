import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from restoration import networks, pretrained

METHODS = ("learned", "pull_push", "sparse", "total_variation")
DENOISERS = ("learned", "sparse", "ksvd", "sliding_dct", "total_variation")


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def smooth(*shape):
    """A picture that every method can restore: slow waves."""
    rows, columns = np.indices(shape[:2])
    wave = 128 + 90 * np.sin(rows / 9) * np.cos(columns / 7)
    return wave if len(shape) == 2 else wave[..., None] * np.array([1.0, 0.8, 0.6])


def write(path, array, **options):
    picture = Image.fromarray(np.uint8(np.clip(np.rint(array), 0, 255)))
    picture.save(path, **options)


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def hole(*shape):
    mask = np.zeros(shape, np.uint8)
    mask[5:11, 8:14] = 255
    return mask


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Channels -> file of an untrained restorer, which is the identity."""
    folder, files = tmp_path_factory.mktemp("models"), {}
    for channels in (1, 3):
        network = networks.restorer(channels, widths=(4, 4), blocks=1)
        files[channels] = folder / f"{channels}.restorer.npz"
        pretrained.save(network, files[channels], {})
    return files


@pytest.fixture
def run(command, models, contents, tmp_path):
    """Runs a command in which {o} is the test's folder, {1} and {3} are models."""

    def do(line):
        words = line.replace("{1}", str(models[1])).replace("{3}", str(models[3]))
        script, *given = words.replace("{o}", str(tmp_path)).split()
        inputs = contents(tmp_path)
        done = command(script, *given)
        assert (done.returncode, done.stderr) == (0, "")
        now = contents(tmp_path)
        assert {name: now[name] for name in inputs} == inputs
        return done.stdout.splitlines()

    return do


# --- inpaint -------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_inpaint_fills_holes_and_keeps_known_pixels(run, tmp_path, method, shape):
    truth, mask = smooth(*shape), hole(20, 30)
    damaged = np.where((mask if len(shape) == 2 else mask[..., None]) > 0, 255, truth)
    write(tmp_path / "photo.png", damaged)
    write(tmp_path / "mask.png", mask)
    model = f" --model={{{len(shape) // 3 * 2 + 1}}}" if method == "learned" else ""
    line = "inpaint --input={o}/photo.png --mask={o}/mask.png --output={o}/new.png"
    (shown,) = run(f"{line} --method={method}{model}")
    kind = "grey" if len(shape) == 2 else "colour"
    about = f"photo.png: 30x20 {kind}, 8 bits, 6.00% missing"
    assert re.fullmatch(rf"{about}; \d+\.\d s -> {tmp_path}/new.png", shown)
    restored = read(tmp_path / "new.png")
    assert restored.shape == shape
    np.testing.assert_array_equal(restored[mask == 0], np.rint(truth[mask == 0]))
    assert np.abs(restored - truth).max() < 40
    beside = {"new_convergence.png"} if method == "total_variation" else set()
    expected = {"new.png", "new_before_after.png"} | beside
    assert {p.name for p in tmp_path.glob("new*")} == expected


def test_an_untrained_restorer_leaves_holes_as_they_were_filled(run, tmp_path):
    write(tmp_path / "photo.png", noise(20, 30, 3))
    write(tmp_path / "mask.png", hole(20, 30))
    line = "inpaint --input={o}/photo.png --mask={o}/mask.png --nostrip"
    run(f"{line} --output={{o}}/filled.png --method=pull_push")
    run(f"{line} --output={{o}}/learned.png --model={{3}}")
    run(f"{line} --output={{o}}/mean.png --model={{3}} --ensemble")
    assert len(list(tmp_path.iterdir())) == 5
    filled = read(tmp_path / "filled.png")
    np.testing.assert_array_equal(read(tmp_path / "learned.png"), filled)
    # The fillings of the turned pictures differ a little.
    mean = read(tmp_path / "mean.png")
    np.testing.assert_array_equal(mean[hole(20, 30) == 0], filled[hole(20, 30) == 0])
    assert 0 < np.abs(mean - np.float64(filled)).max() < 60


def test_transparent_pixels_are_the_mask_and_become_opaque(run, tmp_path):
    truth, mask = np.uint8(np.rint(smooth(20, 30, 3))), hole(20, 30)
    write(tmp_path / "photo.png", np.dstack([truth, 255 - mask]))
    line = "inpaint --method=pull_push --mask_alpha --input={o}/photo.png --output={o}/"
    (shown,) = run(line + "new.png")
    assert ", 6.00% missing;" in shown
    restored = read(tmp_path / "new.png")
    assert restored.shape == truth.shape
    np.testing.assert_array_equal(restored[mask == 0], truth[mask == 0])
    (shown,) = run(line + "inverted.png --mask_invert")
    assert ", 94.00% missing;" in shown
    restored = read(tmp_path / "inverted.png")
    np.testing.assert_array_equal(restored[mask > 0], truth[mask > 0])


def test_16_bits_and_transparency_are_kept(run, tmp_path):
    picture = np.random.default_rng(0).integers(0, 2**16, (20, 30, 4), np.uint16)
    tifffile.imwrite(
        tmp_path / "photo.tif", picture, photometric="rgb", extrasamples=["unassalpha"]
    )
    write(tmp_path / "mask.png", hole(20, 30))
    line = "inpaint --method=pull_push --mask={o}/mask.png --input={o}/photo.tif"
    (shown,) = run(f"{line} --output={{o}}/new.tif")
    assert shown.startswith("photo.tif: 30x20 colour, 16 bits, 6.00% missing")
    restored, known = tifffile.imread(tmp_path / "new.tif"), hole(20, 30) == 0
    np.testing.assert_array_equal(restored[known], picture[known])
    np.testing.assert_array_equal(restored[..., 3], picture[..., 3])
    note, _ = run(f"{line} --nostrip --output={{o}}/new.webp")
    assert note.endswith("new.webp: 16 bits reduced to 8; .png and .tif keep them")


# --- folders -------------------------------------------------------------------------


def test_a_folder_is_restored_with_the_masks_that_lie_in_it(run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.jpg", "c.gif"):
        write(folder / name, noise(20, 30))
    for name in ("a_mask.png", "b_mask.bmp", "c_mask.png"):
        write(folder / name, hole(20, 30))
    write(folder / "a_before_after.png", noise(20, 30))
    (folder / "notes.txt").write_text("notes")
    line = "inpaint --method=pull_push --input={o}/in --mask={o}/in --output={o}/x/out"
    note, *lines = run(line)
    assert note == "note: JPEG loses a little at every saving; .png keeps everything"
    heads = [each.partition(":")[0] for each in lines]
    assert heads == ["[1/3] a.png", "[2/3] b.jpg", "note", "[3/3] c.gif"]
    assert "the palette of greys becomes grey" in lines[2]
    out = tmp_path / "x" / "out"
    strips = {f"{name}_before_after.png" for name in "abc"}
    assert {p.name for p in out.iterdir()} == {"a.png", "b.jpg", "c.png", *strips}
    assert (out / "b.jpg").read_bytes().startswith(b"\xff\xd8\xff")
    # Its own output is no input of the next run, but may be replaced on demand.
    lines = run(
        "inpaint --method=pull_push --input={o}/x/out --mask={o}/in "
        "--output={o}/again --nostrip"
    )
    assert [p.name for p in sorted((tmp_path / "again").iterdir())] == [
        "a.png",
        "b.jpg",
        "c.png",
    ]


def test_masks_in_a_folder_may_have_the_names_of_the_pictures(run, tmp_path):
    for name, array in (("in", noise(20, 30)), ("masks", hole(20, 30))):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.png", array)
    (tmp_path / "out").mkdir()
    line = "inpaint --method=pull_push --mask={o}/masks --nostrip"
    run(f"{line} --input={{o}}/in --output={{o}}/out")
    # A single picture goes into a folder that exists.
    (tmp_path / "other").mkdir()
    run(f"{line} --input={{o}}/in/a.png --output={{o}}/other")
    restored = [read(tmp_path / name / "a.png") for name in ("out", "other")]
    np.testing.assert_array_equal(*restored)


def test_overwrite_replaces_the_outputs_only(command, tmp_path, contents):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.png", noise(20, 30))
    (tmp_path / "out").mkdir()
    for name in ("a.png", "a_before_after.png", "mine.png"):
        (tmp_path / "out" / name).write_text("mine")
    before = contents(tmp_path)
    line = f"--method=sliding_dct --sigma=9 --input={tmp_path}/in --overwrite"
    done = command("denoise", *line.split(), f"--output={tmp_path}/out")
    assert (done.returncode, done.stderr) == (0, "")
    now = contents(tmp_path)
    changed = {name for name in now if now[name] != before.get(name)}
    assert changed == {"out/a.png", "out/a_before_after.png"}


# --- denoise, deblur, restore --------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "channels"),
    [*((each, 1) for each in DENOISERS), *((each, 3) for each in DENOISERS[:2])],
)
def test_denoise_brings_pictures_nearer_to_the_truth(run, tmp_path, method, channels):
    truth = smooth(40, 52) if channels == 1 else smooth(40, 52, 3)
    noisy = truth + np.random.default_rng(0).normal(0, 20, truth.shape)
    write(tmp_path / "noisy.png", noisy)
    model = f" --model={{{channels}}}" if method == "learned" else ""
    line = "denoise --input={o}/noisy.png --output={o}/clean.png --sigma=20"
    (shown,) = run(f"{line} --method={method}{model}")
    assert ", 8 bits, noise 20 of 255 (given); " in shown
    before, after = read(tmp_path / "noisy.png"), read(tmp_path / "clean.png")
    if method == "learned":
        np.testing.assert_array_equal(after, before)
    else:
        errors = [np.abs(np.float64(each) - truth).mean() for each in (before, after)]
        assert errors[1] < 0.5 * errors[0]


def test_the_noise_level_is_estimated(run, tmp_path):
    noisy = smooth(80, 96) + np.random.default_rng(0).normal(0, 15, (80, 96))
    write(tmp_path / "noisy.png", noisy)
    line = "denoise --input={o}/noisy.png --output={o}/clean.png --method=sliding_dct"
    (shown,) = run(line)
    found = re.search(r", noise ([\d.]+) of 255 \(estimated\)", shown)
    assert float(found[1]) == pytest.approx(15, rel=0.15)


def test_pictures_without_noise_come_back_as_they_are(run, tmp_path):
    write(tmp_path / "photo.png", noise(20, 30, 3))
    lines = [f"denoise --method={method}" for method in DENOISERS[1:]]
    lines += ["restore --model={3}", "restore --method=total_variation"]
    for number, line in enumerate(lines):
        line += f" --sigma=0 --nostrip --output={{o}}/{number}.png"
        run(f"{line} --input={{o}}/photo.png")
        restored = read(tmp_path / f"{number}.png")
        np.testing.assert_array_equal(restored, read(tmp_path / "photo.png"))


@pytest.mark.parametrize("method", ["learned", "sparse", "total_variation"])
def test_deblur_sharpens(run, tmp_path, method):
    truth = 200.0 * (np.indices((40, 52)).sum(axis=0) // 13 % 2) + 20
    kernel = np.full(5, 0.2)
    wide = np.pad(truth, ((0, 0), (2, 2)), mode="edge")
    blurred = np.stack([np.convolve(row, kernel, "valid") for row in wide])
    write(tmp_path / "blurred.png", blurred)
    np.savez(tmp_path / "kernels.npz", k1=kernel[None])
    line = "deblur --input={o}/blurred.png --output={o}/sharp.png --sigma=1"
    line += " --kernel={o}/kernels.npz:k1"
    model = " --model={1}" if method == "learned" else ""
    (shown,) = run(f"{line} --method={method}{model}")
    assert ", kernel 5x1, noise 1 of 255 (given); " in shown
    errors = [
        np.abs(read(tmp_path / name)[4:-4, 4:-4] - truth[4:-4, 4:-4]).mean()
        for name in ("blurred.png", "sharp.png")
    ]
    assert errors[1] < 0.6 * errors[0]


def test_a_kernel_of_one_pixel_changes_nothing(run, tmp_path):
    write(tmp_path / "photo.png", noise(20, 30, 3))
    np.save(tmp_path / "kernel.npy", np.ones((1, 1)))
    line = "deblur --input={o}/photo.png --output={o}/same.png --model={3} --sigma=0"
    run(f"{line} --kernel={{o}}/kernel.npy")
    same = read(tmp_path / "same.png")
    np.testing.assert_array_equal(same, read(tmp_path / "photo.png"))


# --- sizes and kinds -----------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (70, 1)])
@pytest.mark.parametrize(
    "line",
    [
        *(f"denoise --method={method} --sigma=9" for method in DENOISERS),
        *(f"inpaint --method={method} --mask={{o}}/mask.png" for method in METHODS),
        "restore",
        "denoise --sigma=auto",
    ],
)
def test_pictures_of_any_size_are_restored(run, tmp_path, line, shape):
    if "inpaint" in line and shape == (1, 1):
        shape = (2, 1)
    write(tmp_path / "photo.png", noise(*shape))
    mask = np.zeros(shape, np.uint8)
    mask.flat[-1] = 255
    write(tmp_path / "mask.png", mask)
    method = re.search(r"--method=(\w+)", line)
    model = " --model={1}" if not method or method[1] == "learned" else ""
    run(f"{line}{model} --input={{o}}/photo.png --output={{o}}/new.png")
    assert read(tmp_path / "new.png").shape == shape


def test_long_pictures_palettes_and_cmyk_are_restored(run, tmp_path):
    write(tmp_path / "long.png", noise(1, 5000))
    write(tmp_path / "tall.png", noise(5000, 1))
    Image.fromarray(noise(20, 30, 3)).convert("CMYK").save(tmp_path / "cmyk.tif")
    Image.fromarray(noise(20, 30, 3)).convert("P").save(tmp_path / "palette.png")
    for name, size, changed in (
        ("long.png", "5000x1 grey", ""),
        ("tall.png", "1x5000 grey", ""),
        ("cmyk.tif", "30x20 colour", "CMYK becomes RGB, without its colour profile"),
        ("palette.png", "30x20 colour", "the palette becomes RGB of 8 bits"),
    ):
        line = f"denoise --sigma=5 --method=sliding_dct --input={{o}}/{name}"
        *notes, shown = run(f"{line} --output={{o}}/new_{name}")
        assert shown.startswith(f"{name}: {size}, 8 bits")
        place = tmp_path / f"new_{name}"
        assert notes == [f"note: {place}: {changed}"] * bool(changed)
    assert read(tmp_path / "new_cmyk.tif").shape == (20, 30, 3)
