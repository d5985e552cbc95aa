"""The diagnosis of a trace: readings of its iterations, and what was found in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from bptrace.graph.graph import Graph
from bptrace.study import findings as rules
from bptrace.study.findings import Finding, findings
from bptrace.study.readings import FLAT, Instruments, LayerReading, Reading

if TYPE_CHECKING:
    from bptrace.trace import Trace

FORMAT = "bptrace-diagnosis"
VERSION = 1
MOST_READ = 500
"""Iterations that are read; of a longer trace as many, spread evenly."""


@dataclass(frozen=True)
class Diagnosis:
    """Readings in the order of iterations, and findings, the gravest first."""

    columns = ("iteration", "part", "quantity", "value")
    """The heads of the rows of the CSV."""

    trace: Trace
    readings: tuple[Reading, ...]
    findings: tuple[Finding, ...]

    def reading(self, iteration: int) -> Reading:
        """The reading of an iteration; of one that was not read that of the nearest before."""
        return max((r for r in self.readings if r.iteration <= iteration), key=lambda r: r.iteration)

    def text(self, **style: Any) -> str:
        """The page; `style` are fields of `bptrace.report.study.StudyStyle`, and `iterations` to show."""
        from bptrace.report.diagnosis import page
        from bptrace.writers.study_text import study_text

        return study_text(*page(self, **style))

    def __str__(self) -> str:
        return self.text()

    def json(self) -> dict[str, Any]:
        """Everything as plain data: norms, factors and findings with their numbers."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.trace.network.name,
            "thresholds": thresholds(),
            "findings": [
                {"kind": f.kind, "iteration": f.iteration, "ids": list(f.ids), **f.places} for f in self.findings
            ],
            "iterations": [_reading(reading) for reading in self.readings],
        }


    def rows(self) -> Iterator[tuple[int, str, str, float]]:
        """Every number as iteration, part, quantity, value: the rows of the CSV."""
        for reading in map(_reading, self.readings):
            steps = {f"{family}@{step['step']}": step for family, found in reading["steps"].items() for step in found}
            parts = {layer["layer"]: layer for layer in reading["layers"]} | steps
            parts |= {part["id"]: part for key in ("parameters", "activations") for part in reading[key]}
            for name, part in parts.items():
                for quantity, value in part.items():
                    if isinstance(value, int | float) and quantity != "step":
                        yield reading["iteration"], name, quantity, value


def thresholds() -> dict[str, float]:
    """The limits by which the findings are judged."""
    return {
        "vanishing": rules.VANISHING,
        "exploding": 1 / rules.VANISHING,
        "flat": FLAT,
        "saturated": rules.SATURATED,
        "large_step": rules.LARGE_STEP,
        "small_step": rules.SMALL_STEP,
        "diverging": rules.DIVERGING,
    }


def diagnose(trace: Trace) -> Diagnosis:
    """Read the recorded iterations of a trace and say what is wrong in them."""
    tools = _instruments(trace)
    chosen = _spread(trace.recorded)
    readings = tuple(tools(iteration).read(iteration) for iteration in chosen)
    return Diagnosis(trace, readings, tuple(findings(trace, readings, tools)))


def _instruments(trace: Trace) -> Callable[[int], Instruments]:
    made: dict[int, tuple[Graph, Instruments]] = {}

    @cache
    def at(iteration: int) -> Instruments:
        graph = trace.assembly(iteration).graph
        if id(graph) not in made:
            made[id(graph)] = (graph, Instruments(trace, graph))
        return made[id(graph)][1]

    return at


def _spread(recorded: Sequence[int]) -> Sequence[int]:
    if len(recorded) <= MOST_READ:
        return recorded
    last = len(recorded) - 1
    return [recorded[round(k * last / (MOST_READ - 1))] for k in range(MOST_READ)]


def _layer(layer: LayerReading) -> dict[str, Any]:
    return {
        "layer": layer.layer, "step": layer.step, "activation": layer.activation, "arriving": layer.arriving,
        "delta": layer.delta, "passed": layer.passed, "local": layer.local, "weights": layer.weights,
        "factor": layer.whole,
    }  # fmt: skip


def _reading(reading: Reading) -> dict[str, Any]:
    return {
        "iteration": reading.iteration,
        "loss": reading.loss,
        "layers": [_layer(layer) for layer in reading.layers],
        "steps": {family: [_layer(step) for step in steps] for family, steps in reading.steps.items()},
        "parameters": [
            {"id": p.id, "value": p.value, "gradient": p.gradient, "update": p.update, "ratio": p.share}
            for p in reading.parameters
        ],
        "activations": [
            {"id": s.id, "function": s.function, "elements": s.elements, "zero": s.zero, "flat": s.flat,
             "smallest": s.smallest, "largest": s.largest}
            for s in reading.slopes
        ],
    }  # fmt: skip
