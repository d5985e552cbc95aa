"""From nodes to blocks: which kind a node's working takes, and its lines.

The kind is chosen from the formula's structure and the axes that it sums over, never from values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bptrace.formula.expr import (
    Choice,
    Expr,
    Index,
    Negation,
    Number,
    Power,
    Product,
    Quotient,
    Ref,
    Sum,
    Worked,
    addends,
    children,
    flat,
    rebuild,
    worked,
)
from bptrace.formula.text import symbols
from bptrace.graph.node import Derivative, Node, Of, Updated
from bptrace.graph.op import formula_of
from bptrace.ops.arithmetic import Add
from bptrace.report.blocks import (
    Agreement,
    Block,
    Cell,
    Columns,
    Form,
    Line,
    Lines,
    Part,
    Row,
    RunningSum,
    Sentence,
    Summary,
    Table,
    Values,
)
from bptrace.report.notation import Notation, indices, shape_text

REDUCED = ("sample", "time")
"""Axes whose sums are written addend by addend."""
LARGE = 1000
"""Elements of a parameter's gradient above which a summary stands for them."""
WIDE = 64
"""Terms of a sum above which one unit is worked out and the others are listed."""


@dataclass(frozen=True)
class Limits:
    """What a page leaves out, always with the count and the command that shows it."""

    rows: int = 20
    terms: int = 8
    net: str = "net.yaml"

    def command(self, id: str, what: str) -> str:
        return f"bptrace run {self.net} --only '{id}' --max-{what} all"


class Blocks:
    """Makes the blocks of one graph. `words` translates the keys of the label catalogue."""

    def __init__(self, words: Any, limits: Limits, samples: int) -> None:
        self.words = words
        self.limits = limits
        self.samples = samples

    def block(self, nodes: Sequence[Node], only: set[tuple[Node, int]] | None = None) -> Block:
        """The block of the nodes that stand together; the last one gives the caption."""
        last = nodes[-1]
        update = last.phase == "update"
        notation = Notation(last.layer, True, "w" if update else "")
        captions = [self._caption(node, notation, nodes) for node in (last, *nodes[:-1])]
        formulas = list(dict.fromkeys(formula for formula, _ in captions if formula))
        right = next((shape for _, shape in captions[:1]), "")
        block = Block(last.block, self._word(last), formulas, right, nodes=list(nodes))
        if last.block == "loss" and last.phase == "loss":
            block.formulas = [self._loss_formula(nodes)]
        block.settings = self._settings(nodes)
        if update and only is None and any(isinstance(node.symbol, Of) for node in nodes):
            block.parts = self._equations(nodes, notation)
            return block
        for node in nodes:
            chosen = [i for n, i in only if n is node] if only is not None else None
            if chosen is None or chosen:
                block.parts.extend(self.parts(node, notation, chosen, nodes))
        block.parts = _merged(block.parts)
        self._notice(block, nodes)
        if last.word == "witness":
            checked = self.words.graph.by_id[last.id.removeprefix("check.")]
            block.parts.append(Agreement(checked, last))
        return block

    def _notice(self, block: Block, nodes: Sequence[Node]) -> None:
        """Where nothing may happen: gradients that are 0 everywhere, units that ReLU shuts off."""
        last = nodes[-1]
        if last.phase != "backward" or not last.layer:
            return
        if last.word in ("weight_gradient", "bias_gradient") and last.size > 1:
            block.zero, block.reason = last, "zero_delta"
        slope = next((node for node in nodes if node.op.name == "slope" and node.op.function.name == "relu"), None)  # type: ignore[attr-defined]
        if last.word == "delta" and slope is not None and last.size <= self.limits.rows and self.samples == 1:
            notation = Notation(last.layer, True)
            block.gates = [(notation.element(Ref(last, index)), Ref(slope, index)) for index in indices(last.shape)]

    def _settings(self, nodes: Sequence[Node]) -> list[tuple[str, Ref]]:
        """The settings that a block reads."""
        found: dict[Node, None] = {}

        def read(node: Node) -> None:
            for operand in node.inputs:
                if operand.phase == "setting":
                    found[operand] = None
                elif operand.inline:
                    read(operand)

        for node in nodes:
            read(node)
        return [(Notation().one(node), Ref(node)) for node in sorted(found, key=lambda n: n.id != "setting.step")]

    def _equations(self, nodes: Sequence[Node], notation: Notation) -> list[Part]:
        """An optimizer with state: element by element, each equation a line that feeds the next."""
        made: list[Part] = []
        by_parameter: dict[Node, list[Node]] = {}
        for node in nodes:
            if isinstance(node.symbol, Of | Updated):
                by_parameter.setdefault(node.symbol.of, []).append(node)
        total = sum(parameter.size for parameter in by_parameter)
        left = self.limits.rows
        for parameter, own in by_parameter.items():
            places, left_out = self._places(parameter, None, max(1, min(left, parameter.size)), ends=False)
            lines: list[Line] = []
            for index in places:
                label = Notation("").element(Ref(parameter, index))
                for node in own:
                    name = notation.one(node) if isinstance(node.symbol, Of) else notation.element(Ref(node, index))
                    forms = self._forms(formula_of(node, index), notation, False)
                    lines.append(Line(name, forms, Ref(node, index), label))
                    label = ""
            made.append(Lines(lines, heading=""))
            left = max(1, left - len(places))
            if left_out and total > self.limits.rows:
                command = self.limits.command(own[-1].id, "rows")
                made.append(Sentence(self.words("rows_left_out", count=left_out, command=command)))
        return _merged(made)

    # captions

    def _word(self, node: Node) -> str:
        if node.word in ("", "delta", "contribution", "local_derivative") or node.phase == "update":
            return ""
        return str(self.words(node.word))

    def _caption(self, node: Node, notation: Notation, block: Sequence[Node]) -> tuple[str, str]:
        """The formula for any element (or the matrix form), and the shapes of the matrix form."""
        if not isinstance(node.op, Add) or node.phase == "forward":
            matrix = self._matrix(node, notation)
            if matrix:
                return matrix
        letters = tuple("nijklm"[k + (0 if node.axes[:1] == ("sample",) else 1)] for k in range(len(node.shape)))
        if node.inline or (isinstance(node.op, Add) and node.phase == "backward"):
            return "", ""
        expr = formula_of(node, letters)
        left = notation.one(node)
        short = node.op.symbol()
        middle = f"{short}({notation.one(node.inputs[0])}) = " if short and node.phase == "forward" else ""
        text = _caption_text(_general(expr), notation)
        if text == middle.removesuffix(" = "):
            middle = ""
        formula = f"{left} = {middle}{text}"
        return formula, ""

    def _matrix(self, node: Node, notation: Notation) -> tuple[str, str] | None:
        factor, inner = "", node
        if node.op.name == "scale" and node.inputs[0].inline:
            inner, count = node.inputs[0], getattr(node.op, "factor", 1)
            factor = f"/{count.denominator}" if count.numerator == 1 else ""
            if not factor:
                return None
        form = inner.op.matrix(inner)
        if form is None:
            return None
        several = ("sample" in node.axes and self.samples > 1) or any(
            "sample" in o.axes and self.samples > 1 for o in inner.inputs
        )
        # with one sample a gradient of weights is no sum: its caption is that of any element
        if not several and node.phase == "backward" and "sample" not in node.axes and len(node.shape) == 2:
            expr = flat(formula_of(node, ("i", "j")))
            text = _caption_text(flat(expr), notation)
            left, right = inner.inputs[:2]
            shapes = f"{shape_text(node)} = {shape_text(left)}·{shape_text(right)}ᵀ"
            return f"{notation.one(node)} = {text}", shapes
        symbols_, shapes_ = "", ""
        for sign, factors in form.terms:
            joint = f" {sign} " if sign else ""
            names, sizes = [], []
            for operand, transposed in factors:
                # the transpose of a vector says nothing
                turned = transposed and (several or len(shape_text(operand).split("×")) > 1)
                name = notation.array(operand)
                if several and "sample" in operand.axes:
                    name = _batch(name)
                names.append(_bracket(name) + ("ᵀ" if turned else ""))
                sizes.append(shape_text(operand, turned) if several else shape_text(operand) + ("ᵀ" if turned else ""))
            symbols_ += joint + "·".join(names)
            shapes_ += joint + "·".join(sizes)
        name = notation.array(node)
        if several and "sample" in node.axes:
            name = _batch(name)
        return f"{name} = {symbols_}{factor}", f"{shape_text(node)} = {shapes_}"

    def _loss_formula(self, nodes: Sequence[Node]) -> str:
        """The loss as one formula, its terms written out."""
        inside = {node for node in nodes if not node.id.startswith("loss.penalty.")}
        judged = next((node.inputs[-1] for node in nodes if node.inputs and node.inputs[-1].phase == "forward"), None)
        notation = Notation(judged.layer if judged else "", True)

        def opened(expr: Expr) -> Expr:
            if isinstance(expr, Ref) and expr.node in inside:
                return opened(formula_of(expr.node, expr.index))
            return rebuild(expr, opened)

        return f"{notation.one(nodes[-1])} = {_caption_text(_general(opened(formula_of(nodes[-1], ()))), notation)}"

    # the working

    def parts(self, node: Node, notation: Notation, chosen: list[int] | None, block: Sequence[Node]) -> list[Part]:
        if node.size > LARGE and chosen is None and node.phase in ("backward", "update") and "sample" not in node.axes:
            return [Summary(node, self.limits.command(node.id, "rows"))]
        first = formula_of(node, (0,) * len(node.shape)) if node.size else None
        if first is None or (chosen is None and self._repeats(node, first, block)) or node.word == "contribution":
            return []  # a contribution is a line of the sum's addends
        if node.phase == "check" and self.samples > 1 and chosen is None:
            return []  # with several samples the witness says only whether both ways agree
        kind = self._kind(node, first)
        count = node.size if chosen is None else len(chosen)
        shown = self.limits.rows // 4 if kind == "addends" else self.limits.rows
        places, left_out = self._places(node, chosen, max(1, shown), ends=kind != "addends")
        made = list(getattr(self, f"_{kind}")(node, notation, places))
        if left_out and kind != "running":
            command = self.limits.command(node.id, "rows")
            made.append(Sentence(self.words("rows_left_out", count=left_out, command=command)))
        if kind == "running" and count > 1 and chosen is None:
            made.append(Values(str(self.words("others")), node, 1))
        return made

    def _places(self, node: Node, chosen: list[int] | None, most: int, ends: bool) -> tuple[list[tuple[int, ...]], int]:
        """The elements that get lines (the first, or the first and the last), and how many do not."""
        flat: Sequence[int] = range(node.size) if chosen is None else chosen
        if len(flat) > most and chosen is None:
            half = most // 2 if ends else 0
            kept = [*flat[: most - half], *flat[len(flat) - half :]]
            return [_unflat(k, node.shape) for k in kept], len(flat) - most
        return [_unflat(k, node.shape) for k in flat], 0

    def _repeats(self, node: Node, first: Expr, block: Sequence[Node]) -> bool:
        """A line that would repeat the one before is left out: the sum of one term."""
        return node.phase == "loss" and isinstance(flat(first), Ref) and len(block) > 1

    def _kind(self, node: Node, first: Expr) -> str:
        axes = _summed(first)
        if isinstance(node.op, Add) and node.phase == "backward":
            return "contributions"
        longest = max((count for _, count in axes), default=0)
        if longest > max(self.limits.terms, 0) and (longest > WIDE or not any(a in REDUCED for a, _ in axes)):
            return "running"
        if any(axis in REDUCED and count > 1 for axis, count in axes) and node.shape:
            return "addends"
        if any(axis not in REDUCED for axis, _ in axes) or (axes and not node.shape):
            several = "sample" in node.axes and self.samples > 1
            return "columns" if several and longest <= 3 else "working"
        if not node.shape or _table_parts(flat(first)) is None:
            return "lines"
        return "table"

    def _forms(self, expr: Expr, notation: Notation, with_symbols: bool) -> list[Form]:
        whole = flat(expr)
        if isinstance(whole, Ref):  # the number would only be repeated
            return [Form("symbols", whole, notation.element(whole))]
        forms = [Form("symbols", whole, symbols(whole, notation.element))] if with_symbols else []
        forms.append(Form("numbers", whole))
        middle = worked(whole)
        done = isinstance(middle.of if isinstance(middle, Negation) else middle, Worked)
        if middle != whole and not done and not isinstance(whole, Choice):
            forms.append(Form("middle", middle))
        return forms

    def _sample(self, node: Node, index: Index) -> str:
        if "sample" not in node.axes or self.samples == 1:
            return ""
        return str(index[node.axes.index("sample")] + 1)

    def _lines(self, node: Node, notation: Notation, places: Iterable[Index]) -> list[Part]:
        """All forms in a row; a sum that several elements share is worked out once, before them."""
        lines: list[Line] = []
        said = ""
        for index in places:
            expr = formula_of(node, index)
            sample = self._sample(node, index)
            shared = _shared_sum(expr)
            if shared is not None:
                text = symbols(shared, notation.element) + sample
                if text != said:
                    name = symbols(_general(shared), lambda ref: notation.one(ref.node), general=True)
                    lines.append(Line(name, self._forms(shared, notation, False), Worked(flat(shared)), sample))
                said = text
                expr = _replaced(expr, shared)
            forms = self._forms(expr, notation, False)
            lines.append(Line(notation.element(Ref(node, index)), forms, Ref(node, index), sample))
        return [Lines(lines)]

    def _working(self, node: Node, notation: Notation, places: Iterable[Index]) -> list[Part]:
        lines = []
        for index in places:
            expr = formula_of(node, index)
            forms = self._forms(expr, notation, True)
            if node.phase == "loss":
                forms = forms[1:]  # the caption has the formula, the lines above the terms
            lines.append(Line(notation.element(Ref(node, index)), forms, Ref(node, index), self._sample(node, index)))
        return [Lines(lines, stacked=node.phase != "loss")]

    def _table(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        rows: list[Row] = []
        for index in places:
            whole = flat(formula_of(node, index))
            parts = _table_parts(whole)
            assert parts is not None
            cells = [Cell(Form("numbers", expr), operator) for operator, expr in parts]
            note = ""
            if self._other_places(node, whole):
                note = f"({symbols(whole, notation.element)})"
            rows.append(
                Row(self._label(node, index, notation), cells, Ref(node, index), whole, note, self._sample(node, index))
            )
        letters = tuple("ijkl"[k] for k in range(len(node.shape)))
        general = _table_parts(flat(formula_of(node, letters)))
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

    def _label_word(self, node: Node) -> str:
        subject = _subject(node)
        if subject.phase == "parameter":
            return str(self.words("weight" if subject.word == "weights" else "parameter"))
        axis = next((axis for axis in subject.axes if axis != "sample"), "")
        return str(self.words("unit" if axis == "unit" else "element"))

    def _label(self, node: Node, index: Index, notation: Notation) -> str:
        """The row's heading: the subject's name, or the unit's."""
        subject = _subject(node)
        if subject.phase == "parameter":
            return Notation("").element(Ref(subject, index)) if subject.names else notation.element(Ref(subject, index))
        places = [k for k, axis in enumerate(subject.axes) if axis != "sample"]
        if len(places) == 1:
            unit = index[places[0]]
            units = self.words.units.get(subject.layer, ())
            return units[unit] if units else str(unit + 1)
        return ",".join(str(index[k] + 1) for k in places) or notation.element(Ref(node, index))

    def _contributions(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        """What came back through each node, and the sum.

        A contribution that is a sum itself is worked out first; then its line gives its value only.
        """
        made: list[Part] = []
        opened = {o for o in node.inputs if not any(count > 1 for _, count in _summed(formula_of(o, places[0])))}
        for contribution in node.inputs:
            if contribution not in opened:
                kind = self._kind(contribution, formula_of(contribution, places[0]))
                made.extend(getattr(self, f"_{kind}")(contribution, notation, places))
        rows: list[Row] = []
        for index in places:
            for contribution in node.inputs:
                through = contribution.symbol.through if isinstance(contribution.symbol, Derivative) else ""
                value = Ref(contribution, index)
                whole = flat(formula_of(contribution, index)) if contribution in opened else value
                parts = _table_parts(whole, loose=True) or [("", whole)]
                cells = [Cell(Form("numbers", part), operator) for operator, part in parts]
                note = "" if whole is value or isinstance(whole, Number) else f"({symbols(whole, notation.element)})"
                label = self.words("from", node=through)
                rows.append(
                    Row(label, cells if whole is not value else [], value, whole, note, self._sample(node, index))
                )
                rows[-1].total = whole is value
                if whole is value:
                    rows[-1].note = label
            shown = Sum(tuple(Ref(contribution, index) for contribution in node.inputs))
            name = notation.element(Ref(node, index))
            rows.append(Row("", [], Ref(node, index), shown, f"{self.words('sum')} = {name}", total=True))
        return [*made, Table([str(self.words("contribution"))], rows, notation.one(node))]

    def _addends(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        """One line an addend, labelled by its sample; then the sum, then what is made of it."""
        rows: list[Row] = []
        headings: list[str] = []
        for index in places:
            expr = formula_of(node, index)
            total, closing = _open_sum(expr)
            terms = list(total.terms)
            shown = Sum(tuple(Worked(flat(term)) for term in terms))
            label = self._label(node, index, notation)
            listed: list[int | None] = list(range(len(terms)))
            if len(terms) > self.limits.terms:
                half = self.limits.terms // 2
                listed = [*range(half), None, *range(len(terms) - half, len(terms))]
            for k in listed:
                if k is None:
                    rows.append(
                        Row("", [], Ref(node, index), total, self._left_out(len(terms) - self.limits.terms, node))
                    )
                    continue
                term = flat(terms[k])
                parts = _table_parts(term, loose=True) or [("", term)]
                cells = [Cell(Form("numbers", part), operator) for operator, part in parts]
                rows.append(Row(label, cells, term, term, sample=str(k + 1)))
                label = ""
                if not headings:
                    headings = [symbols(part, lambda ref: notation.one(ref.node)) for _, part in parts]
                    headings = [f"{op} {text}" if op else text for (op, _), text in zip(parts, headings, strict=True)]
            name = notation.element(Ref(node, index))
            if closing is None:
                rows.append(Row("", [], Ref(node, index), shown, f"{self.words('sum')} = {name}", total=True))
            else:
                rows.append(Row("", [], total, shown, str(self.words("sum")), total=True))
                made = _with_sum(expr, total)
                rows.append(Row("", [], Ref(node, index), made, f"{closing} = {name}", total=True))
        return [Table([self._label_word(node), *headings], rows, str(self.words("contribution")))]

    def _left_out(self, count: int, node: Node) -> str:
        command = self.limits.command(node.id, "terms")
        return f"… {self.words('terms_left_out', count=count)}: {command}"

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
                rows.append(
                    (self._sample(node, index), forms, Ref(node, index), whole, middle if middle != whole else None)
                )
            made.append(Columns(headings, rows))
        return made

    def _running(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        """One element worked out term by term, the others listed by value."""
        index = places[0]
        whole = formula_of(node, index)
        total, _ = _open_sum(whole)
        rest = (
            [term for term in addends(whole) if not isinstance(term, Sum)]
            if isinstance(whole, Sum) and not whole.axis
            else []
        )
        inner = (
            next((t for t in whole.terms if isinstance(t, Sum)), None)
            if isinstance(whole, Sum) and not whole.axis
            else None
        )
        terms = inner.terms if inner is not None else total.terms
        if inner is not None:
            rest = [term for term in whole.terms if term is not inner]  # type: ignore[attr-defined]
        command = self.limits.command(_id(node, index), "terms")
        made: list[Part] = [
            RunningSum(
                Ref(node, index),
                terms,
                rest,
                Notation(node.layer).element(Ref(node, index)),
                self.limits.terms,
                command,
            )
        ]
        return made


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Neighbouring tables of one equation, and neighbouring lines, as one."""
    made: list[Part] = []
    for part in parts:
        before = made[-1] if made else None
        if isinstance(part, Table) and isinstance(before, Table) and part.headings[1:] == before.headings[1:]:
            before.rows.extend(part.rows)
        elif isinstance(part, Lines) and isinstance(before, Lines) and not (part.stacked or before.stacked):
            before.lines.extend(part.lines)
        else:
            made.append(part)
    return made


def _id(node: Node, index: Index) -> str:
    return f"{node.id}[{','.join(str(i + 1) for i in index)}]" if index else node.id


def _subject(node: Node) -> Node:
    """The node that a derived node is about: the weight of a gradient, the unit of a delta."""
    match node.symbol:
        case Derivative(_, of, _) | Updated(of):
            return _subject(of) if of.phase != "parameter" else of
        case _:
            return node


def _summed(expr: Expr) -> list[tuple[str, int]]:
    """The axes that the outermost sums run over, with their counts."""
    match expr:
        case Sum(terms, axis) if axis:
            inner = _summed(terms[0]) if len(terms) else []
            return [(axis, len(terms)), *inner]
        case Sum(terms):
            return [found for term in terms for found in _summed(term)]
        case Quotient(top, Number()):
            return _summed(top)
        case Negation(of):
            return _summed(of)
        case Product(factors) if isinstance(factors[0], Number):
            return [found for factor in factors[1:] for found in _summed(factor)]
        case _:
            return []


def _open_sum(expr: Expr) -> tuple[Sum, str | None]:
    """The sum inside, and how the result is made of it (`sum/4`), if it is more than the sum."""
    match expr:
        case Sum():
            return expr, None
        case Quotient(top, Number() as count):
            total, closing = _open_sum(top)
            return total, f"{closing or 'sum'}/{count.text}"
        case Negation(of):
            total, closing = _open_sum(of)
            return total, f"-{closing or 'sum'}"
        case Product((Number() as factor, inner)):
            total, closing = _open_sum(inner)
            return total, f"{factor.text}·{closing or 'sum'}"
        case _:
            return Sum((expr,)), None


def _shared_sum(expr: Expr) -> Sum | None:
    """A sum over several places inside a formula that is not that sum itself."""
    for child in children(expr):
        if isinstance(child, Sum) and child.axis and len(child.terms) > 1:
            return child
        found = _shared_sum(child)
        if found is not None:
            return found
    return None


def _replaced(expr: Expr, part: Expr) -> Expr:
    """The formula with `part` as the number that it was worked out to."""
    return Worked(flat(part)) if expr is part else rebuild(expr, lambda child: _replaced(child, part))


def _unflat(place: int, shape: Sequence[int]) -> tuple[int, ...]:
    index: list[int] = []
    for extent in reversed(shape):
        place, position = divmod(place, extent)
        index.append(position)
    return tuple(reversed(index))


def _with_sum(expr: Expr, total: Sum) -> Expr:
    """`expr` with the sum inside as the number that stands in the line above."""
    return Worked(total) if expr is total else rebuild(expr, lambda part: _with_sum(part, total))


def _table_parts(expr: Expr, loose: bool = False) -> list[tuple[str, Expr]] | None:
    """The two columns of an equation table with the operators before them, or None.

    A formula is shown as a table where its outermost operation has two operands, one of them an
    element and the other at most one operation of elements.
    """
    match expr:
        case Product((left, right)):
            parts = [("", left), ("·", right)]
        case Sum((left, Negation(right)), axis) if not axis:
            parts = [("", left), ("-", right)]
        case Sum((left, right), axis) if not axis:
            parts = [("", left), ("+", right)]
        case Quotient(left, right):
            parts = [("", left), ("/", right)]
        case _:
            return None
    bare = [isinstance(part, Ref) for _, part in parts]
    if all(bare):
        return parts
    if not any(bare) and not loose:
        return None
    for _, part in parts:
        if not isinstance(part, Ref) and (
            isinstance(part, Number | Choice | Quotient | Power)
            or not all(isinstance(child, Ref | Number) or _negated(child) for child in children(part))
        ):
            return None
    return parts


def _negated(expr: Expr) -> bool:
    return isinstance(expr, Negation) and isinstance(expr.of, Ref | Number)


def _caption_text(expr: Expr, notation: Notation) -> str:
    """A formula with general symbols; a product is spaced after a symbol that has a slash of its own,
    since `∂E/∂out·σ'` could be read as a quotient by both."""

    def name(ref: Ref) -> str:
        text = notation.one(ref.node)
        return f"{text}\0" if "/" in text else text

    return symbols(expr, name, general=True).replace("\0·", " · ").replace("\0", "")


def _general(expr: Expr) -> Expr:
    """A formula for a caption: sums of sums stay behind their Σ, sums over one place are opened."""
    expr = rebuild(expr, _general) if not (isinstance(expr, Sum) and expr.axis) else expr
    if isinstance(expr, Sum) and expr.axis:
        if len(expr.terms) == 1:
            return _general(expr.terms[0])
        from bptrace.formula.expr import Terms

        if isinstance(expr.terms, Terms):
            at = expr.terms.at
            return Sum(Terms(len(expr.terms), lambda k: _general(at(k)), expr.terms.letter), expr.axis)
    return expr


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


def _batch(name: str) -> str:
    """The symbol of a whole batch: Z for z, A_h for a_h."""
    base, _, rest = name.partition("_")
    return (base.upper() if len(base) == 1 and base.isascii() else base) + (f"_{rest}" if rest else "")


def _bracket(name: str) -> str:
    return f"({name})" if " " in name else name
