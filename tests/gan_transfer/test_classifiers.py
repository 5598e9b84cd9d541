"""The classifier of the metrics: size, labels, determinism (document E 6)."""

import numpy as np
import pytest

from gan_transfer import classifiers, errors


def _stripes(seed, count):
    """Images 12x12 whose class 0 or 1 is the direction of their stripes."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    rows = generator.integers(0, 2, (count, 12, 1, 1)) * np.ones((1, 1, 12, 1))
    columns = np.moveaxis(rows, 1, 2)
    images = np.where(labels[:, None, None, None] == 0, rows, columns) * 255
    return images.astype(np.uint8), labels


def test_network_is_flat_named_and_small():
    network = classifiers.classifier_network()
    assert network.output.shape == (None, 20)
    assert network.get_layer("head_features").output.shape == (None, 64)
    names = [layer.name for layer in network.layers]
    assert names[-2:] == ["head_dropout", "head_logits"]
    assert names[1:4] == ["block1_conv", "block1_bn", "block1_relu"]
    assert 4 * network.count_params() < 1.5e6


def test_network_takes_other_sizes_and_colours():
    network = classifiers.classifier_network(size=20, channels=3, classes=5)
    images = np.zeros((2, 20, 20, 3), np.float32)
    assert network(images, training=False).shape == (2, 5)


def test_training_learns_both_sets_and_repeats_bit_for_bit():
    images, labels = _stripes(0, 640)
    train = {"stripes": (images, labels), "dimmed": (images // 4, labels)}
    images, labels = _stripes(1, 100)
    test = {"stripes": (images, labels), "dimmed": (images // 4, labels)}

    def run():
        return classifiers.train_classifier(
            train, test, epochs=2, batch_size=32, seed=3, verbose=0
        )

    model, accuracies = run()
    repeated, repeated_accuracies = run()
    assert model.output.shape == (None, 4)
    assert min(accuracies.values()) > 0.95
    assert accuracies == repeated_accuracies
    for first, second in zip(model.weights, repeated.weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_batches_are_shifted_by_at_most_one_pixel():
    image = np.zeros((64, 5, 7, 1), np.uint8)
    image[:, 2, 3] = 255
    batches = classifiers._ShiftedBatches(image, np.zeros(64), 64, seed=0)
    values, _ = batches[0]
    where = np.argwhere(values[..., 0] == 1)
    assert values.shape == (64, 5, 7, 1)
    assert where[:, 0].tolist() == list(range(64))
    assert set(where[:, 1]) == {1, 2, 3}
    assert set(where[:, 2]) == {2, 3, 4}


def test_sets_must_agree():
    pair = _stripes(0, 4)
    with pytest.raises(errors.InputError, match="give the same sets"):
        classifiers.train_classifier({"a": pair}, {"b": pair})
