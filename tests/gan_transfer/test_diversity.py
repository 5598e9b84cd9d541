"""Spread of samples beside that of real images (documents B 5, B 6)."""

import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import diversity, errors, stability


def pixels(images):
    return tf.reshape(images, [-1, 6])


def noise(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 2, 3, 1), np.uint8)


def test_intra_cluster_spread_in_closed_form():
    train = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 99.0]])
    generated = np.array([[0, 3], [0, -1], [3, 0], [11, 0], [8, 4], [50, 99.0]])
    # Pairs of the first cluster: 4, sqrt(18), sqrt(10); of the second: 5. The third
    # has one sample and does not count.
    first = (4 + np.sqrt(18) + np.sqrt(10)) / 3
    found = diversity.intra_cluster_spread(generated, train)
    assert found == pytest.approx((first + 5) / 2)


def test_copies_of_the_training_images_have_no_spread():
    train = np.random.default_rng(0).normal(size=(4, 3))
    assert diversity.intra_cluster_spread(train[[0, 1, 2, 3, 0, 1]], train) == 0.0
    assert diversity.intra_cluster_spread(train[[2, 2, 2, 2, 2]], train) == 0.0


def test_no_more_samples_than_training_images_are_refused():
    rows = np.zeros((4, 3))
    with pytest.raises(errors.InputError, match="4 samples for 4 training images"):
        diversity.intra_cluster_spread(rows, rows)


def test_report_judges_samples_and_real_images_alike():
    test, train = noise(40, 1), noise(5, 2)
    order = np.random.default_rng(0).permutation(40)
    # The samples are the very images that stand for the real ones.
    found = diversity.report({"pixels": pixels}, train, test, test[order[20:]])
    assert found["pixels"]["generated"] == found["pixels"]["real"]
    scores = found["pixels"]["real"]
    assert list(scores) == "count spread intra_cluster_spread precision recall".split()
    assert scores["count"] == 20
    rows = np.reshape(test[order[20:]] / 127.5 - 1, [-1, 6])
    assert scores["spread"] == pytest.approx(stability.spread(rows), rel=1e-5)
    collapsed = diversity.report({"pixels": pixels}, train, test, test[[0] * 20])
    made = collapsed["pixels"]["generated"]
    assert (made["spread"], made["intra_cluster_spread"]) == (0.0, 0.0)
    assert collapsed["pixels"]["real"] == scores


def test_report_leaves_out_what_the_counts_do_not_allow():
    def names(train, test):
        found = diversity.report(
            {"pixels": pixels}, noise(train, 1), noise(test, 2), noise(40, 3)
        )
        return " ".join(found["pixels"]["real"])

    assert names(20, 40) == "count spread precision recall"
    assert names(2, 10) == "count spread intra_cluster_spread"
    assert diversity.report({"pixels": pixels}, noise(2, 1), noise(3, 2), None) == {}
