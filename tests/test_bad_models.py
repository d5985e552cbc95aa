"""Bundled networks that are spoilt at random: each runs, or is refused with the places of what is wrong."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bptrace.errors import RunError, SpecError
from bptrace.network import load

NETWORKS = Path(__file__).parent.parent / "networks"
NAMES = [
    "mazur", "cs231n-toy-net", "ng-conv-forward", "d2l-pooling", "text-convolution", "gomez-lstm-numerical-example",
    "encoder-decoder-attention", "bidirectional-lstm", "batch-norm-by-hand", "vanishing-residual",
    "keras-mha-identity-kernels", "positional-encoding", "two-losses", "karpathy-l-graph", "transformer-encoder",
]  # fmt: skip
STRANGE: list[Any] = [
    None, True, False, "abc", "", [], {}, [[]], -1, 0, 1, 2, 1.5, -0.5, 1e308, 1e-320, 10**6, 10**12, [1], [1, 2],
    [[1, 2], [3]], [[[1.0, 2.0]]], {"a": 1}, "softmax", "x", "last", "causal", "dense", "lstm", "conv2d",
]  # fmt: skip
KEYS = [
    "units", "bias", "weights", "name", "mask", "input", "inputs", "share", "heads", "kernel", "activation", "foo",
    "names", "output", "truncate", "reverse", "context", "groups", "trainable", "padding", "stride", "conventions",
]  # fmt: skip
PLACED = re.compile(r"net\.yaml:\d+:\d+: \S")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything inside a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def spoilt(document: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The document with one to three things dropped, replaced, exchanged, repeated or added."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice([1, 1, 2, 3])):
        paths = [path for path in places(document) if path[0] not in ("name", "source", "notes")]
        *path, key = min(rng.sample(paths, min(3, len(paths))), key=len)
        parent: Any = document
        for step in path:
            parent = parent[step]
        value = parent[key]
        match rng.randrange(6):
            case 0:
                del parent[key]
            case 1 | 2:
                parent[key] = copy.deepcopy(rng.choice(STRANGE))
            case 3 if isinstance(value, list) and len(value) > 1:
                first, second = rng.sample(range(len(value)), 2)
                value[first], value[second] = value[second], value[first]
            case 4 if isinstance(value, list) and value:
                value.append(copy.deepcopy(rng.choice(value)))
            case _ if isinstance(value, dict):
                value[rng.choice(KEYS)] = copy.deepcopy(rng.choice(STRANGE))
    return document


@pytest.mark.parametrize("name", NAMES)
def test_a_spoilt_network_runs_or_is_refused(name: str, tmp_path: Path) -> None:
    document = yaml.safe_load((NETWORKS / f"{name}.yaml").read_text(encoding="utf-8"))
    rng = random.Random(name)
    refused = 0
    for _ in range(25):
        text = yaml.safe_dump(spoilt(document, rng), sort_keys=False, allow_unicode=True)
        try:
            trace = load("net.yaml", text=text).run(iterations=1)
            if trace.count:
                trace.export(tmp_path / "page.txt")
        except SpecError as error:
            refused += 1
            heads = [line for line in str(error).splitlines() if line and not line.startswith(" ")]
            assert heads and all(PLACED.match(head) for head in heads), text
        except RunError:
            pass  # a number that cannot be computed with
    assert refused > 5


def test_names_are_text() -> None:
    """Of a dense layer too, which once took numbers for names and failed on the page."""
    for names in ("{units: [1, 2]}", "{z: [3.5, z2]}", "{weights: [[w1, {a: b}]]}"):
        layer = f"{{type: dense, name: h, units: 1, names: {names}}}"
        with pytest.raises(SpecError, match=r"net\.yaml:3:\d+: layers\[0\]\.names: not a name"):
            load("net.yaml", text=f"data: {{inputs: [[1, 2]]}}\nlayers:\n  - {layer}\n")


@pytest.mark.parametrize("function", ["sum", "mean", "max", "softmax"])
@pytest.mark.parametrize(("axis", "value"), [(2, "[[1, 2]]"), (-3, "[[1, 2]]"), (1, "[1, 2]")])
def test_an_axis_that_is_not_there(function: str, axis: int, value: str) -> None:
    text = f"inputs: {{x: {value}}}\ngraph:\n  f: {function}(x, axis={axis})\n"
    with pytest.raises(SpecError, match=r"net\.yaml:3:\d+: graph\.f: "):
        load("net.yaml", text=text).run()


def test_a_window_of_one_place() -> None:
    """At an edge, or of a kernel of 1: its largest element is that one."""
    layer = "{type: max_pool, name: p, kernel: 2, ceil_mode: true}"
    trace = load("net.yaml", text=f"data: {{inputs: [[[1, 3, -2]]]}}\nlayers: [{layer}]\nloss: sum\n").run()
    assert trace["p.y"] == [[[3, -2]]]
    assert trace["grad.x"] == [[[0, 1, 1]]]


def test_channels_are_joined_with_what_is_not_known_to_be_an_image() -> None:
    """Only the convolution in the branch says that x is one: the block joins channels, not columns."""
    branch = "[{type: dropout, mask: [[[1, 1, 1]]]}, {type: conv1d, name: c, channels: 2, kernel: 1}]"
    layer = f"{{type: concat, name: j, layers: {branch}}}"
    text = f"data: {{inputs: [[[1, 3, -2]]]}}\nlayers: [{layer}]\n"
    trace = load("net.yaml", text=text).run()
    assert [len(trace["j.y"][0]), len(trace["j.y"][0][0])] == [3, 3]
