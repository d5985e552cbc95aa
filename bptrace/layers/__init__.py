"""Layers: each type is one file with its YAML fields and the nodes that they become."""

from __future__ import annotations

LAYERS: dict[str, str] = {
    "dense": "bptrace.layers.dense:Dense",
    "activation": "bptrace.layers.activation:ActivationLayer",
    "rnn": "bptrace.layers.rnn:Rnn",
    "lstm": "bptrace.layers.lstm:Lstm",
    "gru": "bptrace.layers.gru:Gru",
    "embedding": "bptrace.layers.embedding:Embedding",
    "conv1d": "bptrace.layers.convolution:Conv",
    "conv2d": "bptrace.layers.convolution:Conv",
    "conv3d": "bptrace.layers.convolution:Conv",
    "conv_transpose1d": "bptrace.layers.convolution:ConvTranspose",
    "conv_transpose2d": "bptrace.layers.convolution:ConvTranspose",
    "conv_transpose3d": "bptrace.layers.convolution:ConvTranspose",
    "max_pool": "bptrace.layers.pooling:MaxPooling",
    "avg_pool": "bptrace.layers.pooling:AveragePooling",
    "global_avg_pool": "bptrace.layers.pooling:GlobalAveragePooling",
    "adaptive_avg_pool": "bptrace.layers.pooling:AdaptiveAveragePooling",
    "flatten": "bptrace.layers.shape_layers:Flatten",
    "reshape": "bptrace.layers.shape_layers:ReshapeLayer",
}
"""Every layer type with the place of its class; a module is imported when a file uses its type."""
