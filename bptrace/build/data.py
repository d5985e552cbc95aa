"""Data of a network: its arrays by name, checked for samples, split, scaled, and the rows of a batch."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from bptrace.graph.node import Shape
from bptrace.spec.base import RESERVED, name_fault, shape_of

if TYPE_CHECKING:
    from bptrace.data.scaling import Scaling
    from bptrace.data.source import ArrayRead, Source
    from bptrace.errors import Problem
    from bptrace.spec.data import Data
    from bptrace.spec.load import Spec

NAMED = {"inputs": "x", "targets": "t"}
MOST_NAMES = 16
"""Columns of a file up to which each has a name of its own on the page."""
MOST_CONSTANT = 8
"""Columns of one array that do not vary of which each is reported."""
FEW_DECIMALS = 9
"""Decimals of a scaled number up to which it is written as short as a given one."""


@dataclass(frozen=True)
class Parts:
    """What the rows of the data are used for: numbers of rows, from 0, each part in the order of the data.

    Only `training` rows are ever in a batch; the others are looked at and never learnt from.
    """

    training: Sequence[int]
    validation: Sequence[int] = ()
    test: Sequence[int] = ()


@dataclass(frozen=True)
class Table:
    """One array of data, a row a sample (`rows[n]` is flat), with the shape of a row.

    `labels` are the columns' names in the file, `scaling` what has been done to them and `unscaled` the
    rows before that; `long` says whether some scaled number has more decimals than a page shows.
    """

    name: str
    kind: str
    rows: list[list[float]]
    shape: Shape
    names: tuple[str, ...] = ()
    columns: bool = False
    labels: tuple[str, ...] = ()
    one_hot: tuple[bool, ...] = ()
    scaling: Scaling | None = None
    unscaled: list[list[float]] | None = None
    long: bool = False

    def values(self, samples: Sequence[int]) -> list[float]:
        """The numbers of a batch in the order in which the graph holds them."""
        chosen = [self.rows[n] for n in samples]
        if self.columns:
            return [row[i] for i in range(len(chosen[0])) for row in chosen]
        return [number for row in chosen for number in row]


@dataclass(frozen=True)
class DataRows:
    """All data of a network: its arrays by name, what their rows are used for, and how it came about.

    `filled` says of each column with missing cells how many, and the number that they got.
    """

    tables: dict[str, Table]
    parts: Parts
    source: Source | None = None
    filled: dict[str, tuple[int, float]] = field(default_factory=dict)


_DONE: WeakKeyDictionary[Spec, DataRows] = WeakKeyDictionary()


def data_rows(spec: Spec, problems: list[Problem]) -> DataRows:
    """The data, which are worked out once for all graphs of a network."""
    done = _DONE.get(spec)
    if done is None:
        before = len(problems)
        done = _data_rows(spec, problems)
        if len(problems) == before:
            _DONE[spec] = done
    return replace(done, tables=dict(done.tables))


def _data_rows(spec: Spec, problems: list[Problem]) -> DataRows:
    data = spec.network.data
    if data is None:
        return DataRows({}, Parts(range(1)))
    found = _tables(spec, data, problems)
    counts = {table.name: len(table.rows) for table in found.values()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} has {count}" for name, count in counts.items())
        problems.append(spec.problem(("data",), f"the number of samples differs: {said}", "the same number"))
    if problems or not found:
        return DataRows(found, Parts(range(next(iter(counts.values()), 1))), spec.source)
    found = _chosen_rows(spec, data, found, problems)
    parts = _parts(spec, data, found, problems)
    size, trained = spec.network.training.batch_size, len(parts.training)
    if size != "all" and size > trained and not problems:
        said = f"{size:,} samples a batch, and {trained:,} rows are trained on"
        problems.append(spec.problem(("training", "batch_size"), said, f"all, or 1 to {trained:,}"))
    if not problems:
        _check_classes(spec, data, found, parts, problems)
    constants: dict[str, tuple[int, float]] = {}
    if not problems:
        for name, table in found.items():
            found[name] = _finished(spec, data, table, parts, constants, problems)
    return DataRows(found, parts, spec.source, constants)


def _tables(spec: Spec, data: Data, problems: list[Problem]) -> dict[str, Table]:
    """The arrays of a file, and those that stand in the YAML."""
    found: dict[str, Table] = {}
    for array in spec.source.arrays if spec.source else ():
        columns = spec.network.conventions.sample_axis == "columns" and len(array.shape) == 1
        own = getattr(data.names, array.kind) if not isinstance(getattr(data, array.kind), dict) else None
        names = tuple(own) if own else _aliases(array, found)
        table = Table(
            array.name, array.kind, array.rows, array.shape, names, columns, array.labels, array.one_hot
        )  # fmt: skip
        _add(spec, table, own, found, problems)
    columns = spec.network.conventions.sample_axis == "columns"
    for kind, default in NAMED.items():
        given = getattr(data, kind)
        if given is None or _named_columns(given):
            continue
        arrays = given if isinstance(given, dict) else {default: given}
        for name, array in arrays.items():
            path = ("data", kind, name) if isinstance(given, dict) else ("data", kind)
            shape = shape_of(array)
            if not shape or (kind == "inputs" and len(shape) < 2):
                missing = "[[...]], a row a sample" if shape else "a list with a row a sample"
                problems.append(spec.problem(path, f"the shape {list(shape)} has no axis of samples", missing))
                continue
            own = getattr(data.names, kind) if not isinstance(given, dict) else None
            _add(spec, _table(name, kind, array, columns and len(shape) == 2, tuple(own or ())), own, found, problems)
    if data.targets == "inputs" and not spec.source and "x" in found:
        found["t"] = replace(found["x"], name="t", kind="targets", names=tuple(data.names.targets or ()))
    return found


def _add(spec: Spec, table: Table, names: Any, found: dict[str, Table], problems: list[Problem]) -> None:
    kind = table.kind
    if table.name in found:
        assert spec.network.data is not None
        given = getattr(spec.network.data, kind)
        path = ("data", kind, table.name) if isinstance(given, dict) else ("data", kind)
        problems.append(spec.problem(path, f"'{table.name}' is an input and a target", "two names"))
    width = table.shape[-1] if table.shape else 1
    if names and len(names) != width:
        at = ("data", "names", kind)
        problems.append(spec.problem(at, f"{len(names)} names for {width} {kind}", f"{width} names"))
        table = replace(table, names=())
    found[table.name] = table


def _named_columns(given: Any) -> bool:
    """Whether inputs or targets are names of what is in a file."""
    items = given.values() if isinstance(given, dict) else [given]
    return any(isinstance(item, str) or (isinstance(item, list) and isinstance(item[0], str)) for item in items)


def _aliases(array: ArrayRead, found: dict[str, Table]) -> tuple[str, ...]:
    """The columns' own names, where all can be made names and there are few enough of them."""
    if not 0 < len(array.labels) <= MOST_NAMES or (array.kind == "targets" and array.labels == _labels(found)):
        return ()
    names = tuple(_alias(label) for label in array.labels)
    taken = {name for table in found.values() for name in table.names}
    usable = len(set(names)) == len(names) and not taken.intersection(names)
    return names if usable and not any(name_fault(name) or name in RESERVED for name in names) else ()


def _labels(found: dict[str, Table]) -> tuple[str, ...]:
    return next((table.labels for table in found.values()), ())


def _alias(label: str) -> str:
    """A column's name with `_` for what cannot stand in a name."""
    letters = unicodedata.normalize("NFC", label)
    return "".join(c if not name_fault("a" + c) else "_" for c in letters).strip("_")


def _table(name: str, kind: str, array: Any, columns: bool, names: tuple[str, ...]) -> Table:
    shape = shape_of(array)
    if columns:
        array = [[row[n] for row in array] for n in range(shape[1])]
        shape = (shape[1], shape[0])
    return Table(name, kind, [_flat(row) for row in array], shape[1:], names, columns)


def _flat(value: Any) -> list[float]:
    return [number for item in value for number in _flat(item)] if isinstance(value, list) else [value]


# what is done with the rows


def _chosen_rows(spec: Spec, data: Data, found: dict[str, Table], problems: list[Problem]) -> dict[str, Table]:
    """Only the rows that `rows:` asks for."""
    first, last = data.rows.first, data.rows.last
    count = len(next(iter(found.values())).rows)
    for key, wanted in (("first", first), ("last", last or 1)):
        if wanted > count:
            problems.append(spec.problem(("data", "rows", key), f"there is no row {wanted:,}", f"1 to {count:,}"))
            return found
    if (first, last or count) == (1, count):
        return found
    return {name: replace(table, rows=table.rows[first - 1 : last]) for name, table in found.items()}


def _parts(spec: Spec, data: Data, found: dict[str, Table], problems: list[Problem]) -> Parts:
    """The rows trained on, validated and tested with."""
    count = len(next(iter(found.values())).rows)
    if data.split is None and data.folds is None:
        return Parts(range(count))
    from bptrace.data.split import fold, order_of, rows_of, split, stratified

    chosen = data.split or data.folds
    assert chosen is not None
    order = order_of(count, chosen.order == "shuffle", chosen.seed)
    sizes = {"validation": 0, "test": 0}
    for part in sizes if data.split is not None else ():
        wanted = getattr(data.split, part)
        sizes[part] = rows_of(wanted, count)
        if wanted and not sizes[part]:
            said = f"{wanted:g} of {count:,} rows is less than half a row"
            problems.append(spec.problem(("data", "split", part), said, "a larger share"))
    left = count - sum(sizes.values())
    if left < 1:
        said = f"{sizes['validation']:,} and {sizes['test']:,} of {count:,} rows leave none to train on"
        problems.append(spec.problem(("data", "split"), said, "fewer"))
        return Parts(range(count))
    training, validation, test = split(order, sizes["validation"], sizes["test"])
    if data.split is not None and data.split.stratify:
        classes = _classes(spec, found, problems)
        if classes:
            training, validation, test = stratified(order, classes, data.split.validation, data.split.test)
        order, left = [*training, *validation, *test], count - len(test)
    if data.folds is not None:
        if data.folds.count > left:
            said = f"{data.folds.count:,} folds of {left:,} rows"
            problems.append(spec.problem(("data", "folds", "count"), said, f"2 to {left:,}"))
            return Parts(range(count))
        training, validation = fold(order[:left], data.folds.count, data.folds.hold_out)
    return Parts(training, validation, test)


def _classes(spec: Spec, found: dict[str, Table], problems: list[Problem]) -> list[tuple[float, ...]]:
    """The class of each row, by which a split is stratified; none where the targets are numbers."""
    table = next((table for table in found.values() if table.kind == "targets"), None)
    classes = [tuple(row) for row in table.rows] if table is not None else []
    sizes = Counter(classes)
    alone = next((n for n, own in enumerate(classes) if sizes[own] == 1), None) if classes else 0
    if alone is not None:
        said = f"no other row is of the class of row {alone + 1}" if classes else "no targets"
        problems.append(spec.problem(("data", "split", "stratify"), said, "targets that are classes"))
        return []
    return classes


def _check_classes(
    spec: Spec, data: Data, found: dict[str, Table], parts: Parts, problems: list[Problem]
) -> None:
    """Refuse classes among the targets that no row trained on has: nothing could be learnt of them."""
    columns = spec.source.classes if spec.source else {}
    for table in found.values():
        for k, label in enumerate(table.labels if table.kind == "targets" else ()):
            if not table.one_hot[k] or any(table.rows[n][k] for n in parts.training):
                continue
            column = next(name for name in columns if label.startswith(f"{name}_"))
            said = f"no row that is trained on is of the class {label.removeprefix(f'{column}_')} of {column}"
            path = ("data", "categories", column) if isinstance(data.categories.get(column), tuple) else ("data",)
            expected = "at least one row of each class (other rows, or split: {..., stratify: true})"
            problems.append(spec.problem(path, said, expected))


def _finished(
    spec: Spec, data: Data, table: Table, parts: Parts, constants: dict[str, tuple[int, float]], problems: list[Problem]
) -> Table:
    """The table with missing cells filled, then scaled."""
    if data.missing != "refuse":
        from bptrace.data.scaling import filled

        rule = data.missing if isinstance(data.missing, str) else data.missing.value
        try:
            rows, found = filled(table.rows, rule, parts.training)
        except ValueError as error:
            problems.append(spec.problem(("data", "missing"), f"{table.name}: {error}", "missing: {value: ...}"))
            return table
        constants.update({table.labels[k]: constant for k, constant in found.items()})
        table = replace(table, rows=rows)
    autoencoder = table.kind == "targets" and data.targets == "inputs"
    wanted = data.scale.inputs if autoencoder else getattr(data.scale, table.kind)
    if wanted == "none":
        divided = spec.source is not None and spec.source.divisor != 1
        return replace(table, long=_long(table.rows)) if divided else table
    from bptrace.data.scaling import scaling

    kind = wanted if isinstance(wanted, str) else wanted.divide
    if data.scale.constant == "refuse" and isinstance(kind, str):
        from bptrace.data.scaling import unvarying

        for k in unvarying(table.rows, parts.training, table.one_hot)[:MOST_CONSTANT]:
            column = table.labels[k] if table.labels else f"column {k + 1}"
            value = table.rows[parts.training[0]][k]
            said = f"{column} is {value:g} in every row that is trained on: {kind} divides by 0"
            expected = "a column that varies, or scale: {..., constant: keep}"
            problems.append(spec.problem(("data", "scale", table.kind), said, expected))
    made = scaling(kind, table.rows, parts.training, table.one_hot)
    rows = [made.scaled(row) for row in table.rows]
    return replace(table, rows=rows, unscaled=table.rows, scaling=made, long=_long(rows))


def _long(rows: list[list[float]]) -> bool:
    return any(number != round(number, FEW_DECIMALS) for row in rows for number in row)
