"""From nodes to blocks: the nodes that stand together, under one caption line, and their working."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bptrace.formula.expr import (
    Ref,
)
from bptrace.formula.text import symbols
from bptrace.graph.node import Node, Of, Updated
from bptrace.graph.op import formula_of
from bptrace.ops.arithmetic import Add
from bptrace.ops.convolution import Trilinear
from bptrace.report import pictures, time_steps
from bptrace.report.arrays_of import ArraysOf
from bptrace.report.blocks import (
    Agreement,
    Block,
    Line,
    Lines,
    Part,
    Picture,
    Sentence,
    Summary,
    Table,
    Values,
)
from bptrace.report.captions import Caption, caption, loss_caption, steps_captions, sum_caption
from bptrace.report.contributions import Contributions
from bptrace.report.lines_of import LinesOf
from bptrace.report.notation import Notation, indices, unflat
from bptrace.report.places import covering, typical
from bptrace.report.tables_of import TablesOf

LARGE = 1000
"""Elements of a parameter's gradient above which a summary stands for them."""


class Blocks(LinesOf, TablesOf, ArraysOf, Contributions):
    """Makes the blocks of one graph."""

    def block(self, nodes: Sequence[Node], only: set[tuple[Node, int]] | None = None) -> Block:
        """The block of the nodes that stand together; the last one gives the caption."""
        last = nodes[-1]
        update = last.phase == "update"
        notation = Notation(last.layer, True, "w" if update and not last.word else "")
        captions = [caption(node, notation, self.samples) for node in (last, *nodes[:-1])]
        if last.block == "loss" and last.phase == "loss":
            captions = [loss_caption(nodes)]
        elif last.word == "time_step":
            captions = steps_captions(nodes)
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
        block.parts = merged(block.parts)
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
            return merged([part for node in nodes for part in self.parts(node, notation, None, nodes)])

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
                made = operand.id.startswith("setting.") and not operand.shape and operand not in nodes
                if operand.phase == "setting" or made:
                    found[operand] = None  # given, or what a schedule made of it
                elif operand.inline:
                    read(operand)

        for node in nodes:
            read(node)
        return [(Notation().one(node), Ref(node)) for node in sorted(found, key=lambda n: n.id != "setting.step")]

    def _equations(self, nodes: Sequence[Node], notation: Notation) -> list[Part]:
        """An optimizer with state: element by element, each equation a line that feeds the next."""
        made: list[Part] = [self._drawn_rule(node) for node in nodes if node.op.name == "drawn"]
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
        return merged(made)

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
            return [self._drawn_rule(node), Values(str(self.words("drawn")), node, 0)]
        many = node.size if chosen is None else len(chosen)
        if kind == "contributions" and many > 1 and any(self._contribution(o) == "running" for o in node.inputs):
            # of long sums one element is worked out, the others are listed
            index = unflat(chosen[0] if chosen else 0, node.shape)
            made = self._contributions(node, notation, [index])
            return made if chosen else [*made, Values(str(self.words("others")), node, 1)]
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
        if kind == "running" and many > 1 and chosen is None:
            made.append(Values(str(self.words("others")), node, 1))
        return made


def merged(parts: Sequence[Part]) -> list[Part]:
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
