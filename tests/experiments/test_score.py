import csv

import numpy as np
import pytest
from PIL import Image

from restoration import metrics


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture
def folders(tmp_path):
    """Originals and restored pictures, a strip and a mask beside them."""
    for name in ("truth", "restored"):
        (tmp_path / name).mkdir()
    for seed, folder in enumerate((tmp_path / "truth", tmp_path / "restored")):
        Image.fromarray(noise(seed, 14, 17)).save(folder / "grey.png")
        Image.fromarray(noise(seed + 2, 12, 19, 3)).save(folder / "colour.bmp")
    (tmp_path / "restored" / "colour.bmp").rename(tmp_path / "restored" / "colour.png")
    restored = tmp_path / "restored"
    for name in ("grey_before_after.png", "grey_mask.png"):
        Image.fromarray(noise(9, 5, 5)).save(restored / name)
    return tmp_path / "truth", restored


def numbers(row):
    return [float(each) for each in row if each]


def test_a_folder_is_scored_picture_by_picture_and_on_average(
    command, folders, tmp_path
):
    truth, restored = folders
    table = tmp_path / "scores.csv"
    line = f"--input={restored} --truth={truth} --output={table}"
    done = command("score", *line.split())
    assert (done.returncode, done.stderr) == (0, "")
    with open(table, newline="") as stream:
        header, colour, grey, mean = csv.reader(stream)
    names = ["psnr_rgb", "psnr_y", "ssim_rgb", "ssim_y"]
    assert header == ["file", "psnr_grey", "ssim_grey", *names]
    assert [row[0] for row in (colour, grey, mean)] == [
        "colour.png",
        "grey.png",
        "mean",
    ]
    pair = noise(2, 12, 19, 3), noise(3, 12, 19, 3)
    assert colour[1:3] == ["", ""] and grey[3:] == [""] * 4
    expected = [getattr(metrics, name)(*pair) for name in names]
    assert numbers(colour[3:]) == pytest.approx(expected, rel=1e-6)
    pair = noise(0, 14, 17, 1), noise(1, 14, 17, 1)
    expected = metrics.psnr_grey(*pair), metrics.ssim_grey(*pair)
    assert numbers(grey[1:]) == pytest.approx(expected, rel=1e-6)
    assert mean[1:] == grey[1:3] + colour[3:]
    shown = done.stdout.splitlines()
    assert shown[0].split() == header
    assert numbers(shown[2].split()[1:]) == pytest.approx(expected, abs=1e-2)
    assert shown[-1] == f"wrote {table}"
    assert {path.name for path in tmp_path.iterdir()} == {
        "truth",
        "restored",
        "scores.csv",
    }


def test_two_files_are_compared_without_a_mean(command, folders):
    truth = folders[0] / "colour.bmp"
    done = command("score", f"--input={truth}", f"--truth={truth}")
    assert (done.returncode, done.stderr) == (0, "")
    header, row, protocol = done.stdout.splitlines()
    assert row.split() == ["colour.bmp", "inf", "inf", "1.0000", "1.0000"]
    assert protocol.startswith("PSNR in dB over whole pictures, peak 255")


def test_a_picture_too_small_for_ssim_has_its_psnr(command, folders):
    line = "--input={0}/grey_mask.png --truth={0}/grey_mask.png".format(folders[1])
    done = command("score", *line.split())
    assert (done.returncode, done.stderr) == (0, "")
    header, row, _ = done.stdout.splitlines()
    assert header.split() == ["file", "psnr_grey"]
    assert row.split() == ["grey_mask.png", "inf"]


def test_a_perfect_picture_is_not_the_mean_and_missing_ones_are_named(
    command, folders, tmp_path
):
    truth, restored = folders
    for name in ("grey.png", "other.png"):
        Image.fromarray(noise(0, 14, 17)).save(truth / name)
    (restored / "colour.png").unlink()
    Image.fromarray(noise(0, 14, 17)).save(restored / "other.png")
    table = tmp_path / "scores.csv"
    done = command(
        "score", f"--input={restored}", f"--truth={truth}", f"--output={table}"
    )
    assert (done.returncode, done.stderr) == (0, "")
    psnr = metrics.psnr_grey(noise(0, 14, 17, 1), noise(1, 14, 17, 1))
    with open(table, newline="") as stream:
        _, grey, other, mean = csv.reader(stream)
    assert numbers(grey[1:2]) == pytest.approx([psnr])
    assert other[1] == "inf"
    assert numbers(mean[1:2]) == pytest.approx([(psnr + 100) / 2])
    assert (
        "note: 1 of 3 originals have no restored picture and do not count: colour"
        in (done.stdout)
    )


@pytest.fixture
def refused(command, folders, contents, tmp_path):
    """Asserts a refusal in one line; {t} and {r} are the folders, {o} theirs."""

    def check(line, *parts):
        (tmp_path / "empty").mkdir()
        before = contents(tmp_path)
        named = {"t": folders[0], "r": folders[1], "o": tmp_path}
        done = command("score", *line.format(**named).split())
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        for part in parts:
            assert part.format(**named) in line, line
        assert contents(tmp_path) == before

    return check


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("--input={t}/no.png --truth={t}/grey.png", ["no.png: no such picture"]),
        ("--input={t}/grey.png --truth={t}/no.png", ["no.png: no such picture"]),
        ("--input={t}/grey.png --truth={r}", ["one is a folder; compare two"]),
        ("--input={o}/empty --truth={t}", ["{o}/empty: holds no pictures"]),
        ("--input={t} --truth={o}/empty", ["{o}/empty: holds no pictures"]),
        ("--input={t}/grey.png --truth={t}/colour.bmp", ["{t}/grey.png: images of ("]),
        (
            "--input={t} --truth={r} --output={o}/a.txt",
            ["is written as .csv; name it so"],
        ),
        (
            "--input={t} --truth={r} --output={o}/no/a.csv",
            ["{o}/no: no such folder; create"],
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(refused, line, parts):
    refused(line, *parts)


def test_a_table_is_replaced_only_with_overwrite(command, folders, tmp_path):
    (tmp_path / "a.csv").write_text("mine")
    line = f"--input={folders[1]} --truth={folders[0]} --output={tmp_path}/a.csv"
    refused = command("score", *line.split())
    assert refused.returncode == 2 and "add --overwrite" in refused.stderr
    assert (tmp_path / "a.csv").read_text() == "mine"
    assert command("score", *line.split(), "--overwrite").returncode == 0
    assert (tmp_path / "a.csv").read_text().startswith("file,psnr_grey")


def test_pictures_without_an_original_are_named_and_the_others_scored(command, folders):
    truth, restored = folders
    (truth / "grey.png").unlink()
    done = command("score", f"--input={restored}", f"--truth={truth}")
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first == (
        f"error: {restored}/grey.png: {truth} holds 0 pictures called grey; there must "
        "be one"
    )
    assert last == "error: 1 of 2 pictures scored, not grey.png"
    assert "colour.png" in done.stdout and "mean" not in done.stdout
