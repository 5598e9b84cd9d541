"""Extractors: inference mode, tracing, PCA, resizing (document E 6)."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from gan_transfer import archive, classifiers, data, errors, features


def _pixels(count=10, shape=(5, 7, 1), seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, *shape), np.uint8)


def _flat(images):
    return tf.reshape(images, [-1, 35])


def test_extract_traces_once_and_keeps_the_order():
    traces = []

    def extractor(images):
        traces.append(images.shape)
        return _flat(images)

    pixels = _pixels(10)
    rows = features.extract(extractor, pixels, batch_size=4)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, data.to_float(pixels).reshape(10, 35))
    assert len(traces) == 1
    floats = features.extract(extractor, data.to_float(pixels))
    np.testing.assert_array_equal(floats, rows)


def test_extract_runs_a_model_in_inference_mode():
    inputs = keras.Input((5, 7, 1))
    outputs = layers.Flatten()(layers.BatchNormalization()(inputs))
    model = keras.Model(inputs, layers.Dropout(0.9)(outputs))
    pixels = _pixels(6)
    rows = features.extract(model, pixels, batch_size=4)
    expected = data.to_float(pixels).reshape(6, 35) / np.sqrt(1 + 1e-3)
    np.testing.assert_allclose(rows, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (_pixels()[0], "is not .N, H, W, C."),
        (_pixels(0), "is not .N, H, W, C."),
        (_pixels().astype(np.float64), "float64"),
        (_pixels().astype(np.float32), "not in .-1, 1."),
        (np.full((1, 5, 7, 1), np.nan, np.float32), "not in .-1, 1."),
    ],
)
def test_extract_refuses_other_images(images, message):
    with pytest.raises(errors.InputError, match=message):
        features.extract(_flat, images)


def test_classifier_extractors_are_its_inner_and_its_normalised_output():
    model = classifiers.classifier_network(8, classes=3)
    pixels = _pixels(3, (8, 8, 1))
    rows = features.extract(features.classifier_features(model), pixels)
    head = model.get_layer("head_logits")
    shares = features.extract(features.classifier_probabilities(model), pixels)
    logits = rows @ head.kernel.numpy() + head.bias.numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        np.log(shares / shares[:, :1]), logits - logits[:, :1], atol=1e-5
    )


def test_shipped_classifier_is_read_from_the_package(tmp_path, monkeypatch):
    path = tmp_path / "classifier_28.npz"
    monkeypatch.setattr(features, "_CLASSIFIER", path)
    with pytest.raises(errors.InputError, match="no such file"):
        features.load_classifier()
    model = classifiers.classifier_network()
    archive.save(path, {"classifier": model})
    pixels = _pixels(2, (28, 28, 1))
    np.testing.assert_array_equal(
        features.extract(features.classifier_features(), pixels),
        features.extract(features.classifier_features(model), pixels),
    )
    archive.save(path, {"other": model})
    with pytest.raises(errors.InputError, match="no model named 'classifier'"):
        features.load_classifier()


def test_pca_has_centred_uncorrelated_ordered_components():
    pixels = _pixels(90) // np.arange(1, 8, dtype=np.uint8)[:, None]
    pca = features.PixelPCA(pixels, components=6)
    rows = features.extract(pca, pixels).astype(np.float64)
    covariance = np.cov(rows.T)
    values = np.linalg.eigvalsh(np.cov(data.to_float(pixels).reshape(90, 35).T))
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(covariance, np.diag(values[:-7:-1]), atol=1e-5)


def test_pca_signs_do_not_depend_on_the_order_of_images():
    pixels = _pixels(90)
    forward = features.PixelPCA(pixels, components=4)
    backward = features.PixelPCA(pixels[::-1], components=4)
    np.testing.assert_allclose(
        features.extract(forward, pixels),
        features.extract(backward, pixels),
        atol=1e-4,
    )


def test_pca_reduces_large_images(monkeypatch):
    monkeypatch.setattr(features, "_PCA_VALUES", 60)
    pixels = _pixels(8, (16, 10, 3))
    rows = features.extract(features.PixelPCA(pixels, components=7), pixels)
    # 480 values are 8 times too many, so both sides shrink by the root of 8.
    small = tf.image.resize(data.to_float(pixels), (6, 4), antialias=True)
    small = small.numpy().reshape(8, -1).astype(np.float64)
    small -= small.mean(axis=0)
    # Seven components hold all of eight images: distances are kept.
    np.testing.assert_allclose(rows @ rows.T, small @ small.T, rtol=1e-4, atol=1e-4)


def test_pca_refuses_what_it_cannot_fit():
    with pytest.raises(errors.InputError, match="8 components of 8 images"):
        features.PixelPCA(_pixels(8), components=8)
    pca = features.PixelPCA(_pixels(8), components=2)
    with pytest.raises(errors.InputError, match="was fitted on"):
        features.extract(pca, _pixels(2, (7, 5, 1)))


def _colour_model(side=None):
    inputs = keras.Input((side, side, 3))
    maps = layers.Conv2D(4, 1, name="block1_conv")(inputs)
    outputs = layers.GlobalMaxPooling2D(name="head_pool")(maps)
    return keras.Model(inputs, outputs, name="colours")


def test_from_keras_resizes_repeats_and_averages(tmp_path):
    model = _colour_model(6)
    path = tmp_path / "model.keras"
    model.save(path)
    pixels = _pixels(3, (12, 9, 1))
    grey = tf.image.resize(data.to_float(pixels), (6, 6), antialias=True).numpy()
    colour = np.repeat(grey, 3, axis=-1)
    expected = model(colour).numpy()
    for source in (model, path):
        rows = features.extract(features.from_keras(source), pixels)
        np.testing.assert_allclose(rows, expected, atol=1e-6)
    maps = model.get_layer("block1_conv")(colour).numpy()
    rows = features.extract(features.from_keras(model, layer="block1_conv"), pixels)
    np.testing.assert_allclose(rows, maps.mean(axis=(1, 2)), atol=1e-6)


def test_from_keras_refusals(tmp_path):
    with pytest.raises(errors.InputError, match="no such model file"):
        features.from_keras(tmp_path / "none.keras")
    with pytest.raises(errors.InputError, match="its last are .*head_pool"):
        features.from_keras(_colour_model(6), layer="fire9")
    with pytest.raises(errors.InputError, match="size=None does not fit"):
        features.from_keras(_colour_model())
    with pytest.raises(errors.InputError, match="size=8 does not fit"):
        features.from_keras(_colour_model(6), size=8)


def test_inception_without_weights_says_so(monkeypatch):
    def offline(**options):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "InceptionV3", offline)
    with pytest.raises(errors.InputError, match="cannot be downloaded"):
        features.inception()


def test_mobilenet_refuses_other_weights(tmp_path):
    with pytest.raises(errors.InputError, match="no such file"):
        features.mobilenet_v2(tmp_path / "none.npz")
    path = tmp_path / "weights.npz"
    np.savez(path, x=np.ones(3))
    with pytest.raises(errors.InputError, match="layers"):
        features.mobilenet_v2(path)
    np.savez(path, layers=np.array(["Conv1", "predictions"]))
    with pytest.raises(errors.InputError, match="layer Conv_1"):
        features.mobilenet_v2(path)
