"""`bptrace compare NET ...`: several runs side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from bptrace.cli import options as o
from bptrace.errors import UsageError


def add_to(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    nets: Annotated[
        list[str], typer.Argument(metavar="NET...", help="YAML files, bundled networks, - for standard input.",
                                  show_default=False)
    ],
    vary: Annotated[
        list[str] | None, typer.Option("--vary", help="Run each value: optimizer.learning_rate=0.01,0.1; repeatable.")
    ] = None,
    until: Annotated[float | None, typer.Option("--until", help="The loss whose reaching is counted.")] = None,
    path: Annotated[str | None, typer.Option("--path", help="Numbers whose course is shown: w1,w2.")] = None,
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
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:  # fmt: skip
    """Compare optimizers, settings or networks: losses, paths, and where the runs part."""
    import shlex

    from bptrace.cli import output as out
    from bptrace.cli import study
    from bptrace.report.comparison import page
    from bptrace.report.study import StudyStyle
    from bptrace.study.comparison import compare as make
    from bptrace.study.variants import split_at_commas

    flags = o.page_flags(digits=digits, max_rows=max_rows, lang=lang, width=width, color=color,
                         to_terminal=output is None)  # fmt: skip
    kind = study.format_of(output, format, json)
    if nets.count("-") > 1:
        raise UsageError("compare: standard input can be read once only; name - once")
    made = make(
        nets, vary=vary or (), sets=set or (), iterations=iterations, until=until,
        path=None if path is None else split_at_commas(path), text=o.read_stdin() if "-" in nets else None,
    )  # fmt: skip
    chosen = None if show is None else tuple(o.shown(show, made.length, "all"))
    again = [f"--vary {shlex.quote(item)}" for item in vary or ()]
    again += [f"--set {shlex.quote(item)}" for item in set or ()]
    again += [f"--iterations {iterations}"] if iterations else []
    style = StudyStyle(
        flags.language, flags.digits, flags.columns, flags.rows, " ".join(nets), " ".join(again),
        kind == "text" and out.needs_ascii(output), chosen,
    )  # fmt: skip
    files = [run.trace.spec.file for run in made.runs]
    study.write(made, page(made, style), kind, output, flags, files, quiet)
