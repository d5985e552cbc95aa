"""Optimizers: each is one file of named update equations, added to the graph as nodes."""

from __future__ import annotations

OPTIMIZERS: dict[str, str] = {
    "sgd": "bptrace.optimizers.sgd:Sgd",
    "momentum": "bptrace.optimizers.sgd:Sgd",
    "nesterov": "bptrace.optimizers.sgd:Sgd",
    "adagrad": "bptrace.optimizers.adagrad:Adagrad",
    "rmsprop": "bptrace.optimizers.rmsprop:RmsProp",
    "adadelta": "bptrace.optimizers.adadelta:Adadelta",
    "adam": "bptrace.optimizers.adam:Adam",
    "amsgrad": "bptrace.optimizers.adam:Adam",
    "adamw": "bptrace.optimizers.adam:Adam",
    "adamax": "bptrace.optimizers.adamax:Adamax",
    "nadam": "bptrace.optimizers.nadam:Nadam",
    "radam": "bptrace.optimizers.radam:Radam",
    "lion": "bptrace.optimizers.lion:Lion",
    "rprop": "bptrace.optimizers.rprop:Rprop",
}
"""Every optimizer type with the place of its class."""
