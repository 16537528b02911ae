"""Rows as examples of a trainer: the ids that it gets of each, and which of them it learns.

How a row becomes ids is TRL's to say, and each of its trainers says it otherwise; the formats here
follow them (`RowFormat` names them, `AlgoSpec.row_format` says which is an algorithm's). The tests
compare them with what the trainers' own data loaders give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rlexp.data.parsing.records import Row
from rlexp.data.rendering.encoding import Rendered, Renderer, TemplateRefusal, common_prefix
from rlexp.spec.algo import RowFormat
from rlexp.spec.text import Text


@dataclass(frozen=True)
class Cut:
    """Where a trainer cuts sequences."""

    max_length: int | None
    """Most tokens of prompt and answer; None cuts nothing."""
    keeps_end: bool = False
    """Whether the beginning is cut off instead of the end."""
    learns_prompt: bool = False
    """Whether the prompt's tokens are learnt as well."""

    def of(self, ids: list[int], start: int) -> tuple[list[int], list[bool]]:
        """Return what is left of a sequence, and which of its tokens are learnt.

        Args:
            ids: of the whole sequence.
            start: tokens before the answer.
        """
        learnt = [self.learns_prompt or place >= start for place in range(len(ids))]
        if self.max_length is None:
            return ids, learnt
        kept = slice(-self.max_length, None) if self.keeps_end else slice(self.max_length)
        return ids[kept], learnt[kept]


@dataclass(frozen=True)
class TokenSequence:
    """One sequence that the model reads."""

    column: str
    """Of the row's answer in it: completion, chosen or rejected; prompt where there is none."""
    text: str
    """As it was tokenized, with all that the template adds."""
    ids: list[int]
    """As the trainer gets them: cut."""
    learnt: list[bool]
    """Of each id, whether the loss looks at it."""
    start: int
    """Tokens before the answer."""
    whole: int
    """Tokens before cutting."""

    @property
    def answer_length(self) -> int:
        """Tokens of the answer, before cutting."""
        return self.whole - self.start

    @property
    def is_cut(self) -> bool:
        return len(self.ids) < self.whole


@dataclass(frozen=True)
class TrainingExample:
    """A row as its trainer gets it."""

    number: int
    """Of the row, from 0."""
    row: Row
    prompt: Rendered
    """The prompt as the model reads it before it writes an answer."""
    sequences: tuple[TokenSequence, ...]
    kept: bool
    """Whether something of each answer is left to learn from."""

    @property
    def lost_prompt(self) -> list[int]:
        """The prompt's last ids, where they are no part of the sequences that are learnt from."""
        starts = [sequence.start for sequence in self.sequences]
        return self.prompt.ids[min(starts) :] if starts else []


@dataclass(frozen=True)
class RefusedRow:
    """A row that the template does not take."""

    number: int
    reason: str


Outcome = TrainingExample | RefusedRow
Builder = Callable[[list[Row], Renderer, Cut], list[Outcome]]


def examples_of(
    rows: Sequence[Row], row_format: RowFormat, renderer: Renderer, cut: Cut
) -> list[Outcome]:
    """Return each row as its trainer gets it, or why the template does not take it.

    Args:
        rows: framed, of the kind that the format is for.
        row_format: the trainer's.
        renderer: writes and tokenizes them.
        cut: where sequences end.
    """
    return _BUILDERS[row_format](list(rows), renderer, cut)


def _prompts(rows: list[Row], renderer: Renderer, cut: Cut, *, special: bool) -> list[Outcome]:
    prompts = [row["prompt"] for row in rows]
    rendered = renderer.render(prompts, generation_prompt=True, special_tokens=special)
    return [
        RefusedRow(number, str(prompt))
        if isinstance(prompt, TemplateRefusal)
        else TrainingExample(number, row, prompt, (_prompt_sequence(prompt),), kept=True)
        for number, (row, prompt) in enumerate(zip(rows, rendered, strict=True))
    ]


def _prompt_sequence(prompt: Rendered) -> TokenSequence:
    length = len(prompt.ids)
    return TokenSequence("prompt", prompt.text, prompt.ids, [False] * length, length, length)


def _answered(
    rows: list[Row],
    renderer: Renderer,
    cut: Cut,
    *,
    columns: tuple[str, ...],
    keeps: Callable[[TokenSequence], bool],
) -> list[Outcome]:
    """Rows with answers; those of pairs begin where the first of the two leaves the prompt."""
    prompts = _rendered_prompts(rows, renderer)
    eos = renderer.tokenizer.eos_token
    wholes = {
        column: renderer.render(
            [_with_answer(row["prompt"], row[column], eos) for row in rows], generation_prompt=False
        )
        for column in columns
    }
    outcomes: list[Outcome] = []
    for number, row in enumerate(rows):
        parts = [prompts[number], *(wholes[column][number] for column in columns)]
        refused = next((part for part in parts if isinstance(part, TemplateRefusal)), None)
        if refused is not None:
            outcomes.append(RefusedRow(number, str(refused)))
            continue
        prompt, *texts = [part for part in parts if isinstance(part, Rendered)]
        start = min(common_prefix(prompt.ids, text.ids) for text in texts)
        sequences = tuple(
            TokenSequence(column, text.text, *cut.of(text.ids, start), start, len(text.ids))
            for column, text in zip(columns, texts, strict=True)
        )
        outcomes.append(TrainingExample(number, row, prompt, sequences, all(map(keeps, sequences))))
    return outcomes


def _rendered_prompts(rows: list[Row], renderer: Renderer) -> list[Rendered | TemplateRefusal]:
    """Return the prompts; those of pairs that share none are empty, which no template takes."""
    rendered = renderer.render([row["prompt"] or "" for row in rows], generation_prompt=True)
    empty = Rendered("", [])
    return [prompt if row["prompt"] else empty for row, prompt in zip(rows, rendered, strict=True)]


def _with_answer(prompt: Text, answer: Text, eos: str) -> Text:
    if isinstance(prompt, str) and isinstance(answer, str):
        return prompt + answer + ("" if answer.endswith(eos) else eos)
    return [*(prompt or ()), *answer]  # pyright: ignore[reportReturnType]


def _joined_pairs(rows: list[Row], renderer: Renderer, cut: Cut) -> list[Outcome]:
    """ORPOTrainer and CPOTrainer: answers are cut, prompts never; no row is dropped.

    An answer of which nothing is left makes their losses NaN: such a row is not kept.
    """
    outcomes: list[Outcome] = []
    for number, row in enumerate(rows):
        try:
            outcomes.append(_joined_pair(number, row, renderer, cut))
        except TemplateRefusal as refusal:
            outcomes.append(RefusedRow(number, str(refusal)))
    return outcomes


def _joined_pair(number: int, row: Row, renderer: Renderer, cut: Cut) -> TrainingExample:
    asked, answers = row["prompt"], [row[column] for column in PAIR]
    if not isinstance(asked, str):
        wholes = [
            renderer.template_text([*asked, *answer], generation_prompt=False) for answer in answers
        ]
        asked = full_prompt = renderer.template_text(asked, generation_prompt=True)
        for whole in wholes:
            asked = asked[: common_prefix(asked, whole)]
        answers = [whole[len(asked) :] for whole in wholes]
    else:
        full_prompt = asked
    ids = renderer.tokenize([asked, *(asked + answer for answer in answers)], bare=True)
    sequences = [
        _joined_sequence(column, asked + answer, ids[0], whole, renderer, cut)
        for column, answer, whole in zip(PAIR, answers, ids[1:], strict=True)
    ]
    prompt = renderer.tokenize([full_prompt], bare=True)[0]
    bos = renderer.tokenizer.bos_token_id
    if bos is not None and prompt[:1] != [bos]:
        prompt = [bos, *prompt]
    kept = all(any(sequence.learnt) for sequence in sequences)
    return TrainingExample(number, row, Rendered(full_prompt, prompt), tuple(sequences), kept)


def _joined_sequence(
    column: str, text: str, prompt: list[int], whole: list[int], renderer: Renderer, cut: Cut
) -> TokenSequence:
    tokenizer = renderer.tokenizer
    # the last token of the prompt may have merged with the answer's first
    start = len(prompt) if whole[: len(prompt)] == prompt else len(prompt) - 1
    before, answer = whole[:start], whole[start:]
    if tokenizer.bos_token_id is not None and before[:1] != [tokenizer.bos_token_id]:
        before = [tokenizer.bos_token_id, *before]
    if answer[-1:] != [tokenizer.eos_token_id]:
        answer = [*answer, tokenizer.eos_token_id]
    length = len(before) + len(answer)
    if cut.max_length is not None and length > cut.max_length:
        answer = answer[: max(0, cut.max_length - len(before))]
    learnt = [False] * len(before) + [True] * len(answer)
    return TokenSequence(column, text, before + answer, learnt, len(before), length)


def _learns(sequence: TokenSequence) -> bool:
    return any(sequence.learnt)


def _is_whole(sequence: TokenSequence) -> bool:
    return not sequence.is_cut


PAIR = ("chosen", "rejected")
_BUILDERS: dict[RowFormat, Builder] = {
    "prompts": partial(_prompts, special=True),
    "bare_prompts": partial(_prompts, special=False),  # OnlineDPOTrainer
    "demonstrations": partial(_answered, columns=("completion",), keeps=_learns),  # SFTTrainer
    "labelled": partial(_answered, columns=("completion",), keeps=_learns),  # KTOTrainer
    "pairs": partial(_answered, columns=PAIR, keeps=_learns),  # DPOTrainer
    "scored_pairs": partial(_answered, columns=PAIR, keeps=_is_whole),  # RewardTrainer
    "joined_pairs": _joined_pairs,  # ORPOTrainer, CPOTrainer
}
