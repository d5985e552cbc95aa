"""What recurrent layers share: their fields, parameters by gate, and the walk over time.

Sequences are (N, T, features). Every time step becomes nodes of its own, `lstm.z_f@2`, numbered by the
place in the input from 1 whatever the direction; the parameters are the same at every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import model_validator

from bptrace.graph.node import DeltaName, Node, Own, Shape
from bptrace.graph.op import Op
from bptrace.layers.base import LayerSpec, Path
from bptrace.ops.activations import Sigmoid, Tanh
from bptrace.ops.products import Products
from bptrace.ops.sequence import Hold, Pick, Stack
from bptrace.ops.shaping import Concat
from bptrace.spec.base import (
    Check,
    Complaint,
    Count,
    Strict,
    array_schema,
    checked_array,
    describe,
    refuse,
    refuse_all,
    shape_of,
)
from bptrace.spec.translate import Refused, validate

if TYPE_CHECKING:
    from bptrace.build.builder import Builder

PARTS = {"weights": "W", "recurrent": "U", "bias": "b", "recurrent_bias": "rb"}
"""The parts of a layer's parameters and their signs: `lstm.W_f`, `lstm.rb_f`."""
WORDS = (("n", "sample"), ("j", "unit"), ("k", "input"), ("m", "unit"))
STATES = {"h": "hidden_state", "c": "cell_state"}


def _mapping(value: object, one: Any, what: str) -> Any:
    """A mapping whose values pass `one`, with every complaint about them."""
    if not isinstance(value, dict):
        return one(value)
    complaints: list[Complaint] = []
    found: dict[str, Any] = {}
    for key, item in value.items():
        try:
            found[str(key)] = one(item) if key != "order" else item
        except Exception as error:  # pydantic's own class, which carries our complaints
            said = getattr(error, "context", None)
            if not said:
                raise
            complaints += [complaint.under(key) for complaint in said["complaints"]]
    if complaints:
        raise refuse_all(complaints)
    if not found:
        raise refuse("an empty mapping", what)
    return found


def _array_or_false(value: object) -> Any:
    return False if value is False else checked_array(value)


def _by_gate(value: object) -> Any:
    return _mapping(value, _array_or_false, "{gate: array}")


def _state(value: object) -> Any:
    return _mapping(value, checked_array, "{h: array}")


Gates = Annotated[Any, Check(_by_gate, {"anyOf": [{"const": False}, array_schema(), {"type": "object"}]})]
"""Arrays by gate, `{packed: array, order: ifgo}`, or a number or false for all gates."""

State = Annotated[Any, Check(_state, {"anyOf": [array_schema(), {"type": "object"}]})]
"""`{h: ..., c: ...}`, or one array or number for all."""


class Parts(Strict):
    """The parameters and the initial state of one direction."""

    weights: Gates | None = None
    recurrent: Gates | None = None
    bias: Gates | None = None
    recurrent_bias: Gates | None = None
    initial_state: State | None = None


def _second(value: object) -> Any:
    """The second direction: no, yes with drawn parameters, or with these."""
    if isinstance(value, bool):
        return Parts() if value else None
    if not isinstance(value, dict):
        raise refuse(f"cannot be {describe(value)}", "true, or the second direction's weights, recurrent, bias")
    try:
        return validate(Parts, value)
    except Refused as error:
        raise refuse_all(error.complaints) from None


Second = Annotated[Any, Check(_second, {"anyOf": [{"type": "boolean"}, {"type": "object"}]})]


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
        ways = [
            Direction(self, builder, name, prefix, (*path, *at), parts, source, backwards)
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
            f"{name}.y" if step is None else f"{name}.y@{step}", Concat(1), *states,
            phase="forward", symbol=Own("h" if step is None else f"h@{step}"), axes=("sample", "unit"), layer=name,
            inline=True, quiet=True, step=step,
        )  # fmt: skip


@dataclass(eq=False)
class Direction:
    """One walk over a sequence: the parameters, and the nodes of every step."""

    layer: Recurrent
    builder: Builder
    name: str
    prefix: str
    path: Path
    parts: Any
    source: Node
    backwards: bool

    def __post_init__(self) -> None:
        _, count, self.inputs = self.source.shape
        self.order = list(range(count, 0, -1)) if self.backwards else list(range(1, count + 1))
        self.states: dict[int, dict[str, Node]] = {}
        self.flipped = self.builder.convention("weight_layout", self.layer) == "in_out"
        self.parameters = {
            (part, gate): node
            for part in PARTS
            for gate, given, at in self._given(part)
            if (node := self._parameter(part, gate, given, at)) is not None
        }
        if not self.builder.problems:
            self.states[0] = {state: self._initial(state) for state in self.layer.state_parts}

    def run(self) -> None:
        """Add all time steps, in the order in which they are read."""
        before = self.states[0]
        for k, t in enumerate(self.order):
            if self.layer.truncate is not None and k and k % self.layer.truncate == 0:
                before = {state: self._held(node) for state, node in before.items()}
            before = self.states[t] = self.layer.step(self, t, time_step(self.builder, self.source, t), before)

    def _held(self, node: Node) -> Node:
        return self.builder.graph.add(
            f"{node.id}.held", Hold(), node,
            phase="forward", symbol=node.symbol, axes=node.axes, layer=self.name, inline=True, step=node.step,
        )  # fmt: skip

    # parameters

    def _shape(self, part: str) -> tuple[Shape, tuple[str, ...]]:
        units = self.layer.units
        if "bias" in part:
            return (units,), ("unit",)
        first = part == "weights"
        shape, axes = (units, self.inputs if first else units), ("unit", "input" if first else "unit")
        return (shape[::-1], axes[::-1]) if self.flipped else (shape, axes)

    def _given(self, part: str) -> Iterator[tuple[str, Any, Path]]:
        """Each gate with its array (False: it has none; None: to be drawn) and its place in the YAML."""
        given, at, gates = getattr(self.parts, part), (*self.path, part), self.layer.gates
        if given is None and part == "recurrent_bias":
            given = False
        if not isinstance(given, dict):
            yield from ((gate, given, at) for gate in gates)
        elif "packed" in given:
            order = given.get("order", "".join(gates))
            pieces = self._unpacked(part, given["packed"], order, (*at, "packed"))
            yield from ((gate, pieces[gate], (*at, "packed")) for gate in gates)
        else:
            missing = False if part == "recurrent_bias" else None
            yield from ((gate, given.get(gate, missing), (*at, gate) if gate in given else at) for gate in gates)

    def _unpacked(self, part: str, packed: Any, order: str, at: Path) -> dict[str, Any]:
        """The arrays of the gates, joined along the units, apart again."""
        shape, axes = self._shape(part)
        axis = axes.index("unit") if part == "weights" else len(shape) - 1 if self.flipped else 0
        whole = tuple(extent * len(order) if i == axis else extent for i, extent in enumerate(shape))
        if shape_of(packed) != whole:
            joined = f"the {len(order)} gates {order} of {shape[axis]} units joined along axis {axis + 1}"
            expected = f"{list(whole)}: {joined}"
            self.builder.problem(at, f"the shape is {list(shape_of(packed))}", expected)
            return dict.fromkeys(order, 0.0)
        units = self.layer.units
        cut = [slice(k * units, (k + 1) * units) for k in range(len(order))]
        if axis == 0:
            return {gate: packed[places] for gate, places in zip(order, cut, strict=True)}
        return {gate: [row[places] for row in packed] for gate, places in zip(order, cut, strict=True)}

    def _parameter(self, part: str, gate: str, given: Any, at: Path) -> Node | None:
        if given is False:
            return None
        shape, axes = self._shape(part)
        units = self.layer.units
        # PyTorch draws all parameters of a recurrent layer from ±1/√units
        drawn = self.layer.initializer or self.builder.drawer.default
        fan = (self.inputs if part == "weights" and drawn.type != "uniform" else units, units)
        return self.builder.parameter(
            self.layer, self.name, part, f"{PARTS[part]}_{gate}" if gate else PARTS[part], shape, axes, self.path,
            fan=fan, given=given, at=at, prefix=self.prefix,
        )  # fmt: skip

    def _initial(self, state: str) -> Node:
        """The leaf of a state before the first step."""
        given = self.parts.initial_state
        at: Path = (*self.path, "initial_state")
        if isinstance(given, dict):
            at = (*at, state)
            given = given.get(state)
        shape = (self.source.shape[0], self.layer.units)
        return self.builder.state(
            f"{self.name}.{self.prefix}{state}@0", shape, 0.0 if given is None else given, at,
            symbol=Own(f"{state}@0"), axes=("sample", "unit"), layer=self.name, word=STATES[state], step=0,
        )  # fmt: skip

    # nodes

    def gate(
        self, gate: str, t: int, x: Node, h: Node, function: Op, *, to: str = "", gated: Node | None = None
    ) -> Node:
        """A gate's pre-activation and its activation: z = W·x + U·h + b, f(z).

        `to` is the activation's name (default the gate's); `gated` stands in place of U·h where that
        product is a node of its own, multiplied by the reset gate `h`.
        """
        quantity = f"z_{gate}" if gate else "z"
        terms, operands = ["nk,kj" if self.flipped else "nk,jk"], [x, self.parameters["weights", gate]]
        if gated is not None:
            terms.append("nj,nj")
            operands += [h, gated]
        else:
            terms.append("nm,mj" if self.flipped else "nm,jm")
            operands += [h, self.parameters["recurrent", gate]]
        for part in ("bias", "recurrent_bias"):
            bias = self.parameters.get((part, gate))
            if bias is not None and not (gated is not None and part == "recurrent_bias"):
                terms.append("j")
                operands.append(bias)
        op = Products(tuple(terms), swapped=gated is None, words=WORDS)
        delta = f"delta_{gate}@{t}" if gate else f"delta@{t}"
        z = self.add(quantity, t, op, *operands, word="pre_activation", delta=delta)
        act = self.builder.function(self.layer, function, 2)
        return self.add(to or gate, t, act, z, word="activation", quiet=self.builder.delta_factor != 1)

    def add(
        self, quantity: str, t: int, op: Op, *inputs: Node, word: str = "", delta: str = "", quiet: bool = False
    ) -> Node:
        """A quantity of time step t, one number a sample and unit."""
        named = None
        if delta:  # lstm.delta_f@2, δ_f@2
            symbol = f"δ{delta.removeprefix('delta')}"
            named = DeltaName(f"{self.name}.{self.prefix}{delta}", (), self.builder.delta_factor, symbol)
        return self.builder.graph.add(
            f"{self.name}.{self.prefix}{quantity}@{t}", op, *inputs,
            phase="forward", symbol=Own(f"{quantity}@{t}"), axes=("sample", "unit"), layer=self.name, word=word, step=t,
            quiet=quiet, delta=named,
        )  # fmt: skip


def time_step(builder: Builder, source: Node, t: int) -> Node:
    """The step of a sequence (N, T, features) at place t from 1: `x@2`."""
    if isinstance(source.op, Stack):
        return source.inputs[t - 1]
    id = f"{source.id}@{t}"
    if id in builder.graph.by_id:
        return builder.graph.by_id[id]
    features = source.shape[2]
    symbol = source.symbol.array if isinstance(source.symbol, Own) else source.id
    return builder.graph.add(
        id, Pick(1, t - 1), source,
        phase="forward", symbol=Own(f"{symbol}@{t}"), axes=("sample", *source.axes[2:]), layer=source.layer,
        inline=True, names=source.names[(t - 1) * features : t * features], step=t,
    )  # fmt: skip


SIGMOID, TANH = Sigmoid(), Tanh()
