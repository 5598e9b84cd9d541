"""What a person can get wrong when restoring pictures: one line, nothing destroyed."""

import errno
import os

import numpy as np
import pytest
import tifffile
from PIL import Image

from restoration import networks, pretrained


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture(scope="module")
def there(tmp_path_factory, material):
    """Pictures, masks, kernels and restorers, good and bad; never changed."""
    folder = tmp_path_factory.mktemp("there")
    photo, hole = noise(18, 24, 3), np.zeros((18, 24), np.uint8)
    hole[4:8, 5:12] = 255
    save(folder / "photo.png", photo)
    save(folder / "grey.png", photo[:, :, 0])
    save(folder / "alpha.png", np.dstack([photo, 255 - hole]))
    save(folder / "holes.png", hole)
    save(folder / "small.png", hole[:10])
    save(folder / "black.png", 0 * hole)
    save(folder / "white.png", 0 * hole + 255)
    for name in ("cut.png", "cut.jpg"):
        save(folder / name, noise(90, 80, 3))
        cut(folder / name)
    frames = [Image.fromarray(each) for each in noise(2, 18, 24)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "words.png").write_text("words")
    (folder / "empty.png").write_bytes(b"")
    float_ = noise(18, 24).astype(np.float32) / 255
    tifffile.imwrite(folder / "bright.tif", 2 * float_)
    float_[3, 4] = np.nan
    tifffile.imwrite(folder / "nan.tif", float_)
    for name in ("nothing", "masks", "some", "twins"):
        (folder / name).mkdir()
    (folder / "nothing" / "words.txt").write_text("words")
    save(folder / "masks" / "other_mask.png", hole)
    save(folder / "some" / "a.png", photo)
    save(folder / "some" / "b.jpg", noise(90, 80, 3))
    cut(folder / "some" / "b.jpg")
    save(folder / "some" / "c.jpg", photo)
    save(folder / "twins" / "a.png", photo)
    save(folder / "twins" / "a.jpg", photo)
    kernel = np.ones((3, 5)) / 15
    np.savez(folder / "kernels.npz", k1=kernel)
    for name, array in {
        "kernel": kernel,
        "negative": kernel - 0.1,
        "zero": 0 * kernel,
        "undefined": np.full((3, 3), np.nan),
        "large": np.ones((25, 25)),
        "cube": np.ones((3, 3, 3)),
    }.items():
        np.save(folder / f"{name}.npy", array)
    for name, channels in (("grey", 1), ("colour", 3)):
        network = networks.restorer(channels, widths=(4, 4), blocks=1)
        pretrained.save(network, folder / f"{name}.restorer.npz", {})
    noise_alone = folder / "noise_alone.restorer.npz"
    pretrained.save(network, noise_alone, {"damage": "noise"})
    content = (folder / "grey.restorer.npz").read_bytes()
    (folder / "cut.restorer.npz").write_bytes(content[: len(content) // 2])
    (folder / "tiny.gan.npz").write_bytes((material / "tiny.gan.npz").read_bytes())
    return folder


@pytest.fixture
def refused(command, contents, there, tmp_path):
    """Asserts that a command ends in one line that names things, changing nothing.

    In its words {t} is the folder `there` and {o} an empty one; also in the parts.
    """

    def check(line, *parts, status=2):
        before = contents(there), contents(tmp_path)
        script, *given = line.format(t=there, o=tmp_path).split()
        done = command(script, *given)
        assert done.returncode == status, done.stdout + done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        for part in parts:
            assert part.format(t=there, o=tmp_path) in line, line
        assert (contents(there), contents(tmp_path)) == before

    return check


# --- files and folders: status 2 -----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("none.png", ["{t}/none.png: no such picture or folder; check --input"]),
        ("nothing", ["{t}/nothing: holds no pictures (png, jpg"]),
        ("cut.png", ["{t}/cut.png: broken picture"]),
        ("cut.jpg", ["{t}/cut.jpg: broken picture"]),
        ("moving.gif", ["moving.gif: holds several pictures"]),
        ("words.png", ["words.png: not a picture"]),
        ("empty.png", ["empty.png: not a picture"]),
        ("nan.tif", ["nan.tif: holds values that are no numbers"]),
        ("bright.tif", ["bright.tif: float values from 0 to 2; scale them"]),
        ("kernel.npy", ["kernel.npy: not a picture"]),
    ],
)
def test_pictures_that_cannot_be_read_are_refused(refused, name, parts):
    refused(
        f"denoise --method=sliding_dct --input={{t}}/{name} --output={{o}}/b.png",
        *parts,
    )


@pytest.mark.parametrize(
    ("mask", "parts"),
    [
        ("none.png", ["none.png: no such picture file"]),
        ("words.png", ["words.png: not a picture"]),
        ("small.png", ["small.png: mask is 24x10", "the picture 24x18"]),
        ("black.png", ["black.png: mask marks 0% of the pixels", "invert"]),
        ("white.png", ["white.png: mask marks 100% of the pixels", "invert"]),
        ("masks", ["photo.png: {t}/masks holds no mask", "add photo_mask.png there"]),
        ("nothing", ["photo.png: {t}/nothing holds no mask for it"]),
    ],
)
@pytest.mark.parametrize("script", ["inpaint --method=pull_push", "restore"])
def test_masks_that_do_not_fit_are_refused(refused, script, mask, parts):
    line = f"{script} --input={{t}}/photo.png --mask={{t}}/{mask} --output={{o}}/b.png"
    refused(line, *parts)


def test_pictures_without_transparency_have_no_mask_in_it(refused):
    line = "inpaint --method=pull_push --mask_alpha --output={o}/b.png --input={t}"
    refused(f"{line}/photo.png", "photo.png: has no transparency to take a mask from")


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("--input={t}/photo.png --output={t}/photo.png", ["is an input", "--output"]),
        (
            "--input={t}/photo.png --output={t}/photo.png --overwrite",
            ["{t}/photo.png: is an input, which is never replaced"],
        ),
        ("--input={t}/some --output={t}/some", ["some/a.png: is an input"]),
        ("--input={t}/some --output={t}/some/../some", ["a.png: is an input"]),
        ("--input={t}/photo.png --output={t}", ["{t}/photo.png: is an input"]),
        ("--input={t}/photo.png --output={o}/no/b.png", ["{o}/no: no such folder"]),
        ("--input={t}/photo.png --output={o}/b.gif", ["b.gif: the suffix tells"]),
        ("--input={t}/photo.png --output={o}/b", ["{o}/b: the suffix tells"]),
        ("--input={t}/alpha.png --output={o}/b.jpg", ["b.jpg: JPEG holds no", ".png"]),
        ("--input={t}/some --output={o}/b.png", ["b.png: names a file", "a folder"]),
        ("--input={t}/some --output={t}/words.png", ["names a file, but --input is"]),
        (
            "--input={t}/some --output={t}/kernels.npz",
            ["kernels.npz: this folder cannot be made (", "give another --output"],
        ),
        (
            "--input={t}/some --output={t}/kernels.npz/below",
            ["below: this folder cannot be made (Not a directory)"],
        ),
        ("--input={t}/photo.png --output={t}/grey.png", ["exists already; add --over"]),
        (
            "--input={t}/twins --output={o}",
            ["a_before_after.png: would be written 2 times", "rename them"],
        ),
    ],
)
def test_outputs_that_would_destroy_or_cannot_hold_are_refused(refused, line, parts):
    refused(f"denoise --method=sliding_dct {line}", *parts)


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOSPC, errno.EROFS])
def test_an_output_that_cannot_be_written_leaves_nothing(refused, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", refuse)
    line = "denoise --method=sliding_dct --input={t}/photo.png --output={o}/b.png"
    refused(line, f"b.png: cannot be written ({os.strerror(code)})")


def test_existing_outputs_are_all_counted_before_the_work(refused, tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("a.png", "c.jpg", "c_before_after.png"):
        (tmp_path / "out" / name).write_text("mine")
    line = "denoise --method=sliding_dct --input={t}/some --output={o}/out"
    refused(line, "out/a.png: exists already (and 2 more); add --overwrite")


# --- networks and kernels ------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("restorer_grey", ["no restorer 'restorer_grey'", "nor one of"]),
        ("{t}/photo.png", ["photo.png: not a readable .npz archive"]),
        ("{t}/cut.restorer.npz", ["cut.restorer.npz: not a readable .npz archive"]),
        ("{t}/tiny.gan.npz", ["tiny.gan.npz holds no restorer but"]),
        ("{t}/some", ["some is no finished restoration run"]),
        ("{t}/kernels.npz", ["kernels.npz: not an archive of models"]),
        (
            "{t}/grey.restorer.npz",
            ["photo.png: a colour picture", "for grey ones", "--model=restorer_color"],
        ),
    ],
)
@pytest.mark.parametrize("script", ["denoise", "deblur --kernel={t}/kernel.npy"])
def test_models_that_do_not_serve_are_refused(refused, script, model, parts):
    line = f"{script} --input={{t}}/photo.png --output={{o}}/b.png --model={model}"
    refused(line, *parts)


@pytest.mark.parametrize(
    ("kernel", "parts"),
    [
        ("none.npy", ["none.npy: no such file"]),
        ("words.png", ["words.png: not a picture"]),
        ("kernels.npz", ["kernels.npz: name an array of the archive"]),
        ("kernels.npz:k9", ["kernels.npz: has no array 'k9'; there are k1"]),
        ("negative.npy", ["negative.npy: smallest value -0.03"]),
        ("zero.npy", ["zero.npy: smallest value 0, sum 0"]),
        ("undefined.npy", ["undefined.npy", "finite"]),
        ("cube.npy", ["cube.npy", "[h, w]"]),
        ("large.npy", ["photo.png: ", "kernel", "larger than the image"]),
    ],
)
def test_kernels_that_are_none_are_refused(refused, kernel, parts):
    line = "deblur --method=total_variation --input={t}/photo.png --output={o}/b.png"
    refused(f"{line} --kernel={{t}}/{kernel}", *parts)


@pytest.mark.parametrize("script", ["inpaint", "restore"])
def test_a_network_trained_on_noise_alone_fills_no_holes(refused, script):
    line = f"{script} --model={{t}}/noise_alone.restorer.npz --output={{o}}/b.png"
    line += " --input={t}/photo.png --mask={t}/masks/other_mask.png"
    refused(line, "trained on noise alone", "use --model=restorer_gray or")


# --- folders -----------------------------------------------------------------------


def test_a_folder_goes_on_past_a_bad_picture(command, contents, there, tmp_path):
    before = contents(there)
    line = f"--input={there}/some --output={tmp_path}/new/out"
    done = command("denoise", "--method=sliding_dct", *line.split())
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first.startswith(f"error: {there}/some/b.jpg: broken picture")
    assert last == "error: 2 of 3 pictures restored, not b.jpg"
    strips = {"a_before_after.png", "c_before_after.png"}
    assert contents(tmp_path / "new" / "out").keys() == {"a.png", "c.jpg"} | strips
    assert "[3/3] c.jpg: 24x18 colour, 8 bits" in done.stdout
    assert contents(there) == before


def test_a_folder_of_which_nothing_can_be_restored_makes_none(
    command, contents, there, tmp_path
):
    line = f"--input={there}/some --output={tmp_path}/new/out --mask={there}/masks"
    done = command("inpaint", "--method=pull_push", *line.split())
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert lines[-1] == "error: 0 of 3 pictures restored, not a.png, b.jpg, c.jpg"
    assert contents(tmp_path) == {}
