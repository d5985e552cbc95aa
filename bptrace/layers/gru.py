"""Gated recurrent unit: a reset gate before the candidate, an update gate between old and new."""

from __future__ import annotations

from typing import ClassVar, Literal

from bptrace.graph.node import Node
from bptrace.layers.recurrent import Recurrent
from bptrace.layers.steps import SIGMOID, TANH, WORDS, Direction
from bptrace.ops.arithmetic import Multiply
from bptrace.ops.blend import Blend
from bptrace.ops.contract import Contract


class Gru(Recurrent):
    """r, z = σ(z), n = tanh(z); h = (1 - z)·n + z·h@(t-1).

    `reset: after` multiplies U·h + rb by r, `before` multiplies h by it; with `keep: candidate` z keeps
    the candidate: h = (1 - z)·h@(t-1) + z·n.
    """

    gates: ClassVar[tuple[str, ...]] = ("r", "z", "n")

    type: Literal["gru"]
    activation: None = None
    reset: Literal["after", "before"] = "after"
    keep: Literal["old", "candidate"] = "old"

    def step(self, direction: Direction, t: int, x: Node, before: dict[str, Node]) -> dict[str, Node]:
        old = before["h"]
        r = direction.gate("r", t, x, old, SIGMOID)
        z = direction.gate("z", t, x, old, SIGMOID)
        if self.reset == "before":
            reset = direction.add("rh", t, Multiply(), r, old)
            n = direction.gate("n", t, x, reset, TANH)
        else:
            n = direction.gate("n", t, x, r, TANH, gated=self._recurrent_part(direction, t, old))
        pair = (n, old) if self.keep == "old" else (old, n)
        return {"h": direction.add("h", t, Blend(), z, *pair, word="hidden_state")}

    def _recurrent_part(self, direction: Direction, t: int, old: Node) -> Node:
        """U·h + rb of the candidate, which the reset gate multiplies: `gru.u_n@2`."""
        bias = direction.parameters.get(("recurrent_bias", "n"))
        op = Contract(
            "nm", "mj" if direction.flipped else "jm", "nj",
            bias="j" if bias is not None else None, swapped=True, words=WORDS,
        )  # fmt: skip
        operands = (old, direction.parameters["recurrent", "n"], *([bias] if bias is not None else []))
        return direction.add("u_n", t, op, *operands)
