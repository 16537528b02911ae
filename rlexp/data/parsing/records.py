"""One record of a source as one row in canonical columns."""

from __future__ import annotations

from collections import Counter

from rlexp.data.parsing import conversations, truncation
from rlexp.data.parsing.layouts import Layout
from rlexp.data.parsing.mistakes import RecordError, SkipRecord
from rlexp.data.parsing.scored_answers import best_and_worst
from rlexp.data.parsing.turns import messages_of
from rlexp.data.parsing.values import Row, Rules, label_of, optional_text_of, text_of, value_of
from rlexp.spec.reward import Message, Text

_NOT_SHOWN_TO_THE_MODEL = {
    **dict.fromkeys(
        ("tools", "functions"), "descriptions of tools, which no template is given yet"
    ),
    **dict.fromkeys(("image", "images"), "pictures, which cannot be trained on yet"),
    **dict.fromkeys(("video", "videos"), "films, which cannot be trained on yet"),
    **dict.fromkeys(("audio", "audios"), "sounds, which cannot be trained on yet"),
}
"""Columns that a model would have to see, and cannot."""


def to_row(record: Row, layout: Layout, rules: Rules, remarks: Counter[str]) -> Row:
    """Return the row that a record makes.

    Args:
        record: the source's columns.
        layout: where the record keeps what.
        rules: how to read it.
        remarks: where what is worth knowing of the row is counted.

    Returns:
        Canonical columns and extra ones. A `system_turn` stands beside a prompt that is a text; one
        that is messages begins with it.

    Raises:
        RecordError: a value is missing, empty, or of a wrong type.
        SkipRecord: the record is well formed but useless.
    """
    names = layout.names
    if rules.undecided:
        _refuse_unseen(record, layout.unused)
    row: Row
    if "text" in names:
        row = _split_text(text_of(record, names["text"], rules), names["text"], rules)
    elif "completions" in names:
        row = _rated_pair(record, names, rules, remarks)
    elif "chosen" in names:
        row = _given_pair(record, names, rules)
    elif "messages" in names:
        row = _conversation(record, layout, rules, remarks)
    else:
        texts = [_prompt(record, names, rules)]
        texts += [text_of(record, names[c], rules) for c in ("completion",) if c in names]
        aligned = conversations.align_formats(*texts)
        row = dict(zip(("prompt", "completion"), aligned, strict=False))
    if "text" not in names:
        _add_system(row, record, names)
    if isinstance(row["prompt"], list) and row["prompt"][-1]["role"] == "assistant":
        name = names.get("prompt", names.get("messages"))
        raise RecordError(
            "a prompt whose last turn is the assistant's",
            "one that waits for an answer",
            f"Whole conversations: data.columns.messages={name} instead of data.columns.prompt.",
        )
    _check_speakers(row, remarks)
    if "label" in names:
        row["label"] = label_of(value_of(record, names["label"]), rules)
    for name, needed in layout.extra.items():
        # In a mixed file an opening is null where the prompt was not cut from a text.
        if name in row or (name == "opening" and record.get(name) is None):
            continue
        row[name] = value_of(record, name) if needed else record.get(name)
    return row


def _check_speakers(row: Row, remarks: Counter[str]) -> None:
    """Refuse answers that are not the assistant's, and count those with others' words in them."""
    for name in ("completion", "chosen", "rejected"):
        answer = row.get(name)
        if not isinstance(answer, list):
            continue
        if answer[-1]["role"] != "assistant":
            got = f"a {name} whose last turn is the {answer[-1]['role']}'s"
            raise RecordError(got, "one that ends with the assistant's")
        if any(turn["role"] != "assistant" for turn in answer):
            remarks[
                "answers of several turns, others' among them, all of which are learnt from"
            ] += 1


def _refuse_unseen(record: Row, unused: tuple[str, ...]) -> None:
    for name in unused:
        if name in _NOT_SHOWN_TO_THE_MODEL and record.get(name):
            raise RecordError(
                f"{name!r}, {_NOT_SHOWN_TO_THE_MODEL[name]}",
                "rows that are whole without them",
                "data.extra=[] trains without them; it may name the columns that rewards read.",
            )


def _prompt(record: Row, names: dict[str, str], rules: Rules) -> Text:
    """Return the prompt with what is joined to it: Alpaca's `input`, and earlier turns."""
    about = optional_text_of(record, names.get("input"))
    prompt = text_of(record, names["prompt"], rules, may_be_empty=bool(about))
    if rules.dialogues and conversations.is_dialogue(prompt):
        prompt = _dialogue(prompt, names["prompt"])
        prompt = prompt if prompt[-1]["content"] else prompt[:-1]
    if about and isinstance(prompt, str):
        prompt = f"{prompt.rstrip()}\n\n{about}" if prompt.strip() else about
    elif about:
        raise RecordError(f"messages as {names['prompt']!r}", f"a text, to join {names['input']!r}")
    history = record.get(names["history"]) if "history" in names else None
    if not history:
        return prompt
    turn = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return [*_earlier_turns(history, names["history"], rules), *turn]


def _earlier_turns(history: object, name: str, rules: Rules) -> list[Message]:
    """Return turns before the prompt, from pairs of question and answer or from messages."""
    if isinstance(history, list) and all(isinstance(part, dict) for part in history):
        return messages_of(history, name, rules.turns)
    turns: list[Message] = []
    for pair in history if isinstance(history, list) else [history]:
        match pair:
            case [str(question), str(answer)]:
                turns.append({"role": "user", "content": question})
                turns += conversations.assistant_turn(answer)
            case _:
                raise RecordError(f"{pair!r} in {name!r}", "pairs [question, answer]")
    return turns


def _add_system(row: Row, record: Row, names: dict[str, str]) -> None:
    if "system" not in names:
        return
    words, prompt = optional_text_of(record, names["system"]), row["prompt"]
    if not words:
        return
    if isinstance(prompt, str):
        row["system_turn"] = words
        return
    spoken = [turn["content"].strip() for turn in prompt if turn["role"] == "system"]
    if not spoken:
        row["prompt"] = [{"role": "system", "content": words}, *prompt]
    elif spoken != [words]:
        got = f"a system turn, and other words in the column {names['system']!r}"
        raise RecordError(got, "one of them", "Remove one, or make them the same.")


def _conversation(record: Row, layout: Layout, rules: Rules, remarks: Counter[str]) -> Row:
    name = layout.names["messages"]
    turns = text_of(record, name, rules)
    if isinstance(turns, str):
        raise RecordError(f"a text as {name!r}", "a list of messages {role, content}")
    if layout.kind == "prompts":
        return {"prompt": turns}
    if turns[-1]["role"] != "assistant":
        raise SkipRecord(f"a conversation ends without an answer (the {turns[-1]['role']}'s turn)")
    if len(turns) == 1:
        raise SkipRecord("a conversation is an answer without a prompt")
    if any(turn["role"] == "assistant" for turn in turns[:-1]):
        remarks["conversations with earlier answers, of which the last alone is learnt from"] += 1
    return {"prompt": turns[:-1], "completion": turns[-1:]}


def _split_text(text: Text, name: str, rules: Rules) -> Row:
    if not isinstance(text, str):
        raise RecordError(
            f"messages as {name!r}", "a text", f"data.columns.messages={name} reads conversations."
        )
    parts = truncation.split_prefix(text.strip(), rules.prompt_words)
    if parts is None:
        raise SkipRecord(f"a text is no longer than an opening of {rules.prompt_words[0]} words")
    opening, rest = parts
    return {"prompt": opening, "opening": opening, "completion": rest}


def _rated_pair(record: Row, names: dict[str, str], rules: Rules, remarks: Counter[str]) -> Row:
    """Return the best and the worst of a prompt's answers; of held-out ones at least the prompt."""
    prompt, name = _prompt(record, names, rules), names["completions"]
    try:
        return _pair(prompt, *best_and_worst(value_of(record, name), name))
    except SkipRecord:
        if not rules.heldout:
            raise
        remarks["held-out prompts whose answers make no pair, and which are evaluated on"] += 1
        return {"prompt": prompt}


def _given_pair(record: Row, names: dict[str, str], rules: Rules) -> Row:
    chosen, rejected = (text_of(record, names[answer], rules) for answer in ("chosen", "rejected"))
    alone = "prompt" in names or "messages" in names
    if rules.dialogues and not (alone and not conversations.is_dialogue(chosen)):
        chosen, rejected = (
            _dialogue(chosen, names["chosen"]),
            _dialogue(rejected, names["rejected"]),
        )
    if "prompt" in names:
        return _pair(_prompt(record, names, rules), chosen, rejected)
    if "messages" in names:
        return _pair(text_of(record, names["messages"], rules), chosen, rejected)
    if isinstance(chosen, str) or isinstance(rejected, str):
        raise RecordError(
            "answers without a prompt",
            "a prompt column, or whole dialogues as answers",
            "Set data.columns.prompt=NAME, or data.dialogues=true if turns begin with 'Human:'.",
        )
    prompt = conversations.shared_prompt(chosen, rejected)
    if prompt is None:
        raise SkipRecord("the two dialogues do not answer the same prompt")
    chosen, rejected = chosen[-1:], rejected[-1:]
    if not all(answer[0]["content"] or "tool_calls" in answer[0] for answer in (chosen, rejected)):
        raise SkipRecord("an answer is empty")
    return _pair(prompt, chosen, rejected)


def _pair(prompt: Text, chosen: Text, rejected: Text) -> Row:
    prompt, chosen, rejected = conversations.align_formats(prompt, chosen, rejected)
    if conversations.stripped(chosen) == conversations.stripped(rejected):
        raise SkipRecord("the two answers are equal")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _dialogue(text: Text, name: str) -> list[Message]:
    if not isinstance(text, str):
        return text
    try:
        return conversations.parse_dialogue(text)
    except ValueError as error:
        want = "a dialogue that begins with 'Human:'"
        remedy = "Set data.dialogues=false if the answers stand alone."
        raise RecordError(f"{text[:40]!r} as {name!r}", want, remedy) from error
