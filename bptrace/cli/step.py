"""`bptrace step [NET]`: the first iterations in full, on a terminal a block at a time."""

from __future__ import annotations

import sys
from pathlib import Path

from bptrace.cli.flags import Command, Flags, argument, flag
from bptrace.cli.page import page_flags_of
from bptrace.cli.run import print_trace


class StepFlags(Flags):
    """Without a network there is one to begin with."""

    net: str | None = argument("Default: net.yaml here, else mazur.", required=False)
    iterations: int = flag("--iterations", "-n", kind=int, default=1, least=1, help="How many iterations.")


def step(given: StepFlags) -> None:
    """Print each of the first iterations in full. On a terminal: a block at a time."""
    from bptrace.cli import output as out
    from bptrace.cli.trace import Request
    from bptrace.network import is_stored

    net = given.net
    if net is None:
        net = "net.yaml" if Path("net.yaml").is_file() else "mazur"
        out.note(f"network: {net}", given.quiet)
    flags = page_flags_of(given, to_terminal=given.output is None)
    stored = is_stored(net)  # of what was run already, the first iterations are shown
    request = Request(
        net, None if stored else given.iterations, given.show, f"1-{given.iterations}" if stored else "all",
        given.exact, given.sets, given.save, given.from_,
    )  # fmt: skip
    chosen = "json" if given.json else given.format
    interactive = given.output is None and chosen is None and sys.stdin.isatty() and sys.stdout.isatty()
    if interactive and not (given.only or given.phase):
        from bptrace.cli.walk import walk

        walk(request, flags)
        return
    print_trace(request, flags, given.output, chosen, "text", quiet=given.quiet, verbose=given.verbose)


COMMAND = Command(
    "step", step, StepFlags,
    ("net", "iterations", "show", "only", "phase", "digits", "exact", "max_rows", "max_terms", "lang", "width", "color",
     "output", "format", "set", "save", "from_", "quiet", "verbose", "json"),
)  # fmt: skip
