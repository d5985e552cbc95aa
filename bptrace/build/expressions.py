"""Graph networks: named expressions become nodes, in order of evaluation.

The last operation of `f` is `f` itself; unnamed inner ones are `f.1`, `f.2`, ... Literals are no
operations. Operands of different shapes are expanded as NumPy broadcasts them.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from bptrace.build.builder import Builder
from bptrace.graph.node import Node, Own, Shape
from bptrace.graph.op import Op
from bptrace.layers.functions import CONSTANTS, FUNCTIONS
from bptrace.ops.activations import Abs, Cos, Exp, Log, Sin, Sqrt
from bptrace.ops.arithmetic import Add, Copy, Divide, Multiply, Pointwise, Power, Scale, Subtract
from bptrace.ops.contract import Contract
from bptrace.ops.leaves import Fill
from bptrace.ops.log_sum_exp import LogSumExp
from bptrace.ops.reduction import Extreme, Mean, Reduction, Total
from bptrace.ops.selection import Larger, Take, Where
from bptrace.ops.shaping import Concat, Expand, Reshape, Transpose, View
from bptrace.ops.softmax import AlongAxis
from bptrace.spec.expression import Binary, Call, Expression, Literal, Name, Unary

BINARY: dict[str, type[Pointwise]] = {"+": Add, "-": Subtract, "*": Multiply, "/": Divide, "**": Power}
UNARY: dict[str, type[Op]] = {**FUNCTIONS, "exp": Exp, "log": Log, "sqrt": Sqrt, "abs": Abs, "sin": Sin, "cos": Cos}
REDUCTIONS: dict[str, type[Reduction]] = {"sum": Total, "mean": Mean, "logsumexp": LogSumExp}


def build_graph(builder: Builder) -> None:
    """Add every expression; problems go to the builder, each at its place in the file."""
    for name in builder.spec.order:
        try:
            node = _Expressions(builder, name).define(builder.spec.expressions[name])
        except _MisfitError as misfit:
            problem = builder.spec.problem(("graph", name), str(misfit), offset=misfit.column)
            builder.problems.append(problem)
            return  # what builds on it would only repeat the mistake
        builder.outputs[name] = node


class _MisfitError(Exception):
    """Shapes that do not fit, at a column of the expression."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.column = column


class _Expressions:
    """Adds the operations of one expression."""

    def __init__(self, builder: Builder, name: str) -> None:
        self.builder = builder
        self.graph = builder.graph
        self.name = name
        self.count = 0

    def define(self, tree: Expression) -> Node:
        node = self.node(tree, last=True)
        if node.id == self.name:
            return node
        # `b: a` or `c: 2`: another name for a value
        op = node.op if isinstance(node.op, Fill) else Copy()
        return self.add(op, *(() if isinstance(node.op, Fill) else (node,)), last=True, column=0)

    def add(self, op: Op, *inputs: Node, last: bool, column: int) -> Node:
        """An operation under its id; a view that is not named is inline."""
        inline = isinstance(op, View) and not last
        if not last and not inline:
            self.count += 1
        id = self.name if last else f"{self.name}~{len(self.graph.nodes)}" if inline else f"{self.name}.{self.count}"
        source = next((node for node in inputs if node.axes), None)
        try:
            shape = op.shape(*(node.shape for node in inputs))
            axes = source.axes if source and len(source.shape) == len(shape) else ("row", "column")[-len(shape) :]
            if isinstance(op, Contract):
                axes = tuple(_axis_of(label, op, inputs) for label in op.out)
            if isinstance(op, Transpose) and source:
                axes = tuple(source.axes[axis] for axis in op.order)
            if len(axes) != len(shape):
                axes = tuple(f"axis{k + 1}" for k in range(len(shape)))
            node = self.graph.add(
                id, op, *inputs, phase="forward", symbol=Own(id), axes=axes, inline=inline, quiet=inline,
                block=self.name,
            )  # fmt: skip
        except ValueError as error:
            raise _MisfitError(str(error), column) from None
        if last:
            node.block = id
        return node

    def node(self, tree: Expression, last: bool = False) -> Node:
        match tree:
            case Name(id):
                return self.builder.outputs[id]
            case Literal(_, text):
                return self.constant(Fraction(text), text)
            case Unary(_, operand):
                inner = self.node(operand)
                if isinstance(inner.op, Fill):
                    return self.constant(-inner.op.value, f"-{inner.op.text}")
                return self.add(Scale(Fraction(-1)), inner, last=last, column=tree.column)
            case Binary("@", left, right):
                return self.matrix_product(self.node(left), self.node(right), last, tree.column)
            case Binary(op, left, right):
                a, b = self.broadcast([self.node(left), self.node(right)], tree.column)
                return self.add(BINARY[op](), a, b, last=last, column=tree.column)
            case Call():
                return self.call(tree, last)

    def constant(self, value: Fraction, text: str) -> Node:
        count = len(self.graph.nodes)
        return self.graph.add(
            f"{self.name}~{count}",
            Fill(value, (), text),
            phase="forward",
            symbol=Own(text),
            inline=True,
            block=self.name,
        )

    def broadcast(self, nodes: list[Node], column: int) -> list[Node]:
        """Expand the nodes to their common shape."""
        common: list[int] = []
        for node in nodes:
            padded = (1,) * (max(len(n.shape) for n in nodes) - len(node.shape)) + node.shape
            common = list(padded) if not common else [max(a, b) for a, b in zip(common, padded, strict=True)]
        return [self.expand(node, tuple(common), column) for node in nodes]

    def expand(self, node: Node, shape: Shape, column: int) -> Node:
        if node.shape == shape:
            return node
        if isinstance(node.op, Fill):
            op: Op = Fill(node.op.value, shape, node.op.text)
            return self.graph.add(
                f"{self.name}~{len(self.graph.nodes)}", op, phase="forward", symbol=Own(node.op.text), inline=True,
                block=self.name,
            )  # fmt: skip
        places = tuple(range(len(shape) - len(node.shape), len(shape)))
        return self.add(Expand(shape, places), node, last=False, column=column)

    def matrix_product(self, left: Node, right: Node, last: bool, column: int) -> Node:
        labels = {
            (1, 1): ("k", "k", ""),
            (2, 1): ("ik", "k", "i"),
            (1, 2): ("k", "kj", "j"),
            (2, 2): ("ik", "kj", "ij"),
        }
        ranks = (len(left.shape), len(right.shape))
        if ranks not in labels:
            raise _MisfitError(f"@ joins vectors and matrices, not shapes {left.shape} and {right.shape}", column)
        a, b, out = labels[ranks]
        words = tuple((label, "element") for label in "ijk")
        return self.add(Contract(a, b, out, words=words), left, right, last=last, column=column)

    def call(self, tree: Call, last: bool) -> Node:
        arguments = [self.node(argument) for argument in tree.arguments]
        options: dict[str, Any] = dict(tree.options)
        name, column = tree.function, tree.column
        first = arguments[0]
        if name in ("max", "min") and len(arguments) == 2:
            a, b = self.broadcast(arguments, column)
            return self.add(Larger(name == "min", self.builder.conventions.ties), a, b, last=last, column=column)
        if name in (*REDUCTIONS, "max", "min"):
            return self.reduction(name, first, options, last, column)
        if name in UNARY:
            return self.add(self.unary(name, options, first), first, last=last, column=column)
        rank = len(first.shape)
        special: dict[str, Callable[[], Node]] = {
            "transpose": lambda: self.add(
                Transpose(_order(options.get("axes"), rank)), first, last=last, column=column
            ),
            "reshape": lambda: self.add(Reshape(_tuple(options["shape"])), first, last=last, column=column),
            "concat": lambda: self.add(
                Concat(self.axis(options, rank, name, column)), *arguments, last=last, column=column
            ),
            "take": lambda: self.add(
                Take(_tuple(options.get("indices", options.get("index"))), self.axis(options, rank, name, column)),
                first, last=last, column=column,
            ),
            "where": lambda: self.add(Where(), *self.broadcast(arguments, column), last=last, column=column),
            "dot": lambda: self.matrix_product(first, arguments[1], last, column),
        }  # fmt: skip
        return special[name]()

    def axis(self, options: dict[str, Any], rank: int, name: str, column: int) -> int:
        """The axis that a function works along, counted from 0."""
        axis = int(options.get("axis", 0))
        if not -rank <= axis < rank:
            raise _MisfitError(f"{name} along axis {axis} of an array with {rank} axes", column)
        return axis % rank

    def unary(self, name: str, options: dict[str, Any], operand: Node) -> Op:
        kind = UNARY[name]
        if issubclass(kind, AlongAxis):
            if not operand.shape:
                raise _MisfitError(f"{name} of a single number", 0)
            return kind(self.axis({"axis": -1, **options}, len(operand.shape), name, 0))
        known = CONSTANTS.get(name, {})
        return kind(**{known[key]: float(value) for key, value in options.items() if key in known})

    def reduction(self, name: str, operand: Node, options: dict[str, Any], last: bool, column: int) -> Node:
        rank = len(operand.shape)
        given = options.get("axis")
        axes = tuple(range(rank))
        if given is not None and axes:
            axes = tuple(sorted({self.axis({"axis": axis}, rank, name, column) for axis in _tuple(given)}))
        if not axes:
            raise _MisfitError(f"{name} of a single number", column)
        # rows and columns of a matrix are no places of an image that a window lies over
        words = tuple("sample" if operand.axes[axis : axis + 1] == ("sample",) else "element" for axis in axes)
        if name in REDUCTIONS:
            return self.add(REDUCTIONS[name](axes, words), operand, last=last, column=column)
        ties = self.builder.conventions.ties
        return self.add(Extreme(axes, words, name == "min", ties), operand, last=last, column=column)


def _axis_of(label: str, op: Contract, inputs: tuple[Node, ...]) -> str:
    """The word of a matrix product's axis: that of the operand it comes from."""
    node, labels = (inputs[0], op.left) if label in op.left else (inputs[1], op.right)
    return node.axes[labels.index(label)] if node.axes else op.word(label)


def _tuple(value: Any) -> tuple[int, ...]:
    return tuple(int(item) for item in value) if isinstance(value, tuple | list) else (int(value),)


def _order(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(reversed(range(rank))) if value is None else _tuple(value)
