"""Gradients that come back through several nodes: each contribution, and their sum."""

from __future__ import annotations

from collections.abc import Sequence

from bptrace.formula.expr import (
    Index,
    Number,
    Ref,
    Sum,
    flat,
)
from bptrace.formula.text import symbols
from bptrace.graph.node import Derivative, Node
from bptrace.graph.op import formula_of
from bptrace.report.blocks import (
    Cell,
    Form,
    Part,
    Row,
    Table,
)
from bptrace.report.kinds import Kinds
from bptrace.report.notation import Notation
from bptrace.report.places import typical
from bptrace.report.structure import summed_axes, table_parts


class Contributions(Kinds):
    """Makes the lines of what came back through each node."""

    def _contributions(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        """What came back through each node, and the sum.

        A contribution that is a sum itself is worked out first; then its line gives its value only.
        """
        made: list[Part] = []
        opened = {o for o in node.inputs if not any(count > 1 for _, count in summed_axes(formula_of(o, places[0])))}
        for contribution in node.inputs:
            if contribution not in opened:
                make = getattr(self, f"_{self._contribution(contribution)}")
                made.extend(make(contribution, notation, places))
        rows: list[Row] = []
        for index in places:
            for contribution in node.inputs:
                through = contribution.symbol.through if isinstance(contribution.symbol, Derivative) else ""
                value = Ref(contribution, index)
                whole = flat(formula_of(contribution, index)) if contribution in opened else value
                parts = table_parts(whole, loose=True) or [("", whole)]
                cells = [Cell(Form("numbers", part), operator) for operator, part in parts]
                note = "" if whole is value or isinstance(whole, Number) else f"({symbols(whole, notation.element)})"
                label = self._from(contribution, through)
                cells = cells if whole is not value else []  # it was worked out before
                rows.append(Row(label, cells, value, whole, note, self._sample(node, index)))
            shown = Sum(tuple(Ref(contribution, index) for contribution in node.inputs))
            name = notation.element(Ref(node, index))
            rows.append(Row("", [], Ref(node, index), shown, f"{self.words('sum')} = {name}", total=True))
        return [*made, Table([str(self.words("contribution"))], rows, notation.one(node))]

    def _contribution(self, contribution: Node) -> str:
        """The kind in which a contribution is worked out."""
        return self._kind(contribution, typical(contribution))

    def _from(self, contribution: Node, through: str) -> str:
        """Through what a contribution came: a quantity of this layer by its short name, or the loss."""
        node = self.words.graph.by_id.get(through)
        forward = ("forward", "loss")
        readers = [n for n in self.words.graph.nodes if node is not None and node in n.inputs and n.phase in forward]
        if contribution.step is not None and readers and all(reader.phase == "loss" for reader in readers):
            return str(self.words("from_loss", step=contribution.step))
        return str(self.words("from", node=through.removeprefix(f"{contribution.layer}.")))
