"""The Typer app: gathers the commands. It reads what `bptrace.cli.plain` leaves to it."""

from __future__ import annotations

import typer

from bptrace import __version__
from bptrace.cli import compare, diagnose, examples, new, schema
from bptrace.cli.plain import PLAIN, command_of
from bptrace.cli.typed import typer_function

app = typer.Typer(
    name="bptrace",
    help="Shows backpropagation the way a good teacher writes it on the board.",
    epilog="Exit codes: 0 done; 1 the run failed; 2 usage or YAML; 3 a check found a difference; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"bptrace {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


for name in PLAIN:
    app.command()(typer_function(command_of(name)))
for command in (diagnose, compare, examples, new, schema):
    command.add_to(app)
