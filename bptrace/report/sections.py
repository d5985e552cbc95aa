"""What stands around the working, as neutral sections: titles, pairs, small tables, results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bptrace.report.labels import Words

if TYPE_CHECKING:
    from bptrace.trace import Trace

MOST_NUMBERS = 16
"""Numbers of samples that are listed; JSON has all."""


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
    kept = trace.engine.get("record")
    if kept and first:
        lines.append(words("recorded_as", policy=kept["policy"], every=kept["states_every"]))
    return Title(network.name or trace.spec.file, place, lines)


def iteration_ranges(numbers: Sequence[int]) -> str:
    """Numbers as a list, or from the first to the last."""
    if len(numbers) > 3 and list(numbers) == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"{numbers[0]}-{numbers[-1]}"
    texts = [str(number) for number in numbers]
    if len(texts) > MOST_NUMBERS:
        texts[MOST_NUMBERS // 2 : -MOST_NUMBERS // 2] = [f"… {len(texts) - MOST_NUMBERS} …"]
    return ", ".join(texts)
