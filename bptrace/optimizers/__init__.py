"""Optimizers: each is one file of named update equations, added to the graph as nodes."""

from __future__ import annotations

OPTIMIZERS: dict[str, str] = {
    "sgd": "bptrace.optimizers.sgd:Sgd",
}
"""Every optimizer type with the place of its class."""
