import dataclasses

import numpy as np
import pytest

from gan_transfer import errors, meta_records, predictor, task_space


def problem(count=12, width=4, noise=0.1):
    draws = np.random.default_rng(0)
    x = draws.normal(size=(count, width))
    y = 3 + x @ draws.normal(size=width) + noise * draws.normal(size=count)
    return x, y


def direct(x, y, weight):
    """The penalised fit by the normal equations, the intercept unpenalised."""
    design = np.hstack([x, np.ones((len(x), 1))])
    penalty = np.diag([weight] * x.shape[1] + [0.0])
    return np.linalg.solve(design.T @ design + penalty, design.T @ y)


@pytest.mark.parametrize("shape", [(12, 4), (5, 9)])
@pytest.mark.parametrize("weight", [0.01, 2.0, 300.0])
def test_leave_one_out_is_what_leaving_one_out_gives(shape, weight):
    x, y = problem(*shape)
    residuals = []
    for number in range(len(x)):
        kept = np.arange(len(x)) != number
        # The penalty stays; the means are those of the rest.
        solution = direct(x[kept], y[kept], weight)
        residuals.append(y[number] - np.append(x[number], 1) @ solution)
    found = predictor.leave_one_out(x, y, weight)
    np.testing.assert_allclose(found, residuals, rtol=1e-8)


def test_an_infinite_weight_predicts_the_mean():
    x, y = problem()
    found = predictor.leave_one_out(x, y, np.inf)
    expected = [y[n] - np.delete(y, n).mean() for n in range(len(y))]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_ridge_is_the_direct_solution_at_the_best_weight():
    x, y = problem()
    fit = predictor.Ridge.fit(x, y)
    assert 0 < fit.weight < np.inf and fit.error < 0.3 * fit.mean_error
    *coefficients, intercept = direct(x, y, fit.weight)
    np.testing.assert_allclose(fit.coefficients, coefficients, rtol=1e-9)
    assert fit.intercept == pytest.approx(intercept, rel=1e-9)
    assert fit(x[3]) == pytest.approx(np.append(x[3], 1) @ direct(x, y, fit.weight))
    for weight in (fit.weight / 3, fit.weight * 3):
        residuals = predictor.leave_one_out(x, y, weight)
        assert np.sqrt(np.mean(residuals**2)) >= fit.error - 1e-3
    mean = predictor.leave_one_out(x, y, np.inf)
    assert fit.mean_error == pytest.approx(np.sqrt(np.mean(mean**2)), rel=1e-12)


@pytest.mark.parametrize(
    "y", [np.full(6, 2.5), np.random.default_rng(3).normal(size=6)]
)
def test_tasks_that_tell_nothing_give_the_mean(y):
    fit = predictor.Ridge.fit(np.zeros((6, 2)), y)
    assert fit.weight == np.inf and fit.error == fit.mean_error
    assert fit(np.array([5.0, -1.0])) == pytest.approx(y.mean())


def stored(number, sigma, **changes):
    """A task on which `strong` gets better with sigma, `weak` worse."""
    models = tuple(
        meta_records.StoredModel(name, "CNN", {"of": number}, None, f"{name}-start")
        for name in ("strong", "weak", "rare")[: 2 + (number < 2)]
    )
    labels = [
        meta_records.MetaLabel("strong", 8, 5, "psnr", 20 + 30 * sigma),
        meta_records.MetaLabel("weak", 2, 0, "psnr", 30 - 20 * sigma),
        meta_records.MetaLabel("weak", 2, 0, "ssim", 0.5),
    ]
    if number < 2:
        labels.append(meta_records.MetaLabel("rare", 1, 0, "psnr", 99.0))
    values = {"features": np.float32([number, 1]), "models": models}
    values |= {"labels": tuple(labels), **changes}
    name, descriptor = f"t{number}", {"sigma": sigma}
    return meta_records.StoredTask(name, "restoration", descriptor, "", "", **values)


TASKS = [stored(number, sigma) for number, sigma in enumerate((0, 0.1, 0.25, 0.3, 0.5))]
STRONG, WEAK = predictor.Candidate("strong", 8, 5), predictor.Candidate("weak", 2, 0)


def test_predictions_are_those_of_a_ridge_on_the_vectors_of_the_tasks():
    learner = predictor.Predictor(TASKS, "psnr")
    assert learner.fits.keys() == {STRONG, WEAK}
    space = task_space.TaskSpace([task.descriptor for task in TASKS])
    x = np.stack([space.vector(task.descriptor) for task in TASKS])
    y = np.array([20 + 30 * task.descriptor["sigma"] for task in TASKS])
    expected = predictor.Ridge.fit(x, y)(space.vector({"sigma": 0.4}))
    found = learner.predict({"sigma": 0.4})
    assert found[STRONG] == pytest.approx(expected, rel=1e-12)
    assert found == pytest.approx({STRONG: 32, WEAK: 22}, rel=1e-3)


def test_the_choice_is_the_best_candidate_with_the_settings_of_the_nearest_task():
    learner = predictor.Predictor(TASKS, "psnr")
    choice = learner.choose({"sigma": 0.42})
    assert (choice.candidate, choice.task) == (STRONG, "t4")
    assert (choice.start, choice.configuration) == ("strong-start", {"of": 4})
    assert choice.value == learner.predict({"sigma": 0.42})[STRONG]
    assert choice.error == learner.fits[STRONG].error
    assert learner.choose({"sigma": 0.42}, maximise=False).candidate == WEAK
    assert learner.choose({"sigma": 0.42}, examples=7).candidate == WEAK
    assert learner.choose({"sigma": 0.09}).candidate == WEAK
    assert learner.choose({"sigma": 0.09}).task == "t1"
    with pytest.raises(errors.InputError, match="needs 2 examples .* the task has 1"):
        learner.choose({"sigma": 0.4}, examples=1)


def test_the_nearest_task_without_the_algorithm_is_passed_over():
    tasks = [*TASKS, stored(5, 0.41, models=TASKS[0].models[1:2], labels=())]
    choice = predictor.Predictor(tasks, "psnr").choose({"sigma": 0.42})
    assert (choice.candidate, choice.task) == (STRONG, "t4")


def test_features_count_if_asked_for():
    tasks = [dataclasses.replace(task, descriptor={}) for task in TASKS]
    learner = predictor.Predictor(tasks, "psnr", use_features=True)
    near = learner.predict({}, np.float32([4, 1]))[STRONG]
    assert near > learner.predict({}, np.float32([0, 1]))[STRONG] + 10
    with pytest.raises(errors.InputError, match="features have shape"):
        learner.predict({})


def test_descriptors_count_for_nothing_if_left_out():
    blind = {"use_features": True, "use_descriptors": False}
    learner, features = predictor.Predictor(TASKS, "psnr", **blind), np.float32([3, 1])
    found = learner.predict({}, features)
    assert found == learner.predict({"sigma": 9.0}, features)
    bare = [dataclasses.replace(task, descriptor={}) for task in TASKS]
    other = predictor.Predictor(bare, "psnr", use_features=True)
    assert found == other.predict({}, features)


def test_a_label_in_too_few_tasks_is_refused():
    message = "no algorithm has the meta-label 'psnr' in 3 of the 2 stored tasks"
    with pytest.raises(errors.InputError, match=message):
        predictor.Predictor(TASKS[:2], "psnr")
    with pytest.raises(errors.InputError, match="meta-label 'fcd'"):
        predictor.Predictor(TASKS, "fcd")
