"""Which part may import which, read from the source: dependencies point one way, down the flow

YAML -> spec -> build (layers, optimizers, graph, ops, formula) -> engine -> trace -> report -> writers -> cli
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bptrace"
THIRD_PARTY = {"numpy", "PIL", "typer", "rich", "yaml", "pydantic", "pydantic_core"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "bundled": set(),
    "data": {"errors", "bundled"},
    "formula": {"errors"},
    "spec": {"errors", "data"},
    "graph": {"errors", "formula", "ops"},
    "ops": {"errors", "formula", "graph"},
    "optimizers": {"errors", "spec", "formula", "graph", "ops"},
    "layers": {"errors", "spec", "formula", "graph", "ops"},
    "build": {"errors", "data", "spec", "formula", "graph", "ops", "layers", "optimizers"},
    "engine": {"errors", "files", "formula", "graph", "ops"},
    "trace": {"errors", "formula", "graph", "engine", "export", "files", "report", "writers", "study"},
    "network": {"errors", "bundled", "spec", "build", "engine", "trace"},
    "check": {"errors", "spec", "formula", "graph", "ops", "build", "engine", "trace", "network"},
    "study": {"errors", "data", "spec", "formula", "graph", "ops", "engine", "network", "report", "writers"},
    "report": {"errors", "formula", "graph", "ops"},
    "writers": {"errors", "formula", "graph", "report"},
    "export": {"errors", "report", "writers"},
}
"""What each part may import to run, beside itself; `cli` may import everything, and `trace` what is behind its
methods `export` and `explain`, which import it when they are called."""

MAY_NAME: dict[str, set[str]] = {
    "formula": {"graph"},  # references point to nodes
    "data": {"spec"},
    "spec": {"layers", "optimizers"},  # the registry finds them by name
    "layers": {"build"},
    "optimizers": {"build"},
    "engine": {"build", "spec", "network", "trace"},
    "trace": {"build", "spec", "network"},
    "study": {"build", "trace"},
    "report": {"build", "spec", "engine", "trace", "study"},
    "writers": {"build", "trace", "network", "study"},
    "export": {"trace"},
}
"""What each part may import for its types alone, under `if TYPE_CHECKING`."""

THIRD_PARTY_OF: dict[str, set[str]] = {
    "cli": {"typer", "rich"},
    "spec": {"yaml", "pydantic", "pydantic_core"},
    "layers": {"pydantic"},
    "optimizers": {"pydantic", "pydantic_core"},
    "engine": {"numpy"},
    "study": {"numpy"},
    "ops": {"numpy"},
    "graph": {"numpy"},  # types of kernels
    "data": {"numpy", "PIL"},
    "build": {"numpy"},  # starting values as NumPy's old generator draws them
    "check": {"numpy"},
}


@dataclass(frozen=True)
class Import:
    """One import of one module: where, of what, and when it happens."""

    file: Path
    line: int
    module: str
    typing_only: bool
    in_function: bool

    @property
    def part(self) -> str:
        return self.file.relative_to(PACKAGE).parts[0].removesuffix(".py")

    @property
    def target(self) -> str:
        """The part of bptrace, or the package, that is imported."""
        names = self.module.split(".")
        return names[1] if names[0] == "bptrace" and len(names) > 1 else names[0]

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: {self.module}"


def _imports(file: Path) -> Iterator[Import]:
    def walk(node: ast.AST, typing_only: bool, in_function: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for branch, only in ((child.body, True), (child.orelse, typing_only)):
                    for inner in branch:
                        yield from here(inner, only, in_function)
            else:
                yield from here(child, typing_only, in_function)

    def here(node: ast.AST, typing_only: bool, in_function: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(file, node.lineno, name.name, typing_only, in_function)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level and node.module, f"{file}:{node.lineno}: relative import"
            modules = [node.module]
            if node.module == "bptrace":
                modules = [
                    f"bptrace.{n.name}" if n.name not in ("__version__", "load") else "bptrace" for n in node.names
                ]
            for module in modules:
                yield Import(file, node.lineno, module, typing_only, in_function)
        else:
            function = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(node, typing_only, function)

    yield from walk(ast.parse(file.read_text(encoding="utf-8")), False, False)


@cache
def imports() -> tuple[Import, ...]:
    return tuple(found for file in sorted(PACKAGE.rglob("*.py")) for found in _imports(file))


def listed(found: list[Import]) -> str:
    return "\n".join(["", *map(str, found)])


def test_every_part_has_its_rule() -> None:
    parts = {
        path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))
    }
    assert parts - {"__init__", "__main__", "cli"} <= set(MAY_IMPORT)




@pytest.mark.parametrize(
    "part", [part for part in MAY_IMPORT]
)
def test_dependencies_point_down_the_flow(part: str) -> None:
    ours = [found for found in imports() if found.part == part and found.module.startswith("bptrace.")]
    wrong = [
        found for found in ours
        if found.target != part
        and found.target not in MAY_IMPORT[part]
        and not (found.typing_only and found.target in MAY_NAME.get(part, set()))
    ]  # fmt: skip
    assert not wrong, listed(wrong)


def test_formulas_know_of_the_graph_only_the_node() -> None:
    wrong = [i for i in imports() if i.part == "formula" and i.target == "graph" and i.module != "bptrace.graph.node"]
    assert not wrong, listed(wrong)


def test_third_party_packages_have_their_places() -> None:
    ours = [found for found in imports() if found.target in THIRD_PARTY]
    wrong = [found for found in ours if found.target not in THIRD_PARTY_OF.get(found.part, set())]
    assert not wrong, listed(wrong)


def test_the_trace_imports_pages_only_when_asked() -> None:
    wrong = [i for i in imports() if i.part == "trace" and i.target in ("export", "files", "report", "writers")]
    wrong = [found for found in wrong if not found.in_function and not found.typing_only]
    assert not wrong, listed(wrong)


def test_rich_is_imported_where_it_is_for() -> None:
    places = [PACKAGE / "cli" / name for name in ("paint.py", "progress.py")]
    wrong = [found for found in imports() if found.target == "rich" and found.file not in places]
    assert not wrong, listed(wrong)


def test_writers_import_no_numbers() -> None:
    wrong = [i for i in imports() if i.part == "writers" and i.target in ("numpy", "engine", "ops")]
    assert not wrong, listed(wrong)


def test_numpy_is_imported_when_a_kernel_needs_it() -> None:
    wrong = [i for i in imports() if i.target == "numpy" and not i.typing_only and not i.in_function]
    assert not wrong, listed(wrong)


def test_the_command_line_imports_inside_its_commands() -> None:
    """A command starts as quickly as what it needs: at the top stand Typer, errors, files and other commands."""
    top = [i for i in imports() if i.part == "cli" and not i.typing_only and not i.in_function]
    wrong = [i for i in top if i.module.startswith("bptrace.") and i.target not in ("cli", "errors", "files")]
    wrong += [i for i in top if i.target in THIRD_PARTY - {"typer"}]
    assert not wrong, listed(wrong)


def test_click_is_not_ours_to_import() -> None:
    """Newer versions of Typer bring their own."""
    wrong = [i for i in imports() if i.target == "click" or i.module.startswith("typer.")]
    assert not wrong, listed(wrong)


def test_only_the_command_line_prints_and_exits() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.parent.name != "cli"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "exit", "quit", "sys.exit", "os._exit")
    ]
    assert not wrong


def test_nothing_is_executed_that_users_wrote() -> None:
    """`exec` stands in one place, for straight-line code whose names are our own."""
    places = {
        file.relative_to(PACKAGE).as_posix()
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("eval", "exec", "compile")
    }
    assert places <= {"engine/scalar.py"}
