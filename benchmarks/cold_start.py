"""How long a command takes to answer, as ratios within one run.

    python benchmarks/cold_start.py [--rounds 21] [--command "run networks/mazur.yaml"]

Whole processes in interleaved rounds: every contestant once a round, in the interpreter that runs this
script. The tables have the median over rounds of milliseconds and of the ratios in the same round, since
a machine's clock moves between rounds. Byte code is written first, and output goes nowhere.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

import bptrace

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable
SCRIPT = Path(PYTHON).with_name("bptrace")

IMPORTS = "import typer, yaml, pydantic"
USED = """
import typer, yaml, pydantic
class Model(pydantic.BaseModel):
    name: str = ""
app = typer.Typer()
@app.command()
def run(net: str, iterations: int | None = None) -> None:
    Model(**yaml.safe_load("name: x"))
@app.command()
def other() -> None:
    pass
app(["run", "x"])
"""
"""The least that a Typer command with two options, one YAML file and one model costs."""

BASES = ("pass", "imports", "used")
TARGETS = {("run", "imports"): 1.3, ("--version", "pass"): 1.5}


def contestants(command: list[str]) -> dict[str, list[str]]:
    """What runs in each round."""
    ours = [str(SCRIPT)] if SCRIPT.exists() else [PYTHON, "-m", "bptrace"]
    return {
        "pass": [PYTHON, "-c", "pass"],
        "imports": [PYTHON, "-c", IMPORTS],
        "used": [PYTHON, "-c", USED],
        "--version": [*ours, "--version"],
        "--help": [*ours, "--help"],
        "run": [*ours, *command],
    }


def seconds(arguments: list[str]) -> float:
    """One process, from start to end."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "FORCE_COLOR")}
    start = time.perf_counter()
    done = subprocess.run(
        arguments, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
    )
    taken = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{shlex.join(arguments)}: exit code {done.returncode}")
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--command", default="run networks/mazur.yaml", help="what bptrace is asked")
    flags = parser.parse_args()
    compileall.compile_dir(Path(bptrace.__file__).parent, quiet=2)
    named = contestants(shlex.split(flags.command))
    for arguments in named.values():
        seconds(arguments)  # files into the cache
    rounds = [{name: seconds(arguments) for name, arguments in named.items()} for _ in range(flags.rounds)]

    print(f"{flags.rounds} interleaved rounds, Python {sys.version.split()[0]}, bptrace {flags.command}\n")
    print(f"{'process':12s} {'ms':>7s} {'/ pass':>8s} {'/ imports':>10s} {'/ used':>8s}")
    for name in named:
        ratios = [statistics.median(taken[name] / taken[base] for taken in rounds) for base in BASES]
        middle = statistics.median(taken[name] for taken in rounds) * 1000
        print(f"{name:12s} {middle:7.1f} {ratios[0]:8.2f} {ratios[1]:10.2f} {ratios[2]:8.2f}")
    print(f"\nimports: {IMPORTS}\nused: the same, with a command, a file and a model in use\n")
    for (name, base), target in TARGETS.items():
        ratio = statistics.median(taken[name] / taken[base] for taken in rounds)
        print(f"{name} / {base}: {ratio:.2f}, target {target} {'met' if ratio <= target else 'missed'}")


if __name__ == "__main__":
    main()
