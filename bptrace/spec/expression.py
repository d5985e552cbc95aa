"""Expressions of `graph:` as small trees: `w*x + b` is data, nothing in it is ever executed.

The text is first cut into tokens (`bptrace.spec.tokens`), where nearly every slip has its own hint.
Python's parser then sees placeholders of equal length in place of names and numbers (`v*vv + v`), so
that precedence is Python's while names are ours: `x'` and `lambda` are names like any other, and
columns are the columns of the text.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from bptrace.errors import nearest
from bptrace.spec.functions import FUNCTIONS, REQUIRED
from bptrace.spec.tokens import DEEPEST, ExpressionError, Token, tokens_of

__all__ = [
    "FUNCTIONS",
    "Binary",
    "Call",
    "Expression",
    "ExpressionError",
    "Literal",
    "Name",
    "Option",
    "Unary",
    "dependencies",
    "parse",
]

Option: TypeAlias = float | int | tuple[int, ...]
"""The value of an option: `axis=0`, `shape=[2, 3]`, `alpha=0.1`."""


@dataclass(frozen=True)
class Name:
    """A reference to an input, a parameter or another expression. `column` counts from 0."""

    id: str
    column: int


@dataclass(frozen=True)
class Literal:
    """A number and how it was spelled."""

    value: float
    text: str
    column: int


@dataclass(frozen=True)
class Unary:
    """`-operand`."""

    op: str
    operand: Expression
    column: int


@dataclass(frozen=True)
class Binary:
    """`left op right`, op one of `+ - * / ** @`; `column` is that of the left operand."""

    op: str
    left: Expression
    right: Expression
    column: int


@dataclass(frozen=True)
class Call:
    """`function(arguments, option=...)`."""

    function: str
    arguments: tuple[Expression, ...]
    options: Mapping[str, Option] = field(hash=False)
    column: int


Expression: TypeAlias = Name | Literal | Unary | Binary | Call


_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.MatMult: "@",
}


def parse(text: str) -> Expression:
    """The tree of an expression; `ExpressionError` with a column where it is none."""
    tokens = tokens_of(text)
    placeholders = "".join(token.placeholder for token in tokens)
    lead = len(placeholders) - len(placeholders.lstrip())  # Python would take it for indentation
    try:
        tree = ast.parse(placeholders[lead:], mode="eval")
    except SyntaxError as error:
        raise _syntax(placeholders, tokens, (error.offset or 1) - 1 + lead) from None
    except (MemoryError, RecursionError):  # long chains of signs; which of them differs by version
        raise ExpressionError("nested too deeply", 0, "split it into named expressions") from None
    return _Builder({token.column: token for token in tokens}, lead).build(tree.body, 1)


def dependencies(tree: Expression) -> tuple[Name, ...]:
    """The names that an expression refers to, each once, in order of appearance."""
    found: dict[str, Name] = {}
    pending: list[Expression] = [tree]
    while pending:
        match pending.pop():
            case Name() as name:
                found.setdefault(name.id, name)
            case Literal():
                pass
            case Unary(operand=operand):
                pending.append(operand)
            case Binary(left=left, right=right):
                pending += (right, left)
            case Call(arguments=arguments):
                pending += reversed(arguments)
    return tuple(found.values())


def _syntax(placeholders: str, tokens: list[Token], offset: int) -> ExpressionError:
    """Tokens were right, their order is not."""
    opened: list[int] = []
    for token in tokens:
        if token.text in "([":
            opened.append(token.column)
        elif token.text in ")]" and not opened:
            return ExpressionError(f"'{token.text}' closes nothing", token.column)
        elif token.text in ")]":
            opened.pop()
    if opened:
        return ExpressionError("this bracket is never closed", opened[-1])
    if not placeholders.strip():
        return ExpressionError("an empty expression", 0)
    last = len(placeholders.rstrip()) - 1
    if placeholders[last] in "+-*/@,=":
        return ExpressionError("the expression ends after an operator", last)
    offset = min(max(offset, 0), last)
    if "=" in placeholders[offset : offset + 2]:
        return ExpressionError("'=' belongs in options only", offset, "write the name as the key: f: q*z")
    return ExpressionError("an operand is missing or in the wrong place", offset)


class _Builder:
    """From Python's tree of placeholders to ours; what is not on the list is refused."""

    def __init__(self, tokens: Mapping[int, Token], lead: int) -> None:
        self.tokens = tokens
        self.lead = lead

    def at(self, node: ast.expr | ast.keyword) -> int:
        """The column in the text at which a part of Python's tree begins."""
        return node.col_offset + self.lead

    def build(self, node: ast.expr, depth: int) -> Expression:
        column = self.at(node)
        if depth > DEEPEST:
            hint = "split it into named expressions"
            raise ExpressionError(f"more than {DEEPEST} operations deep", column, hint)
        match node:
            case ast.Name():
                return Name(self.tokens[column].name, column)
            case ast.Constant():
                return Literal(self.number(node), self.tokens[column].text, column)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.build(operand, depth + 1)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Unary("-", self.build(operand, depth + 1), column)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                built = self.build(left, depth + 1), self.build(right, depth + 1)
                return Binary(_OPERATORS[type(op)], *built, column)
            case ast.Call():
                return self.call(node, depth)
            case ast.List() | ast.Tuple():
                raise ExpressionError("a list cannot stand here", column, "lists are values of options only")
            case _:
                raise ExpressionError("this is no operation of a graph", column)

    def call(self, node: ast.Call, depth: int) -> Call:
        function = self.tokens[self.at(node.func)].name if isinstance(node.func, ast.Name) else ""
        if function not in FUNCTIONS:
            raise self.unknown(function, self.at(node))
        signature = FUNCTIONS[function]
        operands, literals = node.args[: signature.most], node.args[signature.most :]
        if len(operands) < signature.least:
            wanted = f"{signature.least} operand{'s' if signature.least > 1 else ''}"
            raise ExpressionError(f"{function} takes {wanted}, not {len(operands)}", self.at(node))
        named = signature.options or ()
        if len(literals) > len(named):
            column = self.at(literals[len(named)])
            raise ExpressionError(f"{function} takes fewer operands", column)
        options = {
            name: self.option(literal, function) for name, literal in zip(named, literals, strict=False)
        }
        for keyword in node.keywords:
            name = self.tokens[self.at(keyword)].name if keyword.arg else ""
            if name in options:
                raise ExpressionError(f"'{name}' is given twice", self.at(keyword))
            if not name or (signature.options is not None and name not in named):
                near = nearest(name, named) or ", ".join(named)
                hint = f"its options: {near}" if near else f"{function} has no options"
                raise ExpressionError(f"{function} has no option '{name}'", self.at(keyword), hint)
            options[name] = self.option(keyword.value, function)
        if REQUIRED.get(function, "") not in ("", *options):
            hint = f"{function}(x, {REQUIRED[function]}=[...])"
            raise ExpressionError(f"{function} lacks its {REQUIRED[function]}", self.at(node), hint)
        arguments = tuple(self.build(operand, depth + 1) for operand in operands)
        return Call(function, arguments, options, self.at(node))

    def unknown(self, function: str, column: int) -> ExpressionError:
        if not function:
            return ExpressionError("only a named function can be called", column, "write * to multiply")
        near = nearest(function, FUNCTIONS)
        hint = f"did you mean '{near}'?" if near else "known: " + ", ".join(sorted(FUNCTIONS))
        return ExpressionError(f"unknown function '{function}'", column, hint)

    def option(self, node: ast.expr, function: str) -> Option:
        """A number, or a list of whole numbers."""
        match node:
            case ast.Constant():
                number = self.number(node)
                return int(number) if self.tokens[self.at(node)].text.isdecimal() else number
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant() as operand):
                return -self.as_number(operand, function)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                values = [self.option(item, function) for item in items]
                for item, value in zip(items, values, strict=True):
                    if not isinstance(value, int):
                        raise ExpressionError("not a whole number", self.at(item))
                return tuple(value for value in values if isinstance(value, int))
            case _:
                message = f"an option of {function} must be a number or a list of whole numbers"
                raise ExpressionError(message, self.at(node))

    def as_number(self, node: ast.expr, function: str) -> float | int:
        value = self.option(node, function)
        assert not isinstance(value, tuple)  # the caller has a constant
        return value

    def number(self, node: ast.expr) -> float:
        value = float(self.tokens[self.at(node)].text)
        if math.isinf(value):
            raise ExpressionError("a number too large for 64-bit floats", self.at(node))
        return value
