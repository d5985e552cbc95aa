"""Where a command writes, and what it leaves behind when it is stopped: each in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, Answer, cleared

Command = Callable[..., Answer]
Process = Callable[..., subprocess.CompletedProcess[bytes]]

BPTRACE = [sys.executable, "-m", "bptrace"]
LONG = ["step", "mazur", "-n", "20000"]
"""Minutes of output: what stops it is the test."""
MAZUR = ROOT / "networks" / "mazur.yaml"


@contextmanager
def running(*arguments: str | Path, **streams: int) -> Iterator[subprocess.Popen[bytes]]:
    """A command under way; gone when the block ends."""
    child = subprocess.Popen(
        [*BPTRACE, *map(str, arguments)], env=cleared(os.environ),
        **({"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams),
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for a condition, and fail where it never comes."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


# -- standard output has the result, standard error the rest


def test_the_result_alone_is_on_standard_output(process: Process, tmp_path: Path) -> None:
    page = process("run", "mazur", "-v")
    assert page.returncode == 0
    assert page.stdout == process("run", "mazur").stdout
    assert page.stderr
    to_file = process("run", "mazur", "-o", tmp_path / "page.txt")
    assert (to_file.returncode, to_file.stdout) == (0, b"")
    assert (tmp_path / "page.txt").read_bytes() == page.stdout


def test_python_m_and_a_closed_standard_input(process: Process) -> None:
    with running("run", "mazur", stdin=subprocess.DEVNULL) as child:
        out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, b"")
    assert out == process("run", "mazur").stdout


def test_a_closed_pipe_is_left_quietly() -> None:
    with running(*LONG) as child:
        assert child.stdout and child.stderr
        assert child.stdout.readline().startswith(b"Mazur")
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(60) == 1


def test_head_in_a_shell() -> None:
    done = subprocess.run(
        f"'{sys.executable}' -m bptrace run mazur -n 3 --show all | head -n 1", shell=True, capture_output=True,
        env=cleared(os.environ), timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("line", ["run mazur", "step", "examples", "run nosuch"])
def test_streams_that_were_closed_before(line: str, closed: str, tmp_path: Path) -> None:
    done = subprocess.run(
        f"'{sys.executable}' -m bptrace {line} {closed}", shell=True, capture_output=True, cwd=tmp_path,
        env=cleared(os.environ, PYTHONPATH=str(ROOT)), timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == (2 if "nosuch" in line else 0), done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("flags", [[], ["-o", "/dev/full"], ["-o", "/dev/full", "--format", "json"]])
def test_a_full_disk_is_an_error_and_no_traceback(flags: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*BPTRACE, "run", "mazur", *flags], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE,
            env=cleared(os.environ), timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert os.strerror(28).encode() in done.stderr


# -- stopped by a person or by the system


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("before", [None, "a good page\n"])
def test_a_stopped_command_leaves_no_half_written_file(
    number: signal.Signals, before: str | None, tmp_path: Path
) -> None:
    target = tmp_path / "page.md"
    if before is not None:
        target.write_text(before, encoding="utf-8")
    with running(*LONG, "-o", target) as child:
        until(lambda: [path for path in tmp_path.iterdir() if path != target and path.stat().st_size])
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ([] if before is None else ["page.md"])
    assert before is None or target.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_it_writes_to_a_pipe(number: signal.Signals) -> None:
    with running(*LONG) as child:
        assert child.stdout
        child.stdout.readline()
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"Traceback" not in err


# -- -o


def test_output_takes_the_place_of_a_file_and_keeps_its_mode(command: Command, tmp_path: Path) -> None:
    target = tmp_path / "page.txt"
    target.write_text("old " * 10_000, encoding="utf-8")
    target.chmod(0o640)
    assert command("run", "mazur", "-o", target).code == 0
    assert target.read_text(encoding="utf-8") == command("run", "mazur").out
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["page.txt"]


def test_output_through_a_link_writes_its_target(command: Command, tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("old", encoding="utf-8")
    (tmp_path / "link.txt").symlink_to("page.txt")
    assert command("run", "mazur", "-o", tmp_path / "link.txt").code == 0
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "page.txt").read_text(encoding="utf-8").startswith("Mazur")


@pytest.mark.parametrize(
    ("suffix", "start"),
    [(".md", "# Mazur"), (".markdown", "# Mazur"), (".txt", "Mazur"), (".json", '{"format"'), (".csv", "iteration,id")],
)
def test_the_suffix_names_the_format(command: Command, tmp_path: Path, suffix: str, start: str) -> None:
    assert command("export", "mazur", "-o", tmp_path / f"page{suffix}").code == 0
    assert (tmp_path / f"page{suffix}").read_text(encoding="utf-8").startswith(start)
    assert command("export", "mazur", "-o", tmp_path / "other.csv", "--format", suffix_format(suffix)).code == 0
    assert (tmp_path / "other.csv").read_bytes() == (tmp_path / f"page{suffix}").read_bytes()


def suffix_format(suffix: str) -> str:
    return {".md": "markdown", ".markdown": "markdown", ".txt": "text", ".json": "json", ".csv": "csv"}[suffix]


def test_a_dash_is_standard_output(command: Command) -> None:
    for format in ("text", "markdown", "json", "csv"):
        answer = command("export", "mazur", "--format", format, "-o", "-")
        assert (answer.code, answer.err) == (0, "")
        assert answer.out


@pytest.mark.parametrize("name", ["net.yaml", "link.yaml", "./net.yaml"])
def test_the_network_itself_is_never_overwritten(command: Command, tmp_path: Path, name: str) -> None:
    net = tmp_path / "net.yaml"
    net.write_bytes(MAZUR.read_bytes())
    (tmp_path / "link.yaml").symlink_to("net.yaml")
    for flags in (["--format", "markdown", "-o"], ["--save"]):
        answer = command("run", net, *flags, tmp_path / name)
        assert answer.code == 2
        assert net.read_bytes() == MAZUR.read_bytes()
        assert "network itself" in answer.err


def test_a_bundled_network_is_never_overwritten(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = tmp_path / "mazur.yaml"
    net.write_bytes(MAZUR.read_bytes())
    monkeypatch.setattr("bptrace.network.bundled_folder", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)  # here is no folder `networks`
    for flags in (
        ["run", "mazur", "--format", "text"],
        ["run", "networks/mazur.yaml", "--json"],
        ["explain", "mazur", "w5"],
    ):
        assert command(*flags, "-o", net).code == 2
        assert net.read_bytes() == MAZUR.read_bytes()


def test_a_folder_that_is_not_there(command: Command, tmp_path: Path) -> None:
    answer = command("run", "mazur", "-o", tmp_path / "missing" / "page.md")
    assert answer.code == 1
    assert "missing" in answer.err
    assert not answer.out


def test_a_named_pipe(process: Process, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    done = process("run", "mazur", "-o", pipe)
    reader.join(60)
    assert done.returncode == 0
    assert got == [process("run", "mazur").stdout]
    assert pipe.is_fifo()  # written to, not replaced
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="this system has no /dev/stdout")
def test_dev_stdout(process: Process) -> None:
    done = process("run", "mazur", "-q", "-o", "/dev/stdout")
    assert done.returncode == 0
    assert done.stdout == process("run", "mazur").stdout


# -- encodings


def test_ascii_where_standard_output_has_no_more(process: Process) -> None:
    page = process("run", "mazur", LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONCOERCECLOCALE="0")
    assert page.returncode == 0
    text = page.stdout.decode("ascii")
    for form in ("delta", "dE/dout", "~=", "sum", "sigmoid(net)", "lr = 0.5"):
        assert form in text
    assert process("run", "mazur", "--lang", "zh", PYTHONIOENCODING="ascii").returncode == 0


def test_ascii_lines_are_laid_out_as_ascii(process: Process) -> None:
    lines = process("run", "mazur", PYTHONIOENCODING="ascii").stdout.decode("ascii").splitlines()
    assert max(map(len, lines)) <= 80
    ends = {len(line) for line in lines if re.search(r" (=|~=) +-?[0-9]+\.[0-9]{9}$", line) and "after" not in line}
    assert len(ends) == 1  # one value column


def test_a_pipe_that_cannot_encode_gets_utf_8(process: Process) -> None:
    page = process("run", "mazur", PYTHONIOENCODING="gbk")
    assert page.returncode == 0
    assert page.stdout == process("run", "mazur").stdout
    assert "δ = ∂E/∂net" in page.stdout.decode("utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_files_are_utf_8_wherever_they_are_made(process: Process, tmp_path: Path, encoding: str) -> None:
    assert process("export", "mazur", "-o", tmp_path / "a.md", PYTHONIOENCODING=encoding, LC_ALL="C").returncode == 0
    assert process("export", "mazur", "-o", tmp_path / "b.md").returncode == 0
    assert (tmp_path / "a.md").read_bytes() == (tmp_path / "b.md").read_bytes()
    assert "δ" in (tmp_path / "a.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments", [["run", "mazur", "--json"], ["export", "mazur", "--format", "csv"], ["run", "mazr"]]
)
def test_every_output_survives_ascii(process: Process, arguments: list[str]) -> None:
    done = process(*arguments, PYTHONIOENCODING="ascii", LC_ALL="C")
    assert b"Traceback" not in done.stderr
    assert done.returncode == (2 if arguments[1] == "mazr" else 0)


def test_json_is_the_same_in_every_encoding(process: Process) -> None:
    texts = [process("run", "mazur", "--json", PYTHONIOENCODING=name).stdout for name in ("utf-8", "ascii", "gbk")]
    assert json.loads(texts[0]) == json.loads(texts[1]) == json.loads(texts[2])


def test_source_text_that_standard_error_cannot_encode(process: Process) -> None:
    done = process("run", "-", input="name: 网络\nlayers: 层\n".encode(), PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


# -- determinism


def test_every_process_prints_the_same(process: Process) -> None:
    pages = {process("run", "ng-xnor", "--only", "h.*", PYTHONHASHSEED=seed).stdout for seed in ("1", "2", "3")}
    assert len(pages) == 1


# -- what is imported


def modules(*arguments: str) -> set[str]:
    """The modules that a command has imported when it ends."""
    code = (
        "import sys; sys.argv = ['bptrace', *sys.argv[1:]]; from bptrace.cli import main\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert not left.code, left.code\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=cleared(os.environ),
        check=True,
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


def typer_alone() -> set[str]:
    """What an empty Typer command imports: old versions take rich, for their own errors."""
    code = (
        "import sys, typer; a = typer.Typer(); a.command()(lambda: None)\n"
        "try:\n    a([])\nexcept SystemExit:\n    print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=cleared(os.environ), check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_the_version_needs_nothing() -> None:
    assert not modules("--version") & {"numpy", "pydantic", "yaml", "rich", "typer", "importlib_metadata"}


@pytest.mark.parametrize(
    "arguments", [["run", "networks/mazur.yaml"], ["step", "mazur", "-n", "3"], ["run", "mazur", "--lang", "zh"]]
)
def test_a_small_network_needs_no_numpy_and_a_pipe_no_rich(arguments: list[str]) -> None:
    extra = modules(*arguments) - typer_alone()
    assert not extra & {"numpy", "rich", "torch", "pygments", "markdown_it"}


def test_the_small_commands_load_no_network() -> None:
    assert not modules("examples") - typer_alone() & {"numpy", "yaml", "pydantic", "rich"}
