"""`bptrace export NET -o FILE`: write the trace in a format."""

from __future__ import annotations

import typer

from bptrace.cli import options as o
from bptrace.cli.run import print_trace
from bptrace.errors import UsageError


def add_to(app: typer.Typer) -> None:
    app.command()(export)


def export(
    net: o.Net,
    output: o.Output = None,
    format: o.Format = None,
    iterations: o.Iterations = None,
    show: o.Show = None,
    only: o.Only = "",
    phase: o.Phase = "",
    digits: o.Digits = "9",
    exact: o.Exact = False,
    max_rows: o.MaxRows = "20",
    max_terms: o.MaxTerms = "8",
    lang: o.Lang = None,
    width: o.Width = None,
    set: o.Sets = None,
    from_: o.From = None,
    record: o.Record = None,
    memory: o.Memory = None,
    trace: o.Rows = None,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Write the trace to a file: markdown, json, csv or text, by the suffix or --format."""
    from bptrace.cli.trace import Request

    if output is None and format is None:
        raise UsageError("export: name the file with -o FILE, or the --format for standard output")
    flags = o.page_flags(
        digits=digits, max_rows=max_rows, max_terms=max_terms, lang=lang, width=width, only=only, phase=phase,
        to_terminal=False, color="never",
    )  # fmt: skip
    request = Request(net, iterations, show, "1,last", exact, tuple(set or ()), None, from_, record, memory, trace)
    print_trace(request, flags, output or "-", format, "markdown", quiet=quiet, verbose=verbose)
