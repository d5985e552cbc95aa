"""The Typer app: gathers the commands, turns our errors into messages and exit codes."""

from __future__ import annotations

import signal
import sys

import typer

from bptrace import __version__
from bptrace.cli import compare, diagnose, examples, explain, export, new, run, schema, step
from bptrace.errors import BptraceError

INTERRUPTED = 130

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


for command in (run, step, export, explain, diagnose, compare, examples, new, schema):
    command.add_to(app)


def _terminate(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def run_app() -> int:
    """Run the command line; returns the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app(standalone_mode=True)
    except BptraceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        from bptrace.cli.output import abandon_stdout

        abandon_stdout()
        return 1
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    return 0
