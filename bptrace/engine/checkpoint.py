"""Checkpoints: what changes between iterations, as a small JSON file.

Written by `--save` after a run, read by `--from` before one. A checkpoint of another network is
refused with the difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bptrace.errors import UsageError

if TYPE_CHECKING:
    from bptrace.network import Network
    from bptrace.trace import Trace

FORMAT = "bptrace-checkpoint"
LARGEST = 1 << 30


def checkpoint_text(trace: Trace) -> str:
    """The state after the last update: every leaf that changes, by id."""
    assembly = trace.final_assembly
    values = trace.final_parameters(assembly)
    leaves = {leaf.id: [float(x) for x in values.flat(leaf)] for leaf in assembly.graph.carry}
    document = {
        "format": FORMAT,
        "version": 1,
        "name": trace.network.name,
        "iterations": trace.done_before + trace.count,
        "shapes": {leaf.id: list(leaf.shape) for leaf in assembly.graph.carry},
        "state": leaves,
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def read_checkpoint(file: str, network: Network, text: str | None = None) -> tuple[dict[str, list[float]], int]:
    """The state in a checkpoint, by leaf id, and after how many iterations it was. With `text` that is
    the checkpoint. Raises `UsageError` where it is none of this network."""
    document = _read(file) if text is None else json.loads(text)
    shapes, state = document.get("shapes"), document.get("state")
    if document.get("format") != FORMAT or not isinstance(shapes, dict) or not isinstance(state, dict):
        raise UsageError(f"--from {file}: that is no checkpoint; one is written by --save")
    wanted = {leaf.id: list(leaf.shape) for leaf in network.assembly().graph.carry}
    differences = list(_differences(shapes, state, wanted))
    if differences:
        raise UsageError(f"--from {file}: a checkpoint of another network: " + "; ".join(differences))
    done = document.get("iterations", 0)
    if not isinstance(done, int) or isinstance(done, bool) or done < 0:
        raise UsageError(f"--from {file}: damaged: {done!r} iterations")
    return {id: [float(x) for x in state[id]] for id in wanted}, done


def _read(file: str) -> dict[str, Any]:
    try:
        path = Path(file)
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise UsageError(f"--from {file}: no such file")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UsageError(f"--from {file}: damaged, or no checkpoint ({error})") from None
    return document if isinstance(document, dict) else {}


def _differences(shapes: dict[str, Any], state: dict[str, Any], wanted: dict[str, list[int]]) -> Iterator[str]:
    for id in wanted:
        if id not in shapes or id not in state:
            yield f"it has no {id}"
        elif shapes[id] != wanted[id]:
            yield f"{id} is {shapes[id]} there and {wanted[id]} here"
        elif not _numbers(state[id], wanted[id]):
            yield f"{id} does not hold {wanted[id]} finite numbers"
    for id in shapes:
        if id not in wanted:
            yield f"it has {id}, this network has not"


def _numbers(values: Any, shape: list[int]) -> bool:
    count = 1
    for extent in shape:
        count *= extent
    finite = isinstance(values, list) and all(
        isinstance(x, int | float) and not isinstance(x, bool) and x - x == 0 for x in values
    )
    return finite and len(values) == count
