"""Everything that bptrace raises on purpose.

    BptraceError              exit code 1
    ├── UsageError            2   a flag, a path, a combination that cannot be
    ├── SpecError             2   the YAML is wrong: every problem at once, each with its place
    └── RunError              1   the network is fine, computing it failed
        └── MissingExtraError 1   an optional package is needed and not installed

The command line catches the base class only; any other exception is a bug and keeps its traceback.
Nothing heavy is imported here, because every module imports this one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "BptraceError",
    "MissingExtraError",
    "Problem",
    "RunError",
    "SpecError",
    "UsageError",
    "nearest",
]

SHOWN_COLUMNS = 160
"""A source line is shown whole up to this many characters, else the part around its problem."""


class BptraceError(Exception):
    """Base of all errors that are the answer to something the user did."""

    exit_code = 1


class UsageError(BptraceError):
    """The request itself makes no sense: an unknown flag value, a folder where a file is needed."""

    exit_code = 2


class SpecError(BptraceError):
    """The network description is wrong; `problems` holds all that was found, in file order."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RunError(BptraceError):
    """The computation could not go on (NaN, too little memory, a damaged trace file)."""


class MissingExtraError(RunError):
    """An optional package is missing; the message holds the exact install command."""


@dataclass(frozen=True)
class Problem:
    """One mistake and its place: what a person needs to mend it without searching.

    `line` and `column` count from 1, columns in characters. `path` is what `--set` takes, such as
    `layers[0].weights[0][1]`; `hint` is the nearest name that would have been right.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    expected: str = ""
    hint: str = ""
    source: str = ""

    def __str__(self) -> str:
        """`FILE:LINE:COL: path: message; expected ...; did you mean 'x'?`, the line, a caret."""
        where = f"{self.file}:{self.line}:{self.column}: "
        path = f"{self.path}: " if self.path else ""
        said = [self.message]
        if self.expected:
            said.append(f"expected {self.expected}")
        if self.hint:
            said.append(f"did you mean '{self.hint}'?")
        text = _printable(where + path + "; ".join(said))
        if not self.source.strip():
            return text
        shown, before = _window(self.source, self.column - 1)
        return f"{text}\n  {shown}\n  {' ' * _width(before)}^"


def nearest(got: str, known: Iterable[str]) -> str:
    """The known name most like `got`, or nothing where none is near.

    >>> nearest("sigmod", ["relu", "sigmoid"])
    'sigmoid'
    """
    from difflib import get_close_matches  # not needed until something is wrong

    names = [name for name in known if name != got]
    by_case = {name.casefold(): name for name in names}
    if not got or len(got) > 100:
        return ""
    if got.casefold() in by_case:
        return by_case[got.casefold()]
    found = get_close_matches(got, names, n=1, cutoff=0.6)
    return found[0] if found else ""


def _window(source: str, offset: int) -> tuple[str, str]:
    """The part of a source line around `offset`, and what of it stands before the offset."""
    source = _printable(source)
    offset = min(max(offset, 0), len(source))
    if len(source) <= SHOWN_COLUMNS:
        return source, source[:offset]
    first = max(0, offset - SHOWN_COLUMNS // 2)
    last = first + SHOWN_COLUMNS
    lead = "…" if first else ""
    tail = "…" if last < len(source) else ""
    return lead + source[first:last] + tail, lead + source[first:offset]


def _printable(text: str) -> str:
    """Each control character or lone surrogate becomes one mark, so that columns stay true."""
    return "".join(
        " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _UNSAFE else c
        for c in text
    )


_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}


def _width(text: str) -> int:
    """Terminal columns: Chinese and its like take two, combining marks none."""
    columns = 0
    for character in text:
        if unicodedata.category(character) in ("Mn", "Me", "Cf"):
            continue
        columns += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return columns
