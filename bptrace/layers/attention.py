"""Attention: every position of a sequence takes what it needs from the positions that it looks at.

    Q = x·W_qᵀ, K = c·W_kᵀ, V = c·W_vᵀ
    scores = Q·Kᵀ/√d (masked), weights = softmax(scores), z = (weights·V)·W_oᵀ

`c` is x itself (self-attention) or another sequence (cross-attention). Several heads divide the units
among them; each has scores of its own. What the heads find stands side by side before W_o.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator

from bptrace.graph.node import Node
from bptrace.layers.attention_fields import Mask, Projection, Scale
from bptrace.layers.attention_nodes import AttentionNodes
from bptrace.layers.base import LayerSpec, Path
from bptrace.spec.base import Complaint, Count, refuse_all

if TYPE_CHECKING:
    from bptrace.build.builder import Builder


class SelfAttention(LayerSpec):
    """W_q, W_k: (units, in), W_v: (value_units, in), W_o: (units, value_units), all heads together.

    x: (N, T, in), scores: (N, T, S), with several heads (N, heads, T, S); z: (N, T, units).
    """

    takes_context: ClassVar[str] = "never"

    type: Literal["self_attention"]
    units: Count
    value_units: Count | None = None
    heads: Count = 1
    query: Projection | None = None
    key: Projection | None = None
    value: Projection | None = None
    output: Projection | Literal[False] | None = None
    scale: Scale = "sqrt"
    mask: Mask | None = None
    score: Literal["dot", "additive"] = "dot"
    context: str | None = None

    # the fields

    @model_validator(mode="after")
    def _fits(self) -> Self:
        complaints = [*self._divided()]
        if self.context is None and self.takes_context == "always":
            complaints.append(Complaint(("context",), "'context' is missing", "the layer or input that is looked at"))
        if self.context is not None and self.takes_context == "never":
            said = f"{self.type} looks at its own input"
            complaints.append(Complaint(("context",), said, "cross_attention, or no context", at_key=True))
        if complaints:
            raise refuse_all(complaints)
        return self

    def _divided(self) -> Iterator[Complaint]:
        for field, width in (("units", self.units), ("value_units", self.value_units)):
            if width is not None and width % self.heads:
                said = f"{width} {field} cannot be divided among {self.heads} heads"
                near = max(1, round(width / self.heads)) * self.heads
                yield Complaint((field,), said, f"a multiple of {self.heads}, such as {near}")

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        width = self.units // self.heads
        score = "Q·Kᵀ" if self.score == "dot" else "Σ tanh(q + k)"
        if self.scale == "sqrt":
            score = f"{score}/√{width}"
        elif self.scale != 1:
            score = f"{self.scale:g}·{score}"
        formula = f"softmax({score})·V"
        function = f", {self.activation.name}" if self.activation is not None else ""
        return {"type": self.type, "units": self.units, "activation": f"{formula}{function}"}

    # the nodes

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        context = self._context(builder, path, source)
        if context is None:
            return source
        return AttentionNodes(self, builder, name, path).build(source, context)

    def _context(self, builder: Builder, path: Path, source: Node) -> Node | None:
        """The sequence that is looked at, if it and the layer's input are sequences."""
        context = source
        if self.context is not None:
            if self.context not in builder.outputs:
                known = tuple(builder.outputs)
                said = f"no layer or input '{self.context}' above"
                builder.problem((*path, "context"), said, known=known, got=self.context)
                return None
            context = builder.outputs[self.context]
        if builder.columns:
            said = f"{self.type} does not take samples as columns"
            builder.problem(path, said, "sequences (N, T, features) and sample_axis: rows")
            return None
        hint = "(samples, positions, features): one sample in one more list, one feature as [[[0.1], [0.2]]]"
        good = True
        for node, at in {source: path, context: (*path, "context") if self.context else path}.items():
            if len(node.shape) != 3:
                said = f"{self.type} reads sequences, but {node.id} has the shape {list(node.shape)}"
                builder.problem(at, said, hint)
                good = False
        return context if good else None


class CrossAttention(SelfAttention):
    """Queries from the input (N, T, in), keys and values from the context (N, S, features)."""

    takes_context: ClassVar[str] = "always"

    type: Literal["cross_attention"]  # type: ignore[assignment]


class MultiHeadAttention(SelfAttention):
    """Self-attention with several heads; with a context, cross-attention."""

    takes_context: ClassVar[str] = "maybe"

    type: Literal["multi_head_attention"]  # type: ignore[assignment]
