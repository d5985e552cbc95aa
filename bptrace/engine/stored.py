"""A run that was recorded in a file, read back: what `Run` is to a trace, without running."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bptrace.engine.engines import Engines
from bptrace.engine.metrics import Evaluation
from bptrace.engine.record import Record
from bptrace.engine.recording import Recording
from bptrace.engine.replay import Replay
from bptrace.engine.row_file import FileRecorder, StoredRows
from bptrace.engine.schedule import Schedule
from bptrace.engine.stopping import StopRule
from bptrace.engine.trace_file import FileLosses, differences, states_path
from bptrace.engine.values import FLOATS
from bptrace.errors import RunError, UsageError

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.spec.models import Network as NetworkSpec


class StoredRun(Record):
    """The rows of a trace file under the nodes of the network that it was made of.

    Raises `UsageError` with the difference where they are of another network, or not whole.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        assembly: Callable[[int | None], Assembly],
        file: str,
        header: dict[str, Any],
        evaluation: Evaluation | None,
    ) -> None:
        schedule = Schedule(spec.training, assembly(None).parts.training, int(header.get("done", 0)))
        super().__init__(Engines(assembly, schedule, FLOATS))
        try:
            self.count, self.asked = int(header["iterations"]), int(header["planned"])
            self.resumed, self.interrupted = bool(header["resumed"]), bool(header["interrupted"])
            self.recording = Recording(header["record"], range(self.count), int(header["states_every"]))
            self.stopped = RunError(header["stopped"]) if header["stopped"] else None
            self.done = True
            self._description = dict(header["engine"])
            if self.recording.every:
                gradients = StopRule(spec.training.stop, schedule).gradient_below is not None
                self.engines.outline_of(self.recording, gradients)
            rows, states = StoredRows(Path(file)), StoredRows(states_path(Path(file)))
            found = list(islice(differences(header, self, rows, states), 4))
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{file}.json: damaged: {error!r}") from None
        if found:
            raise UsageError(f"{file}: a stored trace of another network: " + "; ".join(found))
        self.recorder = FileRecorder(rows)
        self.losses = FileLosses(self.recorder, self)
        self.state = states[len(states) - 1][: self.engines.layout(schedule.size).state_size]
        self.replay = Replay(self, self.recording.every, _AllButLast(states))
        self.evaluation = evaluation
        if evaluation is not None and header["metrics"]:
            evaluation.columns = header["metrics"]

    @property
    def description(self) -> dict[str, Any]:
        return self._description


class _AllButLast:
    """The states from which iterations begin; the last one stored is that after the run."""

    def __init__(self, states: StoredRows) -> None:
        self._states = states

    def __len__(self) -> int:
        return len(self._states) - 1

    def __getitem__(self, k: int) -> Any:
        return self._states[k]
