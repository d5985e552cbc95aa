"""`bptrace examples`: list, show and copy the bundled networks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from bptrace.cli import options as o
from bptrace.errors import UsageError


def add_to(app: typer.Typer) -> None:
    app.command()(examples)


def examples(
    name: Annotated[str | None, typer.Argument(help="A bundled network to print.", show_default=False)] = None,
    copy: Annotated[str | None, typer.Option("--copy", help="Copy it to this file or folder.")] = None,
    json: o.Json = False,
) -> None:
    """List the bundled networks, print one, or copy it."""
    from bptrace.cli import output
    from bptrace.network import bundled, bundled_text, data_files

    if name is None:
        if copy is not None:
            raise UsageError("--copy needs the name of a network: bptrace examples mazur --copy net.yaml")
        rows = [(found, *_heads(bundled_text(found))) for found in bundled()]
        if json:
            import json as library

            listing = [{"name": found, "title": title, "source": source} for found, title, source in rows]
            output.write([library.dumps(listing, ensure_ascii=False, indent=1), "\n"], None)
            return
        width = max(len(found) for found, _, _ in rows)
        output.write([f"{found.ljust(width)}  {title}\n" for found, title, _ in rows], None)
        return
    text = bundled_text(name.removeprefix("networks/").removesuffix(".yaml"))
    if copy is None:
        output.write([text], None)
        return
    target = Path(copy)
    if target.is_dir():
        target = target / f"{Path(name).stem}.yaml"
    if target.exists():
        raise UsageError(f"--copy {target}: that file exists; name another")
    for source, beside in data_files(name.removeprefix("networks/").removesuffix(".yaml")):
        copied = target.parent / beside
        if copied.exists() and copied.read_bytes() != source.read_bytes():
            raise UsageError(f"--copy {target}: its data file {copied} exists already and is another one")
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copied)
        output.note(f"wrote {copied}")
    output.write([text], str(target))
    output.note(f"wrote {target}")


def _heads(text: str) -> tuple[str, str]:
    """The name and the source of a network, read from its text without loading it."""
    found = {"name": "", "source": ""}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key in found:
            found[key] = value.strip().strip("'\"")
    return found["name"], found["source"]
