"""Equation tables, columns of terms, and sums that are written addend by addend."""

from __future__ import annotations

from collections.abc import Sequence

from bptrace.formula.expr import (
    Expr,
    Index,
    Negation,
    Ref,
    Sum,
    Worked,
    addends,
    children,
    flat,
    worked,
    worked_leaves,
)
from bptrace.formula.text import symbols
from bptrace.graph.node import Node, Updated
from bptrace.graph.op import formula_of
from bptrace.report.addends import any_step, count, counted, over_steps, spread
from bptrace.report.block_parts import BlockParts, element_id
from bptrace.report.blocks import (
    Cell,
    Columns,
    Form,
    Part,
    Row,
    RunningSum,
    Table,
)
from bptrace.report.notation import Notation
from bptrace.report.structure import open_sum, replaced, table_parts, with_sum


class TablesOf(BlockParts):
    """Makes tables, columns, addends and running sums."""

    def _table(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        rows: list[Row] = []
        for index in places:
            whole = flat(formula_of(node, index))
            parts = table_parts(whole)
            assert parts is not None
            cells = [Cell(Form("numbers", expr), operator) for operator, expr in parts]
            note = ""
            if self._other_places(node, whole):
                note = f"({symbols(whole, notation.element)})"
            rows.append(
                Row(self._label(node, index, notation), cells, Ref(node, index), whole, note, self._sample(node, index))
            )
        letters = tuple("ijkl"[k] for k in range(len(node.shape)))
        general = table_parts(flat(formula_of(node, letters)))
        assert general is not None
        headings = [self._label_word(node)]
        for operator, expr in general:
            text = symbols(expr, lambda ref: notation.one(ref.node), general=True)
            if isinstance(expr, Sum) and general[1][0] in ("·", "/"):
                text = f"({text})"
            headings.append(f"{operator} {text}" if operator else text)
        return [Table(headings, rows, notation.one(node))]

    def _other_places(self, node: Node, whole: Expr) -> bool:
        """Whether an operand stands at another place than the result."""
        from bptrace.formula.expr import refs

        return any(
            not isinstance(ref.node.symbol, Updated) and ref.node.shape and ref.node.shape != node.shape
            for ref in refs(whole)
        )

    def _addends(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        """One line an addend, labelled by its sample, its time step or its place; then the sum, then
        what is made of it."""
        rows: list[Row] = []
        headings: list[str] = []
        column = ""
        full = Notation(notation.layer)  # a sum of one sample carries its number
        for index in places:
            expr = formula_of(node, index)
            total, closing = open_sum(expr)
            found = list(spread(total))
            column = column or counted(found, self.words)
            shown = Sum(tuple(Worked(flat(addend.term)) for addend in found))
            label = full.element(Ref(node, index)) if node.phase == "loss" else self._label(node, index, notation)
            listed: list[int | None] = list(range(len(found)))
            if len(found) > self.limits.terms:
                half = self.limits.terms // 2
                listed = [*range(half), None, *range(len(found) - (self.limits.terms - half), len(found))]
            for k in listed:
                if k is None:
                    left = self._left_out(len(found) - self.limits.terms, node)
                    rows.append(Row("", [], Ref(node, index), total, left))
                    continue
                term = flat(found[k].term)
                parts = table_parts(term, loose=True) or [("", term)]
                cells = [Cell(Form("numbers", part), operator) for operator, part in parts]
                rows.append(Row(label, cells, term, term, sample=found[k].label()))
                label = ""
                if not headings:
                    headings = [any_step(_heading(part, notation), found[k]) for _, part in parts]
                    headings = [f"{op} {text}" if op else text for (op, _), text in zip(parts, headings, strict=True)]
            name = full.element(Ref(node, index))
            if closing is None:
                rows.append(Row("", [], Ref(node, index), shown, f"{self.words('sum')} = {name}", total=True))
            else:
                rows.append(Row("", [], total, shown, str(self.words("sum")), total=True))
                made = with_sum(expr, total)
                said = closing.replace("sum", str(self.words("sum")))
                rows.append(Row("", [], Ref(node, index), made, f"{said} = {name}", total=True))
        return [Table([self._label_word(node), *headings], rows, str(self.words("contribution")), column)]

    def _columns(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        made: list[Part] = []
        sample = node.axes.index("sample")
        units = list(dict.fromkeys(tuple(p for k, p in enumerate(i) if k != sample) for i in places))
        for unit in units:
            rows = []
            headings: list[str] = []
            for index in places:
                if tuple(p for k, p in enumerate(index) if k != sample) != unit:
                    continue
                whole = flat(formula_of(node, index))
                middle = worked(whole)
                terms = list(addends(whole))
                if not headings:
                    headings = _joined(symbols_of(terms, notation))
                    headings.insert(0, notation.element(Ref(node, index)))
                forms = [Form("numbers", term) for term in terms]
                shown = middle if any(worked_leaves(middle)) else None
                rows.append((self._sample(node, index), forms, Ref(node, index), whole, shown))
            made.append(Columns(headings, rows))
        return made

    def _running(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        """One element worked out term by term; what is made of the sum stands under it."""
        index = places[0]
        whole = formula_of(node, index)
        long = _longest_sum(whole)
        command = self.limits.command(element_id(node, index), "terms")
        name = Notation(node.layer).element(Ref(node, index))
        terms = (
            [addend.term for addend in spread(long)]
            if any(isinstance(term, Sum) for term in long.terms[:1])
            else long.terms
        )
        return [RunningSum(Ref(node, index), terms, replaced(whole, long), name, self.limits.terms, command)]


def _longest_sum(expr: Expr) -> Sum:
    """The sum of a formula that is worked out term by term: the one with most terms."""
    found = [expr] if isinstance(expr, Sum) and (expr.axis or over_steps(expr)) else []
    found += [_longest_sum(child) for child in children(expr) if not found]
    return max((part for part in found if part.terms), key=count, default=Sum(()))


def _heading(expr: Expr, notation: Notation) -> str:
    """An addend in general symbols; of one that is a sum itself, its first term."""
    long = isinstance(expr, Sum) and len(expr.terms) > 2
    first = symbols(expr.terms[0] if isinstance(expr, Sum) and long else expr, lambda ref: notation.one(ref.node))
    return f"{first} + …" if long else first


def symbols_of(terms: Sequence[Expr], notation: Notation) -> list[tuple[bool, str]]:
    """The terms with symbols, each with whether it is subtracted."""
    found = []
    for term in terms:
        minus = isinstance(term, Negation)
        inner = term.of if isinstance(term, Negation) else term
        found.append((minus, symbols(inner, notation.element)))
    return found


def _joined(terms: Sequence[tuple[bool, str]]) -> list[str]:
    return [f"{'- ' if minus else '+ ' if k else ''}{text}" for k, (minus, text) in enumerate(terms)]
