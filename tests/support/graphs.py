"""Expressions of `graph:` that together use every operator and function, on vectors v and w (positive),
matrices A and B, a scalar s and a condition c."""

from __future__ import annotations

GRAPHS = {
    "powers": "y: sum(v**2 + v**3 - w**0.5 + w**-1 + w**1 + w**v + 2**v)",
    "power of itself": "y: sum(w**w)",
    "quotients": "y: sum(v/w + 3/w + v/4 - w/w)",
    "broadcast": "y: sum(A*v + A/s + s*v - A)",
    "column and row": "y: mean(reshape(v, shape=[3, 1]) * w + s)",
    "matrix products": "p: A @ v\nq: p @ B\ny: q @ q + sum(B @ transpose(A))",
    "dot": "y: dot(v, w) * dot(A, v) @ p\np: dot(B, v)",
    "reductions": "p: sum(A, axis=0) @ w + sum(mean(A, axis=1))\ny: p + max(A) + sum(max(A, axis=0)) + sum(min(A, 1))",
    "negative axes": "y: sum(sum(A, axis=-1)**2) + sum(max(A, axis=-2))",
    "larger of two": "y: sum(max(v, w) * min(v, 0.1)) + max(s, 2) + sum(max(A, v))",
    "larger of itself": "y: sum(max(w, w) * v)",
    "shapes": "p: reshape(A, shape=[3, 2])\nq: transpose(A)\ny: sum(p * q) + sum(reshape(A, 6))",
    "concat": "p: concat(v, w)\nq: concat(A, B, axis=1)\ny: sum(p**2) + sum(q @ concat(v, w))",
    "take": "p: take(A, [1], axis=0) * w\n"
    "y: sum(take(v, [0, 2, 2])) + sum(p) + sum(take(A, indices=[2, 0], axis=1)**2)",
    "where": "y: sum(where(c, v, w) * v) + sum(where(c, 1, v))",
    "functions": "y: sum(exp(v) + log(w) + sqrt(w) + abs(v) + sin(v) * cos(v) + sigmoid(v) * tanh(w))",
    "more functions": "p: leaky_relu(v, negative_slope=0.2) + elu(v, alpha=0.5)\n"
    "y: sum(relu(v) + p + selu(v) + gelu(v) * swish(v))",
    "softmax": "p: softmax(A)\nq: softmax(A, axis=0)\ny: sum(p * q) - sum(log_softmax(v) * w)",
    "fan-out": "p: v * w\ny: sum(p * p + p / w - p * v) + sum(p) * max(p)",
    "signs": "y: -sum(-v * -(w - v)) - (-s)",
    "constants": "k: 2\nm: v\ny: sum(k * m + 3 * 4 - -2 * v)",
    "chain of means": "y: mean(mean(A, axis=0) * 2) / 3",
}


def graph_yaml(name: str, more: str = "") -> str:
    """The network of one of `GRAPHS`."""
    lines = "\n".join(f"  {line}" for line in GRAPHS[name].splitlines())
    return f"""
inputs: {{c: [1, 0, -2]}}
parameters:
  v: [0.5, -1.5, 0.25]
  w: [0.75, 2.0, 0.125]
  s: 1.25
  A: [[1.0, 0.5, -0.25], [0.3, -2.0, 0.7]]
  B: [[0.2, 0.4, 0.6], [-0.1, 0.9, 1.1]]
graph:
{lines}
output: y
{more}"""
