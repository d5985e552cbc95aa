"""What goes wrong in a training, each with the numbers that show it.

A finding is neutral data: its kind chooses the sentence and the remedy from the catalogue of words,
`places` are the numbers and names in it. What changes from iteration to iteration is a finding where it
holds in more than half of the iterations that were read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isclose, isfinite, prod
from typing import TYPE_CHECKING, Any

from bptrace.engine.blame import first_not_finite
from bptrace.graph.lookup import element_id
from bptrace.graph.node import Node
from bptrace.study.norms import numbers
from bptrace.study.readings import FLAT, Instruments, LayerReading, Reading

if TYPE_CHECKING:
    from bptrace.trace import Trace

VANISHING = 0.01
"""‖∂E/∂z‖ of the first layer below this share of the last one's: it vanishes; above 1 over it, it explodes."""
SATURATED = 0.5
"""A layer is saturated where more than this share of its local derivatives is nearly 0."""
LARGE_STEP, SMALL_STEP, USUAL_STEP = 0.1, 1e-5, 1e-3
"""‖Δw‖/‖w‖ from which a step is too large, up to which it is too small, and what is usual."""
DIVERGING = 10.0
"""The loss diverges where it ends this many times as large as it began."""
BRANCHES = ("relu", "step")
"""Functions that are meant to be flat in places: their units can be dead, but not saturated."""
MOST_NAMED = 8
"""Units that are named one by one; of more their count."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found: `ids` are what to look at in `iteration`."""

    kind: str
    iteration: int
    ids: tuple[str, ...]
    places: dict[str, Any] = field(default_factory=dict)
    remedy: str = ""
    """The kind whose remedy helps, where it is another's."""


def findings(trace: Trace, readings: Sequence[Reading], instruments: Callable[[int], Instruments]) -> list[Finding]:
    """Everything that was found, the gravest first."""
    return [
        found
        for rule in (_not_finite, _diverging, _over_layers, _over_time, _units, _saturated, _alike, _steps, _none)
        for found in rule(trace, readings, instruments)
    ]


Rule = Iterator[Finding]


def _not_finite(trace: Trace, readings: Sequence[Reading], instruments: Callable[[int], Instruments]) -> Rule:
    """The first number that is none, as the engine found it."""
    if trace.stopped is None:
        return
    found = first_not_finite(trace.values(trace.count))
    ids = (element_id(*found),) if found is not None else ()
    yield Finding("not_finite", trace.count, ids, {"message": str(trace.stopped)})


def _diverging(trace: Trace, readings: Sequence[Reading], instruments: Callable[[int], Instruments]) -> Rule:
    losses = [float(loss) for loss in trace.losses if loss is not None]
    losses = [loss for loss in losses if isfinite(loss)]
    if len(losses) > 1 and losses[0] > 0 and losses[-1] > DIVERGING * losses[0]:
        places = {"first": losses[0], "last": losses[-1], "times": losses[-1] / losses[0], "count": len(losses),
                  "limit": DIVERGING}  # fmt: skip
        yield Finding("diverging", trace.count, (), places)


def _over_layers(trace: Trace, readings: Sequence[Reading], instruments: Callable[[int], Instruments]) -> Rule:
    """The size of the gradient at the first layer's pre-activation and at the last one's."""
    chains = [(reading, [layer for layer in reading.layers if layer.by_z is not None]) for reading in readings]
    yield from _along(chains, "")


def _over_time(trace: Trace, readings: Sequence[Reading], instruments: Callable[[int], Instruments]) -> Rule:
    """The same from the last time step back to the first, for each state of a recurrent layer."""
    for family in readings[0].steps if readings else ():
        yield from _along([(reading, list(reading.steps[family])) for reading in readings], family)


def _along(chains: Sequence[tuple[Reading, list[LayerReading]]], family: str) -> Rule:
    judged = []
    for reading, chain in chains:
        sizes = [step.arriving if family else step.by_z for step in chain]
        if len(chain) > 1 and sizes[-1] and sizes[0] is not None:
            judged.append((reading, chain, sizes[0], sizes[-1]))
    small = [entry for entry in judged if entry[2] and entry[2] / entry[3] < VANISHING]
    large = [entry for entry in judged if entry[2] / entry[3] > 1 / VANISHING]
    for kind, limit, those in (("vanishing", VANISHING, small), ("exploding", 1 / VANISHING, large)):
        if not those or 2 * len(those) <= len(judged):
            continue
        reading, chain, first, last = those[0]
        places = {
            "first": chain[0].name, "last": chain[-1].name, "small": first, "large": last, "share": first / last,
            "held": len(those), "count": len(judged), "limit": limit,
        }  # fmt: skip
        places |= _parts(chain, family, first / last)
        ends = (chain[0], chain[-1])
        ids = tuple(f"grad.{end.name}" for end in ends) if family else tuple(id for end in ends for id in end.ids[:1])
        yield Finding(f"{kind}_time" if family else kind, reading.iteration, ids, places)


def _parts(chain: Sequence[LayerReading], family: str, share: float) -> dict[str, float]:
    """The product of all local derivatives' shares, and of all weights', where the two make the whole."""
    local = [step.local for step in (chain[1:] if family else chain[:-1])]
    weights = [step.weights for step in chain[1:]]
    by_local = prod(x for x in local if x is not None)
    by_weights = prod(x for x in weights if x is not None)
    if None in local or None in weights or not isclose(by_local * by_weights, share, rel_tol=1e-9):
        return {}
    return {"local": by_local, "weights": by_weights}


def _units(trace: Trace, readings: Sequence[Reading], instruments: Callable[[int], Instruments]) -> Rule:
    """Units whose local derivative was 0, or nearly, for every sample in every iteration that was read."""
    if not readings:
        return
    zero: dict[str, set[int]] = {}
    flat: dict[str, set[int]] = {}
    nodes: dict[str, Node] = {}
    for reading in readings:
        tools = instruments(reading.iteration)
        values = trace.values(reading.iteration)
        for node, local in tools.slopes:
            found = [abs(value) for value in numbers(values, local)]
            most = tools.steepest(local)
            by_unit = _by_unit(node.shape, node.axes, found)
            off = {unit for unit, slopes in by_unit.items() if max(slopes) == 0}
            weak = {unit for unit, slopes in by_unit.items() if most and max(slopes) < FLAT * most}
            nodes.setdefault(node.id, node)
            zero[node.id] = zero.get(node.id, off) & off
            flat[node.id] = flat.get(node.id, weak) & weak
    for id, node in nodes.items():
        tools = instruments(readings[0].iteration)
        local = tools.graph.by_id[f"local.{id}"]
        dead = zero[id] if node.op.name in BRANCHES else set()  # a sigmoid's slope of 0 is one too small for a float
        for kind, units in (("dead", dead), ("flat_units", flat[id] - dead)):
            if not units:
                continue
            all_units = len(_by_unit(node.shape, node.axes, [0.0] * node.size))
            places = {
                "id": id, "units": _listed(units), "count": len(units), "of": all_units,
                "iterations": len(readings), "function": node.op.name,
                "limit": FLAT * (tools.steepest(local) or 0), "steepest": tools.steepest(local) or 0.0,
            }  # fmt: skip
            remedy = "step" if node.op.name == "step" else ""
            yield Finding(kind, readings[0].iteration, (f"local.{id}", id), places, remedy)


def _by_unit(shape: Sequence[int], axes: Sequence[str], elements: Sequence[float]) -> dict[int, list[float]]:
    """The elements of each unit, or of each channel of an image, over samples, places and time steps."""
    axis = next((k for k, word in enumerate(axes) if word in ("unit", "channel")), None)
    found: dict[int, list[float]] = {}
    step = 1
    if axis is not None:
        for extent in shape[axis + 1 :]:
            step *= extent
    for k, element in enumerate(elements):
        found.setdefault(0 if axis is None else k // step % shape[axis] + 1, []).append(element)
    return found


def _listed(units: set[int]) -> str:
    named = [str(unit) for unit in sorted(units)]
    return ", ".join(named if len(named) <= MOST_NAMED else [*named[: MOST_NAMED - 1], "…", named[-1]])


def _saturated(trace: Trace, readings: Sequence[Reading], instruments: Callable[[int], Instruments]) -> Rule:
    """Layers in which most local derivatives are nearly 0, though no unit is shut off for good."""
    for k, slope in enumerate(readings[0].slopes if readings else ()):
        those = [r for r in readings if r.slopes[k].flat > SATURATED * r.slopes[k].elements]
        if slope.function in BRANCHES or 2 * len(those) <= len(readings):
            continue
        seen = those[0].slopes[k]
        places = {
            "id": seen.id, "flat": seen.flat, "elements": seen.elements, "function": seen.function,
            "limit": FLAT, "held": len(those), "iterations": len(readings), "largest": seen.largest,
        }  # fmt: skip
        yield Finding("saturated", those[0].iteration, (f"local.{seen.id}", seen.id), places)


def _alike(trace: Trace, readings: Sequence[Reading], instruments: Callable[[int], Instruments]) -> Rule:
    """Layers whose units all do the same in every iteration: nothing tells them apart."""
    same: dict[str, bool] = {}
    counts: dict[str, int] = {}
    for reading in readings:
        values = trace.values(reading.iteration)
        for station in instruments(reading.iteration).stations:
            for delta, _ in station.deltas:
                units = _by_unit(delta.shape, delta.axes, numbers(values, delta))
                if len(units) < 2 or len(station.deltas) > 1 or station.output.size != delta.size:
                    continue
                outputs = _by_unit(delta.shape, delta.axes, numbers(values, station.output))
                alike = len({tuple(u) for u in units.values()}) == len({tuple(u) for u in outputs.values()}) == 1
                busy = any(x != 0 for unit in units.values() for x in unit)
                counts[station.layer] = len(units)
                same[station.layer] = same.get(station.layer, True) and alike and busy
    for layer, alike in same.items():
        if alike:
            places = {"layer": layer, "count": counts[layer], "iterations": len(readings)}
            yield Finding("alike", readings[0].iteration, (f"{layer}.delta",), places)


def _steps(trace: Trace, readings: Sequence[Reading], instruments: Callable[[int], Instruments]) -> Rule:
    """‖Δw‖/‖w‖, and parameters that get no gradient at all."""
    for k, parameter in enumerate(readings[0].parameters if readings else ()):
        course = [reading.parameters[k] for reading in readings]
        if all(entry.gradient == 0 for entry in course):
            places = {"id": parameter.id, "iterations": len(readings)}
            yield Finding("no_gradient", readings[0].iteration, (f"grad.{parameter.id}",), places)
            continue
        shares = [entry.share for entry in course]
        if instruments(readings[0].iteration).graph.by_id[parameter.id].word == "bias":
            continue  # biases begin at 0: a step is large beside that
        large = [n for n, share in enumerate(shares) if share is not None and share > LARGE_STEP]
        small = [n for n, share in enumerate(shares) if share is not None and share < SMALL_STEP]
        for kind, those in (("large_step", large), ("small_step", small)):
            if 2 * len(those) > len(course):
                seen = course[those[0]]
                places = {
                    "id": seen.id, "share": seen.share, "update": seen.update, "value": seen.value,
                    "held": len(those), "iterations": len(course), "usual": USUAL_STEP,
                    "limit": LARGE_STEP if kind == "large_step" else SMALL_STEP,
                }  # fmt: skip
                iteration = readings[those[0]].iteration
                yield Finding(kind, iteration, (f"new.{seen.id}",), places)


def _none(trace: Trace, readings: Sequence[Reading], instruments: Callable[[int], Instruments]) -> Rule:
    """Where there is no backward pass, there is nothing to find."""
    if readings and not any(p.gradient is not None for r in readings for p in r.parameters):
        yield Finding("no_backward", readings[0].iteration, ())
