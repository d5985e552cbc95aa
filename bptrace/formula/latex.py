r"""Formulas as LaTeX, in what GitHub's `math` blocks, KaTeX and amsmath all take.

`latex` writes a formula, `symbol_latex` one of our plain symbols: `δ_o1`, `∂E/∂w5`, `h.W[1,2]`. No
`\operatorname` (GitHub refuses it), no letter outside ASCII but in `\text`, no double subscript.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from bptrace.formula.expr import (
    Choice,
    Expr,
    Function,
    Negation,
    Number,
    Power,
    Product,
    Quotient,
    Ref,
    Relation,
    Sum,
    Terms,
    Worked,
    flat,
    is_indexed,
)


class Level(IntEnum):
    """How tightly a piece of LaTeX binds. A fraction needs no brackets, but as the base of a power."""

    CHOICE = 0
    SUM = 1
    PRODUCT = 2
    POWER = 3
    ATOM = 4


Piece = tuple[str, Level]
"""LaTeX, and how tightly it binds."""

RELATIONS: dict[Relation, str] = {">": ">", ">=": r"\ge", "=": "=", "<": "<", "<=": r"\le"}
OPPOSITES: dict[Relation, str] = {">": r"\le", ">=": "<", "=": r"\ne", "<": r"\ge", "<=": ">"}
FUNCTIONS = ("exp", "ln", "tanh", "sin", "cos", "max", "min")
"""Functions that LaTeX has a command for; others are set upright."""
_GREEK_NAMES = """
α alpha β beta γ gamma δ delta ε epsilon ζ zeta η eta θ theta ι iota κ kappa λ lambda μ mu ν nu ξ xi π pi ρ rho
σ sigma τ tau υ upsilon φ phi χ chi ψ psi ω omega Γ Gamma Δ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma Υ Upsilon
Φ Phi Ψ Psi Ω Omega ∂ partial · cdot ∞ infty
"""
_NAMES = iter(_GREEK_NAMES.split())
GREEK = {sign: f"\\{name}" for sign, name in zip(_NAMES, _NAMES, strict=True)}
"""Greek letters, and signs of our own symbols, as commands."""
ESCAPES = {c: f"\\{c}" for c in "_%$#&{}"} | {"\\": r"\backslash ", "^": r"\wedge ", "~": r"\sim ", ":": "{:}"}
ACCENTS = {"\u0302": r"\hat", "\u0303": r"\tilde", "\u0304": r"\bar"}


def latex(
    expr: Expr, name: Callable[[Ref], str], *, general: bool = False, worked: Callable[[Worked], str] | None = None
) -> str:
    """A formula. `name` gives the plain symbol of an element, or its number.

    With `general`, sums over an axis are written once behind a Σ. `worked` gives the number of an
    operation that the page has worked out; without it the operation itself is written.
    """
    return _Writer(name, worked, general).piece(expr if general else flat(expr))[0]


def equation(left: str, expr: Expr, name: Callable[[Ref], str], *, general: bool = False) -> str:
    """A caption: the plain symbol `left`, and its formula."""
    return f"{symbol_latex(left)} = {latex(expr, name, general=general)}"


def symbol_latex(text: str) -> str:
    """One of our plain symbols or numbers: `δ_o1` is `\\delta_{o1}`."""
    return _symbol(text)[0]


# formulas


class _Writer:
    def __init__(self, name: Callable[[Ref], str], worked: Callable[[Worked], str] | None, general: bool) -> None:
        self.name = name
        self.worked = worked
        self.general = general

    def piece(self, expr: Expr) -> Piece:
        match expr:
            case Ref() | Number():
                return _symbol(self._plain(expr))
            case Worked(of):
                return _symbol(self._plain(expr)) if self.worked else self.piece(of)
            case Sum(terms):
                if self.general and is_indexed(expr) and isinstance(terms, Terms):
                    return self._indexed(terms), Level.SUM
                return self._sum(expr)
            case Product(factors):
                parts = [self._bracketed(factor, Level.PRODUCT) for factor in factors]
                return r" \cdot ".join(parts), Level.PRODUCT
            case Quotient(top, bottom):
                return rf"\frac{{{self.piece(top)[0]}}}{{{self.piece(bottom)[0]}}}", Level.POWER
            case Power(base, exponent):
                return f"{self._bracketed(base, Level.ATOM)}^{{{self.piece(exponent)[0]}}}", Level.POWER
            case Negation(of):
                return self._negated(of)
            case Function(name, arguments):
                return self._function(name, tuple(arguments))
            case Choice():
                return self._choice(expr), Level.CHOICE
            case _:
                raise TypeError(f"not a kind of formula: {expr!r}")

    def _bracketed(self, expr: Expr, least: Level) -> str:
        """`expr`, in brackets where it binds less tightly than `least`."""
        text, level = self.piece(expr)
        return _brackets(text) if level < least else text

    def _indexed(self, terms: Terms) -> str:
        inner = terms.at(terms.letter)
        body = self._bracketed(inner, Level.SUM if is_indexed(inner) else Level.PRODUCT)
        return rf"\sum_{{{_inside(terms.letter)}=1}}^{{{len(terms)}}} {body}"

    def _sum(self, expr: Sum) -> Piece:
        if not expr.terms:
            return "0", Level.ATOM
        if len(expr.terms) == 1:
            return self.piece(expr.terms[0])
        text = ""
        for k, term in enumerate(expr.terms):
            part, level = self.piece(term)
            if level is Level.CHOICE:
                part = _brackets(part)
            if not k:
                text = part
            elif part.startswith("-"):
                text += f" - {part[1:]}"
            else:
                text += f" + {part}"
        return text, Level.SUM

    def _plain(self, leaf: Expr) -> str:
        """A leaf as plain text; nothing of what is no leaf."""
        if isinstance(leaf, Worked):
            return self.worked(leaf) if self.worked else ""
        return self.name(leaf) if isinstance(leaf, Ref) else leaf.text if isinstance(leaf, Number) else ""

    def _negated(self, of: Expr) -> Piece:
        plain = self._plain(of)
        if plain.startswith("-"):
            return _symbol(plain[1:])  # minus a negative number
        text, level = self.piece(of)
        if is_indexed(of) and self.general:
            return f"-{text}", Level.SUM
        return f"-{_brackets(text) if level < Level.PRODUCT else text}", Level.SUM

    def _function(self, name: str, arguments: tuple[Expr, ...]) -> Piece:
        match name:
            case "sqrt":
                return rf"\sqrt{{{self.piece(arguments[0])[0]}}}", Level.ATOM
            case "abs":
                text = self.piece(arguments[0])[0]
                tall = (r"\left", r"\right") if _tall(text) else ("", "")
                return rf"{tall[0]}\lvert {text} {tall[1]}\rvert", Level.ATOM
            case "drawn":
                stream, *rest = arguments
                said = rf"\text{{{_text(getattr(stream, 'text', ''))}}}"
                inside = ", ".join([said, *(self.piece(argument)[0] for argument in rest)])
                return rf"\mathrm{{drawn}}({inside})", Level.POWER
            case "times_ln":
                factor = self._bracketed(arguments[0], Level.PRODUCT)
                return rf"{factor} \cdot {self._call('ln', arguments[1:])}", Level.PRODUCT
            case _:
                return self._call(name, arguments), Level.POWER

    def _call(self, name: str, arguments: tuple[Expr, ...]) -> str:
        command = f"\\{name}" if name in FUNCTIONS else rf"\mathrm{{{_escaped(name)}}}"
        return command + _brackets(", ".join(self.piece(argument)[0] for argument in arguments))

    def _choice(self, choice: Choice) -> str:
        """Both branches with their conditions, so that no word of a language is needed."""
        left, right = self.piece(choice.left)[0], self.piece(choice.right)[0]
        then, otherwise = self.piece(choice.then)[0], self.piece(choice.otherwise)[0]
        rows = ((then, RELATIONS[choice.relation]), (otherwise, OPPOSITES[choice.relation]))
        body = r" \\ ".join(f"{branch} & {left} {relation} {right}" for branch, relation in rows)
        return rf"\begin{{cases}} {body} \end{{cases}}"


def _brackets(text: str) -> str:
    return rf"\left({text}\right)" if _tall(text) else f"({text})"


def _tall(text: str) -> bool:
    """Whether brackets of one line's height are too small."""
    return any(command in text for command in (r"\frac", r"\sum", r"\sqrt", r"\begin", r"\left"))


# symbols


def _symbol(text: str) -> Piece:
    if text[:1].isdigit() or text[:1] == "-":
        return _number(text)
    if text.startswith("new "):
        inner, level = _symbol(text[4:])
        return (inner if level is Level.ATOM else f"{{{inner}}}") + r"^{\mathrm{new}}", Level.POWER
    if text.startswith("∂") and "/∂" in text:
        return _derivative(text), Level.POWER
    if text.endswith(")") and "(" in text:
        function, _, argument = text[:-1].partition("(")
        return f"{_function_name(function)}{_brackets(symbol_latex(argument))}", Level.POWER
    return _name(text)


def _number(text: str) -> Piece:
    """A number as the page writes it: 0.5, -3, 1e-08, 7/12."""
    sign = "-" if text.startswith("-") else ""
    size = text.removeprefix("-")
    top, slash, bottom = size.partition("/")
    digits, exponent, power = size.lower().partition("e")
    if slash:
        size, level = rf"\frac{{{top}}}{{{bottom}}}", Level.POWER
    elif exponent and power:
        size, level = rf"{digits} \cdot 10^{{{int(power)}}}", Level.PRODUCT
    elif size[:1].isalpha():
        size, level = rf"\mathrm{{{size}}}", Level.ATOM
    else:
        level = Level.ATOM
    return f"{sign}{size}", Level.SUM if sign else level


def _derivative(text: str) -> str:
    """∂E/∂w5, ∂E/∂(new w5), and of a contribution ∂E/∂w5 via o.z."""
    top, _, rest = text[1:].partition("/∂")
    of, via, through = rest.partition(" via ")
    if of.startswith("(") and of.endswith(")"):
        of = of[1:-1]
    fraction = rf"\frac{{\partial {symbol_latex(top)}}}{{\partial {symbol_latex(of)}}}"
    return rf"\left.{fraction}\right\rvert_{{{_inside(through)}}}" if via else fraction


def _function_name(text: str) -> str:
    bare = text.rstrip("'").replace("√", "sqrt")
    primes = text[len(text.rstrip("'")) :]
    symbol = len(bare) == 1 or bare.endswith("_hat") or bare[1:] in ACCENTS
    name = symbol_latex(bare) if symbol else rf"\mathrm{{{_escaped(bare)}}}"
    return name + primes


def _name(text: str) -> Piece:
    """A name with its index: `out_h1[2]` is out with the subscript h1,2."""
    base, bracket, index = text.removesuffix("]").partition("[")
    if not bracket:
        base = text
    transposed = base.endswith("ᵀ")
    head, *rest = _parts(base.removesuffix("ᵀ"))
    accent = r"\hat" if rest and rest[-1] == "hat" else ""
    rest = rest[:-1] if accent else rest
    bare = head.rstrip("'")
    primes = head[len(bare) :]
    stem = bare.rstrip("0123456789")
    stem = stem if stem.isalpha() else bare
    subscripts = [_inside(part) for part in (bare[len(stem) :], *rest) if part]
    subscripts += [_inside(place) for place in index.split(",")] if bracket else []
    shown = f"{accent}{{{_letters(stem)}}}" if accent else _letters(stem)
    shown += f"_{{{','.join(subscripts)}}}" if subscripts else ""
    shown += primes + (r"^{\mathsf{T}}" if transposed else "")
    return shown, Level.POWER if primes or transposed else Level.ATOM


def _parts(name: str) -> list[str]:
    """The name and its subscripts; a `_` that separates nothing is a letter of the name."""
    parts = name.split("_")
    return parts if all(parts) else [name]


def _letters(text: str) -> str:
    """The letters of a name: one alone in italics, several upright."""
    if text in GREEK:
        return GREEK[text]
    if len(text) == 2 and text[1] in ACCENTS:
        return f"{ACCENTS[text[1]]}{{{_letters(text[0])}}}"
    if len(text) > 1 and text.endswith("²"):  # the square is part of the name: the variance σ²
        return f"{{{_letters(text[:-1])}^{{2}}}}"
    if len(text) == 1 and text.isascii() and text.isalpha():
        return text
    if not all(c.isascii() or c in GREEK for c in text):
        # Greek letters are no text: a name of both scripts is put together
        return "".join(_run(run) for run in _runs(text))
    return rf"\mathrm{{{_escaped(text)}}}"


def _runs(text: str) -> list[str]:
    """The text in pieces that are all Greek letters, or none."""
    runs: list[str] = []
    for c in text:
        if runs and (c in GREEK) == (runs[-1][-1] in GREEK):
            runs[-1] += c
        else:
            runs.append(c)
    return runs


def _run(text: str) -> str:
    return "{" + _escaped(text).rstrip() + "}" if text[0] in GREEK else rf"\text{{{_text(text)}}}"


def _escaped(text: str) -> str:
    return "".join(f"{GREEK[c]} " if c in GREEK else ESCAPES.get(c, c) for c in text)


def _text(text: str) -> str:
    """Inside of `\\text`, where mathematics is not allowed."""
    names = {"\\": r"\textbackslash ", "^": r"\textasciicircum ", "~": r"\textasciitilde "}
    return "".join(names.get(c) or (f"\\{c}" if c in "_%$#&{}" else c) for c in text)


def _inside(text: str) -> str:
    """A part of a subscript: numbers and a letter with digits as they are, words upright."""
    primes = text[len(text.rstrip("'")) :]
    bare = text.removesuffix(primes) if primes else text
    digits = bare.lstrip("-").isdigit() and bare.isascii()
    short = bare[:1].isalpha() and bare.isascii() and (len(bare) == 1 or (bare[1:].isdigit()))
    if digits or short:
        return bare + primes
    return (_letters(bare) if bare else "") + primes
