"""Random whole networks out of all layer types, trained for three iterations here and in PyTorch."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.random_models import Model

from bptrace.network import load

torch = pytest.importorskip("torch", reason='PyTorch is not installed: pip install "bptrace[torch]"')

from support.torch_network import TorchNetwork  # noqa: E402 - after the skip

ALIKE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
LARGEST = 1e4
SMALLEST = 1e-7
"""Networks with larger numbers, and with smaller gradients that are not 0, say nothing about formulas, only about
rounding."""


def optimizer(fields: dict[str, Any], tensors: list[Any]) -> Any:
    """PyTorch's optimizer with the same settings."""
    fields = {key: value for key, value in fields.items() if key != "clip"}
    kind, rate = fields.pop("type"), fields.pop("learning_rate")
    if kind == "amsgrad":
        kind, fields["amsgrad"] = "adam", True
    names = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "adamax": "Adamax", "nadam": "NAdam", "radam": "RAdam",
             "adagrad": "Adagrad", "rmsprop": "RMSprop", "adadelta": "Adadelta"}  # fmt: skip
    return getattr(torch.optim, names[kind])(tensors, lr=rate, **fields)


def clip(limits: dict[str, float], gradients: list[Any]) -> list[Any]:
    for kind, limit in limits.items():
        if kind == "value":
            gradients = [g.clamp(-limit, limit) for g in gradients]
        elif kind == "norm":
            gradients = [g * min(1, limit / max(g.norm(), 1e-300)) for g in gradients]
        elif gradients:
            whole = torch.sqrt(sum((g**2).sum() for g in gradients))
            gradients = [g * min(1, limit / max(whole, 1e-300)) for g in gradients]
    return gradients


def sound(theirs: TorchNetwork) -> bool:
    """Whether rounding cannot decide what comes out: nothing overflows, no gradient is only rounding (an optimizer
    that divides by its size makes something of it), and no probability is so near to 0 or 1 that PyTorch, which
    differentiates logarithm and sigmoid one after the other, is left with few digits."""
    values = [v.detach() for v in (*theirs.nodes.values(), theirs.loss)]
    gradients = [leaf.grad for leaf in theirs.leaves.values() if leaf.grad is not None]
    whole = torch.cat([value.flatten() for value in [*values, *gradients]])
    sizes = torch.cat([gradient.flatten().abs() for gradient in gradients]) if gradients else torch.zeros(1)
    loss, y = str(theirs.yaml["loss"]), theirs.output
    if "entropy" in loss and "logits" not in loss and not ((y > 1e-6) & (y < 1 - 1e-6)).all():
        return False
    return bool((whole[~whole.isinf()].abs() < LARGEST).all()) and not ((sizes > 0) & (sizes < SMALLEST)).any()


class RoundingError(Exception):
    """A number is 0 in one way of computing it, and in the other what rounding left: signs, and optimizers that
    divide by its size, are then chance."""


def agree(found: Any, expected: Any, id: str) -> None:
    sizes = np.abs(np.stack([np.asarray(found, dtype=float), expected.detach().numpy()]))
    if ((sizes.min(0) == 0) & (sizes.max(0) > 0) & (sizes.max(0) < 1e-12)).any():
        raise RoundingError(id)
    np.testing.assert_allclose(np.asarray(found, dtype=float), expected.detach().numpy(), **ALIKE, err_msg=id)


def compare(document: dict[str, Any]) -> bool:
    """Train in both ways; every value, gradient and updated number must be the same. False where numbers are too
    large or too small to be compared."""
    text = json.dumps(document)
    trace = load("model.yaml", text=text).run()
    graph = trace.assembly(1).graph
    trained = [node.id for node in trace.assembly(1).trainable]
    state = {id: trace.value(id, 1) for id in trained}
    tensors = {id: torch.tensor(value, dtype=torch.float64, requires_grad=True) for id, value in state.items()}
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam keeps its product of μ in the default type
    try:
        updates = optimizer(document["optimizer"], list(tensors.values())) if tensors else None
        statistics: dict[str, Any] = {}
        for iteration in (1, 2, 3):
            current = {**statistics, **{id: value.tolist() for id, value in tensors.items()}}
            rows = [n - 1 for n in trace.samples(iteration)]
            theirs = TorchNetwork(text, current, iteration, rows)
            if not sound(theirs):
                return False
            values = trace.values(iteration)
            held = {node.id: node for node in trace.assembly(iteration).graph.nodes}

            def ours(id: str) -> Any:
                return np.array(values.flat(held[id])).reshape(held[id].shape)  # noqa: B023 - used at once

            agree(ours("loss"), theirs.loss, "loss")
            for id, value in theirs.nodes.items():
                agree(ours(trace.assembly(iteration).graph.by_id[id].id), value, id)
                if value.grad is not None and f"grad.{id}" in held:
                    agree(ours(f"grad.{id}"), value.grad, f"grad.{id}")
            missing = [id for id, leaf in theirs.leaves.items() if f"grad.{id}" not in held and leaf.grad is not None]
            assert not any(theirs.gradient(id).any() for id in missing), missing
            reached = [id for id in tensors if theirs.leaves[id].grad is not None]
            gradients = clip(document["optimizer"].get("clip", {}), [theirs.leaves[id].grad for id in reached])
            for id, gradient in zip(reached, gradients, strict=True):
                tensors[id].grad = gradient.clone()
            if updates is not None:
                updates.step()
            for id in reached:
                agree(ours(f"new.{id}"), tensors[id], f"new.{id} in iteration {iteration}")
            statistics = {id: value.tolist() for id, value in theirs.states.items()}
    finally:
        torch.set_default_dtype(before)
    assert graph.loss is not None
    return True


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9))
def test_random_networks(seed: int) -> None:
    try:
        assume(compare(Model(random.Random(seed)).document()))
    except RoundingError:
        assume(False)
