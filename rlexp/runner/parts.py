"""Setting a run up, the same for a training and for an evaluation without one.

The order matters: mistakes in the data, and a hub that does not answer, are found before torch is
imported; whatever goes wrong later is explained, recorded, and ends in a card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rlexp.data.load import Splits, load_data
from rlexp.data.perplexity_texts import with_texts_of
from rlexp.data.rendering.row_report import check_rows
from rlexp.models.locate import fetch, local_folder, made_folder
from rlexp.models.tokenizer import ModelTokenizer
from rlexp.registry.versions import find_version
from rlexp.runner.error_messages import explain_failures, explain_full_disk
from rlexp.runner.pruning import TrialReporter
from rlexp.runner.resolved_settings import resolved_settings
from rlexp.runtime.device import join_processes, prepare
from rlexp.runtime.environment import hub_closed, share_cores, silence_libraries
from rlexp.scoring import Scorer
from rlexp.scoring.all_gather import AllGather, SingleProcess
from rlexp.spec.checks.model import heads_needed
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import ModelKind
from rlexp.spec.rows import rows_read
from rlexp.spec.run import RunSpec

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState

    from rlexp.guards.monitor import GuardMonitor
    from rlexp.models.policy import Policy
    from rlexp.runner.best_of_n import BestOfNBaseline
    from rlexp.runner.card_writer import CardWriter
    from rlexp.runner.evaluator import Evaluator
    from rlexp.runner.recorder import Recorder, RunRecorder


@dataclass(frozen=True)
class Recording:
    """What the first process has beside the others.

    Attributes:
        recorder: keeps what the run tells.
        monitor: the guards.
        card: writes it.
    """

    recorder: RunRecorder
    monitor: GuardMonitor
    card: CardWriter


@dataclass
class RunParts:
    """The parts of a run in one of its processes.

    Attributes:
        recorder: what the run tells; it keeps nothing but in the first process.
        evaluator, baseline: measure the policy, in all processes together.
        recording: of the first process; None in the others.
        reader: the model's tokenizer, by which the rows have been checked; None where the model is
            yet to be made.
        stack: closes with the run.
    """

    spec: RunSpec
    folder: Path
    splits: Splits
    device: torch.device
    processes: PartialState
    recorder: Recorder
    evaluator: Evaluator
    baseline: BestOfNBaseline
    recording: Recording | None
    stack: ExitStack
    reader: ModelTokenizer | None

    def load(self, kind: ModelKind) -> Policy:
        """Load the run's policy, with what algorithm and rewards bring along; people are told."""

        policy = self.load_policy(kind, self.spec.model, self._prepare_components)
        if self.reader is None:
            self.reader = ModelTokenizer.load(self.spec.model, policy.folder)
            tell(self.recorder, check_rows(self.spec, self.splits, self.reader))
        self.recorder.notes += [*policy.notes, *self.spec.reward.notes()]
        self.recorder.provenance(**resolved_settings(self.spec, policy))
        return policy

    def load_policy(
        self, kind: ModelKind, model: ModelSpec, then: Callable[[], None] = lambda: None
    ) -> Policy:
        """Load a model as the run loads its policy.

        Args:
            kind: what it is.
            model: which one.
            then: called behind it; the first process comes first with that, too.
        """
        from rlexp.models.load import load_policy

        spec = self.spec.model_copy(update={"model": model})
        # The first process makes or fetches the weights; the others find them.
        with self.processes.main_process_first(), self.recorder.bar("pre-training") as advance:
            policy = load_policy(
                spec,
                kind.head,
                self.device,
                lambda step, steps, loss: advance(step, steps, f"loss {loss:.3f}"),
                model_folder_resolver(spec),
                self.splits.corpus,
                self.reader if model == self.spec.model else None,
            )
            then()
        return policy

    def _prepare_components(self) -> None:
        from rlexp.tracking.provenance.manifest import describe_weights

        spec, resolve = self.spec, model_folder_resolver(self.spec)

        def located(path: str, revision: str | None, key: str) -> Path:
            folder = resolve(path, revision, key)
            self.recorder.provenance(weights={key: describe_weights(folder)})
            return folder

        for component in (spec.algo, spec.reward, *spec.eval.gold_checked[0].values()):
            component.prepare(self.device, located)

    def open_scorer(self) -> Scorer:
        """Open what calls the run's reward, in all processes. From now on the hub is shut out."""
        self.stack.enter_context(hub_closed())
        spec, processes = self.spec, self.processes.num_processes
        together = AllGather() if processes > 1 else SingleProcess()
        scorer = Scorer(spec.reward, spec.scoring, processes, together)
        return self.stack.enter_context(scorer)


@contextmanager
def set_up(
    spec: RunSpec,
    folder: Path,
    parent: str | None,
    *,
    models: Sequence[ModelSpec],
    reporter: TrialReporter | None = None,
) -> Iterator[RunParts]:
    """Set up a run in this process, and end it as the block ends.

    Args:
        spec: the run.
        folder: the run's; it exists and holds `config.yaml`.
        parent: MLflow run under which this one is nested.
        models: those that it reads, whose files must be here.
        reporter: hears how it gets on.
    """
    silence_libraries()
    share_cores()
    splits, reader, warnings = _read_data(spec, models)

    from rlexp.guards.monitor import GuardMonitor
    from rlexp.runner.best_of_n import BestOfNBaseline
    from rlexp.runner.card_writer import card_writer_of, description_of
    from rlexp.runner.evaluator import Evaluator
    from rlexp.runner.recorder import RunRecorder, open_recorder

    with ExitStack() as stack:
        # recorder and card, in the first process
        stack.enter_context(explain_full_disk(folder))
        description = description_of(spec, folder)
        recorder = stack.enter_context(open_recorder(spec, folder, splits, description, parent))
        tell(recorder, warnings)
        evaluator = Evaluator(spec, folder, splits.texts, recorder, reporter)
        baseline = BestOfNBaseline(evaluator)
        recording = None
        if isinstance(recorder, RunRecorder):
            monitor = GuardMonitor(spec, folder, recorder)
            card = card_writer_of(spec)(recorder, evaluator, baseline, monitor)
            recording = Recording(recorder, monitor, card)
            stack.enter_context(card.on_failure())
        stack.enter_context(explain_failures(spec))
        stack.enter_context(explain_full_disk(folder))  # while it can still be recorded
        # device and processes
        device = prepare(spec.hardware, spec.seed)
        processes = join_processes(device)
        yield RunParts(
            spec,
            folder,
            splits,
            device,
            processes,
            recorder,
            evaluator,
            baseline,
            recording,
            stack,
            reader,
        )


def _read_data(
    spec: RunSpec, models: Sequence[ModelSpec]
) -> tuple[Splits, ModelTokenizer | None, list[str]]:
    """Return the data, the tokenizer where the model is here, and what is worth knowing of rows."""
    splits = load_data(spec.data, rows_read(spec.algo, spec.data))
    splits = with_texts_of(splits, spec.eval.texts_path)
    for model in models:
        fetch(model, model_folder_resolver(spec), heads_needed(spec.algo, spec.data))
    # what the rows become, by tokenizer and template alone
    folder = made_folder(spec.model, model_folder_resolver(spec))
    reader = ModelTokenizer.load(spec.model, folder) if folder else None
    return splits, reader, check_rows(spec, splits, reader) if reader else []


def tell(recorder: Recorder, warnings: Sequence[str]) -> None:
    """Print warnings about the rows, and keep them for the card."""
    for warning in warnings:
        recorder.say(f"{'rows':12} {warning}")
    recorder.notes += warnings


def model_folder_resolver(spec: RunSpec) -> Callable[..., Path]:
    """Return `local_folder`, which asks the run's registry for paths that name a version there."""
    registry = spec.tracking.registry
    return partial(local_folder, registry=lambda path, key: find_version(path, registry, key))
