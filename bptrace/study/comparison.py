"""Several runs side by side: losses, paths of chosen numbers, when a threshold is reached, where they part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from bptrace.errors import UsageError, nearest
from bptrace.graph.lookup import LookupFailedError, element_id, find_part
from bptrace.graph.node import Node
from bptrace.network import Network
from bptrace.study.difference import Difference, first_difference
from bptrace.study.norms import numbers
from bptrace.study.variants import Variant, differing, variants

if TYPE_CHECKING:
    from bptrace.trace import Trace

FORMAT = "bptrace-comparison"
VERSION = 1
BUDGET = 256 << 20
"""Bytes of numbers that all runs together keep of iterations that nobody asked for."""
FIRST_KEPT = 10
"""Iterations that are kept at least, from the first: where runs part is mostly there."""
FEW = 4
"""Numbers among the parameters up to which their path is shown without being asked for."""
PARTS = ("training", "validation", "test")
"""The parts of the data, in the order in which their metrics stand."""
REPEATED_BY = ("data.folds.hold_out", "data.folds.seed", "data.split.seed", "training.seed", "seed")
"""Settings that say how often a thing is repeated: where runs differ in these only, their mean is of interest."""
PART_OF_FIRST = 0.01
"""The threshold that is taken where none is given: this share of the first loss."""


@dataclass(frozen=True)
class Run:
    """One of the runs. `losses[k]` is the loss after k updates; `path` likewise by id, None where not known."""

    variant: Variant
    trace: Trace
    losses: list[float | None]
    path: dict[str, list[float | None]]

    @property
    def letter(self) -> str:
        return self.variant.letter

    @property
    def best(self) -> int | None:
        """After how many updates the loss was lowest."""
        known = [k for k, loss in enumerate(self.losses) if loss is not None and isfinite(loss)]
        return min(known, key=lambda k: self.losses[k] or 0.0) if known else None

    @property
    def metrics(self) -> dict[str, dict[str, float | None]]:
        """The last epoch's loss and metrics, by part of the data."""
        columns = self.trace.metrics or {}
        return {part: {name: course[-1] for name, course in columns[part].items()} for part in PARTS if part in columns}

    def reaches(self, threshold: float) -> int | None:
        """After how many updates the loss is at most the threshold for the first time."""
        return next((k for k, loss in enumerate(self.losses) if loss is not None and loss <= threshold), None)


@dataclass(frozen=True)
class Start:
    """How a run's start compares with the first run's: parameters that differ, that only one has; the data."""

    differ: tuple[str, ...]
    unmatched: tuple[str, ...]
    data: tuple[str, ...]

    @property
    def same(self) -> bool:
        return not (self.differ or self.unmatched or self.data)


@dataclass(frozen=True)
class Comparison:
    """Runs in order; all differences are those from the first run."""

    columns = ("run", "updates", "id", "value")
    """The heads of the rows of the CSV."""

    runs: list[Run]
    threshold: float | None
    given: bool
    """Whether the threshold was given."""
    settings: dict[str, list[Any]]
    starts: list[Start]
    differences: list[Difference | None]

    @property
    def length(self) -> int:
        """The updates of the longest run."""
        return max(len(run.losses) for run in self.runs) - 1

    @property
    def batches(self) -> bool:
        """Whether some losses are those of a batch and not of all data."""
        return any(_batches(run.trace) for run in self.runs)

    @property
    def repeats(self) -> bool:
        """Whether the runs are the same but for their rows and their chance."""
        return bool(self.settings) and set(self.settings) <= set(REPEATED_BY)

    def spread(self, part: str, metric: str) -> tuple[float, float] | None:
        """The mean of a metric over the runs, and its standard deviation with the divisor runs - 1."""
        values = [run.metrics.get(part, {}).get(metric) for run in self.runs]
        known = [value for value in values if value is not None]
        return (mean(known), stdev(known)) if len(known) == len(values) else None

    @property
    def other_losses(self) -> list[str]:
        """The runs whose loss is another function than the first run's."""
        heads = ("loss", "penalty", "graph", "output")
        return [
            run.letter
            for k, run in enumerate(self.runs)
            if any(path.split(".")[0].split("[")[0] in heads and values[k] != values[0]
                   for path, values in self.settings.items())
        ]  # fmt: skip

    def text(self, **style: Any) -> str:
        """The page; `style` are fields of `bptrace.report.study.StudyStyle`, and `iterations` to show."""
        from bptrace.report.comparison import page
        from bptrace.writers.study_text import study_text

        return study_text(*page(self, **style))

    def __str__(self) -> str:
        return self.text()

    def json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "threshold": self.threshold,
            "settings": self.settings,
            "spread": self._spreads() if self.repeats else None,
            "runs": [
                {
                    "run": run.letter,
                    "network": run.trace.spec.file,
                    "name": run.trace.network.name,
                    "changes": list(run.variant.changes),
                    "iterations": run.trace.count,
                    "stopped": None if run.trace.stopped is None else str(run.trace.stopped),
                    "losses": run.losses,
                    "best": run.best,
                    "reached": None if self.threshold is None else run.reaches(self.threshold),
                    "path": run.path,
                    "metrics": run.metrics,
                    "start": {
                        "same": start.same, "differ": list(start.differ), "unmatched": list(start.unmatched),
                        "data": list(start.data),
                    },
                    "first_difference": _difference(difference),
                }
                for run, start, difference in zip(self.runs, self.starts, self.differences, strict=True)
            ],
        }  # fmt: skip

    def _spreads(self) -> dict[str, dict[str, dict[str, float]]]:
        """Mean and standard deviation of every metric that all runs have."""
        made: dict[str, dict[str, dict[str, float]]] = {}
        for part, metrics in self.runs[0].metrics.items():
            for metric in metrics:
                found = self.spread(part, metric)
                if found is not None:
                    made.setdefault(part, {})[metric] = {"mean": found[0], "std": found[1]}
        return made

    def rows(self) -> Iterator[tuple[str, int, str, float]]:
        """Every number as run, updates done, id, value: the rows of the CSV."""
        for run in self.runs:
            for id, course in {"loss": run.losses, **run.path}.items():
                for k, value in enumerate(course):
                    if value is not None:
                        yield run.letter, k, id, value
            columns = run.trace.metrics or {}
            for part in (part for part in PARTS if part in columns):
                for name, course in columns[part].items():
                    for updates, value in zip(columns["iteration"][-len(course) :], course, strict=True):
                        if value is not None:
                            yield run.letter, updates, f"{part}.{name}", value


def _difference(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    return {
        "iteration": difference.iteration, "id": difference.id, "values": difference.values,
        "shapes": [list(shape) for shape in difference.shapes], "same_formula": difference.same_formula,
        "causes": [{"id": id, "values": [one, two]} for id, one, two in difference.causes],
    }  # fmt: skip


def compare(
    sources: Sequence[Network | str],
    *,
    vary: Sequence[str] = (),
    sets: Sequence[str] = (),
    iterations: int | None = None,
    until: float | None = None,
    path: Sequence[str] | None = None,
    text: str | None = None,
) -> Comparison:
    """Run networks, or variants of them, and put them side by side.

    `vary` are `path=value,value`, of which every combination is a run; `sets` are `path=value` for all.
    `until` is the threshold of the loss, by default 1% of the first run's first. `path` are ids or names
    whose course is kept, by default the parameters where they are few numbers.
    """
    found = variants(sources, vary, sets, text)
    if len(found) < 2:
        raise UsageError("compare: one run only; name several networks, or vary a setting: --vary optimizer=sgd,adam")
    if iterations is not None and iterations < 1:
        raise UsageError(f"--iterations {iterations}: at least 1")
    _need_losses(found)
    wanted = _path(found, path)
    traces = [_run(variant, iterations, len(found)) for variant in found]
    runs = [
        Run(variant, trace, _losses(trace), {id: _course(trace, id) for id in wanted})
        for variant, trace in zip(found, traces, strict=True)
    ]
    first = runs[0].losses[0]
    threshold = until
    if until is None and first is not None and isfinite(first) and first > 0:
        threshold = PART_OF_FIRST * first
    return Comparison(
        runs, threshold, until is not None, differing(found),
        [_start(traces[0], trace) for trace in traces],
        [first_difference(traces[0], trace) if trace is not traces[0] else None for trace in traces],
    )  # fmt: skip


def _need_losses(found: Sequence[Variant]) -> None:
    without = [variant for variant in found if variant.network.assembly().graph.loss is None]
    if without:
        names = ", ".join(dict.fromkeys(variant.network.spec.file for variant in without))
        raise UsageError(f"compare: no loss in {names}; a loss, or a graph with one number as its output, is compared")


def _run(variant: Variant, iterations: int | None, count: int) -> Trace:
    """A run that keeps all its numbers where all runs' have room, else those of the first iterations and the last."""
    if variant.stored is not None:
        if iterations is not None:
            raise UsageError(f"--iterations {iterations}: run {variant.letter} is a stored trace, nothing is run")
        return variant.stored
    planned = variant.network.planned(iterations)
    row = 8 * sum(node.size for node in variant.network.assembly().graph.stored())
    if planned * row * count <= BUDGET:
        return variant.network.run(iterations)
    return variant.network.run(iterations, show=[*range(1, FIRST_KEPT + 1), planned])


def _batches(trace: Trace) -> bool:
    return trace.count > 0 and trace.assembly(1).samples < trace.final_assembly.samples


def _losses(trace: Trace) -> list[float | None]:
    """The loss after 0, 1, ... updates; the last one over all data."""
    found = [None if loss is None else float(loss) for loss in trace.losses]
    if trace.stopped is None:
        last = trace.final["loss"]
        found.append(None if last is None else float(last))
    return found


# the path of chosen numbers


def _path(found: Sequence[Variant], asked: Sequence[str] | None) -> list[str]:
    """The elements whose course is kept, as ids of single numbers, in the first run's notation."""
    graphs = [variant.network.assembly().graph for variant in found]
    if asked is None:
        first = found[0].network.assembly()
        few = sum(node.size for node in first.trainable) <= FEW
        shared = all(node.id in graph.by_id for node in first.trainable for graph in graphs)
        return [element_id(n, k) for n in first.trainable for k in range(n.size)] if few and shared else []
    wanted: list[str] = []
    for name in asked:
        for variant, graph in zip(found, graphs, strict=True):
            try:
                part = find_part(graph, name)
            except LookupFailedError as error:
                near = nearest(name, [known for known in error.known if "~" not in known])
                hint = f"; did you mean '{near}'?" if near and near not in str(error) else ""
                raise UsageError(f"--path: run {variant.letter} ({variant.network.name}): {error}{hint}") from None
            if part.label:
                raise UsageError(f"--path {name}: a part of a formula has no course; name what it is a part of")
            if len(part.elements) > 20:
                raise UsageError(f"--path {name}: {len(part.elements)} numbers; name one of them: {part.node.id}[...]")
            if variant is found[0]:
                single = len(part.elements) == 1
                wanted += [name.strip()] if single else [element_id(part.node, k) for k in part.elements]
    return list(dict.fromkeys(wanted))


def _course(trace: Trace, id: str) -> list[float | None]:
    """A number after 0, 1, ... updates: as it stood in the next iteration, in the end in the closing pass."""
    course: list[float | None] = [None] * trace.count
    for iteration in trace.recorded:
        course[iteration - 1] = _number(trace, id, iteration)
    if trace.stopped is None:
        course.append(_last(trace, id))
    return course


def _number(trace: Trace, id: str, iteration: int) -> float | None:
    values = trace.values(iteration)
    try:
        part = find_part(values.assembly.graph, id)
    except LookupFailedError:
        return None
    return numbers(values, part.node)[part.elements[0]]


def _last(trace: Trace, id: str) -> float | None:
    """What the closing pass knows: parameters, states and the forward pass."""
    graph = trace.final_assembly.graph
    part = find_part(graph, id)
    if part.node in graph.carry or part.node.phase in ("parameter", "data", "setting"):
        return numbers(trace.final_parameters(trace.final_assembly), part.node)[part.elements[0]]
    if part.node.phase in ("forward", "loss"):
        return numbers(trace.final_values, part.node)[part.elements[0]]
    return None


# the start


def _start(first: Trace, other: Trace) -> Start:
    if first is other:
        return Start((), (), ())
    one, two = _parameters(first), _parameters(other)
    a, b = first.values(1), other.values(1)
    both = [id for id in one if id in two and one[id].shape == two[id].shape]
    differ = tuple(id for id in both if numbers(a, one[id]) != numbers(b, two[id]))
    unmatched = tuple(id for id in dict.fromkeys((*one, *two)) if id not in both)
    return Start(differ, unmatched, _other_data(first, other))


def _parameters(trace: Trace) -> dict[str, Node]:
    nodes = trace.assembly(1).graph.nodes
    return {node.id: node for node in nodes if node.phase == "parameter" and node.word != "state"}


def _other_data(first: Trace, other: Trace) -> tuple[str, ...]:
    """The inputs and targets that are not the same in both."""
    one, two = ({n.id: n for n in t.final_assembly.graph.nodes if n.phase == "data"} for t in (first, other))
    a, b = first.final_values, other.final_values
    ids = dict.fromkeys((*one, *two))
    both = {id for id in ids if id in one and id in two and one[id].shape == two[id].shape}
    return tuple(id for id in ids if id not in both or numbers(a, one[id]) != numbers(b, two[id]))
