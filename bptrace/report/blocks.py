"""The neutral document: what a page consists of, before any format.

Cells are formulas (with the numbers still to be put in) and marks, not text, so that a page, a sheet
and a worksheet can be made from the same blocks. Writers turn blocks into a format and never
compute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bptrace.formula.expr import Expr, Ref, Worked
from bptrace.formula.text import Piece, pieces
from bptrace.graph.node import Node

FormKind = Literal["symbols", "numbers", "middle"]


@dataclass(slots=True)
class Form:
    """One way to write a line's formula: with symbols, with numbers, or with the inside worked out."""

    kind: FormKind
    expr: Expr
    text: str = ""
    """The text with symbols; numbers are put in anew in every iteration."""
    _pieces: tuple[Piece, ...] | None = None

    @property
    def pieces(self) -> tuple[Piece, ...]:
        if self._pieces is None:
            self._pieces = pieces(self.expr)
        return self._pieces


@dataclass(slots=True)
class Line:
    """name = form = form = value. `sample` stands in a column of its own where there are several."""

    name: str
    forms: list[Form]
    value: Ref | Worked
    sample: str = ""


@dataclass(slots=True)
class Lines:
    """Lines of an elementwise function: all forms in a row."""

    lines: list[Line]
    stacked: bool = False
    """A working: each form on a line of its own, where the page is not wide."""
    heading: str = "sample"
    """What the first column holds, where there is one: the sample, or (`""`) the element."""


@dataclass(slots=True)
class Cell:
    """One operand of an equation table, with the operator before it."""

    form: Form
    operator: str = ""


@dataclass(slots=True)
class Row:
    """One line of an equation table: label, operands, what they are called here, result."""

    label: str
    cells: list[Cell]
    value: Ref | Expr
    whole: Expr
    note: str = ""
    sample: str = ""
    total: bool = False
    """A closing line: the sum of the rows above, or what is made of it."""

    @property
    def left_out(self) -> bool:
        """Whether it only says how many lines are left out."""
        return bool(self.note) and not (self.cells or self.total)


@dataclass(slots=True)
class Table:
    """An equation table: one line an element, operators between the columns."""

    headings: list[str]
    rows: list[Row]
    result: str = ""
    counted: str = ""
    """What the column of samples holds, where it is not the sample: `step`, `sample step`."""


@dataclass(slots=True)
class Columns:
    """A sum over units for several samples: a column a term, two lines a sample."""

    headings: list[str]
    rows: list[tuple[str, list[Form], Ref, Expr, Expr | None]]
    label: str = "sample"
    """What the first column holds: the sample, the gate, the weight."""
    instead: Lines | None = None
    """The same as workings, where the columns do not fit."""


@dataclass(slots=True)
class Place:
    """One place of a quantity with rows and columns, and its working.

    `group` counts the channels or samples that have a row each; `window` is the patch that the formula
    refers to (None where it hangs over the edge), `fed` names the outputs that the place fed.
    """

    at: str
    group: str
    window: list[list[Ref | None]]
    fed: str
    line: Line


@dataclass(slots=True)
class Rows:
    """A quantity worked out of windows: a row a place. `beside` heads the patches or what was fed,
    `group` the channels or samples where they have rows of their own."""

    places: list[Place]
    beside: str = ""
    group: str = ""


@dataclass(slots=True)
class Chosen:
    """Which element of a window is its largest: each candidate's 0 or 1 with the element it stands for."""

    at: str
    sample: str
    candidates: list[tuple[Ref, Ref]]
    window: list[list[Ref | None]]
    back: str
    name: Callable[[Ref], str]


@dataclass(slots=True)
class Matrix:
    """Numbers in rows and columns under a title; None stands where some are left out."""

    title: str
    rows: list[list[Ref | None]]
    row_names: list[str] = field(default_factory=list)
    column_names: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Picture:
    """Small matrices side by side, with the sign that stands before each: `x ⋆ W = z`."""

    matrices: list[tuple[str, Matrix]]


@dataclass(slots=True)
class RunningSum:
    """One long sum: a line a product with what it has added up to; zeros are counted."""

    ref: Ref
    terms: Sequence[Expr]
    closing: Expr
    """What is made of the sum: the formula with the sum as one number."""
    name: str
    limit: int
    command: str


@dataclass(slots=True)
class Values:
    """The elements from place `start` on (row by row), listed by value only."""

    title: str
    node: Node
    start: int


@dataclass(slots=True)
class Given:
    """Numbers that are given, by name: nothing was computed."""

    lines: list[tuple[str, Ref]]


@dataclass(slots=True)
class Summary:
    """A large quantity in one line: count, norm, largest element, zeros."""

    node: Node
    command: str


@dataclass(slots=True)
class Agreement:
    """Whether two ways led to the same numbers."""

    first: Node
    second: Node


@dataclass(slots=True)
class Sentence:
    text: str


Part = Lines | Table | Rows | Columns | RunningSum | Values | Summary | Sentence | Agreement | Given | Chosen | Picture


@dataclass(slots=True)
class Block:
    """One quantity or several that belong together, under one caption line."""

    id: str
    word: str
    formulas: list[str]
    right: str
    parts: list[Part] = field(default_factory=list)
    pictures: list[Picture | Sentence] = field(default_factory=list)
    """What stands before the caption: the arrays that the block reads and makes."""
    latex: list[Callable[[], str]] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    settings: list[tuple[str, Ref]] = field(default_factory=list)
    """The settings that the block reads, by symbol."""
    zero: Node | None = None
    """The node that, where it is 0 everywhere, leaves nothing to show."""
    reason: str = ""
    gates: list[tuple[str, Ref]] = field(default_factory=list)
    """Units by name, with the local derivative that shuts each off where it is 0."""


@dataclass(slots=True)
class Heading:
    """A phase (level 1) or a layer (level 2)."""

    text: str
    level: int
    phase: str = ""
    layer: str = ""
    values: list[tuple[str, list[Ref]]] = field(default_factory=list)
    """What a time step begins with: its input and the states before it."""
