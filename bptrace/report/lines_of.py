"""Lines and workings: a name, its formula, the numbers put in, the inside worked out, the value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bptrace.formula.expr import (
    Index,
    Ref,
    Worked,
    flat,
)
from bptrace.formula.text import symbols
from bptrace.graph.node import Node
from bptrace.graph.op import formula_of
from bptrace.report import time_steps
from bptrace.report.block_parts import BlockParts, subject_of
from bptrace.report.blocks import (
    Columns,
    Line,
    Lines,
    Part,
    Sentence,
)
from bptrace.report.notation import Notation
from bptrace.report.structure import opened, replaced, shared_sum


class LinesOf(BlockParts):
    """Makes lines and workings."""

    def _drawn_rule(self, node: Node) -> Sentence:
        return Sentence(str(self.words("drawn_rule", stream=getattr(node.op, "stream", ""))))

    def _drawn(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        """Random numbers that were asked for one by one: which of the stream they are."""
        return self._lines(node, notation, places)

    def _lines(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        """All forms in a row; a sum that several elements share is worked out once, before them."""
        over = self._over_steps(node, notation, list(places))
        if over is not None:
            return [over]
        full = Notation(notation.layer)
        by_sum: dict[str, list[Line]] = {}
        for index in places:
            expr = formula_of(node, index)
            sample = self._sample(node, index)
            shared = shared_sum(expr)
            said = ""
            if shared is not None:
                said = symbols(shared, full.element)
                if said not in by_sum:
                    name = symbols(opened(shared), lambda ref: notation.one(ref.node), general=True)
                    forms = self.forms(shared, notation, False)
                    by_sum[said] = [Line(name, forms, Worked(flat(shared)), sample)]
                expr = replaced(expr, shared)
            forms = self.forms(expr, notation, False)
            line = Line(notation.element(Ref(node, index)), forms, Ref(node, index), sample)
            by_sum.setdefault(said, []).append(line)
        return [Lines([line for lines in by_sum.values() for line in lines])]

    def _working(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        return [self._over_steps(node, notation, places) or self._stacked(node, notation, places)]

    def _over_steps(self, node: Node, notation: Notation, places: Sequence[Index]) -> Columns | None:
        """A parameter's gradient that several time steps contribute to: a column a step."""
        subject = subject_of(node)
        if node.phase != "backward" or subject.phase != "parameter":
            return None
        return time_steps.over_steps(
            node, places, notation, lambda index: self._label(node, index, notation),
            self._stacked(node, notation, places), "weight" if subject.word == "weights" else "parameter",
            lambda step: str(self.words("step_column", step=step)),
        )  # fmt: skip

    def _stacked(self, node: Node, notation: Notation, places: Iterable[Index]) -> Lines:
        lines = []
        for index in places:
            expr = formula_of(node, index)
            forms = self.forms(expr, notation, True)
            if node.phase == "loss":
                forms = forms[1:] or forms  # the caption has the formula, the lines above the terms
            lines.append(Line(notation.element(Ref(node, index)), forms, Ref(node, index), self._sample(node, index)))
        return Lines(lines, stacked=node.phase != "loss")
