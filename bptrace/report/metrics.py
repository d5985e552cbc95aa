"""The table of metrics: each epoch's loss and metrics, on the rows trained on and those held out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bptrace.report.labels import Words
from bptrace.report.result import thinned
from bptrace.report.sections import Result

if TYPE_CHECKING:
    from bptrace.report.numbers import Numbers
    from bptrace.trace import Trace


def metrics_sections(trace: Trace, words: Words, numbers: Numbers) -> list[Result]:
    """A table for each part of the data, thinned to 20 lines, then the formula of each metric."""
    columns = trace.metrics
    if columns is None:
        return []
    parts = [part for part in ("training", "validation", "test") if part in columns]
    made = [_table(columns, part, words, numbers) for part in parts]
    last = made[-1]
    last.lines.append((words("metrics_when"), []))
    if "test" in columns:
        last.lines.append((words("metrics_of_test"), []))
    names = list(columns[parts[0]])[1:]
    scaled = any(table.scaling for table in trace.final_assembly.tables.values() if table.kind == "targets")
    for name in names:
        formula = _formula(name, trace.metric_constants.get(name), words)
        if scaled and name != "accuracy":
            formula += words("metric_in_file" if name in ("file_rmse", "log_rmse") else "metric_in_scaled")
        last.lines.append((f"{words(f'metric_{name}')}:", [formula]))
    if "validation" in columns and trace.spec.network.training.stop.patience:
        last.lines.append((words("patience_on_validation"), []))
    return made


def _table(columns: dict[str, Any], part: str, words: Words, numbers: Numbers) -> Result:
    names = list(columns[part])
    made = Result(words(f"heading_metrics_{part}"), [words("epoch"), *(words(f"metric_{name}") for name in names)])
    epochs = columns["epoch"][-len(columns[part]["loss"]) :]
    count = len(epochs)
    for k in thinned(count):
        if k is None:
            made.rows.append([words("more_epochs", count=count - 20)])
            continue
        values = [columns[part][name][k] for name in names]
        texts = ["" if value is None else numbers.computed(value) for value in values]
        made.rows.append([str(epochs[k]), *texts])
    return made


def _formula(metric: str, constant: float | None, words: Words) -> str:
    """How a metric is worked out, with n the number of values that are compared."""
    number = "" if constant is None else f"{constant:g}"
    match metric:
        case "rmse" | "file_rmse":
            return "√(Σ (t - y)²/n)"
        case "log_rmse":
            return f"√(Σ (ln(t) - ln(max(y, {number})))²/n)"
        case "psnr":
            return f"10·log10({number}²·n/Σ (t - y)²)" + words("psnr_peak", peak=number)
    return words("accuracy_largest") if constant is None else words("accuracy_threshold", threshold=number)
