"""Cells, pictures and verdict of the restoration study (documents D 3.2, D 5)."""

import dataclasses
import json
import time

import numpy as np

from experiments.support import meta_adaptation, meta_restoration, meta_study
from gan_transfer import writing

PARTS = ("unseen_strengths", "unseen_kinds")
# Rows that adapt by steps.
STARTS = ("scratch", "pretraining", "maml", "reptile")
# Rows that start from stored weights: those nearest by the look of the damaged
# examples, and by the descriptor, which all other rows but `descriptor` do not know.
NEAREST = ("nearest", "nearest_told")
COLUMNS = (
    *("damaged", "shipped", "filter", "scratch", "pretraining", "descriptor"),
    *(*NEAREST, "predictor", "reptile", "maml"),
)
SHOWN = (1, 5, 10, 50)  # steps in the picture
DRAWN = tuple((part, number) for part in PARTS for number in (0, 1))
_HEADS = ("damaged", "scratch", "pre- training", "maml", "reptile", "truth")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a study was asked for, see the flags of `experiments.meta_restore`."""

    model: str
    pictures: str
    inner: str
    inner_rate: float | None
    second_order: bool
    steps: int
    evaluations: int
    verbose: int | str

    def adapting(self, method: str) -> str:
        """What of a start adapts to a task: the baselines always have all layers."""
        return self.inner if method in ("maml", "reptile") else "all"


class Study:
    """One seed of a study: trainings, ways to adapt, cells (document D 3.2).

    Args:
        directory: the run directory.
        settings: of the study.
        tasks: part -> tasks: `train`, `validation`, `stored`, and the `PARTS`.
        seed: of networks and training; the tasks are the same for all seeds.
    """

    def __init__(self, directory, settings: Settings, tasks: dict, seed: int):
        self.directory, self.settings, self.tasks = directory, settings, tasks
        self.seed, self.folder = seed, directory.path(f"seed{seed}")
        self.seconds = {}

    def _network(self, **options):
        import keras

        keras.utils.set_random_seed(self.seed)
        return meta_restoration.build(
            self.settings.model, self.settings.inner, **options
        )

    def train(self) -> None:
        """All trainings that are missing, then `starts` and the `tester`."""
        settings, networks, log_rates = self.settings, {}, None
        for method in meta_restoration.TRAININGS:
            told = meta_restoration.TRAININGS[method].told
            if told and settings.model not in meta_restoration.TOLD_MODELS:
                continue
            network = self._network(told=True) if told else self._network()
            if method in ("maml", "reptile"):
                network.set_weights(networks["warm"].get_weights())
            learner = meta_restoration.learner(method, network, self.seed)
            rows = meta_restoration.train(
                method,
                learner,
                self.tasks["train"],
                self.folder / method,
                inner=settings.inner,
                inner_rate=settings.inner_rate,
                second_order=settings.second_order,
                steps=settings.steps,
                evaluations=settings.evaluations,
                seed=self.seed,
                verbose=settings.verbose,
            )
            meta_study.save_networks(self.folder / method, learner)
            networks[method] = network
            self.seconds[method] = rows[-1]["cpu_seconds"]
            print(f"seed {self.seed}: {method} trained", flush=True)
            if method == "maml":
                log_rates = learner.log_rates.numpy()
        networks["scratch"] = self._network(untrained=True)
        self.networks = networks
        adapting = {method: settings.adapting(method) for method in STARTS}
        self.tester = meta_adaptation.Tester(
            self._network(), tuple(dict.fromkeys(adapting.values()))
        )
        rate = settings.inner_rate or meta_restoration.TRAININGS["maml"].rate
        self.starts = {}
        for method, inner in adapting.items():
            ways = self.tester.plain_ways(inner)
            if method == "maml":
                ways += self.tester.learned_ways(log_rates, rate, inner)
            self.starts[method] = meta_adaptation.Start(
                networks[method].get_weights(), ways
            )

    def gradients(self) -> dict[str, int]:
        """What every training cost: gradients of ten images over all its tasks."""
        settings, found = self.settings, {}
        for method, way in meta_restoration.TRAININGS.items():
            second = settings.second_order and method == "maml"
            updates = way.updates(settings.steps, second)
            updates = -(-updates // settings.evaluations) * settings.evaluations
            found[method] = updates * way.gradients(second) * meta_restoration.TASKS
        return found

    def choose(self) -> None:
        """`ways` and `penalties`, by the validation tasks alone; kept in a file."""
        path, tasks = self.folder / "ways.json", self.tasks["validation"]
        if not path.exists():
            found = {"ways": {}, "penalties": {}}
            for examples in meta_adaptation.EXAMPLES:
                penalty = meta_adaptation.best_penalty(tasks, examples)
                found["penalties"][examples] = penalty
                pairs = meta_adaptation.split(tasks, examples)
                for method, start in self.starts.items():
                    step = meta_adaptation.CHOSEN_AT
                    if method == "scratch":
                        step = meta_adaptation.LONG
                    way = self.tester.choose(start, pairs, step)
                    found["ways"][f"{method}-{examples}"] = dataclasses.asdict(way)
            with writing.replacing(path) as temporary:
                temporary.write_text(json.dumps(found, indent=1))
        found = json.loads(path.read_text())
        self.penalties = {int(n): value for n, value in found["penalties"].items()}
        self.ways = {}
        for name, way in found["ways"].items():
            method, _, examples = name.rpartition("-")
            self.ways[method, int(examples)] = meta_adaptation.Way(**way)

    def fill(self) -> None:
        """The meta-database of this seed; what it holds already is left."""
        self.database = self.directory.path("database") / f"seed{self.seed}"
        meta_adaptation.fill(
            self.database,
            self.tasks["stored"],
            self.tester,
            {name: self.starts[name] for name in STARTS if name != "scratch"},
            self.ways,
            self.penalties,
            {"model": self.settings.model},
            self.settings.pictures,
        )

    def cells(self) -> list[dict]:
        """Every cell of this seed, measured where it is missing."""
        from gan_transfer import meta_database

        found = []
        with meta_database.MetaDatabase.open(self.database) as database:
            for part in PARTS:
                found += self._zero_shot(part)
                for examples in meta_adaptation.EXAMPLES:
                    found += self._few_shot(part, examples, database)
                print(f"seed {self.seed}: {part} measured", flush=True)
        return found

    def _cell(self, part, method, examples, measure) -> dict:
        cell = meta_study.Cell(self.seed, part, method, examples)
        return meta_study.measured(self.directory, cell, measure)

    def _zero_shot(self, part: str) -> list[dict]:
        from restoration import pretrained

        tasks = self.tasks[part]
        levelled = tasks if len(tasks[0].arrays) > 2 else [t.levelled() for t in tasks]
        scored = {name: (self.networks[name], tasks) for name in STARTS}
        scored["shipped"] = (pretrained.load("restorer_gray"), levelled)
        if "descriptor" in self.networks:
            told = [task.told() for task in tasks]
            scored["descriptor"] = (self.networks["descriptor"], told)
        cells = [
            self._cell(
                part,
                method,
                0,
                lambda pair=pair: {"values": {0: meta_adaptation.unadapted(*pair)}},
            )
            for method, pair in scored.items()
        ]

        def damaged():
            pairs = meta_adaptation.split(tasks, 1)
            row = [meta_adaptation.psnr_of(q[0], q[-1]) for _, q in pairs]
            return {"values": {0: row}}

        return [*cells, self._cell(part, "damaged", 0, damaged)]

    def _few_shot(self, part: str, examples: int, database) -> list[dict]:
        tasks, steps = self.tasks[part], meta_adaptation.STEPS
        pairs = meta_adaptation.split(tasks, examples)

        def adapted(method):
            way, start = self.ways[method, examples], self.starts[method]
            taken = (*steps, meta_adaptation.LONG) if method == "scratch" else steps
            rows, seconds = [], []
            for pair in pairs:
                begun = time.perf_counter()
                rows.append(self.tester.measure(start, way, [pair], taken)[0])
                seconds.append(time.perf_counter() - begun)
            values = dict(zip(taken, np.stack(rows).T, strict=True))
            return {"values": values, "seconds": float(np.median(seconds))}

        def nearest(told):
            way, rows = self.ways["pretraining", examples], []
            for task, pair in zip(tasks, pairs, strict=True):
                given = {"features": meta_adaptation.look(pair[0][0])}
                if told:
                    given = {"descriptor": task.descriptor}
                start = meta_adaptation.nearest(database, "pretraining", **given)
                rows.append(self.tester.measure(start, way, [pair], steps)[0])
            return {"values": dict(zip(steps, np.stack(rows).T, strict=True))}

        def linear():
            penalty = self.penalties[examples]
            return {"values": {0: meta_adaptation.linear(tasks, examples, penalty)}}

        cells = [
            self._cell(part, method, examples, lambda method=method: adapted(method))
            for method in STARTS
        ]
        for name in NEAREST:
            told = name == "nearest_told"
            cells.append(self._cell(part, name, examples, lambda t=told: nearest(t)))
        cells.append(self._cell(part, "filter", examples, linear))
        known = {
            cell["method"]: {int(s): row for s, row in cell["values"].items()}
            for cell in cells
            if cell["method"] not in ("scratch", *NEAREST)
        }

        def chosen():
            found = meta_adaptation.predicted(database, pairs, known, examples)
            return {"values": found}

        return [*cells, self._cell(part, "predictor", examples, chosen)]

    def draw(self, path) -> None:
        """A few unseen tasks: examples x steps against methods, `pictures.png`."""
        from restoration import metrics

        rows = [(0, 0)]
        rows += [(n, s) for n in meta_adaptation.EXAMPLES for s in SHOWN]
        blocks = []
        for part, number in DRAWN:
            task = self.tasks[part][number]
            _, (*inputs, clean) = meta_adaptation.split([task], 1)[0]
            blank = np.full((*clean.shape[1:],), 255, np.uint8)
            images = []
            for examples, steps in rows:
                support, _ = meta_adaptation.split([task], max(1, examples))[0]
                line = [] if steps else [metrics.quantise(inputs[0][0])]
                for method in STARTS:
                    way = self.ways[method, max(1, examples)]
                    network = self.tester.adapted(
                        self.starts[method], way, support, steps
                    )
                    given = [each[:1] for each in inputs]
                    output = network(given if len(given) > 1 else given[0])
                    line.append(metrics.quantise(np.nan_to_num(output[0])))
                line += [] if steps else [metrics.quantise(clean[0])]
                images.append([blank, *line, blank] if steps else line)
            name = f"{task.group} ({part.replace('_', ' ')})"
            blocks.append((name, _HEADS, np.array(images)))
        labels = [
            f"{n} example{'s' * (n != 1)}, {s} step{'s' * (s != 1)}" for n, s in rows
        ]
        meta_study.picture_grid(path, blocks, labels, "unseen tasks, one image each")
