"""Optimizers: each is one file of named update equations, added to the graph as nodes."""

from __future__ import annotations

OPTIMIZERS: dict[str, str] = {
    "sgd": "bptrace.optimizers.sgd:Sgd",
    "momentum": "bptrace.optimizers.sgd:Sgd",
    "adam": "bptrace.optimizers.adam:Adam",
    "amsgrad": "bptrace.optimizers.adam:Adam",
    "adamw": "bptrace.optimizers.adam:Adam",
}
"""Every optimizer type with the place of its class."""
