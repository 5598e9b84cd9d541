"""Differentiable augmentation against NumPy, draw by draw (document E 2(1))."""

import numpy as np
import pytest
import tensorflow as tf

from gan_transfer import augmentation, errors

KEY = tf.constant([5, 11])
HEIGHT, WIDTH = 16, 24
TRANSFORMS = list(augmentation.TRANSFORMS.values())
each_transform = pytest.mark.parametrize("transform", TRANSFORMS)


def _images(count=64, channels=3, seed=0):
    shape = (count, HEIGHT, WIDTH, channels)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def _shifted(image, down, right, fill):
    """`np.roll`, with `fill` where pixels would wrap around."""
    rolled = np.roll(image, (down, right), axis=(0, 1))
    if down:
        rolled[slice(down) if down > 0 else slice(down, None)] = fill
    if right:
        rolled[:, slice(right) if right > 0 else slice(right, None)] = fill
    return rolled


def _find_shift(image, result):
    matches = [
        (down, right)
        for down in range(-HEIGHT // 2, HEIGHT // 2 + 1)
        for right in range(-WIDTH // 2, WIDTH // 2 + 1)
        if np.array_equal(_shifted(image, down, right, -1.0), result)
    ]
    assert len(matches) == 1
    return matches[0]


@each_transform
def test_the_key_decides(transform):
    images = tf.constant(_images())
    first, again = transform(images, KEY), transform(images, KEY)
    np.testing.assert_array_equal(first, again)
    assert first.shape == images.shape and first.dtype == images.dtype
    other = transform(images, KEY + [0, 8])
    changed = np.any(first.numpy() != other.numpy(), axis=(1, 2, 3))
    assert changed.mean() > 0.8


@each_transform
def test_every_image_has_its_own_draw(transform):
    images = np.repeat(_images(1), 64, axis=0)
    results = transform(tf.constant(images), KEY).numpy()
    assert len({result.tobytes() for result in results}) > 20


@each_transform
def test_traced_with_unknown_batch_equals_eager(transform):
    signature = tf.TensorSpec((None, HEIGHT, WIDTH, 3), tf.float32)
    traced = tf.function(lambda x: transform(x, KEY), input_signature=[signature])
    images = tf.constant(_images(5))
    np.testing.assert_allclose(traced(images), transform(images, KEY), atol=1e-6)


def test_translation_shifts_by_whole_pixels_and_fills_with_background():
    images = _images()
    results = augmentation.translation(tf.constant(images), KEY).numpy()
    shifts = [_find_shift(*pair) for pair in zip(images, results, strict=True)]
    # 12.5 % of 16 and of 24; every shift has its turn.
    assert {down for down, _ in shifts} == set(range(-2, 3))
    assert {right for _, right in shifts} == set(range(-3, 4))


def test_translation_gradient_is_the_opposite_shift():
    images, weights = _images(8), _images(8, seed=1)
    variable = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        results = augmentation.translation(variable, KEY)
        total = tf.reduce_sum(results * weights)
    gradient = tape.gradient(total, variable).numpy()
    for image, result, weight, slope in zip(
        images, results.numpy(), weights, gradient, strict=True
    ):
        down, right = _find_shift(image, result)
        np.testing.assert_array_equal(slope, _shifted(weight, -down, -right, 0.0))


def test_cutout_blanks_one_box_of_at_most_half_a_side():
    images = _images() + 3.0  # never 0
    results = augmentation.cutout(tf.constant(images), KEY).numpy()
    heights, widths = set(), set()
    for image, result in zip(images, results, strict=True):
        blank = result == 0.0
        rows = np.flatnonzero(blank.any((1, 2)))
        columns = np.flatnonzero(blank.any((0, 2)))
        box = np.zeros_like(blank)
        box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        np.testing.assert_array_equal(result, np.where(box, 0.0, image))
        heights.add(len(rows))
        widths.add(len(columns))
    # Whole boxes are 8 x 12; centred on an edge at least half of each side remains.
    assert (min(heights), max(heights)) == (4, 8)
    assert min(widths) >= 6 and max(widths) == 12


def test_cutout_passes_gradient_outside_the_box():
    images = tf.constant(_images(8) + 3.0)
    with tf.GradientTape() as tape:
        tape.watch(images)
        results = augmentation.cutout(images, KEY)
    slope = tape.gradient(results, images).numpy()
    np.testing.assert_array_equal(slope, (results.numpy() != 0).astype("float32"))


def test_color_moves_constant_images_by_the_brightness_alone():
    levels = np.linspace(-1, 1, 200, dtype="float32")[:, None, None, None]
    images = np.broadcast_to(levels, (200, HEIGHT, WIDTH, 3))
    results = augmentation.color(tf.constant(images), KEY).numpy()
    brightness = results[:, 0, 0, 0] - levels[:, 0, 0, 0]
    np.testing.assert_allclose(
        results, images + brightness[:, None, None, None], atol=1e-6
    )
    assert -0.5 <= brightness.min() < -0.45 and 0.45 < brightness.max() <= 0.5


def test_color_of_one_channel_is_brightness_and_contrast():
    images = _images(200, channels=1)
    results = augmentation.color(tf.constant(images), KEY).numpy()
    means = images.mean(axis=(1, 2, 3)), results.mean(axis=(1, 2, 3))
    centred, found = (
        x - mean[:, None, None, None]
        for x, mean in zip((images, results), means, strict=True)
    )
    contrast = np.sum(found * centred, (1, 2, 3)) / np.sum(centred**2, (1, 2, 3))
    np.testing.assert_allclose(
        found, contrast[:, None, None, None] * centred, atol=1e-5
    )
    assert 0.5 <= contrast.min() < 0.55 and 1.45 < contrast.max() <= 1.5
    assert np.abs(means[1] - means[0]).max() <= 0.5 + 1e-6


def test_saturation_leaves_grey_alone():
    gray = _images(20, channels=1)
    alone = augmentation.color(tf.constant(gray), KEY).numpy()
    colored = augmentation.color(tf.constant(np.repeat(gray, 3, axis=3)), KEY)
    np.testing.assert_allclose(colored, np.repeat(alone, 3, axis=3), atol=1e-6)


def test_saturation_scales_the_distance_from_grey():
    # A flat colour with mean 0: contrast and saturation are one factor in [0, 3].
    flat = np.broadcast_to(np.float32([-0.6, 0.1, 0.5]), (400, HEIGHT, WIDTH, 3))
    results = augmentation.color(tf.constant(flat), KEY).numpy()
    centred = results - results.mean(axis=(1, 2, 3), keepdims=True)
    factors = centred[:, 0, 0, 2] / 0.5
    np.testing.assert_allclose(
        centred, factors[:, None, None, None] * flat, rtol=1e-4, atol=1e-5
    )
    assert 0.0 <= factors.min() < 0.05 and 2.0 < factors.max() <= 3.0


def test_color_gradient_of_the_sum_is_one():
    # Saturation and contrast keep the mean, brightness adds a constant.
    images = tf.constant(_images(4))
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(augmentation.color(images, KEY))
    np.testing.assert_allclose(tape.gradient(total, images), 1.0, atol=1e-5)


def test_gradient_reaches_the_images_through_everything():
    images = tf.constant(_images(8))
    with tf.GradientTape() as tape:
        tape.watch(images)
        results = augmentation.Augmentation()(images, KEY, tf.constant(1.0))
        total = tf.reduce_sum(results**2)
    slope = tape.gradient(total, images).numpy()
    assert np.isfinite(slope).all()
    assert (np.abs(slope).max(axis=(1, 2, 3)) > 0).all()


def test_adaptive_probability_zero_is_the_identity_and_one_is_everything():
    adaptive = augmentation.Augmentation(probability=0.0, target=0.6)
    images = tf.constant(_images())
    np.testing.assert_array_equal(adaptive(images, KEY, tf.constant(0.0)), images)
    always = augmentation.Augmentation()(images, KEY, tf.constant(1.0))
    np.testing.assert_array_equal(adaptive(images, KEY, tf.constant(1.0)), always)
    assert (np.any(always != images, axis=(1, 2, 3))).all()


def test_transforms_are_chained_with_keys_of_their_own():
    images = tf.constant(_images())
    both = augmentation.Augmentation(("cutout", "translation"))
    step = augmentation.cutout(images, KEY + [4, 0])
    expected = augmentation.translation(step, KEY + [8, 0])
    np.testing.assert_array_equal(both(images, KEY, tf.constant(1.0)), expected)


def test_a_probability_chooses_image_by_image():
    half = augmentation.Augmentation(("color",), probability=0.5)
    images = _images(400)
    results = half(tf.constant(images), KEY, tf.constant(0.5)).numpy()
    always = augmentation.Augmentation(("color",))(
        tf.constant(images), KEY, tf.constant(1.0)
    ).numpy()
    chosen = np.any(results != images, axis=(1, 2, 3))
    np.testing.assert_array_equal(results[chosen], always[chosen])
    np.testing.assert_array_equal(results[~chosen], images[~chosen])
    assert 160 < chosen.sum() < 240


@pytest.mark.parametrize(
    ("start", "scores", "expected"),
    [
        (0.3, [1.0, 2.0, 0.1, 5.0], 0.3 + 0.032),  # r = 1 > 0.6
        (0.3, [1.0, 2.0, 0.1, -5.0], 0.3 - 0.032),  # r = 0.5 < 0.6
        (0.01, [-1.0, -1.0, -1.0, -1.0], 0.0),
        (0.79, [9.0, 9.0, 9.0, 9.0], 0.8),
        # r = 0.6: five scores, four of them positive.
        (0.3, [1.0, 1.0, 1.0, 1.0, -1.0], 0.3),
    ],
)
def test_adapted_probability(start, scores, expected):
    adaptive = augmentation.Augmentation(probability=0.0, target=0.6, ramp_images=1000)
    scores = tf.constant(scores)[:, None]
    found = adaptive.adapted(tf.constant(start), scores, 32)
    assert float(found) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.51, 0.9, 1.2, 0.6], 0.3 + 0.032),  # r = 1
        ([0.51, 0.9, 1.2, 0.49], 0.3 - 0.032),  # r = 0.5
        ([0.5, 0.5, 0.5, 0.5], 0.3 - 0.032),  # r = 0
    ],
)
def test_adapted_probability_counts_from_the_threshold(scores, expected):
    adaptive = augmentation.Augmentation(probability=0.0, target=0.6, ramp_images=1000)
    scores = tf.constant(scores)[:, None]
    found = adaptive.adapted(tf.constant(0.3), scores, 32, 0.5)
    assert float(found) == pytest.approx(expected, abs=1e-7)


def test_adapted_reads_bfloat16_scores():
    adaptive = augmentation.Augmentation(probability=0.0, target=0.6)
    scores = tf.ones((1000, 1), tf.bfloat16)
    found = adaptive.adapted(tf.constant(0.2), scores, 1000)
    assert found.dtype == tf.float32
    assert float(found) == pytest.approx(0.2 + 1000 / 100_000)


def test_names():
    assert augmentation.by_name("none") is None
    assert augmentation.by_name("diffaugment") == augmentation.Augmentation(
        ("color", "translation", "cutout"), probability=1.0, target=None
    )
    ada = augmentation.by_name("ada")
    assert (ada.probability, ada.target, len(ada.transforms)) == (0.0, 0.6, 3)
    chosen = augmentation.by_name("translation,cutout")
    assert chosen == augmentation.Augmentation(("translation", "cutout"))


@pytest.mark.parametrize("name", ["blur", "", "color,blur", "color,", "Color"])
def test_unknown_names_are_refused(name):
    with pytest.raises(errors.InputError, match="color, translation, cutout"):
        augmentation.by_name(name)


def test_impossible_augmentations_are_refused():
    with pytest.raises(errors.InputError, match="nothing"):
        augmentation.Augmentation(())
    for probability in (-0.1, 1.1, float("nan")):
        with pytest.raises(errors.InputError, match=str(probability)):
            augmentation.Augmentation(probability=probability)
