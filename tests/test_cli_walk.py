"""`bptrace step` on a terminal: the keys, without a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bptrace.cli.options import PageFlags
from bptrace.cli.trace import Request
from bptrace.cli.walk import walk


def keys(pressed: str) -> Callable[[], str]:
    """A keyboard on which these keys are pressed one after the other, then q."""
    waiting: Iterator[str] = iter(pressed)
    return lambda: next(waiting, "q")


def walked(pressed: str, capsys: pytest.CaptureFixture[str], iterations: int = 2, **flags: str) -> str:
    walk(Request("mazur", iterations, None, "all"), PageFlags(color="never", **flags), keys(pressed))
    return capsys.readouterr().out


def test_the_opening_comes_first_and_says_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    out = walked("", capsys)
    assert "Data and starting parameters" in out and "FORWARD" not in out
    assert "iteration 1 of 2   block 1 of 12\n[n]ext [b]ack [i]teration [p]hase [e]xplain [q]uit" in out


def test_next_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    out = walked("nnb", capsys)
    assert out.count("h.z  pre-activation") == 2
    assert out.count("h.a  activation") == 1
    assert "iteration 1 of 2   forward   layer h   block 2 of 12" in out


def test_next_iteration(capsys: pytest.CaptureFixture[str]) -> None:
    out = walked("i", capsys)
    assert "iteration 2 of 2   block 1 of 12" in out


def test_to_a_phase(capsys: pytest.CaptureFixture[str]) -> None:
    out = walked("pb", capsys)
    assert "BACKWARD" in out and "h.z  pre-activation" not in out


def test_explain_asks_for_a_quantity(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: "w5")
    assert "starting parameter" in walked("e", capsys)
    monkeypatch.setattr("builtins.input", lambda prompt: "w55")
    assert "there is no 'w55'; did you mean 'w5'?" in walked("e", capsys)


def test_to_the_end_shows_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    out = walked("n" * 100, capsys, iterations=1)
    assert out.count("sgd  new w") == 1
    assert "outputs after the update" in out


def test_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    assert "前向传播" in walked("n", capsys, language="zh")
