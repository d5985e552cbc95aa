"""Quantities with rows and columns: a row a place, with the patch that it reads or the outputs that it fed.

What stands beside a place follows from its formula: sums of products over places show the patch of
the operand that moves; what is passed back to a place shows the outputs that it fed, since there
the kernel is what moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from typing import Any

from bptrace.formula.expr import (
    Expr,
    Function,
    Index,
    Negation,
    Number,
    Product,
    Quotient,
    Ref,
    Sum,
    Worked,
    flat,
    refs,
)
from bptrace.graph.graph import Graph
from bptrace.graph.node import Derivative, Node
from bptrace.graph.op import formula_of
from bptrace.report.blocks import Chosen, Form, Line, Place, Rows
from bptrace.report.notation import Notation, unflat
from bptrace.report.structure import summed_axes

SPATIAL = ("place", "depth", "row", "column")
"""Axes along which a window lies."""
WINDOWED = ("convolution", "convolution_input", "convolution_weights", "max_pool", "window_scatter", "window_gather",
            "average_pool", "average_spread", "adaptive_average", "adaptive_spread")  # fmt: skip
"""Operations that read windows; a norm over an image also sums over its places, but of the whole."""
TRIED = 1000
"""Places that are looked at for those with something under the window."""
GROUPED = ("channel", "sample")
"""Axes whose sums get a row each, and one more that adds them."""


def spatial(node: Node) -> list[int]:
    """The axes of a node along which a window lies."""
    return [k for k, word in enumerate(node.axes) if word in SPATIAL]


def typical(node: Node) -> Expr:
    """The formula that says how a node is shown: of a first place or, with windows, of one in the
    middle, since at an edge a window may cover nothing but padding."""
    inside = set(spatial(node))
    return formula_of(node, tuple(extent // 2 if k in inside else 0 for k, extent in enumerate(node.shape)))


def laid_over(node: Node, first: Expr) -> bool:
    """Whether the elements of a node are worked out of windows, so that they are shown place by place."""
    if not spatial(node) or node.names or node.op.elementwise or not _windowed(node):
        return False
    read = _read(flat(first))
    if not read or not all(spatial(ref.node) for pair in read for ref in pair):
        return False
    return any(axis in SPATIAL for axis, _ in summed_axes(_inside(first))) or isinstance(first, Function)


def _windowed(node: Node) -> bool:
    """Whether a node, or what it is a copy or a multiple of, reads windows."""
    return node.op.name in WINDOWED or any(operand.inline and _windowed(operand) for operand in node.inputs)


def _inside(expr: Expr) -> Expr:
    """The sum of a formula that is more than a sum: (…)/4, (…) + b."""
    match expr:
        case Sum(terms, axis) if not axis and len(terms):
            return _inside(terms[0])
        case Quotient(top, Number()):
            return _inside(top)
        case _:
            return expr


def _read(expr: Expr) -> list[tuple[Ref, ...]]:
    """The elements that a formula reads, term by term: pairs of factors, or single elements."""
    match expr:
        case Quotient(top, Number()):
            return _read(top)
        case Function("max", arguments):
            return [(one,) for one in arguments if isinstance(one, Ref)]
        case Sum(terms):
            read: list[tuple[Ref, ...]] = []
            for term in terms:
                found = _read(term)
                if not found and not (isinstance(term, Ref) and not spatial(term.node)):  # a bias
                    return []
                read.extend(found)
            return read
        case Product(factors) if len(factors) == 2:
            pair = tuple(factor for factor in factors if isinstance(factor, Ref))
            return [pair] if len(pair) == 2 else []
        case Ref():
            return [(expr,)] if spatial(expr.node) else []
        case Negation(of):
            return _read(of)
        case _:
            return []


def split(expr: Expr) -> tuple[list[Expr], Expr] | None:
    """A sum over channels or samples: its terms, and the formula with each term as one number."""
    match expr:
        case Sum(terms, axis) if axis in GROUPED and len(terms) > 1:
            own = [flat(term) for term in terms]
            return own, Sum(tuple(Worked(term) for term in own))
        case Sum(terms, axis) if axis in GROUPED and len(terms) == 1:
            return split(terms[0])
        case Sum(terms, axis) if not axis:
            for k, term in enumerate(terms):
                found = split(term)
                if found is not None:
                    return found[0], flat(Sum((*terms[:k], found[1], *terms[k + 1 :])))
            return None
        case Quotient(top, Number() as count):
            found = split(top)
            return None if found is None else (found[0], Quotient(found[1], count))
        case Product((Number() as factor, inner)):
            found = split(inner)
            return None if found is None else (found[0], Product((factor, found[1])))
        case _:
            return None


def covering(node: Node, places: Iterable[int], count: int) -> list[int]:
    """The first places of which the window covers something, as many as are wanted; others only where
    there are no such."""
    found: list[int] = []
    spare: list[int] = []
    for tried, place in enumerate(places):
        if len(found) == count or tried > TRIED:
            break
        covers = _read(flat(formula_of(node, unflat(place, node.shape))))
        (found if covers else spare).append(place)
    return sorted([*found, *spare[: count - len(found)]])


class PlaceRows:
    """Makes the rows of a node with places. `forms` gives the forms of a line, `words` the labels."""

    def __init__(self, words: Any, forms: Callable[..., list[Form]], sample: Callable[[Node, Index], str]) -> None:
        self.words = words
        self.forms = forms
        self.sample = sample

    def rows(self, node: Node, notation: Notation, places: Iterable[Index]) -> Rows:
        made: list[Place] = []
        headings: set[str] = set()
        group = ""
        for index in places:
            expr = formula_of(node, index)
            at, sample = position(node, index), self.sample(node, index)
            parts = split(expr)
            if parts is None:
                made.append(self._place(node, notation, at, "", sample, expr, Ref(node, index), headings))
                continue
            terms, closing = parts
            group = next(axis for axis, count in summed_axes(_inside(expr)) if axis in GROUPED and count > 1)
            for k, term in enumerate(terms):
                value = Worked(term)
                which = self._group(term, group, k, len(terms))
                made.append(self._place(node, notation, at if not k else "", which, sample, term, value, headings))
                sample = ""
            line = Line("", self.forms(closing, notation, False), Ref(node, index), "")
            made.append(Place("", str(self.words("sum")), [], "", line))
        return Rows(made, headings.pop() if len(headings) == 1 else "", str(self.words(group)) if group else "")

    def _group(self, term: Expr, axis: str, k: int, count: int) -> str:
        """The channel or sample of a row, by its name where it has one."""
        for ref in refs(term) if axis == "channel" else ():
            names = self.words.channels.get(ref.node.layer, ())
            if "channel" in ref.node.axes and len(names) == count == ref.node.shape[ref.node.axes.index("channel")]:
                return str(names[k])
        return str(k + 1)

    def _place(
        self, node: Node, notation: Notation, at: str, group: str, sample: str, expr: Expr, value: Ref | Worked,
        headings: set[str],
    ) -> Place:  # fmt: skip
        read = _read(flat(expr))
        line = Line("", self.forms(expr, notation, False), value, sample)
        window: list[list[Ref | None]] = []
        fed = ""
        if read and passed_back(node):
            subject = self._subject(read[0][0].node)
            fed = self._fed(subject, [pair[0] for pair in read])
            headings.add(str(self.words("fed")))
        elif read:
            window = _padded(read) if len(read[0]) == 2 else patch([pair[-1] for pair in read])
            moving = notation.array(read[0][-1].node)
            over = notation.array(read[0][0].node) if len(read[0]) == 2 else ""
            headings.add(str(self.words("under", moving=moving, over=over)) if over else str(self.words("window")))
        return Place(at, group, window, fed, line)

    def _subject(self, node: Node) -> Node:
        """The quantity that a derivative or an error belongs to: z of δ."""
        if isinstance(node.symbol, Derivative):
            return node.symbol.of
        graph: Graph = self.words.graph
        return next((n for n in graph.nodes if n.delta is not None and n.delta.id == node.id), node)

    def _fed(self, subject: Node, read: Sequence[Ref]) -> str:
        """The outputs that a place fed: `z11 z12`."""
        shown = [k for k, word in enumerate(subject.axes) if word in SPATIAL and subject.shape[k] > 1]
        whole = 1
        for k in shown:
            whole *= subject.shape[k]
        found = list(dict.fromkeys(tuple(ref.index[k] + 1 for k in shown) for ref in read))
        if len(found) == whole > 2:
            return str(self.words("all_fed", count=whole))
        name = Notation(subject.layer).one(subject)
        if max((subject.shape[k] for k in shown), default=1) < 10:
            return " ".join(name + "".join(map(str, place)) for place in found)
        return " ".join(f"{name}[{','.join(map(str, place))}]" for place in found)

    def chosen(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Chosen]:
        """Of each window, which element is its largest and what goes where in the backward pass."""
        result = node.inputs[1]
        rank = len(node.shape) - len(result.shape)
        windows = list(dict.fromkeys(index[: len(node.shape) - rank] for index in places))
        made = []
        for index in windows:
            found = _read(formula_of(result, index))
            taps = _taps(node, index, rank)
            candidates = [(Ref(node, (*index, *tap)), ref) for tap, ref in taps]
            window = patch([pair[-1] for pair in found])
            at = position(result, index)
            back = f"∂{self._loss_letter()}/∂{spot(Ref(result, index), notation)}"
            name = partial(spot, notation=notation)
            made.append(Chosen(at, self.sample(result, index), candidates, window, back, name))
        return made

    def _loss_letter(self) -> str:
        loss = self.words.graph.loss
        return Notation().array(loss) if loss is not None else "E"


def spot(ref: Ref, notation: Notation) -> str:
    """An element by its place: `x[2,2]`, as pictures count."""
    return notation.array(ref.node) + position(ref.node, ref.index)


def _taps(node: Node, window: Index, rank: int) -> list[tuple[Index, Ref]]:
    """The taps of a window that read an element, each with that element."""
    taps: list[Index] = [()]
    for extent in node.shape[len(node.shape) - rank :]:
        taps = [(*tap, place) for tap in taps for place in range(extent)]
    found = []
    for tap in taps:
        read = formula_of(node, (*window, *tap))
        refs_ = [ref for ref in _compared(read) if ref.node is node.inputs[0]]
        if refs_:
            found.append((tap, refs_[-1]))
    return found


def _compared(expr: Expr) -> list[Ref]:
    """The elements that the choices of a formula compare, outermost first."""
    from bptrace.formula.expr import Choice

    if not isinstance(expr, Choice):
        return []
    own = [side for side in (expr.left, expr.right) if isinstance(side, Ref)]
    return [*own, *_compared(expr.then), *_compared(expr.otherwise)]


def passed_back(node: Node) -> bool:
    """Whether a node is the gradient by something with places that is no parameter: what came back to it."""
    return node.phase == "backward" and isinstance(node.symbol, Derivative) and node.symbol.of.phase != "parameter"


def patch(read: Sequence[Ref]) -> list[list[Ref | None]]:
    """Elements by the row in which they stand."""
    window: dict[Any, list[Ref | None]] = {}
    for ref in read:
        axes = spatial(ref.node)
        # with channels last or in one dimension a row is what the last place axis runs along
        window.setdefault(tuple(ref.index[k] for k in axes[:-1]), []).append(ref)
    return list(window.values())


def _padded(read: Sequence[tuple[Ref, ...]]) -> list[list[Ref | None]]:
    """The patch that lies under an operand, with None where that hangs over the edge."""
    over = read[0][0].node
    axes, moving = spatial(over), spatial(read[0][1].node)
    if len(axes) != len(moving):
        return patch([pair[1] for pair in read])
    order: list[list[int]] = []
    for axis, along in zip(axes, moving, strict=True):
        pairs = sorted({(pair[0].index[axis], pair[1].index[along]) for pair in read})
        turned = len(pairs) > 1 and pairs[0][1] > pairs[-1][1]  # a kernel turned round
        order.append(list(range(over.shape[axis]))[:: -1 if turned else 1])
    found = {tuple(pair[0].index[axis] for axis in axes): pair[1] for pair in read}
    rows = product(*order[:-1])
    return [[found.get((*row, column)) for column in order[-1]] for row in rows]


def position(node: Node, index: Index) -> str:
    """A place as a page counts it: `[1,2]`; the sample and axes with one place are left out."""
    at = [
        str(place + 1)
        for k, (place, extent) in enumerate(zip(index, node.shape, strict=True))
        if extent > 1 and node.axes[k : k + 1] != ("sample",)
    ]
    return f"[{','.join(at)}]" if at else ""
