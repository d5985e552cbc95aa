"""Layers: each type is one file with its YAML fields and the nodes that they become."""

from __future__ import annotations

LAYERS: dict[str, str] = {
    "dense": "bptrace.layers.dense:Dense",
    "activation": "bptrace.layers.activation:ActivationLayer",
    "rnn": "bptrace.layers.rnn:Rnn",
    "lstm": "bptrace.layers.lstm:Lstm",
    "gru": "bptrace.layers.gru:Gru",
    "embedding": "bptrace.layers.embedding:Embedding",
}
"""Every layer type with the place of its class; a module is imported when a file uses its type."""
