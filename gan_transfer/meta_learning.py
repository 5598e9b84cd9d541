"""Reptile, first- and second-order MAML over any Keras network (document D 3).

Sources: Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
Networks", ICML 2017; Nichol, Achiam, Schulman, "On First-Order Meta-Learning
Algorithms", 2018.
"""

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from gan_transfer import errors, inner_loop, training


class MetaLearner(training.Procedure):
    """What MAML and Reptile share: meta-batches and meta-test (document D 3.1, D 3.2).

    After `compile`, `fit` takes batches of tasks `(support, query)`, each a tensor or a
    tuple of tensors `[tasks, shots, ...]`. All tasks of a batch run inside the one
    compiled step. Batch norm and dropout keep state that tasks would share, so they are
    refused, but for a frozen batch norm.

    Attributes:
        network: the network whose weights are the learned start.
        inner: the `inner_loop.InnerLoop`, after `compile`.
    """

    least_steps = 1

    def __init__(self, network: keras.Model, *, seed: int = 0):
        super().__init__(seed, name="meta_learner")
        self.network = network
        self.trackers = [keras.metrics.Mean(name="loss")]

    def networks(self) -> dict[str, keras.Model]:
        """`network` alone."""
        return {"network": self.network}

    @property
    def result(self) -> keras.Model:
        """The network: the start that tasks adapt from."""
        return self.network

    def meta_variables(self) -> list[keras.Variable]:
        """The variables a meta-update moves; subclasses say which."""
        raise NotImplementedError

    def task_gradient(self, start, support, query, key):
        """A task's loss and gradients for `meta_variables`; subclasses say which."""
        raise NotImplementedError

    def rates(self) -> list:
        """Rates of the adapting parameters in the inner loop, scalars."""
        return self.inner.base_rates

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer,
        objective: inner_loop.Objective,
        *,
        inner_rates: dict[str, float],
        inner_steps: int,
        inner_batch: int | None = None,
        inner_optimizer: str = "sgd",
        first_order: bool = True,
        measure: inner_loop.Objective | None = None,
        vectorised: bool = False,
    ) -> None:
        """Fix objective, inner loop, meta-optimizer and trainable flags (document D 3).

        Args:
            optimizer: a fresh Keras optimizer for the start.
            objective: that of `inner_loop.InnerLoop`.
            inner_rates: its `rates`.
            inner_steps: k, inner updates of a task in training.
            inner_batch: its `batch`.
            inner_optimizer: its `optimizer`.
            first_order: its `first_order`; of no effect on Reptile.
            measure: what `evaluate_tasks` reports, None for the objective.
            vectorised: run the tasks by `tf.vectorized_map`: 4 times faster than
                `tf.map_fn` for the sinusoid's small network, but slower for a dense
                VAE, and no gain at 5 times the tracing for convolutions.

        Raises:
            InputError: too few inner steps, or see `inner_loop.InnerLoop`.
        """
        if inner_steps < self.least_steps:
            raise errors.InputError(
                f"inner_steps is {inner_steps}; choose {self.least_steps} or more"
            )
        self.inner = inner_loop.InnerLoop(
            self.network,
            objective,
            inner_rates,
            batch=inner_batch,
            optimizer=inner_optimizer,
            first_order=first_order,
        )
        self.inner_steps, self.measure = inner_steps, measure or objective
        self.vectorised = vectorised
        self.meta_optimizer = optimizer
        self.meta_optimizer.build(self.meta_variables())
        self._compiled_fit = tf.function(self._fit_task, autograph=False)
        self._compiled_score = tf.function(self._score_task, autograph=False)
        self.fix_flags()

    def _fit_task(self, values, moments, support, key, first, last):
        return self.inner.run(values, moments, self.rates(), support, key, first, last)

    def _score_task(self, values, query, key):
        return self.inner.loss(values, query, key, self.measure)

    def train_step(self, data) -> dict[str, tf.Tensor]:
        """One meta-update from the mean over tasks; Keras compiles it."""
        self.check_flags()
        support, query = data
        tasks = tf.shape(tf.nest.flatten(support)[0])[0]
        keys = tf.random.experimental.stateless_split(self.key(0), tasks)
        start, variables = self.inner.start(), self.meta_variables()

        def gradient(task):
            return self.task_gradient(start, *task)

        if self.vectorised:
            losses, gradients = tf.vectorized_map(gradient, (support, query, keys))
        else:
            losses, gradients = tf.map_fn(
                gradient,
                (support, query, keys),
                fn_output_signature=(start[0].dtype, [v.dtype for v in variables]),
            )
        means = [
            self.scaled(tf.reduce_mean(each, axis=0), self.meta_optimizer)
            for each in gradients
        ]
        self.step(self.meta_optimizer, means, variables)
        self.updates.assign_add(1)
        return self.logs(loss=tf.reduce_mean(losses))

    def adapt(self, support, steps: int, *, seed: int = 0) -> keras.Model:
        """Meta-test: a network fitted to one task (documents D 3.1.2, D 3.2.2).

        Args:
            support: as in training, without the axis of tasks.
            steps: inner updates, 0 or more.
            seed: fixes the objective's draws.

        Returns:
            A new network; the learned start stays as it is.
        """
        (values,) = self._parameters(support, [steps], seed)
        variables = self.network.trainable_variables
        found = {v.path: x for v, x in zip(variables, values, strict=True)}
        adapted = keras.models.clone_model(self.network)
        for old, new in zip(self.network.weights, adapted.weights, strict=True):
            new.assign(found.get(old.path, old))
        return adapted

    def evaluate_tasks(
        self, tasks: Iterable, steps: tuple[int, ...] = (0, 1, 5, 10), *, seed: int = 0
    ) -> np.ndarray:
        """The measure on unseen tasks after several numbers of steps (D 3.1.2).

        Args:
            tasks: pairs `(support, query)` as in training, without the axis of tasks.
            steps: rising numbers of inner updates.
            seed: fixes the draws, the same for every task.

        Returns:
            float64 `[tasks, len(steps)]`, of the query sets: for paired comparisons.

        Raises:
            InputError: the steps do not rise.
        """
        if list(steps) != sorted(set(steps)):
            raise errors.InputError(f"the numbers of steps do not rise: {steps}")
        key, rows = tf.constant([seed, 1]), []
        for support, query in tasks:
            query = tf.nest.map_structure(tf.convert_to_tensor, query)
            found = self._parameters(support, steps, seed)
            rows.append(
                [float(self._compiled_score(each, query, key)) for each in found]
            )
        return np.array(rows, np.float64).reshape(-1, len(steps))

    def _parameters(self, support, steps: Iterable[int], seed: int):
        """Yield a task's parameters after each number of steps."""
        support = tf.nest.map_structure(tf.convert_to_tensor, support)
        values, key, done = self.inner.start(), tf.constant([seed, 0]), 0
        moments = self.inner.moments(values)
        for count in steps:
            values, moments, _ = self._compiled_fit(
                values, moments, support, key, tf.constant(done), tf.constant(count)
            )
            done = count
            yield values


class MAML(MetaLearner):
    """Learn a start that k gradient steps fit to a task (documents D 3.1.1, D 3.2.1).

    The meta-loss is the query loss after k inner steps on the support set. With k = 0
    it is plain pretraining on the query sets of all tasks: the baseline.

    Attributes:
        log_rates: float `[layers with weights]`: a layer's inner rate is its rate in
            `inner_rates` times exp(log_rates); zeros until learned. One rate per layer,
            after Li et al., "Meta-SGD", 2017.
    """

    least_steps = 0

    def __init__(self, network: keras.Model, *, seed: int = 0):
        super().__init__(network, seed=seed)
        self._places = {
            variable.path: place
            for place, layer in enumerate(
                each for each in network.layers if each.weights
            )
            for variable in layer.weights
        }
        layers = len(set(self._places.values()))
        # Not `trainable`: Keras files such weights before the update counter.
        self.log_rates = self.add_weight(
            name="log_rates", shape=(layers,), initializer="zeros", trainable=False
        )

    def compile(
        self, *args, first_order: bool = False, learned_rates: bool = False, **settings
    ) -> None:
        """As `MetaLearner.compile` (document D 3).

        Args:
            *args: optimizer and objective.
            first_order: leave the second derivatives out: 2.7 times faster.
            learned_rates: meta-train the layers' rates too.
            **settings: the others of `MetaLearner.compile`.

        Raises:
            InputError: see there; or rates to be learned in no steps.
        """
        if learned_rates and settings["inner_steps"] == 0:
            raise errors.InputError("learned_rates need inner_steps of 1 or more")
        self.learned_rates = learned_rates
        super().compile(*args, first_order=first_order, **settings)

    def meta_variables(self) -> list[keras.Variable]:
        """All trainable weights, and `log_rates` if they are learned."""
        learned = [self.log_rates] if self.learned_rates else []
        return self.network.trainable_variables + learned

    def rates(self, log_rates=None) -> list[tf.Tensor]:
        """Rates of the adapting parameters: base rate times exp(log rate)."""
        variables = self.network.trainable_variables
        factors = tf.exp(self.log_rates if log_rates is None else log_rates)
        return [
            rate * factors[self._places[variables[i].path]]
            for i, rate in zip(self.inner.adapting, self.inner.base_rates, strict=True)
        ]

    def task_gradient(self, start, support, query, key):
        """Query loss after the inner steps, and its gradients through them.

        dL(W_k)/dW_0 with W_j+1 = W_j - rate * dL/dW(W_j); with `first_order` the second
        factor's derivative is left out, so it is dL/dW at W_k.
        """
        values = [tf.identity(each) for each in start]
        log_rates = tf.convert_to_tensor(self.log_rates)
        sources = values + ([log_rates] if self.learned_rates else [])
        with tf.GradientTape() as tape:
            tape.watch(sources)
            rates, moments = self.rates(log_rates), self.inner.moments(values)
            for number in range(self.inner_steps):
                values, moments, _ = self.inner.step(
                    values, moments, rates, support, key, number
                )
            key += tf.constant([0, training.DRAWS * self.inner_steps])
            loss = self.inner.loss(values, query, key)
        return loss, tape.gradient(loss, sources, unconnected_gradients="zero")


class Reptile(MetaLearner):
    """Move the start towards where tasks take it (documents D 3.1.1, D 3.2.1).

    The pseudo-gradient is W_0 - W_k, W_k after k inner steps on support and query set
    together; SGD at rate e moves W_0 to W_0 + e (mean W_k - W_0). With k = 1 that is
    plain joint training; give it `inner_batch`, for what it learns beyond comes from
    differing batches.
    """

    def meta_variables(self) -> list[keras.Variable]:
        """The adapting weights."""
        variables = self.network.trainable_variables
        return [variables[i] for i in self.inner.adapting]

    def task_gradient(self, start, support, query, key):
        """Mean loss of the inner steps, and W_0 - W_k of the adapting weights."""
        both = tf.nest.map_structure(
            lambda *parts: tf.concat(parts, axis=0), support, query
        )
        values, _, total = self.inner.run(
            start,
            self.inner.moments(start),
            self.rates(),
            both,
            key,
            tf.constant(0),
            tf.constant(self.inner_steps),
        )
        moved = [start[i] - values[i] for i in self.inner.adapting]
        return total / self.inner_steps, moved
