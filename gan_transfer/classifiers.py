"""The classifier behind the metrics of small grey images (document E 6).

No InceptionV3 can be had without a network, and it has never seen a digit: a small
classifier of MNIST and Fashion-MNIST together gives the features instead.
"""

import keras
import numpy as np
from keras import layers

from gan_transfer import data, errors

ImageSet = tuple[np.ndarray, np.ndarray]


def classifier_network(
    size: int = 28, channels: int = 1, classes: int = 20
) -> keras.Model:
    """Five convolutions and a feature layer of 64 units (document E 6).

    Flat Functional graph; `head_features` [B, 64] is the penultimate layer,
    `head_logits` [B, classes] the output. 2.9 million multiplications per 28x28 image.

    Args:
        size: side of the images, at least 4 pixels.
        channels: 1 or 3.
        classes: number of logits.
    """
    inputs = outputs = keras.Input((size, size, channels), name="images")
    widths = ((16, 1), (16, 2), (32, 1), (32, 2), (64, 1))
    for number, (width, stride) in enumerate(widths, start=1):
        stage = f"block{number}"
        outputs = layers.Conv2D(
            width,
            3,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{stage}_conv",
        )(outputs)
        outputs = layers.BatchNormalization(momentum=0.9, name=f"{stage}_bn")(outputs)
        outputs = layers.ReLU(name=f"{stage}_relu")(outputs)
    outputs = layers.Flatten(name="head_flatten")(outputs)
    outputs = layers.Dense(64, use_bias=False, name="head_dense")(outputs)
    outputs = layers.BatchNormalization(momentum=0.9, name="head_bn")(outputs)
    outputs = layers.ReLU(name="head_features")(outputs)
    outputs = layers.Dropout(0.3, name="head_dropout")(outputs)
    outputs = layers.Dense(classes, name="head_logits")(outputs)
    return keras.Model(inputs, outputs, name="classifier")


def train_classifier(
    train: dict[str, ImageSet],
    test: dict[str, ImageSet],
    *,
    epochs: int = 12,
    batch_size: int = 128,
    seed: int = 0,
    verbose: int = 2,
) -> tuple[keras.Model, dict[str, float]]:
    """Train one classifier on several labelled sets (document E 6).

    The labels of the second set continue those of the first: digits 0-9, fashion
    10-19. AdamW with a cosine rate, images shifted by up to one pixel. Nothing is
    selected: the last weights are the result, and `test` is read once, at the end.

    Args:
        train: by name of the set, uint8 images [N, H, W, C] with H = W and labels [N].
        test: the same names.
        epochs: passes over all sets together.
        batch_size: images per step, or all if there are fewer.
        seed: fixes weights, order and shifts. Sets Keras' global seed.
        verbose: as in `keras.Model.fit`.

    Returns:
        The network and the test accuracy of each set, 0..1.

    Raises:
        errors.InputError: the two do not name the same sets.
    """
    if train.keys() != test.keys():
        raise errors.InputError(
            f"train has {sorted(train)}, test has {sorted(test)}: give the same sets"
        )
    keras.utils.set_random_seed(seed)
    offsets, classes = {}, 0
    for name, (_, labels) in train.items():
        offsets[name] = classes
        classes += int(labels.max()) + 1
    images = np.concatenate([images for images, _ in train.values()])
    labels = np.concatenate([train[name][1] + offsets[name] for name in train])
    batches = _ShiftedBatches(images, labels, min(batch_size, len(images)), seed)
    model = classifier_network(images.shape[1], images.shape[-1], classes)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, epochs * len(batches))
    model.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(batches, epochs=epochs, verbose=verbose, shuffle=False)
    accuracies = {}
    for name, (images, labels) in test.items():
        predicted = model.predict(data.to_float(images), batch_size=500, verbose=0)
        hits = predicted.argmax(axis=1) == labels + offsets[name]
        accuracies[name] = float(hits.mean())
    return model, accuracies


class _ShiftedBatches(keras.utils.PyDataset):
    """Batches in a new order each epoch, each image shifted by up to one pixel."""

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int
    ) -> None:
        super().__init__()
        self._images, self._labels = images, labels
        self._batch_size = batch_size
        self._generator = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self._images) // self._batch_size

    def on_epoch_end(self) -> None:
        self._order = self._generator.permutation(len(self._images))
        self._shifts = self._generator.integers(0, 3, (len(self._images), 2))

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        start = index * self._batch_size
        chosen = self._order[start : start + self._batch_size]
        padded = np.pad(self._images[chosen], ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, self._images.shape[1:3], axis=(1, 2)
        )
        down, right = self._shifts[chosen].T
        shifted = windows[np.arange(len(chosen)), down, right]
        return data.to_float(np.moveaxis(shifted, 1, -1)), self._labels[chosen]
