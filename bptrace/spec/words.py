"""The closed lists of words that the YAML knows and that no model holds."""

from __future__ import annotations

__all__ = ["ACTIVATIONS", "LOSSES", "LOSSES_WITHOUT_TARGETS"]

ACTIVATIONS = (
    "identity",
    "linear",
    "sigmoid",
    "bipolar_sigmoid",
    "tanh",
    "scaled_tanh",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "softplus",
    "softsign",
    "gelu",
    "swish",
    "hard_sigmoid",
    "hard_tanh",
    "step",
    "exp",
    "softmax",
    "log_softmax",
)

LOSSES = (
    "half_squared_error",
    "squared_error",
    "mean_squared_error",
    "mean_absolute_error",
    "absolute_error",
    "huber",
    "log_cosh",
    "hinge",
    "squared_hinge",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "cross_entropy_with_logits",
    "sum",
    "mean",
)

LOSSES_WITHOUT_TARGETS = ("sum", "mean")

LOSSES_OF_CLASSES = ("cross_entropy", "cross_entropy_with_logits")
"""Losses whose targets may be class numbers."""
