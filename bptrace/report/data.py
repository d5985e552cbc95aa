"""What the page says about data of a file: where they are from, their parts, classes and scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bptrace.report.labels import Words
from bptrace.report.notation import Notation
from bptrace.report.numbers import Numbers, fixed, short

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.build.data import Table
    from bptrace.report.page import Page
    from bptrace.spec.data import Data

MOST_COLUMNS = 16
"""Columns up to which the constants of each are listed on the page; JSON has those of all."""

FORMULAS = {"standard": "{name} = (v - m)/s", "min_max": "{name} = (v - a)/r", "divide": "{name} = v/{divisor}"}
"""How a number v of the file is scaled; the words beside it say what the letters are ..."""
UNDONE = {"standard": "{name}·s + m", "min_max": "{name}·r + a", "divide": "{name}·{divisor}"}
"""... and how a prediction is turned back."""


def data_conventions(data: Data | None, assembly: Assembly, words: Words) -> list[tuple[str, str, str]]:
    """The lines about the data among the conventions."""
    if data is None:
        return []
    made, parts = assembly.data, assembly.data.parts
    rows: list[tuple[str, str, str]] = []
    if made.source is not None:
        count = len(next(iter(made.tables.values())).rows)
        rows.append((words("convention_data"), "", words("data_file", file=made.source.file, count=count)))
    if data.split is not None or data.folds is not None:
        sizes = {part: len(getattr(parts, part)) for part in ("training", "validation", "test")}
        rows.append(("" if rows else words("convention_data"), "", words("data_parts", **sizes)))
        chosen = data.split or data.folds
        assert chosen is not None
        said = [words(f"parts_{chosen.order}", seed=chosen.seed)]
        if data.split is not None and data.split.stratify:
            said.append(words("parts_stratified"))
        if data.folds is not None:
            said.append(words("parts_fold", fold=data.folds.hold_out, count=data.folds.count))
        rows.append(("", "", words("comma").join(said)))
    for k, (column, classes) in enumerate((made.source.classes if made.source else {}).items()):
        said_classes = words("classes_one_hot", classes=", ".join(classes))
        rows.append((words("convention_classes") if not k else "", column, said_classes))
    for k, (column, (count, value)) in enumerate(made.filled.items()):
        said_missing = words("missing_filled", count=count, column=column, value=short(value))
        rows.append((words("convention_missing") if not k else "", "", said_missing))
    rows += _scaling_rows(assembly, words)
    return rows


def _scaling_rows(assembly: Assembly, words: Words) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    source = assembly.data.source
    if source is not None and source.divisor != 1:
        formula = f"x = v/{source.divisor}"
        rows.append((words("convention_scaling"), formula, words("scaling_pixels")))
    for table in assembly.tables.values():
        if table.scaling is not None:
            formula = FORMULAS[table.scaling.kind].format(name=table.name, divisor=short(max(table.scaling.divisor)))
            said = words(f"scaling_{table.scaling.kind}")
            if any(row[2] == said for row in rows):
                said = ""
            rows.append((words("convention_scaling") if not rows else "", formula, said))
    return rows


def scaling_boxes(assembly: Assembly, digits: int | None, words: Words) -> list[list[list[str]]]:
    """A table a scaled array: its columns and their constants."""
    return [
        box
        for table in assembly.tables.values()
        if table.scaling is not None and table.scaling.kind != "divide"
        for box in _constants(table, digits, words)
    ]


def _constants(table: Table, digits: int | None, words: Words) -> list[list[list[str]]]:
    assert table.scaling is not None
    heading = words("scaling_constants", name=table.name)
    constants = table.scaling.constants
    if len(table.rows[0]) > MOST_COLUMNS:
        lines = [
            [
                words(f"scaled_{name}"),
                words("values_between", count=len(values), least=short(min(values)), largest=short(max(values))),
            ]
            for name, values in constants.items()
        ]
        return [[[heading], *lines]]
    heads = list(table.names or table.labels) or [f"[{k + 1}]" for k in range(len(table.rows[0]))]
    lines = [[heading, *(words(f"scaled_{name}") for name in constants)]]
    for k, head in enumerate(heads):
        if table.one_hot and table.one_hot[k]:
            continue
        lines.append([head, *(constant(values[k], digits) for values in constants.values())])
    return [lines]


def predictions(assembly: Assembly, numbers: Numbers, page: Page) -> list[list[str]]:
    """Scaled outputs turned back into the units of the file, for the rows trained on, beside the targets."""
    words, graph = page.words, assembly.graph
    found = [table for table in assembly.tables.values() if table.kind == "targets" and table.scaling is not None]
    if len(found) != 1 or len(graph.outputs) != 1 or page.network.data is None:
        return []
    table, output = found[0], graph.outputs[0]
    width = len(table.rows[0])
    made = table.scaling
    if made is None or table.unscaled is None or table.columns or output.size != width * assembly.samples or width > 4:
        return []
    notation = Notation(output.layer)
    heads = [words("sample")]
    names = table.names or table.labels or ("",) * width
    for k in range(width):
        own = notation.array(output) + (f"[{k + 1}]" if width > 1 else "")
        undone = UNDONE[made.kind].format(name=own, divisor=short(max(made.divisor)))
        heads += [own, undone, names[k] or f"{table.name}[{k + 1}]"]
    rows, count, limit = [heads], len(assembly.parts.training), page.options.rows
    flat = numbers.values.flat(output)
    for n, row in enumerate(assembly.parts.training):
        if count > limit and limit // 2 <= n < count - limit // 2:
            if n == limit // 2:
                rows.append([f"… {count - 2 * (limit // 2)} …"])
            continue
        line = [str(row + 1)]
        outputs = [float(value) for value in flat[n * width : (n + 1) * width]]
        for k, (scaled, value) in enumerate(zip(outputs, made.undo(outputs), strict=True)):
            line += [numbers.computed(scaled), numbers.computed(value), short(table.unscaled[row][k])]
        rows.append(line)
    return rows


def constant(value: float, digits: int | None) -> str:
    """A constant of scaling, with as many decimals as computed numbers where it has more."""
    exact = short(value)
    return exact if digits is None or len(exact) <= digits else fixed(value, digits)
