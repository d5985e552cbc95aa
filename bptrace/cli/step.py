"""`bptrace step [NET]`: the first iterations in full, on a terminal a block at a time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bptrace.cli import options as o
from bptrace.cli.run import print_trace


def add_to(app: typer.Typer) -> None:
    app.command()(step)


def step(
    net: Annotated[str | None, typer.Argument(help="Default: net.yaml here, else mazur.", show_default=False)] = None,
    iterations: Annotated[int, typer.Option("--iterations", "-n", min=1, help="How many iterations.")] = 1,
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
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Print each of the first iterations in full. On a terminal: a block at a time."""
    from bptrace.cli import output as out
    from bptrace.cli.trace import Request
    from bptrace.network import is_stored

    if net is None:
        net = "net.yaml" if Path("net.yaml").is_file() else "mazur"
        out.note(f"network: {net}", quiet)
    flags = o.page_flags(
        digits=digits, max_rows=max_rows, max_terms=max_terms, lang=lang, width=width, color=color, only=only,
        phase=phase, to_terminal=output is None,
    )  # fmt: skip
    stored = is_stored(net)  # of what was run already, the first iterations are shown
    request = Request(
        net, None if stored else iterations, show, f"1-{iterations}" if stored else "all", exact, tuple(set or ()),
        save, from_,
    )  # fmt: skip
    chosen = "json" if json else format
    interactive = output is None and chosen is None and sys.stdin.isatty() and sys.stdout.isatty()
    if interactive and not (only or phase):
        from bptrace.cli.walk import walk

        walk(request, flags)
        return
    print_trace(request, flags, output, chosen, "text", quiet=quiet, verbose=verbose)
