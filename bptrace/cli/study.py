"""What compare and diagnose share: a study in a format, to standard output or a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bptrace.cli import output
from bptrace.cli.page import PageFlags
from bptrace.errors import UsageError, nearest

if TYPE_CHECKING:
    from bptrace.report.study import Item, StudyStyle
    from bptrace.study.comparison import Comparison
    from bptrace.study.curvature import Curvature
    from bptrace.study.diagnosis import Diagnosis

FORMATS = {"text": (".txt",), "markdown": (".md", ".markdown"), "json": (".json",), "csv": (".csv",)}


def format_of(destination: str | None, given: str | None, json: bool) -> str:
    """The format: as given, else by the file's suffix."""
    if json:
        return "json"
    if given is not None:
        if given not in FORMATS:
            near = nearest(given, FORMATS)
            hint = f"; did you mean {near}?" if near else ""
            raise UsageError(f"--format {given}: one of {', '.join(FORMATS)}{hint}")
        return given
    if destination in (None, "-"):
        return "text"
    for name, suffixes in FORMATS.items():
        if str(destination).lower().endswith(suffixes):
            return name
    every = ", ".join(suffix for suffixes in FORMATS.values() for suffix in suffixes)
    raise UsageError(f"-o {destination}: no format for that suffix; use {every}, or --format")


def write(
    study: Comparison | Curvature | Diagnosis, page: tuple[list[Item], StudyStyle], kind: str, destination: str | None,
    flags: PageFlags, inputs: Sequence[str], quiet: bool,
) -> None:  # fmt: skip
    """Write a study in a format."""
    output.write(_chunks(study, page, kind, destination, flags), destination, inputs=inputs)
    if destination not in (None, "-"):
        output.note(f"wrote {destination}", quiet)


def _chunks(
    study: Comparison | Curvature | Diagnosis, page: tuple[list[Item], StudyStyle], kind: str, destination: str | None,
    flags: PageFlags,
) -> Iterator[str]:  # fmt: skip
    if kind == "json":
        from bptrace.writers.json_trace import json_text

        yield json_text(study.json(), ascii_only=output.needs_ascii(destination)) + "\n"
    elif kind == "csv":
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(study.columns)
        rows.writerows(study.rows())
        yield text.getvalue()
    elif kind == "markdown":
        from bptrace.writers.study_markdown import study_markdown

        yield from (f"{line}\n" for line in study_markdown(*page))
    else:
        from bptrace.writers.study_text import StudyText

        paint = None
        if output.colored(destination, flags.color):
            from bptrace.cli.paint import painter

            paint = painter()
        for line, tone in StudyText(page[1]).toned(page[0]):
            yield (paint(line, tone) if paint and tone else line) + "\n"
