"""Answers that the policy samples to many prompts, kept on the disk as they come.

Each batch of prompts is seeded by its place, whatever was sampled before it: a run that was killed
goes on behind the last batch that is on the disk, with the same bits as if it had never stopped.
Every process samples the same, and the first one writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from rlexp.models.policy import Policy
from rlexp.runner.parts import RunParts
from rlexp.runtime.collective import broadcast, compute_on_first
from rlexp.runtime.device import is_main_process
from rlexp.runtime.files import write_atomically
from rlexp.scoring import Scorer
from rlexp.spec.policy import Completion
from rlexp.spec.reward import Text, Value
from rlexp.spec.thinking import Thought

Answers = list[list[Completion]]
"""Those to each prompt."""
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Drawing:
    """How answers are drawn."""

    completions: int
    """A prompt."""
    max_new_tokens: int
    temperature: float
    top_p: float = 1.0


class AnswerSampler:
    """Samples answers of one policy, and asks the run's reward about them."""

    def __init__(self, parts: RunParts, policy: Policy, scorer: Scorer, drawing: Drawing) -> None:
        self.spec, self.folder, self.recorder = parts.spec, parts.folder, parts.recorder
        self.policy, self.scorer, self.drawing = policy, scorer, drawing

    def complete(self, prompts: Sequence[Text], name: str) -> Answers:
        """Return the answers to each prompt; `name` tells their draft from the run's others."""
        drawing, size = self.drawing, self.spec.eval.batch_size
        chunk = max(1, size // drawing.completions)
        draft = self.draft(name)
        answers: Answers = broadcast(draft.read(chunk) if is_main_process() else [])
        with self.recorder.bar("sampling") as advance:
            for start in range(len(answers), len(prompts), chunk):
                advance(start, len(prompts), "prompts answered")
                sampled = self.policy.complete(
                    prompts[start : start + chunk],
                    completions=drawing.completions,
                    max_new_tokens=drawing.max_new_tokens,
                    temperature=drawing.temperature,
                    top_p=drawing.top_p,
                    seed=self.spec.seed + start * drawing.completions,
                    batch_size=size,
                )
                self.recorder.write_file(draft.path, lambda _, group=sampled: draft.append(group))
                answers += sampled
            advance(len(prompts), len(prompts), "prompts answered")
        return answers

    def rows_once(self, name: str, make: Callable[[], tuple[Rows, str]]) -> Rows:
        """Return rows that are made once for all attempts at a run, and kept in its folder.

        The spool tells when the file is whole, and the note that goes into the card.

        Args:
            name: of the file, and of the draft of its answers.
            make: gives the rows and the note; every process calls it.
        """
        file, recorder = self.folder / name, self.recorder
        events = recorder.earlier_events("sampled")
        notes = broadcast([event["note"] for event in events if event["file"] == name])
        if not notes:
            with recorder.phase("sampling"):
                rows, note = make()
            notes = [note]
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            recorder.write_file(file, lambda path: write_atomically(path, text))
            recorder.event("sampled", file=name, note=note)
            broadcast(None)  # the file is there
        recorder.write_file(self.draft(name).path, lambda path: path.unlink(missing_ok=True))
        recorder.notes.append(notes[-1])
        return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]

    def draft(self, name: str) -> AnswerDraft:
        """Return the file in which answers stand until rows are made of them."""
        return AnswerDraft(self.folder / f"{name}.draft")

    def score(
        self, prompts: list[Text], answers: list[Text], columns: dict[str, Any]
    ) -> list[Value]:
        """Return what the reward says of each answer; the first process asks it."""
        once, thinking = self.scorer.once, self.policy.thinking
        if thinking is not None:
            answers, _ = thinking.answers(prompts, answers)
        return compute_on_first(lambda: list(once(prompts, answers, columns).total))


@dataclass(frozen=True)
class AnswerDraft:
    """A file with the answers to a prompt a line, so far."""

    path: Path

    def append(self, group: Answers) -> None:
        """Add the answers to further prompts."""
        lines = [json.dumps(_to_json(answers), ensure_ascii=False) for answers in group]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def read(self, chunk: int) -> Answers:
        """Return what an earlier attempt has left, as far as whole batches of prompts go.

        What is behind these is cut off: a kill may have come in the middle of a line.
        """
        if not self.path.is_file():
            return []
        text = self.path.read_text(encoding="utf-8", errors="replace")
        lines = text.split("\n")[:-1]
        kept = lines[: len(lines) // chunk * chunk]
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        return [_from_json(json.loads(line)) for line in kept]


def _to_json(answers: Sequence[Completion]) -> dict[str, Any]:
    return {
        "prompt_ids": answers[0].prompt_ids,
        "answers": [
            [one.text, one.token_ids, one.ended, one.thought and astuple(one.thought)]
            for one in answers
        ],
    }


def _from_json(content: dict[str, Any]) -> list[Completion]:
    prompt_ids = content["prompt_ids"]
    return [
        Completion(text, prompt_ids, ids, ended, *(Thought(*one) for one in thought if one))
        for text, ids, ended, *thought in content["answers"]
    ]
