"""The first process's eyes and voice: it looks before, during and after training, and tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
    write_page,
)
from rlexp.evaluation.presentation import headline, verdicts
from rlexp.spec.run import RunSpec
from rlexp.terminal import Terminal
from rlexp.tracking import Tracker


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
        self.notes: list[str] = list(splits.notes)
        self.before: Evaluation | None = None
        self.policy: Any = None
        self.heldout: list[dict[str, Any]] = []
        self.metrics_at: dict[int, dict[str, float]] = {}

    @classmethod
    @contextmanager
    def open(cls, spec: RunSpec, folder: Path, splits: Any, parent: str | None) -> Iterator[Any]:
        """An observer; its run ends with the status that the block ends with."""
        with Tracker.open(spec, folder, parent=parent) as tracker:
            rows = len(splits.train) + len(splits.heldout)
            tracker.dataset(spec.data.name, splits.source, splits.digest, splits.kind, rows)
            observer = cls(spec, folder, splits, tracker)
            try:
                yield observer
            except Exception as error:
                observer.notes.append(f"The run failed: {error}")
                observer.write(observer.card("FAILED", None), None)
                raise

    def look(self, step: int, *, trained: bool) -> Evaluation:
        """Evaluate the policy on the held-out prompts and record what was found at `step`."""
        with self.clock.phase("evaluation"):
            found = self._evaluate(trained)
        metrics = {f"eval/{name}": value for name, value in found.metrics.items()}
        self.tracker.log(metrics, step)
        self.tracker.samples("samples", step, [_table_row(s) for s in found.samples])
        self.metrics_at[step] = metrics
        return found

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
        """The evaluation that everything later is compared with."""
        self.policy, self.heldout = policy, heldout
        what = "pairs" if self.spec.algo.head == "reward" else "prompts"
        self.terminal.say(f"{'before':12} {len(heldout[: self.spec.eval.prompts])} held-out {what}")
        self.before = self.look(0, trained=False)

    def look_during(self, step: int) -> None:
        """An evaluation in the middle of the training, which it leaves as it was."""
        self.look(step, trained=True)

    def checkpoint_saved(self, step: int, folder: Path) -> None:
        """Tell the tracker of a complete checkpoint."""
        if step < self.spec.train.max_steps:  # the last one is told of with the final metrics
            self.tracker.checkpoint(step, folder, self.metrics_at.get(step, {}))

    def look_after(self) -> Card:
        """The last evaluation, and the card that compares it with the first."""
        self.terminal.say(f"{'after':12} the same prompts")
        step = self.spec.train.max_steps
        after = self.look(step, trained=True)
        self.tracker.checkpoint(step, self.folder / "model", self.metrics_at[step])
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
        told = [f"**{headline(card)}**", *verdicts(card), *card.guards, *card.notes]
        kind = "CausalLM" if self.spec.algo.head == "language" else "SequenceClassification"
        how = [f"Load it: `AutoModelFor{kind}.from_pretrained('{self.folder / 'model'}')`"]
        self.tracker.note("\n\n".join([*told, *(how if after else [])]))
        if self.spec.tracking.log_model and after is not None:
            self.tracker.artifact(self.folder / "model")


def _table_row(sample: Sample) -> dict[str, Any]:
    """A sample as a row of MLflow's table."""
    found = asdict(sample)
    terms = {f"reward_{name}": value for name, value in found.pop("terms").items()}
    return {"reward": found.pop("reward"), **terms, **found}
