"""Reverse mode: adds the backward pass to the graph, from the rules of the ops.

Here, once for all ops, the gradients get their ids (`grad.h.W`), symbols (∂E/∂w5), axes and blocks.
Contributions that meet at a node are nodes of their own (`grad.Q/NODE`), followed by their sum; only
what a parameter gets from the time steps of a layer is one node, whose formula is the sum over time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

from bptrace.graph.graph import Graph
from bptrace.graph.node import Applied, Derivative, Node, Own, Phase
from bptrace.graph.op import Op, Term
from bptrace.ops.arithmetic import Add, Copy, Scale, scaled, split
from bptrace.ops.leaves import Leaf
from bptrace.ops.products import added


class Reverse:
    """One backward pass over a graph.

    `top` is what is differentiated (for the symbols), `seeds` where the pass starts: nodes with the
    cotangents that arrive there from outside. Only what leads to `wanted` is differentiated. `read`
    says which node stands for an operand in the error path; `done` is told of each wanted leaf whose
    gradient is complete (a sequential update answers by adding the update at once). `bypass` maps a
    loss node to the pre-activation that its error reaches directly, with the op that says how; after
    `run` it holds those that were taken.
    """

    def __init__(
        self,
        graph: Graph,
        top: Node,
        wanted: Iterable[Node],
        *,
        read: Callable[[Node], Node] = lambda node: node,
        done: Callable[[Node, Node], None] = lambda leaf, gradient: None,
        bypass: Mapping[Node, tuple[Node, Op]] | None = None,
        phase: Phase = "backward",
    ) -> None:
        self.graph = graph
        self.top = top
        self.wanted = set(wanted)
        self.needed = graph.dependents(self.wanted)
        self.read = read
        self.done = done
        self.bypass: Mapping[Node, tuple[Node, Op]] = bypass or {}
        self.phase: Phase = phase
        self.forward = list(graph.nodes)
        self.contributions: dict[Node, list[tuple[str, Term]]] = {}
        self.gradients: dict[Node, Node] = {}
        self.fresh: set[Node] = set()
        self._waiting: dict[Node, int] = {}
        self._outside_time: set[Node] = set()

    def _count_consumers(self) -> dict[Node, int]:
        waiting: dict[Node, int] = {}
        for node in self.forward:
            if node in self.needed:
                for operand in self._operands(node):
                    waiting[operand] = waiting.get(operand, 0) + 1
        return waiting

    def _drop_bypasses(self, seeds: Mapping[Node, Term]) -> None:
        """Keep the short way past an activation only where its result serves nothing else.

        With a second use, `grad.o.a` would be a part of the derivative under the name of the whole;
        with an upstream gradient inside the loss, the terms' cotangent is no longer one constant.
        """
        while True:
            kept = {terms: way for terms, way in self.bypass.items() if self._serves_only_losses(terms, seeds)}
            if len(kept) == len(self.bypass):
                return
            self.bypass = kept

    def _serves_only_losses(self, terms: Node, seeds: Mapping[Node, Term]) -> bool:
        result = terms.inputs[1]
        uses = [node for node in self.forward if node in self.needed and result in node.inputs]
        inside = [node for node in self.graph.dependents([terms]) if node in seeds and node is not self.top]
        return result not in seeds and not inside and all(node in self.bypass for node in uses)

    def _operands(self, node: Node) -> list[Node]:
        """The operands that an error is passed back to, one entry a place."""
        if node in self.bypass:
            return [self.bypass[node][0]]
        return [operand for operand in node.inputs if operand in self.needed]

    def run(self, seeds: Mapping[Node, Term]) -> dict[Node, Node]:
        """Add the backward pass; returns the gradient of each node that has one."""
        self._drop_bypasses(seeds)
        self._waiting = self._count_consumers()
        for node, term in seeds.items():
            self.contributions.setdefault(node, []).append(("upstream", term))
            self._outside_time.add(node)
        for node in reversed(self.forward):
            if node in self.needed and node not in self.gradients:
                self._visit(node)
        return self.gradients

    def _visit(self, node: Node) -> None:
        gradient = self._collect(node)
        if gradient is not None:
            self._pass_back(node, gradient)
        for operand in self._operands(node):
            self._waiting[operand] -= 1
            if not self._waiting[operand] and isinstance(operand.op, Leaf) and operand.phase == "parameter":
                finished = self._collect(operand)
                if finished is not None:
                    self.done(operand, finished)
        if gradient is not None:
            self._pass_back_to_others(node, gradient)

    # Parameters are asked for first: where they are updated at once (sequential), the error that
    # goes further down already reads the new ones.
    def _pass_back(self, node: Node, gradient: Node) -> None:
        if node in self.bypass:
            target, op = self.bypass[node]
            factor, base = split(gradient)
            constant = getattr(base.op, "value", Fraction(1))
            emitted: Term = (op, node.inputs)
            self._contribute(node, target, scaled(self._emitter(node, target), factor * constant, emitted))
            return
        for k, operand in enumerate(node.inputs):
            if operand in self.needed and operand.phase == "parameter":
                self._ask(node, k, operand, gradient)

    def _pass_back_to_others(self, node: Node, gradient: Node) -> None:
        if node in self.bypass:
            return
        for k, operand in enumerate(node.inputs):
            if operand in self.needed and operand.phase != "parameter":
                self._ask(node, k, operand, gradient)

    def _ask(self, node: Node, k: int, operand: Node, gradient: Node) -> None:
        # every rule is linear in the cotangent, so its constant factor can be drawn to the front
        factor, base = split(gradient)
        emit = self._emitter(node, operand)
        term = node.op.vjp(emit, node, k, base, self.read)
        if term is not None:
            self._contribute(node, operand, scaled(emit, factor, term))

    def _contribute(self, node: Node, operand: Node, term: Term) -> None:
        self.contributions.setdefault(operand, []).append((node.block if node.inline else node.id, term))
        if node.step is None:
            self._outside_time.add(operand)

    def _emitter(self, node: Node, operand: Node) -> Callable[..., Node]:
        several = len({o for o in node.inputs if o in self.needed}) > 1

        def emit(op: Op, *inputs: Node, inline: bool = True) -> Node:
            if inline:
                return self._inner(op, inputs, node)
            source = operand
            while source.inline and source.quiet and len(source.inputs) == 1:
                source = source.inputs[0]  # what was only broadcast or reshaped is called by its name
            plain = f"local.{node.id}/{source.id}" if several else f"local.{node.id}"
            id, made = local_derivative(self.graph, plain, op, inputs)
            if made is not None:
                return made
            sign = node.op.symbol()
            symbol = Applied(f"{sign}'", source) if sign else Derivative(node, source)
            shape = op.shape(*(i.shape for i in inputs))
            axes = operand.axes if shape == operand.shape else node.axes if shape == node.shape else ()
            return self.graph.add(
                id, op, *inputs,
                phase=self.phase, symbol=symbol, axes=axes,
                names=(), layer=node.layer, block=self._block(source), word="local_derivative", step=node.step,
            )  # fmt: skip

        return emit

    def _inner(self, op: Op, inputs: tuple[Node, ...], owner: Node) -> Node:
        count = len(self.graph.nodes)
        node = self.graph.add(
            f"~{count}", op, *inputs, phase=self.phase, symbol=Own("?"), axes=(), inline=True, block=owner.id
        )
        self.fresh.add(node)
        return node

    def _block(self, node: Node) -> str:
        """The block of the gradient by `node`."""
        return node.delta.id if node.delta else f"grad.{node.id}"

    def _collect(self, node: Node) -> Node | None:
        """Make the gradient of a node from what has come back to it."""
        if node in self.gradients:
            return self.gradients[node]
        found = self.contributions.get(node)
        if not found:
            return None
        if len(found) > 1:
            term = self._over_time(node, found) or (Add(), tuple(self._contributions(node, found)))
        else:
            term = found[0][1]
        gradient = self._delta(node, term) if node.delta else self._gradient(node, term)
        self.gradients[node] = gradient
        return gradient

    def _over_time(self, node: Node, found: list[tuple[str, Term]]) -> Term | None:
        """What comes back from time steps alone as one operation: of a parameter that all steps share
        the sum over time, of a sequence the gradients of its steps side by side."""
        from bptrace.ops.sequence import gathered  # few networks have time steps

        terms = [self._adopted(*term) for _, term in found]
        emit = self._emitter(node, node)
        whole = gathered(emit, terms)
        if whole is not None or node.phase != "parameter" or node in self._outside_time:
            return whole
        return added(emit, terms) or (Add(), tuple(emit(op, *inputs) for op, inputs in terms))

    def _contributions(self, node: Node, found: list[tuple[str, Term]]) -> list[Node]:
        parts: list[Node] = []
        taken: set[str] = set()
        for through, (op, inputs) in reversed(found):
            label, again = through, 1
            while label in taken:
                again += 1
                label = f"{through}:{again}"
            taken.add(label)
            op, inputs = self._adopted(op, inputs)
            parts.append(
                self.graph.add(
                    f"grad.{node.id}/{label}",
                    op,
                    *inputs,
                    phase=self.phase,
                    symbol=Derivative(self.top, node, label),
                    axes=node.axes,
                    names=(),
                    layer=node.layer,
                    block=self._block(node),
                    word="contribution",
                    inline=node.quiet,
                )
            )
        return parts

    def _adopted(self, op: Op, inputs: tuple[Node, ...]) -> Term:
        """A copy of an inner node is that node's own operation."""
        while isinstance(op, Copy) and inputs[0] in self.fresh:
            op, inputs = inputs[0].op, inputs[0].inputs
        return op, inputs

    def _gradient(self, node: Node, term: Term) -> Node:
        op, inputs = self._adopted(*term)
        word = "weight_gradient" if node.word == "weights" else "bias_gradient" if node.word == "bias" else ""
        return self.graph.add(
            f"grad.{node.id}", op, *inputs,
            phase=self.phase, symbol=Derivative(self.top, node), axes=node.axes, names=(), layer=node.layer,
            word=word or ("passed_back" if node.phase == "forward" and node.layer else "gradient"),
            inline=node.quiet, block=self._gradient_block(node, op),
            aliases=[f"grad.{alias}" for alias in node.aliases], step=node.step,
        )  # fmt: skip

    def _gradient_block(self, node: Node, op: Op) -> str:
        """An elementwise gradient of an activation stands in the block of the delta below it."""
        below = [operand for operand in node.inputs if operand.delta]
        if isinstance(op, Add):
            return f"grad.{node.id}"
        # of a node that joins several, the error goes on to all of them
        alone = len({operand for operand in node.inputs if operand in self.needed}) == 1
        if len(below) == 1 and alone and not node.quiet and _pointwise(op) and node.phase == "forward":
            return below[0].delta.id if below[0].delta else ""
        return f"grad.{node.id}"

    def _delta(self, node: Node, term: Term) -> Node:
        assert node.delta is not None
        delta = node.delta
        op, inputs = self._adopted(*scaled(self._emitter(node, node), Fraction(delta.factor), term))
        plain = delta.factor == 1
        made = self.graph.add(
            delta.id, op, *inputs,
            phase=self.phase, symbol=Own(delta.symbol, delta.symbol), axes=node.axes, names=delta.names,
            layer=node.layer, word="delta", step=node.step,
            aliases=[f"grad.{node.id}", *(f"grad.{alias}" for alias in node.aliases)] if plain else [],
        )  # fmt: skip
        if plain:
            return made
        return self.graph.add(
            f"grad.{node.id}", Scale(Fraction(1, delta.factor)), made,
            phase=self.phase, symbol=Derivative(self.top, node), axes=node.axes, layer=node.layer, inline=True,
            aliases=[f"grad.{alias}" for alias in node.aliases],
        )  # fmt: skip


def local_derivative(graph: Graph, id: str, op: Op, inputs: tuple[Node, ...]) -> tuple[str, Node | None]:
    """The node of a local derivative if the graph has it under `id`, or else a free id for it.

    One node may be both operands (x**x): its derivatives are then `local.f` and `local.f:2`.
    """
    label, again = id, 1
    while label in graph.by_id:
        made = graph.by_id[label]
        if (made.op, made.inputs) == (op, inputs):
            return label, made
        again += 1
        label = f"{id}:{again}"
    return label, None


def _pointwise(op: Op) -> bool:
    from bptrace.ops.arithmetic import Pointwise

    return isinstance(op, Pointwise)
