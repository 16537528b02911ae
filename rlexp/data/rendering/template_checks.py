"""What people find out by printing rows before a run: does the template write them as they mean it?

Looked at is what the trainer gets. Nothing here decides; what is found is said, once a kind.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rlexp.data.rendering.encoding import Renderer, TemplateRefusal, common_prefix
from rlexp.data.rendering.examples import TokenSequence, TrainingExample
from rlexp.data.rendering.findings import Findings, quoted
from rlexp.data.rendering.turns_kept import check_turns
from rlexp.spec.text import Message, content_of, joined

PROBE = "ANSWER"
"""An answer that shows what a template writes before one."""
SHOWN_END = 40
"""Characters of a text's end that are shown."""
INTRODUCES = (
    "Set model.chat_template to a Jinja file that writes it where add_generation_prompt is true."
)


@dataclass(frozen=True)
class SpecialTokens:
    """The tokens of a model that mean more than text.

    Attributes:
        ends: ids at which sampling stops.
        names: special tokens as texts, longest first.
        begins: the id that the tokenizer puts before a text; None where it puts none.
    """

    ends: Collection[int]
    names: Sequence[str]
    begins: int | None

    @classmethod
    def of(cls, renderer: Renderer, ends: Collection[int]) -> SpecialTokens:
        """Return those of a renderer's tokenizer; `ends` are the model's."""
        tokenizer = renderer.tokenizer
        first = renderer.tokenize(["a"], bare=False)[0][:1]
        bos = tokenizer.bos_token_id
        names = sorted((name for name in tokenizer.all_special_tokens if len(name) > 2), key=len)
        return cls(ends, names[::-1], bos if first == [bos] else None)


def check_examples(
    examples: Sequence[TrainingExample],
    renderer: Renderer,
    special: SpecialTokens,
    findings: Findings,
) -> int:
    """Look at examples as the trainer gets them; return in how many of them an answer is there.

    Args:
        examples: of rows that the template takes.
        renderer: what wrote them.
        special: the model's tokens.
        findings: where mistakes are added.
    """
    spellings = re.compile("|".join(map(re.escape, special.names)) or r"(?!)")
    answered = 0
    for example in examples:
        asked = example.row["prompt"]
        conversation = not isinstance(asked, str)
        _check_beginning(example, special, renderer, findings, conversation)
        for sequence in example.sequences:
            answer = example.row.get(sequence.column, ())
            if conversation and isinstance(answer, list | tuple) and sequence.column != "prompt":
                _check_answer(example, sequence, answer, renderer, special, findings)
        if conversation:
            answered += _check_conversation(example, spellings, findings)
        else:
            answered += 1
            _check_join(example, findings)
        if example.lost_prompt:
            _add_lost_prompt(example, conversation, renderer, findings)
    _check_generation_prompt(examples, renderer, findings)
    return answered


def _check_conversation(
    example: TrainingExample, spellings: re.Pattern[str], findings: Findings
) -> bool:
    asked = example.row["prompt"]
    answered = True
    for sequence in example.sequences:
        answer = example.row[sequence.column] if sequence.column != "prompt" else []
        answered &= check_turns(example.number, sequence.text, asked, answer, findings)
        for turn in (*asked, *answer):
            if marked := spellings.search(content_of(turn)):
                findings.add(
                    "markup",
                    example.number,
                    "the texts themselves hold special tokens: were they rendered before?",
                    f"{marked.group()} in the {turn['role']} turn",
                    "Give the texts without them, or as plain prompts with model.chat=false.",
                )
    return answered


def _check_join(example: TrainingExample, findings: Findings) -> None:
    """Look whether the last word of a text prompt and the first of its answer are one."""
    prompt = example.row["prompt"]
    for sequence in example.sequences:
        answer = example.row.get(sequence.column, "") if sequence.column != "prompt" else ""
        if joined(prompt, answer) != prompt + answer:
            findings.add(
                "run_together",
                example.number,
                "nothing stands between the prompt and the answer",
                quoted(f"{prompt[-SHOWN_END // 2 :]}{answer[: SHOWN_END // 2]}"),
                "Begin answers with a space or a line break.",
            )


def _check_beginning(
    example: TrainingExample,
    special: SpecialTokens,
    renderer: Renderer,
    findings: Findings,
    conversation: bool,
) -> None:
    ids, bos = example.prompt.ids, renderer.tokenizer.bos_token_id
    name = renderer.tokenizer.decode([bos]) if bos is not None else ""
    if bos is not None and ids[:2] == [bos, bos]:
        findings.add(
            "double_bos",
            example.number,
            f"the text begins with {name} twice: its own, and the tokenizer's",
            quoted(example.prompt.text),
            f"Take {name} out of the texts, or out of data.text_prompt or the chat template.",
        )
    if conversation and special.begins is not None and ids and ids[0] != special.begins:
        findings.add(
            "no_bos",
            example.number,
            f"the chat template does not begin with {name}, with which this model's texts begin",
            quoted(example.prompt.text),
            "Set model.chat_template=FILE, a Jinja file that begins with {{ bos_token }}.",
        )
    if ids and _ended(ids, special, renderer):
        findings.add(
            "ended_prompt",
            example.number,
            "the prompt ends in a token that ends an answer",
            quoted(example.prompt.text[-SHOWN_END:]),
            INTRODUCES if conversation else "Take it out of the prompts, or of data.text_prompt.",
        )


def _ended(ids: Sequence[int], special: SpecialTokens, renderer: Renderer) -> bool:
    """Whether the last token that is no white space ends an answer."""
    for place in range(len(ids) - 1, max(-1, len(ids) - 4), -1):
        if ids[place] in special.ends:
            return True
        if renderer.tokenizer.decode([ids[place]]).strip():
            return False
    return False


def _check_answer(
    example: TrainingExample,
    sequence: TokenSequence,
    answer: Sequence[Message],
    renderer: Renderer,
    special: SpecialTokens,
    findings: Findings,
) -> None:
    """Look at what the template writes around an answer of a conversation."""
    content = content_of(answer[-1]).strip() if answer else ""
    shared = common_prefix(example.prompt.text, sequence.text)
    place = sequence.text.find(content, shared) if content else -1
    inserted = sequence.text[shared:place] if place >= 0 and len(answer) == 1 else ""
    if inserted.strip():
        findings.add(
            "inserted",
            example.number,
            "the template writes something between the prompt and the answer, which is learnt too",
            quoted(inserted),
            f"{INTRODUCES} Or leave it: then the policy writes it before each answer.",
        )
    if sequence.is_cut or _ended(sequence.ids, special, renderer):
        return
    after = sequence.text[place + len(content) :] if place >= 0 else ""
    what, remedy = _no_end(after, renderer)
    findings.add("no_end", example.number, what, quoted(sequence.text[-SHOWN_END:]), remedy)


def _no_end(after: str, renderer: Renderer) -> tuple[str, str]:
    """Return what is said of answers that never end, by what the template writes after them."""
    never = "answers do not end in a token that sampling stops at, so none is ever learnt"
    ids = renderer.tokenize([after.strip()], bare=True)[0] if after.strip() else []
    if ids and ids[0] in renderer.tokenizer.all_special_ids:
        token = renderer.tokenizer.decode([ids[0]]).strip()
        what = f"{never}: the template ends a turn with {token}, and model.eos_token is another"
        return what, f"Set 'model.eos_token=\"{token}\"'."
    written = f"writes {quoted(after)}" if after.strip() else "writes nothing"
    what = f"{never}: the template {written} after an answer"
    eos = renderer.tokenizer.eos_token
    remedy = f"Set model.chat_template=plain, which writes {eos}, or a Jinja file that does."
    return what, remedy


def _add_lost_prompt(
    example: TrainingExample, conversation: bool, renderer: Renderer, findings: Findings
) -> None:
    lost = renderer.tokenizer.decode(example.lost_prompt)
    what = "the prompt's end is not in what is learnt from: policies are sampled from another text"
    remedy = "Begin answers, instead of ending prompts, with the space or line break between them."
    if conversation:
        remedy = (
            "Set model.chat_template to a Jinja file that introduces an answer in the same words "
            "whether the answer follows or not."
        )
    findings.add("lost_prompt", example.number, what, quoted(lost), remedy)


def _check_generation_prompt(
    examples: Sequence[TrainingExample], renderer: Renderer, findings: Findings
) -> None:
    """Look whether the template introduces answers: what precedes one is in the prompt, or is none.

    A conversation with an answer of our own shows what the template puts before it.
    """
    conversations = [
        example
        for example in examples
        if example.row["prompt"] and not isinstance(example.row["prompt"], str)
    ]
    for example in conversations[:1]:
        asked = example.row["prompt"]
        try:
            without = renderer.template_text(asked, generation_prompt=False)
            answered = [*asked, {"role": "assistant", "content": PROBE}]
            whole = renderer.template_text(answered, generation_prompt=False)
        except TemplateRefusal:  # it takes the row as it is, which is what counts
            return
        header = whole[common_prefix(example.prompt.text, whole) :].partition(PROBE)[0]
        if without != example.prompt.text or not header.strip():
            return
        for other in conversations:
            findings.add(
                "no_generation_prompt",
                other.number,
                "the template does not introduce the answer (add_generation_prompt does nothing): "
                f"the policy must write {quoted(header)} itself",
                quoted(without[-SHOWN_END:]),
                f"{INTRODUCES} model.chat_template=plain does.",
            )
        for consequence in ("ended_prompt", "inserted"):
            findings.by_kind.pop(consequence, None)
