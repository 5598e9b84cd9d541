"""Feature extractors for the metrics (document E 6).

An extractor is any callable from images, float32 [-1, 1] [B, H, W, C], to features
[B, D]. One network must not both select and judge, so two unrelated ones stand beside
each other: the penultimate layer of a small classifier, and the principal components
of the pixels. Only `inception` may give a number the name FID.
"""

import math
import os
import pathlib
import weakref
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from gan_transfer import archive, data, errors, metrics

Extractor = Callable[[tf.Tensor], tf.Tensor]

_CLASSIFIER = pathlib.Path(__file__).parent / "weights" / "classifier_28.npz"
_traced = weakref.WeakKeyDictionary()
_PCA_VALUES = 1024
_MOBILENET_SIDE = 96


def extract(
    extractor: Extractor, images: np.ndarray, batch_size: int = 256
) -> np.ndarray:
    """Features of all images, in inference mode (document E 6).

    The extractor is traced once, whatever the size of the last batch; a Keras model is
    called with `training=False`.

    Args:
        extractor: images, float32 [-1, 1] [B, H, W, C], to features [B, D].
        images: [N, H, W, C], uint8, or float32 in [-1, 1].
        batch_size: images per call; does not change the result beyond rounding.

    Returns:
        float32 [N, D].

    Raises:
        errors.InputError: images of another rank, type or range, or none.
    """
    _check_images(images)
    forward = _compiled(extractor, images.shape[1:])
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        if batch.dtype == np.uint8:
            batch = data.to_float(batch)
        parts.append(np.asarray(forward(batch), np.float32))
    return np.concatenate(parts)


def _compiled(extractor: Extractor, shape: tuple[int, ...]) -> Callable:
    """The extractor as a `tf.function`, kept as long as the extractor lives."""
    kept = _traced.setdefault(extractor, {})
    if shape not in kept:
        alive = weakref.ref(extractor)

        # Autograph would wrap an InputError of the extractor in an error of its own.
        @tf.function(
            input_signature=[tf.TensorSpec([None, *shape], tf.float32)], autograph=False
        )
        def forward(batch):
            if isinstance(alive(), keras.Model):
                return alive()(batch, training=False)
            return alive()(batch)

        kept[shape] = forward
    return kept[shape]


def _check_images(images: np.ndarray) -> None:
    """Refuse what is no stack of uint8 or [-1, 1] float32 images."""
    if images.ndim != 4 or len(images) == 0:
        raise errors.InputError(
            f"images: shape {images.shape} is not [N, H, W, C] with N >= 1"
        )
    if images.dtype not in (np.uint8, np.float32):
        raise errors.InputError(
            f"images: type {images.dtype}; give uint8, or float32 in [-1, 1]"
        )
    if images.dtype == np.float32 and not np.abs(images).max() <= 1 + 1e-5:
        raise errors.InputError(
            f"images: values in [{images.min()}, {images.max()}], not in [-1, 1];"
            " convert uint8 images with data.to_float"
        )


def classifier_features(model: keras.Model | None = None) -> Extractor:
    """Extractor: penultimate layer of the shipped classifier, D = 64 (document E 6).

    For 28x28 grey images. A Frechet distance on it is an "FCD": it was trained on the
    training images of MNIST and Fashion-MNIST, and says little about other pictures.

    Args:
        model: a network of `classifiers.classifier_network`; the shipped one if None.
    """
    model = load_classifier() if model is None else model
    return keras.Model(model.input, model.get_layer("head_features").output)


def classifier_probabilities(model: keras.Model | None = None) -> Extractor:
    """Extractor: class probabilities [B, 20], for `inception_score` (document E 6).

    Args:
        model: a network of `classifiers.classifier_network`; the shipped one if None.
    """
    model = load_classifier() if model is None else model
    return keras.Model(model.input, keras.ops.softmax(model.output))


def load_classifier() -> keras.Model:
    """The classifier in the package, `weights/classifier_28.npz` (document E 6).

    Raises:
        errors.InputError: the file is missing or damaged.
    """
    models, _ = archive.load(_CLASSIFIER)
    if "classifier" not in models:
        raise errors.InputError(f"{_CLASSIFIER}: holds no model named 'classifier'")
    return models["classifier"]


class PixelPCA:
    """Extractor: principal components of the pixels (document E 6).

    Linear and unrelated to any network: the second opinion. Images of more than 1024
    values (32x32 grey, 18x18 colour) are reduced to about that many first
    (antialiased): the eigenvectors of more would take minutes. Components are not
    whitened, so distances are in pixel units of [-1, 1].

    Fit it on training images; the scores then compare generated with test images.
    """

    def __init__(self, images: np.ndarray, components: int = 64) -> None:
        """Fit by the eigenvectors of the covariance, in float64.

        The sign is fixed: the largest entry of each component is positive.

        Args:
            images: uint8 [N, H, W, C], N > components.
            components: D, at most the number of pixels times channels.

        Raises:
            errors.InputError: too few images or pixels for that many components.
        """
        self._shape = images.shape[1:]
        statistics = metrics.FeatureStatistics()
        rows = extract(self._pixels, images)
        for start in range(0, len(rows), 2048):
            statistics.update(rows[start : start + 2048])
        limit = min(statistics.count - 1, len(statistics.mean))
        if not 1 <= components <= limit:
            raise errors.InputError(
                f"{components} components of {statistics.count} images of"
                f" {len(statistics.mean)} values; choose 1 to {limit}"
            )
        _, vectors = np.linalg.eigh(statistics.covariance)
        basis = vectors[:, ::-1][:, :components]
        largest = np.abs(basis).argmax(axis=0)
        basis = basis * np.sign(basis[largest, np.arange(components)])
        self._mean = tf.constant(statistics.mean, tf.float32)
        self._basis = tf.constant(basis, tf.float32)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Images, float32 [-1, 1] [B, H, W, C], to features [B, components]."""
        if tuple(images.shape[1:]) != self._shape:
            raise errors.InputError(
                f"images {tuple(images.shape[1:])}: PixelPCA was fitted on"
                f" {self._shape}; resize one of the two sets"
            )
        return (self._pixels(images) - self._mean) @ self._basis

    def _pixels(self, images: tf.Tensor) -> tf.Tensor:
        scale = math.sqrt(_PCA_VALUES / math.prod(self._shape))
        if scale < 1:
            size = [max(1, round(side * scale)) for side in self._shape[:2]]
            images = tf.image.resize(images, size, antialias=True)
        return tf.reshape(images, [-1, math.prod(images.shape[1:])])


def from_keras(
    model: keras.Model | str | os.PathLike,
    layer: str | None = None,
    size: int | None = None,
) -> Extractor:
    """Extractor from any Keras model of images in [-1, 1] (document E 6).

    Images are resized to the model's input (bilinear, antialiased), grey ones are
    repeated to three channels, feature maps are averaged over their positions.

    Args:
        model: a model, or the path of a `.keras` file.
        layer: the layer whose output counts; the model's output if None.
        size: side of the input in pixels, for models that take any.

    Raises:
        errors.InputError: no such file or layer, or the input size is not known.
    """
    if not isinstance(model, keras.Model):
        if not os.path.isfile(model):
            raise errors.InputError(f"{model}: no such model file; check the path")
        model = keras.saving.load_model(model, compile=False)
    output = model.output
    if layer is not None:
        names = [each.name for each in model.layers]
        if layer not in names:
            raise errors.InputError(
                f"{model.name} has no layer {layer!r}; its last are"
                f" {', '.join(names[-3:])}"
            )
        output = model.get_layer(layer).output
    _, height, width, channels = model.input.shape
    target = (height or size, width or size)
    if None in target or (size is not None and target != (size, size)):
        raise errors.InputError(
            f"{model.name} takes images {height} x {width}: size={size} does not fit"
        )
    trunk = keras.Model(model.input, output)

    def features(images: tf.Tensor) -> tf.Tensor:
        if tuple(images.shape[1:3]) != target:
            images = tf.image.resize(images, target, antialias=True)
        if images.shape[-1] == 1 and channels == 3:
            images = tf.repeat(images, 3, axis=-1)
        outputs = trunk(images, training=False)
        return tf.reduce_mean(outputs, [1, 2]) if len(outputs.shape) == 4 else outputs

    return features


def inception() -> Extractor:
    """Extractor: pooled InceptionV3 of Keras, D = 2048, 299x299 (document E 6, "FID").

    Keras' weights are not those of the 2015 graph behind published FIDs: values agree
    in rank, not in digits. Needs a network once, then the Keras cache.

    Raises:
        errors.InputError: the weights cannot be had.
    """
    try:
        model = keras.applications.InceptionV3(
            include_top=False, pooling="avg", input_shape=(299, 299, 3)
        )
    except Exception as error:  # keras.utils.get_file raises a bare Exception
        raise errors.InputError(
            "InceptionV3: its ImageNet weights are not in the Keras cache and cannot be"
            " downloaded; connect to a network once, or use another extractor"
        ) from error
    return from_keras(model)


def mobilenet_v2(weights_file: str | os.PathLike) -> Extractor:
    """Extractor: pooled MobileNetV2 of ImageNet, D = 1280, at 96x96 (document E 6).

    For colour images. 96 is the smallest input for which the network was published
    and costs a fifth of 224. Sandler et al. 2018, "MobileNetV2".

    Args:
        weights_file: .npz with `layers`, the names of the convolutions as in
            `keras.applications.MobileNetV2`, and for each `<layer>/q` (int8 kernel),
            `<layer>/scale` (per output channel) and `<layer>/bias`, the batch
            normalisation folded in. `predictions` is passed over.

    Raises:
        errors.InputError: no such file, or its layers or shapes are not the network's.
    """
    model = keras.applications.MobileNetV2(
        input_shape=(_MOBILENET_SIDE, _MOBILENET_SIDE, 3),
        include_top=False,
        pooling="avg",
        weights=None,
    )
    arrays = archive.read(weights_file)
    try:
        _assign_folded(model, arrays)
    except (KeyError, ValueError) as error:
        raise errors.InputError(
            f"{weights_file}: not the folded weights of MobileNetV2"
            f" ({str(error).splitlines()[0]}); see features.mobilenet_v2"
        ) from error
    return from_keras(model)


def _assign_folded(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Dequantise kernels; each normalisation becomes the addition of its bias."""
    convolutions = [
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
    ]
    given = set(arrays["layers"].tolist()) - {"predictions"}
    if given != set(convolutions):
        odd = min(given.symmetric_difference(convolutions))
        raise KeyError(f"layer {odd}")
    norms = {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}
    for name in convolutions:
        scale = arrays[f"{name}/scale"].astype(np.float32)
        model.get_layer(name).set_weights([arrays[f"{name}/q"] * scale])
        norm = model.get_layer(norms.get(name, f"{name}_BN"))
        bias = arrays[f"{name}/bias"]
        one, zero = np.ones_like(bias), np.zeros_like(bias)
        norm.set_weights([one, bias, zero, one - norm.epsilon])
