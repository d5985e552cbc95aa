"""What a run ends with: the loss of each iteration, the outputs, the final parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bptrace.formula.expr import Ref
from bptrace.graph.node import Node
from bptrace.report.data import predictions
from bptrace.report.given import LARGEST_BOX, parameter_boxes
from bptrace.report.notation import Notation, indices
from bptrace.report.numbers import Numbers
from bptrace.report.sections import Result

if TYPE_CHECKING:
    from bptrace.report.page import Page
    from bptrace.trace import Trace


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
