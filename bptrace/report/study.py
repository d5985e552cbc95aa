"""What the pages of studies (`compare`, `diagnose`) consist of, before any format.

Beside titles, headings and sentences there are grids of numbers, plots, and lines of working.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bptrace.report.blocks import Heading
from bptrace.report.labels import Words
from bptrace.report.numbers import fixed, short, special
from bptrace.report.sections import Title


@dataclass(frozen=True)
class StudyStyle:
    """How a page of a study looks: language, decimals (None: all), width, rows of a table, characters.

    `net` is the network as it is typed in commands, `flags` what else a command needs to repeat the
    run; `iterations` are those to show, None for the page's own choice.
    """

    language: str = "en"
    digits: int | None = 9
    columns: int = 80
    rows: int = 20
    net: str = "net.yaml"
    flags: str = ""
    ascii_only: bool = False
    iterations: tuple[int, ...] | None = None

    def command(self, words: str) -> str:
        """`run --only h.z` as the command that a reader types, for this network."""
        name, _, rest = words.partition(" ")
        nets = " ".join(map(shlex.quote, self.net.split()))
        return " ".join(filter(None, ("bptrace", name, nets, rest, self.flags)))


@dataclass(frozen=True)
class Note:
    """A sentence; `level` says how far it is indented."""

    text: str
    level: int = 0


@dataclass(frozen=True)
class Grid:
    """A table of finished texts: the first column names the rows. A row of one text is a remark.

    `words` are the numbers of columns that hold words, which begin at the left like the first.
    """

    title: str
    heads: list[str]
    rows: list[list[str]]
    words: frozenset[int] = frozenset({0})


@dataclass(frozen=True)
class Curve:
    """The points of one run, in order, shown by its letter."""

    letter: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """Curves over two axes; on a logarithmic one only positive numbers have a place."""

    title: str
    across: str
    up: str
    curves: list[Curve]
    log: bool = False
    meeting: str = ""
    """What is said of the mark that stands where several curves meet."""


@dataclass(frozen=True)
class Working:
    """name = form = form = value, for one run. Forms have the sign before them."""

    label: str
    name: str
    forms: list[tuple[str, str]] = field(default_factory=list)


Item = Title | Heading | Note | Grid | Plot | Working


def number(value: float | None, digits: int | None) -> str:
    """A number as pages write computed ones; nothing for one that there is not."""
    if value is None:
        return ""
    if value - value != 0:
        return special(value)
    return short(value) if digits is None else fixed(value, digits)


def said(words: Words, key: str, places: dict[str, object], digits: int | None) -> str:
    """A sentence of the catalogue with numbers as pages write them; limits are given, so as short as they are."""

    def text(name: str, value: object) -> object:
        if not isinstance(value, float):
            return value
        return short(value) if name in ("limit", "usual", "steepest") else number(value, digits)

    return words(key, **{name: text(name, value) for name, value in places.items()})


def thinned(rows: Iterable[list[str]], most: int, words: Words, command: str) -> list[list[str]]:
    """The first and the last rows of a long table, and how the others are shown."""
    found = list(rows)
    if len(found) <= most:
        return found
    first = (most + 1) // 2
    left = len(found) - most
    return [*found[:first], ["… " + words("rows_left_out", count=left, command=command)], *found[first + left :]]


def listed(words: Words, names: Sequence[str], most: int = 6) -> str:
    """Names in a row; of many the first ones and the count of the rest."""
    shown = list(names[:most]) + ([f"… {len(names) - most} …"] if len(names) > most else [])
    return words("comma").join(shown)
