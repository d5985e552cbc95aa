"""The nodes of an attention layer: queries, keys, values, scores, weights, and what these take of the values."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bptrace.graph.node import DeltaName, Node, Own, Shape
from bptrace.graph.op import Op
from bptrace.layers.attention_fields import Projection
from bptrace.layers.base import Path
from bptrace.ops.activations import Tanh
from bptrace.ops.arithmetic import Add
from bptrace.ops.arithmetic import Scale as Scaled
from bptrace.ops.attention import Masked, OverRoot
from bptrace.ops.contract import Contract
from bptrace.ops.reduction import Total
from bptrace.ops.shaping import Expand, Reshape, Transpose
from bptrace.ops.softmax import Softmax
from bptrace.spec.base import shape_of

if TYPE_CHECKING:
    from bptrace.build.builder import Builder
    from bptrace.layers.attention import SelfAttention

SIGNS = {"query": "q", "key": "k", "value": "v", "output": "o"}
"""The parts of the parameters and their signs: `att.W_q`, `att.b_o`."""
QUANTITIES = {"query": ("Q", "queries"), "key": ("K", "keys"), "value": ("V", "values")}
WORDS = (
    ("n", "sample"), ("t", "position"), ("k", "input"), ("h", "head"), ("d", "unit"), ("j", "unit"), ("q", "query"),
    ("s", "key"),
)  # fmt: skip


class AttentionNodes:
    """The nodes of one layer. `h` is the axis letter of the heads, or nothing where there is one."""

    def __init__(self, layer: SelfAttention, builder: Builder, name: str, path: Path) -> None:
        self.layer, self.builder, self.name, self.path = layer, builder, name, path
        self.flipped = builder.convention("weight_layout", layer) == "in_out"
        self.heads = layer.heads
        self.h = "h" if layer.heads > 1 else ""
        self.head = ("head",) if self.h else ()
        parts = ("units", *(f"{kind}_{sign}" for sign in SIGNS.values() for kind in "Wb"), "z", "a")
        self.names = builder.names(layer, path, parts)

    def build(self, source: Node, context: Node) -> Node:
        layer, builder = self.layer, self.builder
        values = layer.value_units or layer.units
        queries = self._projected("query", source, layer.units)
        keys = self._projected("key", context, layer.units)
        found = self._projected("value", context, values)
        scores = self._scores(queries, keys)
        if builder.problems:
            return source
        rank = len(scores.shape)
        weights = self._add("weights", Softmax(rank - 1, "key"), scores, axes=scores.axes, word="attention_weights")
        z = self._output(weights, found, values)
        return builder.activate(layer, self.name, z, self.names, self.names.flat("units", (z.shape[-1],)))

    def _add(self, quantity: str, op: Op, *inputs: Node, axes: tuple[str, ...], **rest: Any) -> Node:
        fields = {"symbol": Own(quantity), "layer": self.name, **rest}
        return self.builder.graph.add(f"{self.name}.{quantity}", op, *inputs, phase="forward", axes=axes, **fields)

    def _inner(self, quantity: str, op: Op, *inputs: Node, axes: tuple[str, ...] = ()) -> Node:
        """A node that is written into the formula of the one that reads it."""
        return self._add(quantity, op, *inputs, axes=axes, inline=True, quiet=True)

    # parameters

    def _given(self, part: str) -> tuple[Any, Any]:
        """The weights and the bias of a part as the YAML has them; False stands for no bias."""
        if self.layer.share:
            there = self.builder.parameters.get(self.layer.share, {})
            return None, None if f"b_{SIGNS[part]}" in there else False
        field = getattr(self.layer, part) or Projection()
        return field.weights, False if field.bias is None else field.bias

    def _parameter(self, part: str, kind: str, given: Any, shape: Shape, axes: tuple[str, ...], fan: Any) -> Node:
        builder, layer = self.builder, self.layer
        node = builder.parameter(
            layer, self.name, kind, f"{'W' if kind == 'weights' else 'b'}_{SIGNS[part]}", shape, axes, self.path,
            fan=fan, given=given, at=(*self.path, part, kind),
        )  # fmt: skip
        held = isinstance(layer.trainable, dict) and not layer.trainable.get(part, True)
        if held and node in builder.trainable and not layer.share:
            builder.trainable.remove(node)
            builder.held.append(node)
        return node

    def _parameters(self, part: str, inputs: int, units: int) -> tuple[Node, Node | None]:
        """The weights (units, inputs), as the layout has them, and the bias (units)."""
        weights, bias = self._given(part)
        shape: Shape = (units, inputs)
        axes: tuple[str, ...] = ("unit", "input")
        if self.flipped:
            shape, axes = shape[::-1], axes[::-1]
        fan = (inputs, units)
        w = self._parameter(part, "weights", weights, shape, axes, fan)
        return w, None if bias is False else self._parameter(part, "bias", bias, (units,), ("unit",), fan)

    def _by_head(self, parameter: Node, axis: int) -> Node:
        """The parameter with its axis of all units as heads and units of a head."""
        if not self.h:
            return parameter
        shape, axes = parameter.shape, parameter.axes
        divided = (*shape[:axis], self.heads, shape[axis] // self.heads, *shape[axis + 1 :])
        view = Reshape(divided)
        words = (*axes[:axis], "head", axes[axis], *axes[axis + 1 :])
        return self._inner(f"{parameter.id.rpartition('.')[2]}.heads", view, parameter, axes=words)

    # quantities

    def _projected(self, part: str, source: Node, units: int) -> Node:
        """Q, K or V: (N, T, units), of several heads (N, heads, T, units of a head)."""
        symbol, word = QUANTITIES[part]
        w, b = self._parameters(part, source.shape[-1], units)
        operands = [source, self._by_head(w, 1 if self.flipped else 0)]
        if b is not None:
            operands.append(self._by_head(b, 0))
        op = Contract(
            "ntk", f"k{self.h}d" if self.flipped else f"{self.h}dk", f"n{self.h}td",
            bias=f"{self.h}d" if b is not None else None, swapped=True, words=WORDS,
        )  # fmt: skip
        return self._add(symbol, op, *operands, axes=("sample", *self.head, "time", "unit"), word=word)

    def _scores(self, queries: Node, keys: Node) -> Node:
        """How well each query meets each key: scaled, and -∞ where the mask closes."""
        axes = ("sample", *self.head, "query", "key")
        plain = self.layer.scale == 1 and self.layer.mask is None
        score = self._add_raw("scores" if plain else "raw_scores", queries, keys, axes)
        if plain:
            return score
        scale = self.layer.scale
        mask = self._mask(score.shape[-2], score.shape[-1]) if self.layer.mask is not None else None
        if scale != 1:
            text = f"{scale!r}".removesuffix(".0")
            op = OverRoot(queries.shape[-1]) if scale == "sqrt" else Scaled(Fraction(text), text)
            if mask is None:
                return self._add("scores", op, score, axes=axes, word="scores")
            score = self._inner("scaled", op, score, axes=axes)
        assert mask is not None
        rank = len(score.shape)
        spread = self._inner("mask.spread", Expand(score.shape, (rank - 2, rank - 1)), mask, axes=axes)
        return self._add("scores", Masked(), spread, score, axes=axes, word="scores")

    def _add_raw(self, id: str, queries: Node, keys: Node, axes: tuple[str, ...]) -> Node:
        h, word = self.h, id
        symbol = Own("raw" if id == "raw_scores" else id)
        if self.layer.score == "dot":
            op = Contract(f"n{h}qd", f"n{h}sd", f"n{h}qs", words=WORDS)
            return self._add(id, op, queries, keys, axes=axes, word=word, symbol=symbol)
        *outer, count, width = queries.shape
        whole = (*outer, count, keys.shape[-2], width)
        places, every = (*range(len(outer)),), len(whole)
        q = self._inner("Q.spread", Expand(whole, (*places, every - 3, every - 1)), queries)
        k = self._inner("K.spread", Expand(whole, (*places, every - 2, every - 1)), keys)
        both = self._inner("sums", Add(), q, k)
        function = self.builder.function(self.layer, Tanh(), every)
        bent = self._add("tanh", function, both, axes=(*axes, "unit"), word="activation")
        return self._add(id, Total((every - 1,), ("unit",)), bent, axes=axes, word=word, symbol=symbol)

    def _mask(self, count: int, looked_at: int) -> Node | None:
        """The leaf (T, S): 1 where a query position may look at a key position."""
        given: Any = self.layer.mask
        if given == "causal":
            given = [[float(s <= t) for s in range(looked_at)] for t in range(count)]
        elif shape_of(given) != (count, looked_at):
            said = f"the shape is {list(shape_of(given))}"
            expected = f"[{count}, {looked_at}]: a row for each of {count} query positions, a column for each of "
            self.builder.problem((*self.path, "mask"), said, f"{expected}{looked_at} key positions")
            return self.builder.graph.leaf(
                f"{self.name}.mask", (count, looked_at), [1.0] * count * looked_at, phase="data", symbol=Own("mask")
            )
        return self.builder.graph.leaf(
            f"{self.name}.mask", (count, looked_at), [number for row in given for number in row],
            phase="data", symbol=Own("mask"), axes=("query", "key"), layer=self.name, word="mask",
        )  # fmt: skip

    def _output(self, weights: Node, found: Node, values: int) -> Node:
        """What the weights take of the values, and z: that times W_o."""
        h, layer = self.h, self.layer
        projected = layer.output is not False
        attend = Contract(f"n{h}qs", f"n{h}sd", f"n{h}qd", words=WORDS)
        if not projected and not h:
            return self._z(attend, weights, found, units=values)
        axes = ("sample", *self.head, "time", "unit")
        attended = self._add("attended", attend, weights, found, axes=axes, word="attended")
        if not projected:
            turned = self._inner("attended.turned", Transpose((0, 2, 1, 3)), attended)
            shape = (*attended.shape[:1], attended.shape[2], values)
            z = self._inner("z", Reshape(shape), turned, axes=("sample", "time", "unit"))
            self.builder.unit_names[self.name] = self.names.flat("units", (values,))
            return z
        w, b = self._parameters("output", values, layer.units)
        operands = [attended, self._by_head(w, 0 if self.flipped else 1), *([b] if b is not None else [])]
        words = tuple({**dict(WORDS), "q": "position", "d": "input"}.items())
        op = Contract(
            f"n{h}qd", f"{h}dj" if self.flipped else f"j{h}d", "nqj", bias="j" if b is not None else None,
            swapped=True, words=words,
        )  # fmt: skip
        return self._z(op, *operands, units=layer.units)

    def _z(self, op: Op, *inputs: Node, units: int) -> Node:
        unit_names = self.names.flat("units", (units,))
        self.builder.unit_names[self.name] = unit_names
        factor = self.builder.delta_factor
        return self._add(
            "z", op, *inputs, axes=("sample", "time", "unit"), symbol=Own(self.names.symbol("z", "z")),
            word="pre_activation", delta=DeltaName(f"{self.name}.delta", (), factor),
        )  # fmt: skip
