"""Data of a network: its arrays by name, checked for samples, and the rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bptrace.graph.node import Shape
from bptrace.spec.base import shape_of

if TYPE_CHECKING:
    from bptrace.errors import Problem
    from bptrace.spec.load import Spec

NAMED = {"inputs": "x", "targets": "t"}


@dataclass(frozen=True)
class Table:
    """One array of data, a row a sample (`rows[n]` is flat), with the shape of a row."""

    name: str
    kind: str
    rows: list[list[float]]
    shape: Shape
    names: tuple[str, ...] = ()
    columns: bool = False

    def values(self, samples: Sequence[int]) -> list[float]:
        """The numbers of a batch in the order in which the graph holds them."""
        chosen = [self.rows[n] for n in samples]
        if self.columns:
            return [row[i] for i in range(len(chosen[0])) for row in chosen]
        return [number for row in chosen for number in row]


def tables(spec: Spec, problems: list[Problem]) -> dict[str, Table]:
    """All arrays of `data:` by name."""
    data = spec.network.data
    if data is None:
        return {}
    columns = spec.network.conventions.sample_axis == "columns"
    found: dict[str, Table] = {}
    for kind, default in NAMED.items():
        given = getattr(data, kind)
        if given is None:
            continue
        arrays = given if isinstance(given, dict) else {default: given}
        for name, array in arrays.items():
            path = ("data", kind, name) if isinstance(given, dict) else ("data", kind)
            shape = shape_of(array)
            if name in found:
                problems.append(spec.problem(path, f"'{name}' is an input and a target", "two names"))
            if not shape or (kind == "inputs" and len(shape) < 2):
                missing = "[[...]], a row a sample" if shape else "a list with a row a sample"
                problems.append(spec.problem(path, f"the shape {list(shape)} has no axis of samples", missing))
                continue
            names = getattr(data.names, kind) if not isinstance(given, dict) else None
            table = _table(name, kind, array, columns and len(shape) == 2, tuple(names or ()))
            width = table.shape[-1] if table.shape else 1
            if names and len(names) != width:
                at = ("data", "names", kind)
                problems.append(spec.problem(at, f"{len(names)} names for {width} {kind}", f"{width} names"))
                table = _table(name, kind, array, columns and len(shape) == 2, ())
            found[name] = table
    counts = {table.name: len(table.rows) for table in found.values()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} has {count}" for name, count in counts.items())
        problems.append(spec.problem(("data",), f"the number of samples differs: {said}", "the same number"))
    return found


def _table(name: str, kind: str, array: Any, columns: bool, names: tuple[str, ...]) -> Table:
    shape = shape_of(array)
    if columns:
        array = [[row[n] for row in array] for n in range(shape[1])]
        shape = (shape[1], shape[0])
    return Table(name, kind, [_flat(row) for row in array], shape[1:], names, columns)


def _flat(value: Any) -> list[float]:
    return [number for item in value for number in _flat(item)] if isinstance(value, list) else [value]
