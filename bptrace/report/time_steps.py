"""Time steps of a recurrent layer: gates that stand together, what a state fed, sums over the steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bptrace.formula.expr import Index, Ref, addends, flat, worked, worked_leaves
from bptrace.formula.text import symbols
from bptrace.graph.node import Applied, Node, Own
from bptrace.graph.op import element, formula_of
from bptrace.report.addends import step_of
from bptrace.report.blocks import Columns, Form, Lines, Part, Table
from bptrace.report.notation import Notation, indices

Group = list[Node]
TOGETHER = ("pre_activation", "delta")
"""Quantities that each gate of a time step has, and that are shown together."""


def gathered(groups: Sequence[Group]) -> list[Group]:
    """Groups of one time step that say the same of different gates, as one: the pre-activations with
    their activations behind them, the deltas. Only such are gathered that need nothing of what
    stands between them."""
    made = [list(group) for group in groups]
    k = 0
    while k < len(made):
        head = made[k]
        if _gate(head):
            behind = k + 1
            for at in range(k + 1, len(made)):
                other = made[at]
                if not _alike(head, other) or _needs(other, made[k:at]):
                    continue
                head.extend(other)
                made[at] = []
                behind = at
            if len({node.id for node in head if node.word == head[-1].word}) > 1 and head[-1].phase == "forward":
                _activations(made, k, behind + 1)
            made[k + 1 :] = [group for group in made[k + 1 :] if group]
        k += 1
    return made


def _gate(group: Group) -> bool:
    return group[-1].step is not None and group[-1].word in TOGETHER and bool(_suffix(group[-1]))


def _alike(one: Group, other: Group) -> bool:
    """Whether two groups are the same quantity of two gates of one step."""
    if not other or not _gate(other):
        return False
    first, last = one[-1], other[-1]
    return (first.layer, first.step, first.word, first.phase) == (last.layer, last.step, last.word, last.phase) and (
        first.id.rpartition(".")[0] == last.id.rpartition(".")[0]
    )


def _activations(made: list[Group], k: int, stop: int) -> None:
    """The activations of the gates gathered at k, as one group behind them."""
    found: Group = []
    for at in range(k + 1, min(stop + 1, len(made))):
        group = made[at]
        if len(group) == 1 and len(group[0].inputs) == 1 and group[0].inputs[0] in made[k] and group[0].op.elementwise:
            found.extend(group)
            made[at] = []
    if found:
        made[k + 1 : k + 1] = [found]


def _needs(group: Group, before: Sequence[Group]) -> bool:
    """Whether a group reads something of those, beside what it would stand with."""
    here = {node for other in before for node in other}
    seen = set(group)
    waiting = list(group)
    while waiting:
        for operand in waiting.pop().inputs:
            if operand in here:
                return True
            if operand.inline and operand not in seen:
                seen.add(operand)
                waiting.append(operand)
    return False


def _suffix(node: Node) -> str:
    """What tells a gate's quantity from another's: `_i` of `z_i@1`, `δ_i@1`."""
    if not isinstance(node.symbol, Own):
        return ""
    base = node.symbol.array.partition("@")[0]
    head, joint, gate = base.rpartition("_")
    return f"_{gate}" if joint and head in ("z", "δ") else ""


def without_gate(text: str, node: Node) -> str:
    """A formula with the gate's letter left out: `z@1 = W·x@1 + U·h@0 + b`."""
    suffix = _suffix(node)
    made, k = "", 0
    while k < len(text):
        if suffix and text.startswith(suffix, k) and not text[k + len(suffix) : k + len(suffix) + 1].isalnum():
            k += len(suffix)
            continue
        made += text[k]
        k += 1
    return made


def gate_columns(nodes: Sequence[Node], notation: Notation, lines: Callable[[Node, Index], Lines]) -> list[Part]:
    """The pre-activations of the gates: unit by unit a column a term and a row a gate."""
    made: list[Part] = []
    for index in indices(nodes[0].shape):
        rows = []
        headings: list[list[str]] = []
        for node in nodes:
            whole = flat(formula_of(node, index))
            terms = list(addends(whole))
            texts = [symbols(term, notation.element) for term in [Ref(node, index), *terms]]
            headings.append([without_gate(text, node) for text in texts])
            middle = worked(whole)
            shown = middle if any(worked_leaves(middle)) else None
            label = _suffix(node).removeprefix("_")
            rows.append((label, [Form("numbers", term) for term in terms], Ref(node, index), whole, shown))
        instead = Lines([line for node in nodes for line in lines(node, index).lines], stacked=True)
        if any(heading != headings[0] for heading in headings):
            made.append(instead)
            continue
        head = [headings[0][0], *_joined(headings[0][1:])]
        made.append(Columns(head, rows, "gate", instead))
    return made


def _joined(terms: Sequence[str]) -> list[str]:
    return [f"+ {text}" if k else text for k, text in enumerate(terms)]


def over_steps(
    node: Node, places: Sequence[Index], notation: Notation, label: Callable[[Index], str], instead: Lines, word: str,
    step_word: Callable[[int], str],
) -> Columns | None:  # fmt: skip
    """A parameter's gradient whose terms come from different time steps: a column a step."""
    rows = []
    steps: list[int] = []
    for index in places:
        whole = flat(formula_of(node, index))
        terms = list(addends(whole))
        if len(terms) < 2:
            return None
        found = [step_of(term) for term in terms]
        own = [step for step in found if step is not None]
        if len(own) < len(terms) or len(set(own)) < max(len(own), 2) or steps not in ([], own):
            return None
        steps = own
        middle = worked(whole)
        shown = middle if any(worked_leaves(middle)) else None
        rows.append((label(index), [Form("numbers", term) for term in terms], Ref(node, index), whole, shown))
    headings = [notation.one(node), *_joined([step_word(step) for step in steps])]
    return Columns(headings, rows, word, instead) if rows else None


def delta_tables(stages: Iterable[list[Part]], words: Any) -> list[Part]:
    """The steps to the gates' deltas, each step of all gates in one table."""
    made: list[Part] = []
    for parts in stages:
        tables = [part for part in parts if isinstance(part, Table)]
        made.extend(part for part in parts if not isinstance(part, Table))
        if not tables:
            continue
        rows = [row for table in tables for row in table.rows]
        heading, operators = str(words("gate")), tables[0].headings
        general = [heading, str(words("factor")), f"· {words('factor')}"]
        same = all(table.headings == operators for table in tables)
        made.append(Table(operators if same and len(tables) == 1 else general, rows, _stage(rows[-1].value, words)))
    return made


def _stage(value: object, words: Any) -> str:
    """What the lines of one step to the deltas work out."""
    node = value.node if isinstance(value, Ref) else None
    if node is not None and node.word == "delta":
        return "δ"
    derivative = node is not None and isinstance(node.symbol, Applied)
    return str(words("local_derivative" if derivative else "arriving"))


def arriving(nodes: Sequence[Node], most: int) -> list[tuple[str, list[Ref]]]:
    """What a time step reads: the input of the step, and the states before it."""
    made: dict[str, list[Ref]] = {}
    for node in nodes:
        for operand in node.inputs:
            if operand.step is None or not isinstance(operand.symbol, Own) or operand in nodes:
                continue
            name = operand.symbol.array
            if name in made or len(operand.shape) != 2 or operand.shape[1] > most:
                continue
            read = [element(operand, (0, k)) for k in range(operand.shape[1])]
            if all(isinstance(one, Ref) for one in read):
                made[name] = [one for one in read if isinstance(one, Ref)]
    return list(made.items())


def is_gathered(nodes: Sequence[Node]) -> bool:
    """Whether nodes of several gates stand together."""
    return nodes[-1].step is not None and len({node.block for node in nodes}) > 1


def id_of(nodes: Sequence[Node]) -> str:
    """The ids under which the gates' quantities are asked for."""
    return " ".join(dict.fromkeys(node.block for node in nodes))


def by_stage(nodes: Sequence[Node]) -> list[list[Node]]:
    """The nodes of several deltas, step by step: what arrives, the local derivatives, the deltas."""
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        groups.setdefault(node.block, []).append(node)
    longest = max(map(len, groups.values()))
    stages: list[list[Node]] = [[] for _ in range(longest)]
    for group in groups.values():
        for k, node in enumerate(reversed(group)):
            stages[longest - 1 - k].append(node)
    return stages


def captions_of(nodes: Sequence[Node], texts: Sequence[str]) -> list[str]:
    """The formulas of a caption: of pre-activations the one that all gates have, of activations the
    functions, of deltas their own."""
    word = nodes[-1].word
    if word == "pre_activation":
        return [without_gate(text, node) for node, text in zip(nodes, texts, strict=True)]
    if word == "delta":
        # of local derivatives one a function; what arrives is named in the table
        first = {node.op: node for node in reversed(nodes) if isinstance(node.symbol, Applied)}
        said = {node for node in nodes if node.word == "delta"} | set(first.values())
        return [text if node in said else "" for node, text in zip(nodes, texts, strict=True)]
    return [" = ".join(text.split(" = ")[:2]) for text in texts]
