"""What is measured in one iteration: norms, factors, slopes, steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bptrace.engine.values import Values
from bptrace.graph.graph import Graph
from bptrace.graph.node import Node
from bptrace.study.anatomy import Station, slopes, stations, time_steps
from bptrace.study.norms import norm, numbers, ratio, size, total

if TYPE_CHECKING:
    from bptrace.trace import Trace

FLAT = 0.01
"""A local derivative is nearly 0 below this share of the largest that its function has."""


@dataclass(frozen=True)
class LayerReading:
    """The norms at a station, and what it multiplied the gradient by.

    local = ‖∂E/∂z‖ / ‖∂E/∂a‖, weights = ‖∂E/∂input‖ / ‖∂E/∂z‖, whole = ‖∂E/∂input‖ / ‖∂E/∂a‖.
    `delta` is the norm of δ as the conventions have it, of which ‖∂E/∂z‖ may be a multiple.
    """

    layer: str
    step: int | None
    name: str
    activation: float | None
    arriving: float | None
    by_z: float | None
    delta: float | None
    passed: float | None
    split: bool
    """Whether all of the gradient goes through one pre-activation, so that the two parts make the whole."""
    ids: tuple[str, ...] = ()
    """The nodes of δ, or of what arrives: what to look at."""

    @property
    def local(self) -> float | None:
        return ratio(self.by_z, self.arriving) if self.split else None

    @property
    def weights(self) -> float | None:
        return ratio(self.passed, self.by_z) if self.split else None

    @property
    def whole(self) -> float | None:
        return ratio(self.passed, self.arriving)


@dataclass(frozen=True)
class ParameterReading:
    """‖w‖ before the update, ‖∂E/∂w‖, ‖Δw‖ and ‖Δw‖/‖w‖; the last two only where it is updated."""

    id: str
    layer: str
    value: float | None
    gradient: float | None
    update: float | None

    @property
    def share(self) -> float | None:
        return ratio(self.update, self.value)


@dataclass(frozen=True)
class SlopeReading:
    """How steep an activation was: of how many elements the slope is 0, or nearly."""

    id: str
    layer: str
    function: str
    elements: int
    zero: int
    flat: int
    smallest: float
    largest: float


@dataclass(frozen=True)
class Reading:
    """Everything that is measured in one iteration; `layers` and `steps` in the order of the forward pass."""

    iteration: int
    loss: float | None
    layers: tuple[LayerReading, ...]
    steps: dict[str, tuple[LayerReading, ...]]
    parameters: tuple[ParameterReading, ...]
    slopes: tuple[SlopeReading, ...]


class Instruments:
    """Reads the iterations of one graph."""

    def __init__(self, trace: Trace, graph: Graph) -> None:
        self.trace = trace
        self.graph = graph
        self.stations = stations(graph)
        self.time_steps = time_steps(graph)
        self.slopes = slopes(graph)

    def read(self, iteration: int) -> Reading:
        """The readings of a recorded iteration."""
        values = self.trace.values(iteration)
        loss = self.trace.loss(iteration)
        return Reading(
            iteration,
            None if loss is None else float(loss),
            tuple(_layer(values, station, station.layer) for station in self.stations),
            {
                family: tuple(_layer(values, station, station.output.id) for station in found)
                for family, found in self.time_steps.items()
            },
            tuple(self._parameter(values, node) for node in self._parameters),
            tuple(self._slope(values, node, local) for node, local in self.slopes),
        )

    @cached_property
    def _parameters(self) -> list[Node]:
        nodes = [n for n in self.graph.nodes if n.phase == "parameter" and n.word != "state"]
        return [n for n in nodes if n in self.graph.carry or f"grad.{n.id}" in self.graph.by_id]

    def _parameter(self, values: Values, node: Node) -> ParameterReading:
        gradient, new = self.graph.by_id.get(f"grad.{node.id}"), self.graph.carry.get(node)
        step = None
        if new is not None:
            step = size(b - a for a, b in zip(numbers(values, node), numbers(values, new), strict=True))
        return ParameterReading(
            node.id, node.layer, norm(values, node), None if gradient is None else norm(values, gradient), step
        )

    def _slope(self, values: Values, node: Node, local: Node) -> SlopeReading:
        found = [abs(value) for value in numbers(values, local)]
        most = self.steepest(local)
        flat = 0 if most is None else sum(value < FLAT * most for value in found)
        zero = sum(value == 0 for value in found)
        return SlopeReading(node.id, node.layer, node.op.name, len(found), zero, flat, min(found), max(found))

    def steepest(self, local: Node) -> float | None:
        """The largest slope of the function of a local derivative; none where it has no largest."""
        function = getattr(local.op, "function", None)
        if function is None:
            return None
        if function not in _STEEPEST:
            _STEEPEST[function] = _steepest(function)
        return _STEEPEST[function]


_STEEPEST: dict[object, float | None] = {}


def _steepest(function: object) -> float | None:
    """Looked for at arguments between -6 and 6; a slope that is still growing there has no largest."""
    import numpy as np

    z = np.linspace(-6, 6, 2401)
    with np.errstate(all="ignore"):
        a = function.compute(z)  # type: ignore[attr-defined]
        found = np.abs(function.slope_kernel(z, a))  # type: ignore[attr-defined]
    if not np.isfinite(found).all() or max(found[0], found[-1]) > 2 * found[abs(z) <= 1].max():
        return None
    return float(found.max())


def _layer(values: Values, station: Station, name: str) -> LayerReading:
    deltas = [node for node, _ in station.deltas]
    by_z = [x / abs(factor) for node, factor in station.deltas for x in numbers(values, node)]
    passed = [x for nodes in station.leaving for x in total(values, nodes)]
    return LayerReading(
        station.layer,
        station.step,
        name,
        norm(values, station.output),
        None if station.arriving is None else norm(values, station.arriving),
        size(by_z),
        norm(values, *deltas),
        size(passed),
        len(deltas) == 1,
        tuple(node.id for node in deltas or ([station.arriving] if station.arriving is not None else [])),
    )
