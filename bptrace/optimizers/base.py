"""What all optimizers have: the common fields, and how updates get into the graph.

An optimizer states its equations once, for one parameter; `Update` gives each node of them its id
(`new.state.m.h.W`, `m_hat.h.W`), its symbol and its place, and notes which value a state takes in
the next iteration. What is common to all (clipping, a mask, maximising, weight decay added to the
gradient, schedules) is done before the equations see the gradient and the learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from bptrace.graph.node import Node, Of, Own, Updated
from bptrace.graph.op import Op
from bptrace.ops.arithmetic import Add, Scale
from bptrace.optimizers.common import Decayed, Next
from bptrace.optimizers.given import State
from bptrace.spec.base import Complaint, Count, Number, Strict, shape_of
from bptrace.spec.on_demand import OnDemand

if TYPE_CHECKING:
    from bptrace.graph.graph import Graph
    from bptrace.optimizers.clip import Clip
    from bptrace.optimizers.mask import Mask
    from bptrace.optimizers.schedule import Schedule
else:
    Clip = Mask = Schedule = Any  # see OnDemand

NotNegative = Annotated[Number, Field(ge=0)]
Rate = Annotated[Number, Field(ge=0, lt=1)]
"""A decay rate β of an exponential average."""
EpsilonAt = Literal["outside", "inside"]
"""√v + ε, or √(v + ε)."""


class OptimizerSpec(Strict):
    """The fields of every optimizer; defaults are PyTorch's."""

    type: str
    learning_rate: NotNegative
    maximize: bool = False
    weight_decay: NotNegative = 0.0
    clip: Annotated[Clip, OnDemand("bptrace.optimizers.clip:Clip")] | None = None
    mask: Annotated[Mask, OnDemand("bptrace.optimizers.mask:Mask")] | None = None
    rates: dict[str, NotNegative] = Field(default_factory=dict)
    schedule: Annotated[Schedule, OnDemand("bptrace.optimizers.schedule:Schedule")] | None = None
    state: State = Field(default_factory=dict)

    def equations(self, update: Update) -> Node:
        """Add the nodes that update one parameter; the last one is its new value."""
        raise NotImplementedError

    def decays_gradient(self) -> bool:
        """Whether `weight_decay` is added to the gradient (else the equations use it themselves)."""
        return True

    def looks_ahead(self, updates: Updates, parameter: Node) -> Node | None:
        """The place at which the gradient by a parameter is taken, where it is not the parameter itself."""
        return None

    @property
    def first(self) -> int:
        """The step number t of iteration 1."""
        return int(getattr(self, "first_step", 1))


class Stepped(OptimizerSpec):
    """An optimizer whose equations read the step number t."""

    first_step: Count = 1


class Updates:
    """Adds the updates of a network's parameters to its graph.

    `carry` is what the states become; `complaints` is what the YAML says about parameters, layers and
    states that there are not, with paths inside `optimizer:`.
    """

    def __init__(
        self, graph: Graph, spec: OptimizerSpec, parameters: Sequence[Node], sequential: bool = False, seed: int = 0
    ) -> None:
        self.graph = graph
        self.spec = spec
        self.parameters = parameters
        self.sequential = sequential
        self.seed = seed
        self.carry: dict[Node, Node] = {}
        self.complaints: list[Complaint] = []
        self.first = spec.first
        self.start = self._first_step()
        self._gradients: Mapping[Node, Node] = {}
        self._scalars = {"step"}
        self._counters: list[tuple[Node, Op, tuple[Node, ...]]] = []

    def _first_step(self) -> int:
        given = self.spec.state.get("step")
        if given is None:
            return self.first
        if not isinstance(given, float) or given != int(given) or given < self.first:
            message = f"cannot be {given:g}" if isinstance(given, float) else "cannot be a mapping"
            self.complaints.append(Complaint(("state", "step"), message, f"a whole number of at least {self.first}"))
            return self.first
        return int(given)

    # before and after the updates

    def look_ahead(self) -> dict[Node, Node]:
        """Let the forward pass read each parameter where the gradient is to be taken.

        Returns what now stands for each parameter; its node follows the parameter's leaf at once.
        """
        moved: dict[Node, Node] = {}
        read = {operand for node in self.graph.nodes for operand in node.inputs}
        for parameter in self.parameters:
            before = len(self.graph.nodes)
            place = self.spec.looks_ahead(self, parameter) if parameter in read else None
            if place is None:
                continue
            moved[parameter] = place
            nodes = self.graph.nodes
            made = nodes[before:]
            del nodes[before:]
            after = nodes.index(parameter) + 1
            for node in nodes[after:]:
                node.inputs = tuple(place if operand is parameter else operand for operand in node.inputs)
            nodes[after:after] = made
        if moved and self.sequential:
            said = "lookahead takes all gradients at once, before any update"
            self.complaints.append(Complaint(("nesterov",) if "nesterov" in self.spec.model_fields_set else (), said,
                                             "conventions.update_order: simultaneous"))  # fmt: skip
        return moved

    def know(self, gradients: Mapping[Node, Node]) -> None:
        """Tell all gradients before the first update, for what is common to them."""
        self._gradients = gradients

    def add(self, parameter: Node, gradient: Node) -> Node:
        """The update of one parameter: its new value."""
        new = self.spec.equations(Update(self, parameter, gradient))
        self.carry[parameter] = new
        return new

    def finish(self) -> None:
        """Count on, and complain about parameters, layers and states in the YAML that there are not."""
        for leaf, op, inputs in self._counters:
            self.carry[leaf] = self.graph.add(f"new.{leaf.id}", op, *inputs, phase="update", symbol=Updated(leaf))
        self._complain()

    def _complain(self) -> None:
        ids = tuple(parameter.id for parameter in self.parameters)
        layers = tuple(dict.fromkeys(parameter.layer for parameter in self.parameters if parameter.layer))
        for name in self.spec.rates:
            if name not in (*layers, *ids):
                what = "layer or parameter that is trained"
                path = ("rates", name)
                self.complaints.append(Complaint(path, f"no {what}: '{name}'", "", (*layers, *ids), name, at_key=True))
        states = {name.split(".")[1] for name in self.graph.by_id if name.startswith("state.")} - self._scalars
        for name, given in self.spec.state.items():
            path = ("state", name)
            if name not in states | self._scalars or (name == "step" and "setting.step" not in self.graph.by_id):
                known = tuple(sorted(states | self._scalars))
                if "setting.step" not in self.graph.by_id:
                    known = tuple(k for k in known if k != "step")
                said = f"{self.spec.type} has no state '{name}'"
                self.complaints.append(Complaint(path, said, "", known, name, at_key=True))
            elif name in states and not isinstance(given, dict):
                self.complaints.append(Complaint(path, f"state {name} is one of each parameter", "{parameter: values}"))
            elif isinstance(given, dict):
                for id in given:
                    if id not in ids:
                        said = f"no parameter '{id}' that is trained"
                        self.complaints.append(Complaint((*path, id), said, "", ids, id, at_key=True))

    # what parameters share

    def setting(self, name: str, symbol: str, value: float) -> Node:
        """A setting of the optimizer, a leaf that all parameters share."""
        id = f"setting.optimizer.{name}"
        if id in self.graph.by_id:
            return self.graph.by_id[id]
        return self.graph.leaf(id, (), [value], phase="setting", symbol=Own(symbol))

    def shared(self, id: str, symbol: str, op: Op, *inputs: Node) -> Node:
        """A number that is worked out once for all parameters, in a block of its own."""
        if id in self.graph.by_id:
            return self.graph.by_id[id]
        return self.graph.add(id, op, *inputs, phase="update", symbol=Own(symbol))

    def counter(self, id: str, symbol: str, start: float, op: Op, *inputs: Node) -> Node:
        """A number that all parameters share and that is another in each iteration.

        `op` makes the next one; its operands are `inputs`, the counter itself after the first of them.
        """
        if id in self.graph.by_id:
            return self.graph.by_id[id]
        leaf = self.graph.leaf(id, (), [start], phase="setting", symbol=Own(symbol))
        self._counters.append((leaf, op, (*inputs[:1], leaf, *inputs[1:])))
        return leaf

    def product(self, name: str, symbol: str, op: Op, *inputs: Node) -> tuple[Node, Node]:
        """A state that all parameters share, before and after: `op` of it and `inputs`; it starts as 1."""
        id = f"state.{name}"
        self._scalars.add(name)
        if id in self.graph.by_id:
            return self.graph.by_id[id], self.graph.by_id[f"new.{id}"]
        given = self.spec.state.get(name, 1.0)
        if not isinstance(given, float):
            self.complaints.append(Complaint(("state", name), f"state {name} is one number", "a number"))
            given = 1.0
        before = self.graph.leaf(id, (), [given], phase="setting", symbol=Own(symbol))
        after = self.graph.add(f"new.{id}", op, before, *inputs, phase="update", symbol=Own(f"new {symbol}"))
        self.carry[before] = after
        return before, after

    def step_number(self) -> Node:
        """t: `setting.step`, one more in each iteration."""
        return self.counter("setting.step", "t", float(self.start), Next())

    def owner(self, parameter: Node) -> str:
        """The key of `rates` that holds for a parameter: its own id or its layer's name, or nothing."""
        return next((name for name in (parameter.id, parameter.layer) if name in self.spec.rates), "")

    def rate(self, parameter: Node) -> Node:
        """The learning rate of a parameter: its own or its layer's where `rates` gives one, scheduled."""
        owner = self.owner(parameter)
        name, symbol = (f"rates.{owner}", f"η_{owner}") if owner else ("learning_rate", "η")
        value = self.spec.rates[owner] if owner else self.spec.learning_rate
        schedule = self.spec.schedule
        if schedule is None:
            return self.setting(name, symbol, value)
        id = f"setting.learning_rate.{owner}" if owner else "setting.learning_rate"
        if id in self.graph.by_id:
            return self.graph.by_id[id]
        if schedule.absolute and owner:
            said = f"the schedule {schedule.type} says every rate itself"
            self.complaints.append(Complaint(("rates", owner), said, "one of the two", at_key=True))
        base = self.setting(name, f"{symbol}0", value) if not schedule.absolute else self.step_number()
        return schedule.rate(self, lambda op, *inputs: self.shared(id, symbol, op, *inputs), base, self.step_number())

    def clipped(self, parameter: Node, gradient: Node) -> Node:
        """The gradient as `clip` lets it through."""
        clip = self.spec.clip
        if clip is None:
            return gradient
        from bptrace.optimizers.clip import ClippedNorm, ClippedValue

        limit = self.setting("clip", "c", clip.limit)
        op: Op = ClippedValue()
        operands = [gradient, limit]
        if clip.value is None:
            op, operands = ClippedNorm(), [gradient, self._norm(clip, parameter, gradient), limit]
        return self.graph.add(
            f"clipped.{parameter.id}", op, *operands,
            phase="update", symbol=Of("clipped g", parameter), axes=parameter.axes, layer=parameter.layer,
            block=self.spec.type,
        )  # fmt: skip

    def masked(self, parameter: Node, gradient: Node) -> Node:
        """The gradient as `mask` lets it through."""
        mask = self.spec.mask
        if mask is None:
            return gradient
        from bptrace.optimizers.mask import masked

        return masked(self, mask, parameter, gradient)

    def masked_parameters(self) -> list[Node]:
        """The trained parameters that the loss depends on."""
        loss = self.graph.loss
        behind = self.graph.ancestors([loss]) if loss is not None else set()
        return [parameter for parameter in self.parameters if parameter in behind]

    def _norm(self, clip: Clip, parameter: Node, gradient: Node) -> Node:
        from bptrace.optimizers.clip import Norm

        if clip.norm is not None:
            return self.shared(f"clipped.{parameter.id}.norm", "‖g‖", Norm(clip.kind), gradient)
        # no name holds a dash, so that no parameter is called so
        gradients = [self._gradients[p] for p in self.parameters if p in self._gradients] or [gradient]
        if self.sequential and "clipped.global-norm" not in self.graph.by_id:
            said = "the common norm needs all gradients before the first update"
            expected = "conventions.update_order: simultaneous"
            self.complaints.append(Complaint(("clip", "global_norm"), said, expected, at_key=True))
        return self.shared("clipped.global-norm", "‖g‖", Norm(clip.kind), *gradients)

    def state(self, name: str, parameter: Node, start: float = 0.0) -> Node:
        """A state of a parameter as it stands before the update."""
        id = f"state.{name}.{parameter.id}"
        if id in self.graph.by_id:
            return self.graph.by_id[id]
        return self.graph.leaf(
            id, parameter.shape, self._start(name, parameter, start),
            phase="parameter", symbol=Of(name, parameter), axes=parameter.axes, layer=parameter.layer, word="state",
        )  # fmt: skip

    def begun(self, name: str, parameter: Node) -> bool:
        """Whether the YAML gives a parameter's state to start from."""
        given = self.spec.state.get(name)
        return isinstance(given, dict) and parameter.id in given

    def _start(self, name: str, parameter: Node, start: float) -> list[float]:
        if not self.begun(name, parameter):
            return [start] * parameter.size
        given = self.spec.state[name][parameter.id]
        if isinstance(given, float):
            return [given] * parameter.size
        if shape_of(given) != parameter.shape:
            expected = f"the shape {list(parameter.shape)} of {parameter.id}, or one number"
            said = f"the shape is {list(shape_of(given))}"
            self.complaints.append(Complaint(("state", name, parameter.id), said, expected))
            return [start] * parameter.size
        return _flat(given)


class Update:
    """The update of one parameter: what an optimizer's equations are written with."""

    def __init__(self, updates: Updates, parameter: Node, gradient: Node) -> None:
        self.updates = updates
        self.graph = updates.graph
        self.spec = updates.spec
        self.parameter = parameter
        self._raw = gradient

    @cached_property
    def gradient(self) -> Node:
        """The gradient that the equations read: clipped, masked, turned round to maximise, with weight decay."""
        gradient = self.updates.masked(self.parameter, self.updates.clipped(self.parameter, self._raw))
        if self.spec.maximize:
            gradient = self.inline(Scale(Fraction(-1)), gradient)
        if self.spec.weight_decay and self.spec.decays_gradient():
            decay = self.setting("weight_decay", "λ", self.spec.weight_decay)
            gradient = self.inline(Decayed(), gradient, decay, self.parameter)
        return gradient

    @property
    def rate(self) -> Node:
        """The learning rate of this parameter."""
        return self.updates.rate(self.parameter)

    @property
    def start_rate(self) -> float:
        """The learning rate that the YAML gives this parameter."""
        return self.spec.rates.get(self.updates.owner(self.parameter), self.spec.learning_rate)

    def setting(self, name: str, symbol: str, value: float) -> Node:
        """A setting of the optimizer, a leaf that all parameters share."""
        return self.updates.setting(name, symbol, value)

    def step_number(self) -> Node:
        """t: `setting.step`, one more in each iteration."""
        return self.updates.step_number()

    def state(self, name: str, start: float = 0.0) -> Node:
        """A state of this parameter as it stands before the update."""
        return self.updates.state(name, self.parameter, start)

    def next_state(self, state: Node, op: Op, *inputs: Node) -> Node:
        """What a state becomes."""
        assert isinstance(state.symbol, Of)
        new = self._add(f"new.{state.id}", op, inputs, Of(state.symbol.symbol, self.parameter))
        self.updates.carry[state] = new
        return new

    def named(self, prefix: str, symbol: str, op: Op, *inputs: Node) -> Node:
        """A quantity on the way, such as `m_hat.h.W`."""
        return self._add(f"{prefix}.{self.parameter.id}", op, inputs, Of(symbol, self.parameter))

    def inline(self, op: Op, *inputs: Node) -> Node:
        """An inner operation, written into the equation that uses it."""
        return self._add(f"~{len(self.graph.nodes)}", op, inputs, Own("?"), inline=True)

    def moved(self, op: Op, *inputs: Node, start: Node | None = None) -> Node:
        """The new value: the parameter (or `start`) minus what `op` works out; `step.h.W` is its negative."""
        away = self.inline(op, *inputs)
        id, symbol = f"step.{self.parameter.id}", Of("Δ", self.parameter)
        step = self._add(id, Scale(Fraction(-1)), (away,), symbol, inline=True)
        self.graph.views.add(step)
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


def _flat(value: Any) -> list[float]:
    return [number for item in value for number in _flat(item)] if isinstance(value, list) else [value]


__all__ = ["EpsilonAt", "NotNegative", "OptimizerSpec", "Rate", "Stepped", "Update", "Updates"]
