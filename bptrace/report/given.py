"""Everything that is given: data, and the parameters that the pass starts from, as small tables."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from bptrace.formula.expr import Ref
from bptrace.graph.node import Node
from bptrace.report.data import scaling_boxes
from bptrace.report.labels import Words
from bptrace.report.notation import Notation, indices
from bptrace.report.numbers import Numbers, short
from bptrace.report.sections import Boxes

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.report.page import Page

LARGEST_BOX = 8
"""Rows and columns up to which a parameter is shown whole."""
LONGEST_COLUMN = 16
"""Numbers of a sample that stand below each other; more go on beside them."""


def data_and_parameters(page: Page, numbers: Numbers, parameters: bool = True) -> Boxes:
    """Everything that is given: data of this batch, and the parameters that the pass starts from."""
    graph = page.assembly.graph
    boxes = scaling_boxes(page.assembly, numbers.digits, page.words) if parameters else []
    for node in graph.nodes:
        if node.phase == "data":
            boxes.extend(_data_box(node, numbers, page))
    if parameters:
        boxes.extend(parameter_boxes(page.assembly, numbers, page.words))
    heading = page.words("data_and_parameters" if parameters else "data")
    return Boxes(heading, [box for box in boxes if box])


def _data_box(node: Node, numbers: Numbers, page: Page) -> list[list[list[str]]]:
    notation = Notation("", hide_sample=True)
    texts = numbers.texts(node)
    several = "sample" in node.axes and node.shape[node.axes.index("sample")] > 1
    features = [i for i in range(len(node.shape)) if node.axes[i : i + 1] != ("sample",)]
    if "row" in node.axes and "column" in node.axes and (pictures := _pictures(node, numbers)):
        return pictures
    if len(features) == 2 and not node.names and (pictures := _pictures(node, numbers, (features[0], features[1]))):
        return pictures
    if not several:
        if node.size > 64:
            return [_large(node, numbers, page.words)]
        places = indices(node.shape)
        lines = [[f"{notation.element(Ref(node, place))} = {text}"] for place, text in zip(places, texts, strict=True)]
        return [lines[k : k + LONGEST_COLUMN] for k in range(0, len(lines), LONGEST_COLUMN)]
    if len(features) > 1 or node.size > 2000 or (len(features) == 1 and node.shape[features[0]] > 2 * LARGEST_BOX):
        return [_large(node, numbers, page.words)]
    sample = node.axes.index("sample")
    count = node.shape[sample]
    width = node.shape[features[0]] if features else 1
    heads = [notation.element(Ref(node, _place(sample, 0, k, len(node.shape)))) for k in range(width)]
    rows = [[page.words("sample"), *heads]]
    limit = page.options.rows
    for n in range(count):
        if count > limit and limit // 2 <= n < count - limit // 2:
            if n == limit // 2:
                rows.append([f"… {count - 2 * (limit // 2)} …"])
            continue
        rows.append(
            [str(n + 1), *(numbers.text(Ref(node, _place(sample, n, k, len(node.shape)))) for k in range(width))]
        )
    return [rows]


def _place(sample: int, n: int, k: int, rank: int) -> tuple[int, ...]:
    if rank == 1:
        return (n,)
    return (n, k) if sample == 0 else (k, n)


def _pictures(node: Node, numbers: Numbers, sides: tuple[int, int] | None = None) -> list[list[list[str]]]:
    """A small matrix for each channel and sample, where rows and columns are few."""
    row, column = sides or (node.axes.index("row"), node.axes.index("column"))
    height, wide = node.shape[row], node.shape[column]
    if max(height, wide) > LARGEST_BOX or node.size // (height * wide) > LARGEST_BOX:
        return []
    boxes: list[list[list[str]]] = []
    others = [range(1) if axis in (row, column) else range(extent) for axis, extent in enumerate(node.shape)]
    for outer in product(*others):
        shown = [str(k + 1) for axis, k in enumerate(outer) if axis not in (row, column) and node.shape[axis] > 1]
        title = f"{node.id}[{','.join(shown)}]" if shown else node.id
        lines = [[f"{title} ({height}×{wide})"]]
        for i in range(height):
            places = [{row: i, column: j} for j in range(wide)]
            refs = [Ref(node, tuple(place.get(axis, k) for axis, k in enumerate(outer))) for place in places]
            lines.append(["", *(numbers.text(ref) for ref in refs)])
        boxes.append(lines)
    return boxes


def parameter_boxes(assembly: Assembly, numbers: Numbers, words: Words) -> list[list[list[str]]]:
    """A box a layer: its weights with the names of rows and columns, and its other parameters."""
    by_layer: dict[str, list[Node]] = {}
    for node in assembly.graph.nodes:
        if node.phase == "parameter" and node.word != "state":
            by_layer.setdefault(node.layer, []).append(node)
    boxes: list[list[list[str]]] = []
    for nodes in by_layer.values():
        rows: list[list[str]] = []
        for node in nodes:
            rows.extend(_parameter_rows(node, numbers, assembly, words))
        boxes.append(rows)
    return boxes


def _parameter_rows(node: Node, numbers: Numbers, assembly: Assembly, words: Words) -> list[list[str]]:
    texts = numbers.texts(node)
    if node.axes[-2:] == ("row", "column") and (pictures := _pictures(node, numbers)):
        return [row for picture in pictures for row in picture]
    if max((*node.shape, 1)) > LARGEST_BOX or len(node.shape) > 2:
        return _large(node, numbers, words)
    names = node.names or ("",) * node.size
    cells = [f"{name} {text}".strip() for name, text in zip(names, texts, strict=True)]
    if len(node.shape) < 2:
        if not node.shape:
            return [[f"{node.id} = {texts[0]}"]] if not node.layer else [[node.id, cells[0]]]
        if len(set(cells)) == 1 and node.size > 1:
            both = words("both") if node.size == 2 else words("all_elements")
            return [[node.id, f"{cells[0]} ({both})"]]
        return [[node.id, *cells]]
    rows, columns = node.shape
    heads = [_side(node, axis, assembly) for axis in (0, 1)]
    table = [[node.id, *heads[1]]]
    for i in range(rows):
        table.append([heads[0][i], *cells[i * columns : (i + 1) * columns]])
    return table


def _side(node: Node, axis: int, assembly: Assembly) -> list[str]:
    """The headings of a side of a weight matrix: units' names, or what the layer reads."""
    count = node.shape[axis]
    word = node.axes[axis] if axis < len(node.axes) else ""
    if word == "unit":
        return list(assembly.unit_names.get(node.layer, ())) or [str(k + 1) for k in range(count)]
    reader = next((n for n in assembly.graph.nodes if node in n.inputs and n.phase == "forward"), None)
    source = (
        next((o for o in reader.inputs if o is not node and o.shape and o.phase != "parameter"), None)
        if reader
        else None
    )
    if word == "input" and source is not None and len(source.names) == count:
        return list(source.names)
    return [str(k + 1) for k in range(count)]


def _large(node: Node, numbers: Numbers, words: Words) -> list[list[str]]:
    values = [float(v) for v in numbers.values.flat(node)]
    shape = "×".join(map(str, node.shape))
    said = words("values_between", count=len(values), least=short(min(values)), largest=short(max(values)))
    return [[f"{node.id} ({shape}): {said}"]]
