"""A network that is ready to run: its validated YAML and the graphs made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bptrace.errors import UsageError, nearest

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.spec.load import Spec
    from bptrace.trace import Trace


class Network:
    """A network of a YAML file."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._assemblies: dict[int | None, Assembly] = {}

    @property
    def name(self) -> str:
        """What the YAML calls it, else the name of the file."""
        return self.spec.network.name or Path(self.spec.file).stem

    def assembly(self, samples: int | None = None) -> Assembly:
        """The graph for a batch of `samples` rows, or for all of them."""
        if samples not in self._assemblies:
            from bptrace.build.assemble import assemble

            self._assemblies[samples] = assemble(self.spec, samples)
        return self._assemblies[samples]

    def planned(self, iterations: int | None = None) -> int:
        """How many iterations a run has unless a stop condition ends it."""
        from bptrace.engine.schedule import Schedule

        training = self.spec.network.training
        if iterations is not None or training.iterations is not None:
            return iterations if iterations is not None else training.iterations or 1
        return (training.epochs or 1) * Schedule(training, self.assembly().samples).an_epoch

    def run(
        self,
        iterations: int | None = None,
        *,
        show: Iterable[int] | None = None,
        exact: bool = False,
        start: Mapping[str, Sequence[float]] | None = None,
    ) -> Trace:
        """Train as the YAML says, or for `iterations`, and keep what happened.

        `show` are the iterations whose numbers are kept; by default all, or where they take more than
        256 MB the first and the last. The last one is kept whenever a stop condition ends the run.
        With `exact` every number is a fraction. `start` are parameters and states, by id and row by
        row, to start from instead of those of the YAML (a checkpoint's).
        """
        from bptrace.engine.run import Run
        from bptrace.trace import Trace

        if iterations is not None and iterations < 1:
            raise UsageError(f"{iterations} iterations; expected 1 or more")
        return Trace(self, Run(self.spec.network, self.assembly, iterations, show, exact, start))


def load(source: str | Path, *, text: str | None = None, overrides: Sequence[str] = ()) -> Network:
    """Load a YAML file, or a bundled network by its name (`mazur`, `networks/mazur.yaml`).

    With `text` that is the YAML and `source` only its name; `overrides` are `path=value` strings.
    """
    from bptrace.spec.load import load as load_spec

    return Network(load_spec(source if text is not None else locate(source), text, overrides))


def locate(source: str | Path) -> str:
    """The path of a YAML file that exists, else of the bundled network of that name."""
    text = str(source)
    if Path(source).exists():
        return text
    name = text.removeprefix("networks/").removesuffix(".yaml")
    found = _folder() / f"{name}.yaml"
    if "/" not in name and "\\" not in name and found.is_file():
        return str(found)
    near = nearest(name, bundled())
    raise UsageError(
        f"{text}: no such file or bundled network" + (f"; did you mean '{near}'?" if near else "")
    )


def bundled() -> list[str]:
    """The names of the bundled networks."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def bundled_text(name: str) -> str:
    """The YAML of a bundled network."""
    path = _folder() / f"{name}.yaml"
    if name not in bundled():
        near = nearest(name, bundled())
        raise UsageError(f"{name}: no bundled network" + (f"; did you mean '{near}'?" if near else ""))
    return path.read_text(encoding="utf-8")


def _folder() -> Path:
    """Where the bundled networks are: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "_networks"
    return inside if inside.is_dir() else package.parent / "networks"
