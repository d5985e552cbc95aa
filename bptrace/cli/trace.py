"""What run, step, export and explain share: load a network and run it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bptrace.cli import output
from bptrace.cli.page import read_stdin, shown
from bptrace.cli.progress import Watch
from bptrace.errors import UsageError

if TYPE_CHECKING:
    from bptrace.engine.recording import Policy
    from bptrace.network import Network
    from bptrace.trace import Trace

@dataclass(frozen=True)
class Request:
    """A network to run, and which iterations are wanted of it; `rows` is the file for the trace, `partial`
    says that an interrupted run is an answer too."""

    net: str
    iterations: int | None = None
    show: str | None = None
    default_show: str = "1,last"
    exact: bool = False
    sets: tuple[str, ...] = ()
    save: str | None = None
    start: str | None = None
    record: str | None = None
    memory: str | None = None
    rows: str | None = None
    quiet: bool = False
    partial: bool = False


def load(net: str, sets: tuple[str, ...] = ()) -> Network:
    """The network that was named on the command line."""
    from bptrace.network import load as load_network

    return load_network(net, text=read_stdin() if net == "-" else None, overrides=sets)


def run(request: Request) -> tuple[Trace, list[int]]:
    """Run the network; returns the trace and the iterations to show."""
    if request.iterations is not None and request.iterations < 1:
        raise UsageError(f"--iterations {request.iterations}: at least 1")
    from bptrace.network import is_stored

    if is_stored(request.net):
        return _stored(request)
    network = load(request.net, request.sets)
    planned = network.planned(request.iterations)
    wanted = shown(request.show, planned, request.default_show)
    if not wanted:
        raise UsageError(f"--show {request.show}: the run has {planned:,} iteration{'s' if planned > 1 else ''}")
    start, done = _start(request, network)
    if request.rows is not None:
        _refuse_inputs(request.rows, network)
    with Watch(request.quiet) as watch:
        trace = network.run(
            request.iterations, show=wanted, exact=request.exact, start=start, done=done,
            record=_policy(request.record), memory=_memory(request.memory), trace=request.rows, watcher=watch,
        )  # fmt: skip
    if trace.interrupted:
        output.note(f"stopped after iteration {trace.count:,} of {trace.planned:,}", request.quiet)
    _save(request, trace)
    if trace.interrupted and not request.partial:
        raise KeyboardInterrupt
    return trace, _chosen(request, trace)


def _stored(request: Request) -> tuple[Trace, list[int]]:
    """A trace that was written to a file by `--trace`; nothing is run."""
    given = {
        "--iterations": request.iterations, "--exact": request.exact or None, "--set": request.sets or None,
        "--from": request.start, "--record": request.record, "--memory": request.memory, "--trace": request.rows,
    }  # fmt: skip
    wrong = [flag for flag, value in given.items() if value is not None]
    if wrong:
        raise UsageError(f"{request.net}: a stored trace, nothing is run; leave out {', '.join(wrong)}")
    from bptrace.network import read_trace

    trace = read_trace(request.net)
    wanted = shown(request.show, trace.count, request.default_show)
    if not wanted:
        raise UsageError(f"--show {request.show}: the trace has {trace.count:,} iterations")
    _save(request, trace)
    return trace, _chosen(request, trace)


def _chosen(request: Request, trace: Trace) -> list[int]:
    """The iterations to show; a run that ended early shows its end."""
    kept = trace.recorded if isinstance(trace.recorded, range) else set(trace.recorded)
    iterations = [k for k in shown(request.show, trace.count, request.default_show) if k in kept]
    return iterations or list(trace.recorded[-1:])


def _start(request: Request, network: Network) -> tuple[dict[str, list[float]] | None, int]:
    """The state to start from, and after how many iterations it was: of a checkpoint or a stored trace."""
    if request.start is None:
        return None, 0
    from bptrace.engine.checkpoint import checkpoint_text, read_checkpoint
    from bptrace.network import is_stored, read_trace

    text = checkpoint_text(read_trace(request.start)) if is_stored(request.start) else None
    return read_checkpoint(request.start, network, text)


def _save(request: Request, trace: Trace) -> None:
    if request.save is not None:
        from bptrace.engine.checkpoint import checkpoint_text

        output.write([checkpoint_text(trace)], request.save, inputs=[*trace.spec.files, request.net])


def _memory(text: str | None) -> int | None:
    from bptrace.engine.recording import budget_bytes

    return None if text is None else budget_bytes(text)


def _policy(text: str | None) -> Policy | None:
    from bptrace.engine.recording import POLICIES

    for policy in POLICIES:
        if text == policy:
            return policy
    if text is None:
        return None
    raise UsageError(f"--record {text}: one of {', '.join(POLICIES)}")


def _refuse_inputs(file: str, network: Network) -> None:
    """Nothing that was read is written over."""
    path = Path(file)
    for source in network.spec.files:
        if path.exists() and Path(source).exists() and path.samefile(source):
            raise UsageError(f"--trace {file}: that is what the network is read from")
