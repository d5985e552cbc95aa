"""Captions: the formula of a quantity for any element, or its matrix form with shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bptrace.formula.expr import Choice, Expr, Function, Number, Ref, Sum, Terms, children, flat, letter, rebuild
from bptrace.formula.text import symbols
from bptrace.graph.node import Derivative, Node, Of
from bptrace.graph.op import MatrixForm, formula_of
from bptrace.ops.arithmetic import Add
from bptrace.report.notation import Notation, shape_text
from bptrace.report.places import SPATIAL, laid_over, passed_back, typical
from bptrace.report.structure import opened

MOST_STEPS = 4
"""Time steps up to which a caption lists the formula of each."""


@dataclass(frozen=True)
class Caption:
    """A caption's formula as text, its shapes, and (made when a writer asks) the formula as LaTeX."""

    text: str = ""
    shapes: str = ""
    latex: Callable[[], str] = str


def caption(node: Node, notation: Notation, samples: int) -> Caption:
    """Elementwise nodes have their element formula in general symbols, sums their matrix form."""
    collected = isinstance(node.op, Add) and node.phase == "backward"
    if node.inline or collected or (node.op.name == "drawn" and node.phase == "update"):
        return Caption()
    return _places(node, notation) or _matrix(node, notation, samples) or _element(node, notation)


def sum_caption(node: Node, parts: Sequence[Caption], notation: Notation) -> Caption:
    """A sum of contributions: their formulas as one sum."""
    rights = [part.text.partition(" = ")[2] for part in parts if part.text]

    def latex() -> str:
        written = [part.latex().partition(" = ") for part in parts if part.text]
        return " = ".join([written[0][0], _plus([right for _, _, right in written])]) if written else ""

    return Caption(f"{notation.one(node)} = {_plus(rights)}", "", latex) if rights else Caption()


def _plus(terms: Sequence[str]) -> str:
    """The terms added; one that begins with a minus is subtracted."""
    later = (f" - {term[1:]}" if term.startswith("-") else f" + {term}" for term in terms[1:])
    return "".join([terms[0], *later])


def loss_caption(nodes: Sequence[Node]) -> Caption:
    """The loss as one formula, its terms written out."""
    inside = {node for node in nodes if not node.id.startswith("loss.penalty.")}
    judged = next((node.inputs[-1] for node in nodes if node.inputs and node.inputs[-1].phase == "forward"), None)
    notation = Notation(judged.layer if judged else "", True)

    def written_out(expr: Expr) -> Expr:
        if isinstance(expr, Ref) and expr.node in inside:
            return written_out(formula_of(expr.node, expr.index))
        return rebuild(expr, written_out)

    return _equation(notation.one(nodes[-1]), opened(written_out(formula_of(nodes[-1], ()))), notation)


def steps_captions(nodes: Sequence[Node]) -> list[Caption]:
    """What each time step has in the loss: the elements that are added; of many the first and the last."""
    shown = list(nodes) if len(nodes) <= MOST_STEPS else [*nodes[: MOST_STEPS - 1], nodes[-1]]
    notation = Notation(nodes[0].layer)
    made = []
    for node in shown:
        expr = _ends(flat(formula_of(node, ())))
        left = ("…,   " if node is shown[-1] and len(shown) < len(nodes) else "") + notation.one(node)
        latex = partial(_latex, notation.one(node), expr, notation.element)
        made.append(Caption(f"{left} = {symbols(expr, notation.element)}", "", latex))
    return made


def _ends(expr: Expr) -> Expr:
    """The formula with sums of many terms as their first and their last."""
    if isinstance(expr, Sum) and len(expr.terms) > MOST_STEPS:
        return Sum((expr.terms[0], letter("…"), expr.terms[-1]))
    return rebuild(expr, _ends)


def _latex(left: str, expr: Expr, name: Callable[[Ref], str], general: bool = False) -> str:
    from bptrace.formula.latex import latex as write
    from bptrace.formula.latex import symbol_latex

    return f"{symbol_latex(left)} = {write(expr, name, general=general)}"


def _element(node: Node, notation: Notation) -> Caption:
    first = 0 if node.axes[:1] == ("sample",) else 1
    letters = tuple("nijlmo"[first + k] for k in range(len(node.shape)))
    short = node.op.symbol() if node.phase == "forward" else ""
    function = f"{short}({notation.one(node.inputs[0])})" if short else ""
    if node.op.name == "embed":
        return _looked_up(node, letters, notation)
    expr = opened(formula_of(node, letters))
    if isinstance(expr, Function) and expr.name == "largest":
        nth, one = expr.arguments[:2]
        symbol = one.node.symbol.symbol if isinstance(one, Ref) and isinstance(one.node.symbol, Of) else "…"
        expr = Function("largest", (nth, letter(symbol)))  # all have one symbol
    if _tells_places(expr):  # `if k = i`: without its places it would say nothing
        own = Notation(notation.layer, True)
        left = own.element(Ref(node, letters))
        left = left.replace(node.id, notation.one(node), 1)  # what has no layer is named by its id
        latex = partial(_latex, left, expr, own.element, True)
        return Caption(f"{left} = {symbols(expr, own.element, general=True)}", "", latex)
    return _equation(notation.one(node), expr, notation, function)


def _tells_places(expr: Expr) -> bool:
    """Whether a formula depends on the place: a choice that compares the letters of indices."""
    match expr:
        case Choice(left=Number() as left, right=Number() as right):
            return left.text.isalpha() and right.text.isalpha()
        case Sum(terms) if isinstance(terms, Terms) and len(terms):
            return _tells_places(terms.at(terms.letter))
        case _:
            return any(_tells_places(child) for child in children(expr))


def _looked_up(node: Node, letters: tuple[str, ...], notation: Notation) -> Caption:
    """A row of a table: which one, the number in the data says; it counts from 0, a page from 1."""
    number, table = node.inputs
    inside = Notation(notation.layer, True)
    left = inside.element(Ref(node, letters))
    read = inside.element(Ref(number, letters[:-1]))
    row = f"{notation.array(table)}[{read} + 1, {letters[-1]}]"

    def latex() -> str:
        from bptrace.formula.latex import symbol_latex

        written, matrix = symbol_latex(read), symbol_latex(notation.array(table))
        return f"{symbol_latex(left)} = {matrix}_{{{written} + 1, {letters[-1]}}}"

    return Caption(f"{left} = {row}", "", latex)


def _places(node: Node, notation: Notation) -> Caption | None:
    """With windows it matters what is read where: the caption shows the places, `x[i+u-1, j+v-1]`."""
    if not node.size or not laid_over(node, typical(node)):
        return None
    of = node.symbol.of if isinstance(node.symbol, Derivative) else node
    places = iter("uvw" if of.phase == "parameter" else "rqp" if passed_back(node) else "ijl")
    letters = {"sample": "n", "input": "c", "channel": "c" if passed_back(node) else "o"}
    at = tuple(
        0 if extent == 1 else next(places) if word in SPATIAL else letters.get(word, "k")
        for word, extent in zip(node.axes, node.shape, strict=True)
    )

    def name(ref: Ref) -> str:
        text = notation.one(ref.node)
        text = f"({text})" if " " in text else text
        places_of = zip(ref.index, ref.node.shape, strict=True)
        shown = [str(place if isinstance(place, str) else place + 1) for place, extent in places_of if extent > 1]
        joint = ", " if any(len(place) > 1 for place in shown) else ","
        return f"{text}[{joint.join(shown)}]" if shown else text

    expr = _shortened(opened(formula_of(node, at)))
    left = name(Ref(node, at))
    text = _one_sign(symbols(expr, name, general=True))

    def latex() -> str:
        from bptrace.formula.latex import latex as write
        from bptrace.formula.latex import symbol_latex

        return f"{symbol_latex(left)} = {write(expr, name, general=True)}"

    return Caption(f"{left} = {text}", "", latex)


def _one_sign(text: str) -> str:
    """A sum over rows and columns has one Σ."""
    while "Σ Σ " in text:
        text = text.replace("Σ Σ ", "Σ ")
    return text


def _shortened(expr: Expr) -> Expr:
    """The largest of many: the first and the last."""
    match expr:
        case Function("max", arguments) if len(arguments) > 4:
            return Function("max", (arguments[0], letter("…"), arguments[-1]))
        case _:
            return expr


def _equation(left: str, expr: Expr, notation: Notation, function: str = "", shapes: str = "") -> Caption:
    """left = function = formula; the function is left out where it is the formula."""
    text = _text(expr, notation)
    between = [function] if function and function != text else []

    def latex() -> str:
        from bptrace.formula.latex import latex as write
        from bptrace.formula.latex import symbol_latex

        formula = write(expr, lambda ref: notation.one(ref.node), general=True)
        return " = ".join([symbol_latex(left), *map(symbol_latex, between), formula])

    return Caption(" = ".join([left, *between, text]), shapes, latex)


def _text(expr: Expr, notation: Notation) -> str:
    """A formula with general symbols; a product is spaced after a symbol that has a slash of its own,
    since `∂E/∂out·σ'` could be read as a quotient by both."""

    def name(ref: Ref) -> str:
        text = notation.one(ref.node)
        return f"{text}\0" if "/" in text else text

    return symbols(expr, name, general=True).replace("\0·", " · ").replace("\0", "")


def _matrix(node: Node, notation: Notation, samples: int) -> Caption | None:
    factor, inner = "", node
    if node.op.name == "scale" and node.inputs[0].inline:
        inner, ratio = node.inputs[0], getattr(node.op, "factor", 1)
        if ratio.numerator != 1:
            return None
        factor = f"/{ratio.denominator}"
    form = inner.op.matrix(inner)
    if form is None:
        return None
    several = samples > 1 and any("sample" in operand.axes for operand in (node, *inner.inputs))
    # with one sample a gradient of weights is no sum: its caption is that of any element
    left, right = inner.inputs[:2]
    vectors = "×" not in shape_text(left) and "×" not in shape_text(right)
    if vectors and not several and node.phase == "backward" and "sample" not in node.axes and len(node.shape) == 2:
        shapes = f"{shape_text(node)} = {shape_text(left)}·{shape_text(right)}ᵀ"
        return _equation(notation.one(node), flat(formula_of(node, ("i", "j"))), notation, "", shapes)
    return _matrix_form(node, form, factor, notation, several)


def _matrix_form(node: Node, form: MatrixForm, factor: str, notation: Notation, several: bool) -> Caption:
    left = notation.array(node)
    if several and "sample" in node.axes:
        left = _batch(left)
    text, shapes = "", ""
    parts: list[tuple[str, list[tuple[str, bool]]]] = []
    for sign, factors in form.terms:
        names: list[tuple[str, bool]] = []
        sizes: list[str] = []
        for operand, transposed in factors:
            # the transpose of a vector says nothing
            turned = transposed and (several or len(shape_text(operand).split("×")) > 1)
            name = notation.array(operand)
            names.append((_batch(name) if several and "sample" in operand.axes else name, turned))
            sizes.append(shape_text(operand, turned) if several else shape_text(operand) + ("ᵀ" if turned else ""))
        joint = f" {sign} " if sign else ""
        text += joint + "·".join(_bracketed(name, turned) + ("ᵀ" if turned else "") for name, turned in names)
        shapes += joint + "·".join(sizes)
        parts.append((joint, names))

    def latex() -> str:
        from bptrace.formula.latex import symbol_latex

        written = "".join(
            joint + r" \cdot ".join(symbol_latex(name) + ("^{\\top}" if turned else "") for name, turned in names)
            for joint, names in parts
        )
        return f"{symbol_latex(left)} = {written}{factor}"

    return Caption(f"{left} = {text}{factor}", f"{shape_text(node)} = {shapes}", latex)


def _batch(name: str) -> str:
    """The symbol of a whole batch: Z for z, A_h for a_h."""
    base, _, rest = name.partition("_")
    return (base.upper() if len(base) == 1 and base.isascii() else base) + (f"_{rest}" if rest else "")


def _bracketed(name: str, turned: bool) -> str:
    return f"({name})" if " " in name or (turned and "/" in name) else name
