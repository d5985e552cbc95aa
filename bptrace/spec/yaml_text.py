"""YAML text to plain values, with every mistake that YAML itself can contain.

One walk over the parsed nodes makes the values and collects duplicate keys, merge keys, aliases that
contain themselves or multiply without end, tags and numbers that cannot be.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.reader import ReaderError

from bptrace.errors import Problem, SpecError
from bptrace.spec.positions import Positions, split_lines
from bptrace.spec.yaml_loader import TAG, TextLoader

__all__ = ["LARGEST_FILE", "Document", "full_width", "read"]

LARGEST_FILE = 10_000_000
"""Bytes (of a file) or characters (of a text); larger data belongs in a data file."""

ALIAS_ALLOWANCE = 100_000
"""How many values aliases may add to those that are written out."""

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FULL_WIDTH = {"：": ":", "，": ",", "（": "(", "）": ")", "“": '"', "”": '"'}


@dataclass(frozen=True)
class Document:
    """The values of a YAML text, their places, and what is wrong with the YAML as such."""

    value: Any
    positions: Positions
    problems: list[Problem]


def read(text: str, file: str) -> Document:
    """Parse one document. A syntax error is raised, other problems are returned with the values."""
    text = text.removeprefix("\ufeff")
    unparsed = Positions(file, text, None)
    if len(text) > LARGEST_FILE:
        raise SpecError([unparsed.at(1, 1, f"the text is longer than {LARGEST_FILE:,} characters")])
    try:
        loader = TextLoader(text)
        try:
            root = loader.get_single_node()
        except (ValueError, OverflowError, IndexError):  # PyYAML on `%YAML 1.9..9` and "\UFFFFFFFF"
            mark = loader.get_mark()
            raise SpecError([unparsed.at(mark.line + 1, mark.column + 1, "this is not YAML")]) from None
    except ReaderError as error:
        raise SpecError([_unreadable(unparsed, text, error)]) from None
    except yaml.MarkedYAMLError as error:
        raise SpecError([_syntax(unparsed, error)]) from None
    walk = _Walk(Positions(file, text, root), loader.composed + ALIAS_ALLOWANCE)
    value = walk.value(root) if root is not None else None
    return Document(value, walk.positions, walk.problems)


class _Walk:
    """Makes plain values of nodes. Every use of an alias gets its own copy."""

    def __init__(self, positions: Positions, limit: int) -> None:
        self.positions = positions
        self.problems: list[Problem] = []
        self.left = limit
        self.open: set[int] = set()

    def value(self, node: yaml.Node) -> Any:
        self.left -= 1
        if self.left < 0:
            self.complain(node, "aliases multiply into too many values", "the values written out")
            raise SpecError(self.problems)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        if id(node) in self.open:
            self.complain(node, "an alias that contains itself", "the values written out")
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                self.check_tag(node, "seq")
                return [self.value(item) for item in node.value]
            assert isinstance(node, yaml.MappingNode)  # YAML has three kinds of nodes
            self.check_tag(node, "map")
            return self.mapping(node)
        finally:
            self.open.remove(id(node))

    def mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node)
            value = self.value(value_node)
            if key is None:
                continue
            if key in values:
                message = f"key '{key}' given twice (first at line {lines[key]})"
                self.complain(key_node, message, "each key once")
            else:
                values[key] = value
                lines[key] = key_node.start_mark.line + 1
        return values

    def key(self, node: yaml.Node) -> str | None:
        if node.tag == TAG + "merge":
            self.complain(node, "merge keys ('<<') are not supported", "the keys written out")
            return None
        if not isinstance(node, yaml.ScalarNode):
            self.complain(node, "a list or mapping cannot be a key", "a name")
            return None
        if node.tag != TAG + "str":
            self.complain(node, f"a key must be text: {node.value or 'nothing'}", "a name (or quotes)")
            return None
        return str(node.value)

    def scalar(self, node: yaml.ScalarNode) -> Any:
        text = str(node.value)
        match node.tag.removeprefix(TAG):
            case "str" | "!" | "merge":
                return text
            case "null" if text in ("", "~", "null", "Null", "NULL"):
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" if _INTEGER.fullmatch(text):
                if len(text) > 400:
                    self.complain(node, f"an integer of {len(text)} characters", "at most 2^53")
                    return 0
                base = {"0o": 8, "0x": 16}.get(text[:2], 10)
                return int(text, base)
            case "float":
                return self.number(node, text)
            case _:
                self.complain(node, f"the tag '{_short(node.tag)}' does not fit here", "a plain value")
                return None

    def number(self, node: yaml.ScalarNode, text: str) -> float:
        named = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
        if text.lower() in named:
            return named[text.lower()]
        try:
            value = float(text)
        except ValueError:
            self.complain(node, f"not a number: '{_short(text)}'", "a number")
            return 0.0
        if math.isinf(value):
            self.complain(node, "a number too large for 64-bit floats", "at most 1.7976931348623157e308")
            return 0.0
        return value

    def check_tag(self, node: yaml.Node, kind: str) -> None:
        if node.tag not in (TAG + kind, "!"):
            self.complain(node, f"the tag '{_short(node.tag)}' does not fit here", "a plain value")

    def complain(self, node: yaml.Node, message: str, expected: str = "") -> None:
        mark = node.start_mark
        self.problems.append(self.positions.at(mark.line + 1, mark.column + 1, message, expected))


def _short(text: str) -> str:
    text = text.replace(TAG, "!!")
    return text if len(text) <= 60 else text[:59] + "…"


def full_width(line: str) -> tuple[int, str] | None:
    """Offset of a Chinese input method's punctuation where YAML's was meant, and what to write.

    In running text such punctuation is right: only a colon before any other, and what stands within
    brackets, is taken for a slip.
    """
    code = line.split("#")[0]
    for offset, character in enumerate(code):
        before = code[:offset]
        if character == "\u00a0" and ":" not in before:
            return offset, "a space in place of a no-break space"
        in_place = ":" not in before if character == "：" else "[" in before or "{" in before
        if character in _FULL_WIDTH and in_place:
            return offset, f"'{_FULL_WIDTH[character]}' in place of a full-width '{character}'"
    return None


def _unreadable(positions: Positions, text: str, error: ReaderError) -> Problem:
    before = split_lines(text[: error.position])
    code = ord(text[error.position]) if error.position < len(text) else 0
    message = f"the character U+{code:04X} cannot stand in YAML"
    return positions.at(len(before), len(before[-1]) + 1, message, "printable text")


_SYNTAX = (
    ("mapping values are not allowed", "a ':' where no key can stand", "quotes around text with ': '"),
    ("could not find expected ':'", "a key without its ':'", "key: value"),
    ("expected <block end>", "this does not fit the lines above it", "the indentation of its neighbours"),
    ("expected '<document start>'", "this does not fit the lines above it", "the indentation of line 1"),
    ("found character '\\t'", "a tab", "spaces"),
    ("expected ',' or ']'", "this does not continue the list in [ ]", "',' or ']'"),
    ("expected ',' or '}'", "this does not continue the mapping in { }", "',' or '}'"),
    ("expected the node content", "a value is missing or cut off here", "a value, or quotes around the text"),
    ("found undefined alias", "'*' begins an alias, and there is no such anchor", "quotes around the text"),
    ("expected alphabetic", "'*' and '&' begin an alias or anchor", "quotes around the text"),
    ("found unexpected end of stream", "the text ends inside quotes", "a closing quote"),
    ("but found another document", "a second document begins here", "one network a file"),
)
_BRACKETED_ID = re.compile(r"[\w']\[[0-9, ]*\]?$")  # `[x1, h.W[1,2]]`: YAML ends the text at the inner `[`


def _syntax(positions: Positions, error: yaml.MarkedYAMLError) -> Problem:
    """PyYAML's complaint in our words, at the punctuation that caused it where that can be seen."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    for suspect in range(line, max(0, line - 2), -1):
        found = full_width(positions.lines[suspect - 1]) if suspect <= len(positions.lines) else None
        if found:
            offset, expected = found
            return positions.at(suspect, offset + 1, "this is no punctuation of YAML", expected)
    said = error.problem or error.context or "this is not YAML"
    message, expected = said, ""
    for beginning, ours, wanted in _SYNTAX:
        if said.startswith(beginning):
            message, expected = ours, wanted
            break
    else:
        if "cannot start any token" in said:
            message, expected = "this character cannot begin a value", "quotes around the text"
    before = positions.lines[line - 1][:column] if line <= len(positions.lines) else ""
    if said.startswith("expected ','") and _BRACKETED_ID.search(before):
        expected = 'quotes around an id with brackets, "h.W[1,2]"'
    return positions.at(line, column, message, expected)
