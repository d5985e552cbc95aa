"""The command line. Each command is a short file of its own; only here is anything printed or exited.

Nothing but the standard library is imported until it is known that a command runs: `--version`
answers at once.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys

from bptrace import __version__

__all__ = ["main"]


def main() -> None:
    """The entry point of `bptrace`."""
    if sys.argv[1:] == ["--version"]:
        print(f"bptrace {__version__}")
        return
    # a run is short and makes few cycles: most of what the collector would do is start-up time
    gc.set_threshold(100_000, 50, 50)
    # pydantic would search every installed distribution for plugins, of which we use none
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from bptrace.cli.start import start

    # at the exit too: a last search for cycles among all that is left would take longer than a short run
    atexit.register(gc.freeze)
    sys.exit(start())
