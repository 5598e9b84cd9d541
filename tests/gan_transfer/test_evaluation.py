"""The table of scores: names, presence, agreement with the metrics (document E 6)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import data, evaluation, metrics


def _flat(images):
    return tf.reshape(images, [-1, 12])


def _rows(images):
    return data.to_float(images).reshape(-1, 12)


def _pixels(seed, count):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 4, 1), np.uint8)


def test_metric_names():
    assert evaluation.metric_name("fcd", "mnist", 10000) == "fcd_mnist_10k"
    assert evaluation.metric_name("kcd", "mnist", 2500) == "kcd_mnist_2500"
    assert evaluation.metric_name("kcd", "mnist", 999) == "kcd_mnist_999"


def test_report_names_every_score_by_its_protocol():
    real, generated = _pixels(0, 30), _pixels(1, 20)
    table = evaluation.report(
        {"classifier": _flat, "mine": _flat},
        real,
        generated,
        "toy",
        probabilities=lambda images: keras.ops.softmax(_flat(images)),
    )
    assert set(table) == {
        *(f"{kind}_toy_20" for kind in ("fcd", "kcd", "kcd_sd")),
        *(f"{kind}_toy_20" for kind in ("frechet_mine", "kernel_mine")),
        "kernel_mine_sd_toy_20",
        *(
            f"{kind}_{name}_toy_20"
            for kind in ("precision", "recall", "density", "coverage")
            for name in ("classifier", "mine")
        ),
        "classifier_score_toy_20",
        "count_real",
        "count_generated",
    }
    assert (table["count_real"], table["count_generated"]) == (30, 20)
    statistics = [
        metrics.FeatureStatistics().update(_rows(images))
        for images in (real, generated)
    ]
    assert table["fcd_toy_20"] == pytest.approx(
        metrics.frechet_distance(*statistics), rel=1e-9
    )
    mean, spread = metrics.kernel_distance(_rows(real), _rows(generated))
    assert table["kcd_toy_20"] == pytest.approx(mean, rel=1e-9)
    assert table["kcd_sd_toy_20"] == pytest.approx(spread, rel=1e-9)


def test_report_leaves_out_the_frechet_distance_of_few_images():
    for real, generated in ((12, 30), (30, 12)):
        table = evaluation.report(
            {"classifier": _flat}, _pixels(0, real), _pixels(1, generated), "toy"
        )
        assert f"fcd_toy_{generated}" not in table
        assert f"kcd_toy_{generated}" in table


def test_report_does_not_swap_real_and_generated():
    wide, tight = _pixels(0, 60), _pixels(1, 60) // 8 + 112
    table = evaluation.report({"classifier": _flat}, wide, tight, "toy")
    assert table["recall_classifier_toy_60"] < 0.1
    assert table["precision_classifier_toy_60"] > 0.9


@pytest.mark.parametrize(
    ("count", "width", "expected"),
    [
        (5000, 64, "frechet"),
        (1000, 64, "frechet"),
        (999, 64, "kernel"),
        (1000, 250, "kernel"),
        (1001, 250, "frechet"),
        (5000, 1280, "kernel"),
        (5121, 1280, "frechet"),
    ],
)
def test_the_distance_that_judges_follows_samples_and_features(count, width, expected):
    assert evaluation.judging_distance(count, width) == expected


def test_distances_by_name_are_those_of_the_metrics():
    real, generated = _rows(_pixels(0, 30)), _rows(_pixels(1, 20))
    statistics = [
        metrics.FeatureStatistics().update(rows) for rows in (real, generated)
    ]
    expected = {
        "frechet": metrics.frechet_distance(*statistics),
        "kernel": metrics.kernel_distance(real, generated)[0],
    }
    assert expected == {
        kind: evaluation.distance(kind, real, generated) for kind in expected
    }
