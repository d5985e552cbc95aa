"""What run, step, export and explain share: load a network and run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.cli import output
from bptrace.cli.options import read_stdin, shown
from bptrace.errors import UsageError

if TYPE_CHECKING:
    from bptrace.network import Network
    from bptrace.trace import Trace

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
    start = None
    if request.start is not None:
        from bptrace.engine.checkpoint import read_checkpoint

        start = read_checkpoint(request.start, network)
    trace = network.run(request.iterations, show=wanted, exact=request.exact, start=start)
    if request.save is not None:
        from bptrace.engine.checkpoint import checkpoint_text

        output.write([checkpoint_text(trace)], request.save, inputs=[network.spec.file])
    iterations = [k for k in shown(request.show, trace.count, request.default_show) if k in trace.recorded]
    return trace, iterations or trace.recorded[-1:]  # a run that ended early shows its end
