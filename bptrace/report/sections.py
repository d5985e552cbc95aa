"""The sections around the working: title, conventions, data and parameters, result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from bptrace.formula.expr import Ref
from bptrace.graph.node import Node
from bptrace.report.data import data_conventions, predictions, scaling_boxes
from bptrace.report.labels import Words
from bptrace.report.notation import Notation, indices
from bptrace.report.numbers import Numbers, short

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.report.page import Page
    from bptrace.trace import Trace

MOST_NUMBERS = 16
"""Numbers of samples that are listed; JSON has all."""
LARGEST_BOX = 8
"""Rows and columns up to which a parameter is shown whole."""


@dataclass(slots=True)
class Title:
    text: str
    place: str
    lines: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Pairs:
    """Label, formula, explanation."""

    heading: str
    rows: list[tuple[str, str, str]]


@dataclass(slots=True)
class Boxes:
    """Small tables that may stand side by side."""

    heading: str
    boxes: list[list[list[str]]]


@dataclass(slots=True)
class Result:
    """Loss per iteration, outputs, final parameters."""

    heading: str
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    lines: list[tuple[str, list[str]]] = field(default_factory=list)
    boxes: list[tuple[str, list[list[list[str]]]]] = field(default_factory=list)


Section = Title | Pairs | Boxes | Result


def title(trace: Trace, words: Words, iteration: int, first: bool) -> Title:
    """The network's name, its source, and which iteration this is."""
    network = trace.spec.network
    place = words("page_iteration", i=iteration, n=trace.count)
    lines = [network.source] if network.source and first else []
    assembly = trace.assembly(iteration)
    rows = next((len(table.rows) for table in assembly.tables.values()), 0)
    if rows > assembly.samples:
        lines.append(words("batch_samples", samples=iteration_ranges(trace.samples(iteration))))
    return Title(network.name or trace.spec.file, place, lines)


def iteration_ranges(numbers: Sequence[int]) -> str:
    """Numbers as a list, or from the first to the last."""
    if len(numbers) > 3 and list(numbers) == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"{numbers[0]}-{numbers[-1]}"
    texts = [str(number) for number in numbers]
    if len(texts) > MOST_NUMBERS:
        texts[MOST_NUMBERS // 2 : -MOST_NUMBERS // 2] = [f"… {len(texts) - MOST_NUMBERS} …"]
    return ", ".join(texts)


def conventions(page: Page, digits: int | None, exact: bool) -> Pairs:
    """The block of the conventions that this trace used; every page opens with it."""
    words, network = page.words, page.network
    chosen, assembly = network.conventions, page.assembly
    graph = assembly.graph
    rows: list[tuple[str, str, str]] = []
    loss = next((item for item in page.blocks_made() if item.id == "loss"), None)
    if network.loss and loss is not None:
        rows.append((words("convention_loss"), loss.formulas[0], words("comma").join(_loss_words(words, page))))
    delta = next((n for n in graph.nodes if n.word == "delta"), None)
    if delta is not None:
        z = next((n for n in graph.nodes if n.delta and n.delta.id == delta.id), None)
        sign = "-" if chosen.delta_sign == "error" else ""
        letter = Notation(delta.layer).array(graph.loss) if graph.loss else "E"
        symbol = Notation(delta.layer).array(z) if z else "z"
        rows.append((words("convention_delta"), f"δ = {sign}∂{letter}/∂{symbol}", words(f"delta_{chosen.delta_sign}")))
        if chosen.delta_scale == "sample" and z is not None and z.delta and abs(z.delta.factor) > 1:
            rows.append(("", "", words("delta_sample", count=assembly.samples)))
    if network.optimizer and graph.carry:
        order = chosen.update_order
        rows.append((words("convention_update"), words(order), words(f"update_order_{order}")))
        if network.optimizer.maximize:
            rows.append(("", "", words("maximized")))
    if any(node.axes == ("unit", "input") for node in graph.nodes if node.phase == "parameter") or any(
        node.axes == ("input", "unit") for node in graph.nodes if node.phase == "parameter"
    ):
        layout = chosen.weight_layout
        rows.append(("W[i,j]", words(f"weight_{layout}"), words(f"layout_{layout}")))
    rows += data_conventions(network.data, assembly, words)
    if chosen.sample_axis == "columns":
        rows.append((words("convention_samples"), "sample_axis: columns", words("columns_are_samples")))
    if chosen.derivative_from == "pre_activation":
        rows.append((words("local_derivative"), "", words("derivative_from_z")))
    if assembly.held:
        rows.append(
            (words("convention_held"), ", ".join(_held_name(node) for node in assembly.held), words("not_trained"))
        )
    if assembly.drawn:
        rows.append((words("convention_seed"), ", ".join(assembly.drawn), words("drawn_values", seed=network.seed)))
    for layer, title in assembly.titles.items():  # what a layer type has conventions of its own about
        rows += [(layer, formula, words(key)) for formula, key in title.get("conventions", ())]
    rows.append((words("convention_numbers"), "", _number_words(page, digits, exact)))
    if not exact:
        rows.append(("", "", words("legend")))
    return Pairs(words("conventions"), rows)


def _held_name(node: Node) -> str:
    return node.names[0] if node.names and len(set(node.names)) == 1 else node.id


def _loss_words(words: Words, page: Page) -> list[str]:
    spec = page.network.loss[0]
    mean_outputs = spec.outputs == "mean" or (
        spec.outputs is None and spec.type in ("mean_squared_error", "mean_absolute_error", "mean")
    )
    said = [words("mean_over_outputs" if mean_outputs else "summed_over_outputs")]
    if page.assembly.samples > 1:
        mean = (spec.reduction or ("sum" if spec.type == "sum" else "mean")) == "mean"
        said.append(words("mean_over_samples" if mean else "summed_over_samples", count=page.assembly.samples))
    return said


def _number_words(page: Page, digits: int | None, exact: bool) -> str:
    words, rounding = page.words, page.network.conventions.rounding
    if exact:
        return words("exact_fractions")
    if rounding != "none":
        return words(
            f"rounded_{rounding.kind}", digits=rounding.digits, mode=words(rounding.mode),
            after=words(f"after_{rounding.after}"),
        )  # fmt: skip
    return words("nothing_rounded", digits=digits) if digits is not None else words("nothing_rounded_all")


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
        return [[[f"{notation.element(Ref(node, place))} = {text}"] for place, text in zip(places, texts, strict=True)]]
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


def result(trace: Trace, page: Page, digits: int | None) -> Result | None:
    """Loss per iteration (thinned to 20 lines), outputs after the update, final parameters."""
    words = page.words
    numbers = page.final_numbers(trace, digits)
    made = Result(words("heading_result"))
    updated = bool(page.network.optimizer and page.assembly.graph.carry)
    if any(loss is not None for loss in trace.losses):
        made.columns = [words("iteration"), words("loss_before")] + ([words("loss_after")] if updated else [])
        last = trace.final["loss"]
        graph_loss = page.final_assembly(trace).graph.loss
        batches = page.assembly.samples < len(page.assembly.parts.training)
        for k in thinned(trace.count):
            if k is None:
                made.rows.append([words("more_iterations", count=trace.count - 20)])
                continue
            loss = trace.losses[k]
            after = trace.losses[k + 1] if k + 1 < trace.count and not batches else last
            row = [str(k + 1), _loss_text(numbers, graph_loss, loss)]
            if updated:
                row.append(_loss_text(numbers, graph_loss, after) if not batches or k + 1 == trace.count else "")
            made.rows.append(row)
    outputs: list[str] = []
    judged = page.final_assembly(trace).graph.outputs
    for node in judged:
        if node.size <= 4 * LARGEST_BOX:
            own = Notation(node.layer if len(judged) == 1 else "")
            outputs.extend(f"{own.element(Ref(node, i))} = {numbers.text(Ref(node, i))}" for i in indices(node.shape))
    if outputs:
        made.lines.append((words("outputs_after" if updated else "outputs"), outputs))
    iteration = page.final_assembly(trace).graph.by_id.get("setting.iteration")
    if iteration is not None:
        made.lines.append((words("masks_of_iteration", i=numbers.text(Ref(iteration))), []))
    predicted = predictions(page.final_assembly(trace), numbers, page)
    if predicted:
        made.boxes.append((words("file_units"), [predicted]))
    if updated and trace.count > 1:
        final = page.parameter_numbers(trace, digits)
        made.boxes.append((words("final_parameters"), parameter_boxes(page.assembly, final, words)))
    return made if made.rows or made.lines else None


def _loss_text(numbers: Numbers, loss: Node | None, value: float | None) -> str:
    if value is None:
        return ""
    if loss is not None and value == value // 1 and numbers.whole(loss):
        return str(int(value))
    return numbers.computed(value)


def thinned(count: int, most: int = 20) -> list[int | None]:
    if count <= most:
        return list(range(count))
    return [*range(most // 2), None, *range(count - most // 2, count)]
