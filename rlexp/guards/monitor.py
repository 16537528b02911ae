"""The guards at work: what is watched while a run trains, and what follows when one fires.

The training's own answers and numbers are watched at every step, which costs next to nothing. A
small probe, an evaluation on a few held-out prompts, is taken every `guards.every` steps, and
sooner when the answers or the probe before were suspicious. A probe that comes near to reward
hacking is repeated with other random numbers, and the mean of the two counts.

Nothing here draws from the training's random numbers, and what decides is in the spool or in
`looks/`, so that a run that is resumed decides as if it had not stopped.
"""

from __future__ import annotations

import math
import shlex
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from rlexp.evaluation.metrics import is_probed, rollout_metrics
from rlexp.evaluation.policy import distinct
from rlexp.evaluation.results import Evaluation
from rlexp.guards import reward_hacking, truncation
from rlexp.guards.alert import ExampleSample, GuardAlert
from rlexp.guards.probes import Probe, Probes, takes_probes
from rlexp.guards.reward_hacking import LooksLike, Measure
from rlexp.guards.training_health import FEW, HEALTH, PROBE_GROUP, Finding, Series
from rlexp.runtime.checkpoints import complete_checkpoints
from rlexp.runtime.run_folder import LOOKS, step_file
from rlexp.spec.algo import RolloutAlgo
from rlexp.spec.judge import needs_rivals
from rlexp.spec.run import RunSpec
from rlexp.spec.text import Text, content_of, joined
from rlexp.tracking import Tracker
from rlexp.tracking.metric_names import tracked_metrics
from rlexp.tracking.spool.history import STOPPED

FIRED = "guard"
"""Event in the spool: a guard has fired."""
TRUNCATION = "truncation"
CHECKS_OF_STEPS = {**HEALTH, TRUNCATION: truncation.check_cut_share}
"""What each step is judged by, by guard."""
EVIDENCE = f"{PROBE_GROUP}evidence"
RESAMPLES = 20
"""Bootstrap resamples of a probe, whose intervals are not shown."""

Say = Callable[[str], None]
Tokenize = Callable[[Sequence[Text]], Sequence[Sequence[int]]]


class GuardMonitor:
    """Watches one run; `stopped` is the alert that ended this training, None while it goes on;
    `strategies` are cheap ones that the reward pays for, and whether an answer looks like one."""

    def __init__(
        self, spec: RunSpec, folder: Path, tracker: Tracker, notes: list[str], say: Say
    ) -> None:
        self.spec, self.guards = spec, spec.guards
        self.folder, self.tracker, self.notes, self.say = folder, tracker, notes, say
        self.tokenize: Tokenize | None = None
        self.series = Series()
        self.start: Evaluation | None = None
        self.stopped: GuardAlert | None = None
        events = tracker.told.events.get(FIRED, []) if tracker.told else []
        self._earlier = [GuardAlert.from_dict(event["firing"]) for event in events]
        self.strategies: Mapping[str, LooksLike] = {}
        self._fired: dict[str, GuardAlert] = {}
        self._last_probe = 0
        self._rollout: dict[str, list[float]] = defaultdict(list)

    @property
    def alerts(self) -> list[GuardAlert]:
        """Each guard's first alert by step; this attempt's come before those of earlier ones."""
        first = {alert.guard: alert for alert in reversed(self._earlier)} | self._fired
        return sorted(first.values(), key=lambda alert: alert.step)

    @property
    def last_step(self) -> int:
        """The step at which the training ends, or has been ended."""
        return self.stopped.step if self.stopped else self.spec.train.max_steps

    @property
    def reads_rollouts(self) -> bool:
        """Whether the training's own answers are read."""
        return bool(self.guards.answers) and "reward_hacking" in self.guards.watched()

    def begin(self, tokenize: Tokenize, initial: Evaluation | None = None) -> Probes:
        """Take the probe that all others are compared with, before training, and judge the answers
        of the `initial` evaluation by the length limit of the training's own.

        A run that began without guards and is resumed with them has none, and what compares with
        the start is left out. `tokenize` gives the token ids of texts, as the policy reads them.
        """
        self.tokenize = tokenize
        if initial is not None:
            self._check_limit(initial)
        if not takes_probes(self.spec):
            return
        if (file := self.folder / LOOKS / step_file(0)).is_file():
            self.start = Evaluation.from_json(file)
        elif max((step for step, _ in self.tracker.history), default=0) > 0:
            self.notes.append(
                "The run began without guards: those that compare with the start saw nothing."
            )
        else:
            self.start = yield self._probe(0, self.spec.eval.seed)
            self.start.to_json(file)
            self.tracker.log(_probe_metrics(self.start), 0)

    def _check_limit(self, initial: Evaluation) -> None:
        if not isinstance(self.spec.algo, RolloutAlgo) or not self._is_on(TRUNCATION):
            return
        limit = self.spec.algo.max_completion_length
        finding = truncation.cut_at_start(initial.samples, limit, self.guards)
        if finding and self.guards.action(TRUNCATION) == "warn":
            self._fire(TRUNCATION, 0, finding, [])
        elif finding:  # the first steps stop it, by their own answers: a run is no run without one
            self.say(f"! {finding.what}. {finding.remedy}.")

    def restore(self, step: int) -> None:
        """Take up what is known of the steps up to `step`, at which the training begins."""
        for at, metrics in self.tracker.history:
            if at <= step:
                self.series.add(at, metrics)
        known = [*self._fired.values(), *reversed(self._earlier)]
        self._fired = {alert.guard: alert for alert in known if alert.step <= step}
        probes = [at for at, _ in self.series.points.get(f"{PROBE_GROUP}length", [])]
        self._last_probe = probes[-1] if probes else step

    def on_rollout(
        self, prompts: Sequence[Text], completions: Sequence[Text], columns: Mapping[str, Any]
    ) -> None:
        """Read some of the training's answers, on their way to the reward.

        They are taken from all over the batch: those to one prompt stand together.
        """
        assert self.tokenize is not None  # the policy is loaded before it trains
        stride = max(1, len(completions) // self.guards.answers)
        chosen = range(0, len(completions), stride)
        texts = [_text(completions[index]) for index in chosen]
        openings = columns.get("opening") or [None] * len(completions)
        self._rollout["rollout/distinct_2"].append(distinct(self.tokenize(texts), 2))
        if (grammatical := self.spec.data.grammatical) is not None:
            pairs = zip(chosen, texts, strict=True)
            wholes = [joined(openings[index] or "", text) for index, text in pairs]
            self._rollout["rollout/grammatical"].append(fmean(map(grammatical, wholes)))

    def check_step(self, step: int, logs: Mapping[str, Any]) -> Probes:
        """Judge a step by what the trainer logs of it, and by a probe where one is due."""
        rollout = {name: fmean(values) for name, values in self._rollout.items()}
        self._rollout.clear()
        self.series.add(step, tracked_metrics(logs) | rollout)
        if rollout:
            self.tracker.log(rollout, step)
        if step < self.spec.train.max_steps and self._is_due(step):
            yield from self._check_probe(step)
        for guard, check in CHECKS_OF_STEPS.items():
            if self._is_on(guard) and (finding := check(self.series, self.guards)):
                self._fire(guard, step, finding, [])

    def _is_on(self, guard: str) -> bool:
        return guard in self.guards.watched() and guard not in self._fired

    def _is_due(self, step: int) -> bool:
        """Whether a probe is due: by the clock, or since something was suspicious."""
        if self.start is None:
            return False
        since = step - self._last_probe
        if since >= self.guards.every or not self._is_on("reward_hacking"):
            return since >= self.guards.every
        evidence = self.series.values(EVIDENCE)
        if evidence and since >= reward_hacking.steps_to_next_probe(evidence[-1], self.guards):
            return True
        start, now = _rollout_metrics(self.series.first), _rollout_metrics(self.series.last)
        return since >= FEW and reward_hacking.answers_are_suspicious(start, now, self.guards)

    def _check_probe(self, step: int) -> Probes:
        assert self.start is not None  # no probe is due without one to compare with
        # probe
        probe = yield self._probe(step, self.spec.eval.seed)
        measures = self._evidence(probe)
        evidence = reward_hacking.total_evidence(measures)
        # near the threshold once more, with other random numbers
        near = evidence >= reward_hacking.NEAR * self.guards.threshold
        repeated = evidence
        if near and self._is_on("reward_hacking"):
            second = yield self._probe(step, self.spec.eval.seed + 1)
            again = self._evidence(second)
            repeated = reward_hacking.total_evidence(again)
        pooled = (evidence + repeated) / 2
        # record
        metrics = _probe_metrics(probe) | {EVIDENCE: pooled}
        self.tracker.log(metrics, step)
        self.series.add(step, metrics)
        self._last_probe = step
        # judge
        if not self._is_on("reward_hacking") or pooled < self.guards.threshold:
            return
        if reward_hacking.has_lasted(self.series.points[EVIDENCE], self.guards):
            what = reward_hacking.format_evidence(self.start, probe, measures)
            finding = Finding(what, reward_hacking.CAUSE, reward_hacking.REMEDY)
            self._fire("reward_hacking", step, finding, reward_hacking.worst_samples(probe.samples))

    def _evidence(self, probe: Evaluation) -> list[Measure]:
        assert self.start is not None  # no probe is due without one to compare with
        terms = self.spec.reward.terms_by_name()
        weights = {name: term.weight.final for name, term in terms.items()}
        start, guards = self.start, self.guards
        return reward_hacking.evidence(start, probe, guards, weights, self.strategies)

    def _probe(self, step: int, seed: int) -> Probe:
        completions = 2 if needs_rivals(self.spec.reward) else 1
        prompts = len(self.start.samples) // completions if self.start else self.guards.prompts
        size = {"prompts": prompts, "completions": completions, "texts": self.guards.texts}
        changed = {**size, "seed": seed, "bootstrap": RESAMPLES}
        return Probe(step, self.spec.eval.model_copy(update=changed))

    def _fire(self, guard: str, step: int, finding: Finding, samples: list[ExampleSample]) -> None:
        action = self.guards.action(guard)
        assert action != "off"  # those are not asked
        alert = GuardAlert(guard, step, action, **vars(finding), samples=samples)
        self._fired[guard] = alert
        if action == "stop" and self.stopped is None:
            self.stopped = alert
        if not any((earlier.guard, earlier.step) == (guard, step) for earlier in self._earlier):
            self._record(alert)

    def _record(self, alert: GuardAlert) -> None:
        """Leave an event for the spool; a tag and a table, which people find in MLflow; a line."""
        tracker = self.tracker
        tracker.event(FIRED, firing=asdict(alert))
        tracker.tag(f"guard.{alert.guard}", f"step {alert.step}: {alert.what}")
        about = {"guard": alert.guard, "what": alert.what, "remedy": alert.remedy}
        rows = [{**vars(sample), **about} for sample in alert.samples] or [about]
        tracker.samples(f"guards/{alert.guard}", alert.step, rows)
        self.say(f"! {alert.sentence}")
        if alert.action == "stop":
            tracker.event(STOPPED, step=alert.step, guard=alert.guard)
            tracker.tag("stopped", f"{alert.guard} at step {alert.step}")

    def resume_hint(self, checkpoints: Path) -> str:
        """Return what a stopped run leaves to go on from, in words for the card."""
        assert self.stopped is not None
        complete = complete_checkpoints(checkpoints)
        kept = f"checkpoints/{complete[-1].name}" if complete else "none (train.checkpoint_every)"
        guard = self.stopped.guard
        return (
            f"stopped at step {self.stopped.step} of {self.spec.train.max_steps} by the guard "
            f"{guard}; the last checkpoint before it: {kept}. To go on from there all the same: "
            f"python -m rlexp resume {shlex.quote(str(self.folder))} guards.{guard}=warn"
        )


def _rollout_metrics(at: Callable[[str], float | None]) -> dict[str, float]:
    """Return what the training's answers tell at one of its ends."""
    metrics = {name: at(metric) for name, metric in rollout_metrics().items()}
    kl, entropy = at("rollout/kl"), at("rollout/entropy")
    if kl is not None and entropy is not None:  # together they are a cross-entropy
        metrics["reference_perplexity"] = math.exp(min(kl + entropy, 700.0))
    return {name: value for name, value in metrics.items() if value is not None}


def _probe_metrics(probe: Evaluation) -> dict[str, float]:
    metrics = probe.metrics.items()
    return {f"{PROBE_GROUP}{name}": value for name, value in metrics if is_probed(name)}


def _text(completion: Text) -> str:
    return completion if isinstance(completion, str) else content_of(completion[-1])
