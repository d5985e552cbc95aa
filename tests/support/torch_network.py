"""The same YAML by PyTorch in float64: an interpreter of its own, which shares nothing with the graph.

Dense layers, activations, blocks, dropout, `graph:` (through its parsed expressions), losses, penalty, upstream; the
other layers are in `torch_layers`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
import yaml

from bptrace.spec.expression import Binary, Call, Literal, Name, Unary, parse
from support.torch_layers import DEEP_LAYERS

torch.set_num_threads(1)
Tensor = torch.Tensor


def tensor(value: Any) -> Tensor:
    """Numbers of a YAML file; PyYAML reads `1e-3` as text."""
    return torch.tensor(_floats(value), dtype=torch.float64)


def _floats(value: Any) -> Any:
    return [_floats(item) for item in value] if isinstance(value, list) else float(value)


ACTIVATIONS: dict[str, Any] = {
    "identity": lambda z, **k: z,
    "linear": lambda z, **k: z,
    "sigmoid": lambda z: torch.sigmoid(z),
    "bipolar_sigmoid": lambda z: torch.tanh(z / 2),
    "tanh": lambda z: torch.tanh(z),
    "scaled_tanh": lambda z, scale=1.7159, slope=2 / 3: scale * torch.tanh(slope * z),
    "relu": lambda z: F.relu(z),
    "leaky_relu": lambda z, negative_slope=0.01: F.leaky_relu(z, negative_slope),
    "elu": lambda z, alpha=1.0: F.elu(z, alpha),
    "selu": lambda z: F.selu(z),
    "softplus": lambda z: F.softplus(z, threshold=1e9),
    "softsign": lambda z: F.softsign(z),
    "gelu": lambda z, approximate="none": F.gelu(z, approximate=approximate),
    "swish": lambda z: F.silu(z),
    # the backward pass of F.hardsigmoid multiplies by 1/6 in float32
    "hard_sigmoid": lambda z: F.relu6(z + 3) / 6,
    "hard_tanh": lambda z: F.hardtanh(z),
    "step": lambda z: torch.heaviside(z.detach(), tensor(1)) + 0 * z,
    "exp": lambda z: torch.exp(z),
    "softmax": lambda z, axis=-1: torch.softmax(z, axis),
    "log_softmax": lambda z, axis=-1: torch.log_softmax(z, axis),
}

ELEMENTARY: dict[str, Any] = {
    **ACTIVATIONS,
    "log": torch.log, "sqrt": torch.sqrt, "abs": torch.abs, "sin": torch.sin, "cos": torch.cos,
}  # fmt: skip

LOSSES: dict[str, Any] = {
    "half_squared_error": lambda y, t: 0.5 * F.mse_loss(y, t, reduction="none"),
    "squared_error": lambda y, t: F.mse_loss(y, t, reduction="none"),
    "mean_squared_error": lambda y, t: F.mse_loss(y, t, reduction="none"),
    "mean_absolute_error": lambda y, t: F.l1_loss(y, t, reduction="none"),
    "absolute_error": lambda y, t: F.l1_loss(y, t, reduction="none"),
    "huber": lambda y, t, threshold=1.0: F.huber_loss(y, t, reduction="none", delta=threshold),
    "log_cosh": lambda y, t: torch.log(torch.cosh(y - t)),
    "hinge": lambda y, t: F.relu(1 - t * y),
    "squared_hinge": lambda y, t: F.relu(1 - t * y) ** 2,
    "binary_cross_entropy": lambda y, t: F.binary_cross_entropy(y, t, reduction="none"),
    "binary_cross_entropy_with_logits": lambda y, t: F.binary_cross_entropy_with_logits(y, t, reduction="none"),
    "cross_entropy": lambda y, t: -torch.xlogy(t, y),
    "cross_entropy_with_logits": lambda y, t: -t * torch.log_softmax(y, -1),
    "sum": lambda y, t: y,
    "mean": lambda y, t: y,
}


KNOWN_LAYERS = {"dense", "activation", "residual", "concat", "add", "multiply", "dropout", *DEEP_LAYERS}
NORMS = ("batch_norm", "group_norm", "layer_norm", "rms_norm")
CHANNELS = ("dropout", "activation", "residual", "add", "multiply", "concat", *NORMS)
"""Layers after which the channels of an image stand where they stood."""


def _walk(layers: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for layer in layers:
        yield layer
        yield from _walk(layer.get("layers", []))


def layer_types(text: str) -> set[str]:
    """The types of all layers of a YAML file, at any depth."""
    return {layer["type"] for layer in _walk(yaml.safe_load(text).get("layers", []))}


class TorchNetwork:
    """`objective` (loss, or what `upstream` is the gradient of), and every leaf and node by id."""

    def __init__(
        self, text: str, given: Mapping[str, Any] = {}, iteration: int = 1, rows: Sequence[int] | None = None
    ) -> None:
        """`given` are values by id of parameters and running statistics, which replace the YAML's, `rows` the
        samples of the iteration from 0 (all)."""
        self.yaml: dict[str, Any] = yaml.safe_load(text)
        self.given, self.iteration, self.samples = given, iteration, rows
        self.states: dict[str, Tensor] = {}
        self.ends: dict[str, Tensor] = {}
        self.nodes: dict[str, Tensor] = {}
        self.leaves: dict[str, Tensor] = {}
        self.weights: list[tuple[str, str]] = []
        self.conventions: dict[str, Any] = self.yaml.get("conventions") or {}
        self.columns = self.conventions.get("sample_axis") == "columns"
        self.flipped = self.conventions.get("weight_layout") == "in_out"
        self.targets: dict[str, Tensor] = {}
        self._data()
        output = self._graph() if "graph" in self.yaml else self._layers()
        self.output, self.objective = output, self._objective(output)
        if self.objective is not None:
            self.objective.backward()

    def gradient(self, id: str) -> Any:
        """In the layout of the file."""
        leaf = self.leaves[id]
        return torch.zeros_like(leaf).numpy() if leaf.grad is None else leaf.grad.numpy()

    def node_gradient(self, id: str) -> Any:
        value = self.nodes[id].grad.numpy()
        return value.T if self.columns else value

    def _leaf(self, id: str, value: Tensor) -> Tensor:
        self.leaves[id] = self.nodes[id] = value.requires_grad_()
        return value

    def _data(self) -> None:
        data = self.yaml.get("data") or {}
        self.inputs: dict[str, Tensor] = {}
        for kind, default, into in (("inputs", "x", self.inputs), ("targets", "t", self.targets)):
            arrays = data.get(kind, {})
            for name, array in (arrays if isinstance(arrays, dict) else {default: arrays}).items():
                into[name] = tensor(array) if self.samples is None else tensor(array)[list(self.samples)]

    def _rows(self, value: Tensor) -> Tensor:
        """A sample a row."""
        return value.T if self.columns and value.dim() == 2 else value

    # layers

    def _layers(self) -> Tensor:
        previous, self.outputs = None, {}
        for name, value in self.inputs.items():
            self.outputs[name] = self._rows(self._leaf(name, value))
            previous = self.outputs[name] if previous is None else previous
        self.every_layer = list(_walk(self.yaml["layers"]))
        return self._stack(self.yaml["layers"], previous)

    def _stack(self, layers: list[dict[str, Any]], previous: Any) -> Tensor:
        for layer in layers:
            place = next(k for k, other in enumerate(self.every_layer) if other is layer)
            same = sum(other["type"] == layer["type"] for other in self.every_layer[: place + 1])
            name = layer.get("name", f"{layer['type']}{same}")
            source = layer.get("input")
            if source is not None:
                wanted = [source] if isinstance(source, str) else source
                previous = self._concatenated([self.outputs[w] for w in wanted])
            before, kind = previous, layer["type"]
            if kind in DEEP_LAYERS:
                previous = DEEP_LAYERS[kind](self, name, layer, before)
                bare = kind in NORMS and not {f"{name}.gamma", f"{name}.beta"} & set(self.leaves)
                if not (bare and layer.get("activation")):  # x̂ itself is activated
                    self.keep(f"{name}.{self._named(kind, layer)}", previous)
            elif kind == "dense":
                previous = self.keep(f"{name}.z", self._dense(name, layer, before))
            elif kind == "dropout":
                previous = self._dropped(name, layer, before)
            elif kind != "activation":
                previous = self._joined(layer, before)
            function = layer.get("activation", layer.get("function")) if kind != "rnn" else None
            if function not in (None, "identity", "linear"):
                axis = getattr(previous, "channel", None)
                previous = self.mark(self.keep(f"{name}.a", self.activated(function, previous)), axis)
            if kind in CHANNELS:
                first = self.outputs[layer["inputs"][0]] if layer.get("inputs") else before
                self.mark(previous, getattr(first, "channel", None))
            self.nodes[f"{name}.y"] = self.outputs[name] = previous
            if previous.requires_grad:
                previous.retain_grad()
        return previous

    def _joined(self, layer: dict[str, Any], x: Tensor) -> Tensor:
        if "layers" in layer:
            parts = [x, self._stack(layer["layers"], x)]
        else:
            parts = [self.outputs[name] for name in layer["inputs"]]
            parts += [x] if len(parts) == 1 else []
        if layer["type"] == "concat":
            return self._concatenated(parts)
        return torch.stack(parts).prod(0) if layer["type"] == "multiply" else torch.stack(parts).sum(0)

    def _concatenated(self, parts: list[Tensor]) -> Tensor:
        """Along the features: channels of images."""
        axis = next((part.channel for part in parts if hasattr(part, "channel")), None)
        return self.mark(torch.cat(parts, dim=-1 if axis is None else axis), axis)

    @staticmethod
    def mark(value: Tensor, channel: int | None) -> Tensor:
        """Note where the channels of an image are."""
        if channel is not None:
            value.channel = channel  # type: ignore[attr-defined]
        return value

    @staticmethod
    def _named(kind: str, layer: dict[str, Any]) -> str:
        """What a layer's result is called before its activation, if it has one."""
        computed = kind.startswith(("conv", "embedding", "positional")) or kind.endswith("attention")
        plain = layer.get("activation") is None or kind == "rnn"
        return "z" if computed or not plain else "y"

    def _drawn(self, name: str, layer: dict[str, Any], x: Tensor) -> Tensor:
        """The mask of an iteration; random numbers come row by row, in the layout of the file."""
        seed = layer.get("seed", self.yaml.get("seed", 0))
        stream = random.Random(f"{seed}:{name}.mask:{self.iteration}")
        shape = x.T.shape if self.columns else x.shape
        numbers = tensor([stream.random() for _ in range(x.numel())]).reshape(shape)
        return (numbers >= float(layer.get("rate", 0.5))).double()

    def _dropped(self, name: str, layer: dict[str, Any], x: Tensor) -> Tensor:
        mask = tensor(layer["mask"]) if "mask" in layer else self._drawn(name, layer, x)
        kept = x * (self._rows(mask) if mask.dim() == x.dim() else mask)
        return kept if layer.get("scale") == "none" else kept / (1 - float(layer.get("rate", 0.5)))

    def keep(self, id: str, value: Tensor) -> Tensor:
        value.retain_grad()
        self.nodes[id] = value
        return value

    def activated(self, function: Any, z: Tensor) -> Tensor:
        if function is None:
            return z
        if isinstance(function, str):
            return ACTIVATIONS[function](z)
        constants = {key: value if isinstance(value, str) else float(value) for key, value in function.items()}
        return ACTIVATIONS[constants.pop("type")](z, **constants)

    def _parameter(self, id: str, given: Any, shape: tuple[int, ...], weight: bool) -> Tensor:
        if id in self.given:
            value = torch.tensor(self.given[id], dtype=torch.float64).reshape(shape)
        else:
            value = tensor(given)
            value = value.expand(shape).clone() if value.dim() == 0 else value
        self.weights.append((id, "weights" if weight else "bias"))
        return self._leaf(id, value)

    def parameter(self, name: str, layer: dict[str, Any], part: str, sign: str, shape: tuple[int, ...]) -> Tensor:
        """A layer's parameter, or that of the layer whose parameters it shares."""
        id = f"{layer.get('share') or name}.{sign}"
        if id in self.leaves:
            return self.leaves[id]
        if part in ("gamma", "beta"):  # not penalised
            value = torch.tensor(self.given.get(id, layer.get(part)), dtype=torch.float64)
            return self._leaf(id, value.expand(shape).clone())
        return self._parameter(id, layer.get(part), shape, "bias" not in part)

    def state(self, id: str, start: Any, shape: tuple[int, ...]) -> Tensor:
        """Running statistics, which no gradient reaches."""
        value = torch.tensor(self.given.get(id, start), dtype=torch.float64).expand(shape)
        self.nodes[id] = value
        return value

    def _dense(self, name: str, layer: dict[str, Any], x: Tensor) -> Tensor:
        flipped = layer.get("weight_layout", "in_out" if self.flipped else "out_in") == "in_out"
        size = (layer["units"], x.shape[-1])
        owner = layer.get("share")
        if owner:
            weights = self.leaves[f"{owner}.W"]
        else:
            weights = self._parameter(f"{name}.W", layer.get("weights"), size[::-1] if flipped else size, True)
        z = x @ weights if flipped else x @ weights.T
        if layer.get("bias") is False and "threshold" not in layer:
            return z
        if owner:
            return z + self.leaves[f"{owner}.b"]
        shape = () if layer.get("shared_bias") else (layer["units"],)
        bias = self._parameter(f"{name}.b", layer.get("threshold", layer.get("bias")), shape, False)
        return z - bias if "threshold" in layer else z + bias

    # graph

    def _graph(self) -> Tensor:
        for name, value in (self.yaml.get("inputs") or {}).items():
            given = self.inputs.get(name, self.inputs.get("x")) if value == "data" else tensor(value)
            self._leaf(name, given)
        for name, value in (self.yaml.get("parameters") or {}).items():
            self._leaf(name, tensor(value))
        waiting = {
            name: parse(text if isinstance(text, str) else repr(text)) for name, text in self.yaml["graph"].items()
        }
        while waiting:
            for name, tree in list(waiting.items()):
                try:
                    value = self._expression(tree)
                except KeyError:
                    continue
                value = value.clone() if value.requires_grad else value
                self.nodes[name] = self.keep(name, value) if value.requires_grad else value
                del waiting[name]
        self.outputs = self.nodes
        return self.nodes[self.yaml.get("output", list(self.yaml["graph"])[-1])]

    def _expression(self, tree: Any) -> Tensor:
        match tree:
            case Name(id):
                return self.nodes[id]
            case Literal(value):
                return tensor(value)
            case Unary(_, operand):
                return -self._expression(operand)
            case Binary(op, left, right):
                a, b = self._expression(left), self._expression(right)
                return {
                    "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "**": torch.pow,
                    "@": torch.matmul,
                }[op](a, b)  # fmt: skip
            case Call(function, arguments, options):
                return self._call(function, [self._expression(a) for a in arguments], dict(options))
        raise TypeError(tree)

    def _call(self, function: str, operands: list[Tensor], options: dict[str, Any]) -> Tensor:
        x = operands[0]
        axis = options.get("axis")
        axes = list(range(x.dim())) if axis is None else axis
        match function:
            case "max" | "min" if len(operands) == 2:
                # on a tie PyTorch gives each half; the first takes all here
                chosen = x >= operands[1] if function == "max" else x <= operands[1]
                return torch.where(chosen, x, operands[1])
            case "max" | "min":
                return (torch.amax if function == "max" else torch.amin)(x, axes)
            case "sum" | "mean":
                return (torch.sum if function == "sum" else torch.mean)(x, axes)
            case "transpose":
                return x.permute(list(options.get("axes", range(x.dim())[::-1])))
            case "reshape":
                shape = options["shape"]
                return x.reshape(shape if isinstance(shape, tuple) else (shape,))
            case "concat":
                return torch.cat(operands, axis or 0)
            case "take":
                places = options.get("indices", options.get("index"))
                places = places if isinstance(places, tuple) else (places,)
                return torch.index_select(x, axis or 0, torch.tensor(places))
            case "where":
                return torch.where(x != 0, operands[1], operands[2])
            case "dot":
                return torch.matmul(x, operands[1])
        return ELEMENTARY[function](x, **options)

    # loss

    def _objective(self, output: Tensor) -> Tensor | None:
        given = self.yaml.get("loss", [])
        losses = [self._loss(spec, output) for spec in (given if isinstance(given, list) else [given])]
        penalty = self._penalties(output)
        total: list[Tensor] = [*losses, *penalty] if losses else []
        self.loss = sum(total) if total else None
        for id, value in (self.yaml.get("upstream") or {}).items():
            total.append((tensor(value) * self._rows(self.nodes[id])).sum())
        if not total and "graph" in self.yaml and output.dim() == 0:
            self.loss = output
            total = [output]
        return sum(total) if total else None  # type: ignore[return-value]

    def _loss(self, given: Any, output: Tensor) -> Tensor:
        spec = {"type": given} if isinstance(given, str) else dict(given)
        y = self.outputs[spec["of"]] if spec.get("of") else output
        kind = spec["type"]
        targets = None
        if kind not in ("sum", "mean"):
            name = spec.get("targets", next(iter(self.targets)))
            targets = self._rows(self.targets[name])
            if targets.dim() == y.dim() - 1 and "cross_entropy" in kind:
                classes = targets.long()
                targets = F.one_hot(classes, y.shape[-1]).double()
                targets[classes == spec.get("ignore", -1)] = 0
        extra = {"threshold": float(spec["threshold"])} if "threshold" in spec else {}
        terms = LOSSES[kind](y, targets, **extra)
        outputs = spec.get(
            "outputs", "mean" if kind in ("mean_squared_error", "mean_absolute_error", "mean") else "sum"
        )
        samples = spec.get("reduction", "sum" if kind == "sum" else "mean")
        if terms.dim() == 0:
            value = terms
        else:
            rows = terms.reshape(terms.shape[0], -1)
            value = rows.mean(1) if outputs == "mean" else rows.sum(1)
            value = value.mean() if samples == "mean" else value.sum()
        return float(spec.get("weight", 1)) * value

    def _penalties(self, output: Tensor) -> list[Tensor]:
        found = []
        layers = {layer.get("name"): layer.get("penalty") for layer in _walk(self.yaml.get("layers", []))}
        named = self.weights or [(name, "parameter") for name in self.yaml.get("parameters") or {}]
        for id, part in named:
            for penalty in (self.yaml.get("penalty"), layers.get(id.partition(".")[0])):
                if not penalty or (part == "bias" and not penalty.get("bias")):
                    continue
                n, w = output.shape[0], self.leaves[id]
                scale = penalty.get("scale", "half")
                square = {"half": 0.5, "one": 1.0, "half_over_samples": 0.5 / n, "over_samples": 1 / n}[scale]
                absolute = 1 / n if scale.endswith("samples") else 1.0
                found.append(float(penalty.get("l2", 0)) * square * (w**2).sum())
                found.append(float(penalty.get("l1", 0)) * absolute * w.abs().sum())
        return found
