"""The tokens of a graph expression, and a hint for everything that people write by habit."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from bptrace.spec.base import name_fault

__all__ = ["DEEPEST", "LONGEST", "ExpressionError", "Token", "tokens_of"]

DEEPEST = 50
LONGEST = 2000


class ExpressionError(ValueError):
    """What is wrong with an expression, at which character (from 0), and what was meant."""

    def __init__(self, message: str, column: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.column = column
        self.hint = hint


@dataclass(frozen=True)
class Token:
    """A piece of the text: kind `name`, `number`, `mark` or `space`."""

    kind: str
    text: str
    column: int

    @property
    def name(self) -> str:
        """Its name, spelled as the loader spells names."""
        return unicodedata.normalize("NFC", self.text)

    @property
    def placeholder(self) -> str:
        """As many plain characters for Python's parser, which never sees a word of the user's."""
        letter = {"name": "v", "number": "1", "space": " "}.get(self.kind)
        return letter * len(self.text) if letter else self.text


_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<slip>\*\*\*+|//|==|!=|<=|>=|:=|->|&&|\|\|)"
    r"|(?P<mark>\*\*|[-+*/@()\[\],=])"
)
_SLIPS = {
    "^": "write ** for a power",
    "//": "write / to divide",
    "%": "there is no remainder",
    "−": "write - (a plain minus sign)",
    "–": "write - (a plain minus sign)",
    "×": "write * to multiply",
    "·": "write * to multiply",
    "⋅": "write * to multiply",
    "÷": "write / to divide",
    "²": "write **2",
    "³": "write **3",
    "√": "write sqrt(...)",
    "（": "write ( instead of the full-width bracket",
    "）": "write ) instead of the full-width bracket",
    "，": "write , instead of the full-width comma",
    "＋": "write + instead of the full-width sign",
    "＊": "write * instead of the full-width sign",
    "\u00a0": "write a plain space",
    ".": "there is no attribute access; write transpose(x) for x.T, sum(x) for x.sum()",
    "[": "write take(x, [0, 2], axis=0) to choose elements, counted from 0",
    ":": "there are no slices and no lambda; write take(x, [0, 2])",
    "#": "an expression has no comments; put a space before # in the YAML",
    ";": "one expression a name",
}
_COMPARISONS = ("<", ">", "<=", ">=", "==", "!=")
_WORDS = ("if", "else", "and", "or", "not", "in", "is", "lambda", "for")


def tokens_of(text: str) -> list[Token]:
    """Cut a text into tokens; refuse what no expression can contain, with what was meant."""
    if len(text) > LONGEST:
        message = f"{len(text):,} characters where {LONGEST:,} are allowed"
        raise ExpressionError(message, LONGEST, "split it into named expressions")
    tokens: list[Token] = []
    before: Token | None = None
    column = depth = 0
    while column < len(text):
        token = _token(text, column)
        depth += (token.text in "([") - (token.text in ")]")
        if depth > DEEPEST:
            hint = "split it into named expressions"
            raise ExpressionError(f"more than {DEEPEST} brackets deep", column, hint)
        if token.kind != "space":
            _check_neighbours(before, token)
            before = token
        tokens.append(token)
        column += len(token.text)
    return tokens


def _token(text: str, column: int) -> Token:
    end = column
    while end < len(text) and (text[end] in "_'" or unicodedata.category(text[end])[0] in "LM"):
        end += 1
        while end < len(text) and unicodedata.category(text[end]) == "Nd":
            end += 1
    word = text[column:end]
    if word and not name_fault(unicodedata.normalize("NFC", word)):
        return Token("name", word, column)
    found = _TOKEN.match(text, column)
    if found is None or found.lastgroup == "slip":
        raise _slip(found.group() if found else text[column], column)
    kind = str(found.lastgroup)
    if kind == "space" and "\u00a0" in found.group():
        raise _slip("\u00a0", column + found.group().index("\u00a0"))
    return Token(kind, found.group(), column)


def _slip(text: str, column: int) -> ExpressionError:
    if text in _COMPARISONS or text == "!":
        hint = "there are no comparisons; write step(x - y), 1 where x >= y"
    elif text in ("'", '"'):
        hint = "there is no text in an expression"
    elif unicodedata.category(text[0]) == "No" and text not in _SLIPS:
        hint = "write x1 for x₁"
    else:
        hint = _SLIPS.get(text, "")
    return ExpressionError(f"'{text}' is no part of an expression", column, hint)


def _check_neighbours(before: Token | None, token: Token) -> None:
    """Two operands side by side: a `*` is missing, or a word of Python was meant."""
    if before is None or not (before.kind in ("name", "number") or before.text in ")]"):
        return
    if token.text == "[":
        raise _slip("[", token.column)
    if token.text == "(" and before.kind != "name":
        hint = f"write {before.text}*(" if before.kind == "number" else "write )*("
        raise ExpressionError("an operator is missing", token.column, hint)
    if token.kind in ("name", "number"):
        for word in (before, token):
            if word.text in _WORDS:
                message = f"'{word.text}' is no operation of a graph"
                hint = "write where(step(x), a, b) to choose, max and min for or and and"
                raise ExpressionError(message, word.column, hint)
        if token.text.startswith("."):
            raise _slip(".", token.column)
        hint = f"write {before.text}*{token.text}" if len(before.text + token.text) < 40 else "write *"
        raise ExpressionError("an operator is missing", token.column, hint)
