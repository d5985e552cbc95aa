"""What all optimizers have: the common fields, and how updates get into the graph.

An optimizer states its equations once, for one parameter; `Update` gives each node of them its id
(`new.state.m.h.W`, `m_hat.h.W`), its symbol and its place, and notes which value a state takes in
the next iteration. What is common to all (maximising, clipping, weight decay added to the gradient)
is done to the gradient before the equations see it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bptrace.graph.node import Node, Of, Own, Updated
from bptrace.graph.op import Op
from bptrace.ops.arithmetic import Add, Scale
from bptrace.spec.base import Number, Strict

if TYPE_CHECKING:
    from bptrace.graph.graph import Graph

NotNegative = Annotated[Number, Field(ge=0)]
Rate = Annotated[Number, Field(ge=0, lt=1)]
"""A decay rate β of an exponential average."""


class OptimizerSpec(Strict):
    """The fields of every optimizer; defaults are PyTorch's."""

    type: str
    learning_rate: NotNegative
    maximize: bool = False
    weight_decay: NotNegative = 0.0
    rates: dict[str, NotNegative] = Field(default_factory=dict)

    def equations(self, update: Update) -> Node:
        """Add the nodes that update one parameter; the last one is its new value."""
        raise NotImplementedError

    def decays_gradient(self) -> bool:
        """Whether `weight_decay` is added to the gradient (else the equations use it themselves)."""
        return True


class Updates:
    """Adds the updates of a network's parameters to its graph; `carry` is what the states become."""

    def __init__(self, graph: Graph, spec: OptimizerSpec) -> None:
        self.graph = graph
        self.spec = spec
        self.carry: dict[Node, Node] = {}

    def add(self, parameter: Node, gradient: Node) -> Node:
        """The update of one parameter: its new value."""
        new = self.spec.equations(Update(self, parameter, gradient))
        self.carry[parameter] = new
        return new


class Update:
    """The update of one parameter: what an optimizer's equations are written with."""

    def __init__(self, updates: Updates, parameter: Node, gradient: Node) -> None:
        self.updates = updates
        self.graph = updates.graph
        self.spec = updates.spec
        self.parameter = parameter
        self.gradient = self._prepared(gradient)

    def _prepared(self, gradient: Node) -> Node:
        from bptrace.optimizers.common import Decayed

        if self.spec.maximize:
            gradient = self.inline(Scale(Fraction(-1)), gradient)
        if self.spec.weight_decay and self.spec.decays_gradient():
            gradient = self.inline(Decayed(), gradient, self.setting("weight_decay", "λ", self.spec.weight_decay), self.parameter)
        return gradient

    @property
    def rate(self) -> Node:
        """The learning rate, the layer's own where `rates` gives one."""
        own = self.spec.rates.get(self.parameter.layer)
        if own is not None:
            return self.setting(f"rates.{self.parameter.layer}", f"η_{self.parameter.layer}", own)
        return self.setting("learning_rate", "η", self.spec.learning_rate)

    def setting(self, name: str, symbol: str, value: float) -> Node:
        """A setting of the optimizer, a leaf that all parameters share."""
        id = f"setting.optimizer.{name}"
        if id in self.graph.by_id:
            return self.graph.by_id[id]
        return self.graph.leaf(id, (), [value], phase="setting", symbol=Own(symbol))

    def step_number(self, first: int = 1) -> Node:
        """The t of bias correction: `setting.step`, one more in each iteration."""
        from bptrace.optimizers.common import Next

        if "setting.step" in self.graph.by_id:
            return self.graph.by_id["setting.step"]
        now = self.graph.leaf("setting.step", (), [float(first)], phase="setting", symbol=Own("t"))
        after = self.graph.add("new.setting.step", Next(), now, phase="update", symbol=Own("t"), inline=False, block="~step")
        self.updates.carry[now] = after
        return now

    def state(self, name: str, start: float = 0.0) -> Node:
        """A state of this parameter as it stands before the update."""
        id = f"state.{name}.{self.parameter.id}"
        values = [start] * self.parameter.size
        return self.graph.leaf(
            id, self.parameter.shape, values, phase="parameter", symbol=Of(name, self.parameter), axes=self.parameter.axes,
            layer=self.parameter.layer, word="state",
        )  # fmt: skip

    def next_state(self, state: Node, op: Op, *inputs: Node) -> Node:
        """What a state becomes."""
        assert isinstance(state.symbol, Of)
        new = self._add(f"new.{state.id}", op, inputs, Of(state.symbol.symbol, self.parameter))
        self.updates.carry[state] = new
        return new

    def named(self, prefix: str, symbol: str, op: Op, *inputs: Node) -> Node:
        """A quantity on the way, such as `m_hat.h.W`."""
        return self._add(f"{prefix}.{self.parameter.id}", op, inputs, Of(symbol, self.parameter))

    def inline(self, op: Op, *inputs: Node, id: str = "") -> Node:
        """An inner operation, written into the equation that uses it."""
        return self._add(id or f"~{len(self.graph.nodes)}", op, inputs, Own("?"), inline=True)

    def moved(self, op: Op, *inputs: Node, start: Node | None = None) -> Node:
        """The new value: the parameter (or `start`) minus what `op` works out; `step.h.W` is its negative."""
        away = self.inline(op, *inputs)
        step = self.inline(Scale(Fraction(-1)), away, id=f"step.{self.parameter.id}")
        return self.new(Add(), start or self.parameter, step)

    def new(self, op: Op, *inputs: Node) -> Node:
        """The parameter's new value."""
        return self._add(f"new.{self.parameter.id}", op, inputs, Updated(self.parameter))

    def _add(self, id: str, op: Op, inputs: tuple[Node, ...], symbol: Of | Own | Updated, inline: bool = False) -> Node:
        return self.graph.add(
            id, op, *inputs,
            phase="update", symbol=symbol, axes=self.parameter.axes, layer=self.parameter.layer, inline=inline,
            block=self.spec.type,
        )  # fmt: skip


EpsilonAt = Literal["outside", "inside", "uncorrected"]

__all__ = ["EpsilonAt", "NotNegative", "OptimizerSpec", "Rate", "Update", "Updates"]
