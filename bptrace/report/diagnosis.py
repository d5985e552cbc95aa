"""The page of `diagnose`: the findings in plain sentences, then the norms and factors that they rest on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bptrace.report.blocks import Heading
from bptrace.report.labels import Words
from bptrace.report.notation import Notation
from bptrace.report.sections import Title
from bptrace.report.study import Grid, Item, Note, StudyStyle, number, said, thinned

if TYPE_CHECKING:
    from bptrace.study.diagnosis import Diagnosis
    from bptrace.study.findings import Finding
    from bptrace.study.readings import LayerReading, Reading


def page(diagnosis: Diagnosis, style: StudyStyle | None = None, **fields: Any) -> tuple[list[Item], StudyStyle]:
    """The items of the page, and the style that they are made for."""
    style = replace(style or StudyStyle(), **fields)
    return list(_Page(diagnosis, style).items()), style


class _Page:
    def __init__(self, diagnosis: Diagnosis, style: StudyStyle) -> None:
        self.diagnosis = diagnosis
        self.style = style
        self.words = Words(style.language)
        trace = diagnosis.trace
        loss = trace.assembly(trace.recorded[-1]).graph.loss if trace.recorded else None
        self.letter = Notation(loss.layer).array(loss) if loss is not None else "E"

    def items(self) -> Iterator[Item]:
        words, trace = self.words, self.diagnosis.trace
        read = len(self.diagnosis.readings)
        yield Title(trace.network.name, words("diagnosis_place", read=read, count=trace.count))
        yield Heading(words("heading_findings"), 1)
        if not self.diagnosis.findings:
            yield Note(words("nothing_found", count=read))
        for found in self.diagnosis.findings:
            yield from self._finding(found)
        if not self.diagnosis.readings:
            return
        shown = self.style.iterations
        if shown is None:
            shown = tuple(dict.fromkeys((trace.recorded[0], trace.recorded[-1])))
        readings = {reading.iteration: reading for reading in map(self.diagnosis.reading, shown)}
        for k, reading in enumerate(readings.values()):
            yield Heading(words("readings_heading", iteration=reading.iteration), 1)
            if k == 0:
                yield Note(words("norms_said"))
            yield from self._reading(reading)

    def _finding(self, found: Finding) -> Iterator[Item]:
        words = self.words
        places = {**found.places, "letter": self.letter}
        yield Note(said(words, f"finding_{found.kind}", places, self.style.digits))
        if "local" in found.places:
            yield Note(said(words, "finding_parts", found.places, self.style.digits), 1)
        remedy = found.remedy or found.kind
        yield Note(words("usual_remedy", remedy=words(f"remedy_{remedy}")), 1)
        command = self._command(found)
        if command:
            yield Note(words("look_at", command=command), 1)

    def _command(self, found: Finding) -> str:
        if not found.ids:
            return ""
        if found.kind == "not_finite":
            return self.style.command(f"explain {shlex.quote(found.ids[0])} --show {found.iteration}")
        return self.style.command(f"run --only {shlex.quote(found.ids[0])} --show {found.iteration}")

    # the readings

    def _reading(self, reading: Reading) -> Iterator[Item]:
        words = self.words
        layers = [layer for layer in reversed(reading.layers) if layer.arriving is not None]
        if layers:
            yield self._norms(words("layers_backward"), words("layer"), layers, [layer.layer for layer in layers])
            yield self._factors(layers, [layer.layer for layer in layers])
        for family, steps in reading.steps.items():
            backward = [step for step in reversed(steps) if step.arriving is not None]
            if backward:
                names = [str(step.step) for step in backward]
                yield self._norms(words("steps_backward", state=family), words("time_step"), backward, names, family)
        if reading.parameters:
            yield self._parameters(reading)
        if reading.slopes:
            yield self._slopes(reading)

    def _norms(
        self, title: str, head: str, layers: Sequence[LayerReading], names: Sequence[str], family: str = ""
    ) -> Grid:
        state = family.rpartition(".")[2] or "a"
        heads = [head, f"‖{state}‖", f"‖∂{self.letter}/∂{state}‖", "‖δ‖"]
        heads += [f"‖∂{self.letter}/∂{'before' if family else 'in'}‖".replace("before", f"{state}(t-1)")]
        heads += [self.words("factor")] if family else []
        rows = []
        for layer, name in zip(layers, names, strict=True):
            cells = [layer.activation, layer.arriving, layer.delta, layer.passed]
            rows.append([name, *map(self._number, cells + ([layer.whole] if family else []))])
        return Grid(title, heads, self._thinned(rows))

    def _factors(self, layers: Sequence[LayerReading], names: Sequence[str]) -> Grid:
        words = self.words
        heads = [words(key) for key in ("layer", "factor_local", "factor_weights", "factor", "so_far")]
        start = layers[0].arriving
        rows = []
        for layer, name in zip(layers, names, strict=True):
            so_far = layer.passed / start if layer.passed is not None and start else None
            rows.append([name, *map(self._number, (layer.local, layer.weights, layer.whole, so_far))])
        return Grid(words("factors_backward"), heads, self._thinned(rows))

    def _parameters(self, reading: Reading) -> Grid:
        heads = [self.words("parameter"), "‖w‖", f"‖∂{self.letter}/∂w‖", "‖Δw‖", "‖Δw‖/‖w‖"]
        rows = [[p.id, *map(self._number, (p.value, p.gradient, p.update, p.share))] for p in reading.parameters]
        return Grid(self.words("parameters_read"), heads, self._thinned(rows))

    def _slopes(self, reading: Reading) -> Grid:
        words = self.words
        keys = ("activation", "elements", "slope_zero", "slope_flat", "slope_least", "slope_largest")
        rows = [
            [f"{s.id} ({s.function})", *map(str, (s.elements, s.zero, s.flat)), *map(self._number, sizes)]
            for s in reading.slopes
            for sizes in [(s.smallest, s.largest)]
        ]
        return Grid(words("slopes_read"), [words(key) for key in keys], self._thinned(rows))

    def _number(self, value: float | None) -> str:
        return number(value, self.style.digits) or "-"

    def _thinned(self, rows: list[list[str]]) -> list[list[str]]:
        return thinned(rows, self.style.rows, self.words, self.style.command("diagnose --max-rows all"))
