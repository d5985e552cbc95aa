"""A long run recorded and written as Markdown, whole processes, against a plain NumPy script that does the same;
and training of a small network for digits, recorded, against hand-written NumPy that records nothing.

    OPENBLAS_NUM_THREADS=1 python benchmarks/long_traces.py [--iterations 10000] [--rounds 7]

Contestants run in interleaved rounds; the figures are medians over rounds, ratios are taken within a round.
"""

# ruff: noqa: E402 - the number of threads is set before NumPy is imported
from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import yaml

import bptrace

NAIVE = """
import sys
import numpy as np

x, t = np.array([[0.05, 0.1]]), np.array([[0.01, 0.99]])
w1, w2 = np.array([[0.15, 0.2], [0.25, 0.3]]), np.array([[0.4, 0.45], [0.5, 0.55]])
b1, b2 = np.full(2, 0.35), np.full(2, 0.6)
kept = []
for _ in range(int(sys.argv[1])):
    z1 = x @ w1.T + b1
    a1 = 1 / (1 + np.exp(-z1))
    z2 = a1 @ w2.T + b2
    a2 = 1 / (1 + np.exp(-z2))
    terms = 0.5 * (t - a2) ** 2
    error2, slope2 = a2 - t, a2 * (1 - a2)
    delta2 = error2 * slope2
    error1, slope1 = delta2 @ w2, a1 * (1 - a1)
    delta1 = error1 * slope1
    g1, g2 = delta1.T @ x, delta2.T @ a1
    new1, new2 = w1 - 0.5 * g1, w2 - 0.5 * g2
    kept.append(dict(w1=w1, w2=w2, z1=z1, a1=a1, z2=z2, a2=a2, terms=terms, loss=terms.sum(), error2=error2,
        slope2=slope2, delta2=delta2, error1=error1, slope1=slope1, delta1=delta1, g1=g1, g2=g2, gx=delta1 @ w1,
        new1=new1, new2=new2))
    w1, w2 = new1, new2
names = [f"{name}[{k}]" for name, value in kept[0].items() for k in range(np.size(value))]
lines = ["| iteration | " + " | ".join(names) + " |\\n", "|" + " ---: |" * (len(names) + 1) + "\\n"]
for k, row in enumerate(kept, 1):
    numbers = [f"{number:.9f}" for value in row.values() for number in np.ravel(value)]
    lines.append("| " + " | ".join([str(k), *numbers]) + " |\\n")
with open(sys.argv[2], "w") as file:
    file.write("".join(lines))
"""


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def table(title: str, times: dict[str, list[float]]) -> None:
    first = next(iter(times.values()))
    print(f"\n| {title} | ms | ratio |\n|---|---:|---:|")
    for name, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(found, first, strict=True))
        print(f"| {name} | {1000 * statistics.median(found):.0f} | {ratio:.2f} |")


def markdown(iterations: int, rounds: int) -> None:
    """Whole processes: start, run, write."""
    with TemporaryDirectory() as folder:
        ours = [sys.executable, "-m", "bptrace", "export", "mazur", "-q", "-n", str(iterations)]
        commands = {
            "plain NumPy, values by f-strings": [sys.executable, "-c", NAIVE, str(iterations), f"{folder}/naive.md"],
            "bptrace export --format table": [*ours, "--format", "table", "-o", f"{folder}/table.md"],
            "bptrace run --trace, to .npy": [
                sys.executable, "-m", "bptrace", "run", "mazur", "-q", "-n", str(iterations), "--show", "last",
                "--trace", f"{folder}/t.npy", "-o", f"{folder}/page.txt",
            ],
            "bptrace, one iteration (start alone)": [
                sys.executable, "-m", "bptrace", "run", "mazur", "-q", "-o", f"{folder}/one.txt",
            ],
        }  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                times[name].append(seconds(partial(subprocess.run, command, check=True)))
        table(f"{iterations:,} Mazur iterations, recorded and written", times)


def digits(rounds: int) -> None:
    """64-32-10, 1,797 samples in batches of 32, 20 epochs."""
    draw = np.random.default_rng(0)
    x, t = draw.random((1797, 64)), np.eye(10)[draw.integers(0, 10, 1797)]
    first, second = draw.standard_normal((32, 64)) / 8, draw.standard_normal((10, 32)) / 6
    document = {
        "data": {"inputs": x.tolist(), "targets": t.tolist()},
        "layers": [
            {"type": "dense", "name": "h", "units": 32, "activation": "relu", "weights": first.tolist()},
            {"type": "dense", "name": "o", "units": 10, "activation": "softmax", "weights": second.tolist()},
        ],
        "initializer": {"type": "zeros"},  # the biases
        "loss": "cross_entropy",
        "optimizer": {"type": "sgd", "learning_rate": 0.1},
        "training": {"epochs": 20, "batch_size": 32},
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "digits.yaml"
        path.write_text(yaml.safe_dump(document, default_flow_style=None), encoding="utf-8")
        network = bptrace.load(path)

    def plain() -> float:
        w1, b1, w2, b2 = first.copy(), np.zeros(32), second.copy(), np.zeros(10)
        loss = 0.0
        for _ in range(20):
            for start in range(0, len(x), 32):
                rows, wanted = x[start : start + 32], t[start : start + 32]
                z1 = rows @ w1.T + b1
                a1 = np.maximum(z1, 0)
                z2 = a1 @ w2.T + b2
                e = np.exp(z2 - z2.max(1, keepdims=True))
                y = e / e.sum(1, keepdims=True)
                loss = float(-np.log((y * wanted).sum(1)).mean())
                d2 = (y - wanted) / len(rows)
                d1 = (d2 @ w2) * (z1 > 0)
                w2, b2 = w2 - 0.1 * (d2.T @ a1), b2 - 0.1 * d2.sum(0)
                w1, b1 = w1 - 0.1 * (d1.T @ rows), b1 - 0.1 * d1.sum(0)
        return loss

    last = network.run(record="replay").loss(20 * 57)
    assert last is not None and abs(plain() - last) < 1e-9
    contestants: dict[str, Callable[[], object]] = {
        "plain NumPy, nothing recorded": plain,
        "bptrace, replay": lambda: network.run(record="replay"),
        "bptrace, lean": lambda: network.run(record="lean"),
        "bptrace, all": lambda: network.run(record="all"),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            times[name].append(seconds(call))
    table("64-32-10, batch 32, 20 epochs", times)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    markdown(arguments.iterations, arguments.rounds)
    digits(arguments.rounds)
