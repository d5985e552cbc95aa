"""A network that is ready to run: its validated YAML and the graphs made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bptrace.bundled import bundled_folder
from bptrace.errors import UsageError, nearest

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.engine.loop import Watcher
    from bptrace.engine.metrics import Evaluation
    from bptrace.engine.recording import Policy
    from bptrace.spec.load import Spec
    from bptrace.trace import Trace


class Network:
    """A network of a YAML file, with the `--set` items that were put in."""

    def __init__(self, spec: Spec, overrides: Sequence[str] = ()) -> None:
        self.spec = spec
        self.overrides = tuple(overrides)
        self._assemblies: dict[tuple[int | None, bool], Assembly] = {}
        self._fisher: dict[bool, Trace] = {}

    @property
    def name(self) -> str:
        """What the YAML calls it, else the name of the file."""
        return self.spec.network.name or Path(self.spec.file).stem

    def assembly(self, samples: int | None = None, *, inference: bool = False) -> Assembly:
        """The graph for a batch of `samples` rows, or for all of them; with `inference` as it is used
        after training."""
        if (samples, inference) not in self._assemblies:
            from bptrace.build.assemble import assemble

            self._assemblies[samples, inference] = assemble(self.spec, samples, inference=inference)
        return self._assemblies[samples, inference]

    def planned(self, iterations: int | None = None) -> int:
        """How many iterations a run has unless a stop condition ends it."""
        from bptrace.engine.schedule import Schedule

        training = self.spec.network.training
        if iterations is not None or training.iterations is not None:
            return iterations if iterations is not None else training.iterations or 1
        return (training.epochs or 1) * Schedule(training, self.assembly().parts.training).an_epoch

    def run(
        self,
        iterations: int | None = None,
        *,
        show: Iterable[int] | None = None,
        exact: bool = False,
        start: Mapping[str, Sequence[float]] | None = None,
        done: int = 0,
        record: Policy | None = None,
        memory: int | None = None,
        trace: str | Path | None = None,
        watcher: Watcher | None = None,
    ) -> Trace:
        """Train as the YAML says, or for `iterations`, and keep what happened.

        `show` are the iterations that will be looked at, by default all. With `exact` every number is
        a fraction. `start` are parameters and states, by id and row by row, to start from instead of
        those of the YAML (a checkpoint's), and `done` the iterations before them, after which the
        batches go on.

        `record` says what is kept of each iteration: `all` numbers, `lean` (activations, deltas,
        losses) or `replay` (losses); what is not kept is computed again when it is asked for. By
        default the first of these that fits into `memory` bytes (256 MB). `trace` is a file
        (`t.npy`) that the rows go to. `watcher` is asked after each block of iterations whether the
        run is to end.
        """
        from bptrace.engine.recording import POLICIES, Wish
        from bptrace.engine.run import Run
        from bptrace.trace import Trace

        if iterations is not None and iterations < 1:
            raise UsageError(f"{iterations} iterations; expected 1 or more")
        if record is not None and record not in POLICIES:
            raise UsageError(f"record {record}: one of {', '.join(POLICIES)}")
        wish = Wish(record, memory, None if trace is None else str(trace), self._as_stored())
        run = Run(
            self.spec.network, self.assembly, iterations, show, exact, start,
            before=self._before(exact) if start is None else None, done=done, wish=wish,
            evaluation=self._evaluation(), watcher=watcher,
        )  # fmt: skip
        return Trace(self, run)

    def fisher_pass(self, exact: bool = False) -> Trace | None:
        """The pass over the data before training that a mask from the Fisher information comes from, an
        iteration a sample; None where there is no such mask, or the YAML gives all its numbers."""
        optimizer = self.spec.network.optimizer
        if optimizer is None or optimizer.mask is None:
            return None  # as most networks, which need not import what follows
        from bptrace.build.fisher import needs_pass, pass_spec

        if not needs_pass(self.spec.network, self.assembly()):
            return None
        if exact not in self._fisher:
            self._fisher[exact] = _AsUsed(pass_spec(self.spec, self.assembly())).run(exact=exact)
        return self._fisher[exact]

    def _before(self, exact: bool) -> Mapping[str, Sequence[float]] | None:
        """What a run takes from the pass before it."""
        trace = self.fisher_pass(exact)
        if trace is None:
            return None
        from bptrace.build.fisher import wanted_of

        assembly = trace.final_assembly
        values = trace.final_parameters(assembly)
        ids = wanted_of(self.spec.network, self.assembly())
        return {id: list(values.flat(assembly.graph.by_id[id])) for id in ids}

    def _evaluation(self) -> Evaluation | None:
        """What is looked at after each epoch, if anything is."""
        training = self.spec.network.training
        if not training.metrics and not (training.stop.patience and self.assembly().parts.validation):
            return None
        from bptrace.engine.metrics import Evaluation

        return Evaluation(self)

    def _as_stored(self) -> dict[str, object]:
        """What a trace file keeps of the network, to read it back by."""
        file = self.spec.file
        path = str(Path(file).resolve()) if Path(file).is_file() else file
        return {"name": self.name, "file": path, "yaml": self.spec.text, "overrides": list(self.overrides)}

    def stored_trace(self, file: str | Path) -> Trace:
        """A trace of this network that was written to a file (`run(trace="t.npy")`).

        Raises `UsageError` with the difference where it is of another network, or not whole.
        """
        from bptrace.engine.stored import StoredRun
        from bptrace.engine.trace_file import read_header
        from bptrace.trace import Trace

        header = read_header(file)
        return Trace(self, StoredRun(self.spec.network, self.assembly, str(file), header, self._evaluation()))


class _AsUsed(Network):
    """A network without what layers do in training only, such as dropout."""

    def assembly(self, samples: int | None = None, *, inference: bool = False) -> Assembly:
        return super().assembly(samples, inference=True)


def load(source: str | Path, *, text: str | None = None, overrides: Sequence[str] = ()) -> Network:
    """Load a YAML file, or a bundled network by its name (`mazur`, `networks/mazur.yaml`).

    With `text` that is the YAML and `source` only its name; `overrides` are `path=value` strings.
    """
    from bptrace.spec.load import load as load_spec

    if text is None and is_stored(source):
        if overrides:
            raise UsageError(f"{source}: a stored trace is what it is; leave out --set")
        return _load_stored(source)
    return Network(load_spec(source if text is not None else locate(source), text, overrides), overrides)


def is_stored(source: str | Path) -> bool:
    """Whether this is the name of a stored trace."""
    return Path(source).suffix == ".npy"


def _load_stored(source: str | Path) -> Network:
    """The network of which a stored trace was made."""
    from bptrace.engine.trace_file import read_header
    from bptrace.spec.load import load as load_spec

    found = read_header(source).get("network")
    if not isinstance(found, dict) or not {"file", "yaml", "overrides"} <= found.keys():
        raise UsageError(f"{source}.json: damaged: it holds no network")
    return Network(load_spec(found["file"], found["yaml"], found["overrides"]), found["overrides"])


def read_trace(file: str | Path) -> Trace:
    """A trace that was written to a file, under the network that is stored with it."""
    return _load_stored(file).stored_trace(file)


def locate(source: str | Path) -> str:
    """The path of a YAML file that exists, else of the bundled network of that name."""
    text = str(source)
    if Path(source).exists():
        return text
    name = text.removeprefix("networks/").removesuffix(".yaml")
    found = bundled_folder() / f"{name}.yaml"
    if "/" not in name and "\\" not in name and found.is_file():
        return str(found)
    near = nearest(name, bundled())
    raise UsageError(
        f"{text}: no such file or bundled network" + (f"; did you mean '{near}'?" if near else "")
    )


def bundled() -> list[str]:
    """The names of the bundled networks."""
    return sorted(path.stem for path in bundled_folder().glob("*.yaml"))


def bundled_text(name: str) -> str:
    """The YAML of a bundled network."""
    path = bundled_folder() / f"{name}.yaml"
    if name not in bundled():
        near = nearest(name, bundled())
        raise UsageError(f"{name}: no bundled network" + (f"; did you mean '{near}'?" if near else ""))
    return path.read_text(encoding="utf-8")


def data_files(name: str) -> list[tuple[Path, str]]:
    """The data files that a bundled network names by their path, and these paths, as its YAML has them."""
    from bptrace.spec.yaml_text import read

    data = read(bundled_text(name), name).value.get("data") or {}
    given = [data[kind] for kind in ("csv", "npz", "png") if kind in data]
    paths = [item if isinstance(item, str) else item["file"] for item in given]
    return [(bundled_folder() / path, path) for path in paths]
