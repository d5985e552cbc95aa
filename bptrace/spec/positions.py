"""Where every key and value of a document stands, and problems made from that.

A path such as `("layers", 0, "weights", 1)` is looked up in the parsed nodes only when something is
wrong, so that a correct file pays nothing for its positions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

import yaml

from bptrace.errors import Problem, nearest
from bptrace.spec.base import Complaint

__all__ = ["Path", "Positions", "show_path", "split_lines"]

Path: TypeAlias = "tuple[str | int, ...]"

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML counts as the end of a line
_MOST_NAMES_LISTED = 30


def split_lines(text: str) -> list[str]:
    """The lines of a text as YAML counts them."""
    return _BREAK.split(text)


def show_path(path: Iterable[str | int]) -> str:
    """As it is typed after `--set`: `layers[0].weights[0][1]`, counted from 0."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            shown += f".{part}" if shown else part
    return shown


class Positions:
    """The places of one document; values given by `--set` have their place in that text."""

    def __init__(self, file: str, text: str, root: yaml.Node | None) -> None:
        self.file = file
        self.lines = split_lines(text)
        self._root = root
        self._mappings: dict[int, dict[str, tuple[yaml.Node, yaml.Node]]] = {}
        self._overrides: dict[Path, tuple[str, int]] = {}

    def add_override(self, path: Path, text: str, column: int) -> None:
        """From now on `path` and what is below it stands in `--set TEXT`, at `column`."""
        self._overrides[path] = (text, column)

    def complaint(self, complaint: Complaint) -> Problem:
        """The complaint with its place."""
        return self.problem(
            complaint.path,
            complaint.message,
            complaint.expected,
            complaint.known,
            complaint.got,
            at_key=complaint.at_key,
            offset=complaint.offset,
        )

    def problem(
        self,
        path: Path,
        message: str,
        expected: str = "",
        known: Iterable[str] = (),
        got: str = "",
        *,
        at_key: bool = False,
        offset: int | None = None,
    ) -> Problem:
        """A problem at `path`, or at the longest part of it that stands in the file.

        `known` are the names that would have been right for `got`: the nearest becomes the hint; where
        none is near, they are listed. `offset` counts characters from the start of a one-line text.
        """
        names = list(known)
        hint = nearest(got, names)
        if names and not hint and not expected:
            rest = len(names) - _MOST_NAMES_LISTED
            listed = ", ".join(names[:_MOST_NAMES_LISTED]) + (f" and {rest} more" if rest > 0 else "")
            expected = f"one of {listed}" if len(names) > 1 else listed
        for length in range(len(path), 0, -1):
            if path[:length] in self._overrides:
                text, column = self._overrides[path[:length]]
                at = column + (offset or 0)
                return Problem("--set", 1, at, show_path(path), message, expected, hint, text)
        line, column = self._place(path, at_key, offset)
        return self.at(line, column, message, expected, hint, show_path(path))

    def at(
        self, line: int, column: int, message: str, expected: str = "", hint: str = "", path: str = ""
    ) -> Problem:
        """A problem at a line and column of the file, both from 1."""
        source = self.lines[line - 1] if line <= len(self.lines) else ""
        return Problem(self.file, line, column, path, message, expected, hint, source)

    def _place(self, path: Path, at_key: bool, offset: int | None) -> tuple[int, int]:
        """Line and column, from 1, of the key or value at `path`."""
        node, key = self._root, None
        found = 0
        for part in path:
            if isinstance(node, yaml.MappingNode) and part in self._entries(node):
                key, node = self._entries(node)[str(part)]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                key, node = None, node.value[part]
            else:
                break
            found += 1
        if node is None:
            return 1, 1
        mark = node.start_mark
        if at_key and key is not None and found == len(path):
            mark = key.start_mark
        elif found == len(path) and offset is not None and isinstance(node, yaml.ScalarNode):
            return mark.line + 1, mark.column + 1 + _into(node, offset)
        return mark.line + 1, mark.column + 1

    def _entries(self, node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key and value nodes by the key's text; of two alike the first."""
        entries = self._mappings.get(id(node))
        if entries is None:
            entries = {}
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    entries.setdefault(key.value, (key, value))
            self._mappings[id(node)] = entries
        return entries


def _into(node: yaml.ScalarNode, offset: int) -> int:
    """How far into the file's line a character of a text is, where that is certain."""
    start, end = node.start_mark, node.end_mark
    quotes = 0 if node.style is None else 1
    written_plainly = end.line == start.line and end.column - start.column == len(node.value) + 2 * quotes
    if node.style in (None, "'", '"') and written_plainly:
        return offset + quotes
    return 0
