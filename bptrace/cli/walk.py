"""`bptrace step` on a terminal: a block at a time, forwards and back."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.cli.page import PageFlags, page_style
from bptrace.cli.trace import Request, run

if TYPE_CHECKING:
    from bptrace.report.document import Document, Item, PageOf
    from bptrace.trace import Trace


@dataclass(frozen=True)
class Stop:
    """One place of the walk: the items that are shown together, and where they are."""

    page: PageOf
    items: list[Item]
    phase: str
    layer: str
    number: int
    of: int


def walk(request: Request, flags: PageFlags, read_key: Callable[[], str] | None = None) -> None:
    """Show the trace block by block; the keys are in the status line."""
    from bptrace.report.document import Document

    trace, iterations = run(request)
    stops = list(_stops(Document(trace, page_style(flags, request.net), flags.digits), iterations))
    key = read_key or _key
    place = 0
    while place < len(stops):
        stop = stops[place]
        _show(stop, flags)
        print(f"\n{_status(stop, trace, flags)} ", end="", flush=True)
        pressed = key()
        print("\r\033[K\033[A\033[K" if read_key is None else "")
        match pressed:
            case "q" | "\x03" | "\x04" | "":
                return
            case "b":
                place = max(0, place - 1)
            case "i":
                later = (k for k in range(place, len(stops)) if stops[k].page.iteration != stop.page.iteration)
                place = next(later, len(stops) - 1)
            case "p":
                wanted = {"f": "forward", "l": "loss", "b": "backward", "u": "update"}.get(_ask_phase(key))
                here = (k for k in range(place + 1, len(stops)) if stops[k].phase == wanted)
                place = next(here, place)
            case "e":
                _explain(trace, stop, flags)
            case _:
                place += 1


def _stops(document: Document, iterations: list[int]) -> Iterator[Stop]:
    from bptrace.report.blocks import Block, Heading

    for page in document.pages(iterations):
        groups: list[tuple[list[Item], str, str]] = []
        waiting: list[Item] = []
        phase = layer = ""
        opening = _last_plain(page.items)
        for item in page.items:
            waiting.append(item)
            if isinstance(item, Heading):
                phase, layer = (item.phase, "") if item.level == 1 else (phase, item.layer)
            elif isinstance(item, Block) or item is opening:
                groups.append((waiting, phase, layer))
                waiting = []
        for number, (items, phase, layer) in enumerate(groups, 1):
            yield Stop(page, items, phase, layer, number, len(groups))


def _last_plain(items: list[Item]) -> Item | None:
    """The last item before the first heading: title, conventions and data are shown together."""
    from bptrace.report.blocks import Heading

    before: Item | None = None
    for item in items:
        if isinstance(item, Heading):
            return before
        before = item
    return before


def _show(stop: Stop, flags: PageFlags) -> None:
    from bptrace.cli.output import colored, needs_ascii
    from bptrace.writers.terminal import Style, TextWriter

    paint = None
    if colored(None, flags.color):
        from bptrace.cli.paint import painter

        paint = painter()
    writer = TextWriter(stop.page.page.words, Style(flags.columns, needs_ascii(None)))
    for line, tone in writer.toned(stop.items, stop.page.numbers):
        print(paint(line, tone or stop.phase) if paint and tone else line)


def _status(stop: Stop, trace: Trace, flags: PageFlags) -> str:
    words = stop.page.page.words
    where = [words("page_iteration", i=stop.page.iteration or trace.count, n=trace.count)]
    if stop.phase:
        where.append(words(stop.phase))
    if stop.layer:
        where.append(words("status_layer", name=stop.layer))
    where.append(words("status_block", number=stop.number, of=stop.of))
    return "   ".join(where) + "\n" + words("status_keys")


def _ask_phase(key: Callable[[], str]) -> str:
    print("[f]orward [l]oss [b]ackward [u]pdate ", end="", flush=True)
    pressed = key()
    print()
    return pressed


def _explain(trace: Trace, stop: Stop, flags: PageFlags) -> None:
    from bptrace.graph.lookup import LookupFailedError
    from bptrace.report.explain import explain
    from bptrace.writers.explain_text import explain_lines

    try:
        quantity = input("explain: ").strip()
    except EOFError:
        return
    try:
        made = explain(
            trace, quantity, iteration=stop.page.iteration or None, digits=flags.digits, language=flags.language
        )
    except LookupFailedError as error:
        print(error)
        return
    for line in explain_lines(made, flags.columns, False):
        print(line)


def _key() -> str:
    """One key without Return where the terminal allows it; the terminal is restored in any case."""
    try:
        import termios
        import tty
    except ImportError:  # not a Unix terminal
        with contextlib.suppress(EOFError):
            return input()[:1] or "n"
        return "q"
    stream = sys.stdin.fileno()
    before = termios.tcgetattr(stream)
    try:
        tty.setcbreak(stream)
        return sys.stdin.read(1)
    finally:
        termios.tcsetattr(stream, termios.TCSADRAIN, before)
