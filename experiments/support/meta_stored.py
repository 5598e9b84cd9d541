"""The meta-database of meta-training, and what meta-test learns from it."""

import collections
import functools
import pathlib

import numpy as np

PREDICTOR = "predictor"
METHODS = ("nearest", PREDICTOR)
# What the database stores; trained where it is not among --methods.
DONORS = ("pretrain", "maml", "reptile")
METRIC = "minus_bound_nats"
_EXAMPLES = 10


def features(images):
    """Mean features of a task's drawings, float32 `[64]`: the shipped classifier's."""
    from gan_transfer import features as extractors

    rows = extractors.extract(_extractor(), images)
    return rows.mean(axis=0)


@functools.cache
def _extractor():
    from gan_transfer import features as extractors

    return extractors.classifier_features()


def fill(folder: pathlib.Path, study) -> None:
    """Store `Split.stored`, how each donor did on them, and its weights.

    Tasks that are there already with all donors are left. The stored weights are those
    after the last number of steps on 10 drawings.

    Args:
        folder: of the database.
        study: `meta_vae.Study`.
    """
    from gan_transfer import blobs, meta_database

    split = study.split
    with meta_database.MetaDatabase.open(folder) as database:
        there = {
            task.name: {model.algorithm for model in task.models}
            for task in database.tasks()
        }
        for task in split.stored:
            if not there.get(task.name, set()).issuperset(DONORS):
                digest = blobs.digest(task.pixels)
                row = _row(task, study, split.path.name, digest)
                database.add(row, replace=True)


def _row(task, study, data: str, digest: str):
    from gan_transfer import meta_records

    models, labels = [], []
    for method in DONORS:
        start, rates = study.start(method), study.chosen_rates(method)
        found = study.test(method, [task], lambda *_, start=start: start, rates)
        labels += _labels(study.settings, method, found["bound"][0])
        divided = study.split.divided(task, _EXAMPLES)
        last = study.settings.adaptation[-1:]
        (outcome,) = study.outcomes(method, start, rates[-1][-1], divided, last)
        pairs = (_named(study, each) for each in (outcome.values, start))
        configuration = {"network": study.settings.model, "rates": rates}
        models.append(meta_records.StoredModel(method, "VAE", configuration, *pairs))
    shown, _ = study.split.divided(task, _EXAMPLES)
    return meta_records.StoredTask(
        *(task.name, task.kind, dict(task.descriptor), data, digest),
        features=features(shown[0]),
        models=tuple(models),
        labels=tuple(labels),
    )


def _names(study) -> list[str]:
    network = study.adapter("pretrain").network
    paths = [v.path for v in network.trainable_variables]
    return [path.replace("/", ".") for path in paths]


def _named(study, values) -> dict:
    return {
        name: np.asarray(each) for name, each in zip(_names(study), values, strict=True)
    }


def _labels(settings, method: str, bounds) -> list:
    """A meta-label of each number of examples and steps that was measured."""
    from gan_transfer import meta_records

    return [
        meta_records.MetaLabel(method, shots, steps, METRIC, bounds[row, column])
        for row, shots in enumerate(settings.shots)
        for column, steps in enumerate(settings.adaptation)
        if np.isfinite(bounds[row, column])
    ]


def nearest(folder: pathlib.Path, study) -> dict:
    """Start every test character from the weights of the stored one most like it.

    Likeness is by the features of the given drawings; weights and rates are those of
    the first of `DONORS`.
    """
    from gan_transfer import meta_database

    donor = DONORS[0]

    def start_of(task, shots):
        shown, _ = study.split.divided(task, shots)
        ((name, _),) = database.nearest("generation", features=features(shown[0]))
        arrays = database.weights(name, donor)
        return [arrays[key] for key in _names(study)]

    rates = study.chosen_rates(donor)
    with meta_database.MetaDatabase.open(folder, read_only=True) as database:
        found = study.test(donor, study.split.test, start_of, rates, depends=True)
    return found | {"rates": np.array(rates)}


def predicted(folder: pathlib.Path, study) -> dict:
    """Let the predictor choose method and steps for every test character.

    Args:
        folder: of the database.
        study: `meta_vae.Study`.

    Returns:
        As of `Study.empty`, at 0 steps whatever was chosen, and `chosen`, int `[T,
        shots, 3]`: places of the donor in `DONORS`, of its examples and of its steps.
    """
    from gan_transfer import meta_database, predictor

    with meta_database.MetaDatabase.open(folder, read_only=True) as database:
        stored = database.tasks("generation")
    learner = predictor.Predictor(stored, METRIC, use_features=True)
    shots, steps = study.settings.shots, study.settings.adaptation
    found = study.empty(study.split.test)
    chosen = np.zeros((*found["bound"].shape[:2], 3), int)
    for number, task in enumerate(study.split.test):
        for row, count in enumerate(shots[1:], 1):
            shown, _ = study.split.divided(task, count)
            choice = learner.choose(
                task.descriptor,
                features(shown[0]),
                examples=count,
                maximise=False,
            ).candidate
            method = study.result(choice.algorithm)
            place = shots.index(choice.examples), steps.index(choice.steps)
            for name in ("bound", "weighted", "samples"):
                found[name][number, row, 0] = method[name][number, *place]
            chosen[number, row] = DONORS.index(choice.algorithm), *place
    return found | {"chosen": chosen}


def choices(found: dict, settings) -> dict[str, int]:
    """How often the predictor chose what, of all characters and numbers of examples.

    Args:
        found: as from `predicted`.
        settings: with `shots` and `adaptation`.
    """
    places = found["chosen"][:, 1:].reshape(-1, 3)
    counted = collections.Counter(
        f"{DONORS[donor]}, {settings.shots[row]} examples, "
        f"{settings.adaptation[column]} steps"
        for donor, row, column in places.tolist()
    )
    return dict(counted.most_common())
