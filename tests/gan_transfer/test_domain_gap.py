"""How far the target is from what a source makes (documents B 3.2, B 5)."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import domain_gap, errors, metrics, recipes


def noise(count, low=0, high=256, seed=0):
    shape = (count, 2, 3, 1)
    return np.random.default_rng(seed).integers(low, high, shape, dtype=np.uint8)


def pixels(images):
    return tf.reshape(images, [-1, 6])


def halves(images):
    return tf.reshape(images, [-1, 6])[:, :3]


def gap(nearness, count=100, new_layers=False, conditional=False):
    one = domain_gap.Gap(1.0, 0.1, 0.0, 0.1, recall=nearness / 2, own_recall=0.5)
    return domain_gap.DomainGap(count, new_layers, conditional, {"pca": one})


def test_a_target_of_the_source_itself_is_near():
    found = domain_gap.measure(noise(400), noise(100, seed=1), {"pixels": pixels})
    one = found.gaps["pixels"]
    assert found.count == 100 and not found.new_layers
    assert abs(one.distance) < 0.05 and abs(one.floor) < 0.05
    assert one.floor_sd > 0
    assert one.recall == pytest.approx(one.own_recall, abs=0.12)
    assert found.nearness > 0.85


def test_a_target_elsewhere_is_far():
    dark, bright = noise(60, high=60), noise(40, low=200, seed=1)
    found = domain_gap.measure(dark, bright, {"pixels": pixels, "halves": halves})
    assert list(found.gaps) == ["pixels", "halves"]
    assert {one.recall for one in found.gaps.values()} == {0.0}
    assert found.nearness == 0.0
    assert found.gaps["pixels"].distance > 1.0
    rows = [np.reshape(x / 127.5 - 1, [-1, 6]) for x in (dark, bright)]
    expected = metrics.kernel_distance(*(each.astype(np.float32) for each in rows))[0]
    # Subsets of 40 of the 60: rows of the target come in another order.
    assert found.gaps["pixels"].distance == pytest.approx(expected, rel=0.05)


def test_recall_is_that_of_the_metrics():
    source = noise(40, high=128)
    target = np.concatenate([source[:10], noise(10, low=254, seed=1)])
    one = domain_gap.measure(source, target, {"pixels": pixels}).gaps["pixels"]
    rows = [np.reshape(x / 127.5 - 1, [-1, 6]) for x in (target, source)]
    for real, recall in ((rows[0], one.recall), (rows[1][20:], one.own_recall)):
        shares = metrics.precision_recall_density_coverage(
            real, rows[1][:20], neighbours=domain_gap.NEIGHBOURS
        )
        assert recall == shares.recall
    assert 0 < one.recall < 1


def test_the_same_images_give_the_same_gap():
    source, target = noise(30), noise(9, seed=1)
    first = domain_gap.measure(source, target, {"pixels": pixels}, new_layers=True)
    assert (
        domain_gap.measure(source, target, {"pixels": pixels}, new_layers=True) == first
    )
    assert first.new_layers


def test_three_images_have_no_floor_and_one_is_refused():
    one = domain_gap.measure(noise(30), noise(3, seed=1), {"pixels": pixels}).gaps[
        "pixels"
    ]
    assert one.floor is None and one.floor_sd is None
    assert np.isfinite(one.distance) and 0 <= one.recall <= 1
    for source, target in ((30, 1), (11, 9)):
        with pytest.raises(errors.InputError, match=f"not {source} and {target}; add"):
            domain_gap.measure(noise(source), noise(target, seed=1), {"pixels": pixels})


def test_nearness_is_the_mean_of_the_extractors_and_at_most_one():
    one = domain_gap.Gap(1.0, 0.1, 0.0, 0.1, recall=0.9, own_recall=0.6)
    gaps = {"a": one, "b": dataclasses.replace(one, recall=0.12)}
    assert domain_gap.DomainGap(9, False, False, gaps).nearness == pytest.approx(0.6)
    nothing = dataclasses.replace(one, recall=0.0, own_recall=0.0)
    assert domain_gap.DomainGap(9, False, False, {"a": nothing}).nearness == 0.0


@pytest.mark.parametrize(
    ("nearness", "count", "new_layers", "recipe"),
    [
        (0.6, 10, False, "latent_head"),
        (0.59, 10, False, "cross_domain_correspondence"),
        (0.0, 2, False, "cross_domain_correspondence"),
        (0.9, 10, True, "freeze_discriminator"),
        (0.9, 11, False, "freeze_discriminator"),
        (0.1, 5000, False, "freeze_discriminator"),
        (0.1, 5001, True, "fine_tune"),
    ],
)
def test_the_recipe_follows_count_and_nearness(nearness, count, new_layers, recipe):
    found = gap(nearness, count, new_layers)
    assert found.recipe == recipe in recipes.RECIPES
    (advised,) = re.findall(r"\bby ([a-z]+(?:_[a-z]+)+)\b", found.advice())
    assert advised == recipe


def test_a_source_with_classes_gets_no_latent_head():
    found = gap(0.6, 10, conditional=True)
    assert found.recipe == "cross_domain_correspondence"
    assert not gap(0.6, 10).conditional


@pytest.mark.parametrize(
    ("nearness", "count", "parts"),
    [
        (0.95, 100, ["inside the source's domain (nearness 0.95)", "is advisable"]),
        (0.2, 100, ["beside the source's", "transfer is advisable, by freeze"]),
        (0.19, 100, ["far from", "transfer is not advisable", "from scratch"]),
        (0.19, 10, ["far from", "too few to train from scratch", "correspondence"]),
    ],
)
def test_the_advice_is_one_sentence(nearness, count, parts):
    advice = gap(nearness, count).advice()
    assert "\n" not in advice
    for part in parts:
        assert part in advice
