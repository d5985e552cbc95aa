"""The top level of the YAML, apart from the fields of layers and optimizers.

Defaults are the first of the words allowed. Models are few, since each costs start-up time.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from bptrace.spec.base import (
    AnyName,
    Array,
    Check,
    Complaint,
    Count,
    Number,
    Positive,
    Strict,
    Text,
    describe,
    refuse,
    refuse_all,
)
from bptrace.spec.data import Data
from bptrace.spec.fields import Expressions, GivenArrays, Ids, Inputs
from bptrace.spec.registry import Layers, Optimizer
from bptrace.spec.translate import Refused, validate
from bptrace.spec.words import LOSSES, LOSSES_OF_CLASSES, LOSSES_WITHOUT_TARGETS

__all__ = [
    "Conventions",
    "Data",
    "Initializer",
    "LossSpec",
    "Losses",
    "Metric",
    "Network",
    "Penalty",
    "Rounding",
    "Stop",
    "Training",
]

NotNegative = Annotated[Number, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, le=2**53)]


class Initializer(Strict):
    """How parameters that are not given are drawn; constants of a `type` that has none are refused later."""

    type: Literal[
        "uniform",
        "normal",
        "xavier_uniform",
        "xavier_normal",
        "glorot_uniform",
        "glorot_normal",
        "he_uniform",
        "he_normal",
        "kaiming_uniform",
        "kaiming_normal",
        "lecun_uniform",
        "lecun_normal",
        "trunc_normal",
        "orthogonal",
        "sparse",
        "eye",
        "dirac",
        "zeros",
        "ones",
        "constant",
    ] = "uniform"
    low: Number | None = None
    high: Number | None = None
    mean: Number | None = None
    std: NotNegative | None = None
    gain: Number | None = None
    mode: Literal["fan_in", "fan_out"] | None = None
    sparsity: Annotated[Number, Field(ge=0, le=1)] | None = None
    value: Number | None = None
    numpy_legacy: Annotated[int, Field(ge=0, lt=2**32)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Initializer:
        own = {
            "mode": ("he_uniform", "he_normal", "kaiming_uniform", "kaiming_normal"),
            "sparsity": ("sparse",),
        }
        for key, types in own.items():
            if getattr(self, key) is not None and self.type not in types:
                raise refuse(f"{self.type} has no {key}", f"type: {' or '.join(types)}", at=[key], at_key=True)
        if self.type == "sparse" and self.sparsity is None:
            raise refuse("sparse needs a sparsity", "sparsity: 0.5", at=["type"])
        if self.numpy_legacy is not None and self.type in ("trunc_normal", "orthogonal", "sparse"):
            said = f"numpy.random has no {self.type}"
            raise refuse(said, "uniform or normal", at=["numpy_legacy"], at_key=True)
        return self


class LossSpec(Strict):
    """One loss. None stands for the default of its type."""

    type: str
    reduction: Literal["mean", "sum"] | None = None
    outputs: Literal["sum", "mean"] | None = None
    weight: Number = 1.0
    of: AnyName | None = None
    targets: AnyName | None = None
    threshold: Positive | None = None
    ignore: int | None = None

    @model_validator(mode="after")
    def _known(self) -> LossSpec:
        if self.type not in LOSSES:
            raise refuse(f"unknown loss '{self.type}'", at=["type"], known=LOSSES, got=self.type)
        if self.threshold is not None and self.type != "huber":
            raise refuse(f"{self.type} has no threshold", "huber", at=["threshold"], at_key=True)
        if self.targets is not None and self.type in LOSSES_WITHOUT_TARGETS:
            raise refuse(f"{self.type} has no targets", at=["targets"], at_key=True)
        if self.ignore is not None and self.type not in LOSSES_OF_CLASSES:
            expected = " or ".join(LOSSES_OF_CLASSES)
            raise refuse(f"{self.type} has no class numbers to ignore", expected, at=["ignore"], at_key=True)
        return self


def _losses(value: object) -> tuple[LossSpec, ...]:
    """A name, a mapping, or a list of these."""
    several = isinstance(value, list)
    items = value if isinstance(value, list) else [value]
    losses, complaints = [], []
    for i, item in enumerate(items):
        prefix = (i,) if several else ()
        try:
            losses.append(_loss(item))
        except Refused as error:
            complaints += [complaint.under(*prefix) for complaint in error.complaints]
    if not items:
        complaints.append(Complaint((), "no loss in the list", "at least one, or no 'loss' at all"))
    if complaints:
        raise refuse_all(complaints)
    return tuple(losses)


def _loss(item: object) -> LossSpec:
    if isinstance(item, str):
        if item not in LOSSES:
            raise Refused([Complaint((), f"unknown loss '{item}'", known=LOSSES, got=item)])
        return LossSpec(type=item)
    if not isinstance(item, dict):
        raise Refused([Complaint((), f"not a loss: {describe(item)}", "its name, or {type: name, ...}")])
    return validate(LossSpec, item)


Losses: TypeAlias = Annotated[tuple[LossSpec, ...], Check(_losses, {"$comment": "losses"})]
"""A loss, or a list of them."""


class Penalty(Strict):
    """Weight decay as part of the loss."""

    l1: NotNegative = 0.0
    l2: NotNegative = 0.0
    bias: bool = False
    scale: Literal["half", "one", "half_over_samples", "over_samples"] = "half"


class Stop(Strict):
    """When to end before the last epoch."""

    loss_below: Number | None = None
    gradient_below: Positive | None = None
    patience: Count | None = None


METRICS = ("accuracy", "rmse", "log_rmse", "psnr")


class Metric(Strict):
    """How good the network is after each epoch. `peak` is of psnr, `floor` of log_rmse."""

    type: str
    peak: Positive | None = None
    floor: Positive | None = None

    @model_validator(mode="after")
    def _known(self) -> Metric:
        if self.type not in METRICS:
            raise refuse(f"unknown metric '{self.type}'", at=["type"], known=METRICS, got=self.type)
        for field, owner in (("peak", "psnr"), ("floor", "log_rmse")):
            if getattr(self, field) is not None and self.type != owner:
                raise refuse(f"{self.type} has no {field}", owner, at=[field], at_key=True)
        return self


def _metrics(value: object) -> tuple[Metric, ...]:
    """A list of names or mappings."""
    if not isinstance(value, list):
        raise refuse(f"not a list: {describe(value)}", "a list such as [accuracy, rmse]")
    metrics: list[Metric] = []
    complaints: list[Complaint] = []
    for k, item in enumerate(value):
        if isinstance(item, str) and item not in METRICS:
            complaints.append(Complaint((k,), f"unknown metric '{item}'", known=METRICS, got=item))
            continue
        if not isinstance(item, str | dict):
            complaints.append(Complaint((k,), f"not a metric: {describe(item)}", "its name, or {type: name, ...}"))
            continue
        try:
            metric = validate(Metric, {"type": item} if isinstance(item, str) else item)
        except Refused as error:
            complaints += [complaint.under(k) for complaint in error.complaints]
            continue
        if any(metric.type == other.type for other in metrics):
            complaints.append(Complaint((k,), f"'{metric.type}' is there twice", "each metric once"))
        metrics.append(metric)
    if complaints:
        raise refuse_all(complaints)
    return tuple(metrics)


def _metrics_schema() -> dict[str, Any]:
    fields = {"type": {"enum": list(METRICS)}} | {
        name: {"type": "number", "exclusiveMinimum": 0} for name in ("peak", "floor")
    }
    one = {"type": "object", "properties": fields, "required": ["type"], "additionalProperties": False}
    return {"type": "array", "items": {"anyOf": [{"enum": list(METRICS)}, one]}}


class Training(Strict):
    """`iterations` or `epochs`; one iteration where neither is given."""

    iterations: Count | None = None
    epochs: Count | None = None
    batch_size: Literal["all"] | Count = "all"
    order: Literal["given", "shuffle"] = "given"
    seed: Seed = 0
    stop: Stop = Field(default_factory=Stop)
    metrics: Annotated[tuple[Metric, ...], Check(_metrics, _metrics_schema())] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, value: Any) -> Any:
        if isinstance(value, dict):
            if "iterations" in value and "epochs" in value:
                raise refuse(
                    "iterations and epochs are both given", "one of them", at=["epochs"], at_key=True
                )
            if "iterations" not in value and "epochs" not in value:
                return {**value, "iterations": 1}
        return value


class Rounding(Strict):
    """Rounded as on paper."""

    digits: Annotated[int, Field(ge=0, le=50)]
    kind: Literal["decimals", "significant"] = "decimals"
    mode: Literal["half_up", "half_even"] = "half_up"
    after: Literal["line", "operation"] = "line"


class Conventions(Strict):
    """Where textbooks differ."""

    update_order: Literal["simultaneous", "sequential"] = "simultaneous"
    delta_sign: Literal["gradient", "error"] = "gradient"
    delta_scale: Literal["batch", "sample"] = "batch"
    weight_layout: Literal["out_in", "in_out"] = "out_in"
    sample_axis: Literal["rows", "columns"] = "rows"
    derivative_from: Literal["activation", "pre_activation"] = "activation"
    rounding: Literal["none"] | Rounding = "none"
    ties: Literal["first", "all"] = "first"
    channel_order: Literal["first", "last"] = "first"


class Network(Strict):
    """A whole file: `layers:` or `graph:`, and what is done with it."""

    name: Text | None = None
    source: Text | None = None
    notes: Text | None = None
    seed: Seed = 0
    initializer: Initializer | None = None
    data: Data | None = None
    inputs: Inputs = Field(default_factory=dict)
    parameters: GivenArrays = Field(default_factory=dict)
    graph: Expressions = Field(default_factory=dict)
    output: AnyName | None = None
    layers: Layers = ()
    loss: Losses = ()
    penalty: Penalty | None = None
    optimizer: Optimizer | None = None
    training: Training = Field(default_factory=lambda: Training(iterations=1))
    upstream: dict[str, Array] = Field(default_factory=dict)
    tangents: Ids = "none"
    rule: Literal["backprop"] = "backprop"
    conventions: Conventions = Field(default_factory=Conventions)
