"""Reads a printed page back and judges every line on it, with nothing but the text.

`read_text` and `read_markdown` sort the lines of a page into equations, captions, headings, sentences, data
and results; `Judge` works each equation out in decimal arithmetic with 60 digits. Neither uses anything of
bptrace but its catalogue, to recognise sentences and table headings. `pages` and `printed` make the pages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from string import Formatter
from typing import Any

import bptrace
from bptrace.report.blocks import Block, Columns, Lines, Rows, RunningSum, Table
from bptrace.report.document import Document, PageOf
from bptrace.report.labels.en import WORDS
from bptrace.report.page import Options
from bptrace.writers.markdown import MarkdownWriter
from bptrace.writers.terminal import Style, TextWriter
from tests.support.page_arithmetic import PRECISION, Arithmetic, Tree, UnreadableError, read_form
from tests.support.page_pictures import Matrix, is_titles, judge_listed, judge_pictures, read_band, read_boxes

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_SIGN = re.compile(r" +([=≈]) +")
_VALUE = re.compile(rf"^(.*?)(?:^| )([=≈]) +({NUMBER.pattern}|NaN|-?∞)$")


# lines


@dataclass
class Equation:
    """name = form = form = value. Each form has the sign before it; `sign` stands before the value."""

    name: str
    forms: list[tuple[str, str]]
    sign: str
    """`=`, `≈`, or nothing where a number stands in a column of its own (a running sum)."""
    value: str
    line: int = 0
    """Its first line among those of the page that are not blank."""
    lines: tuple[str, ...] = ()
    counted: bool = True
    """Whether its value stands in the value column; not so in the rows of a running sum."""
    window: list[list[str]] = field(default_factory=list)
    """The patch that stands beside a place, row by row, without padding."""
    patch: str = ""
    """The same as it is printed."""
    beside: str = ""
    """What heads the patches: `x under W`."""
    fed: str = ""
    """The outputs that a place fed: `z11 z12`."""
    group: str = ""
    """The channel or sample, where each has a line of its own."""
    place: bool = False
    """Whether it is the value of a place, not the part of a channel."""
    block: int = 0
    """Which block it stands in."""
    layer: str = ""
    sample: str = ""
    """The sample, where a column says it."""
    whole: bool = True
    """Whether all that it is made of stands on the page: not so the sum of addends that are left out."""

    @property
    def source(self) -> str:
        return " / ".join(line.strip() for line in self.lines)


@dataclass
class Read:
    """A page read back: the kind of every line, and its equations."""

    kinds: list[tuple[str, str]] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    pictures: list[tuple[int, str, list[Matrix]]] = field(default_factory=list)
    """The small matrices: the block, its layer, and those that stand side by side."""
    states: list[str] = field(default_factory=list)
    """The numbers with which time steps begin."""
    listed: list[tuple[int, Matrix]] = field(default_factory=list)
    """The matrices that stand for lines of their own: numbers that are only repeated."""
    partial: set[int] = field(default_factory=set)
    """The blocks before which not every matrix stands."""
    chosen: list[tuple[str, str]] = field(default_factory=list)
    """Windows and what is chosen of them: the sentence, and its layer."""
    block: int = 0
    layer: str = ""
    edge: int = 0
    """Where the value column ends."""
    given: set[Decimal] = field(default_factory=set)
    """The numbers of the data block, and those in captions (`∂J/∂v = 3`)."""

    def add(self, kind: str, *lines: str) -> None:
        self.kinds.extend((kind, line) for line in lines)
        if kind in ("data", "caption"):
            self.given.update(abs(Decimal(n)) for line in lines for n in NUMBER.findall(line))

    def opened(self, caption: str) -> None:
        """A new block begins: its id says in which layer it stands."""
        self.block += 1
        id = caption.removeprefix("#### ").partition(" ")[0].partition(":")[0]
        self.layer = id.removeprefix("grad.").rpartition(".")[0]
        # what stands before the caption belongs to the block too
        self.pictures = [(b, self.layer if b == self.block else own, m) for b, own, m in self.pictures]

    def equation(self, equation: Equation, *lines: str) -> None:
        equation.block, equation.layer = self.block, self.layer
        equation.line, equation.lines = len(self.kinds), lines
        self.equations.append(equation)
        self.add("equation", *lines)


_PLACES = {"command": r"bptrace .+ all", "count": r"\d+", "rest": r"\d+", "zeros": r"\d+"}


def _template(key: str) -> str:
    text = ""
    for literal, name, _, _ in Formatter().parse(WORDS[key]):
        place = _PLACES.get(name or "", r"(?:(?!  ).)+")
        text += re.escape(literal) + (place if name is not None else "")
    return text


_SENTENCES = re.compile("|".join(f"(?:{pattern})" for pattern in (
    _template("held_parameter"), _template("both_ways"), _template("numbers_command"),
    _template("all_zero"), _template("shut_off"), _template("ways_differ"), _template("large_quantity"),
    _template("list_command"), _template("drawn_rule"),
    f"(?:… )?{_template('rows_left_out')}", f"… {_template('pictures_left_out')}",
    f"(?:… )?{_template('rows_left_out_one')}", f"… {_template('terms_left_out_one')}: .+ all",
    f"… {_template('terms_left_out')}: .+ all",
    f"[^=]+: {_template('zero_products')}",
)))  # fmt: skip
_LEFT_OUT = re.compile(f"… {_template('pictures_left_out')}")
_LAYERS = re.compile(
    "|".join(
        _template(key)
        for key in ("layer_heading", "activation_heading", "layer_only", "window_heading", "time_step_heading")
    )
)
_TABLE_WORDS = [WORDS[key] for key in ("unit", "weight", "parameter", "element", "contribution", "gate")]
_COUNTED = "|".join(sorted(word for key, word in WORDS.items() if key.startswith("axis_")))
_TABLE = re.compile(
    rf" (?:{'|'.join(_TABLE_WORDS)})(?: {{2,}}((?:{_COUNTED})(?: (?:{_COUNTED}))*)(?! +[-·+/] ))?  .*= \S.*"
)
_PLACES_COUNTED = re.compile(r"@?\d+(?: @?\d+)*(?=\s|$)")
_SAMPLES = f" {WORDS['sample']}"
_COLUMNS = re.compile(
    rf" (?:{WORDS['sample']}  .* = \S|{WORDS['gate']}  (?!.*{WORDS['factor']}).*= \S"
    rf"|(?:{WORDS['weight']}|{WORDS['parameter']}) +{WORDS['step_column'].partition(' ')[0]} \d+  )"
)
_STEP = re.compile(rf"{_template('time_step_heading')}   (\S.*)")
_RUNNING = re.compile(rf" +k  {WORDS['product']} .*{WORDS['running_sum']}")
_ROWS = re.compile(
    rf" (?:{WORDS['sample']} +)?{WORDS['at']}(?:  +(?:{WORDS['channel']}|{WORDS['sample']}))?"
    rf"(?:  +(?:\S+ under \S+|{WORDS['window']}|{WORDS['fed']}))?"
)
_CHOSEN = re.compile(
    r" (?:\d+  )?(?:\[\S+\]  )?(.+) (?:is|are) the largest of (.+): \S+ goes to (?:it|each), the others get 0"
)
_NAMED = re.compile(r" +(?!ln )(?:new )?[^\W\d][^ ]* += ")
_NAME = re.compile(r"-?(?:\S+'\(\S+\)|[^ ·√²³()]+)")
_TOTAL = re.compile(rf"\S*\b{WORDS['sum']}\b\S*")


def read_text(lines: Sequence[str]) -> Read:
    """A page as plain text: sections stand between blank lines."""
    made = Read(edge=_edge(lines))
    result = False
    for number, section in enumerate(_sections(lines)):
        head, *rest = section
        if re.fullmatch(r"\S.* -{3,}", head) and not rest:
            made.add("heading", head)
            result = head.startswith(WORDS["heading_result"])
        elif result:
            made.add("result", *section)
        elif head == WORDS["conventions"]:
            made.add("heading", head)
            made.add("sentence", *rest)
        elif head in (WORDS["data_and_parameters"], WORDS["data"]):
            made.add("heading", head)
            made.add("data", *rest)
            made.pictures.append((0, "", read_boxes(rest)))
        elif number == 0 or _LAYERS.fullmatch(" ".join(map(str.strip, section))):
            made.add("heading", *section)
        elif _STEP.fullmatch(" ".join(map(str.strip, section))):
            made.add("heading", *section)
            made.states += NUMBER.findall(_STEP.fullmatch(" ".join(map(str.strip, section)))[1])  # type: ignore[index]
        elif is_titles(head):
            _Body(made).read(section, before=True)
        elif len(section) < 5 and _SENTENCES.fullmatch(" ".join(map(str.strip, section))):
            made.add("sentence", *section)
            made.partial.add(made.block + 1)
        else:
            if head.startswith(" "):
                raise UnreadableError(f"a block without a caption: {head!r}")
            body = next((k for k, line in enumerate(section) if _opens(line)), len(section))
            made.add("caption", *section[:body])
            made.opened(head)
            _Body(made).read(section[body:])
    return made


def _columns(line: str) -> int:
    """The width of a line, in which the hat of m̂ has none."""
    return sum(not unicodedata.combining(character) for character in line)


def _edge(lines: Sequence[str]) -> int:
    """Where values end: in lines that hold nothing but their value, and those that end where they do."""
    ends = [_columns(line) for line in lines if _VALUE.match(line) and not line.startswith("|")]
    return max(ends, default=0)


def _opens(line: str) -> bool:
    """The working under a caption begins with a line that is indented by one."""
    return bool(re.match(r" \S", line) or _RUNNING.match(line) or is_titles(line))


def _sections(lines: Iterable[str]) -> Iterator[list[str]]:
    section: list[str] = []
    for line in [*lines, ""]:
        if line:
            section.append(line)
        elif section:
            yield section
            section = []


def read_markdown(lines: Sequence[str]) -> Read:
    """A page as Markdown."""
    made, kind, k = Read(edge=_edge(lines)), "", 0
    body: _Body | None = None
    sections = {WORDS["conventions"]: "sentence", WORDS["data_and_parameters"]: "data", WORDS["data"]: "data",
                WORDS["heading_result"]: "result"}  # fmt: skip
    while k < len(lines):
        line = lines[k]
        if line.startswith("#### "):
            made.add("caption", line)
            made.opened(line)
            body, kind = _Body(made), ""
        elif line.startswith("#"):
            made.add("heading", line)
            body, kind = None, sections.get(line.removeprefix("## "), kind if line.startswith("###") else "")
        elif line.startswith("```"):
            end = lines.index("```", k + 1)
            if line == "```text" and is_titles(lines[k + 1]):
                # before the next layer's heading it belongs to the block that ends there
                following = next((text for text in lines[end + 1 :] if text), "")
                _Body(made).read(lines[k + 1 : end], before=not following.startswith(("## ", "### ")))
            elif line == "```text" and body:
                body.read(lines[k + 1 : end])
            else:
                made.add("caption", *lines[k + 1 : end])
            k = end
        elif line.startswith("|") and body:
            end = next((n for n in range(k, len(lines)) if not lines[n].startswith("|")), len(lines))
            made.add("caption", *lines[k : k + 2])
            body.table()
            heads = [_unescaped(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            counted = bool(re.fullmatch(rf"(?:{_COUNTED})(?: (?:{_COUNTED}))*", line.split("|")[2].strip()))
            for row in lines[k + 2 : end]:
                cells = [_unescaped(cell) for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
                place = cells.pop(1) if counted else ""
                body.row("   ".join(filter(None, cells)), row, sample=place if heads[1] == WORDS["sample"] else "")
            k = end - 1
        elif line and _LEFT_OUT.fullmatch(_unescaped(line)):
            made.add("sentence", line)
            made.partial.add(made.block + 1)
        elif line and body:
            if re.fullmatch(r"`[^`]+`(, `[^`]+`)*", line):
                made.add("caption", line)
            elif _SENTENCES.fullmatch(_unescaped(line)):
                made.add("sentence", line)
            else:
                raise UnreadableError(f"no caption and no sentence: {line!r}")
        elif line:
            made.add(kind or "heading", line)
        k += 1
    return made


def _unescaped(text: str) -> str:
    text = text.strip()
    if text.startswith("`"):
        return text.strip("`").replace(r"\|", "|")
    return re.sub(r"\\([\\`*_{}\[\]<>#|$~])", r"\1", text)


class _Body:
    """Reads the working of one block."""

    def __init__(self, made: Read) -> None:
        self.made = made
        self.edge = made.edge
        self.mode = ""
        self.waiting: list[str] = []
        self.addends: list[str] = []
        self.total = ""
        self.left_out = False
        self.added_up = ""
        self.heads: list[tuple[int, str]] = []
        self.counted, self.counted_at = "", 0
        self.column_name = ""

    def read(self, lines: Sequence[str], before: bool = False) -> None:
        """The lines of a block; `before` those that stand before its caption."""
        k = 0
        while k < len(lines):
            line = lines[k]
            taken = self._sentence(lines, k)
            if taken:
                self.made.add("sentence", *lines[k : k + taken])
                self.left_out |= self.mode == "table"
                self.added_up = ""
                k += taken
                continue
            if not line:
                k += 1
                continue
            if is_titles(line) and not self.waiting:
                matrices, taken = read_band(lines[k:])
                self.made.add("picture", *lines[k : k + taken])
                self.made.pictures.append((self.made.block + before, self.made.layer, matrices))
                self.made.listed += [] if before else [(self.made.block, matrix) for matrix in matrices]
                k += taken
                continue
            taken = self._choice(lines, k)
            if taken:
                self.made.add("picture", *lines[k : k + taken])
                self.made.chosen.append((" ".join(text.strip() for text in lines[k : k + taken]), self.made.layer))
                k += taken
                continue
            if _COLUMNS.match(line) and not _VALUE.match(line):
                self.made.add("caption", line)
                self.mode = "columns"
                # of samples the heading names the quantity; gates and weights have rows of their own
                self.column_name = line.rpartition(" = ")[2] if line.startswith(_SAMPLES) else ""
            elif _TABLE.fullmatch(line):
                self.made.add("caption", line)
                self.table()
                found = _TABLE.fullmatch(line)
                assert found
                self.counted, self.counted_at = found[1] or "", found.start(1)
            elif line == _SAMPLES:
                self.made.add("caption", line)
                self.mode = "samples"
            elif _RUNNING.fullmatch(line):
                self.made.add("caption", line)
                self.mode, self.added_up = "running", "0"
            elif line.startswith((f" {WORDS['others']} ", f" {WORDS['drawn']} ")):
                taken = _continued(lines, k)
                self.made.add("data", *lines[k : k + taken])
                k += taken
                continue
            elif _ROWS.fullmatch(line):
                self.made.add("caption", line)
                self.mode = "rows"
                # a heading of two words is one: `x under W`
                self.heads = [(m.start(), m[0]) for m in re.finditer(r"\S+(?: \S+)*", line)]
            elif self.mode == "rows" and (self.waiting or not re.match(r" [^\d\s\[]\S* += ", line)):
                self._rows_line(line)
            elif self.mode == "running" and (self.waiting or re.match(r" +\d+  \S", line)):
                self.waiting.append(line)
                if re.search(rf"[=≈] +{NUMBER.pattern} +{NUMBER.pattern}$", line):
                    lines_, self.waiting = self.waiting, []
                    self._running(" " + _joined(lines_), *lines_)
            elif self.mode == "table" and (self.waiting or not self._chain_begins(line)):
                self._table_line(line)
            elif self.mode == "columns" and not re.match(r" (?:\d+ +)?\S* = ", line):
                self._columns_line(line)
            else:
                taken = self._chain_length(lines, k)
                if self.mode == "samples" and line.startswith(" " * 6) and not _VALUE.match(lines[k + taken - 1]):
                    self.made.add("caption", *lines[k : k + taken])  # the formula that the samples share
                else:
                    self._chain(lines[k : k + taken])
                k += taken
                continue
            k += 1
        if self.waiting:
            raise UnreadableError(f"no value: {self.waiting}")

    def _ends(self, line: str) -> bool:
        """Whether an equation ends here: with a value that stands in the value column, not with a term that
        stands before a break."""
        return bool(_VALUE.match(line)) and _columns(line) >= self.edge

    def _sentence(self, lines: Sequence[str], k: int) -> int:
        for taken in range(1, 5):
            text = " ".join(line.strip() for line in lines[k : k + taken])
            if _SENTENCES.fullmatch(text):
                return taken
        return 0

    # name = form = form = value

    def _chain_begins(self, line: str) -> bool:
        rest = _VALUE.match(line)
        text = (rest[1] if rest else line).partition(" since ")[0]  # a reason has a sign of its own
        return bool(_SIGN.search(text)) and not _TOTAL.fullmatch(_SIGN.split(text.strip())[0])

    def _chain_length(self, lines: Sequence[str], k: int) -> int:
        taken = 1
        while k + taken < len(lines):
            line = lines[k + taken]
            if re.match(r" {0,2}\S", line) or _RUNNING.fullmatch(line) or is_titles(line):
                break
            if _NAMED.match(line) and _VALUE.match(lines[k + taken - 1]):
                break
            taken += 1
        return taken

    def _chain(self, lines: Sequence[str]) -> None:
        if self.mode != "running":
            self.mode = "samples" if self.mode == "samples" else ""
        text = _joined(lines)
        sample = re.match(r"(\d+) {3,}(?=\S)", text)
        text = text[sample.end() :] if sample else text
        name, *parts = _SIGN.split(text)
        pairs = list(zip(parts[::2], parts[1::2], strict=True))
        pairs = _with_reasons(pairs)
        if not pairs or not re.fullmatch(rf"{NUMBER.pattern}|NaN|-?∞", pairs[-1][1]):
            raise UnreadableError(f"no value in {text!r}")
        sign, value = pairs.pop()
        self.made.equation(Equation(name.strip(), pairs, sign, value, sample=sample[1] if sample else ""), *lines)

    # tables

    def table(self) -> None:
        self.mode, self.addends, self.total, self.left_out = "table", [], "", False
        self.counted, self.counted_at = "", 0

    def _table_line(self, line: str) -> None:
        self.waiting.append(line)
        if self._ends(line):
            lines, self.waiting = self.waiting, []
            first, place = lines[0], ""
            if self.counted:
                # the column between the label and the operands says which addend it is
                found = _PLACES_COUNTED.match(first, self.counted_at)
                place = found[0] if found else ""
                first = first[: self.counted_at] + " " * len(place) + first[self.counted_at + len(place) :]
            self.row(_joined([first, *lines[1:]]), *lines, sample=place if self.counted == WORDS["sample"] else "")

    def row(self, text: str, *lines: str, sample: str = "") -> None:
        """A row of an equation table: label, operands, what they are called here, value."""
        if not _VALUE.match(text):
            if not _SENTENCES.fullmatch(text):
                raise UnreadableError(f"a row without a value: {text!r}")
            self.made.add("sentence", *lines)
            self.left_out = True
            return
        found = _VALUE.match(text)
        assert found
        left, sign, value = found[1].strip(), found[2], found[3]
        total, *name = _SIGN.split(left)
        if _TOTAL.fullmatch(total):
            self._total(total, name[-1] if name else total, sign, value, lines)
            return
        if self.total:
            self.addends, self.total, self.left_out = [], "", False
        label, form = _labelled(left)
        forms = [("=", form)] if form else []
        self.addends.append(value)
        self.made.equation(Equation(label, forms, sign, value, sample=sample), *lines)

    def _total(self, total: str, name: str, sign: str, value: str, lines: Sequence[str]) -> None:
        if total == WORDS["sum"]:
            form = " + ".join(f"({a})" if a.startswith("-") else a for a in self.addends)
        else:
            form = total.replace(WORDS["sum"], f"({self.total})" if self.total.startswith("-") else self.total)
        left_out = self.left_out and total == WORDS["sum"]
        self.total = value
        self.made.equation(Equation(name, [("=", form)], sign, value, whole=not left_out), *lines)

    # columns: two lines a sample

    def _columns_line(self, line: str) -> None:
        self.waiting.append(line)
        if not self._ends(line):
            return
        lines, self.waiting = self.waiting, []
        found = _VALUE.match(lines[-1])
        assert found
        rows = [line for line in lines if line.strip()]
        rows[-1] = found[1]
        forms: list[tuple[str, str]] = []
        sample = re.match(r" (\d+) ", rows[0])
        for row in filter(str.strip, rows):
            text = row.strip()
            mark, text = ("≈", text[1:]) if text.startswith("≈") else ("=", text)
            # the sample, the gate or the weight stands before the numbers
            text = re.sub(r"^\S+ {2,}", "", text.strip()) if not forms else text.strip()
            forms.append((mark, re.sub(" +", " ", text)))
        name = Equation(self.column_name, forms, found[2], found[3], sample=sample[1] if sample else "")
        self.made.equation(name, *lines)

    # places: where, the patch under the kernel, the working

    def _rows_line(self, line: str) -> None:
        self.waiting.append(line)
        if not self._ends(line):
            return
        lines, self.waiting = self.waiting, []
        cells: dict[str, str] = {}
        for (start, head), (stop, _) in zip(self.heads, self.heads[1:], strict=False):
            cells[head] = lines[0][start:stop].strip()
        start, head = self.heads[-1]
        rest = lines[0][start:]
        cells[head], form = ("", rest) if rest.startswith(" ") else [*re.split("  +", rest, maxsplit=1), ""][:2]
        first, *parts = _SIGN.split(_joined([form, *lines[1:]]))
        pairs = _with_reasons([("=", first), *zip(parts[::2], parts[1::2], strict=True)])
        sign, value = pairs.pop()
        equation = Equation(cells.get(WORDS["at"], ""), pairs, sign, value, beside=head)
        equation.sample = cells.get(WORDS["sample"], "")
        if head == WORDS["window"] or " under " in head:
            equation.window, equation.patch = _patch(cells[head]) if cells[head] else [], cells[head]
        elif head == WORDS["fed"]:
            equation.fed = cells[head]
        group = next((cells[word] for word in (WORDS["channel"], WORDS["sample"]) if word in cells), "")
        equation.place = group in ("", WORDS["sum"])
        equation.group = group
        self.made.equation(equation, *lines)

    def _choice(self, lines: Sequence[str], k: int) -> int:
        for taken in range(1, 5):
            if _CHOSEN.fullmatch(" " + " ".join(line.strip() for line in lines[k : k + taken])):
                return taken
        return 0

    # a long sum: k, product, its value, what has been added up

    def _running(self, line: str, *lines: str) -> None:
        found = re.fullmatch(rf" +(\d+)  (.+?) +([=≈]) +({NUMBER.pattern}) +({NUMBER.pattern})", line)
        if not found:
            raise UnreadableError(f"no row of a running sum: {line!r}")
        self.made.equation(Equation(found[1], [("=", found[2])], found[3], found[4], counted=False), *lines)
        if self.added_up:
            added = f"{self.added_up} + ({found[4]})"
            place = len(self.made.kinds) - 1
            self.made.equations.append(Equation("", [("=", added)], "", found[5], place, lines, False))
        self.added_up = found[5]


def _patch(text: str) -> list[list[str]]:
    """The numbers of a patch, row by row; dots are padding."""
    rows = [[number for number in row.split() if number != "."] for row in text.split(" / ")]
    return [row for row in rows if row]


def _continued(lines: Sequence[str], k: int) -> int:
    taken = 1
    while k + taken < len(lines) and lines[k + taken].startswith("   "):
        taken += 1
    return taken


def _joined(lines: Sequence[str]) -> str:
    """Lines that were broken, as one."""
    text = ""
    for line in lines:
        part = line.strip()
        text += part if not text or part.startswith("·") else f" {part}"
    return text


def _with_reasons(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The `=` of a reason (`1 since 0 = 0`) belongs to its form."""
    made: list[tuple[str, str]] = []
    for sign, text in pairs:
        if made and " since " in made[-1][1] and not re.search(" [<>≤≥≠=] ", made[-1][1].split(" since ")[-1]):
            made[-1] = (made[-1][0], f"{made[-1][1]} = {text}")
        else:
            made.append((sign, text))
    return made


def _labelled(text: str) -> tuple[str, str]:
    """A row's label and its operands, without the names that stand after them."""
    for candidate in (text, re.sub(r"  +\((?:(?!  ).)*\)$", "", text)):
        words = candidate.split(" ")
        for k in range(len(words)):
            label, form = " ".join(words[:k]).strip(), " ".join(words[k:]).strip()
            if not form or re.search(r"\d\.\d{3}|[·√]", label.split("[")[0]):
                continue
            try:
                read_form(form)
            except UnreadableError:
                continue
            return label, re.sub(" +", " ", form)
    if re.fullmatch(_template("from"), text) or re.fullmatch(rf"({_template('from')})   \1", text):
        return text, ""
    raise UnreadableError(f"no operands in {text!r}")


# judging


@dataclass
class Judge:
    """Judges the equations of a page of `decimals` decimals; `problems` says what is untrue."""

    decimals: int
    problems: list[str] = field(default_factory=list)
    judged: int = 0
    bare: int = 0
    """Lines that only repeat a number: `∂f/∂q = z = -4`, which stands on the page already."""
    names: dict[tuple[str, str, str], Decimal] = field(default_factory=dict)
    """What stands on the page, by layer, sample and name."""
    seen: set[Decimal] = field(default_factory=lambda: {Decimal(0), Decimal(1)})
    """The numbers that the reader has met, on this page or the pages before."""
    given: set[Decimal] = field(default_factory=set)

    def page(self, read: Read) -> Judge:
        self.seen |= read.given
        self.given |= read.given
        seen = self.seen
        self.problems += judge_pictures(read.pictures, read.chosen, read.equations, read.partial)
        self.names = {
            (layer, sample, name.removeprefix("new ")): x
            for (layer, sample, name), x in self.names.items()
            if name.startswith("new ")
        }
        with localcontext(Context(prec=PRECISION)):
            for equation in read.equations:
                try:
                    said = list(self._judge(equation, seen)) if equation.whole else []
                except (UnreadableError, ArithmeticError) as error:
                    said = [f"cannot be worked out: {error!r}"]
                self.problems += [f"line {equation.line + 1}: {text}: {equation.source}" for text in said]
                if equation.value not in ("NaN", "∞", "-∞"):
                    seen.add(abs(Decimal(equation.value)))
                    self.names[equation.layer, equation.sample, equation.name] = Decimal(equation.value)
        for number in read.states:
            if abs(Decimal(number)) not in seen:
                self.problems.append(f"a time step begins with {number}, to which nothing on the page leads")
        self.problems += judge_listed(read.listed, read.equations)
        # with lines left out, a matrix is where their numbers stand
        finite = [(m, cell) for _, m in read.listed for cell in m.flat if "∞" not in cell]
        strange = [cell for m, cell in finite if not m.named and abs(Decimal(cell)) not in seen]
        seen |= {abs(Decimal(cell)) for _, cell in finite}
        if strange:
            self.problems.append(f"a matrix has numbers that nothing on the page leads to: {strange}")
        return self

    def _judge(self, equation: Equation, seen: set[Decimal]) -> Iterator[str]:
        forms = list(equation.forms)
        if forms and not _readable(forms[0][1]):
            # symbols: what is put in for them stands in the form that follows
            symbols = forms.pop(0)[1]
            if not re.search(r"[^\W\d]", symbols) or (not forms and not _NAME.fullmatch(symbols)):
                yield "no form with numbers"
            if forms and forms[0][0] != "=":
                yield "numbers are put in with ="
        else:
            symbols = ""
        if not forms:
            self.bare += 1
            if equation.sign != "=":
                yield "a number that is repeated is not rounded again"
            if symbols == WORDS["drawn_one"]:
                return  # a new number, given like data
            known = self._known(symbols.removeprefix("-"), equation) if symbols else None
            if known is not None and Decimal(equation.value) != (-known if symbols.startswith("-") else known):
                yield f"{symbols} stands on the page as {known}"
            if known is None and abs(Decimal(equation.value)) not in seen and not self._given(equation.value):
                yield "a number that nothing on the page leads to"
            return
        self.judged += 1
        trees = [read_form(text) for _, text in forms]
        for (sign, _), before, after in zip(forms[1:], trees, trees[1:], strict=False):
            yield from self._middle(sign, before, after)
        yield from self._value(equation.sign, trees[-1], equation.value)

    def _known(self, name: str, equation: Equation) -> Decimal | None:
        """What the page has said of a name, as read in an equation of a layer and a sample; of the user's
        names, which hold everywhere, in whichever layer it said so."""
        own = self.names.get((equation.layer, equation.sample, name))
        if own is not None:
            return own
        others = {x for (_, sample, other), x in self.names.items() if (sample, other) == (equation.sample, name)}
        return others.pop() if len(others) == 1 else None

    def _given(self, value: str) -> bool:
        """Whether a given number that has more decimals than computed ones is shown with theirs."""
        longer = (x for x in self.given if -int(x.as_tuple().exponent) > self.decimals)
        return any(_rounds_to(x, value.removeprefix("-")) for x in longer)

    def _value(self, sign: str, tree: Tree, value: str) -> Iterator[str]:
        if value in ("NaN", "∞", "-∞"):
            said = value != "NaN" and tree[0] == "since" and tree[1] == read_form(value)
            if (sign == "=") != said:
                yield "an infinity is exact where the formula says so, and only there"
            Arithmetic()(tree)  # the reason after `since` holds
            return
        exact = _rounds_to(Arithmetic()(tree)[0], value)
        if sign == "=" and not exact:
            yield f"= {value}, but a calculator gives {Arithmetic()(tree)[0]:.15g}"
        if sign == "≈" and exact:
            yield f"≈ {value}, but the digits shown give it exactly"
        if not exact and not self._within(tree, value):
            low, high = Arithmetic(self.decimals)(tree)
            yield f"{value} is outside {low:.15g} to {high:.15g}"

    def _within(self, tree: Tree, value: str) -> bool:
        """Whether a value lies in the interval that the operands' rounding spans."""
        low, high = Arithmetic(self.decimals)(tree)
        wanted = Decimal(value)
        half = Decimal(5).scaleb(int(wanted.as_tuple().exponent) - 1)
        return low - half <= wanted <= high + half

    def _middle(self, sign: str, before: Tree, after: Tree) -> Iterator[str]:
        """Each number worked out follows from the numbers that it replaces."""
        replaced = list(_replaced(before, after))
        if not replaced:
            yield "a middle in which nothing is worked out"
        exact = all(_rounds_to(Arithmetic()(old)[0], new) for old, new in replaced)
        if sign == "=" and not exact:
            yield "a middle that is not exact has ="
        if sign == "≈" and exact:
            yield "a middle that is exact has ≈"
        for old, new in replaced:
            if not self._within(old, new) and not _rounds_to(Arithmetic()(old)[0], new):
                yield f"the middle's {new} does not follow"


def _readable(text: str) -> bool:
    try:
        read_form(text)
    except UnreadableError:
        return False
    return True


def _rounds_to(exact: Decimal, value: str) -> bool:
    wanted = Decimal(value)
    if not exact.is_finite():
        return False
    unit = Decimal(1).scaleb(int(wanted.as_tuple().exponent))
    return exact.quantize(unit, rounding=ROUND_HALF_UP, context=Context(prec=400)) == wanted


def _ends_alike(old: Sequence[tuple[str, Tree]], new: Sequence[tuple[str, Tree]]) -> bool:
    """Whether two products have the same operators but for those between the first factors."""
    return [o for o, _ in old[len(old) - len(new) + 1 :]] == [o for o, _ in new[1:]]


def _replaced(before: Tree, after: Tree) -> Iterator[tuple[Tree, str]]:
    """Where a form has an operation and the next has a number: both."""
    sign, number = _number(after)
    if number is not None:
        if _number(before)[1] is None:
            yield before, f"-{number}" if sign < 0 and Decimal(number) else number
        elif _number(before) != (sign, number):
            raise UnreadableError(f"{_number(before)} became {number}")
        return
    match before, after:
        case ("sum", old), ("sum", new) if len(old) == len(new):
            for (a, x), (b, y) in zip(old, new, strict=True):
                yield from _replaced(x if a > 0 else ("minus", x), y if b > 0 else ("minus", y))
        case ("product", old), ("product", new) if [o for o, _ in old] == [o for o, _ in new]:
            for (_, x), (_, y) in zip(old, new, strict=True):
                yield from _replaced(x, y)
        case ("product", old), ("product", new) if len(old) > len(new) and _ends_alike(old, new):
            first = len(old) - len(new) + 1  # factors that became one number: 0.5·4/(√16 + 1) and 2/(4 + 1)
            yield from _replaced(("product", old[:first]), new[0][1])
            for (_, x), (_, y) in zip(old[first:], new[1:], strict=True):
                yield from _replaced(x, y)
        case ("power", x, n), ("power", y, m):
            yield from _replaced(x, y)
            if n != m:
                yield from _replaced(n, m)
        case ("minus", x), ("minus", y):
            yield from _replaced(x, y)
        case ("function", f, old), ("function", g, new) if f == g and len(old) == len(new):
            for x, y in zip(old, new, strict=True):
                yield from _replaced(x, y)
        case _:
            raise UnreadableError("the middle has another form than the line before it")


def _number(tree: Tree) -> tuple[int, str | None]:
    sign = 1
    while tree[0] == "minus":
        sign, tree = -sign, tree[1]
    return (sign, tree[1]) if tree[0] == "number" else (0, None)


# printing


def pages(name: str, iterations: int | None = None, digits: int = 9, **options: Any) -> list[PageOf]:
    """The pages of a bundled network: of all iterations that ran, then the result."""
    trace = bptrace.load(name).run(iterations=iterations)
    return list(Document(trace, Options(net=f"networks/{name}.yaml", **options), digits).pages(trace.recorded))


def printed(page: PageOf, columns: int = 80, *, markdown: bool = False, ascii: bool = False) -> list[str]:
    """The lines of a page."""
    style = Style(columns, ascii)
    if markdown:
        return list(MarkdownWriter(page.page.words, style).markdown(page.items, page.numbers))
    return list(TextWriter(page.page.words, style).text(page.items, page.numbers))


def values_in(page: PageOf) -> int:
    """How many values stand in the value column, by the document: as many equations a page must have."""
    count = 0
    for item in page.items:
        for part in item.parts if isinstance(item, Block) else ():
            match part:
                case Lines(lines):
                    count += len(lines)
                case Table(_, rows):
                    count += sum(1 for row in rows if not row.left_out)
                case Rows(places):
                    count += len(places)
                case Columns(_, rows_):
                    count += len(rows_)
                case RunningSum():
                    count += 1
    return count
