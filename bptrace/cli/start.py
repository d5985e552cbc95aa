"""Runs a command line: turns our errors into messages and exit codes."""

from __future__ import annotations

import os
import signal
import sys

from bptrace.cli.plain import read
from bptrace.errors import BptraceError

__all__ = ["INTERRUPTED", "start"]

INTERRUPTED = 130


def _terminate(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _open_streams() -> None:
    """A stream that was closed before we began (`>&-`) reads nothing and takes everything."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def start() -> int:
    """Run the command line; returns the exit code."""
    _open_streams()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        plain = read(sys.argv[1:], os.environ)
        if plain is None:
            from bptrace.cli.app import app

            app(standalone_mode=True)
        else:
            command, given = plain
            command.work(given)
    except BptraceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        from bptrace.cli.output import abandon_stdout

        abandon_stdout()
        return 1
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    return 0
