"""What records a run: its tracker, its clock, its voice on the terminal, and its notes.

All processes of a run tell the same things to their recorder; the first process's (`RunRecorder`)
keeps them, and the others' does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import sha256
from pathlib import Path

from rlexp.cards.cost import Clock
from rlexp.data.load import Splits
from rlexp.evaluation.results import Evaluation
from rlexp.evaluation.sample_rows import DOCUMENTS, document_rows, sample_row
from rlexp.rendering.progress import Terminal
from rlexp.runner.checkpoint_retention import KeptCheckpoints
from rlexp.runner.judge_costs import History, JudgeUsage
from rlexp.runner.pruning import PRUNED
from rlexp.runtime.device import is_main_process
from rlexp.runtime.run_folder import CHECKPOINTS, EVALUATIONS, SPOOL, step_file
from rlexp.spec.data import Kind
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.run import RunSpec
from rlexp.tracking import Tracker
from rlexp.tracking.spool.history import Event, RunHistory

Advance = Callable[[int, int, str], None]
"""Moves a progress bar: step, steps, and a few words."""


class Recorder:
    """What the stages of a run may tell; this one, of the processes beside the first, keeps
    nothing.

    Attributes:
        notes: what was done to data and model on the way, in words for the card.
        usage: what the run's judges have cost.
    """

    def __init__(self, notes: Iterable[str] = (), history: History = ()) -> None:
        self.notes = list(notes)
        self.usage = JudgeUsage(history)

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Take the time of the block."""
        return nullcontext()

    def bar(self, title: str) -> AbstractContextManager[Advance]:
        """Show a progress bar for the time of the block."""
        return nullcontext(lambda step, steps, words: None)

    def say(self, text: str) -> None:
        """Print a line."""

    def earlier_events(self, kind: str) -> Sequence[Event]:
        """Return the events of a kind that earlier attempts at the run have left."""
        return ()

    def event(self, kind: str, **fields: object) -> None:
        """Keep something that MLflow has no place for."""

    def provenance(self, **facts: object) -> None:
        """Keep more of what decides the run's numbers."""

    def evaluation(self, step: int, evaluation: Evaluation) -> None:
        """Keep all of an evaluation."""

    def rated_answers(self, step: int, evaluation: Evaluation) -> None:
        """Keep what was measured of answers to training prompts."""

    def made_rows(self, file: Path, kind: Kind, rows: int) -> None:
        """Keep a file of the run's folder whose rows other runs may train on."""

    def write_file(self, file: Path, write: Callable[[Path], object]) -> None:
        """Have a file of the run's folder written, once."""


class RunRecorder(Recorder):
    """The first process's recorder.

    Attributes:
        tracker: what is told goes to the spool, and to MLflow behind it.
        clock: seconds of each phase.
        checkpoints: which of the run's stay.
        metrics_at: what evaluations have measured, by step and name.
    """

    def __init__(self, spec: RunSpec, folder: Path, notes: Sequence[str], tracker: Tracker) -> None:
        super().__init__(notes, tracker.history)
        self.spec, self.folder, self.tracker = spec, folder, tracker
        self.terminal = Terminal()
        self.clock = Clock()
        if tracker.told:
            self.clock.restore(tracker.told.phase_seconds, tracker.told.total_seconds)
        self.checkpoints = KeptCheckpoints(spec.train, folder / CHECKPOINTS, tracker)
        self.metrics_at: dict[int, dict[str, float]] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Take the time of the block; the spool has it too, in case the process is killed."""
        self.tracker.event("phase", name=name, begins=True)
        with self.clock.phase(name):
            yield
        self.tracker.event("phase", name=name, begins=False)

    def bar(self, title: str) -> AbstractContextManager[Advance]:
        return self.terminal.bar(title)

    def say(self, text: str) -> None:
        self.terminal.say(text)

    def earlier_events(self, kind: str) -> Sequence[Event]:
        return self.tracker.told.events.get(kind, []) if self.tracker.told else []

    def event(self, kind: str, **fields: object) -> None:
        self.tracker.event(kind, **fields)

    def provenance(self, **facts: object) -> None:
        self.tracker.origin(**facts)

    def evaluation(self, step: int, evaluation: Evaluation) -> None:
        self._measured("eval", step, evaluation)

    def rated_answers(self, step: int, evaluation: Evaluation) -> None:
        self._measured("rollout", step, evaluation)

    def _measured(self, group: str, step: int, evaluation: Evaluation) -> None:
        evaluation.to_json(evaluation_file(self.folder, step))
        metrics = {f"{group}/{name}": value for name, value in evaluation.metrics.items()}
        self.tracker.log(metrics, step)
        self.tracker.samples("samples", step, [sample_row(sample) for sample in evaluation.samples])
        if documents := document_rows(evaluation):
            self.tracker.samples(DOCUMENTS, step, documents)
        self.metrics_at[step] = metrics

    def made_rows(self, file: Path, kind: Kind, rows: int) -> None:
        self.tracker.artifact(file)
        digest = sha256(file.read_bytes()).hexdigest()[:32]
        self.tracker.dataset(file.stem, str(file.absolute()), digest, kind, rows, made=True)

    def write_file(self, file: Path, write: Callable[[Path], object]) -> None:
        write(file)

    def checkpoint_saved(self, step: int, folder: Path) -> None:
        """Keep a complete checkpoint, and remove those that are not to stay."""
        if step < self.spec.train.max_steps:  # the last one is kept with the final metrics
            self.tracker.checkpoint(step, folder, self.metrics_at.get(step, {}))
        self.checkpoints.keep()

    def record_pruned(self, step: int) -> None:
        """Leave the run as one that was pruned: recorded, without its checkpoints."""
        self.tracker.event(PRUNED, step=step)
        self.tracker.tag("state", "PRUNED")
        self.checkpoints.remove_all()
        self.notes.append(f"The trial was pruned at step {step}: others were better by then.")

    def tokens(self) -> int | None:
        """Return how many tokens the training has read or sampled; None if it does not count."""
        name = "perf/tokens"
        counts = [metrics[name] for _, metrics in self.tracker.history if name in metrics]
        return int(counts[-1]) if counts else None


@contextmanager
def open_recorder(
    spec: RunSpec, folder: Path, splits: Splits, description: str, parent: str | None
) -> Iterator[Recorder]:
    """Open this process's recorder of a run, which ends with the status that the block ends with.

    Args:
        description: Markdown, shown on the run's page.
        parent: MLflow run under which this one is nested.

    Raises:
        UserError: a run that is resumed began with other data.
    """
    if not is_main_process():
        yield Recorder()
        return
    _check_same_data(RunHistory.read(folder / SPOOL), splits)
    with Tracker.open(spec, folder, description=description, parent=parent) as tracker:
        rows = len(splits.train) + len(splits.heldout)
        tracker.dataset(spec.data.name, splits.source, splits.digest, splits.kind, rows)
        yield RunRecorder(spec, folder, splits.notes, tracker)


def evaluation_file(folder: Path, step: int) -> Path:
    """Return where a run's folder has the evaluation of a step."""
    return folder / EVALUATIONS / step_file(step)


def _check_same_data(earlier: RunHistory | None, splits: Splits) -> None:
    if earlier is None or earlier.digest in (None, splits.digest):
        return
    got = f"{splits.source} with the digest {splits.digest[:8]}"
    want = f"the data that the run began with ({earlier.digest[:8]})"
    remedy = "Put the data back as they were, or start a new run."
    raise UserError(Problem("data", got, want, remedy))
