"""`bptrace new`: start a YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bptrace.errors import UsageError

LAYERS = """\
# bptrace schema -o bptrace.schema.json lets your editor complete and check this file
# yaml-language-server: $schema=bptrace.schema.json
name: {name}
notes: what this network is for
data:
  inputs:  [[0.05, 0.10]]          # one row a sample
  targets: [[0.01, 0.99]]
  names: {{inputs: [x1, x2], targets: [t1, t2]}}
layers:
  - type: dense
    name: h
    units: 2
    activation: sigmoid
    weights: [[0.15, 0.20], [0.25, 0.30]]    # a row for each unit; leave out to draw them
    bias: [0.35, 0.35]
  - type: dense
    name: o
    units: 2
    activation: sigmoid
    weights: [[0.40, 0.45], [0.50, 0.55]]
    bias: [0.60, 0.60]
loss: half_squared_error
optimizer: {{type: sgd, learning_rate: 0.5}}
training: {{iterations: 1}}
"""
GRAPH = """\
# bptrace schema -o bptrace.schema.json lets your editor complete and check this file
# yaml-language-server: $schema=bptrace.schema.json
name: {name}
inputs: {{x: -2, y: 5, z: -4}}
graph:
  q: x + y
  f: q * z
output: f
"""


def add_to(app: typer.Typer) -> None:
    app.command()(new)


def new(
    file: Annotated[str, typer.Argument(help="The YAML to write.")] = "net.yaml",
    graph: Annotated[bool, typer.Option("--graph", help="Named expressions instead of layers.")] = False,
) -> None:
    """Start a network: a small YAML to change."""
    from bptrace.cli import output

    path = Path(file)
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{file}: a name that ends in .yaml")
    if path.exists():
        raise UsageError(f"{file}: that file exists; name another")
    output.write([(GRAPH if graph else LAYERS).format(name=path.stem)], file)
    output.note(f"wrote {file}; next: bptrace run {file}")
