"""What all kinds of working need: the words, the limits, the labels of rows and the forms of a line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bptrace.formula.expr import (
    Choice,
    Expr,
    Function,
    Index,
    Negation,
    Ref,
    Worked,
    flat,
    worked,
    worked_leaves,
)
from bptrace.formula.text import symbols
from bptrace.graph.node import Derivative, Node, Updated
from bptrace.report.blocks import (
    Form,
)
from bptrace.report.notation import Notation
from bptrace.report.places import PlaceRows


@dataclass(frozen=True)
class Limits:
    """What a page leaves out, always with the count and the command that shows it."""

    rows: int = 20
    terms: int = 8
    net: str = "net.yaml"

    def command(self, id: str, what: str) -> str:
        return f"bptrace run {self.net} --only '{id}' --max-{what} all"


class BlockParts:
    """Words, limits and labels. `words` translates the keys of the label catalogue."""

    def __init__(self, words: Any, limits: Limits, samples: int) -> None:
        self.words = words
        self.limits = limits
        self.samples = samples
        self.place_rows = PlaceRows(words, self.forms, self._sample)

    def left_out(self, what: str, count: int, **more: str) -> str:
        """How many rows or terms are not shown."""
        return str(self.words(f"{what}_left_out{'_one' if count == 1 else ''}", count=count, **more))

    def _left_out(self, count: int, node: Node) -> str:
        command = self.limits.command(node.id, "terms")
        return f"… {self.left_out('terms', count)}: {command}"

    def _word(self, node: Node) -> str:
        if node.word in ("", "delta", "contribution", "local_derivative"):
            return ""
        return str(self.words(node.word))

    def _sample(self, node: Node, index: Index) -> str:
        if "sample" not in node.axes or self.samples == 1:
            return ""
        return str(index[node.axes.index("sample")] + 1)

    def _label_word(self, node: Node) -> str:
        subject = subject_of(node)
        if subject.phase == "parameter":
            return str(self.words("weight" if subject.word == "weights" else "parameter"))
        axis = next((axis for axis in subject.axes if axis != "sample"), "")
        return str(self.words("unit" if axis == "unit" else "element"))

    @cached_property
    def _many_layers(self) -> bool:
        """Whether parameters of several layers are updated, so that each carries its layer's name there."""
        return len({node.layer for node in self.words.graph.nodes if node.phase == "parameter"}) > 1

    def _label(self, node: Node, index: Index, notation: Notation) -> str:
        """The row's heading: the subject's name, or the unit's."""
        subject = subject_of(node)
        if subject.phase == "parameter":
            full = subject.names or (notation.parameter and self._many_layers)
            return (Notation("") if full else notation).element(Ref(subject, index))
        places = [k for k, axis in enumerate(subject.axes) if axis != "sample"]
        if len(places) == 1:
            unit = index[places[0]]
            units = self.words.units.get(subject.layer, ())
            return units[unit] if units else str(unit + 1)
        return ",".join(str(index[k] + 1) for k in places) or notation.element(Ref(node, index))

    def forms(self, expr: Expr, notation: Notation, with_symbols: bool) -> list[Form]:
        whole = flat(expr)
        if isinstance(whole, Function) and whole.name == "drawn":  # nothing to work out: a sentence says which
            return [Form("symbols", whole, str(self.words("drawn_one")))]
        if isinstance(whole, Ref):  # the number would only be repeated
            return [Form("symbols", whole, notation.element(whole))]
        forms = [Form("symbols", whole, symbols(whole, notation.element))] if with_symbols else []
        forms.append(Form("numbers", whole))
        middle = worked(whole)
        done = isinstance(middle.of if isinstance(middle, Negation) else middle, Worked)
        if any(worked_leaves(middle)) and not done and not isinstance(whole, Choice):
            forms.append(Form("middle", middle))
        return forms


def element_id(node: Node, index: Index) -> str:
    return f"{node.id}[{','.join(str(i + 1) for i in index)}]" if index else node.id


def subject_of(node: Node) -> Node:
    """The node that a derived node is about: the weight of a gradient, the unit of a delta."""
    match node.symbol:
        case Derivative(_, of, _) | Updated(of):
            return subject_of(of) if of.phase != "parameter" else of
        case _:
            return node
