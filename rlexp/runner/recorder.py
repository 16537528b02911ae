"""The first process's eyes and voice: it looks before, during and after training, and tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from rlexp.cards.card import Card, Identity, build_card
from rlexp.cards.cost import Clock
from rlexp.cards.html import write_card_page
from rlexp.cards.mlflow_note import note_at_end, note_at_start
from rlexp.cards.model_card import NAME, Weights, model_card
from rlexp.cards.terminal import print_card
from rlexp.evaluation.judge_win_rate import check_judge_answers, judge_win_rate
from rlexp.evaluation.pairwise_accuracy import evaluate_ranking
from rlexp.evaluation.policy import evaluate
from rlexp.evaluation.results import Evaluation
from rlexp.evaluation.sample_rows import sample_row
from rlexp.evaluation.win_rate import win_rate
from rlexp.guards.monitor import GuardMonitor
from rlexp.rendering.progress import Terminal
from rlexp.runner.best_of_n import BestOfNBaseline
from rlexp.runner.checkpoint_retention import KeptCheckpoints
from rlexp.runner.judge_costs import JudgeUsage
from rlexp.scoring import Scorer
from rlexp.spec.errors import Problem, Pruned, UserError
from rlexp.spec.eval import EvalSpec
from rlexp.spec.files.model_folder import is_adapter
from rlexp.spec.run import RunSpec
from rlexp.sweep.trial_env import PRUNED, is_trial
from rlexp.tracking import Tracker
from rlexp.tracking.spool.history import RunHistory
from rlexp.tracking.spool.spool import SPOOL


class Observer:
    """Evaluates the policy, feeds the tracker, and writes the card.

    Attributes:
        clock: seconds of each phase.
        policy, heldout, scorer: what is evaluated, on which prompts, by whom; known once they are
            loaded.
    """

    def __init__(self, spec: RunSpec, folder: Path, splits: Any, tracker: Tracker) -> None:
        self.spec, self.folder, self.splits, self.tracker = spec, folder, splits, tracker
        self.terminal = Terminal()
        self.clock = Clock()
        if tracker.told:
            self.clock.go_on(tracker.told.phase_seconds, tracker.told.total_seconds)
        self.spending = JudgeUsage(tracker.history)
        self.checkpoints = KeptCheckpoints(spec.train, folder / "checkpoints", tracker)
        self.notes: list[str] = list(splits.notes)
        self.before: Evaluation | None = None
        self.policy: Any = None
        self.heldout: list[dict[str, Any]] = []
        self.scorer: Any = None
        self.metrics_at: dict[int, dict[str, float]] = {}
        self.watcher = GuardMonitor(spec, self)
        self.yardstick = BestOfNBaseline(spec, self)
        self.hopeless = False
        """Whether the run is a trial that its sweep's pruner has given up."""

    @staticmethod
    def words(folder: Path) -> str:
        """What the run's page says while it runs."""
        return note_at_start(config_in(folder), folder)

    @classmethod
    @contextmanager
    def open(cls, spec: RunSpec, folder: Path, splits: Any, parent: str | None) -> Iterator[Any]:
        """An observer; its run ends with the status that the block ends with.

        Raises:
            UserError: a run that is to go on began with other data.
        """
        _same_data(RunHistory.read(folder / SPOOL), splits)
        with Tracker.open(spec, folder, description=cls.words(folder), parent=parent) as tracker:
            rows = len(splits.train) + len(splits.heldout)
            tracker.dataset(spec.data.name, splits.source, splits.digest, splits.kind, rows)
            observer = cls(spec, folder, splits, tracker)
            try:
                yield observer
            except Pruned as pruned:
                observer.give_up(pruned.step)
                raise
            except Exception as error:
                observer.notes.append(f"The run failed: {error}")
                observer.write(observer.card("FAILED", None), None)
                raise

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Take the time of the block; the spool has it too, in case the process is killed."""
        self.tracker.event("phase", name=name, begins=True)
        with self.clock.phase(name):
            yield
        self.tracker.event("phase", name=name, begins=False)

    def look(self, step: int, *, trained: bool) -> Evaluation:
        """Evaluate the policy on the held-out prompts and record what was found at `step`."""
        with self.phase("evaluation"):
            found = self.evaluate(step, self.spec.eval, trained=trained)
        found.to_json(self._evaluation_file(step))
        metrics = {f"eval/{name}": value for name, value in found.metrics.items()}
        self.tracker.log(metrics, step)
        self.tracker.samples("samples", step, [sample_row(s) for s in found.samples])
        self.metrics_at[step] = metrics
        return found

    def _evaluation_file(self, step: int) -> Path:
        return self.folder / "evaluations" / f"step-{step:06d}.json"

    def evaluate(self, step: int, spec: EvalSpec, *, trained: bool) -> Evaluation:
        """An evaluation that nobody is told of, as large as the spec says."""
        if self.spec.algo.head == "reward":
            return evaluate_ranking(self.policy, self.heldout, spec)
        return evaluate(
            self.policy,
            self.heldout,
            self.scorer.held_out(step),
            self.splits.texts,
            spec,
            trained=trained,
            grammatical=self.spec.data.grammatical,
        )

    def look_before(self, policy: Any, heldout: list[dict[str, Any]], scorer: Scorer) -> None:
        """The evaluation that everything later is compared with; once for all attempts."""
        self.policy, self.heldout, self.scorer = policy, heldout, scorer
        self.yardstick.check_columns()
        if (file := self._evaluation_file(0)).is_file():
            self.before = Evaluation.from_json(file)
            scorer.remember([sample.terms for sample in self.before.samples])
            self.yardstick.take()
            return
        what = "pairs" if self.spec.algo.head == "reward" else "prompts"
        self.terminal.say(f"{'before':12} {len(heldout[: self.spec.eval.prompts])} held-out {what}")
        self.before = self.look(0, trained=False)
        check_judge_answers(heldout, self.before, self.spec.eval)
        self.yardstick.take()

    def look_during(self, step: int) -> None:
        """An evaluation in the middle of the training, which it leaves as it was."""
        found = self.look(step, trained=True)
        if is_trial():
            from rlexp.sweep.trial import trial_here

            metrics = dict(self.metrics_at[step])
            if self.before and (won := win_rate(self.before, found)) is not None:
                metrics["eval/win_rate"] = won
            self.hopeless = trial_here().report(metrics, step)

    def give_up(self, step: int) -> None:
        """Leave the run as one that was pruned: recorded, without its checkpoints."""
        self.tracker.event(PRUNED, step=step)
        self.tracker.tag("state", "PRUNED")
        self.checkpoints.remove_all()
        self.notes.append(f"The trial was pruned at step {step}: others were better by then.")
        self.write(self.card("KILLED", None), None)

    def checkpoint_saved(self, step: int, folder: Path) -> None:
        """Tell the tracker of a complete checkpoint, and remove those that are not to be kept."""
        if step < self.spec.train.max_steps:  # the last one is told of with the final metrics
            self.tracker.checkpoint(step, folder, self.metrics_at.get(step, {}))
        self.checkpoints.keep()

    def look_after(self) -> Card:
        """The last evaluation, and the card that compares it with the first."""
        self.terminal.say(f"{'after':12} the same prompts")
        step = self.watcher.last_step
        after = self._judged(self.look(step, trained=True), step)
        self.tracker.checkpoint(step, self.folder / "model", self.metrics_at[step])
        if best := self.checkpoints.keep():
            place = self.folder / "checkpoints" / best.folder
            told = f"{best.metric} {best.value:.4g} at step {best.step}"
            self.tracker.tag("best", f"{told}: {place.absolute()}")
            self.notes.append(f"best checkpoint: {told} (checkpoints/{best.folder})")
        if self.watcher.stopped:
            self.notes.append(self.watcher.last_before(self.folder / "checkpoints"))
        card = self.card("FINISHED", after)
        self.write(card, after)
        self.terminal.console.print()
        print_card(card, self.terminal.console)
        return card

    def _judged(self, after: Evaluation, step: int) -> Evaluation:
        """The last evaluation with what `eval.judge` says of it."""
        if self.before is None or self.spec.eval.judge is None:
            return after
        with self.phase("judging"):
            win_rate, note = judge_win_rate(self.heldout, self.before, after, self.spec.eval)
        self.notes.append(note)
        metrics = {f"eval/{name}": value for name, value in win_rate.metrics.items()}
        self.tracker.log(metrics, step)
        self.metrics_at[step] |= metrics
        return win_rate.added_to(after)

    def card(self, status: str, after: Evaluation | None) -> Card:
        """What is known of the run; `after` is None for one that did not reach its end."""
        spec, tracker = self.spec, self.tracker
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
        cost = self.clock.cost(tokens=self._tokens())
        return build_card(
            identity,
            self.before,
            after,
            cost,
            notes=[*self.notes, *self.spending.notes()],
            firings=self.watcher.firings,
            guards=spec.guards,
            control=self.yardstick.control(self.before),
            frontier=self.yardstick.frontier(),
            columns=self.yardstick.columns(),
            resamples=spec.eval.bootstrap,
            seed=spec.eval.seed,
        )

    def _tokens(self) -> int | None:
        counted = [
            metrics["perf/tokens"]
            for _, metrics in self.tracker.history
            if "perf/tokens" in metrics
        ]
        return int(counted[-1]) if counted else None

    def write(self, card: Card, after: Evaluation | None) -> None:
        """Leave what came of the run in its folder and in MLflow."""
        self._leave(card, after)
        self.tracker.note(note_at_end(config_in(self.folder), card, self.folder), alone=True)
        if after is not None:
            self._write_model_card(card)
        if self.spec.tracking.log_model and after is not None:
            self.tracker.artifact(self.folder / "model")

    def _leave(self, card: Card, after: Evaluation | None) -> None:
        """Leave the card in the run's folder, for people and for programs."""
        card.to_json(self.folder / "card.json")
        config = (self.folder / "config.yaml").read_text(encoding="utf-8")
        history = self.tracker.history
        write_card_page(
            card, self.folder / "card.html", history, config, before=self.before, after=after
        )
        for name in ("card.json", "card.html"):
            self.tracker.artifact(self.folder / name)

    def _write_model_card(self, card: Card) -> None:
        told = RunHistory.read(self.folder / SPOOL)
        model, steps = self.folder / "model", self.watcher.last_step
        weights = Weights(steps, adapter=is_adapter(model))
        origin = told.start["tags"] if told else {}
        model_card(config_in(self.folder), card, origin, weights).save(model / NAME)


def config_in(folder: Path) -> dict[str, Any]:
    """The run's composed config."""
    return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))


def _same_data(told: RunHistory | None, splits: Any) -> None:
    if told is None or told.digest in (None, splits.digest):
        return
    got = f"{splits.source} with the digest {splits.digest[:8]}"
    want = f"the data that the run began with ({told.digest[:8]})"
    remedy = "Put the data back as they were, or start a new run."
    raise UserError(Problem("data", got, want, remedy))
