"""`bptrace export NET -o FILE`: write the trace in a format."""

from __future__ import annotations

from bptrace.cli.flags import Command, NetFlags
from bptrace.cli.page import page_flags_of
from bptrace.cli.run import print_trace
from bptrace.errors import UsageError


def export(given: NetFlags) -> None:
    """Write the trace to a file: markdown, json, csv or text, by the suffix or --format."""
    from bptrace.cli.trace import Request

    if given.output is None and given.format is None:
        raise UsageError("export: name the file with -o FILE, or the --format for standard output")
    flags = page_flags_of(given, to_terminal=False, color="never")
    request = Request(
        given.net, given.iterations, given.show, "1,last", given.exact, given.sets, None, given.from_, given.record,
        given.memory, given.trace,
    )  # fmt: skip
    print_trace(
        request, flags, given.output or "-", given.format, "markdown", quiet=given.quiet, verbose=given.verbose
    )


COMMAND = Command(
    "export", export, NetFlags,
    ("net", "output", "format", "iterations", "show", "only", "phase", "digits", "exact", "max_rows", "max_terms",
     "lang", "width", "set", "from_", "record", "memory", "trace", "quiet", "verbose"),
)  # fmt: skip
