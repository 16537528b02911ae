"""The line that a run begins with, where it learns from a reward: what cheap strategies earn.

The first process asks the reward, as in evaluations; the others wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from rlexp.data.load import Splits
from rlexp.data.prompt_templates import frame
from rlexp.probing.likeness import PaidStrategy, watched_strategies
from rlexp.probing.material import Material, material_of
from rlexp.probing.probe import BEFORE_TRAINING, probe, size_of
from rlexp.probing.report import probe_json, probe_line
from rlexp.probing.verdict import ProbeWarning, judge_probe
from rlexp.runtime.collective import compute_on_first
from rlexp.runtime.files import write_atomically
from rlexp.runtime.run_folder import PROBE
from rlexp.scoring.tokens import Tokenize
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.rows import rows_are_sampled
from rlexp.spec.run import RunSpec

PROBED = "probe"
"""Event in the spool: the reward was probed, with the strategies that pay."""


class ProbeRecorder(Protocol):
    """Keeps what a run is told."""

    notes: list[str]

    def phase(self, name: str) -> AbstractContextManager[None]: ...
    def say(self, text: str) -> None: ...
    def earlier_events(self, kind: str) -> Sequence[Mapping[str, Any]]: ...
    def event(self, kind: str, **fields: object) -> None: ...
    def write_file(self, file: Path, write: Callable[[Path], None]) -> None: ...


def probe_before_training(
    spec: RunSpec,
    folder: Path,
    splits: Splits,
    recorder: ProbeRecorder,
    chat: bool,
    end_token: str,
    tokenize: Tokenize | None = None,
) -> dict[str, Callable[[str, str], bool]]:
    """Say what cheap strategies earn from the prepared reward of a run that learns from it.

    Args:
        spec: the run.
        folder: the run's; `probe.json` is left there.
        splits: its data.
        recorder: of this process.
        chat: whether the policy's prompts are a chat.
        end_token: the policy's.
        tokenize: gives the policy's tokens of answers.

    Returns:
        For each strategy that pays, whether an answer to a prompt looks like it; none where nothing
        is probed.

    Raises:
        UserError: a strategy pays, or the references earn too little, and `scoring.probe` refuses.
    """
    learns = spec.algo.needs_reward or rows_are_sampled(spec.algo, spec.data)
    if spec.scoring.probe == "off" or not learns or not spec.reward.scores_anything:
        return {}

    def probe_once() -> list[dict[str, Any]]:
        events = recorder.earlier_events(PROBED)
        line, paid = (events[-1]["line"], events[-1]["paid"]) if events else probe_now()
        if line.startswith("!"):
            recorder.notes.append(f"probe of the reward: {line.removeprefix('! ')}")
        return paid

    def probe_now() -> tuple[str, list[dict[str, Any]]]:
        with recorder.phase("probe"):
            size = size_of(spec.reward, BEFORE_TRAINING)
            probed = probe(
                spec.reward,
                held_out_material(spec, splits, size.rows, chat, end_token),
                size.variants,
                tokenize=tokenize,
            )
        verdict = judge_probe(probed)
        line = probe_line(probed, verdict)
        recorder.say(f"{'reward':12} {line}")
        if spec.scoring.probe == "refuse" and verdict.warnings:
            raise refusal(spec.reward.name, verdict.warnings)
        paid = [strategy.to_dict() for strategy in watched_strategies(verdict)]
        content = json.dumps(probe_json(probed, verdict), ensure_ascii=False, indent=1)
        recorder.write_file(folder / PROBE, lambda file: write_atomically(file, content))
        recorder.event(PROBED, line=line, paid=paid)
        return line, paid

    strategies = map(PaidStrategy.from_dict, compute_on_first(probe_once))
    return {strategy.name: strategy.looks_like for strategy in strategies}


def held_out_material(
    spec: RunSpec, splits: Splits, count: int, chat: bool, end_token: str, source: str = ""
) -> Material:
    """Return the first held-out prompts that have a reference; or, where none has, the first ones.

    Args:
        spec: of the run; its template words the prompts.
        splits: the data.
        count: prompts, at most.
        chat, end_token: the policy's.
        source: of a mix, whose prompts alone are taken; empty takes all, in turn.
    """
    pairs = [
        pair
        for pair in zip(splits.heldout, splits.references, strict=True)
        if not source or spec.data.name_of(pair[0]) == source
    ]
    answered = [pair for pair in pairs if pair[1] is not None]
    chosen = (answered or pairs)[:count]
    rows, references = [row for row, _ in chosen], [reference for _, reference in chosen]
    prompts = [row["prompt"] for row in frame(rows, spec.data, chat)]
    tokens = spec.eval.max_completion_length
    return material_of(rows, prompts, references, spec.reward, tokens, end_token)


def refusal(reward: str, warnings: Sequence[ProbeWarning]) -> UserError:
    """Return the warnings as mistakes that keep a run from beginning."""
    want = "right answers that earn clearly more than cheap strategies"
    return UserError(
        Problem(
            "reward", f"{reward}: {warning.what}", want, f"{warning.remedy} Or: scoring.probe=warn"
        )
        for warning in warnings
    )
