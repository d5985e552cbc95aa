"""CSV: text to columns of numbers or classes, every bad cell with its line and column."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bptrace.data.source import LARGEST_ARRAY, MOST_PROBLEMS, UnreadableError, read_bytes
from bptrace.errors import Problem

MISSING = frozenset(("", "NA", "N/A", "NaN", "nan", "NULL", "null", "?"))
"""What stands in a cell without a value."""

_BREAK = re.compile("\r\n|\r|\n")

OTHER_DELIMITERS = {";": "a semicolon", "\t": "a tab", "|": "a bar"}


@dataclass
class CsvTable:
    """The cells of a file: `cells[n][k]` is row n of column `header[k]` and stands in line `lines[n]`."""

    path: Path
    text: list[str]
    header: list[str]
    cells: list[list[str]]
    lines: list[int]
    delimiter: str
    decimal: str
    problems: list[Problem]

    def problem(self, row: int, column: int, message: str, expected: str = "") -> None:
        """Note a mistake in a cell."""
        self._at(self.lines[row], column, message, expected)

    def _at(self, line: int, column: int, message: str, expected: str = "") -> None:
        source = self.text[line - 1] if line <= len(self.text) else ""
        at = cell_start(source, self.delimiter, column) + 1
        self.problems.append(Problem(str(self.path), line, at, "", message, expected, "", source))

    def numbers(self, column: int, missing: bool, hint: str) -> list[float]:
        """The numbers of a column; a cell without one is NaN where `missing` says that it will be filled."""
        found: list[float] = []
        for n, row in enumerate(self.cells):
            cell = row[column].strip()
            text = cell.replace(",", ".") if self.decimal == "," and "." not in cell else cell
            try:
                value = float(text) if "_" not in text and text.isascii() else math.nan
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                if cell not in MISSING:
                    self._no_number(n, column, cell, hint)
                elif not missing:
                    said = "an empty cell" if not cell else f"a missing value, '{cell}'"
                    self.problem(n, column, f"{self.header[column]}: {said}", "a number, or data.missing: mean")
                value = math.nan
            found.append(value)
        return found

    def _no_number(self, row: int, column: int, cell: str, hint: str) -> None:
        expected = hint
        if self.decimal == "." and _is_number(cell.replace(",", ".")):
            expected = "a point before the decimals, or csv: {file: ..., decimal: ','}"
        elif self.decimal == "," and _is_number(cell):
            expected = "a comma before the decimals, or csv without decimal: ','"
        elif cell.lower().lstrip("+-") in ("inf", "infinity"):
            expected = "a finite number"
        shown = cell if len(cell) <= 40 else cell[:39] + "…"
        self.problem(row, column, f"{self.header[column]}: '{shown}' is no number", expected)

    def classes(self, column: int, given: Sequence[str] | None) -> tuple[list[int], tuple[str, ...]]:
        """Which class each row has, and all classes: as given, else sorted (numbers by size)."""
        texts = [row[column].strip() for row in self.cells]
        for n, text in enumerate(texts):
            if text in MISSING:
                said = "an empty cell" if not text else f"a missing value, '{text}'"
                self.problem(n, column, f"{self.header[column]}: {said} in a category", "a class")
        present = {text for text in texts if text not in MISSING}
        order = tuple(given) if given is not None else tuple(sorted(present, key=_by_size))
        place = {text: k for k, text in enumerate(order)}
        for n, text in enumerate(texts):
            if text not in place and text not in MISSING:
                self.problem(n, column, f"{self.header[column]}: '{text}' is no class", f"one of {', '.join(order)}")
        return [place.get(text, 0) for text in texts], order

    def check(self) -> None:
        """Raise what has been noted."""
        if self.problems:
            found = sorted(self.problems, key=lambda problem: (problem.line, problem.column))
            rest = len(found) - MOST_PROBLEMS
            if rest > 0:
                last = found[MOST_PROBLEMS - 1]
                more = f"{last.message} (and {rest:,} more mistakes in this file)"
                found[MOST_PROBLEMS - 1] = Problem(
                    last.file, last.line, last.column, "", more, last.expected, "", last.source
                )
            raise UnreadableError(problems=found[:MOST_PROBLEMS])


def read_csv(path: Path, delimiter: str = ",", decimal: str = ".", header: bool = True) -> CsvTable:
    """The cells of a file in UTF-8, with or without a byte order mark."""
    text = _decoded(path)
    table = CsvTable(path, _BREAK.split(text), [], [], [], delimiter, decimal, [])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    first = True
    line = 1
    try:
        for record in reader:
            if record and (len(record) > 1 or record[0].strip()):
                if first:
                    _begin(table, record, line, header)
                    first = False
                if header and not table.header:
                    table.header = [cell.strip() for cell in record]
                    _check_header(table, line)
                elif len(record) != len(table.header):
                    _ragged(table, record, line)
                else:
                    table.cells.append(record)
                    table.lines.append(line)
                if len(table.cells) * len(table.header) > LARGEST_ARRAY:
                    table._at(line, 0, f"more than {LARGEST_ARRAY:,} cells", "a smaller file")
                    break
                if len(table.problems) > 10 * MOST_PROBLEMS:
                    break
            line = reader.line_num + 1
    except csv.Error as error:
        table._at(line, 0, f"cannot be read as CSV: {error}", "quotes around a cell that are closed again")
    if first:
        table._at(1, 0, "the file is empty", "a line with the names of the columns, then a line a sample")
    elif not table.cells and not table.problems:
        table._at(len(table.text), 0, "no rows", "a line a sample below the names of the columns")
    table.check()
    return table


def _begin(table: CsvTable, record: list[str], line: int, header: bool) -> None:
    """The first line tells how many columns there are, and often that the delimiter is another one."""
    if len(record) == 1:
        for other, word in OTHER_DELIMITERS.items():
            if other in record[0]:
                at = table.text[line - 1].index(other)
                expected = f"a comma, or csv: {{file: ..., delimiter: {other!r}}}"
                said, source = f"{word} separates the columns", table.text[line - 1]
                table.problems.append(Problem(str(table.path), line, at + 1, "", said, expected, "", source))
                table.check()
    if not header:
        table.header = [f"c{k + 1}" for k in range(len(record))]
    elif all(_is_number(cell.strip()) for cell in record):
        table._at(line, 0, "numbers where the names of the columns belong", "names, or csv: {file: ..., header: false}")
        table.check()


def _check_header(table: CsvTable, line: int) -> None:
    for k, name in enumerate(table.header):
        if not name:
            table._at(line, k, "a column without a name", "a name")
        elif name in table.header[:k]:
            table._at(line, k, f"the column '{name}' stands twice", "each name once")
    table.check()


def _ragged(table: CsvTable, record: list[str], line: int) -> None:
    wanted = len(table.header)
    expected = f"{wanted} cells as in the first line"
    if len(record) == 1 and table.text[line - 1].count(";") == wanted - 1:
        expected += f", separated by {table.delimiter!r}"
    elif table.delimiter == "," and len(record) == 2 * wanted:
        expected += "; a comma cannot be the decimal sign too (csv: {file: ..., delimiter: ';', decimal: ','})"
    table._at(line, min(len(record), wanted), f"a row of {len(record)} cells", expected)


def cell_start(line: str, delimiter: str, column: int) -> int:
    """Where a cell begins in its line, from 0."""
    quoted, seen = False, 0
    if column == 0:
        return 0
    for at, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == delimiter and not quoted:
            seen += 1
            if seen == column:
                return at + 1
    return len(line)


def _decoded(path: Path) -> str:
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", errors="replace").splitlines() or [""]
        if data[: error.start].endswith((b"\n", b"\r")):
            before.append("")
        rest = data[error.start : error.start + 60].decode("utf-8", errors="replace").splitlines() or [""]
        utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        message = "UTF-16 text" if utf16 else "the file is not UTF-8"
        problem = Problem(
            str(path), len(before), len(before[-1]) + 1, "", message, "a file saved as UTF-8", "", before[-1] + rest[0]
        )
        raise UnreadableError(problems=[problem]) from None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False


def _by_size(text: str) -> tuple[int, float, str]:
    return (0, float(text), text) if _is_number(text) else (1, 0.0, text)
