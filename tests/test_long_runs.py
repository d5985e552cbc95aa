"""Long runs on the command line: a bar on a terminal only, and Ctrl-C that keeps what was done."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest
from conftest import ROOT, cleared

import bptrace

pty = pytest.importorskip("pty")
ENDLESS = ["run", "mazur", "-n", "60000000", "--record", "replay"]


def start(*arguments: str, **streams: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "bptrace", *arguments], cwd=ROOT, env=cleared(os.environ, TERM="xterm"), **streams
    )


def heard(terminal: int, seconds: float, until: bytes) -> bytes:
    """What is written to a terminal, until something is there."""
    text, end = b"", time.monotonic() + seconds
    while until not in text and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                text += os.read(terminal, 65536)
            except OSError:  # the other side is closed
                break
    return text


def test_a_bar_on_a_terminal() -> None:
    master, slave = pty.openpty()
    with start(*ENDLESS, stdout=subprocess.PIPE, stderr=slave) as child:
        os.close(slave)
        text = heard(master, 60, b"/s").decode()
        child.send_signal(signal.SIGINT)
        assert child.stdout
        page = child.stdout.read().decode()
        rest = heard(master, 20, b"stopped after").decode()
        assert child.wait(60) == 130
    os.close(master)
    assert re.search(r"iteration [\d,]+ of 60,000,000   loss \d\S*   [\d,]+/s", text)
    assert "RESULT" in page and "\x1b" not in page
    assert "stopped after iteration" in rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_keeps_what_was_done(number: signal.Signals, tmp_path: Path) -> None:
    file, saved = tmp_path / "t.npy", tmp_path / "c.json"
    arguments = ["run", "mazur", "-n", "50000000", "--trace", str(file), "--save", str(saved)]
    with start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        end = time.monotonic() + 60
        while time.monotonic() < end and not any(path.stat().st_size > 100_000 for path in tmp_path.iterdir()):
            time.sleep(0.05)
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    said = re.match(r"stopped after iteration ([\d,]+) of 50,000,000\n", err.decode())
    assert said and b"/s" not in err, err  # no bar: this is no terminal
    count = int(said[1].replace(",", ""))
    assert f"iteration 1 of {count}" in out.decode() and f"iteration {count} of {count}" in out.decode()
    assert "RESULT" in out.decode()
    assert numpy.load(file, mmap_mode="r").shape[0] == count
    trace = bptrace.read_trace(file)
    assert (trace.count, trace.planned) == (count, 50_000_000)
    assert json.loads(saved.read_text(encoding="utf-8"))["iterations"] == count
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.json", "t.npy", "t.npy.json", "t.npy.states.npy"]
    same = bptrace.load("mazur").run(count, show=[count])
    assert same.final == trace.final
    assert same.value("w5") == trace.value("w5")


def test_interrupted_twice_ends_at_once() -> None:
    with start(*ENDLESS, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        time.sleep(2)
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"Traceback" not in err


def test_quiet_on_a_terminal() -> None:
    master, slave = pty.openpty()
    with start(*ENDLESS, "-q", stdout=subprocess.DEVNULL, stderr=slave) as child:
        os.close(slave)
        assert heard(master, 3, b"iteration") == b""
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
    os.close(master)


def test_short_runs_say_nothing_and_never_import_rich() -> None:
    code = (
        "import sys; sys.argv = ['bptrace', 'run', 'mazur', '-n', '200', '--show', '1']\n"
        "import bptrace.cli.trace as trace\n"
        "made, _ = trace.run(trace.Request('mazur', 200))\n"
        "assert made.count == 200 and not [m for m in sys.modules if m.startswith('rich')], sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
