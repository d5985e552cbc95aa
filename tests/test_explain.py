"""Derivations of one number: complete, each step once, every line true."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

import pytest

from bptrace.errors import UsageError
from bptrace.graph.lookup import LookupFailedError, element_id
from bptrace.network import bundled, load
from bptrace.ops.leaves import Leaf
from bptrace.report.explain import explain
from bptrace.report.explanation import Remark, Step
from bptrace.trace import Trace
from bptrace.writers.explain_text import explain_lines
from bptrace.writers.layout import width
from tests.support.calculator import typed

NEW_W5 = """\
new.w5 = new.o.W[1,1]                                          iteration 1 of 1

 new w5 = w5 - η·∂E/∂w5 = 0.4 - 0.5·0.082167041
        ≈ 0.4 - 0.041083520                                      =  0.358916480
   w5                      starting parameter                       0.4
   η                       setting optimizer.learning_rate          0.5
   ∂E/∂w5 = δ_o1·out_h1 = 0.138498562·0.593269992                =  0.082167041
     δ_o1 = ∂E/∂out_o1·σ'(net_o1) = 0.741365070·0.186815602      =  0.138498562
       ∂E/∂out_o1 = out_o1 - t1 = 0.751365070 - 0.01             =  0.741365070
         out_o1 = 1/(1 + exp(-net_o1)) = 1/(1 + exp(-1.105905967))
                = 1/(1 + 0.330910952) = 1/1.330910952            =  0.751365070
           net_o1 = w5·out_h1 + w6·out_h2 + b2
                  = 0.4·0.593269992 + 0.45·0.596884378 + 0.6
                  = 0.237307997 + 0.268597970 + 0.6              =  1.105905967
             out_h1: see below
             … continues down to i1, i2 (--depth all)
         t1                data                                     0.01
       σ'(net_o1) = out_o1·(1 - out_o1) = 0.751365070·(1 - 0.751365070)
                  = 0.751365070·0.248634930                      =  0.186815602
         out_o1: see above
     out_h1 = 1/(1 + exp(-net_h1)) = 1/(1 + exp(-0.377500000))
            = 1/(1 + 0.685573202) = 1/1.685573202                =  0.593269992
       net_h1 = w1·i1 + w2·i2 + b1 = 0.15·0.05 + 0.2·0.1 + 0.35
              = 0.0075 + 0.02 + 0.35                             =  0.377500000
         w1                starting parameter                       0.15
         i1                data                                     0.05
         w2                starting parameter                       0.2
         i2                data                                     0.1
         b1                starting parameter                       0.35

 as one product: ∂E/∂w5 = ∂E/∂out_o1 · ∂out_o1/∂net_o1 · ∂net_o1/∂w5
                        = 0.741365070·0.186815602·0.593269992    =  0.082167041
 feeds into: nothing in this iteration; w5 of iteration 2
"""

REASON = re.compile(r" since [^ ]+ [=≠<>≤≥] [^ ]+")
"""Why a branch was taken: its `=` compares and gives no value."""
LINE = re.compile(r" ([=≈]) +")


@cache
def trace(name: str, iterations: int | None = None) -> Trace:
    return load(name).run(iterations)


def lines(name: str, text: str, columns: int = 80, **options: object) -> list[str]:
    iterations = options.pop("iterations", None)
    made = explain(trace(name, iterations), text, **options)  # type: ignore[arg-type]
    return list(explain_lines(made, columns))


def steps(name: str, text: str, **options: object) -> dict[str, Step]:
    made = explain(trace(name), text, **options)  # type: ignore[arg-type]
    found = {step.name: step for step in made.steps if isinstance(step, Step)}
    assert len(found) == sum(isinstance(step, Step) for step in made.steps), "a step stands twice"
    return found


def true_lines(shown: list[str]) -> int:
    """How many numbers the lines state; each follows from what stands before it on its line.

    Lines are as wide as they need to be, so that each step is one line.
    """
    judged = 0
    for line in shown:
        parts = LINE.split(REASON.sub("", line).strip())
        numbers = []
        for sign, text in zip(parts[1::2], parts[2::2], strict=True):
            try:
                numbers.append((sign, text.strip(), typed(text)))
            except ValueError:  # with symbols
                assert not numbers or "since" in text or "NaN" in text or "Infinity" in text, line
        for (_, _, before), (sign, text, now) in pairwise(numbers):
            judged += 1
            if (sign, text) == ("=", numbers[-1][1]):
                decimals = len(text.partition("e")[0].partition(".")[2]) - int(text.partition("e")[2] or 0)
                assert abs(before - now) <= 0.5000001 * 10.0**-decimals + 1e-13 * abs(now), line
            else:
                assert before == pytest.approx(now, rel=1e-4, abs=2e-8), line
    return judged


def test_the_derivation_of_a_new_weight() -> None:
    assert "\n".join(lines("mazur", "new.w5")) + "\n" == NEW_W5


@pytest.mark.parametrize("text", ["new.w5", "w5", "δ_o1", "grad.w1", "h.z[1]/2", "loss", "new.w1", "grad.x[1]"])
def test_every_line_is_true(text: str) -> None:
    assert true_lines(lines("mazur", text, 1000, depth=None)) >= (text != "w5")


@pytest.mark.parametrize("name", bundled())
def test_every_node_of_every_network_explains_itself(name: str) -> None:
    made = trace(name, 2)
    judged = 0
    for iteration in made.recorded:
        for node in made.assembly(iteration).graph.stored():
            if node.id.startswith("~") or not node.size:
                continue
            explanation = explain(made, element_id(node, node.size - 1), iteration=iteration, depth=0)
            wide = list(explain_lines(explanation, 2000))
            judged += true_lines(wide)
            for columns in (60, 80, 140):
                narrow = list(explain_lines(explanation, columns))
                assert all(width(line) <= columns for line in narrow if " " in line.strip()), narrow
                # nothing is cropped: the same text, broken elsewhere
                assert "".join("".join(narrow).split()) == "".join("".join(wide).split())
            "\n".join(explain_lines(explanation, 80, ascii_only=True)).encode("ascii")
    assert judged


def test_all_depths() -> None:
    everything = steps("mazur", "new.w1", depth=None)
    leaves = {name for name, step in everything.items() if not step.forms}
    assert leaves == {"w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "b1", "b2", "i1", "i2", "t1", "t2", "η"}
    graph = trace("mazur").assembly(1).graph
    assert all(step.forms for name, step in everything.items() if name not in leaves)
    assert len(everything) - len(leaves) == len(
        [0 for node in graph.ancestors([graph.by_id["new.h.W"]]) if not node.inline and not isinstance(node.op, Leaf)
         for _ in range(1 if node.id in ("new.h.W", "grad.h.W", "h.delta", "grad.h.a", "local.h.a") else 2)]
    )  # fmt: skip
    few = explain(trace("mazur"), "new.w1", depth=0)
    assert [step.name for step in few.steps if isinstance(step, Step)] == ["new w1", "w1", "η", "∂E/∂w1"]
    assert [step.text for step in few.steps if isinstance(step, Remark)] == [
        "… continues down to i1, i2, t1, t2 (--depth all)"
    ]
    for depth in range(8):
        steps("mazur", "new.w1", depth=depth)


def test_a_starting_parameter() -> None:
    assert lines("mazur", "w5") == [
        "w5 = o.W[1,1]                                                  iteration 1 of 1", "",
        " w5                        starting parameter                               0.4", "",
        " feeds into: net_o1, ∂E/∂out_h1, new w5",
    ]  # fmt: skip


def test_addends() -> None:
    shown = lines("mazur", "h.z[1]/2")
    assert shown[0].startswith("h.z[1]/2   ")
    assert shown[2] == " net_h1/2 = w2·i2 = 0.2·0.1                                      =         0.02"
    assert shown[-1] == " feeds into: net_h1"
    shown = lines("mazur", "loss/1", depth=0)
    assert shown[0].startswith("loss/1 = loss.terms[1]   ")
    assert shown[2].startswith(" E_o1 = 1/2·(t1 - out_o1)² = 1/2·(0.01 - 0.751365070)²")
    shown = lines("two-losses", "grad.h.W[1,2]/sample2", depth=0, iteration=1)
    assert shown[2].startswith(" ∂E/∂h.W[1,2]/sample2 = δ_h1[2]·x2[2] = (-0.128162434)·0.9")
    assert shown[-1] == " feeds into: ∂E/∂h.W[1,2]"
    assert lines("two-losses", "grad.h.a[1,1]/price.z")[0].startswith("grad.h.a[1,1]/price.z = grad.h.a/price.z[1,1]")


def test_one_product_only_where_it_is_one() -> None:
    def product(name: str, text: str) -> str:
        made = explain(trace(name), text, iteration=1).product
        return " = ".join([made.name, *(text for _, text, _ in made.shown), made.text]) if made else ""

    assert product("mazur", "δ_o1") == "δ_o1 = ∂E/∂out_o1 · ∂out_o1/∂net_o1 = 0.741365070·0.186815602 = 0.138498562"
    assert product("mazur", "grad.w5").startswith("∂E/∂w5 = ∂E/∂out_o1 · ∂out_o1/∂net_o1 · ∂net_o1/∂w5 = ")
    assert product("mazur", "grad.w1") == ""  # ∂E/∂out_h1 is a sum over the units of layer o
    assert product("mazur", "loss") == product("mazur", "w5") == product("mazur", "grad.out_o1") == ""
    assert product("two-losses", "grad.price.b") == ""  # a sum over the samples
    assert product("cs231n-fxyz", "grad.x") == "∂f/∂x = ∂f/∂q · ∂q/∂x = (-4)·1 = -4"


def test_a_graph() -> None:
    assert lines("cs231n-fxyz", "grad.x") == [
        "grad.x                                                         iteration 1 of 1", "",
        " ∂f/∂x = ∂f/∂q                                                   =           -4",
        "   ∂f/∂q = z                                                     =           -4",
        "     z                     data                                              -4", "",
        " as one product: ∂f/∂x = ∂f/∂q · ∂q/∂x",
        "                       = (-4)·1                                  =           -4",
        " feeds into: nothing in this iteration",
    ]  # fmt: skip
    assert lines("cs231n-fxyz", "q")[-1] == " feeds into: f, ∂f/∂z"


def test_several_samples_and_iterations() -> None:
    made = steps("two-losses", "a_h1[2]", iteration=2)
    assert list(made) == ["a_h1[2]", "z_h1[2]", "h.W[1,1]", "x1[2]", "h.W[1,2]", "x2[2]", "h.b[1]"]
    assert made["h.W[1,1]"].note == "starting parameter (--through 2)"
    back = steps("two-losses", "a_h1[2]", iteration=2, through=2, depth=2)
    assert back["h.W[1,1]"].note == "new h.W[1,1] of iteration 1"
    assert back["h.W[1,1]"].text == back["new h.W[1,1]"].text
    assert back["new h.W[1,1]"].level == back["h.W[1,1]"].level + 1
    shown = lines("two-losses", "a_h1[2]", iteration=3, through=3, depth=None)
    assert any("new h.W[1,1] of iteration 1" in line for line in shown)
    for iteration in (1, 2, 3):
        shown = lines("two-losses", "new.h.W[1,1]", 1000, iteration=iteration, through=iteration, depth=None)
        assert true_lines(shown) > 20 * iteration


def test_long_sums_show_their_ends_and_the_command() -> None:
    made = trace("cs231n-toy-net")
    node = next(n for n in made.assembly(1).graph.stored() if n.id == "grad.scores.W/scores.z")
    text = element_id(node, 0)
    made_short = explain(made, text, depth=0, terms=3, net="toy.yaml")
    step, remark = made_short.steps[:2]
    assert isinstance(step, Step) and isinstance(remark, Remark)
    assert step.forms[0].text == (
        "scores.delta[1,1]·h.a[1,1] + scores.delta[2,1]·h.a[2,1] + … + scores.delta[5,1]·h.a[5,1]"
    )
    command = "bptrace explain toy.yaml 'grad.scores.W/scores.z[1,1]' --max-terms all"
    assert remark.text == f"… stands for 2 more terms: {command}"
    assert true_lines(list(explain_lines(made_short, 2000)))
    whole = explain(made, text, depth=0, terms=None).steps[0]
    assert isinstance(whole, Step) and "…" not in whole.forms[0].text


def test_what_cannot_be_explained() -> None:
    made = trace("mazur")
    with pytest.raises(UsageError, match=r"^new.o.W is 4 numbers; .*: new.w5, new.w6, new.w7, new.w8$"):
        explain(made, "new.o.W")
    with pytest.raises(UsageError, match=r"^h.delta is 2 numbers; ask for one of them: δ_h1, δ_h2$"):
        explain(made, "h.delta")
    with pytest.raises(UsageError, match=r"a_h1\[1\], a_h1\[2\]$"):
        explain(trace("two-losses"), "a_h1")
    with pytest.raises(LookupFailedError, match="there is no 'w55'; did you mean 'w5'"):
        explain(made, "w55")
    with pytest.raises(UsageError, match="iteration"):
        explain(made, "w5", iteration=7)


def test_in_ascii() -> None:
    shown = list(explain_lines(explain(trace("mazur"), "new.w5"), 80, ascii_only=True))
    assert shown[3] == "        ~= 0.4 - 0.041083520                                    =   0.358916480"
    assert all(len(line) <= 80 for line in shown)
