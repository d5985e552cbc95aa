"""What an iteration costs, everything recorded, against plain NumPy that records nothing.

    OPENBLAS_NUM_THREADS=1 python benchmarks/engine.py [--net mazur,mlp32,mlp256] [--rounds 15]

Each network runs in interleaved rounds: every contestant once a round for about `--slice` seconds.
The table has the median over rounds of microseconds an iteration and of the ratio to NumPy in the
same round, since the machine's clock moves between rounds. All start from the same weights and must
reach the same loss after three iterations.
"""

# ruff: noqa: E402 - the number of threads is set before NumPy is imported
from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np

import bptrace
from bptrace.engine.array import ArrayEngine
from bptrace.engine.layout import Layout, state_leaves
from bptrace.engine.rows import suspicious
from bptrace.engine.scalar import ScalarEngine

RING = 16
"""Rows that a large network's record goes round in, so that fresh pages are not what is measured."""
Step = Callable[[int], float]
"""Runs a number of iterations and returns the last loss."""


class Case:
    """One network: sizes, starting weights, data."""

    def __init__(self, name: str) -> None:
        rng = np.random.default_rng(7)
        self.name = name
        if name == "mazur":
            self.sizes, self.batch, self.rate = [2, 2, 2], 1, 0.5
            self.weights = [np.array([[0.15, 0.2], [0.25, 0.3]]), np.array([[0.4, 0.45], [0.5, 0.55]])]
            self.biases = [np.full(2, 0.35), np.full(2, 0.6)]
            self.x, self.t = np.array([[0.05, 0.1]]), np.array([[0.01, 0.99]])
            self.classes = False
            return
        self.sizes, self.batch, self.rate, self.classes = {
            "small": ([8, 8, 8], 1, 0.1, False),
            "mlp32": ([784, 128, 10], 32, 0.01, True),
            "mlp256": ([784, 512, 512, 10], 256, 0.01, True),
        }[name]
        pairs = list(zip(self.sizes, self.sizes[1:], strict=False))
        self.weights = [rng.standard_normal((o, i)) / np.sqrt(i) for i, o in pairs]
        self.biases = [np.zeros(o) for o in self.sizes[1:]]
        self.x = rng.random((self.batch, self.sizes[0]))
        self.t = np.eye(self.sizes[-1])[rng.integers(0, self.sizes[-1], self.batch)]

    def yaml(self) -> dict[str, Any]:
        last = len(self.weights) - 1
        hidden, output = ("relu", "softmax") if self.classes else ("sigmoid", "sigmoid")
        return {
            "data": {"inputs": self.x.tolist(), "targets": self.t.tolist()},
            "layers": [
                {
                    "type": "dense", "units": b.size, "activation": output if k == last else hidden,
                    "trainable": self.name != "mazur" or {"weights": True, "bias": False}, "bias": b.tolist(),
                }
                for k, b in enumerate(self.biases)
            ],
            "loss": "cross_entropy" if self.classes else {"type": "half_squared_error", "reduction": "sum"},
            "optimizer": {"type": "sgd", "learning_rate": self.rate},
        }  # fmt: skip


def plain_numpy(case: Case) -> Step:
    """What a practitioner writes: nothing recorded, nothing tuned."""
    weights, biases = [w.copy() for w in case.weights], [b.copy() for b in case.biases]
    x, t, rate, last = case.x, case.t, case.rate, len(case.weights) - 1

    def iteration() -> float:
        outputs, sums = [x], []
        for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
            z = outputs[-1] @ w.T + b
            if not case.classes:
                a = 1 / (1 + np.exp(-z))
            elif k < last:
                a = np.maximum(z, 0)
            else:
                e = np.exp(z - z.max(1, keepdims=True))
                a = e / e.sum(1, keepdims=True)
            sums.append(z)
            outputs.append(a)
        if case.classes:
            loss = -np.log((outputs[-1] * t).sum(1)).mean()
            error = (outputs[-1] - t) / case.batch
        else:
            error = outputs[-1] - t
            loss = 0.5 * (error * error).sum()
        for k in range(last, -1, -1):
            if not case.classes:
                delta = error * outputs[k + 1] * (1 - outputs[k + 1])
            else:
                delta = error * (sums[k] > 0) if k < last else error
            gradient = delta.T @ outputs[k]
            error = delta @ weights[k] if k else delta
            weights[k] = weights[k] - rate * gradient
            if case.name != "mazur":  # Mazur holds the biases
                biases[k] = biases[k] - rate * delta.sum(0)
        return float(loss)

    def step(count: int) -> float:
        loss = 0.0
        for _ in range(count):
            loss = iteration()
        return loss

    return step


def ours(case: Case, kind: str, recorded: bool) -> Step | None:
    """An engine of bptrace; rows go round in a ring and are searched for NaN as a run does."""
    import yaml

    with TemporaryDirectory() as folder:
        file = Path(folder) / "net.yaml"
        file.write_text(yaml.safe_dump(case.yaml()), encoding="utf-8")
        assembly = bptrace.load(file).assembly()
    layout = Layout(assembly)
    batch = range(case.batch)
    given = {f"dense{k + 1}.W": w for k, w in enumerate(case.weights)}
    given |= {f"dense{k + 1}.b": b for k, b in enumerate(case.biases)}
    start = [x for leaf in state_leaves(assembly.graph) for x in given[leaf.id].ravel().tolist()]
    engine: Any
    if kind == "scalar":
        engine = ScalarEngine(assembly, layout, batch, lambda: ArrayEngine(assembly, layout, batch))
    else:
        engine = ArrayEngine(assembly, layout, batch)
    engine.state = start
    ring = max(RING, min(1024, (1 << 20) // layout.bytes))
    chunk = memoryview(bytearray(8 * layout.size * ring)).cast("d")
    chunk[:] = memoryview(bytearray(b"\1" * (8 * layout.size * ring))).cast("d")

    def step(count: int) -> float:
        losses: list[float | None] = []
        while count:
            now = min(count, ring)
            engine.run([batch] * now, chunk if recorded else None, 0, losses)
            if recorded and layout.size <= 1 << 17:
                suspicious(chunk, 0, now * layout.size)
            count -= now
        assert losses[-1] is not None
        return losses[-1]

    return step


def contestants(case: Case) -> dict[str, Step]:
    made: dict[str, Step] = {"plain NumPy": plain_numpy(case)}
    kinds = ["scalar", "array"] if case.name in ("mazur", "small") else ["array"]
    for kind in kinds:
        for recorded in (False, True):
            step = ours(case, kind, recorded)
            if step is not None:
                made[f"{kind}, {'everything' if recorded else 'nothing'} recorded"] = step
    return made


def compare(title: str, steps: dict[str, Step], rounds: int, slice_seconds: float) -> None:
    """Print a table of the contestants, the first of which is the yardstick."""
    losses = {name: step(3) for name, step in steps.items()}
    counts: dict[str, int] = {}
    for name, step in steps.items():
        count, spent = 1, 0.0
        while spent < slice_seconds / 4:
            count *= 2
            begin = time.perf_counter()
            step(count)
            spent = time.perf_counter() - begin
        counts[name] = max(1, int(count * slice_seconds / spent))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            begin = time.perf_counter()
            step(counts[name])
            times[name].append((time.perf_counter() - begin) / counts[name])
    first = next(iter(steps))
    print(f"\n## {title}\n")
    print("| what | us an iteration | ratio to NumPy | loss agrees |\n| --- | ---: | ---: | --- |")
    for name, taken in times.items():
        ratio = statistics.median(a / b for a, b in zip(taken, times[first], strict=True))
        agrees = abs(losses[name] / losses[first] - 1) < 1e-9
        print(
            f"| {name} | {statistics.median(taken) * 1e6:.2f} | {ratio:.3f} | {'yes' if agrees else 'NO'} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--net", default="mazur,small,mlp32,mlp256")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--slice", type=float, default=0.05)
    given = parser.parse_args()
    print(f"# numpy {np.__version__}, {given.rounds} rounds of {given.slice} s, one thread")
    for name in given.net.split(","):
        case = Case(name)
        title = f"{case.name} {'-'.join(map(str, case.sizes))}, batch {case.batch}"
        compare(title, contestants(case), given.rounds, given.slice)


if __name__ == "__main__":
    main()
