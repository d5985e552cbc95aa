"""The derivation of one number: its formula, then those of the numbers in it, down to what is given.

Each step stands once, where it is nearest to the number asked for; elsewhere a remark points there.
The steps hold formulas with the numbers still to be put in, so that any writer can show them.
"""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.errors import UsageError
from bptrace.formula.expr import (
    ONE,
    Choice,
    Expr,
    Index,
    Negation,
    Number,
    Product,
    Ref,
    Sum,
    Worked,
    children,
    flat,
    rebuild,
    refs,
    worked,
)
from bptrace.formula.text import symbols
from bptrace.graph.graph import Graph
from bptrace.graph.lookup import LookupFailedError, Part, element_id, find_part, formula, index_of
from bptrace.graph.node import Derivative, Node, Updated
from bptrace.graph.op import formula_of
from bptrace.ops.leaves import Leaf
from bptrace.report.blocks import Form
from bptrace.report.data import constant
from bptrace.report.derivation import id_of, in_a_row, operands_of, sources_of, subjects_of, with_dots, worked_inside
from bptrace.report.explanation import Explanation, Remark, Step
from bptrace.report.labels import Words
from bptrace.report.notation import Notation, indices
from bptrace.report.numbers import Numbers, short
from bptrace.report.sections import Title

if TYPE_CHECKING:
    from bptrace.trace import Trace

LISTED = 8
"""Names that are listed one by one; of more, their count."""


READ = 200_000
"""Elements of formulas that are looked through for one number; beyond, whole nodes are named."""

LONGEST_PASS = 8
"""Samples of the Fisher pass that are gone through without being asked for."""


class _Names(Notation):
    """Names in a derivation: settings by their symbol, as in the captions of the page."""

    def _own(self, node: Node, array: str, index: Index) -> str:
        return array if node.phase == "setting" and not index else super()._own(node, array, index)


@dataclass(frozen=True, slots=True)
class _At:
    """A number: an element in an iteration."""

    iteration: int
    ref: Ref


class _Explainer:
    def __init__(
        self, trace: Trace, text: str, iteration: int, depth: int | None, through: int, digits: int | None,
        words: Words, terms: int | None, net: str,
    ) -> None:  # fmt: skip
        self.trace = trace
        self.text = text
        self.iteration = iteration
        self.first = iteration - through + 1
        self.depth = depth
        self.digits = digits
        self.words = words
        self.terms = terms
        self.net = net or trace.spec.file
        self.names = _Names()
        self._numbers: dict[int, Numbers] = {}
        self._formulas: dict[_At, Expr] = {}
        self._subjects: dict[Node, Node] = {}

    def explanation(self, part: Part) -> Explanation:
        index = index_of(part.node, part.elements[0])
        ref = Ref(part.node, index)
        if part.label:
            addend = flat(formula(part, part.elements[0]))
            if not isinstance(addend, Ref):
                label = part.label
                steps = list(self._addend(self.names.element(ref) + label, id_of(ref) + label, addend))
                feeds = self.names.element(ref)
                return Explanation(self._title(id_of(ref) + label), steps, None, feeds, self.words, self.digits)
            ref = addend  # the addend is a number of the graph
        asked = _At(self.iteration, ref)
        steps = list(self._steps({asked: 0}, [(asked, 0)]))
        return Explanation(
            self._title(id_of(ref)), steps, self._product(ref), self._feeds(asked), self.words, self.digits
        )

    def _title(self, id: str) -> Title:
        place = self.words("page_iteration", i=self.iteration, n=self.trace.count)
        return Title(id if id == self.text else f"{self.text} = {id}", place)

    # the steps

    def _addend(self, name: str, id: str, expr: Expr) -> Iterator[Step | Remark]:
        """The derivation of a part of a formula, which is no number of the graph itself."""
        whole = self._short(expr)
        yield Step(0, name, self._forms(whole), Worked(whole), self.numbers(self.iteration))
        yield from self._left_out(whole, id, 0)
        below = [_At(self.iteration, ref) for ref in operands_of(whole)]
        yield from self._steps(dict.fromkeys(below, 1), [(at, 1) for at in below])

    def _steps(self, levels: dict[_At, int], roots: Sequence[tuple[_At, int]]) -> Iterator[Step | Remark]:
        """The steps from `roots` on; `levels` is filled with how near each number can be reached."""
        waiting = deque(roots)
        while waiting:
            at, level = waiting.popleft()
            for operand in self._operands(at) if self._opened(level) else ():
                if operand not in levels:
                    levels[operand] = level + 1
                    waiting.append((operand, level + 1))
        done: set[_At] = set()
        given: set[tuple[int, str]] = set()  # one name may stand for several elements: b1
        stack = list(reversed(roots))
        while stack:
            at, level = stack.pop()
            done.add(at)
            if not self._operands(at) and isinstance(at.ref.node.op, Leaf):
                if (name := (at.iteration, self.names.element(at.ref))) in given:
                    continue
                given.add(name)
            yield self._step(at, level)
            if not isinstance(at.ref.node.op, Leaf):
                yield from self._left_out(self._formula(at), id_of(at.ref), level)
            opened = [o for o in self._operands(at) if self._opened(level) and levels[o] == level + 1 and o not in done]
            yield from self._elsewhere(at, level, levels, done, opened)
            stack.extend((operand, level + 1) for operand in reversed(opened))

    def _elsewhere(
        self, at: _At, level: int, levels: dict[_At, int], done: set[_At], opened: Sequence[_At]
    ) -> Iterator[Remark]:
        """Where the operands are explained that are not opened here."""
        others = [operand for operand in self._operands(at) if operand not in opened]
        steps = [operand for operand in others if operand in levels and self._operands(operand)]
        for key, found in (
            ("see_above", [operand for operand in steps if operand in done]),
            ("see_below", [operand for operand in steps if operand not in done]),
        ):
            if found:
                yield Remark(level + 1, self.words(key, names=", ".join(self._name(o, at.iteration) for o in found)))
        hidden = [operand for operand in others if operand not in levels]
        if hidden:
            yield Remark(level + 1, self.words("continues", leaves=", ".join(self._leaves(hidden))))

    def _opened(self, level: int) -> bool:
        return self.depth is None or level <= self.depth

    def _step(self, at: _At, level: int) -> Step:
        numbers = self.numbers(at.iteration)
        name = self.names.element(at.ref)
        if isinstance(at.ref.node.op, Leaf):
            return Step(level, name, [], at.ref, numbers, self._note(at))
        return Step(level, name, self._forms(self._formula(at)), at.ref, numbers)

    def _note(self, at: _At) -> str:
        """Where a given number comes from."""
        node = at.ref.node
        carried = self.trace.assembly(at.iteration).graph.carry.get(node) is node
        if carried and node.id.startswith("state.fisher."):
            return self.words("from_fisher_pass")
        before = self._before(at)
        if before is not None:
            if self._operands(at):
                return self.words("next_iteration", name=self.names.element(before.ref), i=before.iteration)
            return self.words("parameter_before", count=self.iteration - before.iteration + 1)
        if node.phase == "setting":
            return self.words("setting", name=node.id.removeprefix("setting."))
        if node.phase == "data":
            return self._unscaled(at) or self.words("given_data")
        return self.words("starting_parameter")

    def _unscaled(self, at: _At) -> str:
        """Of a scaled number: what the file has, and how it became this one."""
        node, index = at.ref.node, at.ref.index
        table = self.trace.assembly(at.iteration).tables.get(node.id)
        if table is None or table.scaling is None or table.unscaled is None or "sample" not in node.axes:
            return ""
        axis = node.axes.index("sample")
        row = self.trace.samples(at.iteration)[index[axis]]
        place = 0
        for k, extent in enumerate(node.shape):
            place = place if k == axis else place * extent + index[k]
        shift, divisor = table.scaling.shift[place], table.scaling.divisor[place]
        value = short(table.unscaled[row - 1][place])
        moved = f"({value} {'-' if shift > 0 else '+'} {constant(abs(shift), self.digits)})" if shift else value
        worked = f"{moved}/{constant(divisor, self.digits)}"
        return self.words("scaled_data", worked=worked, row=row)

    def _forms(self, whole: Expr) -> list[Form]:
        """With symbols, with numbers, then worked out operation by operation until nothing is left to do."""
        forms = [Form("symbols", whole, symbols(with_dots(whole), self.names.element)), Form("numbers", whole)]
        middle = whole
        while not isinstance(whole, Choice):
            before, middle = middle, worked(middle)
            done = isinstance(middle.of if isinstance(middle, Negation) else middle, Worked)
            if middle == before or done:
                break
            forms.append(Form("middle", middle))
        return forms

    def _left_out(self, expr: Expr, id: str, level: int) -> Iterator[Remark]:
        """What a `…` in a long sum stands for."""
        for leaf in worked_inside(expr):
            command = f"bptrace explain {shlex.quote(self.net)} {shlex.quote(id)} --max-terms all"
            count = len(children(leaf.of))
            yield Remark(level + 1, self.words("terms_behind_dots", count=count, command=command))

    # what is read

    def numbers(self, iteration: int) -> Numbers:
        """The numbers of an iteration, written as on its page."""
        if iteration not in self._numbers:
            assembly = self.trace.assembly(iteration)
            given = [*assembly.held, *(assembly.trainable if iteration == 1 else ())]
            constant = {node for node in given if node.id not in assembly.drawn}
            paper = self.trace.spec.network.conventions.rounding != "none"
            self._numbers[iteration] = Numbers(self.trace.values(iteration), constant, self.digits, paper)
        return self._numbers[iteration]

    def _formula(self, at: _At) -> Expr:
        """The formula as the page counts its terms; a copy under the same name is looked through."""
        found = self._formulas.get(at)
        if found is None:
            whole = flat(formula_of(at.ref.node, at.ref.index))
            name = self.names.element(at.ref)
            while isinstance(whole, Ref) and self.names.element(whole) == name and not isinstance(whole.node.op, Leaf):
                whole = flat(formula_of(whole.node, whole.index))
            found = self._formulas[at] = self._short(whole)
        return found

    def _short(self, expr: Expr) -> Expr:
        """The terms of each sum in one row, those in the middle of a long one as their value."""
        if not isinstance(expr, Sum):
            return rebuild(expr, self._short)
        terms = [self._short(term) for term in in_a_row(expr)]
        most = len(terms) if self.terms is None else max(2, self.terms)
        if len(terms) > most:
            first = (most + 1) // 2
            last = len(terms) - (most - first)
            terms[first:last] = [Worked(Sum(tuple(terms[first:last])))]
        return Sum(tuple(terms))

    def _operands(self, at: _At) -> list[_At]:
        """The numbers that a step reads, in reading order."""
        if not isinstance(at.ref.node.op, Leaf):
            return [_At(at.iteration, ref) for ref in operands_of(self._formula(at))]
        before = self._before(at)
        return [before] if before is not None and before.iteration >= self.first else []

    def _before(self, at: _At) -> _At | None:
        """The number of the iteration before that a leaf has taken over."""
        if at.iteration == 1:
            return None
        graph = self.trace.assembly(at.iteration - 1).graph
        leaf = graph.by_id.get(at.ref.node.id)
        source = graph.carry.get(leaf) if leaf is not None else None
        return None if source is None else _At(at.iteration - 1, Ref(source, at.ref.index))

    def _leaves(self, hidden: Sequence[_At]) -> list[str]:
        """The data that hidden steps come down to, or whatever else is given, by name."""
        graph = self.trace.assembly(hidden[0].iteration).graph
        nodes = graph.ancestors({at.ref.node for at in hidden})
        given = [node for node in graph.nodes if node in nodes and isinstance(node.op, Leaf)]
        order = {node: k for k, node in enumerate(given)}
        kinds = [[n for n in given if n.phase == phase] for phase in ("data", "parameter", "setting")]
        chosen = next((kind for kind in kinds if kind), [])
        if sum(node.size for node in nodes) > READ // 100:
            return [node.id for node in chosen]
        found: dict[_At, None] = dict.fromkeys(hidden)
        waiting = deque(hidden)
        while waiting:
            for operand in self._operands(waiting.popleft()):
                if operand not in found:
                    found[operand] = None
                    waiting.append(operand)
        leaves = sorted({at.ref for at in found if at.ref.node in chosen}, key=lambda ref: (order[ref.node], ref.index))
        listed = [self.names.element(ref) for ref in leaves]
        return listed if len(listed) <= LISTED else [*listed[: LISTED - 2], "…", listed[-1]]

    def _name(self, at: _At, iteration: int) -> str:
        """A number's name, with its iteration where that is another one."""
        name = self.names.element(at.ref)
        return name if at.iteration == iteration else self.words("next_iteration", name=name, i=at.iteration)

    # the closing part

    def _product(self, asked: Ref) -> Step | None:
        """The chain rule in one line, where every gradient on the way is a product or a copy of the next."""
        graph = self.trace.assembly(self.iteration).graph
        self._subjects = subjects_of(graph)
        start = asked
        if isinstance(asked.node.symbol, Updated):
            of = [r for r in operands_of(self._of(asked)) if self._subjects.get(r.node) is asked.node.symbol.of]
            if len(of) != 1:
                return None
            start = of[0]
        if start.node not in self._subjects:
            return None
        factors: list[tuple[str, Expr]] = []
        gradient = start
        while True:
            whole = self._of(gradient)
            parts = whole.factors if isinstance(whole, Product) else (whole, ONE)
            below = [part for part in parts if isinstance(part, Ref) and part.node in self._subjects]
            if not any(ref.node in self._subjects or ref.node.word == "delta" for ref in operands_of(whole)):
                break  # here the loss itself is differentiated
            if len(parts) != 2 or len(below) != 1:
                return None
            other = parts[1] if parts[0] is below[0] else parts[0]
            if not isinstance(other, Ref | Number):
                return None
            upper = self._subject_name(below[0])
            factors.insert(0, (f"∂{upper}/∂{self._subject_name(gradient)}", other))
            gradient = below[0]
        if not factors:
            return None
        top = Notation().one(graph.loss) if graph.loss is not None else "E"
        factors.insert(0, (f"∂{top}/∂{self._subject_name(gradient)}", gradient))
        expr = Product(tuple(factor for _, factor in factors))
        forms = [Form("symbols", expr, " · ".join(name for name, _ in factors)), Form("numbers", expr)]
        return Step(0, self.names.element(start), forms, start, self.numbers(self.iteration))

    def _of(self, ref: Ref) -> Expr:
        return self._formula(_At(self.iteration, ref))

    def _subject_name(self, gradient: Ref) -> str:
        return self.names.element(Ref(self._subjects[gradient.node], gradient.index))

    def _feeds(self, at: _At) -> str:
        """What reads the number, in this iteration and as the start of the next."""
        graph = self.trace.assembly(at.iteration).graph
        names = list(dict.fromkeys(name for node in graph.nodes for name in self._readers(node, at.ref)))
        said = [", ".join(names) or self.words("nothing_fed")]
        for leaf, source in graph.carry.items():
            if source is at.ref.node:
                name = self.names.element(Ref(leaf, at.ref.index))
                said.append(self.words("next_iteration", name=name, i=at.iteration + 1))
        return "; ".join(said)

    def _readers(self, node: Node, read: Ref) -> list[str]:
        """The elements of a node whose formula reads a number."""
        if node.inline or node.phase == "check" or not node.size or read.node not in sources_of(node):
            return []
        places = indices(node.shape) if node.size <= READ else []
        if not places or node.size * sum(1 for _ in refs(formula_of(node, places[0]))) > READ:
            return [node.id]
        found = [self.names.element(Ref(node, i)) for i in places if any(r == read for r in refs(formula_of(node, i)))]
        if len(found) > LISTED:
            return [self.words("elements_of", count=len(found), id=node.id)]
        return found


def explain(
    trace: Trace,
    text: str,
    *,
    iteration: int | None = None,
    depth: int | None = 4,
    through: int = 1,
    digits: int | None = 9,
    language: str = "en",
    terms: int | None = 8,
    net: str = "",
) -> Explanation:
    """Explain the number that `text` names, in the last recorded iteration unless another is given.

    Steps up to `depth` levels away are opened (None: all); starting parameters are opened into the
    updates of the iterations before, `through` iterations in all; sums of more than `terms` addends
    show the first and the last, and name the command that shows all of them (`net` is the network's name
    there). A name of nothing is a LookupFailedError, that of several numbers a UsageError that lists them.
    """
    if iteration is None:
        if not trace.recorded:
            raise UsageError("no iteration is recorded")
        iteration = trace.recorded[-1]
    graph = trace.assembly(iteration).graph
    part = find_part(graph, text)
    before = trace.fisher_pass if part.node.id.startswith("state.fisher.") and len(part.elements) == 1 else None
    if before is not None:  # worked out sample by sample, which are the iterations of that pass
        trace, iteration = before, before.count
        graph = trace.assembly(iteration).graph
        part = Part(graph.by_id[f"new.{part.node.id}"], part.elements)
        text = element_id(part.node, part.elements[0])
        through = max(through, min(trace.count, LONGEST_PASS))
    if len(part.elements) != 1:
        raise UsageError(f"{text} is {len(part.elements)} numbers; ask for one of them: {_choices(graph, part)}")
    words = Words(language)
    return _Explainer(trace, text.strip(), iteration, depth, through, digits, words, terms, net).explanation(part)


def _choices(graph: Graph, part: Part) -> str:
    label = part.label
    names = [typed_name(graph, part.node, element) + label for element in part.elements[: LISTED + 1]]
    if len(part.elements) > LISTED + 1:
        names[LISTED - 1 :] = ["...", typed_name(graph, part.node, part.elements[-1]) + label]
    return ", ".join(names)


def typed_name(graph: Graph, node: Node, element: int) -> str:
    """The shortest name under which an element can be asked for: `new.w5`, else its id."""
    id = element_id(node, element)
    subject, prefix = node, ""
    match node.symbol:
        case Updated(of):
            subject, prefix = of, "new."
        case Derivative(_, of, "") if node.id == f"grad.{of.id}":
            subject, prefix = of, "grad."
    name = Notation().element(Ref(subject, index_of(subject, element))) if subject.names else ""
    try:
        found = find_part(graph, prefix + name) if name else None
    except LookupFailedError:
        found = None
    return prefix + name if found == Part(node, (element,)) else id
