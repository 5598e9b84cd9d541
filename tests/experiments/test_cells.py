"""Cells of the studies, and what the studies say of hand-written results."""

import math
import types

import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from experiments import systems_study
from experiments.support import cells, generalisation_report, ranking, systems
from gan_transfer import errors


def test_a_cell_that_refuses_its_input_says_so(tmp_path):
    cell = cells.Cell("broken", "pretrain", "mnist", ("--dataset=/no/such.npz",))
    for _ in range(2):
        with pytest.raises(errors.InputError, match="broken ended without a summary: "):
            cells.run(cell, tmp_path, 0.001, "[1/1]")
    # The log has what the script said, both times.
    log = (tmp_path / "broken.log").read_text()
    assert log.count("error: ") == log.count("/no/such.npz") == 2


def test_a_cell_that_diverges_at_once_is_kept_as_that(tmp_path, monkeypatch):
    ran = []

    def process(command, **kwargs):
        ran.append(command)
        (tmp_path / "wild").mkdir()  # as a run that trained
        line = "error: training diverged at update 3\n"
        return types.SimpleNamespace(stderr=line, returncode=2)

    monkeypatch.setattr(cells.subprocess, "run", process)
    cell = cells.Cell("wild", "pretrain", "mnist")
    for _ in range(2):
        found = cells.run(cell, tmp_path, 0.1, "[1/1]")
        assert found == {"outcome": "diverged", "scores": {}}
    assert len(ran) == 1


def test_cells_that_cannot_be_run_do_not_stop_the_study(tmp_path, monkeypatch, capsys):
    def run(cell, folder, scale, place):
        ran.append((cell.name, place, scale))
        if cell.name in broken:
            raise errors.InputError(f"{cell.name} ended without a summary: why")
        return {"name": cell.name}

    monkeypatch.setattr(cells, "run", run)
    planned = [
        ((seed, name), cells.Cell(f"{name}{seed}", "pretrain", "mnist"))
        for seed in (0, 1)
        for name in "ab"
    ]

    def study():
        ended, reports = [], []
        status = cells.run_all(
            planned,
            tmp_path,
            0.5,
            lambda key, cell, summary: ended.append((key, summary["name"])),
            lambda: reports.append(len(ended)),
        )
        return status, ended, reports

    ran, broken = [], {"b0"}
    status, ended, reports = study()
    assert status == 1
    assert ended == [((0, "a"), "a0"), ((1, "a"), "a1"), ((1, "b"), "b1")]
    assert reports == [1, 3]  # after either seed
    assert ran[1] == ("b0", "[2/4]", 0.5)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "error: b0 ended without a summary: why"
    assert last.startswith("error: 3 of 4 cells ended, not b0; mend")
    broken = {"a0", "b0"}
    assert study()[::2] == (1, [2])  # nothing to show of the first seed
    broken = set()
    assert study()[::2] == (0, [2, 4])
    broken = {cell.name for _, cell in planned}
    with pytest.raises(errors.InputError, match="no cell of the study could be run"):
        study()


def test_cpu_minutes_are_those_of_all_parts(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,cpu_seconds\n1,30\n2,90\n")
    assert cells.cpu_minutes(tmp_path) == 1.5
    assert math.isnan(cells.cpu_minutes(tmp_path / "none"))


def test_spread_outcomes_and_scores():
    assert cells.spread([1.0, 3.0]) == "2 ± 1.4"
    assert cells.spread([1.0, 3.0, float("nan")]) == "2 ± 1.4 (2 of 3)"
    assert cells.spread([2.5]) == "2.5"
    assert cells.spread([float("nan")]) == "-"
    runs = [
        {"outcome": "completed"},
        {"outcome": "collapsed"},
        {"outcome": "completed"},
    ]
    assert cells.outcomes(runs) == "2 completed, 1 collapsed"
    summary = {"scores": {"kcd_sd_mnist_10k": 1.0, "kcd_mnist_10k": 2.0}}
    assert cells.score(summary, "kcd") == 2.0


def test_the_ranking_counts_pairs_whose_seeds_lie_apart():
    def runs(images, *values):
        scores = [{"fcd_mnist_10k": x, "pca_mnist_10k": 2 - x} for x in values]
        return [{"scores": each, "images_shown": images} for each in scores]

    # Published on MNIST: wgan 6.7 < non_saturating 6.8 < lsgan 7.8 < wgan_gp 20.3.
    results = {
        ("non_saturating", "mnist"): runs(400, 3.0, 4.0),
        ("lsgan", "mnist"): runs(400, 3.5, 4.5),
        ("wgan", "mnist"): runs(80, 30.0, 40.0, math.nan),
        ("wgan_gp", "mnist"): runs(80, 10.0, 20.0),
        ("agan", "mnist"): runs(400, 1.0, 1.0),
        ("vae_matched", "fashion_mnist"): runs(400, 1.0),
    }
    header, _, *rows, empty, fcd, pca = ranking.report(results).splitlines()
    assert header == "| row, mnist | fcd | pca | FID, published | images shown |"
    assert rows == [
        "| non_saturating | 3.5 ± 0.71 | -1.5 ± 0.71 | 6.8 | 400 |",
        "| lsgan | 4 ± 0.71 | -2 ± 0.71 | 7.8 | 400 |",
        "| wgan_gp | 15 ± 7.1 | -13 ± 7.1 | 20.3 | 80 |",
        "| wgan | 35 ± 7.1 (2 of 3) | -33 ± 7.1 (2 of 3) | 6.7 | 80 |",
    ]
    # The run that diverged is behind all others, by its family's best ones or not.
    assert (empty, fcd, pca) == (
        "",
        "fcd: 2 of 6 pairs in the published order; the other way round: non_saturating "
        "and wgan, lsgan and wgan, wgan_gp and wgan; not told apart, seeds overlap: "
        "non_saturating and lsgan.",
        "pca: 0 of 6 pairs in the published order; the other way round: wgan_gp and "
        "lsgan, wgan_gp and non_saturating; not told apart, seeds overlap: wgan_gp and "
        "wgan, lsgan and non_saturating, lsgan and wgan, non_saturating and wgan.",
    )


@pytest.mark.parametrize("scale", [1.0, 0.2, 0.05])
def test_what_the_ranking_compares_is_shown_as_many_images(scale):
    shown = {}
    for name in ranking.PUBLISHED["mnist"]:
        row = systems.ROWS[name]
        cell = cells.Cell(name, row.script, row.flagfile)
        text = (cells.FLAGS / row.script / f"{row.flagfile}.flags").read_text()
        pairs = [line.lstrip("-").split("=") for line in text.splitlines()[1:]]
        given = {"batch_size": 64, "discriminator_steps": 1} | dict(pairs)
        steps = int(cell.lengths(scale)[0].removeprefix("--steps="))
        batch = int(given["batch_size"]) * int(given["discriminator_steps"])
        shown[name] = abs(steps * batch - 5500 * 64 * scale) / batch
    assert max(shown.values()) <= 0.5, shown  # updates


def test_rows_on_images_of_their_own_are_trained_once():
    absl_flags.FLAGS.mark_as_parsed()
    wanted = {"seeds": 2, "datasets": ["mnist", "fashion_mnist"], "data_dir": None}
    with flagsaver.flagsaver(**wanted):
        planned = list(systems_study._cells(["lsgan", "document_c"]))
    first, second = (
        [f"lsgan-{name}-seed{seed}" for name in wanted["datasets"]] for seed in (0, 1)
    )
    assert [cell.name for _, cell in planned] == [*first, "document_c-seed0", *second]


def test_the_verdict_needs_three_seeds_apart_in_every_measure():
    def runs(**measures):
        names, columns = zip(*measures.items(), strict=True)
        return [
            {"outcome": "completed"}
            | {f"{name}_pca": value for name, value in zip(names, row, strict=True)}
            for row in zip(*columns, strict=True)
        ]

    real = (0.4, 0.4, 0.4)
    same = {"gap": (1, 2, 3), "memorised": (0.5, 0.6, 0.7), "memorised_real": real}
    results = {
        ("100", "plain"): runs(test=(4, 5, 6), **same),
        ("100", "R1"): runs(test=(1, 2, 3), **same),
        ("100", "pruned"): runs(
            test=(7, 8, 9), gap=(0, 0, 0.5), memorised=(1, 1, 1), memorised_real=real
        ),
        # One of its runs was stopped: it is left out, and the others are not.
        ("100", "augmentation"): [
            *runs(test=(1, 2), gap=(0, 0)),
            {"outcome": "collapsed", "test_pca": 3, "gap_pca": 0},
        ],
        ("100", "half width"): runs(test=(3, 4.5, 7), **same),
        ("all", "plain"): runs(test=(4, 5), gap=(1, 2)),
        ("all", "R1"): runs(test=(1, 2), gap=(1, 2)),
    }
    assert generalisation_report.verdict(results, ["pca"]) == [
        "100 images, distance to the test images (pca) against plain (5), all seeds "
        "apart: better R1; worse pruned.",
        "100 images, gap from the training to the test images, where above 0 (pca) "
        "against plain (2), all seeds apart: better pruned; worse none.",
        "100 images, share memorised, where above that of real images (pca) against "
        "plain (0.2), all seeds apart: better none; worse pruned.",
        "These are 9 comparisons; of two rows that do not differ, 3 against 3 seeds "
        "lie apart in one of 10 cases.",
    ]
    for row in results.values():
        for found in row:
            found |= {
                name.removesuffix("pca") + "classifier": value
                for name, value in found.items()
                if name.endswith("_pca")
            }
    both = generalisation_report.verdict(results, ["classifier", "pca"])
    assert [line.count("(pca)") for line in both] == [0, 0, 0, 1, 1, 1, 0]
    assert both[0] == both[3].replace("(pca)", "(classifier)")
    # Who has learned nothing is no better for copying less than real images do.
    nothing = runs(
        test=(50, 60, 70), gap=(-9, -8, -7), memorised=(0, 0, 0), memorised_real=real
    )
    few = runs(
        test=(1, 2, 3), gap=(-1, 0, 0), memorised=(0.1, 0.4, 0.3), memorised_real=real
    )
    first, *others, _ = generalisation_report.verdict(
        {("100", "plain"): few, ("100", "two stages"): nothing}, ["pca"]
    )
    assert first.endswith("better none; worse two stages.")
    assert all(line.endswith("better none; worse none.") for line in others)
    del results["100", "plain"]
    (none,) = generalisation_report.verdict(results, ["pca"])
    assert none.startswith("No verdict: plain and another row need 3 whole runs")
