"""The walk of a recurrent layer over time: its parameters, and the nodes of every time step.

Every step becomes nodes of its own, `lstm.z_f@2`, numbered by the place in the input from 1 whatever the
direction; the parameters are the same at every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bptrace.graph.node import DeltaName, Node, Own, Shape
from bptrace.graph.op import Op
from bptrace.layers.base import Path
from bptrace.ops.activations import Sigmoid, Tanh
from bptrace.ops.arithmetic import Copy
from bptrace.ops.blend import Blend
from bptrace.ops.products import Products
from bptrace.ops.sequence import Hold, Pick
from bptrace.spec.base import shape_of

if TYPE_CHECKING:
    from bptrace.build.builder import Builder
    from bptrace.layers.masks import TimeMask
    from bptrace.layers.recurrent import Recurrent

PARTS = {"weights": "W", "recurrent": "U", "bias": "b", "recurrent_bias": "rb"}
"""The parts of a layer's parameters and their signs: `lstm.W_f`, `lstm.rb_f`."""
WORDS = (("n", "sample"), ("j", "unit"), ("k", "input"), ("m", "unit"))
STATES = {"h": "hidden_state", "c": "cell_state"}
SIGMOID, TANH = Sigmoid(), Tanh()


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
    mask: TimeMask | None

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
            before = self.states[t] = self._step(t, before)
        for state, node in before.items():
            self.builder.ends[f"{self.name}.{self.prefix}{state}"] = node

    def _step(self, t: int, before: dict[str, Node]) -> dict[str, Node]:
        """One time step; where the mask passes over it, the states stay as they were."""
        read = self.layer.step(self, t, time_step(self.builder, self.source, t), before)
        mask = self.mask
        if mask is None or mask.read_by_all(t):
            return read
        return {
            state: self._put(
                state, t, Blend(), mask.at(self.builder, t, node.shape), before[state], node, word=STATES[state]
            )
            for state, node in read.items()
        }

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
        if self.layer.share:  # it has the biases that the other layer has
            there = self.builder.parameters.get(self.layer.share, {})
            signs = {gate: f"{self.prefix}{PARTS[part]}{f'_{gate}' if gate else ''}" for gate in gates}
            held = "bias" not in part
            yield from ((gate, None if held or key in there else False, at) for gate, key in signs.items())
            return
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
        """A state before the first step: a leaf, or the state of another layer under its own name."""
        given = self.parts.initial_state
        at: Path = (*self.path, "initial_state")
        if isinstance(given, dict):
            at = (*at, state)
            given = given.get(state)
        shape = (self.source.shape[0], self.layer.units)
        id = f"{self.name}.{self.prefix}{state}@0"
        about: dict[str, Any] = {
            "symbol": Own(f"{state}@0"),
            "axes": ("sample", "unit"),
            "layer": self.name,
            "word": STATES[state],
        }
        if isinstance(given, str):
            found = self._named_state(state, given, at)
            if found is not None and found.shape != shape:
                expected = f"the shape {list(shape)} (samples, units)"
                self.builder.problem(at, f"{found.id} has the shape {list(found.shape)}", expected)
                found = None
            if found is not None:
                return self.builder.graph.add(id, Copy(), found, phase="forward", step=0, **about)
        value = 0.0 if given is None or isinstance(given, str) else given
        return self.builder.state(id, shape, value, at, step=0, **about)

    def _named_state(self, state: str, name: str, at: Path) -> Node | None:
        """What `initial_state: encoder` or `{c: encoder.c@2}` stands for: the last computed state of a
        recurrent layer, a layer's output, or any node above."""
        builder, graph = self.builder, self.builder.graph
        for key in (f"{name}.{self.prefix}{state}", f"{name}.{state}"):
            if key in builder.ends:
                return builder.ends[key]
        if f"{name}.h" in builder.ends:
            builder.problem(at, f"{name} has no state '{state}'", f"the id of a node above, such as {name}.h@1")
            return None
        node = builder.outputs.get(name) or graph.by_id.get(name)
        if node is None:
            known = tuple(dict.fromkeys([*builder.outputs, *(id for id in graph.by_id if "~" not in id)]))
            builder.problem(at, f"no layer, input or node '{name}' above", known=known, got=name)
        elif at[-1] == "initial_state" and len(self.layer.state_parts) > 1:
            parts = " and ".join(self.layer.state_parts)
            said = f"which state is this? {self.layer.type} has {parts}"
            builder.problem(at, said, f"a recurrent layer of its kind, or {{h: {name}}}")
            return None
        return node

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
        """A quantity of time step t, one number a sample and unit.

        Where not all samples read the step, a state is `h_read@2` to those that do, and `h@2` is made of it.
        """
        if self.mask is not None and not self.mask.read_by_all(t) and quantity in self.layer.state_parts:
            quantity = f"{quantity}_read"
        return self._put(quantity, t, op, *inputs, word=word, delta=delta, quiet=quiet)

    def _put(
        self, quantity: str, t: int, op: Op, *inputs: Node, word: str = "", delta: str = "", quiet: bool = False
    ) -> Node:
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
    id = f"{source.id}@{t}"
    if id in builder.graph.by_id:
        return builder.graph.by_id[id]
    features = source.shape[2]
    symbol = source.symbol.array if isinstance(source.symbol, Own) else source.id
    step = builder.graph.add(
        id, Pick(1, t - 1), source,
        phase="forward", symbol=Own(f"{symbol}@{t}"), axes=("sample", *source.axes[2:]), layer=source.layer,
        inline=True, names=source.names[(t - 1) * features : t * features], step=t,
    )  # fmt: skip
    builder.graph.views.add(step)
    return step
