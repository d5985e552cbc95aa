"""The activation functions by the names that the YAML gives them, with their constants."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from bptrace.graph.op import Op
from bptrace.ops import activations as a
from bptrace.ops.softmax import LogSoftmax, Softmax
from bptrace.spec.base import Check, describe, number_fault, refuse

FUNCTIONS: dict[str, type[Op]] = {
    "identity": a.Identity,
    "linear": a.Identity,
    "sigmoid": a.Sigmoid,
    "bipolar_sigmoid": a.BipolarSigmoid,
    "tanh": a.Tanh,
    "scaled_tanh": a.ScaledTanh,
    "relu": a.Relu,
    "leaky_relu": a.LeakyRelu,
    "elu": a.Elu,
    "selu": a.Selu,
    "softplus": a.Softplus,
    "softsign": a.Softsign,
    "gelu": a.Gelu,
    "swish": a.Swish,
    "hard_sigmoid": a.HardSigmoid,
    "hard_tanh": a.HardTanh,
    "step": a.Step,
    "exp": a.Exp,
    "softmax": Softmax,
    "log_softmax": LogSoftmax,
}

CONSTANTS: dict[str, dict[str, str]] = {
    "scaled_tanh": {"scale": "scale", "slope": "steepness"},
    "leaky_relu": {"negative_slope": "negative_slope"},
    "elu": {"alpha": "alpha"},
}
"""The constants that a function takes: the YAML's name and the op's."""


def _activation(value: object) -> Op:
    """`sigmoid`, or `{type: leaky_relu, negative_slope: 0.1}`, as the op that it means."""
    if isinstance(value, str):
        return _function(value, {})
    if not isinstance(value, dict):
        raise refuse(f"not an activation: {describe(value)}", "its name, or {type: name, ...}")
    fields: dict[str, Any] = dict(value)
    kind = fields.pop("type", None)
    if not isinstance(kind, str):
        raise refuse("'type' is missing", "the function's name", known=tuple(FUNCTIONS))
    return _function(kind, fields)


def _function(kind: str, fields: dict[str, Any]) -> Op:
    if kind not in FUNCTIONS:
        raise refuse(f"unknown activation '{kind}'", known=tuple(FUNCTIONS), got=kind)
    if kind == "gelu" and fields.get("approximate") in ("none", "tanh"):
        return a.GeluTanh() if fields["approximate"] == "tanh" else a.Gelu()
    known = CONSTANTS.get(kind, {})
    for name, number in fields.items():
        if name not in known:
            raise refuse(
                f"{kind} has no constant '{name}'", "one of " + ", ".join(known) if known else "none",
                at=[name], at_key=True, known=tuple(known), got=name,
            )  # fmt: skip
        fault = number_fault(number)
        if fault:
            raise refuse(fault, "a finite number", at=[name])
    return FUNCTIONS[kind](**{known[name]: float(number) for name, number in fields.items()})


Activation: TypeAlias = Annotated[
    Op,
    Check(
        _activation,
        {"anyOf": [{"enum": list(FUNCTIONS)}, {"type": "object", "required": ["type"]}]},
    ),
]
"""A field that holds an activation function, validated into its op."""
