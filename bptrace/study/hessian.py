"""H·v, the Hessian of the loss times a direction: forward mode over the backward pass.

The gradients are nodes of the graph like any other, so that their tangents in the direction v are
H·v (Pearlmutter, 1994). An op says by `jvp` what its tangent is; of one that does not, the formula is
worked out with dual numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bptrace.engine.layout import Layout
from bptrace.engine.values import Values
from bptrace.errors import RunError
from bptrace.formula.dual import Dual, Duals
from bptrace.formula.evaluate import evaluate
from bptrace.formula.expr import Ref
from bptrace.graph.node import Node, Own
from bptrace.graph.op import Op, Operand, Term
from bptrace.ops.arithmetic import Add, Copy, Pointwise, times
from bptrace.ops.lazy import np
from bptrace.ops.leaves import Leaf

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.graph.op import Array

COMPUTED = ("forward", "loss", "backward")


class NoLossError(ValueError):
    """There is no loss, or nothing that is trained, of which there could be a Hessian."""


class Hessian:
    """The Hessian of an assembly's loss by all its trained parameters, one after the other.

    `parameters` are values by id that stand for those of the YAML. The graph is added to.
    """

    def __init__(self, assembly: Assembly, parameters: Mapping[str, Sequence[float]]) -> None:
        self.graph = assembly.graph
        self.parameters = [p for p in assembly.trainable if f"grad.{p.id}" in self.graph.by_id]
        if self.graph.loss is None or not self.parameters:
            raise NoLossError
        self._gradients = [self.graph.by_id[f"grad.{p.id}"] for p in self.parameters]
        self._values: dict[Node, Array] = {}
        self._calls: dict[Node, Callable[[Sequence[Array]], Array]] = {}
        self._fill(assembly, parameters)
        self._directions: dict[Node, Node] = {}
        self._moving: list[Node] = []
        self._tangents: dict[Node, Node] = {}
        self._inner: dict[tuple[Op, tuple[Node, ...]], Node] = {}
        self._differentiate(list(self.graph.nodes))

    @property
    def size(self) -> int:
        """How many parameters there are: the Hessian has as many rows and columns."""
        return sum(parameter.size for parameter in self.parameters)

    @property
    def loss(self) -> float:
        """The loss at these parameters."""
        assert self.graph.loss is not None
        return float(self._values[self.graph.loss])

    def gradient(self) -> Array:
        """The gradient at these parameters, one after the other."""
        return np.concatenate([self._values[node].reshape(-1) for node in self._gradients])

    def times(self, direction: Array) -> Array:
        """H·v for a direction v: (size,)."""
        start = 0
        values = self._values
        for parameter in self.parameters:
            leaf = self._directions[parameter]
            values[leaf] = direction[start : start + parameter.size].reshape(parameter.shape)
            start += parameter.size
        for node in self._moving:
            values[node] = self._compute(node)
        found = [self._tangents.get(node) for node in self._gradients]
        return np.concatenate([
            np.zeros(node.size) if tangent is None else values[tangent].reshape(-1)
            for tangent, node in zip(found, self._gradients, strict=True)
        ])  # fmt: skip

    # the pass itself

    def _fill(self, assembly: Assembly, parameters: Mapping[str, Sequence[float]]) -> None:
        """The numbers of all nodes up to the gradients."""
        graph = self.graph
        leaves = Values(Layout(assembly, []), assembly.parts.training, ())
        for node in graph.nodes:
            if isinstance(node.op, Leaf):
                flat = parameters.get(node.id) or graph.values.get(node) or leaves.flat(node)
                self._values[node] = np.array(flat, dtype=np.float64).reshape(node.shape)
            elif node.phase in COMPUTED:
                self._values[node] = self._compute(node)

    def _compute(self, node: Node) -> Array:
        arrays = [self._values[operand] for operand in node.inputs]
        call = self._calls.get(node)
        return np.asarray(node.op.compute(*arrays) if call is None else call(arrays))

    def _differentiate(self, nodes: list[Node]) -> None:
        """Add the tangent of every node that a parameter moves."""
        for parameter in self.parameters:
            leaf = self.graph.append(
                Node(f"~v{parameter.id}", Leaf(), (), parameter.shape, "tangent", symbol=Own("v"), axes=parameter.axes)
            )
            self._directions[parameter] = self._tangents[parameter] = leaf
        self._moves = set(self._directions.values())
        for node in nodes:
            if node.phase not in COMPUTED or node in self._tangents:
                continue
            moving = tuple(k for k, operand in enumerate(node.inputs) if operand in self._tangents)
            terms = self._terms(node, moving) if moving else []
            if terms:
                op, inputs = terms[0] if len(terms) == 1 else (Add(), tuple(self._emit(*term) for term in terms))
                self._tangents[node] = self._emit(op, inputs)

    def _terms(self, node: Node, moving: tuple[int, ...]) -> list[Term]:
        """What each operand that moves contributes."""
        tangents = [self._tangents[node.inputs[k]] for k in moving]
        try:
            rules = [node.op.jvp(self._place, node, k, t) for k, t in zip(moving, tangents, strict=True)]
        except NotImplementedError:
            return self._by_formula(node, moving, tangents)
        return [rule for rule in rules if rule is not None]

    def _by_formula(self, node: Node, moving: tuple[int, ...], tangents: list[Node]) -> list[Term]:
        """The tangent from the formula: of an elementwise op by one slope an operand, found only once."""
        if node.op.counts():
            return []  # 0 or 1, which a small step does not change
        rule = _ByFormula(node)
        if isinstance(node.op, Pointwise):
            slopes = [self._called(node, node.inputs, partial(rule.slope, k)) for k in moving]
            return [times(tangent, slope) for tangent, slope in zip(tangents, slopes, strict=True)]
        return [(Copy(), (self._called(node, (*node.inputs, *tangents), partial(rule.tangent, moving)),))]

    def _place(self, op: Op, *inputs: Node, inline: bool = True) -> Node:
        return self._emit(op, inputs)

    def _emit(self, op: Op, inputs: tuple[Node, ...]) -> Node:
        """A node of an operation; of one that no direction moves, with its numbers."""
        if (op, inputs) in self._inner:
            return self._inner[op, inputs]
        node = self.graph.add(f"~{len(self.graph.nodes)}", op, *inputs, phase="tangent", symbol=Own("?"))
        self._inner[op, inputs] = node
        self._note(node)
        return node

    def _called(self, of: Node, inputs: tuple[Node, ...], call: Callable[[Sequence[Array]], Array]) -> Node:
        """A node in the shape of `of` whose numbers a function works out."""
        id = f"~{len(self.graph.nodes)}"
        node = self.graph.append(Node(id, Leaf(), inputs, of.shape, "tangent", symbol=Own("?"), axes=of.axes))
        self._calls[node] = call
        self._note(node)
        return node

    def _note(self, node: Node) -> None:
        if any(operand in self._moves for operand in node.inputs):
            self._moves.add(node)
            self._moving.append(node)
        else:
            self._values[node] = self._compute(node)


class _ByFormula:
    """Derivatives of an op by dual numbers, element by element; `node` is whose op it is."""

    def __init__(self, node: Node) -> None:
        self.op, self.id = node.op, node.id
        self.own = [Node(f"operand{k}", Leaf(), (), operand.shape, "data") for k, operand in enumerate(node.inputs)]
        self.shape = node.shape

    def slope(self, which: int, arrays: Sequence[Array]) -> Array:
        """The derivative of an elementwise op by its operand `which`."""
        return self._work(arrays, {which: np.ones(self.own[which].shape)})

    def tangent(self, which: Sequence[int], arrays: Sequence[Array]) -> Array:
        """The tangent of the op whose operands `which` have tangents, which stand after the operands."""
        return self._work(arrays, dict(zip(which, arrays[len(self.own) :], strict=True)))

    def _work(self, arrays: Sequence[Array], slopes: Mapping[int, Array]) -> Array:
        operands = [Operand(node) for node in self.own]
        place = {node: k for k, node in enumerate(self.own)}

        def lookup(ref: Ref) -> Dual:
            k = place[ref.node]
            return Dual(float(arrays[k][ref.index]), float(slopes[k][ref.index]) if k in slopes else 0.0)

        out = np.empty(self.shape)
        for at in np.ndindex(self.shape):
            try:
                out[at] = evaluate(self.op.formula(at, *operands), lookup, Duals()).slope
            except (KeyError, NotImplementedError) as error:
                raise RunError(f"{self.id}: the op {self.op.name} has no second derivative ({error})") from None
        return out


__all__ = ["Hessian", "NoLossError"]
