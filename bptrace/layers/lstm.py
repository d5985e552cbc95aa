"""Long short-term memory: a cell state that a forget gate keeps and an input gate adds to."""

from __future__ import annotations

from typing import ClassVar, Literal

from bptrace.graph.node import Node
from bptrace.layers.recurrent import Recurrent
from bptrace.layers.steps import SIGMOID, TANH, Direction
from bptrace.ops.arithmetic import Multiply
from bptrace.ops.products import Products


class Lstm(Recurrent):
    """i, f, o = σ(z), g = tanh(z); c = f·c@(t-1) + i·g; h = o·tanh(c)."""

    gates: ClassVar[tuple[str, ...]] = ("i", "f", "g", "o")
    state_parts: ClassVar[tuple[str, ...]] = ("h", "c")

    type: Literal["lstm"]
    activation: None = None

    def step(self, direction: Direction, t: int, x: Node, before: dict[str, Node]) -> dict[str, Node]:
        i, f, g, o = (direction.gate(gate, t, x, before["h"], TANH if gate == "g" else SIGMOID) for gate in self.gates)
        c = direction.add("c", t, Products(("nj,nj", "nj,nj")), f, before["c"], i, g, word="cell_state")
        squashed = direction.add("tanh_c", t, direction.builder.function(self, TANH, 2), c, word="activation")
        return {"c": c, "h": direction.add("h", t, Multiply(), o, squashed, word="hidden_state")}
