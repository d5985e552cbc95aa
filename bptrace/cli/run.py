"""`bptrace run NET`: run the training and print the working."""

from __future__ import annotations

from dataclasses import replace

import typer

from bptrace.cli import options as o


def add_to(app: typer.Typer) -> None:
    app.command()(run)


def run(
    net: o.Net,
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
    color: o.Color = "auto",
    output: o.Output = None,
    format: o.Format = None,
    set: o.Sets = None,
    save: o.Save = None,
    from_: o.From = None,
    record: o.Record = None,
    memory: o.Memory = None,
    trace: o.Rows = None,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Run the training that the YAML describes and print the working of the iterations chosen."""
    from bptrace.cli.trace import Request

    flags = o.page_flags(
        digits=digits, max_rows=max_rows, max_terms=max_terms, lang=lang, width=width, color=color, only=only,
        phase=phase, to_terminal=output is None,
    )  # fmt: skip
    request = Request(net, iterations, show, "1,last", exact, tuple(set or ()), save, from_, record, memory, trace)
    print_trace(request, flags, output, "json" if json else format, "text", quiet=quiet, verbose=verbose)


def print_trace(
    request: object, flags: o.PageFlags, destination: str | None, format: str | None, default: str, *, quiet: bool,
    verbose: bool,
) -> None:  # fmt: skip
    """Run, write, and say on standard error what was written; a run that stopped fails afterwards."""
    from bptrace import export
    from bptrace.cli import output, trace
    from bptrace.network import is_stored

    assert isinstance(request, trace.Request)
    kind = export.format_of(destination, format, default)
    whole = export.FORMATS[kind].whole and request.show is None
    request = replace(
        request, default_show="all" if whole else request.default_show, quiet=quiet, partial=True
    )
    made, iterations = trace.run(request)
    ascii_only = kind in ("text", "json") and output.needs_ascii(destination)
    paint = None
    if kind == "text" and output.colored(destination, flags.color):
        from bptrace.cli.paint import painter

        paint = painter()
    style = o.page_style(flags, request.net, ascii_only, paint)
    output.write(export.chunks(made, kind, iterations, style), destination, inputs=made.spec.files)
    if destination not in (None, "-"):
        output.note(f"wrote {destination}", quiet)
    if verbose:
        output.note(f"{made.count} iterations, engine: {made.engine}", quiet)
    if made.stopped is not None:
        raise made.stopped
    if made.interrupted and not is_stored(request.net):
        raise KeyboardInterrupt
