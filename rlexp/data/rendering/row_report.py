"""Rows looked at as their trainer will get them, before any weights are loaded.

`examine_rows` is what a run does before it begins and what `python -m rlexp data` shows: the same
framing, limits and formats. A run looks at no more than `MOST_CHECKED` rows, spread over the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from rlexp.data.derived.label_pairs import label_pairs
from rlexp.data.load import Splits
from rlexp.data.parsing.columns import raise_problems
from rlexp.data.prompt_templates import frame
from rlexp.data.rendering.encoding import Renderer
from rlexp.data.rendering.examples import Cut, RefusedRow, TrainingExample, examples_of
from rlexp.data.rendering.findings import Findings
from rlexp.data.rendering.learnable import cut_of
from rlexp.data.rendering.lengths import (
    Lengths,
    is_over_limit,
    no_prompt_left,
    nothing_to_learn,
    position_problems,
)
from rlexp.data.rendering.template_checks import SpecialTokens, check_examples
from rlexp.spec.algo import RowFormat
from rlexp.spec.errors import Problem
from rlexp.spec.rows import pairs_are_matched
from rlexp.spec.run import RunSpec

Rows = list[dict[str, Any]]


class Reader(Protocol):
    """A model's tokenizer with what is known of the model: `rlexp.models.tokenizer` has it."""

    @property
    def tokenizer(self) -> Any: ...
    @property
    def chat(self) -> bool: ...
    @property
    def has_template(self) -> bool: ...
    @property
    def end_token_ids(self) -> list[int]: ...
    @property
    def positions(self) -> int | None: ...


MOST_CHECKED = 2000
"""Rows of a side that a run looks at: a second's work with a chat template."""
REFUSED_REMEDY = (
    "Set model.chat_template=plain, which takes any turns, or change the row to what it takes."
)


@dataclass
class RowReport:
    """What rows become, and what is lost on the way.

    Attributes:
        row_format: of the trainer's examples.
        total: rows that there are.
        looked_at: numbers of those that were looked at, in order.
        examples: of those whose prompt is short enough; what the trainer drops is not `kept`.
        heldout: the held-out prompts, likewise.
        lengths: of the training rows.
        findings: what the template makes of them.
        problems: what no run can go on with.
        notes: how the rows were made.
    """

    row_format: RowFormat
    total: int
    looked_at: list[int]
    findings: Findings
    examples: list[TrainingExample] = field(default_factory=list)
    heldout: list[TrainingExample] = field(default_factory=list)
    lengths: Lengths = field(default_factory=Lengths)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def warnings(self) -> list[str]:
        """Return the findings, one sentence each."""
        sentences = self.findings.sentences(len(self.examples))
        if len(self.looked_at) == self.total:
            return sentences
        return [
            f"{sentence} (Of {self.total} rows these were looked at.)" for sentence in sentences
        ]


def check_rows(spec: RunSpec, splits: Splits, reader: Reader) -> list[str]:
    """Return what is worth knowing of a run's rows before it begins.

    Raises:
        UserError: rows that the template does not take, or of which nothing can be learnt.
    """
    report = examine_rows(spec, splits, reader, MOST_CHECKED)
    raise_problems(report.problems, splits.source)
    return report.warnings()


def examine_rows(
    spec: RunSpec, splits: Splits, reader: Reader, most: int | None = None
) -> RowReport:
    """Return a run's rows as its trainer will get them, with all that is wrong with them.

    Args:
        spec: the run.
        splits: its data, not framed.
        reader: the model's tokenizer.
        most: rows of a side that are looked at, evenly spread; None looks at all.
    """
    examiner = _Examiner(spec, splits, reader)
    count = len(examiner.rows)
    report = examiner.look_at(examiner.numbers(most))
    if len(report.looked_at) < count and not any(example.kept for example in report.examples):
        report = examiner.look_at(list(range(count)))  # others may be short enough
    report.problems += nothing_to_learn(report.examples, spec)
    examiner.add_heldout(report, most)
    sampled_from = report.examples if report.row_format in ROLLED_OUT else []
    prompts = [len(example.prompt.ids) for example in (*sampled_from, *report.heldout)]
    lengths = Lengths(prompts, wholes=report.lengths.wholes)
    report.problems += position_problems(spec, reader.positions, lengths)
    return report


ROLLED_OUT: tuple[RowFormat, ...] = ("prompts", "bare_prompts")
"""Formats of rows that are sampled from."""


def _spread(count: int, most: int | None) -> list[int]:
    if most is None or count <= most:
        return list(range(count))
    return [place * count // most for place in range(most)]


class _Examiner:
    """Looks at the rows of one run."""

    def __init__(self, spec: RunSpec, splits: Splits, reader: Reader) -> None:
        self.spec, self.splits, self.reader = spec, splits, reader
        self.renderer = Renderer(reader.tokenizer)
        self.special = SpecialTokens.of(self.renderer, reader.end_token_ids)
        self.rows = splits.train if spec.algo.reads_training_rows else splits.heldout
        self._matched = spec.algo.reads_training_rows and pairs_are_matched(spec.algo, spec.data)
        as_needed = spec.algo.reads_training_rows and splits.kind == spec.algo.needs
        self.row_format: RowFormat = (
            spec.algo.row_format if as_needed or self._matched else "prompts"
        )

    def numbers(self, most: int | None) -> list[int]:
        """Return the numbers of the rows to look at; of labelled ones all, for each has a match."""
        return _spread(len(self.rows), None if self._matched else most)

    def _place(self, number: int) -> str:
        """Return where a row stands; a matched pair stands in two places."""
        return self.splits.source if self._matched else self.splits.place_of(self.rows[number])

    def look_at(self, numbers: list[int]) -> RowReport:
        """Return the report on some of the training rows, by their numbers."""
        spec, findings = self.spec, Findings(self._place)
        report = RowReport(self.row_format, len(self.rows), numbers, findings)
        framed = frame([self.rows[number] for number in numbers], spec.data, self.reader.chat)
        within = self._within_limit(framed, numbers, report)
        if within and self._matched:
            within = self._matched_pairs([row for _, row in within], report)
        rows = [row for _, row in within]
        for outcome in examples_of(rows, self.row_format, self.renderer, cut_of(spec.algo)):
            number = within[outcome.number][0]
            if isinstance(outcome, RefusedRow):
                self._refuse(self._place(number), outcome, report)
            else:
                report.examples.append(replace(outcome, number=number))
        report.lengths.add(report.examples)
        answered = check_examples(report.examples, self.renderer, self.special, findings)
        self._check_answered(answered, report)
        self._check_chat(report)
        return report

    def _within_limit(
        self, framed: Rows, numbers: list[int], report: RowReport
    ) -> list[tuple[int, dict[str, Any]]]:
        prompts = self.renderer.render([row["prompt"] for row in framed], generation_prompt=True)
        data, within, rendered = self.spec.data, [], []
        for number, row, prompt in zip(numbers, framed, prompts, strict=True):
            if isinstance(prompt, Exception):
                self._refuse(self._place(number), RefusedRow(number, str(prompt)), report)
                continue
            report.lengths.prompts.append(len(prompt.ids))
            rendered.append(row)
            if is_over_limit(len(prompt.ids), row, data):
                report.lengths.over_prompt.setdefault(data.name_of(row), []).append(number)
            else:
                within.append((number, row))
        report.problems += no_prompt_left(report.lengths.prompts, rendered, data)
        return within

    def _matched_pairs(self, rows: Rows, report: RowReport) -> list[tuple[int, dict[str, Any]]]:
        """Return pairs of texts that labels tell apart, numbered as pairs."""
        wanted = self.spec.train.max_steps * self.spec.train.batch_size
        mixed = bool(self.spec.data.source_names)
        pairs, note = label_pairs(rows, self.spec.seed, wanted, by_source=mixed)
        report.notes.append(note)
        return list(enumerate(pairs))

    def _refuse(self, place: str, refused: RefusedRow, report: RowReport) -> None:
        got = f"turns that the chat template does not take: {refused.reason.splitlines()[0]}"
        problem = Problem(place, got, "a conversation that it takes", REFUSED_REMEDY)
        if problem not in report.problems:
            report.problems.append(problem)

    def _check_answered(self, answered: int, report: RowReport) -> None:
        if report.examples and not answered:
            got = f"a template that leaves out the answers of all {len(report.examples)} rows"
            remedy = "Set model.chat_template=plain, or a Jinja file of your own that writes them."
            problem = Problem("model.chat_template", got, "one that writes them", remedy)
            report.problems.append(problem)

    def _check_chat(self, report: RowReport) -> None:
        """Tell of conversations for a model that is no chat model."""
        for example in report.examples:
            if isinstance(example.row["prompt"], str):
                continue
            if self.spec.model.chat is False and self.reader.has_template:
                what = "the turns go through the chat template although model.chat=false"
                remedy = "Leave model.chat away, or give prompts as texts."
                report.findings.add("chat_off", example.number, what, "", remedy)
            elif self.spec.model.chat is not False and not self.reader.has_template:
                what = (
                    "there are turns, but the tokenizer has no chat template: a plain one is lent"
                )
                remedy = "Set model.chat_template to the one that the model was trained with."
                report.findings.add("lent", example.number, what, "", remedy)

    def add_heldout(self, report: RowReport, most: int | None) -> None:
        """Add the held-out prompts that are short enough, and those that are refused."""
        splits = self.splits
        if not self.spec.algo.reads_training_rows:
            report.heldout = report.examples
            return
        rows = [splits.heldout[place] for place in _spread(len(splits.heldout), most)]
        framed = frame(rows, self.spec.data, self.reader.chat)
        for outcome in examples_of(framed, "prompts", self.renderer, Cut(None)):
            if isinstance(outcome, TrainingExample):
                report.heldout.append(outcome)
                continue
            self._refuse(splits.place_of(rows[outcome.number]), outcome, report)
        report.heldout = [
            example
            for example in report.heldout
            if not is_over_limit(len(example.prompt.ids), example.row, self.spec.data)
        ]
