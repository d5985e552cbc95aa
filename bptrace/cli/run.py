"""`bptrace run NET`: run the training and print the working."""

from __future__ import annotations

import sys
from dataclasses import replace

from bptrace.cli import page
from bptrace.cli.flags import Command, NetFlags
from bptrace.errors import UsageError


def run(given: NetFlags) -> None:
    """Run the training that the YAML describes and print the working of the iterations chosen."""
    from bptrace.cli.trace import Request

    flags = page.page_flags_of(given, to_terminal=given.output is None)
    request = Request(
        given.net, given.iterations, given.show, "1,last", given.exact, given.sets, given.save, given.from_,
        given.record, given.memory, given.trace,
    )  # fmt: skip
    kind = "json" if given.json else given.format
    print_trace(request, flags, given.output, kind, "text", quiet=given.quiet, verbose=given.verbose)


COMMAND = Command(
    "run", run, NetFlags,
    ("net", "iterations", "show", "only", "phase", "digits", "exact", "max_rows", "max_terms", "lang", "width", "color",
     "output", "format", "set", "save", "from_", "record", "memory", "trace", "quiet", "verbose", "json"),
)  # fmt: skip


def print_trace(
    request: object, flags: page.PageFlags, destination: str | None, format: str | None, default: str, *, quiet: bool,
    verbose: bool,
) -> None:  # fmt: skip
    """Run, write, and say on standard error what was written; a run that stopped fails afterwards."""
    from bptrace import export
    from bptrace.cli import output, trace
    from bptrace.network import is_stored

    assert isinstance(request, trace.Request)
    kind = export.format_of(destination, format, default)
    chosen = export.FORMATS[kind]
    if chosen.binary and destination in (None, "-") and sys.stdout.isatty():
        raise UsageError(f"--format {kind} is nothing for a terminal; name a file with -o FILE")
    whole = chosen.whole and request.show is None
    request = replace(
        request, default_show="all" if whole else request.default_show, quiet=quiet, partial=True
    )
    made, iterations = trace.run(request)
    ascii_only = kind in ("text", "json") and output.needs_ascii(destination)
    paint = None
    if kind == "text" and output.colored(destination, flags.color):
        from bptrace.cli.paint import painter

        paint = painter()
    style = page.page_style(flags, request.net, ascii_only, paint)
    output.write(export.chunks(made, kind, iterations, style), destination, inputs=made.spec.files)
    if destination not in (None, "-"):
        remark = f": {chosen.remark(made)}" if chosen.remark else ""
        output.note(f"wrote {destination}{remark}", quiet)
    if verbose:
        output.note(f"{made.count} iterations, engine: {made.engine}", quiet)
    if made.stopped is not None:
        raise made.stopped
    if made.interrupted and not is_stored(request.net):
        raise KeyboardInterrupt
