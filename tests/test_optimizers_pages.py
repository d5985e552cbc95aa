"""The pages of every optimizer and option: every printed line is true, and every kind of run goes through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_optimizers as cases

from bptrace.network import load
from bptrace.optimizers import OPTIMIZERS
from bptrace.report.document import Document
from bptrace.report.options import Options
from tests.support.page_lines import Judge, printed, read_markdown, read_text

TRIED: dict[str, Any] = {
    **{name: ours for name, (ours, _) in cases.CASES.items()},
    **{f"schedule {name}": {"type": "adam", "schedule": ours} for name, (ours, _) in cases.SCHEDULES.items()},
    "clip value": {"type": "adam", "clip": {"value": 0.1}},
    "clip norm": {"type": "sgd", "learning_rate": 0.1, "clip": {"norm": 0.1}},
    "clip global norm": {"type": "momentum", "learning_rate": 0.1, "clip": {"global_norm": 0.1}},
    "clip largest": {"type": "rmsprop", "clip": {"global_norm": 0.1, "kind": "max"}},
    "lion": {"type": "lion", "weight_decay": 0.1},
    "lookahead": {"type": "nesterov", "learning_rate": 0.1},
    "epsilon inside": {"type": "adam", "epsilon_at": "inside"},
    "epsilon uncorrected": {"type": "adam", "epsilon_at": "uncorrected"},
    "correction at once": {"type": "adam", "bias_correction": "constant"},
    "fading momentum": {"type": "adam", "beta1_decay": 0.9},
    "own rates": {"type": "adamax", "rates": {"v": 0.5}},
}


@pytest.mark.parametrize("name", TRIED)
def test_every_line_is_true(name: str) -> None:
    optimizer = dict(TRIED[name])
    trace = load("net.yaml", text=json.dumps(cases.quadratic(optimizer, 3))).run()
    for digits in (9, 4):
        for markdown in (False, True):
            judge = Judge(digits)
            for page in Document(trace, Options(), digits).pages([1, 2, 3]):
                lines = printed(page, 80, markdown=markdown)
                judge.page((read_markdown if markdown else read_text)(lines))
            assert not judge.problems, "\n".join(judge.problems[:5])
            assert judge.judged > 20


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_steps_of_uneven_batches(kind: str) -> None:
    """A smaller last batch has a graph of its own; the states go over from one to the other."""
    document = cases.dense({"type": kind, "learning_rate": 0.01}, 5)
    document["training"]["batch_size"] = 3
    trace = cases.trace(document)
    for node, new in trace.assembly(1).graph.carry.items():
        following = trace.assembly(2).graph.by_id[node.id]
        np.testing.assert_array_equal(trace.value(new.id, iteration=1), trace.value(following.id, iteration=2))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_saved_and_taken_up_again(kind: str, command: Any, tmp_path: Path) -> None:
    file, saved = tmp_path / "net.yaml", tmp_path / "half.json"
    schedule = {} if kind == "rprop" else {"schedule": {"type": "step", "step_size": 2, "gamma": 0.5}}
    file.write_text(json.dumps(cases.quadratic({"type": kind, "learning_rate": 0.01, **schedule}, 3)), encoding="utf-8")
    assert command("run", file, "--save", saved).code == 0
    rest = command("export", file, "--from", saved, "--format", "json", "-o", "-")
    whole = command("export", file, "-n", "6", "--format", "json", "-o", "-")
    assert (rest.code, whole.code) == (0, 0), rest.err + whole.err
    assert json.loads(rest.out)["final"] == json.loads(whole.out)["final"]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_rounded_as_on_paper(kind: str) -> None:
    conventions = {"rounding": {"digits": 4, "kind": "significant"}}
    trace = cases.trace(cases.quadratic({"type": kind, "learning_rate": 0.01}, 3, conventions=conventions))
    plain = cases.trace(cases.quadratic({"type": kind, "learning_rate": 0.01}, 3))
    for id in cases.QUADRATIC:
        np.testing.assert_allclose(
            np.array(trace.value(f"new.{id}", iteration=3), dtype=float),
            plain.value(f"new.{id}", iteration=3),
            rtol=0.01,
        )


def test_exact_momentum() -> None:
    network = load("net.yaml", text=json.dumps(cases.quadratic({"type": "momentum", "learning_rate": 0.05}, 3)))
    exact, plain = network.run(exact=True), network.run()
    assert float(exact.value("new.u", iteration=3)) == pytest.approx(plain.value("new.u", iteration=3), rel=1e-14)
