"""What writes a run's card: for people and programs in its folder, on the terminal and in MLflow.

It lives in the first process alone, and computes nothing that another process has a part in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rlexp.algos.evaluate import Evaluate
from rlexp.cards.card import Card, Identity, build_card
from rlexp.cards.html import write_card_page
from rlexp.cards.mlflow_note import (
    note_at_end,
    note_at_evaluation_end,
    note_at_evaluation_start,
    note_at_start,
)
from rlexp.cards.model_card import NAME, Weights, model_card
from rlexp.cards.terminal import print_card
from rlexp.config.stored import read_config
from rlexp.evaluation.judge_win_rate import judge_win_rate
from rlexp.evaluation.results import Evaluation
from rlexp.guards.monitor import GuardMonitor
from rlexp.runner.best_of_n import BestOfNBaseline
from rlexp.runner.evaluator import Evaluator
from rlexp.runner.recorder import RunRecorder
from rlexp.runtime.run_folder import CARD, CARD_PAGE, CHECKPOINTS, CONFIG, MODEL, SPOOL
from rlexp.spec.errors import Pruned
from rlexp.spec.files.model_folder import is_adapter
from rlexp.spec.run import RunSpec
from rlexp.tracking.secrets import redacted
from rlexp.tracking.spool.history import RunHistory


class CardWriter:
    """Writes the card of one run.

    Args:
        recorder: knows what the run took and what was noted on the way.
        evaluator: has evaluated its policy.
        baseline: best-of-n of the policy before training.
        monitor: what the guards have seen.
    """

    def __init__(
        self,
        recorder: RunRecorder,
        evaluator: Evaluator,
        baseline: BestOfNBaseline,
        monitor: GuardMonitor,
    ) -> None:
        self.recorder, self.evaluator = recorder, evaluator
        self.baseline, self.monitor = baseline, monitor
        self.spec, self.folder = recorder.spec, recorder.folder

    @contextmanager
    def on_failure(self) -> Iterator[None]:
        """Leave a card of what is known when the block is left by an exception."""
        try:
            yield
        except Pruned as pruned:
            self.recorder.record_pruned(pruned.step)
            self.write(self.card("KILLED", None), None)
            raise
        except Exception as error:
            self.recorder.notes.append(f"The run failed: {error}")
            self.write(self.card("FAILED", None), None)
            raise

    def finish(self, final: Evaluation, step: int) -> Card:
        """Write and print the card of a run that has come to its end; its judge is asked first."""
        final = self._judged(final, step)
        self._note_checkpoints(step)
        card = self.card("FINISHED", final)
        self.write(card, final)
        self.recorder.terminal.console.print()
        print_card(card, self.recorder.terminal.console)
        return card

    def _judged(self, final: Evaluation, step: int) -> Evaluation:
        """Return the last evaluation with what `eval.judge` says of it."""
        initial = self.evaluator.initial
        if initial is None or self.spec.eval.judge is None:
            return final
        with self.recorder.phase("judging"):
            won, note = judge_win_rate(self.evaluator.rows, initial, final, self.spec.eval)
        self.recorder.notes.append(note)
        metrics = {f"eval/{name}": value for name, value in won.metrics.items()}
        self.recorder.log(metrics, step)
        self.recorder.metrics_at[step] |= metrics
        return won.added_to(final)

    def _note_checkpoints(self, step: int) -> None:
        """Tell the tracker of the final model, and people which checkpoint is the best."""
        recorder = self.recorder
        recorder.tracker.checkpoint(step, self.folder / MODEL, recorder.metrics_at[step])
        if best := recorder.checkpoints.keep():
            path = self.folder / CHECKPOINTS / best.folder
            value = f"{best.metric} {best.value:.4g} at step {best.step}"
            recorder.tag("best", f"{value}: {path.absolute()}")
            recorder.notes.append(f"best checkpoint: {value} (checkpoints/{best.folder})")
        if self.monitor.stopped:
            recorder.notes.append(self.monitor.resume_hint(self.folder / CHECKPOINTS))

    def card(self, status: str, final: Evaluation | None) -> Card:
        """Return what is known of the run; `final` is None if it did not reach its end."""
        spec, tracker, recorder = self.spec, self.recorder.tracker, self.recorder
        identity = Identity(
            run_id=tracker.run_id or "",
            name=spec.name,
            status=status,
            algo=spec.algo.name,
            model=spec.model.name,
            data=spec.data.name,
            reward=spec.reward.name,
            seed=spec.seed,
            folder=str(self.folder),
            open=tracker.ui_command or f"open {self.folder / 'card.html'}",
        )
        return build_card(
            identity,
            self.evaluator.initial,
            final,
            recorder.clock.cost(tokens=recorder.tokens()),
            notes=[*recorder.notes, *recorder.usage.notes()],
            firings=self.monitor.alerts,
            guards=spec.guards,
            control=self.baseline.control(self.evaluator.initial),
            frontier=self.baseline.frontier(),
            columns=self.evaluator.prompt_columns(),
            resamples=spec.eval.bootstrap,
            seed=spec.eval.seed,
        )

    def write(self, card: Card, final: Evaluation | None) -> None:
        """Leave what came of the run in its folder and in MLflow."""
        tracker = self.recorder.tracker
        self._write_files(card, final)
        tracker.note(note_at_end(read_config(self.folder / CONFIG), card, self.folder), alone=True)
        if final is not None:
            self._write_model_card(card)
        if self.spec.tracking.log_model and final is not None:
            tracker.artifact(self.folder / MODEL)

    def _write_files(self, card: Card, final: Evaluation | None) -> None:
        card.to_json(self.folder / CARD)
        config = redacted((self.folder / CONFIG).read_text(encoding="utf-8"))
        write_card_page(
            card,
            self.folder / CARD_PAGE,
            self.recorder.tracker.history,
            config,
            before=self.evaluator.initial,
            after=final,
        )
        for name in (CARD, CARD_PAGE):
            self.recorder.tracker.artifact(self.folder / name)

    def _write_model_card(self, card: Card) -> None:
        history = RunHistory.read(self.folder / SPOOL)
        model, steps = self.folder / MODEL, self.monitor.last_step
        weights = Weights(steps, adapter=is_adapter(model))
        tags = history.start["tags"] if history else {}
        model_card(read_config(self.folder / CONFIG), card, tags, weights).save(model / NAME)


class EvaluationCardWriter(CardWriter):
    """Writes the card of an evaluation without a training: there is no model to leave."""

    def _note_checkpoints(self, step: int) -> None: ...

    def card(self, status: str, final: Evaluation | None) -> Card:
        card, algo = super().card(status, final), self.spec.algo
        assert isinstance(algo, Evaluate)
        # No run trained the model by this reward: no training is to be warned of.
        return card if algo.of_run else replace(card, guards=[])

    def write(self, card: Card, final: Evaluation | None) -> None:
        self._write_files(card, final)
        note = note_at_evaluation_end(read_config(self.folder / CONFIG), card)
        self.recorder.tracker.note(note, alone=True)


def card_writer_of(spec: RunSpec) -> type[CardWriter]:
    """Return the class that writes the card of a run."""
    return CardWriter if spec.algo.trains else EvaluationCardWriter


def description_of(spec: RunSpec, folder: Path) -> str:
    """Return what a run's page in MLflow says while it runs."""
    if spec.algo.trains:
        return note_at_start(read_config(folder / CONFIG), folder)
    return note_at_evaluation_start(read_config(folder / CONFIG))
