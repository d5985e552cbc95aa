"""bptrace shows backpropagation the way a good teacher writes it on the board.

>>> import bptrace
>>> trace = bptrace.load("mazur").run()
>>> round(trace["w5"], 2), round(trace["new.w5"], 9)
(0.4, 0.35891648)

Nothing heavy is imported here: the command line starts from this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from bptrace.network import Network

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(source: str | Path) -> Network:
    """Load a network from a YAML file, or a bundled one by its name.

    Raises `bptrace.errors.SpecError` with every mistake of the file at once.
    """
    from bptrace.network import load as load_network

    return load_network(source)
