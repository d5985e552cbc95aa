"""The numbers of a long run as one Markdown table: every cell is the trace's number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Answer

import bptrace
from bptrace.export import PageStyle, chunks

Command = Callable[..., Answer]


@pytest.mark.parametrize("record", ["all", "replay"])
@pytest.mark.parametrize("name", ["mazur", "quadratic-adam", "two-losses"])
def test_every_cell(name: str, record: str) -> None:
    trace = bptrace.load(name).run(130, record=record)  # type: ignore[arg-type]
    lines = "".join(chunks(trace, "table", trace.recorded, PageStyle())).splitlines()
    head = [cell.strip() for cell in lines[4].strip("|").split("|")]
    assert lines[0] == f"# {trace.network.name}"
    assert head[0] == "iteration" and len(lines) == 6 + 130
    graph = trace.assembly(1).graph
    assert graph.loss is not None
    assert {graph.loss.id, *(f"new.{leaf.id}" for leaf in graph.carry)} <= {cell.partition("[")[0] for cell in head}
    for iteration in (1, 2, 64, 65, 130):
        cells = [cell.strip() for cell in lines[5 + iteration].strip("|").split("|")]
        assert cells[0] == str(iteration) and len(cells) == len(head)
        for place, cell in zip(head[1:], cells[1:], strict=True):
            value = trace.value(place, iteration)
            while isinstance(value, list):
                (value,) = value
            assert cell == f"{value:.10g}", place


def test_on_the_command_line(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "t.md"
    assert command("export", "mazur", "-n", "50", "--format", "table", "-o", file).code == 0
    assert file.read_text(encoding="utf-8").count("\n| ") == 52
    assert command("export", "mazur", "-n", "50", "--format", "table", "--show", "7").out.count("\n| ") == 3
    wide = command("export", "digits", "-n", "2", "--format", "table")
    assert wide.code == 2 and "--trace FILE.npy" in wide.err
