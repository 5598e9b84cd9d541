"""Meta-testing of the restoration study: ways to adapt, measures, store (D 3.2.2)."""

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.support import meta_restoration

EXAMPLES, STEPS, LONG = (1, 5, 10), (0, 1, 5, 10, 50), 100
CHOSEN_AT = 10  # steps, of the rates
METRIC = "psnr_grey"
# Rates that every start may choose from, on the validation tasks.
RATES = {"sgd": (0.003, 0.01, 0.03, 0.1), "adam": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)}
_FACTORS = (0.3, 1.0, 3.0)
_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
_NEIGHBOURS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Way:
    """How to take inner steps: optimizer, logarithms of the layers' rates, what adapts.

    `inner` is of `meta_restoration.INNER`.
    """

    optimizer: str
    log_rates: list[float]
    inner: str


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """Weights that tasks start from, and the ways to adapt them to choose from."""

    weights: list[np.ndarray]
    ways: list[Way]

    def named(self) -> dict[str, np.ndarray]:
        """The weights as a database keeps them."""
        return {f"{n:03d}": weight for n, weight in enumerate(self.weights)}


def psnr(outputs, target):
    """Mean PSNR in dB of images clipped to [0, 1]; 0 dB where an output is no number.

    The mean is over the images of a task; none has more than 100 dB.
    """
    import tensorflow as tf

    square = tf.square(tf.clip_by_value(outputs, 0.0, 1.0) - target)
    square = tf.reduce_mean(square, axis=[1, 2, 3])
    square = tf.where(tf.math.is_finite(square), square, tf.ones_like(square))
    logarithm = tf.math.log(tf.maximum(square, 1e-10)) / tf.math.log(10.0)
    return tf.reduce_mean(-10.0 * logarithm)


def psnr_of(restored: np.ndarray, clean: np.ndarray) -> float:
    """`psnr` of arrays."""
    return float(psnr(restored, clean))


class Tester:
    """Adapts starts of one network to tasks; traced once for all of them.

    Args:
        network: to adapt.
        inners: what may adapt, of `meta_restoration.INNER`.
    """

    def __init__(self, network, inners: Sequence[str]):
        import keras

        from gan_transfer import inner_loop, meta_learning

        self.network, self.learners = network, {}
        for optimizer, inner in itertools.product(RATES, inners):
            # The rates are weights of MAML: another rate is no other graph.
            learner = meta_learning.MAML(network)
            learner.compile(
                keras.optimizers.SGD(1.0),
                meta_restoration.objective(),
                inner_rates={meta_restoration.INNER[inner]: 1.0},
                inner_steps=1,
                inner_optimizer=optimizer,
                first_order=True,
                measure=inner_loop.supervised(psnr),
            )
            self.learners[optimizer, inner] = learner
        self.layers = int(learner.log_rates.shape[0])

    def plain_ways(self, inner: str) -> list[Way]:
        """One rate for all layers: SGD and Adam (beta_1 = 0)."""
        return [
            Way(optimizer, [float(np.log(rate))] * self.layers, inner)
            for optimizer, rates in RATES.items()
            for rate in rates
        ]

    def learned_ways(self, log_rates: np.ndarray, rate: float, inner: str) -> list[Way]:
        """The rates that MAML learned, times a few factors."""
        return [
            Way("sgd", (log_rates + np.log(rate * factor)).tolist(), inner)
            for factor in _FACTORS
        ]

    def _ready(self, start: Start, way: Way):
        self.network.set_weights(start.weights)
        learner = self.learners[way.optimizer, way.inner]
        learner.log_rates.assign(way.log_rates)
        return learner

    def measure(self, start: Start, way: Way, pairs, steps) -> np.ndarray:
        """PSNR on the query images, `[tasks, len(steps)]`."""
        return self._ready(start, way).evaluate_tasks(pairs, tuple(steps))

    def adapted(self, start: Start, way: Way, support, steps: int):
        """The network fitted to one task."""
        return self._ready(start, way).adapt(support, steps)

    def choose(self, start: Start, pairs, step: int) -> Way:
        """The way with the highest mean PSNR after `step` steps, on tasks to validate.

        Args:
            start: to adapt.
            pairs: support and query examples of the validation tasks.
            step: to measure at.
        """
        scores = [self.measure(start, way, pairs, (step,)).mean() for way in start.ways]
        return start.ways[int(np.argmax(scores))]


def split(tasks: Sequence, examples: int) -> list[tuple]:
    """Support and query examples of every task, the query always the same."""
    from gan_transfer import tasks as meta_tasks

    query = meta_restoration.QUERY
    return [meta_tasks.split(task, examples, query, 0) for task in tasks]


def unadapted(network, tasks: Sequence) -> list[float]:
    """PSNR of a network as it is, on the query images of every task."""
    found = []
    for _, (*inputs, clean) in split(tasks, 1):
        outputs = network(inputs if len(inputs) > 1 else inputs[0])
        found.append(psnr_of(outputs, clean))
    return found


def linear(tasks: Sequence, examples: int, penalty: float) -> list[float]:
    """PSNR of the linear filter fitted to the support images of every task."""
    from restoration import linear_filter

    found = []
    for (damaged, *_, clean), (other, *_, truth) in split(tasks, examples):
        weights = linear_filter.fit(damaged, clean, penalty)
        found.append(psnr_of(linear_filter.apply(weights, other), truth))
    return found


def best_penalty(tasks: Sequence, examples: int) -> float:
    """The filter's penalty that is best on the validation tasks."""
    return max(_PENALTIES, key=lambda p: np.mean(linear(tasks, examples, p)))


def fill(
    folder: pathlib.Path,
    tasks: Sequence,
    tester: Tester,
    starts: Mapping[str, Start],
    ways: Mapping,
    penalties: Mapping[int, float],
    description: dict,
    pictures: str,
) -> None:
    """Store tasks with their models and meta-labels (document D 3.2.1, step 4).

    Tasks that are there already are left.

    Args:
        folder: of the database.
        tasks: of the training distribution.
        tester: adapts the starts.
        starts: method -> its start.
        ways: (method, examples) -> the way chosen.
        penalties: examples -> the filter's penalty.
        description: what is stored of every model: its settings.
        pictures: names of the folders that the tasks are drawn from.
    """
    from gan_transfer import blobs, meta_database, meta_records

    filters = meta_records.StoredModel("filter", "linear filter", {"side": 7})
    pairs = split(tasks, meta_restoration.SHOTS)
    with meta_database.MetaDatabase.open(folder) as database:
        there = {task.name for task in database.tasks()}
        for task, (support, _) in zip(tasks, pairs, strict=True):
            if task.name in there:
                continue
            models = [filters]
            for method, start in starts.items():
                way = ways[method, EXAMPLES[-1]]
                fitted = tester.adapted(start, way, support, STEPS[-1])
                end = Start(fitted.get_weights(), [])
                settings = description | dataclasses.asdict(way)
                family = meta_restoration.FAMILIES[description["model"]]
                model = meta_records.StoredModel(
                    method, family, settings, end.named(), start.named()
                )
                models.append(model)
            row = meta_records.StoredTask(
                task.name,
                task.kind,
                dict(task.descriptor),
                pictures,
                blobs.digest(*task.arrays),
                features=look(support[0]),
                models=tuple(models),
                labels=_labels(task, tester, starts, ways, penalties),
            )
            database.add(row)


def _labels(task, tester, starts, ways, penalties) -> tuple:
    """Meta-labels of a task: what each method reaches at each budget."""
    from gan_transfer import meta_records

    labels = []

    def note(method, examples, steps, value):
        labels.append(
            meta_records.MetaLabel(method, examples, steps, METRIC, float(value))
        )

    for examples in EXAMPLES:
        pairs = split([task], examples)
        note("filter", examples, 0, *linear([task], examples, penalties[examples]))
        for method, start in starts.items():
            (row,) = tester.measure(start, ways[method, examples], pairs, STEPS)
            for step, value in zip(STEPS, row, strict=True):
                note(method, examples, step, value)
    return tuple(labels)


def look(damaged: np.ndarray) -> np.ndarray:
    """Features of a damage from damaged images alone, float32 `[66]`.

    The logarithm of the mean energy of every coefficient of the 8x8 DCT, by blocks from
    the first pixel on (blur, noise and JPEG show there), and the shares of black and of
    white pixels (impulses, missing pixels).

    Args:
        damaged: float32 `[N, H, W, 1]` in [0, 1], sides multiples of 8.
    """
    from restoration import sparse_coding

    count, height, width, _ = damaged.shape
    blocks = damaged.reshape(count, height // 8, 8, width // 8, 8)
    patches = blocks.transpose(0, 1, 3, 2, 4).reshape(-1, 64)
    energy = np.square(patches @ sparse_coding.dct_dictionary(8, 64)).mean(axis=0)
    extremes = [np.mean(damaged <= 0), np.mean(damaged >= 1)]
    return np.float32([*np.log(energy + 1e-6), *extremes])


def nearest(database, method: str, **task) -> Start:
    """Mean of the weights that the nearest stored tasks ended with (D 3.2.2).

    Args:
        database: of stored tasks.
        method: whose weights.
        **task: the new task's `descriptor` or its `features` (`look`).
    """
    names = database.nearest("restoration", **task, count=_NEIGHBOURS)
    stored = [database.weights(name, method) for name, _ in names]
    keys = sorted(stored[0])
    return Start([np.mean([each[key] for each in stored], axis=0) for key in keys], [])


def predicted(database, pairs: Sequence, values: Mapping, examples: int) -> dict:
    """What the predictor's choice of method reaches, step -> a value per task.

    For every task it names the method with the highest predicted meta-label at this
    number of examples and steps, by the look of the damaged support images: nothing
    else is known of the task. The linear filter takes no steps. What that method
    reaches has been measured, since it starts from the same weights.

    Args:
        database: of stored tasks.
        pairs: support and query examples of unseen tasks.
        values: method -> step -> a value per task.
        examples: of each task.
    """
    from gan_transfer import predictor

    learned = predictor.Predictor(
        database.tasks("restoration"), METRIC, use_features=True, use_descriptors=False
    )
    found = {step: [] for step in STEPS}
    for number, (support, _) in enumerate(pairs):
        scores = learned.predict({}, look(support[0]))
        for step in STEPS:
            ways = {
                method: predictor.Candidate(
                    method, examples, 0 if method == "filter" else step
                )
                for method in values
            }
            best = max(ways, key=lambda method: scores[ways[method]])
            known = values[best]
            found[step].append(known[0 if best == "filter" else step][number])
    return found
