"""The page of `compare`: the runs and how they differ, their losses, paths, and where they part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from bptrace.report.blocks import Heading
from bptrace.report.explain import explain
from bptrace.report.explanation import Step
from bptrace.report.labels import Words
from bptrace.report.sections import Title
from bptrace.report.study import Curve, Grid, Item, Note, Plot, StudyStyle, Working, listed, number, said, thinned

if TYPE_CHECKING:
    from bptrace.study.comparison import Comparison, Run, Start
    from bptrace.study.difference import Difference

MOST_SETTINGS = 8
"""Settings that differ of which each has a column; of more their count."""
MOST_ELEMENTS = 3
"""Elements that are named where arrays of one size differ."""
DECADES = 100.0
"""The loss has a logarithmic axis where its largest is at least this many times its smallest."""


def page(comparison: Comparison, style: StudyStyle | None = None, **fields: Any) -> tuple[list[Item], StudyStyle]:
    """The items of the page, and the style that they are made for."""
    style = replace(style or StudyStyle(), **fields)
    return list(_Page(comparison, style).items()), style


class _Page:
    def __init__(self, comparison: Comparison, style: StudyStyle) -> None:
        self.comparison = comparison
        self.style = style
        self.words = Words(style.language)
        self.runs = comparison.runs

    def items(self) -> Iterator[Item]:
        words = self.words
        names = list(dict.fromkeys(run.trace.network.name for run in self.runs))
        text = names[0] if len(names) == 1 else words("comparison_of")
        yield Title(text, words("comparison_place", count=len(self.runs), iterations=self.comparison.length))
        yield Heading(words("heading_runs"), 1)
        yield from self._overview(len(names) > 1)
        yield Heading(words("heading_loss"), 1)
        yield from self._losses()
        if any(run.metrics for run in self.runs):
            yield Heading(words("heading_metrics"), 1)
            yield from self._metrics()
        if self.runs[0].path:
            yield Heading(words("heading_path"), 1)
            yield from self._paths()
        yield Heading(words("heading_difference"), 1)
        for run, difference in zip(self.runs[1:], self.comparison.differences[1:], strict=True):
            yield from self._parting(run, difference)

    # what is compared

    def _overview(self, several: bool) -> Iterator[Item]:
        words = self.words
        settings = list(self.comparison.settings)
        heads = [words("run"), *([words("network")] if several else []), *settings[:MOST_SETTINGS]]
        texts = [setting_texts(self.comparison.settings[path]) for path in settings[:MOST_SETTINGS]]
        rows = []
        for k, run in enumerate(self.runs):
            values = [column[k] for column in texts]
            rows.append([run.letter, *([run.trace.network.name] if several else []), *values])
        if len(heads) > 1:
            yield Grid("", heads, rows, frozenset(range(len(heads))))
        if len(settings) > MOST_SETTINGS:
            yield Note(words("more_settings", names=words("comma").join(settings[MOST_SETTINGS:])))
        yield from self._starts()
        for run in self.runs:
            if run.trace.stopped is not None:
                yield Note(words("run_stopped", run=run.letter, message=str(run.trace.stopped)))
        ahead = [run.letter for run in self.runs if _looks_ahead(run)]
        if ahead:
            yield Note(words("loss_ahead", runs=words("comma").join(ahead)))
        if self.comparison.batches:
            yield Note(words("loss_of_batches"))
        if self.comparison.other_losses:
            yield Note(words("other_losses", runs=words("comma").join(self.comparison.other_losses)))

    def _starts(self) -> Iterator[Item]:
        words = self.words
        if all(start.same for start in self.comparison.starts):
            yield Note(words("same_start", parameters=self._parameters()))
            return
        for run, start in zip(self.runs[1:], self.comparison.starts[1:], strict=True):
            yield from (Note(text) for text in _start_texts(words, run.letter, start))

    def _parameters(self) -> str:
        """The starting parameters, where they are few."""
        trace = self.runs[0].trace
        assembly = trace.assembly(1)
        nodes = [*assembly.trainable, *assembly.held]
        if sum(node.size for node in nodes) > 6 or any(node.shape for node in nodes):
            return self.words("comma").join(node.id for node in nodes)
        values = trace.values(1)
        return self.words("comma").join(f"{node.id} = {setting_text(float(values.flat(node)[0]))}" for node in nodes)

    # the losses

    def _losses(self) -> Iterator[Item]:
        words, digits = self.words, self.style.digits
        threshold = self.comparison.threshold
        heads = [words("run"), words("loss_first"), words("loss_last"), words("loss_lowest"), words("lowest_after")]
        if threshold is not None:
            heads.append("≤ " + setting_text(float(f"{threshold:.9g}")))
        rows = []
        for run in self.runs:
            lowest = None if run.best is None else run.losses[run.best]
            row = [run.letter, number(run.losses[0], digits), number(run.losses[-1], digits), number(lowest, digits)]
            row.append("" if run.best is None else str(run.best))
            if threshold is not None:
                reached = run.reaches(threshold)
                row.append("-" if reached is None else str(reached))
            rows.append(row)
        yield Grid(words("loss_summary"), heads, rows)
        if threshold is not None:
            key = "threshold_given" if self.comparison.given else "threshold_default"
            yield Note(words(key, threshold=setting_text(float(f"{threshold:.9g}"))))
        yield self._course(words("loss_course"), [run.losses for run in self.runs])
        found = [x for run in self.runs for x in run.losses if x is not None and isfinite(x)]
        log = bool(found) and min(found) > 0 and max(found) >= DECADES * min(found)
        curves = [Curve(run.letter, _points(run.losses)) for run in self.runs]
        key = "loss_plot_log" if log else "loss_plot"
        yield Plot(words(key), words("updates_done"), words("loss"), curves, log, words("several_runs"))

    def _course(self, title: str, courses: Sequence[list[float | None]]) -> Grid:
        digits, words = self.style.digits, self.words
        rows = []
        for k in self._shown(max(map(len, courses))):
            row = [str(k), *(number(course[k], digits) if k < len(course) else "" for course in courses)]
            rows.append([cell or "-" for cell in row])
        if self.style.iterations is None:
            rows = thinned(rows, self.style.rows + 1, words, self.style.command("compare --max-rows all"))
        return Grid(title, [words("updates_done"), *(run.letter for run in self.runs)], rows, frozenset())

    def _shown(self, count: int) -> list[int]:
        chosen = self.style.iterations
        return list(range(count)) if chosen is None else [k for k in (0, *chosen) if k < count]

    # the metrics

    def _metrics(self) -> Iterator[Item]:
        """A table for each part of the data; where the runs are repetitions, their mean and spread."""
        words, digits = self.words, self.style.digits
        for part in dict.fromkeys(part for run in self.runs for part in run.metrics):
            names = list(dict.fromkeys(name for run in self.runs for name in run.metrics.get(part, {})))
            heads = [words("run"), *(words(f"metric_{name}") for name in names)]
            rows = []
            for run in self.runs:
                values = [run.metrics.get(part, {}).get(name) for name in names]
                rows.append([run.letter, *("-" if value is None else number(value, digits) for value in values)])
            if self.comparison.repeats:
                spreads = [self.comparison.spread(part, name) for name in names]
                for k, key in enumerate(("metrics_mean", "metrics_std")):
                    values = [None if found is None else found[k] for found in spreads]
                    rows.append([words(key), *("-" if value is None else number(value, digits) for value in values)])
            yield Grid(words(f"metrics_part_{part}"), heads, rows)
        if self.comparison.repeats:
            yield Note(words("metrics_spread", count=len(self.runs)))

    # the paths

    def _paths(self) -> Iterator[Item]:
        words = self.words
        ids = list(self.runs[0].path)
        for id in ids:
            yield self._course(words("path_of", id=id), [run.path[id] for run in self.runs])
        if len(ids) == 2:
            curves = [Curve(run.letter, _pairs(run.path[ids[0]], run.path[ids[1]])) for run in self.runs]
            title = words("path_plot", across=ids[0], up=ids[1])
            yield Plot(title, ids[0], ids[1], curves, False, words("several_runs"))

    # where they part

    def _parting(self, run: Run, difference: Difference | None) -> Iterator[Item]:
        words, first = self.words, self.runs[0]
        if difference is None:
            both = sorted({*first.trace.recorded} & {*run.trace.recorded})
            yield Note(words("no_difference", run=run.letter, first=first.letter, count=len(both)))
            return
        places: dict[str, object] = {"run": run.letter, "first": first.letter, "id": difference.id}
        yield Note(words("parts_from", iteration=difference.iteration, **places))
        if difference.values is None:
            shapes = ["×".join(map(str, shape)) or "()" for shape in difference.shapes]
            yield Note(words("other_shape", one=shapes[0], two=shapes[1], **places), 1)
        else:
            for side, value in zip((first, run), difference.values, strict=True):
                yield self._working(side, difference, value)
        yield Note(self._reason(run, difference), 1)

    def _working(self, run: Run, difference: Difference, value: float) -> Working:
        digits = self.style.digits
        if difference.leaf:
            return Working(run.letter, difference.id, [("=", setting_text(value))])
        made = explain(
            run.trace, difference.id, iteration=difference.iteration, depth=0, digits=digits,
            language=self.style.language, net=self.style.net,
        )  # fmt: skip
        step = made.steps[0]
        assert isinstance(step, Step)
        return Working(run.letter, step.name, [*((sign, text) for sign, text, _ in step.shown), (step.sign, step.text)])

    def _reason(self, run: Run, difference: Difference) -> str:
        words, first = self.words, self.runs[0]
        k = self.runs.index(run)
        changed = [
            words("setting_differs", path=path, one=one, two=two)
            for path, values in self.comparison.settings.items()
            if values[k] != values[0]
            for one, two in [setting_texts([values[0], values[k]])]
        ]
        settings = listed(words, changed, MOST_SETTINGS)
        if difference.values is None:
            return words("reason_shape", settings=settings)
        if difference.leaf:
            return words("reason_given", settings=settings)
        if not difference.same_formula:
            return words("reason_formula", settings=settings)
        causes = [
            said(words, "cause", {"id": id, "one": one, "two": two}, self.style.digits)
            for id, one, two in difference.causes
        ]
        return words(
            "reason_numbers", causes=listed(words, causes), settings=settings, first=first.letter, run=run.letter
        )


def _looks_ahead(run: Run) -> bool:
    return any(node.id.startswith("ahead.") for node in run.trace.assembly(1).graph.nodes)


def _start_texts(words: Words, letter: str, start: Start) -> Iterator[str]:
    if start.same:
        yield words("start_same", run=letter)
    if start.differ:
        yield words("start_differs", run=letter, names=listed(words, start.differ))
    if start.unmatched:
        yield words("start_unmatched", run=letter, names=listed(words, start.unmatched))
    if start.data:
        yield words("start_data", run=letter, names=listed(words, start.data))


def _points(course: Sequence[float | None]) -> list[tuple[float, float]]:
    return [(float(k), value) for k, value in enumerate(course) if value is not None]


def _pairs(across: Sequence[float | None], up: Sequence[float | None]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(across, up, strict=True) if x is not None and y is not None]


def setting_texts(values: Sequence[Any]) -> list[str]:
    """Values of the YAML side by side. Arrays whose sizes do not tell them apart are followed by their first
    elements that differ, such as `[2×2], [1,2] = 0.3`."""
    texts = [setting_text(value) for value in values]
    places = [dict(_elements(value)) for value in values]
    for _ in range(MOST_ELEMENTS):
        pairs = [(a, b) for a in range(len(values)) for b in range(a)]
        alike = [(a, b) for a, b in pairs if texts[a] == texts[b] and values[a] != values[b]]
        if not alike:
            break
        a, b = alike[0]
        found = next((at for at, x in places[a].items() if places[b].get(at, x) != x), None)
        if found is None:
            break
        texts = [
            f"{text}, [{','.join(map(str, found))}] = {setting_text(place[found])}" if found in place else text
            for text, place in zip(texts, places, strict=True)
        ]
    return texts


def _elements(value: Any, at: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    """The numbers of an array with their places, counted from 1."""
    if isinstance(value, list):
        for k, item in enumerate(value, 1):
            yield from _elements(item, (*at, k))
    elif at:
        yield at, value


def setting_text(value: Any) -> str:
    """A value of the YAML as short as it is; of an array its size."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, list):
        shape, inner = [len(value)], value
        while inner and isinstance(inner[0], list):
            inner = inner[0]
            shape.append(len(inner))
        if len(shape) == 1 and len(value) <= 4:
            return f"[{', '.join(map(setting_text, value))}]"
        return f"[{'×'.join(map(str, shape))}]"
    return str(value)
