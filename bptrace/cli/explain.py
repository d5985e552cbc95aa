"""`bptrace explain NET Q`: the derivation of one number."""

from __future__ import annotations

from typing import Annotated

import typer

from bptrace.cli import options as o
from bptrace.errors import UsageError


def add_to(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    net: o.Net,
    quantity: Annotated[str, typer.Argument(metavar="Q", help="w5, grad.h.W[1,2], h.delta[1], h.z[1]/2")],
    iterations: o.Iterations = None,
    show: Annotated[str | None, typer.Option("--show", help="The iteration: a number or last.")] = None,
    depth: Annotated[str, typer.Option("--depth", help="Levels to open, or all.")] = "4",
    max_terms: o.MaxTerms = "8",
    through: Annotated[int, typer.Option("--through", min=1, help="Iterations to go back through.")] = 1,
    digits: o.Digits = "9",
    exact: o.Exact = False,
    lang: o.Lang = None,
    width: o.Width = None,
    output: o.Output = None,
    set: o.Sets = None,
    from_: o.From = None,
) -> None:
    """Derive one number, down to data, settings and this iteration's starting parameters."""
    from bptrace.cli import output as out
    from bptrace.cli.trace import Request, run
    from bptrace.graph.lookup import LookupFailedError
    from bptrace.report.explain import explain as make
    from bptrace.writers.explain_text import explain_lines

    flags = o.page_flags(digits=digits, lang=lang, width=width, max_terms=max_terms, to_terminal=output is None)
    if depth != "all" and not depth.isdigit():
        raise UsageError(f"--depth {depth}: a whole number, or all")
    trace, chosen = run(Request(net, iterations, show, "last", exact, tuple(set or ()), None, from_))
    try:
        explanation = make(
            trace, quantity, iteration=chosen[-1], depth=None if depth == "all" else int(depth), through=through,
            digits=flags.digits, language=flags.language, terms=flags.terms, net=o.display_name(net),
        )  # fmt: skip
    except LookupFailedError as error:
        raise UsageError(f"explain: {error}") from None
    ascii_only = out.needs_ascii(output)
    lines = explain_lines(explanation, flags.columns, ascii_only)
    out.write((f"{line}\n" for line in lines), output, inputs=trace.spec.files)
