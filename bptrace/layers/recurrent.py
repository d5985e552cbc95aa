"""What recurrent layers share: their fields, and how the directions make the output.

Sequences are (N, T, features); `steps` walks over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator

from bptrace.graph.node import Node, Own
from bptrace.layers.base import LayerSpec, Path
from bptrace.layers.gates import Gates, Second, State
from bptrace.layers.masks import time_mask
from bptrace.layers.steps import PARTS, Direction
from bptrace.ops.sequence import Stack
from bptrace.ops.shaping import Concat
from bptrace.spec.base import Array, Complaint, Count, describe, refuse_all

if TYPE_CHECKING:
    from bptrace.build.builder import Builder


class Recurrent(LayerSpec):
    """z = W·x@t + U·h@(t-1) + b for each gate; W: (units, in), U: (units, units), b: (units)."""

    gates: ClassVar[tuple[str, ...]] = ("",)
    state_parts: ClassVar[tuple[str, ...]] = ("h",)

    units: Count
    weights: Gates | None = None
    recurrent: Gates | None = None
    bias: Gates | None = None
    recurrent_bias: Gates | None = None
    initial_state: State | None = None
    output: Literal["last", "sequence"] = "last"
    reverse: bool = False
    bidirectional: Second | None = None
    truncate: Count | None = None
    mask: Array | None = None

    def step(self, direction: Direction, t: int, x: Node, before: dict[str, Node]) -> dict[str, Node]:
        """Add the nodes of one time step; the states after it from those before it."""
        raise NotImplementedError

    # the fields

    @model_validator(mode="after")
    def _fits(self) -> Self:
        complaints: list[Complaint] = []
        if self.reverse and self.bidirectional is not None:
            said = "a bidirectional layer reads both ways"
            complaints.append(Complaint(("reverse",), said, "one of the two", at_key=True))
        for parts, path in self._directions():
            for part in PARTS:
                complaints += [c.under(*path, part) for c in self._layout(part, getattr(parts, part))]
            complaints += [c.under(*path, "initial_state") for c in self._states(parts.initial_state)]
        if complaints:
            raise refuse_all(complaints)
        return self

    def _directions(self) -> list[tuple[Any, tuple[str, ...]]]:
        second = self.bidirectional
        return [(self, ()), *([(second, ("bidirectional",))] if second is not None else [])]

    def _layout(self, part: str, given: Any) -> Iterator[Complaint]:
        """What is wrong with how a part is divided among the gates."""
        named = self.gates != ("",)
        every = ", ".join(self.gates)
        if given is False and part in ("weights", "recurrent"):
            yield Complaint((), f"{part} cannot be false", "arrays; only biases can be left out")
        if isinstance(given, list) and named:
            packed = f"{{packed: ..., order: {''.join(self.gates)}}}"
            said = f"which gate is this? {self.type} has the gates {every}"
            yield Complaint((), said, f"{{{self.gates[0]}: ..., {self.gates[1]}: ..., ...}} or {packed}")
        if not isinstance(given, dict):
            return
        if not named:
            yield Complaint((), f"{self.type} has no gates", "the array itself")
            return
        if "packed" not in given:
            for gate in given:
                if gate not in self.gates:
                    yield Complaint((gate,), f"{self.type} has no gate '{gate}'", every, self.gates, gate, at_key=True)
            return
        for key in given:
            if key not in ("packed", "order"):
                known = ("packed", "order")
                yield Complaint((key,), f"unknown key '{key}'", "packed and order", known, key, at_key=True)
        order = given.get("order", "".join(self.gates))
        if not isinstance(order, str) or sorted(order) != sorted(self.gates):
            yield Complaint(("order",), f"{describe(order)} is no order of the gates", f"each of {every} once")
        if given["packed"] is False or isinstance(given["packed"], float):
            yield Complaint(("packed",), "not an array", f"the arrays of {every} joined")

    def _states(self, given: Any) -> Iterator[Complaint]:
        known = self.state_parts
        if isinstance(given, list) and len(known) > 1:
            yield Complaint((), f"which state is this? {self.type} has {' and '.join(known)}", "{h: ..., c: ...}")
        for key in given if isinstance(given, dict) else ():
            if key not in known:
                yield Complaint((key,), f"{self.type} has no state '{key}'", ", ".join(known), known, key, at_key=True)

    # the nodes

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        title = {"type": self.type, "units": self.units}
        return title if self.gates == ("",) else {**title, "activation": f"gates {', '.join(self.gates)}"}

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        if not self._accepts(builder, path, source):
            return source
        names = builder.names(self, path, ("units", *self._named_parts()))
        unit_names = names.flat("units", (self.units,))
        builder.unit_names[name] = unit_names
        mask = None if self.mask is None else time_mask(builder, name, self.mask, (*path, "mask"), source)
        ways = [
            Direction(self, builder, name, prefix, (*path, *at), parts, source, backwards, mask)
            for (parts, at), prefix, backwards in zip(
                self._directions(), ("", "reverse."), (self.reverse, True), strict=False
            )
        ]
        if builder.problems:
            return source
        for way in ways:
            way.run()
        if len(ways) > 1:
            builder.unit_names[name] = unit_names * 2
        return self._output(builder, name, ways)

    def _named_parts(self) -> tuple[str, ...]:
        return tuple(f"{sign}_{gate}" if gate else sign for gate in self.gates for sign in PARTS.values())

    def _accepts(self, builder: Builder, path: Path, source: Node) -> bool:
        if builder.columns:
            said = f"{self.type} does not take samples as columns"
            builder.problem(path, said, "sequences (N, T, features) and sample_axis: rows")
        elif len(source.shape) != 3:
            shape = list(source.shape)
            said = f"{self.type} reads sequences, but {source.id} has the shape {shape}"
            hint = "(samples, time steps, features): one sample in one more list, one feature as [[[0.1], [0.2]]]"
            builder.problem(path, said, hint)
        else:
            return True
        return False

    def _output(self, builder: Builder, name: str, ways: list[Direction]) -> Node:
        last = [way.states[way.order[-1]]["h"] for way in ways]
        if self.output == "last":
            if len(last) == 1:
                builder.graph.alias(f"{name}.y", last[0])
                return last[0]
            return self._joined(builder, name, last)
        count = len(ways[0].order)
        steps = []
        for t in range(1, count + 1):
            here = [way.states[t]["h"] for way in ways]
            steps.append(here[0] if len(here) == 1 else self._joined(builder, name, here, t))
        return builder.graph.add(
            f"{name}.y", Stack(1), *steps,
            phase="forward", symbol=Own("h"), axes=("sample", "time", "unit"), layer=name, inline=True, quiet=True,
        )  # fmt: skip

    def _joined(self, builder: Builder, name: str, states: list[Node], step: int | None = None) -> Node:
        """Both directions along the features: [forward, reverse]."""
        return builder.graph.add(
            f"{name}.y" if step is None else f"{name}.joined@{step}", Concat(1), *states,
            phase="forward", symbol=Own("h" if step is None else f"h@{step}"), axes=("sample", "unit"), layer=name,
            inline=True, quiet=True, step=step,
        )  # fmt: skip
