"""`bptrace schema`: the JSON Schema of the YAML, for editors."""

from __future__ import annotations

import typer

from bptrace.cli import options as o


def add_to(app: typer.Typer) -> None:
    app.command()(schema)


def schema(output: o.Output = None) -> None:
    """Print the JSON Schema of the YAML."""
    import json

    from bptrace.cli import output as out
    from bptrace.spec.schema import schema as make

    out.write([json.dumps(make(), ensure_ascii=False, indent=1), "\n"], output)
    if output not in (None, "-"):
        out.note(f"wrote {output}")
