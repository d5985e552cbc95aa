"""Layers by PyTorch in float64, from their fields in the YAML: one function a type.

Each takes the network (parameters by id, conventions, the iteration), the layer's name, its mapping and its input, and
returns what the layer makes of it before its activation. Inner quantities that have an id are kept under it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from support.torch_network import TorchNetwork

Tensor = torch.Tensor
Layer = dict[str, Any]
GATES = {"rnn": ("",), "lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n")}
SIGNS = {"weights": "W", "recurrent": "U", "bias": "b", "recurrent_bias": "rb"}


def each(value: Any, rank: int) -> list[Any]:
    return list(value) if isinstance(value, list) else [value] * rank


def margins(layer: Layer, extents: Sequence[int]) -> list[tuple[int, int]]:
    """The padding before and after, axis by axis."""
    padding, rank = layer.get("padding", 0), len(extents)
    if padding == "valid":
        padding = 0
    if not isinstance(padding, str):
        return [tuple(p) if isinstance(p, list) else (p, p) for p in each(padding, rank)]
    found = []
    kernel, stride, dilation = (each(layer.get(key) or 1, rank) for key in ("kernel", "stride", "dilation"))
    for n, k, s, d in zip(extents, kernel, stride, dilation, strict=True):
        whole = max(0, (math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n)
        less, more = whole // 2, whole - whole // 2
        found.append((less, more) if padding == "same" else (more, less))
    return found


def padded(x: Tensor, pairs: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    return F.pad(x, [side for pair in reversed(pairs) for side in pair], value=value)


def image(make: Callable[[TorchNetwork, str, Layer, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Channels go to the place where PyTorch has them, and back."""

    def layer_of(net: TorchNetwork, name: str, layer: Layer, x: Tensor) -> Tensor:
        last = layer.get("channel_order", net.conventions.get("channel_order")) == "last"
        net.mark(x, -1 if last else 1)
        made = make(net, name, layer, x.movedim(-1, 1) if last else x)
        made = made.movedim(1, -1) if last and made.dim() > 2 else made
        return net.mark(made, -1 if last else 1)

    return layer_of


@image
def convolution(net: TorchNetwork, name: str, layer: Layer, x: Tensor) -> Tensor:
    rank, groups, channels = x.dim() - 2, layer.get("groups", 1), layer["channels"]
    transposed = "transpose" in layer["type"]
    kernel = each(layer["kernel"], rank)
    shape = (x.shape[1], channels // groups) if transposed else (channels, x.shape[1] // groups)
    weights = net.parameter(name, layer, "weights", "W", (*shape, *kernel))
    absent = f"{layer['share']}.b" not in net.leaves if layer.get("share") else layer.get("bias") is False
    bias = None if absent else net.parameter(name, layer, "bias", "b", (channels,))
    if layer.get("flip_kernel"):
        weights = weights.flip(list(range(2, 2 + rank)))
    stride, dilation = each(layer.get("stride", 1), rank), each(layer.get("dilation", 1), rank)
    run: Any = getattr(F, f"conv{'_transpose' if transposed else ''}{rank}d")
    if not transposed:
        z = run(padded(x, margins(layer, x.shape[2:])), weights, bias, stride, 0, dilation, groups)
    else:
        more = each(layer.get("output_padding", 0), rank)
        padding = each(layer.get("padding", 0), rank)
        z = run(x, weights, bias, stride, padding, more, groups, dilation)
    return z  # type: ignore[no-any-return]


@image
def pooling(net: TorchNetwork, name: str, layer: Layer, x: Tensor) -> Tensor:
    rank, kernel = x.dim() - 2, layer["kernel"]
    stride, dilation = layer.get("stride", kernel), layer.get("dilation", 1)
    pairs, ceil = margins({**layer, "stride": stride}, x.shape[2:]), layer.get("ceil_mode", False)
    even = all(before == after for before, after in pairs)
    padding: Any = [before for before, _ in pairs] if even else 0
    if layer["type"] == "max_pool":
        x = x if even else padded(x, pairs, -math.inf)
        return getattr(F, f"max_pool{rank}d")(x, kernel, stride, padding, dilation, ceil)  # type: ignore[no-any-return]
    run: Any = getattr(F, f"avg_pool{rank}d")
    counted = layer.get("count_padding", True)
    if even:
        return run(x, kernel, stride, padding, ceil, counted)  # type: ignore[no-any-return]
    found = run(padded(x, pairs), kernel, stride, 0, ceil)
    if not counted:  # of each window the share that lies on the input
        found = found / run(padded(torch.ones_like(x), pairs), kernel, stride, 0, ceil)
    return found  # type: ignore[no-any-return]


@image
def global_average(net: TorchNetwork, name: str, layer: Layer, x: Tensor) -> Tensor:
    return x.flatten(2).mean(2)


@image
def adaptive_average(net: TorchNetwork, name: str, layer: Layer, x: Tensor) -> Tensor:
    return getattr(F, f"adaptive_avg_pool{x.dim() - 2}d")(x, layer["size"])  # type: ignore[no-any-return]


def flatten(net: TorchNetwork, name: str, layer: Layer, x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], *layer.get("shape", [-1]))


def embedding(net: TorchNetwork, name: str, layer: Layer, x: Tensor) -> Tensor:
    table = net.parameter(name, layer, "weights", "W", (layer["vocabulary"], layer["units"]))
    return F.embedding(x.detach().long(), table)


def positions(net: TorchNetwork, name: str, layer: Layer, x: Tensor) -> Tensor:
    count, units = x.shape[1:]
    if layer.get("kind") == "learned":
        return x + net.parameter(name, layer, "weights", "W", (count, units))
    rows = [
        [(math.cos if i % 2 else math.sin)(t / 10000 ** ((i - i % 2) / units)) for i in range(units)]
        for t in range(count)
    ]
    return x + torch.tensor(rows, dtype=torch.float64)


# recurrent layers


def _cell(kind: str, layer: Layer, gate: Callable[..., Tensor], act: Any, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    if kind == "rnn":
        return act(gate("", h)), c
    if kind == "lstm":
        i, f, o = (torch.sigmoid(gate(name, h)) for name in "ifo")
        c = f * c + i * torch.tanh(gate("g", h))
        return o * torch.tanh(c), c
    r, z = torch.sigmoid(gate("r", h)), torch.sigmoid(gate("z", h))
    n = torch.tanh(gate("n", r * h) if layer.get("reset") == "before" else gate("n", h, r))
    return (1 - z) * n + z * h if layer.get("keep", "old") == "old" else (1 - z) * h + z * n, c


def _places(net: TorchNetwork, value: str, prefix: str, s: str) -> list[tuple[dict[str, Tensor], str]]:
    """Where a named state may be found, the first one first."""
    return [(net.ends, f"{value}.{prefix}{s}"), (net.ends, f"{value}.{s}"), (net.outputs, value), (net.nodes, value)]


def _walk(net: TorchNetwork, name: str, layer: Layer, x: Tensor, parts: Layer, prefix: str, back: bool) -> list[Tensor]:
    """The states h after each step, by the step's place in the input."""
    kind, units, shapes = layer["type"], layer["units"], {"weights": x.shape[2], "recurrent": layer["units"]}
    flipped = layer.get("weight_layout", net.conventions.get("weight_layout")) == "in_out"
    held: dict[tuple[str, str], Tensor] = {}
    for part, sign in SIGNS.items():
        for g in GATES[kind]:
            given = parts.get(part, False if part == "recurrent_bias" else None)
            if isinstance(given, dict) and "packed" in given:
                axis = 1 if flipped and part in shapes else 0
                pieces = torch.tensor(given["packed"], dtype=torch.float64).chunk(len(GATES[kind]), axis)
                given = pieces[given.get("order", "".join(GATES[kind])).index(g)].tolist()
            if isinstance(given, dict):
                given = given.get(g, False if part == "recurrent_bias" else None)
            shape = (units, shapes[part]) if part in shapes else (units,)
            id = f"{prefix}{sign}_{g}" if g else f"{prefix}{sign}"
            if f"{layer['share']}.{id}" not in net.leaves if layer.get("share") else given is False:
                continue
            w = net.parameter(name, {**layer, part: given}, part, id, shape[::-1] if flipped else shape)
            held[part, g] = w.T if flipped and w.dim() == 2 else w
    start = parts.get("initial_state")
    states = []
    for s in "hc" if kind == "lstm" else "h":
        value = start.get(s, 0) if isinstance(start, dict) else start or 0
        if isinstance(value, str):  # a recurrent layer's last state, a layer's output, or a node
            state = next(f[k] for f, k in _places(net, value, prefix, s) if k in f).clone()
        else:
            state = torch.tensor(value, dtype=torch.float64).expand(x.shape[0], units).clone().requires_grad_()
        states.append(net.keep(f"{name}.{prefix}{s}@0", state))
    h, c = states if kind == "lstm" else (states[0], states[0])
    zero = torch.zeros(units, dtype=torch.float64)

    def gate_at(t: int) -> Callable[..., Tensor]:
        def gate(g: str, h: Tensor, times: Tensor | None = None) -> Tensor:
            inner = h @ held["recurrent", g].T + held.get(("recurrent_bias", g), zero)
            inner = inner if times is None else inner * times
            return x[:, t] @ held["weights", g].T + held.get(("bias", g), zero) + inner

        return gate

    count, found = x.shape[1], {}
    mask = torch.tensor(layer.get("mask", 1.0), dtype=torch.float64).expand(x.shape[:2])
    for k, t in enumerate(range(count - 1, -1, -1) if back else range(count)):
        if layer.get("truncate") and k and k % layer["truncate"] == 0:
            h, c = h.detach(), c.detach()
        made = _cell(kind, layer, gate_at(t), lambda z: net.activated(layer.get("activation", "tanh"), z), h, c)
        if not mask[:, t].all():  # where the step is not read, both states stay as they were
            m = mask[:, t, None]
            made = tuple(m * new + (1 - m) * old for new, old in zip(made, (h, c), strict=True))
        h, c = made
        found[t] = h = net.keep(f"{name}.{prefix}h@{t + 1}", h)
        if kind == "lstm":
            c = net.keep(f"{name}.{prefix}c@{t + 1}", c)
    net.ends |= {f"{name}.{prefix}h": h, f"{name}.{prefix}c": c}
    return [found[t] for t in range(count)]


def recurrent(net: TorchNetwork, name: str, layer: Layer, x: Tensor) -> Tensor:
    ways = [_walk(net, name, layer, x, layer, "", layer.get("reverse", False))]
    second = layer.get("bidirectional")
    if second:
        ways.append(_walk(net, name, layer, x, {} if second is True else second, "reverse.", True))
    if layer.get("output", "last") == "last":
        return torch.cat([net.ends[f"{name}.h"], *([net.ends[f"{name}.reverse.h"]] if second else [])], 1)
    return torch.cat([torch.stack(way, 1) for way in ways], 2)


# attention


def attention(net: TorchNetwork, name: str, layer: Layer, x: Tensor) -> Tensor:
    context = net.outputs[layer["context"]] if layer.get("context") else x
    units, heads = layer["units"], layer.get("heads", 1)
    value_units = layer.get("value_units", units)

    def project(part: str, source: Tensor, out: int) -> Tensor:
        given, sign = layer.get(part) or {}, part[0]
        shape = (out, source.shape[-1])
        flipped = layer.get("weight_layout", net.conventions.get("weight_layout")) == "in_out"
        given = {**given, "share": layer.get("share")}
        w = net.parameter(name, given, "weights", f"W_{sign}", shape[::-1] if flipped else shape)
        made = source @ (w if flipped else w.T)
        if given.get("bias", False) is False:
            return made
        return made + net.parameter(name, given, "bias", f"b_{sign}", (out,))

    def split(t: Tensor) -> Tensor:
        return t.unflatten(-1, (heads, -1)).transpose(1, 2)

    q, k = split(project("query", x, units)), split(project("key", context, units))
    v = split(project("value", context, value_units))
    scores = q @ k.transpose(-1, -2)
    if layer.get("score") == "additive":
        scores = torch.tanh(q[..., :, None, :] + k[..., None, :, :]).sum(-1)
    scale = layer.get("scale", "sqrt")
    scores = scores / math.sqrt(q.shape[-1]) if scale == "sqrt" else scores * scale
    mask = layer.get("mask")
    if mask is not None:
        looks = torch.ones(scores.shape[-2:]).tril() if mask == "causal" else torch.tensor(mask)
        scores = scores.masked_fill(looks == 0, -math.inf)
    weights = torch.softmax(scores, -1)
    for id, value in {"scores": scores, "weights": weights}.items():
        net.nodes[f"{name}.{id}"] = (value if heads > 1 else value[:, 0]).detach()
    z = (weights @ v).transpose(1, 2).flatten(2)
    return z if layer.get("output") is False else project("output", z, units)


# normalisation


def _wide(vector: Tensor, x: Tensor, axis: int) -> Tensor:
    """A number a channel, to be joined with x."""
    return vector.reshape([-1 if k == axis else 1 for k in range(x.dim())])


def _scaled(net: TorchNetwork, name: str, layer: Layer, x: Tensor, shape: tuple[int, ...], axis: int | None) -> Tensor:
    net.nodes[f"{name}.normalized"] = x.detach()
    for part, start in (("gamma", 1.0), ("beta", 0.0)):
        if layer.get(part) is False or (part == "beta" and layer["type"] == "rms_norm" and layer.get(part) is None):
            continue
        fields = {**layer, part: start if layer.get(part) is None else layer[part]}
        p = net.parameter(name, fields, part, part, shape)
        p = p if axis is None else _wide(p, x, axis)
        x = x * p if part == "gamma" else x + p
    return x


def normalisation(net: TorchNetwork, name: str, layer: Layer, x: Tensor) -> Tensor:
    kind, epsilon = layer["type"], float(layer.get("epsilon", 2.0**-52 if layer["type"] == "rms_norm" else 1e-5))
    unbiased = layer.get("variance") == "unbiased"
    if kind in ("layer_norm", "rms_norm"):
        axes = list(range(1, x.dim())) if layer.get("axes") == "all_but_batch" else [-1]
        if kind == "rms_norm":
            made = x / torch.sqrt((x**2).mean(axes, keepdim=True) + epsilon)
        else:
            variance = x.var(axes, correction=int(unbiased), keepdim=True)
            made = (x - x.mean(axes, keepdim=True)) / torch.sqrt(variance + epsilon)
        return _scaled(net, name, layer, made, tuple(x.shape[axes[0] :]), None)
    last = layer.get("channel_order", net.conventions.get("channel_order")) == "last" and x.dim() > 2
    channel = x.dim() - 1 if last else 1
    if x.dim() > 2:
        net.mark(x, channel)
    count = x.shape[channel]
    if kind == "group_norm":
        moved = x.movedim(channel, 1)
        grouped = moved.reshape(x.shape[0], layer["groups"], -1)
        variance = grouped.var(-1, correction=int(unbiased), keepdim=True)
        made = (grouped - grouped.mean(-1, keepdim=True)) / torch.sqrt(variance + epsilon)
        return _scaled(net, name, layer, made.reshape(moved.shape).movedim(1, channel), (count,), channel)
    axes = [axis for axis in range(x.dim()) if axis != channel]
    given = layer.get("running") or {}
    running = {
        part: net.state(f"{name}.running_{part[:4] if part == 'mean' else 'var'}", given.get(part, start), (count,))
        for part, start in (("mean", 0.0), ("variance", 1.0))
    }
    if layer.get("mode") == "inference":
        mean, variance = running["mean"], running["variance"]
    else:
        mean, variance = x.mean(axes), x.var(axes, correction=int(unbiased))
        rate = float(layer.get("momentum", 0.1))
        news = {"mean": mean, "var": x.var(axes, correction=1)}
        for part, old in zip(news, running.values(), strict=True):
            net.states[f"{name}.running_{part}"] = (1 - rate) * old + rate * news[part].detach()
            net.nodes[f"new.{name}.running_{part}"] = net.states[f"{name}.running_{part}"]
        net.nodes[f"{name}.mean"], net.nodes[f"{name}.var"] = mean.detach(), variance.detach()
    made = (x - _wide(mean, x, channel)) / torch.sqrt(_wide(variance, x, channel) + epsilon)
    return _scaled(net, name, layer, made, (count,), channel)


DEEP_LAYERS: dict[str, Callable[..., Tensor]] = {
    **{f"conv{way}{rank}d": convolution for way in ("", "_transpose") for rank in (1, 2, 3)},
    "max_pool": pooling, "avg_pool": pooling, "global_avg_pool": global_average,
    "adaptive_avg_pool": adaptive_average, "flatten": flatten, "reshape": flatten, "embedding": embedding,
    "positional_encoding": positions, "rnn": recurrent, "lstm": recurrent, "gru": recurrent,
    "self_attention": attention, "cross_attention": attention, "multi_head_attention": attention,
    "batch_norm": normalisation, "layer_norm": normalisation, "group_norm": normalisation, "rms_norm": normalisation,
}  # fmt: skip
