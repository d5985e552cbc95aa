"""bptrace shows backpropagation the way a good teacher writes it on the board.

>>> import bptrace
>>> trace = bptrace.load("mazur").run()
>>> round(trace["w5"], 2), round(trace["new.w5"], 9)
(0.4, 0.35891648)

Nothing heavy is imported here: the command line starts from this module.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers know the name; importing `typing` would take as long as starting Python
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from bptrace.network import Network
    from bptrace.study.comparison import Comparison
    from bptrace.trace import Trace

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "load", "read_trace"]


def load(source: str | Path) -> Network:
    """Load a network from a YAML file, or a bundled one by its name.

    Raises `bptrace.errors.SpecError` with every mistake of the file at once.
    """
    from bptrace.network import load as load_network

    return load_network(source)


def read_trace(file: str | Path) -> Trace:
    """Read a trace that a run wrote to a file: `read_trace("t.npy")`.

    Raises `bptrace.errors.UsageError` with the difference where it is half written or changed.
    """
    from bptrace.network import read_trace as read

    return read(file)


def compare(networks: Sequence[Network | str], **how: Any) -> Comparison:
    """Run networks, or variants of them, side by side: `compare(["mazur"], vary=["optimizer.learning_rate=0.1,1"])`.

    `how` are `vary`, `sets`, `iterations`, `until` and `path` of `bptrace.study.comparison.compare`.
    """
    from bptrace.study.comparison import compare as make

    return make(networks, **how)
