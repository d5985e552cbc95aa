"""What all tests share: one thread for each worker, and a command line to call."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # pytest-xdist has a worker for each core already

ROOT = Path(__file__).parent.parent
CLEARED = re.compile(
    r"BPTRACE_|LC_|LANG$|LANGUAGE$|NO_COLOR$|FORCE_COLOR$|COLUMNS$|TERM|TTY_|PYTHONIOENCODING$|PYTHONUTF8$"
)
"""Settings of the person who runs the tests that would change what the commands print."""


def pytest_configure(config: pytest.Config) -> None:
    # typer 0.20 to 0.25 import the newest click, which warns of the names that they import
    config.addinivalue_line("filterwarnings", r"ignore:.*Click 9\.0:DeprecationWarning")
    if os.environ.get("BPTRACE_REQUIRE_TORCH") == "1" and find_spec("torch") is None:
        raise pytest.UsageError(
            "BPTRACE_REQUIRE_TORCH=1, but PyTorch is not installed: its comparisons would be skipped"
        )


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str


def cleared(environment: Mapping[str, str], **changes: str) -> dict[str, str]:
    """The environment without what changes the output, in a UTF-8 locale."""
    kept = {name: value for name, value in environment.items() if not CLEARED.match(name)}
    return kept | {"LC_ALL": "C.UTF-8"} | changes


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """`command("run", "mazur", input="...", NO_COLOR="1")`: bptrace in this process."""

    def call(*arguments: str | Path, input: str | bytes = b"", **environment: str) -> Answer:
        from bptrace.cli import main

        data = input.encode() if isinstance(input, str) else input
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        before = signal.getsignal(signal.SIGTERM)
        with monkeypatch.context() as patch:
            for name in list(os.environ):
                if CLEARED.match(name):
                    patch.delenv(name)
            for name, value in {"LC_ALL": "C.UTF-8", **environment}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["bptrace", *map(str, arguments)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code: Any = 0
            try:
                main()
            except SystemExit as leaving:
                code = leaving.code
            finally:
                signal.signal(signal.SIGTERM, before)
        assert code is None or isinstance(code, int)
        return Answer(code or 0, *(stream.buffer.getvalue().decode() for stream in (out, err)))  # type: ignore[attr-defined]

    return call


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """`process("run", "mazur", input=b"...", LC_ALL="C")`: bptrace in a process of its own."""

    def call(
        *arguments: str | Path, input: bytes = b"", cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "bptrace", *map(str, arguments)], input=input, capture_output=True, cwd=cwd,
            env=cleared(os.environ, **environment), timeout=120, check=False,
        )  # fmt: skip

    return call
