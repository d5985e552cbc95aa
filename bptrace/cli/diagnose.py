"""`bptrace diagnose NET`: where gradients vanish, explode or die."""

from __future__ import annotations

from typing import Annotated

import typer

from bptrace.cli import options as o
from bptrace.errors import UsageError


def add_to(app: typer.Typer) -> None:
    app.command()(diagnose)


def diagnose(
    net: o.Net,
    iterations: o.Iterations = None,
    show: o.Show = None,
    digits: o.Digits = "9",
    max_rows: o.MaxRows = "20",
    lang: o.Lang = None,
    width: o.Width = None,
    color: o.Color = "auto",
    output: o.Output = None,
    format: o.Format = None,
    set: o.Sets = None,
    hessian: Annotated[
        bool, typer.Option("--hessian", help="The largest eigenvalue of the Hessian, and learning rates from it.")
    ] = False,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Say where the gradient vanishes, explodes or dies, layer by layer, and what usually helps."""
    import shlex

    from bptrace.cli import output as out
    from bptrace.cli import study
    from bptrace.cli.trace import load
    from bptrace.network import is_stored, read_trace
    from bptrace.report.diagnosis import page
    from bptrace.report.study import StudyStyle
    from bptrace.study.diagnosis import diagnose as make

    flags = o.page_flags(digits=digits, max_rows=max_rows, lang=lang, width=width, color=color,
                         to_terminal=output is None)  # fmt: skip
    kind = study.format_of(output, format, json)
    if iterations is not None and iterations < 1:
        raise UsageError(f"--iterations {iterations}: at least 1")
    if is_stored(net):
        if iterations is not None or set:
            raise UsageError(f"{net}: a stored trace, nothing is run; leave out --iterations and --set")
        trace = read_trace(net)
    else:
        trace = load(net, tuple(set or ())).run(iterations)
    chosen = None if show is None else tuple(k for k in o.shown(show, trace.count, "1,last") if k in trace.recorded)
    if show is not None and not chosen:
        raise UsageError(f"--show {show}: none of these iterations is recorded; the run has {trace.count:,}")
    again = [f"--iterations {iterations}"] if iterations else []
    again += [f"--set {shlex.quote(item)}" for item in set or ()]
    style = StudyStyle(
        flags.language, flags.digits, flags.columns, flags.rows, o.display_name(net), " ".join(again),
        kind == "text" and out.needs_ascii(output), chosen,
    )  # fmt: skip
    if hessian:
        from bptrace.report.curvature import page as curvature_page
        from bptrace.study.curvature import curvature

        at = chosen[0] if chosen else 1
        found = curvature(trace, at)
        study.write(found, curvature_page(found, style), kind, output, flags, [trace.spec.file], quiet)
        return
    made = make(trace)
    study.write(made, page(made, style), kind, output, flags, [trace.spec.file], quiet)
