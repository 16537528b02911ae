"""The guards at work: what is looked at while a run trains, and what follows when one fires.

The training's own answers and numbers are watched at every step, which costs next to nothing. A
small look at held-out prompts is taken every `guards.every` steps, and sooner when the answers or
the look before were suspicious. A look that comes near to reward hacking is repeated with other
random numbers, and the mean of the two counts.

Nothing here draws from the training's random numbers, and what decides is in the spool or in
`looks/`, so that a run that goes on decides as if it had not stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rlexp.evaluation.policy import distinct
from rlexp.evaluation.results import Evaluation
from rlexp.guards import reward_hacking
from rlexp.guards.alert import ExampleSample, GuardAlert
from rlexp.guards.training_health import FEW, HEALTH, LOOK, Finding, Series
from rlexp.runtime.checkpoints import complete_checkpoints
from rlexp.spec.eval import EvalSpec
from rlexp.spec.judge import needs_rivals
from rlexp.spec.run import RunSpec
from rlexp.spec.text import Text, content_of, joined
from rlexp.tracking.metric_names import tracked_metrics
from rlexp.tracking.spool.history import STOPPED

FIRED = "guard"
"""Event in the spool: a guard has fired."""
OF_ANSWERS = {
    "grammatical": "rollout/grammatical",
    "distinct_2": "rollout/distinct_2",
    "length": "rollout/length",
}
OF_LOOKS = (
    *("reward", "kl", "grammatical", "length", "distinct_2"),
    *("perplexity", "reference_perplexity"),
)
EVIDENCE = f"{LOOK}evidence"
RESAMPLES = 20
"""Of a look's intervals, which nobody reads."""


class GuardMonitor:
    """Watches one run, in its first process.

    Args:
        spec: the run.
        observer: evaluates, records and speaks.

    Attributes:
        firings: of all attempts at the run, by step.
        stopped: the firing that ended this training; None while it goes on.
    """

    def __init__(self, spec: RunSpec, observer: Any) -> None:
        self.spec, self.guards, self.observer = spec, spec.guards, observer
        self.series = Series()
        self.start: Evaluation | None = None
        self.stopped: GuardAlert | None = None
        told = observer.tracker.told.events.get(FIRED, []) if observer.tracker.told else []
        self._told = [GuardAlert.from_dict(event["firing"]) for event in told]
        self._fired: dict[str, GuardAlert] = {}
        self._looked = 0
        self._heard: dict[str, list[float]] = {}

    @property
    def firings(self) -> list[GuardAlert]:
        """Each guard's first firing; what this attempt saw comes before what others told."""
        found = {firing.guard: firing for firing in reversed(self._told)} | self._fired
        return sorted(found.values(), key=lambda firing: firing.step)

    @property
    def last_step(self) -> int:
        """The step at which the training ends, or has been ended."""
        return self.stopped.step if self.stopped else self.spec.train.max_steps

    @property
    def looks_at_all(self) -> bool:
        """Whether anything is watched that needs held-out prompts."""
        needed = {"reward_hacking", "kl_budget", "forgetting", "collapse"}
        return self.spec.algo.head == "language" and bool(needed & set(self.guards.watched()))

    @property
    def hears(self) -> bool:
        """Whether the training's own answers are read."""
        return bool(self.guards.answers) and "reward_hacking" in self.guards.watched()

    def begin(self) -> None:
        """The look that all others are compared with, before training.

        A run that began without guards and goes on with them has none, and what compares with the
        start is left out.
        """
        if not self.looks_at_all:
            return
        if (file := self._file(0)).is_file():
            self.start = Evaluation.from_json(file)
        elif max((at for at, _ in self.observer.tracker.history), default=0) > 0:
            self.observer.notes.append(
                "The run began without guards: those that compare with the start saw nothing."
            )
        else:
            self.start = self._look(0, self.spec.eval.seed)
            self.start.to_json(file)
            self.observer.tracker.log(_logged(self.start), 0)

    def go_on(self, step: int) -> None:
        """Take up what is known of the steps up to `step`, at which the training begins."""
        for at, metrics in self.observer.tracker.history:
            if at <= step:
                self.series.add(at, metrics)
        self._fired = {each.guard: each for each in reversed(self._told) if each.step <= step}
        looks = [at for at, _ in self.series.points.get(f"{LOOK}length", [])]
        self._looked = looks[-1] if looks else step

    def hear(
        self, prompts: Sequence[Text], completions: Sequence[Text], columns: Mapping[str, Any]
    ) -> None:
        """Answers of the training, on their way to the reward; some are read.

        They are taken from all over the batch: those to one prompt stand together.
        """
        stride = max(1, len(completions) // self.guards.answers)
        chosen = range(0, len(completions), stride)
        texts = [_text(completions[i]) for i in chosen]
        openings = columns.get("opening") or [None] * len(completions)
        tokens = self.observer.policy.tokenizer(texts)["input_ids"]
        self._hear("rollout/distinct_2", distinct(tokens, 2))
        if (grammatical := self.spec.data.grammatical) is not None:
            pairs = zip(chosen, texts, strict=True)
            wholes = [joined(openings[i] or "", text) for i, text in pairs]
            self._hear("rollout/grammatical", fmean(map(grammatical, wholes)))

    def _hear(self, name: str, value: float) -> None:
        self._heard.setdefault(name, []).append(value)

    def after_step(self, step: int, logs: Mapping[str, Any]) -> None:
        """Judge a step by what the trainer logs of it; look where that is due."""
        heard = {name: fmean(values) for name, values in self._heard.items()}
        self._heard.clear()
        self.series.add(step, tracked_metrics(logs) | heard)
        if heard:
            self.observer.tracker.log(heard, step)
        if step < self.spec.train.max_steps and self._is_due(step):
            self._look_at(step)
        for guard, check in HEALTH.items():
            if self._is_on(guard) and (seen := check(self.series, self.guards)):
                self._fire(guard, step, seen, [])

    def _is_on(self, guard: str) -> bool:
        return guard in self.guards.watched() and guard not in self._fired

    def _is_due(self, step: int) -> bool:
        if self.start is None:
            return False
        since = step - self._looked
        if since >= self.guards.every or not self._is_on("reward_hacking"):
            return since >= self.guards.every
        evidence = self.series.values(EVIDENCE)
        if evidence and since >= reward_hacking.wait(evidence[-1], self.guards):
            return True
        return since >= FEW and self._answers_are_suspicious()

    def _answers_are_suspicious(self) -> bool:
        start, now = _of_answers(self.series.first), _of_answers(self.series.last)
        return reward_hacking.answers_are_suspicious(start, now, self.guards)

    def _look_at(self, step: int) -> None:
        assert self.start is not None  # no look is due without one to compare with
        found = self._look(step, self.spec.eval.seed)
        terms = self.spec.reward.terms_by_name()
        weights = {name: term.weight.final for name, term in terms.items()}
        measures = reward_hacking.evidence(self.start, found, self.guards, weights)
        near = reward_hacking.total_evidence(measures) >= reward_hacking.NEAR * self.guards.together
        again = measures
        if near and self._is_on("reward_hacking"):
            other = self._look(step, self.spec.eval.seed + 1)
            again = reward_hacking.evidence(self.start, other, self.guards, weights)
        pooled = (
            reward_hacking.total_evidence(measures) + reward_hacking.total_evidence(again)
        ) / 2
        metrics = _logged(found) | {EVIDENCE: pooled}
        self.observer.tracker.log(metrics, step)
        self.series.add(step, metrics)
        self._looked = step
        looks = self.series.points[EVIDENCE]
        if not self._is_on("reward_hacking") or pooled < self.guards.together:
            return
        if reward_hacking.has_lasted(looks, self.guards):
            words = reward_hacking.format_evidence(self.start, found, measures)
            seen = Finding(words, reward_hacking.CAUSE, reward_hacking.REMEDY)
            self._fire("reward_hacking", step, seen, reward_hacking.telling(found.samples))

    def _look(self, step: int, seed: int) -> Evaluation:
        completions = 2 if needs_rivals(self.spec.reward) else 1
        prompts = len(self.start.samples) // completions if self.start else self.guards.prompts
        spec: EvalSpec = self.spec.eval.model_copy(
            update={
                "prompts": prompts,
                "completions": completions,
                "texts": self.guards.texts,
                "seed": seed,
                "bootstrap": RESAMPLES,
            }
        )
        with self.observer.phase("guards"):
            return self.observer.evaluate(step, spec, trained=step > 0)

    def _fire(self, guard: str, step: int, seen: Finding, samples: list[ExampleSample]) -> None:
        action = self.guards.action(guard)
        assert action != "off"  # those are not asked
        firing = GuardAlert(guard, step, action, seen.what, seen.cause, seen.remedy, samples)
        self._fired[guard] = firing
        if action == "stop" and self.stopped is None:
            self.stopped = firing
        if not any((each.guard, each.step) == (guard, step) for each in self._told):
            self._tell(firing)

    def _tell(self, firing: GuardAlert) -> None:
        """An event for the spool; a tag and a table, which people find in MLflow; and a line."""
        tracker = self.observer.tracker
        tracker.event(FIRED, firing=firing.to_dict())
        tracker.tag(f"guard.{firing.guard}", f"step {firing.step}: {firing.what}")
        about = {"guard": firing.guard, "what": firing.what, "remedy": firing.remedy}
        rows = [{**vars(each), **about} for each in firing.samples] or [about]
        tracker.samples(f"guards/{firing.guard}", firing.step, rows)
        self.observer.terminal.say(f"! {firing.sentence}")
        if firing.action == "stop":
            tracker.event(STOPPED, step=firing.step, guard=firing.guard)
            tracker.tag("stopped", f"{firing.guard} at step {firing.step}")

    def last_before(self, checkpoints: Path) -> str:
        """What a stopped run leaves to go on from, in words for the card."""
        assert self.stopped is not None
        found = complete_checkpoints(checkpoints)
        kept = f"checkpoints/{found[-1].name}" if found else "none (train.checkpoint_every)"
        guard = self.stopped.guard
        return (
            f"stopped at step {self.stopped.step} of {self.spec.train.max_steps} by the guard "
            f"{guard}; the last checkpoint before it: {kept}. To go on from there all the same: "
            f"python -m rlexp resume {self.observer.folder} guards.{guard}=warn"
        )

    def _file(self, step: int) -> Path:
        return self.observer.folder / "looks" / f"step-{step:06d}.json"


def _of_answers(at: Callable[[str], float | None]) -> dict[str, float]:
    """What the training's answers tell at one of its ends."""
    told = {name: at(metric) for name, metric in OF_ANSWERS.items()}
    kl, entropy = at("rollout/kl"), at("rollout/entropy")
    if kl is not None and entropy is not None:  # together they are a cross-entropy
        told["reference_perplexity"] = math.exp(min(kl + entropy, 700.0))
    return {name: value for name, value in told.items() if value is not None}


def _logged(look: Evaluation) -> dict[str, float]:
    names = [name for name in look.metrics if name in OF_LOOKS or name.startswith("gold_")]
    return {f"{LOOK}{name}": look.metrics[name] for name in names}


def _text(completion: Text) -> str:
    return completion if isinstance(completion, str) else content_of(completion[-1])
