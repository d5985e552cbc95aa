"""`bptrace explain NET Q`: the derivation of one number."""

from __future__ import annotations

from bptrace.cli.flags import Command, NetFlags, argument, flag
from bptrace.cli.page import display_name, page_flags
from bptrace.errors import UsageError


class ExplainFlags(NetFlags):
    """One number of one iteration."""

    quantity: str = argument("w5, grad.h.W[1,2], h.delta[1], h.z[1]/2", metavar="Q")
    show: str | None = flag("--show", help="The iteration: a number or last.")
    depth: str = flag("--depth", default="4", help="Levels to open, or all.")
    through: int = flag("--through", kind=int, default=1, least=1, help="Iterations to go back through.")


def explain(given: ExplainFlags) -> None:
    """Derive one number, down to data, settings and this iteration's starting parameters."""
    from bptrace.cli import output as out
    from bptrace.cli.trace import Request, run
    from bptrace.graph.lookup import LookupFailedError
    from bptrace.report.explain import explain as make
    from bptrace.writers.explain_text import explain_lines

    output, depth = given.output, given.depth
    flags = page_flags(
        digits=given.digits, lang=given.lang, width=given.width, max_terms=given.max_terms, to_terminal=output is None
    )
    if depth != "all" and not depth.isdigit():
        raise UsageError(f"--depth {depth}: a whole number, or all")
    request = Request(given.net, given.iterations, given.show, "last", given.exact, given.sets, None, given.from_)
    trace, chosen = run(request)
    try:
        explanation = make(
            trace, given.quantity, iteration=chosen[-1], depth=None if depth == "all" else int(depth),
            through=given.through, digits=flags.digits, language=flags.language, terms=flags.terms,
            net=display_name(given.net),
        )  # fmt: skip
    except LookupFailedError as error:
        raise UsageError(f"explain: {error}") from None
    ascii_only = out.needs_ascii(output)
    lines = explain_lines(explanation, flags.columns, ascii_only)
    out.write((f"{line}\n" for line in lines), output, inputs=trace.spec.files)


COMMAND = Command(
    "explain", explain, ExplainFlags,
    ("net", "quantity", "iterations", "show", "depth", "max_terms", "through", "digits", "exact", "lang", "width",
     "output", "set", "from_"),
)  # fmt: skip
