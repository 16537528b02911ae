"""A run without a training: one model is evaluated, or two of them on the same prompts.

Of two the first takes the place of a run's policy before training, and the second that of the same
policy after it: KL, forgetting, win rate and best-of-n mean what they mean on any card. Models with
different tokenizers are compared by what they write alone: their distributions are over different
things, so that neither KL nor perplexities can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlexp.algos.evaluate import Evaluate
from rlexp.cards.card import Card
from rlexp.cards.mlflow_note import note_at_evaluation_end, note_at_evaluation_start
from rlexp.cards.terminal import print_card
from rlexp.data.load import load_data
from rlexp.data.perplexity_texts import with_texts_of
from rlexp.evaluation.results import Evaluation
from rlexp.models.locate import fetch
from rlexp.runner.dataset import Rows, eval_rows
from rlexp.runner.error_messages import explain_failures, explain_full_disk
from rlexp.runner.recorder import Observer, config_in
from rlexp.runtime.device import join_processes, prepare
from rlexp.runtime.environment import hub_closed, share_cores, silence_libraries
from rlexp.spec.eval import EvalSpec
from rlexp.spec.rows import rows_read
from rlexp.spec.run import RunSpec

OF_REFERENCE = ("kl", "kl_sequence", "reference_perplexity")
"""Metrics that say something of a reference."""
PLACE = "_place"
"""A row's number, for as long as rows are framed for two models."""


class Examiner(Observer):
    """Evaluates and records models as an observer does a training.

    Attributes:
        left_out: metrics that mean nothing here.
    """

    left_out: tuple[str, ...] = ()

    @staticmethod
    def words(folder: Path) -> str:
        return note_at_evaluation_start(config_in(folder))

    def evaluate(self, step: int, spec: EvalSpec, *, trained: bool) -> Evaluation:
        found = super().evaluate(step, spec, trained=trained)
        return without(found, self.left_out)

    def card(self, status: str, after: Evaluation | None) -> Card:
        found, algo = super().card(status, after), self.spec.algo
        assert isinstance(algo, Evaluate)
        return found if algo.of_run else replace(found, guards=[])

    def conclude(self, after: Evaluation, step: int) -> Card:
        """The card, in the folder and on the terminal."""
        after = self._judged(after, step)
        card = self.card("FINISHED", after)
        self.write(card, after)
        self.terminal.console.print()
        print_card(card, self.terminal.console)
        return card

    def write(self, card: Card, after: Evaluation | None) -> None:
        self._leave(card, after)
        self.tracker.note(note_at_evaluation_end(config_in(self.folder), card), alone=True)


def examine(spec: RunSpec, folder: Path, parent: str | None = None) -> None:
    """Evaluate what the spec's algorithm names; the folder gets its card.

    Args:
        spec: whose algorithm is a `rlexp.algos.evaluate.Evaluate`.
        folder: where everything goes; it exists and holds `config.yaml`.
        parent: MLflow run under which this one is nested.

    Raises:
        UserError, RunFailed: as `rlexp.run.run` does.
    """
    from rlexp.runner.parts import load_parts, model_folder_resolver, scorer_of

    silence_libraries()
    share_cores()
    algo: Any = spec.algo
    splits = load_data(spec.data, rows_read(algo, spec.data))
    splits = with_texts_of(splits, spec.eval.texts_path)
    second = algo.examined(spec.model) if algo.model is not None else None
    for model in (spec.model, *([second] if second else [])):
        fetch(model, model_folder_resolver(spec))
    with ExitStack() as open_things:
        open_things.enter_context(explain_full_disk(folder))
        observer = open_things.enter_context(Examiner.open(spec, folder, splits, parent))
        open_things.enter_context(explain_failures(spec))
        device = prepare(spec.hardware, spec.seed)
        processes = join_processes(device)
        policy = load_parts(spec, algo.head, device, processes, observer, splits.corpus)

        def load_second() -> Any:
            from rlexp.models.load import load_policy

            there = spec.model_copy(update={"model": second})
            corpus = splits.corpus
            return load_policy(
                there, algo.head, device, _silent, model_folder_resolver(spec), corpus
            )

        open_things.enter_context(hub_closed())
        scorer = open_things.enter_context(scorer_of(spec, processes))
        step = spec.train.max_steps
        if second is None:
            after = _alone(observer, policy, splits, scorer, step)
        else:
            after = _against(observer, policy, load_second, splits, scorer, step)
        observer.conclude(after, step)


def _alone(observer: Any, policy: Any, splits: Any, scorer: Any, step: int) -> Evaluation:
    rows = eval_rows(observer.spec, policy, splits, observer, scorer)
    observer.policy, observer.heldout, observer.scorer = policy, rows, scorer
    observer.yardstick.check_columns()
    observer.left_out = OF_REFERENCE
    observer.terminal.say(f"{'evaluation':12} {len(rows[: observer.spec.eval.prompts])} rows")
    return observer.look(step, trained=False)


def _against(
    observer: Any,
    policy: Any,
    load_second: Callable[[], Any],
    splits: Any,
    scorer: Any,
    step: int,
) -> Evaluation:
    """The first model's evaluation goes to the observer; the second's comes back."""
    second = load_second()
    related = policy.tokenizer.get_vocab() == second.tokenizer.get_vocab()
    models = [policy] if related else [policy, second]
    rows = _rows_for(models, observer, splits, scorer)
    if related:
        second = second.model.to("cpu")  # the reference is in memory while KL is measured
    observer.look_before(policy, rows[0], scorer)
    observer.terminal.say(f"{'second':12} the same prompts")
    if related:
        policy.model = second.to(policy.model.device)
        return observer.look(step, trained=True)
    observer.policy, observer.heldout = second, rows[1]
    observer.left_out = (*OF_REFERENCE, "perplexity")
    observer.notes.append("KL and perplexities are left out: the models' tokenizers differ")
    return observer.look(step, trained=False)


def _rows_for(models: list[Any], observer: Any, splits: Any, scorer: Any) -> list[Rows]:
    """The held-out rows as each model reads them: those that are short enough for all."""
    numbered = [{**row, PLACE: place} for place, row in enumerate(splits.heldout)]
    splits = replace(splits, heldout=numbered)
    framed = [
        {row.pop(PLACE): row for row in eval_rows(observer.spec, each, splits, observer, scorer)}
        for each in models
    ]
    observer.notes[:] = dict.fromkeys(observer.notes)
    shared = [place for place in framed[0] if all(place in each for each in framed)]
    return [[each[place] for place in shared] for each in framed]


def without(evaluation: Evaluation, metrics: tuple[str, ...]) -> Evaluation:
    """The evaluation without some of its metrics."""

    def kept(found: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in found.items() if name not in metrics}

    return replace(
        evaluation,
        metrics=kept(evaluation.metrics),
        intervals=kept(evaluation.intervals),
        ratios=kept(evaluation.ratios),
    )


def _silent(*told: Any) -> None:
    """Nobody watches a second model being made: the first one was."""
