"""Batch, layer, group and RMS norm: against PyTorch, against their own formulas, by hand, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.conv import by_array_engine, by_formula, document, random, traced

from bptrace.build.assemble import assemble
from bptrace.errors import SpecError
from bptrace.spec.load import load

Array = np.ndarray[Any, np.dtype[np.float64]]
ALIKE: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-11}

FOUR = [[1.0, 2.0], [3.0, 5.0], [5.0, 11.0], [7.0, 2.0]]


def tensor(values: Any) -> Any:
    torch = pytest.importorskip("torch")
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def agree(trace: Any, expected: dict[str, Any], iteration: int | None = None) -> None:
    for id, value in expected.items():
        found = trace.value(id, iteration=iteration)
        np.testing.assert_allclose(found, value.detach().numpy(), **ALIKE, err_msg=id)


def by_both_ways(made: dict[str, Any], expected: dict[str, Any]) -> None:
    """The kernels bound for the loop, and the formulas as they are printed."""
    for found in (by_array_engine(made), by_formula(made)):
        for id, value in expected.items():
            np.testing.assert_allclose(found[id], value.detach().numpy(), **ALIKE, err_msg=id)


# By hand: mean 4, variance 5; mean 5, variance 13.5


def test_batch_norm_by_hand() -> None:
    layer = {"type": "batch_norm", "name": "bn", "epsilon": 0, "gamma": [2, 3], "beta": [0.5, -1]}
    trace = traced(document(np.array(FOUR), layer))
    assert trace.value("bn.mean") == [4, 5]
    assert trace.value("bn.var") == [5, 13.5]
    np.testing.assert_allclose(trace.value("bn.normalized")[0], [-3 / 5**0.5, -3 / 13.5**0.5])
    np.testing.assert_allclose(trace.value("bn.y")[0], [2 * -3 / 5**0.5 + 0.5, 3 * -3 / 13.5**0.5 - 1])
    np.testing.assert_allclose(trace.value("new.bn.running_mean"), [0.4, 0.5])
    np.testing.assert_allclose(trace.value("new.bn.running_var"), [0.9 + 0.1 * 20 / 3, 0.9 + 0.1 * 54 / 3])


def test_shift_moves_nothing_back() -> None:
    """x̂ does not change when all x move together: the gradients by x add up to 0 in each channel."""
    layer = {"type": "batch_norm", "name": "bn"}
    trace = traced(document(np.array(FOUR), layer, upstream={"bn.y": [[1, 2], [0, 0], [-3, 1], [0.5, 0]]}))
    np.testing.assert_allclose(np.sum(trace.value("grad.x"), axis=0), [0, 0], atol=1e-15)
    np.testing.assert_allclose(trace.value("grad.bn.mean/bn.var"), [0, 0], atol=1e-15)
    parts = ["grad.x/bn.normalized", "grad.x/bn.mean", "grad.x/bn.var"]
    np.testing.assert_allclose(np.sum([trace.value(part) for part in parts], axis=0), trace.value("grad.x"))


def test_nodes_and_their_shapes() -> None:
    x = random(np.random.default_rng(0), 2, 4, 3, 3)
    shapes: dict[str, dict[str, Any]] = {
        "batch_norm": {"n.mean": (4,), "n.var": (4,), "n.normalized": x.shape, "n.gamma": (4,), "n.running_var": (4,),
                       "new.n.running_mean": (4,)},
        "group_norm": {"n.mean": (2, 2), "n.var": (2, 2), "n.normalized": x.shape, "n.beta": (4,)},
        "layer_norm": {"n.mean": (2, 4, 3), "n.var": (2, 4, 3), "n.gamma": (3,)},
        "rms_norm": {"n.rms": (2, 4, 3), "n.normalized": x.shape, "n.gamma": (3,)},
    }  # fmt: skip
    for kind, wanted in shapes.items():
        trace = traced(document(x, {"type": kind, "name": "n", **({"groups": 2} if kind == "group_norm" else {})}))
        for id, shape in wanted.items():
            assert np.shape(trace.value(id)) == shape, id
    whole = traced(document(x, {"type": "layer_norm", "name": "n", "axes": "all_but_batch"}))
    assert np.shape(whole.value("n.mean")) == (2,)
    assert np.shape(whole.value("n.gamma")) == (4, 3, 3)


# Against PyTorch


@st.composite
def images(draw: Any) -> dict[str, Any]:
    rank = draw(st.integers(0, 3))
    return {
        "shape": (draw(st.integers(2, 4)), draw(st.integers(1, 4)), *draw(st.tuples(*[st.integers(1, 3)] * rank))),
        "last": rank > 0 and draw(st.booleans()),
        "epsilon": draw(st.sampled_from([1e-5, 1e-3, 0.5])),
        "seed": draw(st.integers(0, 10**6)),
    }


def given_image(case: dict[str, Any], kind: str, **fields: Any) -> tuple[dict[str, Any], Any, Any, Any, Any, Any]:
    """The document, what moves channels to their place, and PyTorch's x, γ, β and the upstream gradient."""
    rng = np.random.default_rng(case["seed"])
    x, u = random(rng, *case["shape"]), random(rng, *case["shape"])
    gamma, beta = random(rng, case["shape"][1]), random(rng, case["shape"][1])
    move = (lambda a: np.moveaxis(a, 1, -1)) if case["last"] else (lambda a: a)
    layer = {
        "type": kind, "name": "n", "gamma": gamma.tolist(), "beta": beta.tolist(), "epsilon": case["epsilon"], **fields,
    }  # fmt: skip
    made = document(
        move(x), layer, upstream={"n.y": move(u).tolist()},
        conventions={"channel_order": "last" if case["last"] else "first"},
    )  # fmt: skip
    return made, move, tensor(x), tensor(gamma), tensor(beta), tensor(u)


@settings(max_examples=60, deadline=None)
@given(images(), st.sampled_from(["biased", "unbiased"]), st.floats(0, 1))
def test_batch_norm_is_pytorchs(case: dict[str, Any], variance: str, momentum: float) -> None:
    torch = pytest.importorskip("torch")
    made, move, x, gamma, beta, u = given_image(case, "batch_norm", momentum=momentum, variance=variance)
    made["training"] = {"iterations": 3}
    made["layers"][0]["running"] = {"mean": 0.25, "variance": [0.5] * case["shape"][1]}
    mean, var = torch.full(gamma.shape, 0.25).double(), torch.full(gamma.shape, 0.5).double()
    trace = traced(made)
    axes = [axis for axis in range(x.dim()) if axis != 1]
    for iteration in (1, 2, 3):
        np.testing.assert_allclose(trace.value("n.running_mean", iteration=iteration), mean.numpy(), **ALIKE)
        np.testing.assert_allclose(trace.value("n.running_var", iteration=iteration), var.numpy(), **ALIKE)
        if variance == "biased":
            y = torch.nn.functional.batch_norm(x, mean, var, gamma, beta, True, momentum, case["epsilon"])
        else:  # only the divisor is another
            wide = (1, -1, *(1,) * (x.dim() - 2))
            away = x - x.mean(axes, keepdim=True)
            y = away / torch.sqrt(x.var(axes, keepdim=True) + case["epsilon"]) * gamma.view(wide) + beta.view(wide)
            torch.nn.functional.batch_norm(x.detach(), mean, var, None, None, True, momentum)
        np.testing.assert_allclose(trace.value("new.n.running_mean", iteration=iteration), mean.numpy(), **ALIKE)
        np.testing.assert_allclose(trace.value("new.n.running_var", iteration=iteration), var.numpy(), **ALIKE)
    y.backward(u)
    agree(trace, {"grad.n.gamma": gamma.grad, "grad.n.beta": beta.grad, "n.mean": x.mean(axes)})
    np.testing.assert_allclose(trace.value("n.y"), move(y.detach().numpy()), **ALIKE)
    np.testing.assert_allclose(trace.value("grad.x"), move(x.grad.numpy()), **ALIKE)
    slow = by_formula(made)
    np.testing.assert_allclose(slow["grad.x"], move(x.grad.numpy()), **ALIKE)
    np.testing.assert_allclose(slow["new.n.running_var"], trace.value("new.n.running_var", iteration=1), **ALIKE)


@settings(max_examples=40, deadline=None)
@given(images())
def test_inference_is_pytorchs(case: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(case["seed"])
    mean, var = random(rng, case["shape"][1]), np.abs(random(rng, case["shape"][1]))
    running = {"mean": mean.tolist(), "variance": var.tolist()}
    made, move, x, gamma, beta, u = given_image(case, "batch_norm", mode="inference", running=running)
    y = torch.nn.functional.batch_norm(
        x, torch.tensor(mean), torch.tensor(var), gamma, beta, False, 0.1, case["epsilon"]
    )
    y.backward(u)
    for found in (by_array_engine(made), by_formula(made)):
        np.testing.assert_allclose(found["n.y"], move(y.detach().numpy()), **ALIKE)
        np.testing.assert_allclose(found["grad.x"], move(x.grad.numpy()), **ALIKE)
        np.testing.assert_allclose(found["grad.n.gamma"], gamma.grad.numpy(), **ALIKE)
        np.testing.assert_allclose(found["grad.n.beta"], beta.grad.numpy(), **ALIKE)
        assert not {"n.mean", "n.var", "new.n.running_mean"} & set(found)


@settings(max_examples=60, deadline=None)
@given(images(), st.integers(1, 4), st.booleans())
def test_group_norm_is_pytorchs(case: dict[str, Any], groups: int, whole: bool) -> None:
    torch = pytest.importorskip("torch")
    samples, channels, *rest = case["shape"]
    case["shape"] = (samples, channels * groups, *rest)
    made, move, x, gamma, beta, u = given_image(case, "group_norm", groups=groups)
    y = torch.nn.functional.group_norm(x, groups, gamma, beta, case["epsilon"])
    y.backward(u)
    for found in (by_array_engine(made), by_formula(made)):
        np.testing.assert_allclose(found["n.y"], move(y.detach().numpy()), **ALIKE)
        np.testing.assert_allclose(found["grad.x"], move(x.grad.numpy()), **ALIKE)
        np.testing.assert_allclose(found["grad.n.gamma"], gamma.grad.numpy(), **ALIKE)
        np.testing.assert_allclose(found["grad.n.beta"], beta.grad.numpy(), **ALIKE)
        assert found["n.mean"].shape == (samples, groups)


@st.composite
def arrays(draw: Any) -> dict[str, Any]:
    shape = (draw(st.integers(1, 3)), *(draw(st.integers(1, 4)) for _ in range(draw(st.integers(1, 3)))))
    axes = draw(st.sampled_from(["last", "all_but_batch"]))
    return {
        "shape": shape, "axes": axes, "scaled": shape[1:] if axes == "all_but_batch" else shape[-1:],
        "epsilon": draw(st.sampled_from([1e-5, 1e-3, 0.5])), "seed": draw(st.integers(0, 10**6)),
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(arrays(), st.booleans())
def test_layer_norm_is_pytorchs(case: dict[str, Any], affine: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(case["seed"])
    x, u = random(rng, *case["shape"]), random(rng, *case["shape"])
    gamma, beta = (random(rng, *case["scaled"]) for _ in range(2))
    layer = {"type": "layer_norm", "name": "n", "axes": case["axes"], "epsilon": case["epsilon"]}
    given = {"gamma": gamma.tolist(), "beta": beta.tolist()} if affine else {"gamma": False, "beta": False}
    made = document(x, layer | given, upstream={"n.y": u.tolist()})
    tx, tg, tb = map(tensor, (x, gamma, beta))
    y = torch.nn.functional.layer_norm(tx, case["scaled"], *((tg, tb) if affine else (None, None)), case["epsilon"])
    y.backward(tensor(u))
    expected = {"n.y": y, "grad.x": tx.grad}
    if affine:
        expected |= {"grad.n.gamma": tg.grad, "grad.n.beta": tb.grad}
    if affine:
        by_both_ways(made, expected)
    else:
        assert not {"n.gamma", "n.beta"} & {node.id for node in assemble(load("n", json.dumps(made))).graph.nodes}
        agree(traced(made), expected)


@settings(max_examples=60, deadline=None)
@given(arrays(), st.booleans(), st.booleans())
def test_rms_norm_is_pytorchs(case: dict[str, Any], own_epsilon: bool, shifted: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(case["seed"])
    x, u = random(rng, *case["shape"]) + 0.1, random(rng, *case["shape"])
    gamma, beta = random(rng, *case["scaled"]), random(rng, *case["scaled"])
    layer = {"type": "rms_norm", "name": "n", "axes": case["axes"], "gamma": gamma.tolist()}
    layer |= {"epsilon": case["epsilon"]} if own_epsilon else {}
    layer |= {"beta": beta.tolist()} if shifted else {}
    tx, tg = tensor(x), tensor(gamma)
    y = torch.nn.functional.rms_norm(tx, case["scaled"], tg, case["epsilon"] if own_epsilon else None)
    y = y + torch.tensor(beta) if shifted else y
    y.backward(tensor(u))
    made = document(x, layer, upstream={"n.y": u.tolist()})
    by_both_ways(made, {"n.y": y, "grad.x": tx.grad, "grad.n.gamma": tg.grad})


@pytest.mark.parametrize("kind", ["layer_norm", "group_norm"])
def test_unbiased_variance(kind: str) -> None:
    """No norm of PyTorch's divides by N - 1 but its parts do."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    x, u = random(rng, 2, 6), random(rng, 2, 6)
    groups = {"groups": 2} if kind == "group_norm" else {}
    layer = {"type": kind, "name": "n", "variance": "unbiased", **groups}
    tx = tensor(x)
    parts = tx.reshape(2, 2, 3) if groups else tx
    std, mean = torch.std_mean(parts, -1, keepdim=True)
    y = ((parts - mean) / torch.sqrt(std**2 + 1e-5)).reshape(2, 6)
    y.backward(tensor(u))
    by_both_ways(document(x, layer, upstream={"n.y": u.tolist()}), {"n.y": y, "grad.x": tx.grad})


@pytest.mark.parametrize(
    ("engine", "width", "rows", "batch"),
    [("scalar", 2, 4, "all"), ("scalar", 2, 4, 2), ("array", 24, 6, "all"), ("array", 24, 6, 4)],
)
def test_network_trains_as_in_pytorch(engine: str, width: int, rows: int, batch: Any) -> None:
    """dense, batch norm with relu, dense, layer norm, rms norm: four iterations, all parameters and statistics."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    x, t = random(rng, rows, 2), random(rng, rows, 2)
    given = {
        "h.W": random(rng, width, 2),
        "h.b": random(rng, width),
        "o.W": random(rng, 2, width),
        "o.b": random(rng, 2),
    }
    dense = lambda name: {  # noqa: E731
        "type": "dense", "name": name, "units": len(given[f"{name}.b"]), "weights": given[f"{name}.W"].tolist(),
        "bias": given[f"{name}.b"].tolist(),
    }  # fmt: skip
    made = document(
        x, dense("h"), {"type": "batch_norm", "name": "bn", "activation": "relu"}, dense("o"),
        {"type": "layer_norm", "name": "ln"}, {"type": "rms_norm", "name": "rms", "epsilon": 1e-5},
        loss="half_squared_error", optimizer={"type": "sgd", "learning_rate": 0.1, "momentum": 0.5},
        training={"iterations": 4, "batch_size": batch},
    )  # fmt: skip
    made["data"]["targets"] = t.tolist()
    trace = traced(made)
    assert trace.engine["name"] == engine
    bn, ln = torch.nn.BatchNorm1d(width, dtype=torch.float64), torch.nn.LayerNorm(2, dtype=torch.float64)
    rms = torch.nn.RMSNorm(2, eps=1e-5, dtype=torch.float64)
    tensors = {id: tensor(value) for id, value in given.items()}
    tensors |= {"bn.gamma": bn.weight, "bn.beta": bn.bias, "ln.gamma": ln.weight, "ln.beta": ln.bias}
    tensors["rms.gamma"] = rms.weight
    optimizer = torch.optim.SGD(tensors.values(), lr=0.1, momentum=0.5)
    for iteration in range(1, 5):
        read = [n - 1 for n in trace.samples(iteration)]
        statistics = {"bn.running_mean": bn.running_mean.clone(), "bn.running_var": bn.running_var.clone()}
        agree(trace, statistics, iteration)
        h = torch.relu(bn(torch.nn.functional.linear(tensor(x[read]), tensors["h.W"], tensors["h.b"])))
        y = rms(ln(torch.nn.functional.linear(h, tensors["o.W"], tensors["o.b"])))
        loss = 0.5 * ((torch.tensor(t[read]) - y) ** 2).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        agree(trace, {f"grad.{id}": value.grad for id, value in tensors.items()} | {"loss": loss}, iteration)
        optimizer.step()
        agree(trace, {f"new.{id}": value for id, value in tensors.items()}, iteration)
        agree(trace, {"new.bn.running_mean": bn.running_mean, "new.bn.running_var": bn.running_var}, iteration)
    final = trace.final["parameters"]
    np.testing.assert_allclose(final["bn.running_var"], bn.running_var.numpy(), **ALIKE)
    # the same state in the graph of inference
    whole = assemble(trace.spec, inference=True)
    values = trace.final_parameters(whole)
    bn.eval()
    h = torch.relu(bn(torch.nn.functional.linear(tensor(x), tensors["h.W"], tensors["h.b"])))
    y = rms(ln(torch.nn.functional.linear(h, tensors["o.W"], tensors["o.b"])))
    from support.interpreter import compute, start

    begun = start(whole.graph, whole.tables)
    for leaf in begun:
        if leaf.phase == "parameter":
            begun[leaf] = np.array(values.flat(leaf)).reshape(leaf.shape)
    found = compute(whole.graph.nodes, begun)
    np.testing.assert_allclose(found[whole.graph.by_id["rms.y"]], y.detach().numpy(), **ALIKE)
    assert "new.bn.running_mean" not in whole.graph.by_id


# Fields


def test_samples_in_columns() -> None:
    x = random(np.random.default_rng(6), 3, 4)
    for kind in ("batch_norm", "layer_norm", "rms_norm", "group_norm"):
        extra = {"groups": 2} if kind == "group_norm" else {}
        layer = {"type": kind, "name": "n", "gamma": [1, 2, 3, 4], **extra}
        rows = traced(document(x, layer, upstream={"n.y": np.round(x * x, 3).tolist()}))
        made = document(
            x.T, layer, upstream={"n.y": np.round(x * x, 3).T.tolist()}, conventions={"sample_axis": "columns"}
        )
        columns = traced(made)
        for id in ("n.y", "grad.x", "grad.n.gamma"):
            np.testing.assert_allclose(np.transpose(columns.value(id)), rows.value(id), rtol=1e-13)


def test_trainable_names_and_missing_parts() -> None:
    layer = {
        "type": "batch_norm", "name": "n", "trainable": {"beta": False},
        "names": {"units": ["a", "b"], "gamma": ["g1", "g2"]},
    }  # fmt: skip
    trace = traced(document(np.array(FOUR), layer, upstream={"n.y": FOUR}))
    assert trace.value("grad.g2") == trace.value("grad.n.gamma")[1]
    assert trace.value("y_a") == [row[0] for row in trace.value("n.y")]
    active = traced(document(np.array(FOUR), {**layer, "activation": "tanh"}, upstream={"n.y": FOUR}))
    assert active.value("δ_b") == [row[1] for row in active.value("n.delta")]
    ids = {node.id for node in trace.assembly(1).graph.nodes}
    assert "grad.n.beta" not in ids
    only = traced(document(np.array(FOUR), {"type": "batch_norm", "name": "n", "gamma": False, "beta": [1, 2]}))
    np.testing.assert_allclose(only.value("n.y"), np.add(only.value("n.normalized"), [1, 2]))
    plain = traced(document(np.array(FOUR), {"type": "batch_norm", "name": "n", "gamma": False, "beta": False}))
    assert plain.value("n.y") == plain.value("n.normalized")


def test_shared_layer_goes_on_with_the_statistics() -> None:
    """As a module of PyTorch that is called twice: one γ, and statistics that take in both inputs in turn."""
    torch = pytest.importorskip("torch")
    layers = [{"type": "batch_norm", "name": "a"}, {"type": "batch_norm", "name": "b", "share": "a"}]
    trace = traced(document(np.array(FOUR), *layers, upstream={"b.y": FOUR}, training={"iterations": 2}))
    module = torch.nn.BatchNorm1d(2, dtype=torch.float64)
    for iteration in (1, 2):
        agree(trace, {"a.running_mean": module.running_mean, "b.running_var": module.running_var}, iteration)
        module.zero_grad()
        module(module(tensor(FOUR))).backward(tensor(FOUR))
        agree(trace, {"grad.a.gamma": module.weight.grad}, iteration)
        agree(trace, {"new.b.running_mean": module.running_mean, "new.b.running_var": module.running_var}, iteration)


def test_forward_mode_is_the_backward_pass() -> None:
    u = np.array([[1, 2], [0, -1], [-3, 1], [0.5, 0]])
    for kind in ("batch_norm", "layer_norm", "rms_norm", "group_norm"):
        layer = {"type": kind, "name": "n", **({"groups": 1} if kind == "group_norm" else {})}
        trace = traced(document(np.array(FOUR), layer, upstream={"n.y": u.tolist()}, tangents="inputs"))
        for n in range(4):
            for k in range(2):
                tangent = np.array(trace.value(f"tangent.x[{n + 1},{k + 1}].n.y"))
                assert np.sum(u * tangent) == pytest.approx(trace.value("grad.x")[n][k], abs=1e-12)


def test_a_run_goes_on_from_a_checkpoint(tmp_path: Any) -> None:
    from bptrace.engine.checkpoint import checkpoint_text, read_checkpoint

    made = document(np.array(FOUR), {"type": "batch_norm", "name": "bn"}, training={"iterations": 5})
    whole = traced(made)
    made["training"]["iterations"] = 3
    begun = traced(made)
    file = tmp_path / "state.json"
    file.write_text(checkpoint_text(begun), encoding="utf-8")
    state, _ = read_checkpoint(str(file), begun.network)
    assert sorted(state) == ["bn.running_mean", "bn.running_var"]
    rest = begun.network.run(iterations=2, start=state)
    assert rest.value("new.bn.running_var") == whole.value("new.bn.running_var")


def test_exact_mode_of_variance_0() -> None:
    """Two equal rows: all numbers are fractions, x̂ is 0 over √ε = 1/2."""
    layer = {"type": "batch_norm", "name": "bn", "epsilon": 0.25, "beta": [1, 2]}
    trace = traced(document(np.array([[3.0, 4.0], [3.0, 4.0]]), layer, conventions={"rounding": {"digits": 3}}))
    assert trace.value("bn.y") == [[1, 2], [1, 2]]


# What is refused


def refused(layer: dict[str, Any], inputs: Any = FOUR, **rest: Any) -> str:
    made = {"data": {"inputs": inputs}, "layers": [{"name": "n", **layer}], **rest}
    with pytest.raises(SpecError) as raised:
        assemble(load("net.yaml", json.dumps(made, indent=1)))
    text = str(raised.value)
    assert text.startswith("net.yaml:")
    return text


BATCH, LAYER, GROUP, RMS = ({"type": f"{kind}_norm"} for kind in ("batch", "layer", "group", "rms"))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ({**BATCH, "gamma": [1, 2, 3]}, ["layers[0].gamma", "the shape is [3]", "the shape [2]"]),
        ({**BATCH, "beta": [[1, 2]]}, ["layers[0].beta", "the shape is [1, 2]"]),
        ({**BATCH, "gamma": True}, ["layers[0].gamma"]),
        ({**BATCH, "running": {"mean": [1]}}, ["layers[0].running.mean", "the shape is [1]", "the shape [2]"]),
        ({**BATCH, "running": {"variance": [1, -2]}}, ["layers[0].running.variance[1]", "a variance of -2"]),
        ({**BATCH, "running": {"variance": -1}}, ["layers[0].running.variance", "a variance of -1"]),
        ({**BATCH, "running": {"var": 1}}, ["running.var", "variance"]),
        ({**BATCH, "momentum": 1.5}, ["layers[0].momentum"]),
        ({**BATCH, "epsilon": -1e-5}, ["layers[0].epsilon"]),
        ({**BATCH, "mode": "eval"}, ["layers[0].mode", "inference"]),
        ({**BATCH, "variance": "unbaised"}, ["layers[0].variance", "unbiased"]),
        ({**BATCH, "groups": 2}, ["groups"]),
        ({**BATCH, "axes": "last"}, ["axes"]),
        ({**LAYER, "running": {"mean": 0}}, ["running"]),
        ({**LAYER, "groups": 2}, ["groups"]),
        ({**LAYER, "mode": "inference"}, ["mode"]),
        ({**LAYER, "axes": "all"}, ["layers[0].axes", "all_but_batch"]),
        ({**RMS, "variance": "biased"}, ["variance"]),
        ({**RMS, "momentum": 0.1}, ["momentum"]),
        ({**GROUP, "groups": 3}, ["layers[0].groups", "3 groups do not divide 2 channels", "1, 2"]),
        ({**GROUP, "groups": 0}, ["layers[0].groups"]),
        (GROUP, ["groups"]),
        ({**GROUP, "groups": 2, "variance": "unbiased"}, ["layers[0].variance", "variance: biased"]),
        ({**LAYER, "names": {"weights": "w"}}, ["layers[0].names.weights", "no part 'weights'"]),
        ({**BATCH, "share": "m"}, ["layers[0].share"]),
    ],
)  # fmt: skip
def test_refuses(layer: dict[str, Any], said: list[str]) -> None:
    text = refused(layer)
    for part in said:
        assert part in text


def test_all_problems_of_a_layer_at_once() -> None:
    text = refused({**BATCH, "gamma": [1, 2, 3], "running": {"mean": [1], "variance": -1}}, [[1, 2]])
    for part in ("layers[0].gamma", "layers[0].running.mean", "layers[0].running.variance", "layers[0].type: a batch"):
        assert part in text


def test_refuses_one_value_a_channel() -> None:
    said = "a batch of 1 has one value a channel, which is its own mean"
    assert f"layers[0].type: {said}" in refused(BATCH, [[1, 2]])
    assert "mode: inference, or layer_norm" in refused(BATCH, [[1, 2]])
    assert f"training.batch_size: {said}" in refused(BATCH, training={"iterations": 2, "batch_size": 3})
    assert f"layers[0].type: {said}" in refused(BATCH, [[[[1]], [[2]]]])
    # one image is enough: its places are values too
    assert traced(document(np.ones((1, 2, 2, 2)), {**BATCH, "name": "n"})).value("n.var") == [0, 0]
    # and inference needs no batch
    assert traced(document(np.ones((1, 2)), {**BATCH, "name": "n", "mode": "inference"})).value("n.running_var") == [
        1,
        1,
    ]


def test_refuses_what_has_no_features() -> None:
    columns = {"conventions": {"sample_axis": "columns"}}
    assert "sample_axis" in refused(BATCH, [[[1, 2]], [[3, 4]]], **columns)
    assert "sample_axis" in refused(LAYER, [[[1, 2]], [[3, 4]]], **columns)
    deep = np.ones((1, 1, 1, 1, 1, 1)).tolist()
    assert "batch_norm cannot read x of the shape [1, 1, 1, 1, 1, 1]" in refused(BATCH, deep)
    assert "no part 'units'" in refused({**BATCH, "names": {"units": ["a", "b"]}}, np.ones((2, 2, 3)).tolist())


def test_a_constant_channel_without_epsilon_stops_the_run() -> None:
    made = document(np.array([[1.0, 2.0], [1.0, 3.0]]), {**BATCH, "name": "n", "epsilon": 0})
    trace = traced(made)
    assert "n.normalized[1,1]" in str(trace.stopped)


# On the page


def page(made: dict[str, Any]) -> str:
    return " ".join(traced(made).text("text", [1]).split())


def test_page_of_training() -> None:
    layers = [{"type": "dense", "name": "h", "units": 2, "bias": False}, {**BATCH, "name": "bn"}]
    rest: dict[str, Any] = {"loss": "mean", "optimizer": {"type": "sgd"}}
    text = page(document(np.array(FOUR), *layers, **rest))
    for part in [
        "Layer bn: batch norm",
        "bn σ² = Σ (x - μ)²/N the divisor of the variance is the number of values",
        "bn σ²_run the running variance takes in the one with the divisor N - 1",
        "bn μ_run, σ²_run not given: mean 0, variance 1",
        "bn.running_mean 0 (both)",
        "x̂ = (z_h - μ)/√(σ² + ε) ε = 1e-05",
        "∂E/∂μ = ∂E/∂σ² · ∂σ²/∂μ - (Σ ∂E/∂x̂/√(σ² + ε))",
        "h.delta δ = ∂E/∂μ_bn/4 + ∂E/∂σ²_bn · (2·(z - μ_bn)/4) + ∂E/∂x̂_bn/√(σ²_bn + ε)",
        "new.bn.running_mean running mean new μ_run = (1 - m)·μ_run + m·μ m = 0.1",
        "new σ²_run = (1 - m)·σ²_run + m·σ²·4/(4 - 1)",
    ]:
        assert part in text, part
    # the gradient by the data is not shown where something is trained, and neither are its parts
    assert "∂E/∂x" not in page(document(np.array(FOUR), {**BATCH, "name": "bn"}, **rest)).replace("∂E/∂x̂", "")


def test_page_of_inference() -> None:
    text = page(document(np.array(FOUR), {**BATCH, "name": "bn", "mode": "inference", "activation": "relu"}))
    assert "Layer bn: batch norm, relu" in text
    assert "bn x̂ = (x - μ_run)/√(σ²_run + ε) inference: the running statistics stand for the batch's" in text
    assert "bn μ_run, σ²_run not given: mean 0, variance 1" in text


def test_symbols_in_latex_and_ascii() -> None:
    from bptrace.formula.latex import symbol_latex
    from bptrace.writers.layout import to_ascii

    assert symbol_latex("σ²") == r"{\sigma^{2}}"
    assert symbol_latex("σ²_run[2]") == r"{\sigma^{2}}_{\mathrm{run},2}"
    assert symbol_latex("x̂") == r"\hat{x}"
    assert to_ascii("x̂ = (x - μ)/√(σ²_run + ε)") == "x_hat = (x - mu)/sqrt(var_run + eps)"
    assert to_ascii("σ(z)²") == "sigmoid(z)^2"
