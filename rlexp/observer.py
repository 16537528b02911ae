"""The first process's eyes and voice: it looks before, during and after training, and tells."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from rlexp.checkpoints import Best, best_of, complete_checkpoints
from rlexp.evaluation import (
    Card,
    Clock,
    Evaluation,
    Identity,
    Sample,
    build_card,
    evaluate,
    evaluate_ranking,
    print_card,
    win_rate,
    write_page,
)
from rlexp.evaluation.description import begun, ended
from rlexp.evaluation.model_card import NAME, Weights, model_card
from rlexp.spec.errors import Problem, Pruned, UserError
from rlexp.spec.run import RunSpec
from rlexp.spec.saved import is_adapter
from rlexp.spec.validation import nearest
from rlexp.sweep.membership import PRUNED, is_trial
from rlexp.terminal import Terminal
from rlexp.tracking import Tracker
from rlexp.tracking.spool import SPOOL
from rlexp.tracking.told import Told


class Observer:
    """Evaluates the policy, feeds the tracker, and writes the card.

    Attributes:
        clock: seconds of each phase.
        policy, heldout: what is evaluated and on which prompts; known once they are loaded.
    """

    def __init__(self, spec: RunSpec, folder: Path, splits: Any, tracker: Tracker) -> None:
        self.spec, self.folder, self.splits, self.tracker = spec, folder, splits, tracker
        self.terminal = Terminal()
        self.clock = Clock()
        if tracker.told:
            self.clock.go_on(tracker.told.phase_seconds, tracker.told.total_seconds)
        self.notes: list[str] = list(splits.notes)
        self.before: Evaluation | None = None
        self.policy: Any = None
        self.heldout: list[dict[str, Any]] = []
        self.metrics_at: dict[int, dict[str, float]] = {}
        self.hopeless = False
        """Whether the run is a trial that its sweep's pruner has given up."""

    @classmethod
    @contextmanager
    def open(cls, spec: RunSpec, folder: Path, splits: Any, parent: str | None) -> Iterator[Any]:
        """An observer; its run ends with the status that the block ends with.

        Raises:
            UserError: a run that is to go on began with other data.
        """
        _same_data(Told.read(folder / SPOOL), splits)
        words = begun(_config_in(folder), folder)
        with Tracker.open(spec, folder, description=words, parent=parent) as tracker:
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
            found = self._evaluate(trained)
        found.to_json(self._evaluation_file(step))
        metrics = {f"eval/{name}": value for name, value in found.metrics.items()}
        self.tracker.log(metrics, step)
        self.tracker.samples("samples", step, [_table_row(s) for s in found.samples])
        self.metrics_at[step] = metrics
        return found

    def _evaluation_file(self, step: int) -> Path:
        return self.folder / "evaluations" / f"step-{step:06d}.json"

    def _evaluate(self, trained: bool) -> Evaluation:
        if self.spec.algo.head == "reward":
            return evaluate_ranking(self.policy, self.heldout, self.spec.eval)
        return evaluate(
            self.policy,
            self.heldout,
            self.spec.reward,
            self.splits.texts,
            self.spec.eval,
            trained=trained,
            grammatical=self.spec.data.grammatical,
        )

    def look_before(self, policy: Any, heldout: list[dict[str, Any]]) -> None:
        """The evaluation that everything later is compared with; once for all attempts."""
        self.policy, self.heldout = policy, heldout
        if (file := self._evaluation_file(0)).is_file():
            self.before = Evaluation.from_json(file)
            return
        what = "pairs" if self.spec.algo.head == "reward" else "prompts"
        self.terminal.say(f"{'before':12} {len(heldout[: self.spec.eval.prompts])} held-out {what}")
        self.before = self.look(0, trained=False)

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
        checkpoints = self.folder / "checkpoints"
        self.tracker.event(PRUNED, step=step)
        self.tracker.tag("state", "PRUNED")
        for checkpoint in complete_checkpoints(checkpoints):
            self.tracker.removed(checkpoint)
        if checkpoints.is_dir():
            shutil.rmtree(checkpoints)
        self.notes.append(f"The trial was pruned at step {step}: others were better by then.")
        self.write(self.card("KILLED", None), None)

    def checkpoint_saved(self, step: int, folder: Path) -> None:
        """Tell the tracker of a complete checkpoint, and remove those that are not to be kept."""
        if step < self.spec.train.max_steps:  # the last one is told of with the final metrics
            self.tracker.checkpoint(step, folder, self.metrics_at.get(step, {}))
        self.keep_checkpoints()

    def keep_checkpoints(self) -> Best | None:
        """Remove all checkpoints but the newest ones and the best; which the best is."""
        train, folder = self.spec.train, self.folder / "checkpoints"
        found = complete_checkpoints(folder)
        best = None
        if (metric := train.best_metric) is not None:
            history = self.tracker.history
            values = {step: metrics[metric] for step, metrics in history if metric in metrics}
            best = best_of(found, metric, values, train.best_mode)
        for old in found[: -train.keep_checkpoints]:
            if best is None or old.name != best.folder:
                shutil.rmtree(old)
                self.tracker.removed(old)
        if best is not None:
            best.write(folder)
        return best

    def check_best_metric(self) -> None:
        """Stop a run whose `train.best_metric` is nothing that it tracks.

        Raises:
            UserError: with the nearest name among the metrics so far.
        """
        metric = self.spec.train.best_metric
        known = sorted({name for _, metrics in self.tracker.history for name in metrics})
        if metric is None or metric in known:
            return
        near = nearest(metric, known)
        remedy = f"Did you mean {near}?" if near else ""
        raise UserError(Problem("train.best_metric", metric, f"one of {', '.join(known)}", remedy))

    def look_after(self) -> Card:
        """The last evaluation, and the card that compares it with the first."""
        self.terminal.say(f"{'after':12} the same prompts")
        step = self.spec.train.max_steps
        after = self.look(step, trained=True)
        self.tracker.checkpoint(step, self.folder / "model", self.metrics_at[step])
        if best := self.keep_checkpoints():
            place = self.folder / "checkpoints" / best.folder
            told = f"{best.metric} {best.value:.4g} at step {best.step}"
            self.tracker.tag("best", f"{told}: {place.absolute()}")
            self.notes.append(f"best checkpoint: {told} (checkpoints/{best.folder})")
        card = self.card("FINISHED", after)
        self.write(card, after)
        self.terminal.console.print()
        print_card(card, self.terminal.console)
        return card

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
            notes=self.notes,
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
        """Leave the card in the run's folder, for people and for programs."""
        card.to_json(self.folder / "card.json")
        config = (self.folder / "config.yaml").read_text(encoding="utf-8")
        history = self.tracker.history
        write_page(
            card, self.folder / "card.html", history, config, before=self.before, after=after
        )
        for name in ("card.json", "card.html"):
            self.tracker.artifact(self.folder / name)
        self.tracker.note(ended(_config_in(self.folder), card, self.folder), alone=True)
        if after is not None:
            self._write_model_card(card)
        if self.spec.tracking.log_model and after is not None:
            self.tracker.artifact(self.folder / "model")

    def _write_model_card(self, card: Card) -> None:
        told = Told.read(self.folder / SPOOL)
        model, steps = self.folder / "model", self.spec.train.max_steps
        weights = Weights(steps, adapter=is_adapter(model))
        origin = told.start["tags"] if told else {}
        model_card(_config_in(self.folder), card, origin, weights).save(model / NAME)


def _config_in(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))


def _same_data(told: Told | None, splits: Any) -> None:
    if told is None or told.digest in (None, splits.digest):
        return
    got = f"{splits.source} with the digest {splits.digest[:8]}"
    want = f"the data that the run began with ({told.digest[:8]})"
    remedy = "Put the data back as they were, or start a new run."
    raise UserError(Problem("data", got, want, remedy))


def _table_row(sample: Sample) -> dict[str, Any]:
    """A sample as a row of MLflow's table."""
    found = asdict(sample)
    terms = {f"reward_{name}": value for name, value in found.pop("terms").items()}
    return {"reward": found.pop("reward"), **terms, **found}
