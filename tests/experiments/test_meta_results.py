"""Verdicts of few-shot generation on hand-written measurements."""

import types

import numpy as np
import pytest

from experiments.support import (
    meta_adaptation,
    meta_restoration_report,
    meta_results,
    meta_stored,
    meta_study,
)

SETTINGS = types.SimpleNamespace(shots=(0, 5), adaptation=(0, 1, 10, 50))


def rows(method, means, part="bound"):
    """Values of four characters around a mean for 5 examples, by number of steps."""
    around = np.array([[-1.0, 1.0, -1.0, 1.0]])
    return {(part, method, 5, steps): mean + around for steps, mean in means.items()}


def test_verdicts_are_at_the_last_two_numbers_of_steps_for_both_sides():
    # At its own best number of steps, 1, pretraining would win both.
    values = rows("pretrain", {0: 9, 1: 2, 10: 8, 50: 9})
    values |= rows("maml", {0: 9, 1: 9, 10: 6, 50: 7})
    values |= rows("scratch", {0: 99, 1: 99, 10: 99, 50: 99})
    found = meta_results._verdicts(values, ["scratch", "pretrain", "maml"], SETTINGS)
    assert found == [
        f"- bound, 5 examples: maml ({steps} steps) is lower than pretrain "
        f"({steps} steps): -2.00 +- 0.00"
        for steps in (10, 50)
    ]


def test_several_trainings_are_told_one_by_one():
    values = {
        ("bound", method, 5, 50): np.array(means)[:, None] + [[-1.0, 1.0]]
        for method, means in (("pretrain", (8.0, 8.0)), ("maml", (7.0, 5.0)))
    }
    (line,) = meta_results._verdicts(values, ["pretrain", "maml"], SETTINGS)
    assert line.endswith(
        "maml (50 steps) is lower than pretrain (50 steps): -2.00 +- 0.58 "
        "(seeds -1.00, -3.00)"
    )


def test_a_method_without_steps_is_held_against_both_budgets():
    values = rows("pretrain", {0: 9, 1: 2, 10: 8, 50: 6})
    values |= {key: array[:, ::-1] for key, array in rows("context", {0: 7}).items()}
    found = meta_results._verdicts(values, ["pretrain", "context"], SETTINGS)
    assert found == [
        "- bound, 5 examples: context (no steps) is not told from pretrain "
        "(10 steps): -1.00 +- 1.15",
        "- bound, 5 examples: context (no steps) is not told from pretrain "
        "(50 steps): +1.00 +- 1.15",
    ]


def test_kernel_distances_have_four_digits_and_a_seed_each():
    values = {
        ("kcd", method, 5, 50): np.array([[mean]])
        for method, mean in (("pretrain", 0.5), ("maml", 0.75))
    }
    found = meta_results._verdicts(values, ["pretrain", "maml"], SETTINGS)
    assert found == [
        "- kcd, 5 examples: maml (50 steps) is higher than (one number each) pretrain "
        "(50 steps): +0.2500"
    ]


def test_the_predictors_numbers_are_of_the_steps_it_chose():
    values = rows("pretrain", {0: 9, 10: 8, 50: 6}) | rows("maml", {0: 9, 10: 7, 50: 7})
    values |= rows("predictor", {0: 5})
    methods = ["pretrain", "maml", "predictor"]
    found = meta_results._verdicts(values, methods, SETTINGS)
    assert [line.split(" is lower")[0] for line in found if "predictor" in line] == [
        "- bound, 5 examples: predictor (its own choice of steps)"
    ] * 2
    # Not beside pretraining without any.
    assert "predictor" not in "".join(meta_results._gains(values, "bound", methods, 2))
    chosen = np.zeros((2, 2, 3), int)
    chosen[:, 1] = [[1, 1, 2], [0, 0, 0]]
    assert meta_stored.choices({"chosen": chosen}, SETTINGS) == {
        "maml, 5 examples, 10 steps": 1,
        "pretrain, 0 examples, 0 steps": 1,
    }


def test_a_mean_over_kinds_is_shown_kind_by_kind():
    ten = meta_adaptation.EXAMPLES[-1], meta_adaptation.CHOSEN_AT
    values = {
        ("new", "damaged", 0, 0): np.array([[1.0, 2, 3]] * 2),
        ("new", "filter", ten[0], 0): np.array([[4.0, 5, 6]] * 2),
        ("new", "maml", ten[0], 0): np.array([[0.0, 0, 0]] * 2),
        ("new", "maml", *ten): np.array([[7.0, 1, 9], [7, 2, 8]]),
        ("other", "shipped", 0, 0): np.array([[0.0, 0, 0]] * 2),
    }
    kinds, columns = ["jpeg", "dust", "jpeg"], ["damaged", "filter", "maml", "shipped"]
    lines = meta_restoration_report.by_kind(values, "new", kinds, columns)
    assert lines[-3:] == [
        "| dust | 1 | 2.00 | 5.00 | 1.50 | - |",
        "| jpeg | 2 | 2.00 | 5.00 | 7.75 | - |",
        "",
    ]


def test_paired_difference_averages_the_seeds_of_the_same_tasks():
    first = np.array([[1.0, 2, 6], [3, 4, 8]])
    second = np.array([[1.0, 1, 1], [1, 1, 1]])
    mean, error = meta_study.paired(first, second, shared=True)
    assert mean == pytest.approx(3.0)
    assert error == pytest.approx(np.std([1, 2, 6], ddof=1) / 3**0.5)
    mean, error = meta_study.paired(first, second, shared=False)
    assert mean == pytest.approx(3.0)
    assert error == pytest.approx(np.std([0, 1, 5, 2, 3, 7], ddof=1) / 6**0.5)
    mean, error = meta_study.paired(first[:, :1], second[:, :1], shared=True)
    assert mean == 1 and np.isnan(error)
