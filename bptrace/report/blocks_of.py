"""From nodes to blocks: which kind a node's working takes, and its lines.

The kind is chosen from the formula's structure and the axes that it sums over, never from values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bptrace.formula.expr import (
    Choice,
    Expr,
    Function,
    Index,
    Negation,
    Number,
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
from bptrace.graph.node import Derivative, Node, Of, Updated
from bptrace.graph.op import formula_of
from bptrace.ops.arithmetic import Add
from bptrace.ops.convolution import Trilinear
from bptrace.report import pictures, time_steps
from bptrace.report.blocks import (
    Agreement,
    Block,
    Cell,
    Columns,
    Form,
    Line,
    Lines,
    Part,
    Picture,
    Row,
    RunningSum,
    Sentence,
    Summary,
    Table,
    Values,
)
from bptrace.report.captions import Caption, caption, loss_caption, sum_caption
from bptrace.report.notation import Notation, indices, unflat
from bptrace.report.places import PlaceRows, covering, laid_over, spatial, typical
from bptrace.report.structure import open_sum, opened, replaced, shared_sum, summed_axes, table_parts, with_sum

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
        self.place_rows = PlaceRows(words, self.forms, self._sample)

    def block(self, nodes: Sequence[Node], only: set[tuple[Node, int]] | None = None) -> Block:
        """The block of the nodes that stand together; the last one gives the caption."""
        last = nodes[-1]
        update = last.phase == "update"
        notation = Notation(last.layer, True, "w" if update and not last.word else "")
        captions = [caption(node, notation, self.samples) for node in (last, *nodes[:-1])]
        if last.block == "loss" and last.phase == "loss":
            captions = [loss_caption(nodes)]
        elif isinstance(last.op, Add) and last.phase == "backward":
            shares = [node.word == "contribution" for node in nodes[:-1]]
            parts = [found for found, share in zip(captions[1:], shares, strict=True) if share]
            others = [found for found, share in zip(captions[1:], shares, strict=True) if not share]
            captions = [sum_caption(last, parts, notation), *others]
        together = time_steps.is_gathered(nodes) and only is None
        if together:
            captions = [caption(node, notation, self.samples) for node in nodes]
            texts = time_steps.captions_of(nodes, [found.text for found in captions])
            captions = [replace(found, text=text) for found, text in zip(captions, texts, strict=True)]
        said: dict[str, Caption] = {}
        for found in captions:
            if found.text:
                said.setdefault(found.text, found)
        block = Block(last.block, self._word(last), list(said), captions[0].shapes, nodes=list(nodes))
        block.latex = [found.latex for found in said.values()]
        block.settings = self._settings(nodes)
        if update and only is None and any(isinstance(node.symbol, Of) for node in nodes):
            block.parts = self._equations(nodes, notation)
            return block
        if together:
            block.id = time_steps.id_of(nodes)
            block.parts = self._gathered(nodes, notation)
            return block
        for node in nodes:
            chosen = sorted(i for n, i in only if n is node) if only is not None else None
            if chosen is None or chosen:
                block.parts.extend(self.parts(node, notation, chosen, nodes))
        block.parts = _merged(block.parts)
        if only is None and last.phase == "forward" and isinstance(last.op, Trilinear):
            self._show_arrays(block, last, notation)
        if only is None and pictures.sided(last) and block.parts:
            shown, left = pictures.tables(last, notation, self.words, max(1, self.limits.rows))
            block.parts.append(Picture([("", matrix) for matrix in shown]))
            if left:
                block.parts.append(self._pictures_left_out(last, left))
        self._notice(block, nodes)
        if last.word == "witness":
            checked = self.words.graph.by_id[last.id.removeprefix("check.")]
            block.parts.append(Agreement(checked, last))
            if self.samples > 1 and only is None:
                command = self.limits.command(last.id, "rows")
                block.parts.append(Sentence(self.words("numbers_command", command=command)))
        return block

    def _gathered(self, nodes: Sequence[Node], notation: Notation) -> list[Part]:
        """The same quantity of several gates of one time step."""
        word = nodes[-1].word
        most = max(1, self.limits.rows)
        if word == "pre_activation" and sum(node.size for node in nodes) <= most:
            return time_steps.gate_columns(nodes, notation, lambda node, index: self._stacked(node, notation, [index]))
        if word != "delta":
            return _merged([part for node in nodes for part in self.parts(node, notation, None, nodes)])

        def named(ref: Ref) -> str:
            return notation.element(ref) if ref.node.size > 1 else notation.one(ref.node)

        stages = []
        for stage in time_steps.by_stage(nodes):
            parts = [part for node in stage for part in self.parts(node, notation, None, nodes)]
            for part in parts:
                for row in part.rows if isinstance(part, Table) else ():
                    if isinstance(row.value, Ref):
                        row.label = named(row.value)
                        row.note = f"({symbols(row.whole, named)})"
            stages.append(parts)
        return time_steps.delta_tables(stages, self.words)

    def _show_arrays(self, block: Block, node: Node, notation: Notation) -> None:
        """What the window is laid over, and the result, before the block that reads them."""
        made, left = pictures.convolution(node, notation, max(1, self.limits.rows))
        block.pictures = [*made, *([self._pictures_left_out(node, left)] if left else [])]

    def left_out(self, what: str, count: int, **more: str) -> str:
        """How many rows or terms are not shown."""
        return str(self.words(f"{what}_left_out{'_one' if count == 1 else ''}", count=count, **more))

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
                    forms = self.forms(formula_of(node, index), notation, False)
                    lines.append(Line(name, forms, Ref(node, index), label))
                    label = ""
            made.append(Lines(lines, heading=""))
            left = max(1, left - len(places))
            if left_out and total > self.limits.rows:
                command = self.limits.command(own[-1].id, "rows")
                made.append(Sentence(self.left_out("rows", left_out, command=command)))
        return _merged(made)

    def _word(self, node: Node) -> str:
        if node.word in ("", "delta", "contribution", "local_derivative"):
            return ""
        return str(self.words(node.word))

    # the working

    def parts(self, node: Node, notation: Notation, chosen: list[int] | None, block: Sequence[Node]) -> list[Part]:
        if node.size > LARGE and chosen is None and node.phase in ("backward", "update") and "sample" not in node.axes:
            return [Summary(node, self.limits.command(node.id, "rows"))]
        first = typical(node) if node.size else None
        if first is None or (chosen is None and self._repeats(node, first, block)) or node.word == "contribution":
            return []  # a contribution is a line of the sum's addends
        if node.phase == "check" and self.samples > 1 and chosen is None:
            return []  # with several samples the witness says only whether both ways agree
        kind = self._kind(node, first)
        if kind == "picture" and chosen is not None:
            kind = "lines"  # elements were asked for
        if kind == "drawn" and chosen is None:
            rule = self.words("drawn_rule", stream=getattr(node.op, "stream", ""))
            return [Sentence(rule), Values(str(self.words("drawn")), node, 0)]
        count = node.size if chosen is None else len(chosen)
        shown = self.limits.rows // 4 if kind == "addends" else self.limits.rows
        places, left_out = self._places(node, chosen, max(1, shown), ends=kind != "addends")
        if kind == "rows" and left_out:
            half = (len(places) + 1) // 2
            flat_ = [*covering(node, range(node.size), half)]
            flat_ += covering(node, (k for k in reversed(range(node.size)) if k not in flat_), len(places) - half)
            places = [unflat(k, node.shape) for k in flat_]
        make = getattr(self, f"_{kind}")
        if kind == "chosen":
            every = [unflat(k, node.shape) for k in (range(node.size) if chosen is None else chosen)]
            return self._chosen(node, notation, every)
        if kind == "picture":
            return self._picture(node, notation, places)
        if left_out and kind != "running":
            # what is left out is said where it is missing
            gap = len(places) - (max(1, shown) // 2 if kind != "addends" else 0)
            command = self.limits.command(node.id, "rows")
            said = Sentence("… " + self.left_out("rows", left_out, command=command))
            made = [*make(node, notation, places[:gap]), said]
            made += make(node, notation, places[gap:]) if places[gap:] else []
        else:
            made = list(make(node, notation, places))
        if kind == "running" and count > 1 and chosen is None:
            made.append(Values(str(self.words("others")), node, 1))
        return made

    def _places(self, node: Node, chosen: list[int] | None, most: int, ends: bool) -> tuple[list[tuple[int, ...]], int]:
        """The elements that get lines (the first, or the first and the last), and how many do not."""
        flat: Sequence[int] = range(node.size) if chosen is None else chosen
        if len(flat) > most and chosen is None:
            half = most // 2 if ends else 0
            kept = [*flat[: most - half], *flat[len(flat) - half :]]
            return [unflat(k, node.shape) for k in kept], len(flat) - most
        return [unflat(k, node.shape) for k in flat], 0

    def _repeats(self, node: Node, first: Expr, block: Sequence[Node]) -> bool:
        """A line that would repeat the one before is left out: the sum of one term."""
        return node.phase == "loss" and isinstance(flat(first), Ref) and len(block) > 1

    def _kind(self, node: Node, first: Expr) -> str:
        if isinstance(first, Function) and first.name == "drawn":
            return "drawn"
        axes = summed_axes(first)
        if isinstance(node.op, Add) and node.phase == "backward":
            return "contributions"
        if node.op.name == "window_choice":
            return "chosen"
        if len(spatial(node)) > 1 and not node.names and _repeated(flat(first)):
            return "picture"
        longest = max((count for _, count in axes), default=0)
        if longest > max(self.limits.terms, 0) and (longest > WIDE or not any(a in REDUCED for a, _ in axes)):
            return "running"
        if laid_over(node, first) and all(count <= self.limits.terms for axis, count in axes if axis in REDUCED):
            return "rows"
        if any(axis in REDUCED and count > 1 for axis, count in axes) and node.shape:
            return "addends"
        if any(axis not in REDUCED for axis, _ in axes) or (axes and not node.shape):
            several = "sample" in node.axes and self.samples > 1
            return "columns" if several and longest <= 3 else "working"
        if not node.shape or table_parts(flat(first)) is None:
            return "lines"
        return "table"

    def forms(self, expr: Expr, notation: Notation, with_symbols: bool) -> list[Form]:
        whole = flat(expr)
        if isinstance(whole, Ref):  # the number would only be repeated
            return [Form("symbols", whole, notation.element(whole))]
        forms = [Form("symbols", whole, symbols(whole, notation.element))] if with_symbols else []
        forms.append(Form("numbers", whole))
        middle = worked(whole)
        done = isinstance(middle.of if isinstance(middle, Negation) else middle, Worked)
        if any(worked_leaves(middle)) and not done and not isinstance(whole, Choice):
            forms.append(Form("middle", middle))
        return forms

    def _sample(self, node: Node, index: Index) -> str:
        if "sample" not in node.axes or self.samples == 1:
            return ""
        return str(index[node.axes.index("sample")] + 1)

    def _drawn(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        """Random numbers that were asked for one by one: which of the stream they are."""
        return self._lines(node, notation, places)

    def _lines(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        """All forms in a row; a sum that several elements share is worked out once, before them."""
        over = self._over_steps(node, notation, list(places))
        if over is not None:
            return [over]
        lines: list[Line] = []
        said = ""
        for index in places:
            expr = formula_of(node, index)
            sample = self._sample(node, index)
            shared = shared_sum(expr)
            if shared is not None:
                text = symbols(shared, notation.element) + sample
                if text != said:
                    name = symbols(opened(shared), lambda ref: notation.one(ref.node), general=True)
                    lines.append(Line(name, self.forms(shared, notation, False), Worked(flat(shared)), sample))
                said = text
                expr = replaced(expr, shared)
            forms = self.forms(expr, notation, False)
            lines.append(Line(notation.element(Ref(node, index)), forms, Ref(node, index), sample))
        return [Lines(lines)]

    def _working(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        return [self._over_steps(node, notation, places) or self._stacked(node, notation, places)]

    def _over_steps(self, node: Node, notation: Notation, places: Sequence[Index]) -> Columns | None:
        """A parameter's gradient that several time steps contribute to: a column a step."""
        subject = _subject(node)
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

    def _rows(self, node: Node, notation: Notation, places: Iterable[Index]) -> list[Part]:
        return [self.place_rows.rows(node, notation, places)]

    def _chosen(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        rank = len(node.inputs[1].shape)
        windows = list(dict.fromkeys(index[:rank] for index in places))
        shown = [index for index in places if index[:rank] in set(windows[: max(1, self.limits.rows)])]
        made: list[Part] = list(self.place_rows.chosen(node, notation, shown))
        left = len(windows) - max(1, self.limits.rows)
        if left > 0:
            command = self.limits.command(node.id, "rows")
            made.append(Sentence("… " + self.left_out("rows", left, command=command)))
        return made

    def _picture(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        """Numbers that are only repeated, as small matrices."""
        found, left = pictures.matrices(node, notation, max(1, self.limits.rows))
        made: list[Part] = [Picture([("", matrix) for matrix in found])]
        return [*made, self._pictures_left_out(node, left)] if left else made

    def _pictures_left_out(self, node: Node, count: int) -> Sentence:
        command = self.limits.command(node.id, "rows")
        return Sentence("… " + self.words("pictures_left_out", count=count, command=command))

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
        opened = {o for o in node.inputs if not any(count > 1 for _, count in summed_axes(formula_of(o, places[0])))}
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
                parts = table_parts(whole, loose=True) or [("", whole)]
                cells = [Cell(Form("numbers", part), operator) for operator, part in parts]
                note = "" if whole is value or isinstance(whole, Number) else f"({symbols(whole, notation.element)})"
                label = self._from(contribution, through)
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

    def _from(self, contribution: Node, through: str) -> str:
        """Through what a contribution came: a quantity of this layer by its short name, or the loss."""
        node = self.words.graph.by_id.get(through)
        forward = ("forward", "loss")
        readers = [n for n in self.words.graph.nodes if node is not None and node in n.inputs and n.phase in forward]
        if contribution.step is not None and readers and all(reader.phase == "loss" for reader in readers):
            return str(self.words("from_loss", step=contribution.step))
        return str(self.words("from", node=through.removeprefix(f"{contribution.layer}.")))

    def _addends(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        """One line an addend, labelled by its sample; then the sum, then what is made of it."""
        rows: list[Row] = []
        headings: list[str] = []
        for index in places:
            expr = formula_of(node, index)
            total, closing = open_sum(expr)
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
                parts = table_parts(term, loose=True) or [("", term)]
                cells = [Cell(Form("numbers", part), operator) for operator, part in parts]
                rows.append(Row(label, cells, term, term, sample=str(k + 1)))
                label = ""
                if not headings:
                    headings = [_heading(part, notation) for _, part in parts]
                    headings = [f"{op} {text}" if op else text for (op, _), text in zip(parts, headings, strict=True)]
            name = notation.element(Ref(node, index))
            if closing is None:
                rows.append(Row("", [], Ref(node, index), shown, f"{self.words('sum')} = {name}", total=True))
            else:
                rows.append(Row("", [], total, shown, str(self.words("sum")), total=True))
                made = with_sum(expr, total)
                said = closing.replace("sum", str(self.words("sum")))
                rows.append(Row("", [], Ref(node, index), made, f"{said} = {name}", total=True))
        return [Table([self._label_word(node), *headings], rows, str(self.words("contribution")))]

    def _left_out(self, count: int, node: Node) -> str:
        command = self.limits.command(node.id, "terms")
        return f"… {self.left_out('terms', count)}: {command}"

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
        command = self.limits.command(_id(node, index), "terms")
        name = Notation(node.layer).element(Ref(node, index))
        return [RunningSum(Ref(node, index), long.terms, replaced(whole, long), name, self.limits.terms, command)]


def _repeated(expr: Expr) -> bool:
    """Whether a formula is a number that stands on the page, or a whole constant."""
    return isinstance(expr, Ref) or (isinstance(expr, Number) and expr.value.denominator == 1)


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


def _longest_sum(expr: Expr) -> Sum:
    """The sum of a formula that is worked out term by term: the one with most terms."""
    found = [expr] if isinstance(expr, Sum) and expr.axis else []
    found += [_longest_sum(child) for child in children(expr) if not found]
    return max((part for part in found if part.terms), key=lambda part: len(part.terms), default=Sum(()))


def _id(node: Node, index: Index) -> str:
    return f"{node.id}[{','.join(str(i + 1) for i in index)}]" if index else node.id


def _subject(node: Node) -> Node:
    """The node that a derived node is about: the weight of a gradient, the unit of a delta."""
    match node.symbol:
        case Derivative(_, of, _) | Updated(of):
            return _subject(of) if of.phase != "parameter" else of
        case _:
            return node


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
