"""What writes a run's card: for people and programs in its folder, on the terminal and in MLflow.

It lives in the first process alone, and computes nothing that another process has a part in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from rlexp.cards.card import Card, Identity, build_card
from rlexp.cards.html import write_card_page
from rlexp.cards.mlflow_note import note_at_end
from rlexp.cards.model_card import NAME, Weights, model_card
from rlexp.cards.terminal import print_card
from rlexp.config.stored import read_config
from rlexp.evaluation.judge_win_rate import METRIC, judge_win_rate
from rlexp.evaluation.results import Evaluation
from rlexp.guards.monitor import GuardMonitor
from rlexp.runner.best_of_n import BestOfNBaseline
from rlexp.runner.evaluator import Evaluator
from rlexp.runner.recorder import RunRecorder
from rlexp.runtime.run_folder import CARD, CARD_PAGE, CHECKPOINTS, CONFIG, MODEL, SPOOL
from rlexp.spec.algo import UntrainedAlgo
from rlexp.spec.errors import Pruned
from rlexp.spec.files.model_folder import is_adapter
from rlexp.tracking.secrets import redacted
from rlexp.tracking.spool.history import RunHistory


class CardWriter:
    """Writes the card of one run, be it a training or an evaluation that leaves no model."""

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
        if self.spec.algo.trains:
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
            final, note = judge_win_rate(self.evaluator.rows, initial, final, self.spec.eval)
        self.recorder.notes.append(note)
        if METRIC in final.metrics:
            metrics = {f"eval/{METRIC}": final.metrics[METRIC]}
            self.recorder.tracker.log(metrics, step)
            self.recorder.metrics_at[step] |= metrics
        return final

    def _note_checkpoints(self, step: int) -> None:
        """Tell the tracker of the final model, and people which checkpoint is the best."""
        recorder = self.recorder
        recorder.tracker.checkpoint(step, self.folder / MODEL, recorder.metrics_at[step])
        if best := recorder.checkpoints.keep():
            path = self.folder / CHECKPOINTS / best.folder
            value = f"{best.metric} {best.value:.4g} at step {best.step}"
            recorder.tracker.tag("best", f"{value}: {path.absolute()}")
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
            **{part: getattr(spec, part).name for part in ("algo", "model", "data", "reward")},
            seed=spec.seed,
            folder=str(self.folder),
            open=tracker.ui_command or f"open {self.folder / 'card.html'}",
        )
        card = build_card(
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
        # No run trained the model by this reward: no training is to be warned of.
        untrained = isinstance(spec.algo, UntrainedAlgo) and not spec.algo.warns_of_training
        return replace(card, guards=[]) if untrained else card

    def write(self, card: Card, final: Evaluation | None) -> None:
        """Leave what came of the run in its folder and in MLflow."""
        folder, tracker = self.folder, self.recorder.tracker
        card.to_json(folder / CARD)
        text = redacted((folder / CONFIG).read_text(encoding="utf-8"))
        sides = {"before": self.evaluator.initial, "after": final}
        write_card_page(card, folder / CARD_PAGE, tracker.history, text, **sides)
        for name in (CARD, CARD_PAGE):
            tracker.artifact(folder / name)
        config = read_config(folder / CONFIG)
        tracker.note(note_at_end(config, card, folder), alone=True)
        if final is None or not self.spec.algo.trains:
            return
        history = RunHistory.read(folder / SPOOL)
        weights = Weights(self.monitor.last_step, adapter=is_adapter(folder / MODEL))
        tags = history.start["tags"] if history else {}
        model_card(config, card, tags, weights).save(folder / MODEL / NAME)
        if self.spec.tracking.log_model:
            tracker.artifact(folder / MODEL)
