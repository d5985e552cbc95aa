"""What a `graph:` says as a whole: every name is defined once, nothing depends on itself, in which order."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bptrace.spec.base import Complaint
from bptrace.spec.expression import Expression, ExpressionError, Name, dependencies, parse

__all__ = ["GraphCheck", "check_graph"]


@dataclass(frozen=True)
class GraphCheck:
    """Parsed expressions, their names in an order in which they can be computed, what is wrong."""

    expressions: Mapping[str, Expression] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    complaints: tuple[Complaint, ...] = ()


def check_graph(graph: Mapping[str, str], given: Iterable[str], names: Iterable[str] = ()) -> GraphCheck:
    """Parse all expressions; find undefined names and cycles. `given` are inputs and parameters,
    `names` what `graph:` defines besides (expressions that are refused elsewhere).

    The order is that of the file wherever dependencies allow.
    """
    given = [unicodedata.normalize("NFC", name) for name in given]
    complaints: list[Complaint] = []
    expressions: dict[str, Expression] = {}
    keys = {unicodedata.normalize("NFC", key): key for key in graph}
    for name, key in keys.items():
        if name in given:
            message = f"'{name}' is also an input or a parameter"
            complaints.append(Complaint(("graph", key), message, "a name of its own", at_key=True))
        try:
            expressions[name] = parse(graph[key])
        except ExpressionError as error:
            message = f"{error.message}; {error.hint}" if error.hint else error.message
            complaints.append(Complaint(("graph", key), message, offset=error.column))
    known = tuple(dict.fromkeys((*given, *keys, *names)))
    for name, expression in expressions.items():
        for used in dependencies(expression):
            if used.id not in known:
                message = f"'{used.id}' is not defined"
                path = ("graph", keys[name])
                complaints.append(Complaint(path, message, known=known, got=used.id, offset=used.column))
    order, cycles = _sorted(expressions, set(given))
    for cycle in cycles:
        first, last = cycle[0], cycle[-1]
        message = "a cycle: " + " <- ".join([*(name.id for name in cycle), first.id])
        path = ("graph", keys[last.id])
        complaints.append(Complaint(path, message, "expressions without a circle", offset=first.column))
    return GraphCheck(expressions, order, tuple(complaints))


def _sorted(
    expressions: Mapping[str, Expression], given: set[str]
) -> tuple[tuple[str, ...], list[list[Name]]]:
    """Names so that each comes after what it needs, and the cycles that prevent it.

    A cycle is the list of references that lead round; the last refers back to the first.
    """
    needs = {
        name: [used for used in dependencies(tree) if used.id in expressions and used.id not in given]
        for name, tree in expressions.items()
    }
    done: dict[str, None] = {}
    cycles: list[list[Name]] = []
    for start in expressions:
        path = [] if start in done else [Name(start, 0)]
        on_path = {start}
        waiting = [iter(needs[start])]
        while path:
            used = next(waiting[-1], None)
            if used is None:
                waiting.pop()
                on_path.remove(path[-1].id)
                done[path.pop().id] = None
            elif used.id in on_path:
                at = next(i for i, name in enumerate(path) if name.id == used.id)
                cycles.append([used, *path[at + 1 :]])
            elif used.id not in done:
                path.append(used)
                on_path.add(used.id)
                waiting.append(iter(needs[used.id]))
    return tuple(done), cycles
