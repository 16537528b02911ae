"""Exports of judgements, record by record, as judgements of one form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rlexp.data.parsing import conversations
from rlexp.data.parsing.columns import raise_problems
from rlexp.data.parsing.mistakes import RecordError, SkipRecord
from rlexp.data.parsing.readers import read_records
from rlexp.data.parsing.turns import TurnRules
from rlexp.data.parsing.values import Row, Rules, text_of
from rlexp.labelling.columns import (
    NEEDED,
    FeedbackLayout,
    absent_column,
    find_feedback_columns,
)
from rlexp.labelling.paths import exists_in, expanded, record_paths
from rlexp.labelling.words import (
    SIDES,
    SKIP,
    UNFINISHED,
    is_blank,
    label_problems,
    score_of,
    spelling,
    winner_of,
)
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.labelling import ImportSpec
from rlexp.spec.text import Text

SAMPLE = 100
"""Records of a file that are looked at for its columns."""


@dataclass(frozen=True)
class Judgement:
    """What one person said of an answer, or of two."""

    place: str
    """Where it stands, as `file:line`."""
    prompt: Text | None
    """None where the answer is a whole text."""
    answers: tuple[Text, ...]
    """The one that was rated, or the two as they were shown."""
    value: float
    """The score; of two answers 1 where the first won, -1 where the second did, 0 for a tie."""
    annotator: str | None
    extra: Row


@dataclass
class Feedback:
    """What an export holds."""

    layout: FeedbackLayout
    judgements: list[Judgement] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Judgements that do not count, by reason."""
    words: dict[str, Counter[str]] = field(default_factory=dict)
    """Meaning of a verdict -> the words for it in the file."""
    lines: int = 0


def read_feedback(files: Sequence[str], spec: ImportSpec) -> Feedback:
    """Return the judgements of files that have the same columns.

    Raises:
        UserError: with everything that cannot be right, by file and line.
    """
    problems: list[Problem] = []
    by_file: dict[str, list[tuple[int, Row]]] = {}
    for file in dict.fromkeys(files):
        by_file[file] = _records(file, spec, problems)
    samples = {file: [record for _, record in rows[:SAMPLE]] for file, rows in by_file.items()}
    if not samples[files[0]]:
        raise UserError(problems)
    try:
        layout = find_feedback_columns(samples[files[0]], spec.columns, spec.shape, files[0])
    except UserError as error:
        raise UserError([*problems, *error.problems]) from error
    for file, sample in samples.items():
        problems += _absent_columns(layout, spec, file, sample)
    problems += label_problems(spec.labels, layout.shape)
    feedback = Feedback(layout, lines=sum(map(len, by_file.values())))
    reader = _Reader(layout, spec, feedback)
    for file, records in by_file.items():
        for line, record in records:
            place = f"{file}:{line}"
            try:
                feedback.judgements += reader.judgements(place, record)
            except RecordError as error:
                problems.append(_in_our_words(Problem(place, error.got, error.want, error.remedy)))
    raise_problems(problems, files[0])
    return feedback


def _records(file: str, spec: ImportSpec, problems: list[Problem]) -> list[tuple[int, Row]]:
    """Return the records of a file, each with its line; mistakes go to the problems."""
    mistakes: list[Problem] = []
    try:
        records = [*read_records(file, "FILE", mistakes, spec.encoding)]
    except UserError as error:
        problems += error.problems
        return []
    if not records and not mistakes:
        mistakes = [Problem(file, "no rows", "a judgement each", "Is it the right file?")]
    problems += map(_in_our_words, mistakes)
    return records


def _absent_columns(
    layout: FeedbackLayout, spec: ImportSpec, file: str, sample: Sequence[Row]
) -> Iterator[Problem]:
    """Yield what a file lacks: a column that all of them must have, or one that is to be kept."""
    needed = {f"columns.{name}": layout.paths[name] for name in NEEDED[layout.shape]}
    for key, path in [*needed.items(), *(("extra", name) for name in spec.extra)]:
        if sample and not any(exists_in(path, record) for record in sample):
            present = dict.fromkeys(path for record in sample for path in record_paths(record))
            yield absent_column(key, path, [*present], file)


def _in_our_words(problem: Problem) -> Problem:
    """Return a problem whose remedy names the keys of `conf/import.yaml`, which are the same."""
    remedy = problem.remedy
    for key in ("encoding", "roles", "ignored_keys"):
        remedy = remedy.replace(f"data.{key}", key)
    return replace(problem, remedy=remedy)


class _Reader:
    """Reads records by a layout; what it leaves out is counted in the feedback."""

    def __init__(self, layout: FeedbackLayout, spec: ImportSpec, feedback: Feedback) -> None:
        self.layout, self.spec, self.feedback = layout, spec, feedback
        self.labels = {spelling(word): meaning for word, meaning in spec.labels.items()}
        turns = TurnRules(spec.roles, spec.ignored_keys)
        self.rules = Rules((1, 1), False, False, {}, turns, False)

    def judgements(self, place: str, record: Row) -> Iterator[Judgement]:
        """Yield what a record holds. Raises RecordError."""
        extra = {name: record.get(name) for name in self.spec.extra}
        for values in expanded(record, self.layout.paths):
            annotator = None if is_blank(values.get("annotator")) else _name(values["annotator"])
            reason = self._reason_to_leave_out(values, annotator)
            value = None if reason else self._value(values)
            if value is None:
                self.feedback.left_out[reason or "a verdict says skip"] += 1
                continue
            try:
                prompt, answers = self._texts(values)
            except SkipRecord as error:
                self.feedback.left_out[str(error)] += 1
            except RecordError as error:
                if self.spec.on_error == "stop":
                    remedy = error.remedy or "Mend the line."
                    remedy += " on_error=skip leaves such lines out, and counts them."
                    raise RecordError(error.got, error.want, remedy) from error
                self.feedback.left_out[f"{error.got} (on_error=skip)"] += 1
            else:
                yield Judgement(place, prompt, answers, value, annotator, extra)

    def _reason_to_leave_out(self, values: Mapping[str, object], annotator: str | None) -> str:
        verdict = "winner" if self.layout.shape == "pairs" else "score"
        if spelling(values.get("status")) in UNFINISHED:
            return f"the status is {values['status']}"
        if annotator in self.spec.without:
            return f"{annotator} is left out (without)"
        if is_blank(values[verdict]):
            return "nobody has judged them"
        return ""

    def _value(self, values: Row) -> float | None:
        """Return the verdict as a number; None where it is to be skipped."""
        if self.layout.shape == "ratings":
            score = score_of(values["score"], self.labels)
            self._note_word(values["score"], SKIP if score is None else spelling(score))
            return score
        texts = _plain(values["a"]), _plain(values["b"])
        names = values.get("name_a"), values.get("name_b")
        winner = winner_of(values["winner"], self.labels, names, texts)
        told = [spelling(name) for name in (*names, *texts) if not is_blank(name)]
        self._note_word(values["winner"], winner, by_name=spelling(values["winner"]) in told)
        return SIDES.get(winner)

    def _note_word(self, word: object, meaning: str, *, by_name: bool = False) -> None:
        """Count a word for what it means, unless it says so itself."""
        if spelling(word) != meaning:
            words = self.feedback.words.setdefault(meaning, Counter())
            words["the answer's name or text" if by_name else repr(word)] += 1

    def _texts(self, values: Row) -> tuple[Text | None, tuple[Text, ...]]:
        """Return prompt and answers. Raises RecordError, SkipRecord."""
        shape, paths = self.layout.shape, self.layout.paths
        source = {paths[name]: values[name] for name in paths}
        columns = ("a", "b") if shape == "pairs" else ("answer",)
        answers = [_dialogue(text_of(source, paths[name], self.rules)) for name in columns]
        if "prompt" in paths:
            prompt = _dialogue(text_of(source, paths["prompt"], self.rules))
            prompt, *answers = conversations.align_formats(prompt, *answers)
        else:
            prompt, answers = _common_prompt(answers)
        if shape == "pairs" and conversations.stripped(answers[0]) == conversations.stripped(
            answers[1]
        ):
            raise RecordError("two answers that are equal", "two that differ")
        return prompt, tuple(answers)


def _common_prompt(answers: list[Text]) -> tuple[Text | None, list[Text]]:
    """Return what precedes the last turns of conversations, and these; a single text stands alone.

    Raises:
        RecordError: texts without a prompt.
        SkipRecord: the conversations differ before their last turns.
    """
    if len(answers) == 1 and isinstance(answers[0], str):
        return None, answers
    dialogues = [answer for answer in answers if not isinstance(answer, str)]
    if len(dialogues) < len(answers):
        want = "a prompt column, or whole conversations as answers"
        raise RecordError("answers without a prompt", want, "Set columns.prompt=NAME.")
    prompt = conversations.shared_prompt(dialogues[0], dialogues[-1])
    if prompt is None:
        raise SkipRecord("the conversations do not answer the same prompt")
    return prompt, [dialogue[-1:] for dialogue in dialogues]


def _dialogue(text: Text) -> Text:
    if isinstance(text, str) and conversations.is_dialogue(text):
        turns = conversations.parse_dialogue(text)
        return turns if turns[-1]["content"] else turns[:-1]
    return text


def _plain(value: object) -> str:
    return value if isinstance(value, str) else ""


def _name(annotator: object) -> str:
    """Return what an annotator is called; of an object that describes one, by what tells them."""
    if isinstance(annotator, dict):
        annotator = next(
            (annotator[key] for key in ("email", "username", "name", "id") if annotator.get(key)),
            annotator,
        )
    return str(annotator).strip().encode(errors="replace").decode()
