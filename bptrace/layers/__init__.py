"""Layers: each type is one file with its YAML fields and the nodes that they become."""

from __future__ import annotations

LAYERS: dict[str, str] = {
    "dense": "bptrace.layers.dense:Dense",
    "activation": "bptrace.layers.activation:ActivationLayer",
    "rnn": "bptrace.layers.rnn:Rnn",
    "lstm": "bptrace.layers.lstm:Lstm",
    "gru": "bptrace.layers.gru:Gru",
    "embedding": "bptrace.layers.embedding:Embedding",
    "positional_encoding": "bptrace.layers.positional_encoding:PositionalEncoding",
    "self_attention": "bptrace.layers.attention:SelfAttention",
    "cross_attention": "bptrace.layers.attention:CrossAttention",
    "multi_head_attention": "bptrace.layers.attention:MultiHeadAttention",
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
    "batch_norm": "bptrace.layers.batch_norm:BatchNorm",
    "layer_norm": "bptrace.layers.normalisation:LayerNorm",
    "group_norm": "bptrace.layers.normalisation:GroupNorm",
    "rms_norm": "bptrace.layers.normalisation:RmsNorm",
    "flatten": "bptrace.layers.shape_layers:Flatten",
    "reshape": "bptrace.layers.shape_layers:ReshapeLayer",
    "dropout": "bptrace.layers.dropout:Dropout",
    "residual": "bptrace.layers.blocks:Residual",
    "concat": "bptrace.layers.blocks:Concatenation",
    "add": "bptrace.layers.blocks:Addition",
    "multiply": "bptrace.layers.blocks:Multiplication",
}
"""Every layer type with the place of its class; a module is imported when a file uses its type."""
