"""The plain recurrent layer: h = f(W·x + U·h@(t-1) + b)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from bptrace.graph.node import Node
from bptrace.layers.functions import Activation
from bptrace.layers.recurrent import Recurrent
from bptrace.layers.steps import TANH, Direction


class Rnn(Recurrent):
    """z = W·x + U·h@(t-1) + b; h = f(z), with tanh unless another function is named."""

    gates: ClassVar[tuple[str, ...]] = ("",)

    type: Literal["rnn"]
    activation: Activation = Field(default_factory=lambda: TANH)

    def step(self, direction: Direction, t: int, x: Node, before: dict[str, Node]) -> dict[str, Node]:
        return {"h": direction.gate("", t, x, before["h"], self.activation, to="h")}
