"""A trace in a format: the one place that knows which formats there are.

A format is a function that makes chunks of text or bytes, and the suffixes that stand for it. The command
line and the library go through here alike; a new format is one writer and one line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bptrace.errors import UsageError, nearest
from bptrace.report.options import Options

if TYPE_CHECKING:
    from bptrace.trace import Trace

Paint = Callable[[str, str], str]
"""Gives a line the colour of its tone (the phase, or `title`)."""


@dataclass(frozen=True)
class PageStyle(Options):
    """How a page looks: what is asked of it, and decimals (None: all), width and characters."""

    digits: int | None = 9
    columns: int = 80
    ascii_only: bool = False
    paint: Paint | None = None


Writer = Callable[["Trace", Sequence[int], PageStyle], Iterator["str | bytes"]]


def _json(trace: Trace, iterations: Sequence[int], style: PageStyle) -> Iterator[str]:
    from bptrace.writers.json_trace import json_trace

    return json_trace(trace, iterations, ascii_only=style.ascii_only)


def _csv(trace: Trace, iterations: Sequence[int], style: PageStyle) -> Iterator[str]:
    from bptrace.writers.csv_trace import csv_trace

    return csv_trace(trace, iterations)


def _text(trace: Trace, iterations: Sequence[int], style: PageStyle) -> Iterator[str]:
    from bptrace.report.document import Document
    from bptrace.writers.terminal import Style, TextWriter

    document = Document(trace, style, style.digits)
    for number, page in enumerate(document.pages(list(iterations))):
        if number:
            yield "\n"
        writer = TextWriter(page.page.words, Style(style.columns, style.ascii_only))
        for line, tone in writer.toned(page.items, page.numbers):
            yield (style.paint(line, tone) if style.paint and tone else line) + "\n"


def _markdown(trace: Trace, iterations: Sequence[int], style: PageStyle) -> Iterator[str]:
    from bptrace.report.document import Document
    from bptrace.writers.markdown import MarkdownWriter
    from bptrace.writers.mermaid import flowchart
    from bptrace.writers.terminal import Style

    document = Document(trace, style, style.digits)
    for number, page in enumerate(document.pages(list(iterations))):
        writer = MarkdownWriter(page.page.words, Style(style.columns))
        diagram = flowchart(page.page.assembly) if number == 0 and not (style.only or style.phase) else ""
        yield from (f"{line}\n" for line in writer.markdown(page.items, page.numbers, diagram))


def _table(trace: Trace, iterations: Sequence[int], style: PageStyle) -> Iterator[str]:
    from bptrace.writers.value_table import value_table

    return value_table(trace, iterations)


def _png(trace: Trace, iterations: Sequence[int], style: PageStyle) -> Iterator[bytes]:
    return trace.reconstruction.png()


@dataclass(frozen=True)
class Format:
    """A format: its writer, the suffixes of its files, whether it holds all iterations unasked, whether it
    is bytes, and what is said of a file beside it."""

    write: Writer
    suffixes: tuple[str, ...]
    whole: bool = False
    binary: bool = False
    remark: Callable[[Trace], str] | None = None


FORMATS: dict[str, Format] = {
    "text": Format(_text, (".txt",)),
    "markdown": Format(_markdown, (".md", ".markdown")),
    "json": Format(_json, (".json",), whole=True),
    "table": Format(_table, (), whole=True),
    "csv": Format(_csv, (".csv",), whole=True),
    "png": Format(_png, (".png",), binary=True, remark=lambda trace: str(trace.reconstruction)),
}


def format_of(destination: str | Path | None, given: str | None, default: str) -> str:
    """The format: as given, else by the file's suffix; standard output, a pipe or a device has none."""
    if given is not None:
        if given not in FORMATS:
            near = nearest(given, FORMATS)
            hint = f"; did you mean {near}?" if near else ""
            raise UsageError(f"--format {given}: one of {', '.join(FORMATS)}{hint}")
        return given
    if destination is None or str(destination) == "-":
        return default
    path = Path(destination)
    if path.exists() and not path.is_file() and not path.is_dir():
        return default
    suffix = path.suffix.lower()
    for name, known in FORMATS.items():
        if suffix in known.suffixes:
            return name
    every = ", ".join(suffix for known in FORMATS.values() for suffix in known.suffixes)
    raise UsageError(f"-o {destination}: no format for '{suffix or 'no suffix'}'; use {every}, or --format")


def chunks(trace: Trace, format: str, iterations: Sequence[int], style: PageStyle) -> Iterator[str | bytes]:
    """The trace in a format, as pieces of text or bytes, made while they are read."""
    return FORMATS[format].write(trace, iterations, style)
