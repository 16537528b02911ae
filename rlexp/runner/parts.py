"""Setting a run up, the same for a training and for an evaluation without one.

The order matters: mistakes in the data, and a hub that does not answer, are found before torch is
imported; whatever goes wrong later is explained, recorded, and ends in a card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.config.stored import read_config
from rlexp.data.load import Splits, load_data
from rlexp.data.perplexity_texts import with_texts_of
from rlexp.data.rendering.row_report import check_rows
from rlexp.models.adapters import tokenizer_folder
from rlexp.models.locate import fetch, local_folder, made_folder, whole_folder
from rlexp.models.tokenizer import ModelTokenizer, answer_ids
from rlexp.registry.versions import find_version
from rlexp.runner.checks.reward_rows import check_algo_rows, check_reward_rows
from rlexp.runner.curriculum.building import check_curriculum_rows
from rlexp.runner.error_messages import explain_failures, explain_full_disk
from rlexp.runner.pruning import TrialReporter
from rlexp.runner.resolved_settings import resolved_settings
from rlexp.runtime.collective import broadcast
from rlexp.runtime.device import prepare
from rlexp.runtime.environment import hub_closed, share_cores, silence_libraries
from rlexp.runtime.run_folder import CONFIG
from rlexp.scoring import Scorer
from rlexp.scoring.all_gather import AllGather, SingleProcess
from rlexp.spec.checks.model import heads_needed
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import ModelKind
from rlexp.spec.rows import rows_read
from rlexp.spec.run import RunSpec
from rlexp.spec.text import Text

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState

    from rlexp.models.policy import Policy
    from rlexp.runner.best_of_n import BestOfNBaseline
    from rlexp.runner.card_writer import CardWriter
    from rlexp.runner.evaluator import Evaluator
    from rlexp.runner.recorder import Recorder


BUDGET = "budget"
"""Event in the spool: the size of the card."""

Rows = list[dict[str, Any]]


@dataclass
class RunParts:
    """The parts of a run in one of its processes."""

    spec: RunSpec
    folder: Path
    splits: Splits
    device: torch.device
    processes: PartialState
    recorder: Recorder
    """What the run tells; it keeps nothing but in the first process."""
    evaluator: Evaluator
    """Measures the policy, as the baseline does, in all processes together."""
    baseline: BestOfNBaseline
    card: CardWriter | None
    """The first process's, with its recorder and guards; None in the others."""
    stack: ExitStack
    reader: ModelTokenizer | None
    """The model's tokenizer, by which rows are checked; None where the model is yet to be made."""

    def load(self, kind: ModelKind) -> Policy:
        """Load the run's policy, with what algorithm and rewards bring along; people are told."""
        policy = self.load_policy(kind, self.spec.model, self._prepare_components)
        if self.reader is None:
            own = tokenizer_folder(policy.continues or policy.folder, policy.folder)
            self.reader = ModelTokenizer.load(self.spec.model, own, policy.folder)
            tell(self.recorder, check_rows(self.spec, self.splits, self.reader))
        self.recorder.notes += [*policy.notes, *self.spec.reward.notes()]
        self.recorder.provenance(**resolved_settings(self.spec, policy))
        return policy

    def load_policy(
        self, kind: ModelKind, model: ModelSpec, then: Callable[[], None] = lambda: None
    ) -> Policy:
        """Load a model as the run's policy is loaded; each process calls `then` behind it."""
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

        def merged(path: str, revision: str | None, key: str) -> Path:
            return whole_folder(located(path, revision, key), resolve, key)

        spec.algo.prepare(self.device, merged)  # teachers and critics are loaded whole
        for reward in (spec.reward, *spec.eval.gold_checked[0].values()):
            reward.prepare(self.device, located)

    def open_scorer(self, policy: Policy) -> Scorer:
        """Open what calls the run's reward, in all processes. From now on the hub is shut out.

        Answers that nobody sampled get their tokens from the policy's tokenizer; the card says so.
        """
        self.stack.enter_context(hub_closed())
        spec, processes = self.spec, self.processes.num_processes
        together = AllGather() if processes > 1 else SingleProcess()
        sources = spec.data.source_names
        scorer = Scorer(spec.reward, spec.scoring, processes, together, sources)

        def tokenize(answers: Sequence[Text]) -> list[list[int]]:
            note = "the tokens of written answers were counted by the model's tokenizer"
            if note not in self.recorder.notes:
                self.recorder.notes.append(note)
            return answer_ids(policy.tokenizer, answers)

        scorer.tokenize = tokenize
        return self.stack.enter_context(scorer)

    def keep_to_budget(self, policy: Policy, rows: Rows, eval_rows: Rows) -> None:
        """Cut the card to `eval.budget`; a run that goes on keeps the size that it began with."""
        from rlexp.evaluation.budget.of_run import size_of_card, with_size
        from rlexp.evaluation.budget.size import CardSize
        from rlexp.guards.probes import takes_probes
        from rlexp.runner.recorder import evaluation_file

        earlier = broadcast([*self.recorder.earlier_events(BUDGET)])
        if earlier:
            size, note = CardSize(**earlier[-1]["size"]), earlier[-1]["note"]
        elif broadcast(evaluation_file(self.folder, 0).is_file()):  # begun without a budget
            return
        else:
            looks = takes_probes(self.spec)
            inputs = self.spec, policy, rows, eval_rows, self.splits.texts
            size, note = size_of_card(*inputs, looks=looks)
            self.recorder.event(BUDGET, size=asdict(size), note=note)
        if note:
            self.recorder.say(f"{'budget':12} {note}")
            self.recorder.notes.append(note)
            self._adopt(with_size(self.spec, size))

    def _adopt(self, spec: RunSpec) -> None:
        """Have all parts go by another spec."""
        self.spec = self.evaluator.spec = self.baseline.spec = spec
        if self.card:
            self.card.spec = self.card.monitor.spec = spec
            self.card.monitor.guards = spec.guards

    def probe_reward(self, policy: Policy) -> None:
        """Say what cheap strategies earn, and have the guards watch those that pay."""
        from rlexp.probing.before_training import probe_before_training

        end_token = policy.tokenizer.eos_token
        paid = probe_before_training(
            self.spec,
            self.folder,
            self.splits,
            self.recorder,
            policy.chat,
            end_token,
            partial(answer_ids, policy.tokenizer),
        )
        if self.card:
            self.card.monitor.strategies = paid


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

    from rlexp.cards.mlflow_note import note_at_start
    from rlexp.guards.monitor import GuardMonitor
    from rlexp.runner.best_of_n import BestOfNBaseline
    from rlexp.runner.card_writer import CardWriter
    from rlexp.runner.evaluator import Evaluator
    from rlexp.runner.recorder import RunRecorder, open_recorder

    with ExitStack() as stack:
        # recorder and card, in the first process
        stack.enter_context(explain_full_disk(folder))
        description = note_at_start(read_config(folder / CONFIG), folder)
        recorder = stack.enter_context(open_recorder(spec, folder, splits, description, parent))
        tell(recorder, warnings)
        evaluator = Evaluator(spec, folder, splits, recorder, reporter)
        baseline = BestOfNBaseline(evaluator)
        card = None
        if isinstance(recorder, RunRecorder):
            tracker, notes = recorder.tracker, recorder.notes
            monitor = GuardMonitor(spec, folder, tracker, notes, recorder.say)
            card = CardWriter(recorder, evaluator, baseline, monitor)
            stack.enter_context(card.on_failure())
        stack.enter_context(explain_failures(spec))
        stack.enter_context(explain_full_disk(folder))  # while it can still be recorded
        device, processes = _device_and_processes(spec)
        yield RunParts(
            spec,
            folder,
            splits,
            device,
            processes,
            recorder,
            evaluator,
            baseline,
            card,
            stack,
            reader,
        )


def _device_and_processes(spec: RunSpec) -> tuple[torch.device, PartialState]:
    from accelerate import PartialState

    device = prepare(spec.hardware, spec.seed)
    return device, PartialState(cpu=device.type == "cpu")


def _read_data(
    spec: RunSpec, models: Sequence[ModelSpec]
) -> tuple[Splits, ModelTokenizer | None, list[str]]:
    """Return the data, the tokenizer where the model is here, and what is worth knowing of rows."""
    splits = load_data(spec.data, rows_read(spec.algo, spec.data))
    check_reward_rows(spec, splits)
    check_algo_rows(spec, splits)
    if spec.algo.trains:
        check_curriculum_rows(spec, splits.train)
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
