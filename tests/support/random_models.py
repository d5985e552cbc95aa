"""Random whole networks out of all layer types, with shapes that are legal by construction."""

from __future__ import annotations

import itertools
import math
from typing import Any

Document = dict[str, Any]
Layer = dict[str, Any]

FUNCTIONS = [
    "sigmoid", "bipolar_sigmoid", "tanh", "scaled_tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "softsign",
    "gelu", "swish", "hard_sigmoid", "hard_tanh", "softmax", "log_softmax", "identity",
    {"type": "leaky_relu", "negative_slope": 0.3}, {"type": "elu", "alpha": 0.7},
    {"type": "gelu", "approximate": "tanh"},
]  # fmt: skip
RECURRENT = {"rnn": [""], "lstm": ["i", "f", "g", "o"], "gru": ["r", "z", "n"]}
WITH_OUTPUT = {
    "binary_cross_entropy": "sigmoid", "cross_entropy": "softmax", "hinge": "tanh", "squared_hinge": "tanh",
}  # fmt: skip
JUDGED = [
    "half_squared_error", "squared_error", "mean_squared_error", "mean_absolute_error", "absolute_error", "huber",
    "log_cosh", "hinge", "squared_hinge", "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy",
    "cross_entropy_with_logits", "sum", "mean",
]  # fmt: skip


class Model:
    """One network under construction: `kind` is what a value is (flat, sequence, image), `shape` without samples."""

    def __init__(self, rng: Any) -> None:
        self.rng = rng
        self.names = (f"l{k}" for k in itertools.count(1))
        self.made: list[tuple[str, str, tuple[int, ...]]] = []
        self.samples = rng.choice([1, 2, 3])
        self.batch = rng.choice(["all", "all", 2]) if self.samples == 3 else "all"
        self.last = self.chance(0.25)
        self.flipped = self.chance(0.25)
        self.flat = self.samples == 1 or self.batch == 2  # a batch may have a single row

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def array(self, *shape: int, low: float = -1.0, high: float = 1.0) -> Any:
        if not shape:
            return round(self.rng.uniform(low, high), 3)
        return [self.array(*shape[1:], low=low, high=high) for _ in range(shape[0])]

    def mask(self, *shape: int) -> Any:
        return [self.mask(*shape[1:]) for _ in range(shape[0])] if shape else int(self.chance(0.7))

    # whole networks

    def document(self) -> Document:
        rng = self.rng
        kind = rng.choice(["flat", "sequence", "sequence", "image", "image", "numbers"])
        shape: tuple[int, ...]
        if kind == "image":
            self.rank = rng.choice([1, 2, 2, 3])
            extents = tuple(rng.randint(2, {1: 6, 2: 5, 3: 3}[self.rank]) for _ in range(self.rank))
            shape = (rng.randint(1, 3), *extents)
        else:
            shape = (rng.randint(1, 4),) if kind == "flat" else (rng.randint(1, 4), rng.randint(1, 4))
        inputs: Any
        layers: list[Layer] = []
        if kind == "numbers":
            vocabulary, units = rng.randint(2, 5), rng.randint(1, 4)
            inputs = [[rng.randrange(vocabulary) for _ in range(shape[0])] for _ in range(self.samples)]
            layers.append({"type": "embedding", "name": next(self.names), "vocabulary": vocabulary, "units": units})
            kind, shape = "sequence", (shape[0], units)
        else:
            inputs = self.array(self.samples, *self.stored(kind, shape))
        self.input, self.context = "x", None
        if kind == "sequence" and not layers and self.chance(0.3):
            self.context = (rng.randint(1, 4), rng.randint(1, 3))
            self.input = "first"
            inputs = {"first": inputs, "second": self.array(self.samples, *self.context)}
        for _ in range(rng.choice([1, 2, 2, 3, 3, 4, 5])):
            # what the axes of an image count is known from the first layer that reads windows of it
            reader = rng.choice([self.pool, self.convolution]) if kind == "image" and not layers else self.layer
            found, kind, shape = reader(kind, shape, depth=0)
            layers += found
            self.made.append((layers[-1]["name"], kind, shape))
        layers[0].setdefault("input", self.input) if self.context else None
        return self.finished(layers, inputs, kind, shape)

    def stored(self, kind: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[1:], shape[0]) if kind == "image" and self.last else shape

    def finished(self, layers: list[Layer], inputs: Any, kind: str, shape: tuple[int, ...]) -> Document:
        rng, loss = self.rng, self.rng.choice(JUDGED)
        if kind == "image" and (loss in WITH_OUTPUT or self.chance(0.8)):
            last = {"type": rng.choice(["flatten", "global_avg_pool"]), "name": next(self.names)}
            shape = (math.prod(shape),) if last["type"] == "flatten" else shape[:1]
            kind = "flat"
            layers.append(last)
        if kind != "image":
            units = rng.randint(1, 4)
            layers.append(self.dense(units) | {"activation": WITH_OUTPUT.get(loss)})
            shape = (*shape[:-1], units)
        stored = (self.samples, *self.stored(kind, shape))
        spec: Document = {
            "type": loss, "reduction": rng.choice([None, "mean", "sum"]), "outputs": rng.choice([None, "mean", "sum"]),
            "weight": rng.choice([None, 0.5, 2]),
        }  # fmt: skip
        targets: Any = self.array(*stored)
        if "hinge" in loss:
            targets = _signs(targets)
        elif loss.startswith("binary"):
            targets = self.array(*stored, low=0.0)
        elif loss.startswith("cross") and kind != "image":
            targets = self.array(*stored, low=0.0)
            if self.chance(0.5):  # class numbers
                targets = self.classes(stored[-1], *stored[:-1])
                if self.chance(0.3):
                    spec["ignore"] = rng.randrange(stored[-1])
        elif loss.startswith("cross"):
            spec["type"] = "squared_error"
        data = {"inputs": inputs} if loss in ("sum", "mean") else {"inputs": inputs, "targets": targets}
        losses: Any = [_given(spec)]
        if self.chance(0.2):
            losses.append({"type": "mean", "of": rng.choice(self.made)[0], "weight": 0.5})
        rest: Document = {
            "loss": losses if len(losses) > 1 else losses[0],
            "optimizer": self.optimizer(),
            "training": {"iterations": 3, "batch_size": self.batch},
            "initializer": {"type": "normal", "std": 0.6},
            "seed": rng.randint(0, 10**6),
            "conventions": {
                "weight_layout": "in_out" if self.flipped else "out_in",
                "delta_sign": rng.choice(["gradient", "error"]),
                "delta_scale": rng.choice(["batch", "sample"]),
                "derivative_from": rng.choice(["activation", "pre_activation"]),
                "channel_order": "last" if self.last else "first",
            },
        }
        if self.chance(0.2):
            rest["penalty"] = {"l2": 0.1, "l1": 0.05, "bias": self.chance(0.5),
                               "scale": rng.choice(["half", "one", "half_over_samples", "over_samples"])}  # fmt: skip
        return {"data": data, "layers": [_given(layer) for layer in layers], **rest}

    def classes(self, count: int, *shape: int) -> Any:
        return [self.classes(count, *shape[1:]) for _ in range(shape[0])] if shape else self.rng.randrange(count)

    def optimizer(self) -> Document:
        rng = self.rng
        kind = rng.choice(["sgd", "sgd", "adam", "adamw", "amsgrad", "adamax", "nadam", "radam", "adagrad", "rmsprop",
                           "adadelta"])  # fmt: skip
        made: Document = {"type": kind, "learning_rate": rng.choice([0.1, 0.01])}
        if kind == "sgd" and self.chance(0.6):
            made |= {"momentum": 0.9, "nesterov": self.chance(0.5), "dampening": 0}
        if kind == "rmsprop":
            made |= {"momentum": rng.choice([0, 0.9]), "centered": self.chance(0.5)}
        if self.chance(0.3):
            made["weight_decay"] = 0.05
        if self.chance(0.2):
            made["clip"] = {rng.choice(["value", "norm", "global_norm"]): 0.1}
        return made

    # layers: each gives its mappings and what comes out

    def layer(self, kind: str, shape: tuple[int, ...], depth: int) -> tuple[list[Layer], str, tuple[int, ...]]:
        choices: dict[str, list[Any]] = {
            "flat": [self.any_dense, self.any_dense, self.same, self.block],
            "sequence": [
                self.any_dense, self.recurrent, self.recurrent, self.attention, self.attention, self.same, self.block,
                self.positions, self.flatten,
            ],
            "image": [
                self.convolution, self.convolution, self.pool, self.same, self.block, self.flatten, self.averages,
            ],
        }  # fmt: skip
        found: tuple[list[Layer], str, tuple[int, ...]] = self.rng.choice(choices[kind])(kind, shape, depth)
        return found

    def dense(self, units: int) -> Layer:
        bias = self.rng.choice([None, None, False, 0.25, "each"])
        return {"type": "dense", "name": next(self.names), "units": units,
                "bias": self.array(units) if bias == "each" else bias}  # fmt: skip

    def activation(self) -> Any:
        return self.rng.choice(FUNCTIONS)

    def any_dense(self, kind: str, shape: tuple[int, ...], depth: int) -> Any:
        units = self.rng.randint(1, 4)
        return [self.dense(units) | {"activation": self.activation()}], kind, (*shape[:-1], units)

    def same(self, kind: str, shape: tuple[int, ...], depth: int) -> Any:
        """A layer that leaves the shape alone."""
        rng, name = self.rng, next(self.names)
        types = ["activation", "dropout", "layer_norm", "rms_norm"]
        types += ["group_norm"] if kind == "image" else []
        if kind == "image" or (kind == "flat" and not self.flat):
            types += ["batch_norm", "batch_norm"]
        layer: Layer = {"type": rng.choice(types), "name": name}
        match layer["type"]:
            case "activation":
                layer["function"] = self.activation()
                return [layer], kind, shape
            case "dropout":
                layer |= {"rate": rng.choice([0, 0.2, 0.5]), "scale": rng.choice(["inverted", "none"])}
                if self.chance(0.5) and self.batch == "all":
                    layer["mask"] = self.mask(self.samples, *self.stored(kind, shape))
            case "layer_norm" | "rms_norm":
                layer["axes"] = rng.choice(["last", "all_but_batch"])
                stored = self.stored(kind, shape)
                scaled = stored if layer["axes"] == "all_but_batch" else stored[-1:]
                layer["gamma"] = rng.choice([None, False, self.array(*scaled)])
                layer["beta"] = rng.choice([None, False, self.array(*scaled)])
                layer["epsilon"] = rng.choice([1e-5, 0.01])
                if layer["type"] == "layer_norm" and math.prod(scaled) > 1:
                    layer["variance"] = rng.choice(["biased", "unbiased"])
            case _:
                layer["gamma"] = rng.choice([None, False, self.array(shape[0])])
                layer["beta"] = rng.choice([None, False, self.array(shape[0])])
                layer["epsilon"] = rng.choice([1e-5, 0.01])
                count = math.prod(shape[1:])
                if layer["type"] == "group_norm":
                    layer["groups"] = rng.choice([g for g in (1, 2, 3) if shape[0] % g == 0])
                    count *= shape[0] // layer["groups"]
                else:
                    layer["momentum"] = rng.choice([0, 0.1, 0.5])
                    if self.chance(0.3) or (self.flat and count < 2):
                        layer["mode"] = "inference"
                    running = {"mean": self.array(shape[0]), "variance": self.array(shape[0], low=0.3)}
                    layer["running"] = rng.choice([None, running])
                if count > 1:
                    layer["variance"] = rng.choice(["biased", "unbiased"])
        layer["activation"] = rng.choice([None, None, self.activation()])
        return [layer], kind, shape

    def recurrent(self, kind: str, shape: tuple[int, ...], depth: int) -> Any:
        rng, (count, features) = self.rng, shape
        cell, units = rng.choice(list(RECURRENT)), rng.randint(1, 3)
        layer = {"type": cell, "name": next(self.names), "units": units, "output": rng.choice(["last", "sequence"]),
                 "bias": rng.choice([None, False, 0.1]), "recurrent_bias": rng.choice([None, 0.2])}  # fmt: skip
        if self.chance(0.5):
            given = {gate: self.array(*((units, features)[:: -1 if self.flipped else 1])) for gate in RECURRENT[cell]}
            layer["weights"] = given[""] if cell == "rnn" else given
        if cell == "rnn":
            layer["activation"] = rng.choice(["tanh", "relu", "sigmoid", "softsign"])
        if cell == "gru":
            layer |= {"reset": rng.choice(["after", "before"]), "keep": rng.choice(["old", "candidate"])}
        way = rng.choice(["forward", "reverse", "both"])
        if way == "reverse":
            layer["reverse"] = True
        if way == "both":
            layer["bidirectional"] = True
        if self.chance(0.3):
            layer["truncate"] = rng.randint(1, 2)
        if self.chance(0.3):
            layer["mask"] = self.mask(count)
        elif self.chance(0.2) and self.batch == "all":
            layer["mask"] = self.mask(self.samples, count)
        if self.chance(0.4):
            states = {s: self.array(units) for s in ("hc" if cell == "lstm" else "h")}
            layer["initial_state"] = states
        units *= 2 if way == "both" else 1
        return ([layer], "sequence", (count, units)) if layer["output"] == "sequence" else ([layer], "flat", (units,))

    def attention(self, kind: str, shape: tuple[int, ...], depth: int) -> Any:
        rng, (count, _) = self.rng, shape
        heads = rng.randint(1, 3)
        units, value_units = heads * rng.randint(1, 2), heads * rng.randint(1, 2)
        others = [(name, size[0]) for name, was, size in self.made if was == "sequence"]
        others += [("second", self.context[0])] if self.context else []
        layer = {
            "type": rng.choice(["self_attention", "multi_head_attention"]), "name": next(self.names), "units": units,
            "value_units": value_units, "heads": heads, "scale": rng.choice(["sqrt", "sqrt", 1, 0.5]),
            "score": rng.choice(["dot", "dot", "additive"]), "mask": rng.choice([None, "causal", "matrix"]),
            "output": False if self.chance(0.3) else None, "activation": rng.choice([None, None, self.activation()]),
        }  # fmt: skip
        looked_at = count
        if others and self.chance(0.6):
            layer["type"] = rng.choice(["cross_attention", "multi_head_attention"])
            layer["context"], looked_at = rng.choice(others)
        if layer["mask"] == "matrix":
            layer["mask"] = [[1, *row] for row in self.mask(count, looked_at - 1)]
        for part in ("query", "key", "value"):
            if self.chance(0.3):
                layer[part] = {"bias": self.array(value_units if part == "value" else units)}
        return [layer], "sequence", (count, value_units if layer["output"] is False else units)

    def positions(self, kind: str, shape: tuple[int, ...], depth: int) -> Any:
        layer = {"type": "positional_encoding", "name": next(self.names),
                 "kind": self.rng.choice(["sinusoidal", "learned"])}  # fmt: skip
        return [layer], kind, shape

    def flatten(self, kind: str, shape: tuple[int, ...], depth: int) -> Any:
        if depth:
            return self.same(kind, shape, depth)
        return [{"type": "flatten", "name": next(self.names)}], "flat", (math.prod(shape),)

    def averages(self, kind: str, shape: tuple[int, ...], depth: int) -> Any:
        if depth:
            return self.same(kind, shape, depth)
        size = [self.rng.randint(1, n) for n in shape[1:]]
        layer = {"type": "adaptive_avg_pool", "name": next(self.names), "size": size}
        return [layer], kind, (shape[0], *size)

    def pool(self, kind: str, shape: tuple[int, ...], depth: int) -> Any:
        rng = self.rng
        kernel = [rng.randint(1, min(3, n)) for n in shape[1:]]
        layer: Layer = {"type": rng.choice(["max_pool", "avg_pool"]), "name": next(self.names), "kernel": kernel,
                        "stride": rng.choice([None, [rng.randint(1, 2) for _ in kernel]]),
                        "activation": rng.choice([None, None, self.activation()])}  # fmt: skip
        padding = rng.choice([0, 0, [rng.randint(0, k // 2) for k in kernel], "same"])
        layer["padding"] = padding
        if layer["type"] == "avg_pool":
            layer["count_padding"] = self.chance(0.5)
        if padding != "same":
            layer["ceil_mode"] = self.chance(0.3)
        stride = layer["stride"] or kernel
        if padding == "same":
            return [layer], kind, (shape[0], *(math.ceil(n / s) for n, s in zip(shape[1:], stride, strict=True)))
        pads = padding or [0] * len(kernel)
        extents = []
        for n, k, s, p in zip(shape[1:], kernel, stride, pads, strict=True):
            whole = n + 2 * p - k
            windows = (math.ceil(whole / s) if layer["ceil_mode"] else whole // s) + 1
            extents.append(windows - 1 if layer["ceil_mode"] and (windows - 1) * s >= n + p else windows)
        return [layer], kind, (shape[0], *extents)

    def convolution(self, kind: str, shape: tuple[int, ...], depth: int) -> Any:
        rng, rank = self.rng, len(shape) - 1
        groups = rng.choice([g for g in (1, 1, 2, 3) if shape[0] % g == 0])
        channels = groups * rng.randint(1, 2)
        name, transposed = next(self.names), self.chance(0.25)
        kernel = [rng.randint(1, 3) for _ in range(rank)]
        stride, dilation = ([rng.randint(1, 2) for _ in range(rank)] for _ in "sd")
        layer: Layer = {
            "type": f"conv{'_transpose' if transposed else ''}{rank}d", "name": name, "channels": channels,
            "kernel": kernel, "stride": stride, "dilation": dilation, "groups": groups,
            "bias": rng.choice([None, False, 0.1]), "flip_kernel": self.chance(0.2), "activation": self.activation(),
        }  # fmt: skip
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        if transposed:
            more = [rng.randint(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True)]
            layer["output_padding"] = more
            extents = [(n - 1) * s + r + o for n, s, r, o in zip(shape[1:], stride, spans, more, strict=True)]
            if math.prod(extents) <= 64:
                return [layer], kind, (channels, *extents)
            return self.pool(kind, shape, depth)
        padding = rng.choice(["same", "same_lower", "pairs", 1])
        if padding in ("same", "same_lower"):
            layer["padding"] = padding
            return [layer], kind, (channels, *(math.ceil(n / s) for n, s in zip(shape[1:], stride, strict=True)))
        needed = [max(0, r - n) for n, r in zip(shape[1:], spans, strict=True)]
        pairs = [[rng.randint(0, 1), rng.randint(0, 1) + need] for need in needed]
        layer["padding"] = pairs
        whole = [n + sum(p) - r for n, p, r in zip(shape[1:], pairs, spans, strict=True)]
        return [layer], kind, (channels, *(w // s + 1 for w, s in zip(whole, stride, strict=True)))

    def block(self, kind: str, shape: tuple[int, ...], depth: int) -> Any:
        """A branch that ends with the shape it began with (of concat: with other features), or outputs from above."""
        rng = self.rng
        alike = [name for name, was, size in self.made if (was, size) == (kind, shape)]
        joined = rng.choice(["residual", "add", "multiply", "concat"])
        layer: Layer = {"type": joined, "activation": rng.choice([None, None, self.activation()])}
        grown = (shape[0] * 2, *shape[1:]) if kind == "image" else (*shape[:-1], shape[-1] * 2)
        if len(alike) > 1 and self.chance(0.4):
            layer |= {"name": next(self.names), "inputs": rng.sample(alike, 2)}
            return [layer], kind, grown if joined == "concat" else shape
        if depth > 1:
            return self.same(kind, shape, depth)
        branch: list[Layer] = []
        inner, size = kind, shape
        for _ in range(rng.randint(0, 2)):
            found, after, reached = self.layer(inner, size, depth + 1)
            if after != kind or _places(kind, reached) != _places(kind, shape):
                continue
            branch += found
            self.made.append((found[-1]["name"], after, reached))
            inner, size = after, reached
        if kind == "image":
            last: Layer = {"type": f"conv{len(shape) - 1}d", "name": next(self.names), "channels": shape[0],
                           "kernel": rng.randint(1, 2), "padding": "same"}  # fmt: skip
        else:
            last = self.dense(shape[-1])
        branch.append(last | {"activation": self.activation()})
        self.made.append((last["name"], kind, shape))
        layer |= {"name": next(self.names), "layers": [_given(inner_layer) for inner_layer in branch]}
        return [layer], kind, grown if joined == "concat" else shape


def _places(kind: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The part of a shape that a branch keeps: time steps, or rows and columns."""
    return shape[1:] if kind == "image" else shape[:-1]


def _signs(value: Any) -> Any:
    return [_signs(item) for item in value] if isinstance(value, list) else (1 if value > 0 else -1)


def _given(fields: Document) -> Document:
    return {key: value for key, value in fields.items() if value is not None}
