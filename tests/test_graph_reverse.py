"""Reverse and forward mode on graphs made by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from support.interpreter import Computed, Values, network, run, start

from bptrace.graph.forward import add_tangents
from bptrace.graph.graph import Graph
from bptrace.graph.node import DeltaName, Derivative, Node, Own
from bptrace.graph.op import Op
from bptrace.graph.reverse import Reverse
from bptrace.ops.activations import Sigmoid, Tanh
from bptrace.ops.arithmetic import Add, Multiply
from bptrace.ops.contract import Contract
from bptrace.ops.leaves import Fill
from bptrace.ops.losses import HalfSquaredError
from bptrace.ops.reduction import Total
from bptrace.optimizers.sgd import Descent


class Hand:
    """A graph by hand, in few words."""

    def __init__(self) -> None:
        self.graph = Graph()

    def leaf(self, id: str, value: Any, phase: Any = "parameter") -> Node:
        array = np.array(value, dtype=np.float64)
        return self.graph.leaf(id, array.shape, array.ravel().tolist(), phase=phase, symbol=Own(id))

    def node(self, id: str, op: Op, *inputs: Node, **rest: Any) -> Node:
        return self.graph.add(id, op, *inputs, **{"phase": "forward", "symbol": Own(id), **rest})

    def values(self) -> Values:
        return run(self.graph)

    def __getitem__(self, id: str) -> Node:
        return self.graph.by_id[id]


def olah() -> tuple[Hand, list[Node]]:
    hand = Hand()
    a, b, one = hand.leaf("a", 2), hand.leaf("b", 1), hand.leaf("one", 1, "data")
    c = hand.node("c", Add(), a, b)
    d = hand.node("d", Add(), b, one)
    e = hand.node("e", Multiply(), c, d)
    return hand, [a, b, c, d, e]


def test_olahs_graph_in_reverse_mode() -> None:
    hand, (a, b, c, d, e) = olah()
    gradients = Reverse(hand.graph, e, [a, b]).run({e: (Fill(), ())})
    values = hand.values()
    assert [float(values[gradients[node]]) for node in (a, b, c, d)] == [2, 5, 2, 3]
    assert (float(values[hand["grad.b/c"]]), float(values[hand["grad.b/d"]])) == (2, 3)
    symbol = hand["grad.b/c"].symbol
    assert symbol == Derivative(e, b, "c")
    assert hand["grad.b"].symbol == Derivative(e, b)
    assert "grad.one" not in hand.graph.by_id  # not wanted


def test_olahs_graph_in_forward_mode() -> None:
    hand, (a, b, c, d, e) = olah()
    tangents = add_tangents(hand.graph, list(hand.graph.nodes), b, (), "b")
    values = hand.values()
    assert a not in tangents
    assert [float(values[tangents[node]]) for node in (b, c, d, e)] == [1, 1, 1, 5]
    assert hand["tangent.b.e"].symbol == Derivative(e, b)


def test_only_what_leads_to_wanted_nodes_is_differentiated() -> None:
    hand, (a, _, c, d, e) = olah()
    gradients = Reverse(hand.graph, e, [a]).run({e: (Fill(), ())})
    assert set(gradients) == {a, c, e}
    assert d not in gradients and "grad.b" not in hand.graph.by_id


def test_several_seeds_and_upstream_are_added() -> None:
    hand, (a, b, c, _, e) = olah()
    gradients = Reverse(hand.graph, e, [a, b]).run({e: (Fill(), ()), c: (Fill(Fraction(10)), ())})
    values = hand.values()
    assert float(values[gradients[c]]) == 12.0
    assert float(values[hand["grad.c/upstream"]]) == 10.0
    assert float(values[gradients[a]]) == 12.0 and float(values[gradients[b]]) == 15.0


def test_finished_leaves_are_told_at_their_last_use() -> None:
    """A parameter that is used twice is finished when its first use has been passed."""
    hand = Hand()
    x, w, v = hand.leaf("x", 3, "data"), hand.leaf("w", 2), hand.leaf("v", 5)
    first = hand.node("p", Multiply(), w, x)
    second = hand.node("q", Multiply(), v, first)
    third = hand.node("r", Multiply(), w, second)
    told: list[tuple[str, int]] = []
    reverse = Reverse(
        hand.graph,
        third,
        [w, v, x],
        done=lambda leaf, gradient: told.append((leaf.id, len(hand.graph.nodes))),
    )
    gradients = reverse.run({third: (Fill(), ())})
    assert [id for id, _ in told] == ["v", "w"]
    values = hand.values()
    assert [float(values[gradients[leaf]]) for leaf in (w, v, x)] == [60, 12, 20]
    # what goes on to x comes after w was finished: a sequential update reads the new one
    assert hand.graph.nodes.index(gradients[x]) >= told[-1][1]


@pytest.mark.parametrize("factor", [1, -1, 4])
def test_delta_has_its_own_name_sign_and_scale(factor: int) -> None:
    hand = Hand()
    x, w = hand.leaf("x", [[1.0, 2.0]], "data"), hand.leaf("w", [[0.5, -0.25]])
    z = hand.node("z", Contract(), x, w, delta=DeltaName("h.delta", ("d",), factor))
    a = hand.node("a", Sigmoid(), z, quiet=factor != 1)
    total = hand.node("s", Total((0, 1), ("a", "b")), a)
    gradients = Reverse(hand.graph, total, [w]).run({total: (Fill(), ())})
    values = hand.values()
    slope = values[a] * (1 - values[a])
    np.testing.assert_allclose(values[hand["h.delta"]], factor * slope, rtol=1e-15)
    np.testing.assert_allclose(values[hand["grad.z"]], slope, rtol=1e-15)
    np.testing.assert_allclose(values[gradients[w]], slope * [[1.0, 2.0]], rtol=1e-15)
    assert (hand["grad.z"] is hand["h.delta"]) == (factor == 1)
    assert hand["h.delta"].names == ("d",) and not hand["h.delta"].inline


# Aidan Gomez, Backpropogating an LSTM: A Numerical Example, 2016 (blog.aidangomez.ca). The article rounds to
# five digits after every step; the digits here are those of a program of the same example,
# github.com/ThomasH88/home_made_RNN, LSTM_numerical_example.ipynb (MIT). One unit, two inputs, two time
# steps, the loss 1/2·(out - label)² at both, one step of gradient descent with the rate 0.1.

GATES = "aifo"
W = {"a": [0.45, 0.25], "i": [0.95, 0.8], "f": [0.7, 0.45], "o": [0.6, 0.4]}
U = {"a": 0.15, "i": 0.8, "f": 0.1, "o": 0.25}
B = {"a": 0.2, "i": 0.65, "f": 0.15, "o": 0.1}
X = ([1, 2], [0.5, 3])
LABELS = (0.5, 1.25)
RATE = 0.1
PRINTED = 6e-9

FORWARD = [
    dict(a=0.8177540779702877, i=0.9608342772032357, f=0.8519528019683106, o=0.8175744761936437,
         state=0.7857261484365797, out=0.5363133978820118),
    dict(a=0.8498040223194213, i=0.9811839683254171, f=0.8703019698552491, o=0.8499333428022842,
         state=1.5176330976694041, out=0.7719811057588907),
]  # fmt: skip
DELTAS = [
    dict(a=-0.01702404472886597, i=-0.0016458818995508829, f=0.0, o=0.0017648023073026033),
    dict(a=-0.01938434750774075, i=-0.001115614070446023, f=-0.006306541742007648, o=-0.05537783112520711),
]
NEW_W = {
    "a": [0.45267162, 0.25922011], "i": [0.95022037, 0.80066386],
    "f": [0.70031533, 0.45189196], "o": [0.60259241, 0.41626039],
}  # fmt: skip
NEW_U = {"a": 0.15103961, "i": 0.80005983, "f": 0.10033823, "o": 0.25296999}
NEW_B = {"a": 0.20364084, "i": 0.65027615, "f": 0.15063065, "o": 0.1053613}
# the article, from rounded numbers: the gradients by the inputs of the second step, and by out of the first
ROUNDED_DX1, ROUNDED_DOUT0 = [-0.04743, -0.03073], -0.01828


def published(found: Any, printed: Any, within: float = PRINTED) -> None:
    np.testing.assert_allclose(found, printed, rtol=0, atol=within)


def test_gomez_lstm_as_a_graph_of_existing_ops() -> None:
    hand = Hand()
    rate = hand.leaf("rate", RATE, "setting")
    weights = {g: hand.leaf(f"W_{g}", W[g]) for g in GATES}
    recurrent = {g: hand.leaf(f"U_{g}", U[g]) for g in GATES}
    biases = {g: hand.leaf(f"b_{g}", B[g]) for g in GATES}
    out, state = hand.leaf("out", 0, "data"), hand.leaf("state", 0, "data")
    losses = []
    for t in range(2):
        x, label = hand.leaf(f"x{t}", X[t], "data"), hand.leaf(f"label{t}", LABELS[t], "data")
        gate = {}
        for g in GATES:
            fed = hand.node(f"fed_{g}{t}", Contract("k", "k", "", ""), weights[g], x, biases[g])
            kept = hand.node(f"kept_{g}{t}", Multiply(), recurrent[g], out)
            z = hand.node(f"z_{g}{t}", Add(), fed, kept)
            gate[g] = hand.node(f"{g}{t}", Tanh() if g == "a" else Sigmoid(), z)
        new = hand.node(f"new{t}", Multiply(), gate["a"], gate["i"])
        old = hand.node(f"old{t}", Multiply(), gate["f"], state)
        state = hand.node(f"state{t}", Add(), new, old)
        out = hand.node(f"out{t}", Multiply(), hand.node(f"squashed{t}", Tanh(), state), gate["o"])
        losses.append(hand.node(f"E{t}", HalfSquaredError(), label, out))
    loss = hand.node("loss", Add(), *losses)
    parameters = [*weights.values(), *recurrent.values(), *biases.values()]
    inputs = [hand["x0"], hand["x1"]]
    gradients = Reverse(hand.graph, loss, [*parameters, *inputs]).run({loss: (Fill(), ())})
    for leaf in parameters:
        hand.node(f"new.{leaf.id}", Descent(), leaf, rate, gradients[leaf], phase="update")
    values = hand.values()

    def value(id: str) -> Any:
        return values[hand[id]]

    for t in range(2):
        for g in GATES:
            published(value(f"{g}{t}"), FORWARD[t][g])
            published(value(f"grad.z_{g}{t}"), DELTAS[t][g])
        published(value(f"state{t}"), FORWARD[t]["state"])
        published(value(f"out{t}"), FORWARD[t]["out"])
    for g in GATES:
        published(value(f"new.W_{g}"), NEW_W[g])
        published(value(f"new.U_{g}"), NEW_U[g])
        published(value(f"new.b_{g}"), NEW_B[g])
        # used at both time steps: two contributions and their sum
        np.testing.assert_allclose(
            value(f"grad.W_{g}"), value(f"grad.W_{g}/fed_{g}0") + value(f"grad.W_{g}/fed_{g}1"), rtol=1e-15
        )
    published(value("grad.x1"), ROUNDED_DX1, 2e-5)
    passed_back = sum(float(value(f"grad.out0/kept_{g}1")) for g in GATES)
    published(passed_back, ROUNDED_DOUT0, 2e-5)


def _step(t: int) -> str:
    before = f"out{t - 1}" if t else "h"
    gates = "".join(
        f"  z_{g}{t}: dot(W_{g}, x{t}) + U_{g} * {before} + b_{g}\n"
        f"  {g}{t}: {'tanh' if g == 'a' else 'sigmoid'}(z_{g}{t})\n"
        for g in GATES
    )
    kept = f"f{t} * {f'state{t - 1}' if t else 's'}"
    return f"{gates}  state{t}: a{t} * i{t} + {kept}\n  out{t}: tanh(state{t}) * o{t}\n"


GOMEZ = (
    f"inputs: {{x0: {X[0]}, x1: {X[1]}, h: 0, s: 0}}\n"
    "parameters:\n"
    + "".join(f"  W_{g}: {W[g]}\n  U_{g}: {U[g]}\n  b_{g}: {B[g]}\n" for g in GATES)
    + f"graph:\n{_step(0)}{_step(1)}"
    + f"  E: 0.5 * (out0 - {LABELS[0]})**2 + 0.5 * (out1 - {LABELS[1]})**2\n"
    + f"output: E\noptimizer: {{type: sgd, learning_rate: {RATE}}}\n"
)


def test_gomez_lstm_as_yaml() -> None:
    of: Computed = network(GOMEZ)
    for t in range(2):
        for g in GATES:
            published(of[f"{g}{t}"], FORWARD[t][g])
            if f"grad.z_{g}{t}" in of:
                published(of[f"grad.z_{g}{t}"], DELTAS[t][g])
        published(of[f"out{t}"], FORWARD[t]["out"])
        published(of[f"state{t}"], FORWARD[t]["state"])
    for g in GATES:
        published(of[f"new.W_{g}"], NEW_W[g])
        published(of[f"new.U_{g}"], NEW_U[g])
        published(of[f"new.b_{g}"], NEW_B[g])
    published(of["grad.x1"], ROUNDED_DX1, 2e-5)
    published(of["loss"], 0.1149103631, 1e-10)


def test_gomez_lstm_tells_the_formulas() -> None:
    from test_graph_networks import formulas_are_true

    formulas_are_true(network(GOMEZ))


def test_gomez_lstm_learns_on() -> None:
    """`carry` says what the next iteration starts from: the loss goes down."""
    of = network(GOMEZ)
    losses, values = [], start(of.graph)
    from support.interpreter import compute

    for _ in range(5):
        compute(of.graph.nodes, values)
        losses.append(float(values[of.graph.by_id["loss"]]))
        carried = {leaf: values[new].copy() for leaf, new in of.graph.carry.items()}
        values.update(carried)
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]
