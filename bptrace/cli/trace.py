"""What run, step and export share: load, run, and turn the trace into text in a format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bptrace.cli import output
from bptrace.cli.options import PageFlags, display_name, read_stdin, shown
from bptrace.errors import UsageError, nearest

if TYPE_CHECKING:
    from bptrace.network import Network
    from bptrace.trace import Trace

SUFFIXES = {".md": "markdown", ".markdown": "markdown", ".json": "json", ".csv": "csv", ".txt": "text"}
FORMATS = ("text", "markdown", "json", "csv")


@dataclass(frozen=True)
class Request:
    """A network to run, and which iterations are wanted of it."""

    net: str
    iterations: int | None = None
    show: str | None = None
    default_show: str = "1,last"
    exact: bool = False
    sets: tuple[str, ...] = ()
    save: str | None = None
    start: str | None = None


def load(net: str, sets: tuple[str, ...] = ()) -> Network:
    """The network that was named on the command line."""
    from bptrace.network import load as load_network

    return load_network(net, text=read_stdin() if net == "-" else None, overrides=sets)


def run(request: Request) -> tuple[Trace, list[int]]:
    """Run the network; returns the trace and the iterations to show."""
    if request.iterations is not None and request.iterations < 1:
        raise UsageError(f"--iterations {request.iterations}: at least 1")
    network = load(request.net, request.sets)
    planned = network.planned(request.iterations)
    wanted = shown(request.show, planned, request.default_show)
    if not wanted:
        raise UsageError(f"--show {request.show}: the run has {planned:,} iteration{'s' if planned > 1 else ''}")
    trace = network.run(request.iterations, show=wanted, exact=request.exact)
    if request.save is not None:
        from bptrace.engine.checkpoint import checkpoint_text

        output.write([checkpoint_text(trace)], request.save, inputs=[network.spec.file])
    iterations = [k for k in shown(request.show, trace.count, request.default_show) if k in trace.recorded]
    return trace, iterations or trace.recorded[-1:]  # a run that ended early shows its end


def format_of(destination: str | None, given: str | None, default: str) -> str:
    """The format: as given, else by the file's suffix; a pipe or a device has none."""
    if given is not None:
        if given not in FORMATS:
            near = nearest(given, FORMATS)
            raise UsageError(
                f"--format {given}: one of {', '.join(FORMATS)}" + (f"; did you mean {near}?" if near else "")
            )
        return given
    if destination in (None, "-"):
        return default
    assert destination is not None
    path = Path(destination)
    if path.exists() and not path.is_file() and not path.is_dir():
        return default
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise UsageError(f"-o {destination}: no format for '{suffix or 'no suffix'}'; use {known}, or --format")
    return SUFFIXES[suffix]


def lines(
    trace: Trace, iterations: list[int], kind: str, flags: PageFlags, net: str, *, ascii_only: bool = False,
    paint: Callable[[str, str], str] | None = None,
) -> Iterator[str]:  # fmt: skip
    """The trace in a format, as chunks of text that end in newlines."""
    if kind == "json":
        from bptrace.writers.json_trace import json_trace

        yield from json_trace(trace, iterations)
    elif kind == "csv":
        from bptrace.writers.csv_trace import csv_trace

        yield from csv_trace(trace, iterations)
    else:
        yield from _pages(trace, iterations, kind, flags, net, ascii_only, paint)


def _pages(
    trace: Trace, iterations: list[int], kind: str, flags: PageFlags, net: str, ascii_only: bool,
    paint: Callable[[str, str], str] | None,
) -> Iterator[str]:  # fmt: skip
    from bptrace.report.document import Document
    from bptrace.report.page import Options
    from bptrace.writers.markdown import MarkdownWriter
    from bptrace.writers.terminal import Style, TextWriter

    options = Options(flags.language, flags.only, flags.phase, flags.rows, flags.terms, display_name(net))
    document = Document(trace, options, flags.digits)
    writer: TextWriter | None = None
    for number, page in enumerate(document.pages(iterations)):
        style = Style(flags.columns, ascii_only)
        writer = MarkdownWriter(page.page.words, style) if kind == "markdown" else TextWriter(page.page.words, style)
        if isinstance(writer, MarkdownWriter):
            yield from (f"{line}\n" for line in writer.markdown(page.items, page.numbers))
            continue
        if number:
            yield "\n"
        for line, tone in writer.toned(page.items, page.numbers):
            yield (paint(line, tone) if paint and tone else line) + "\n"
