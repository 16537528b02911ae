"""A run's rows as its trainer will see them: what is learnt, what is cut, what is left out

`python -m rlexp data [group=choice] [key=value] … [--rows N]`

The words are those of a run. Shown are the first rows as token sequences, the learnt part green
(or in brackets), lengths, what is dropped and why, duplicates, leaks into the held-out rows, and
how answers are shared out. Nothing is trained and no weights are loaded.

  python -m rlexp data algo=dpo model=qwen0.5b data=file data.path=pairs.jsonl
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Any

from rlexp.cli.arguments import Parser, console_of_width
from rlexp.cli.exit_status import reported
from rlexp.spec.errors import Problem, UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text as RichText

    from rlexp.data.load import Splits
    from rlexp.data.rendering.examples import TokenSequence, TrainingExample
    from rlexp.data.rendering.row_report import RowReport
    from rlexp.models.tokenizer import ModelTokenizer
    from rlexp.rendering.token_text import TokenRun
    from rlexp.spec.run import RunSpec


def run(argv: list[str]) -> int:
    """Show the rows; the exit status is 2 where a run could not begin with them."""
    return reported(lambda: _show(argv))


def _show(argv: Sequence[str]) -> None:
    parser = Parser("data", __doc__)
    parser.add_argument("--rows", type=int, default=3, metavar="N", help="rows to show (3)")
    options, words = parser.parse_known_args(argv)
    if options.rows < 0:
        raise UserError(Problem("--rows", str(options.rows), "a number of rows, at least 0"))
    from rlexp.cli.composed_run import compose_run

    _, spec = compose_run(words)

    from rlexp.data.load import load_data
    from rlexp.data.parsing.columns import raise_problems
    from rlexp.data.rendering.row_report import examine_rows
    from rlexp.runtime.environment import silence_libraries
    from rlexp.spec.rows import rows_read

    silence_libraries()
    splits = load_data(spec.data, rows_read(spec.algo, spec.data))
    reader = _reader(spec, splits)
    report = examine_rows(spec, splits, reader)
    console = console_of_width(markup=False)
    _print(console, _header(spec, splits, report))
    for example in _in_turn(report.examples, spec)[: options.rows]:
        _print(console, _row(example, report, splits.source, reader, console))
    _print(console, _lengths(spec, report))
    _print(console, _remarks(spec, splits, report, reader))
    raise_problems(report.problems, splits.source)


def _reader(spec: RunSpec, splits: Splits) -> ModelTokenizer:
    from rlexp.models.locate import made_folder, model_folder
    from rlexp.models.tokenizer import ModelTokenizer
    from rlexp.runner.parts import model_folder_resolver

    folder_of = model_folder_resolver(spec)
    folder = made_folder(spec.model, folder_of)
    if folder is None and spec.model.shape is not None:
        from rlexp.builtin.scratch import ensure_scratch_model

        folder = ensure_scratch_model(spec.model.shape, splits.corpus(), spec.seed)
    return ModelTokenizer.load(
        spec.model, folder or model_folder(spec.model, lambda *progress: None, folder_of)
    )


def _print(console: Console, lines: Iterator[str | RichText]) -> None:
    for line in lines:
        console.print(line, soft_wrap=True)


def _header(spec: RunSpec, splits: Splits, report: RowReport) -> Iterator[str]:
    yield f"{spec.algo.name} · {spec.model.name} · {splits.source}"
    yield (
        f"{len(splits.train)} training rows ({splits.kind}), {len(splits.heldout)} held out; "
        f"each becomes: {WORDS[report.row_format]}"
    )
    for name in spec.data.source_names:
        train, heldout = (len(_of_source(rows, name)) for rows in (splits.train, splits.heldout))
        yield f"  {name}: {train} training rows, {heldout} held out"
    if splits.kind != spec.algo.needs and report.row_format in ("prompts", "bare_prompts"):
        yield f"the answers ({spec.algo.needs}) are sampled from the model when the run begins"


WORDS = {
    "prompts": "a prompt, which is sampled from",
    "bare_prompts": "a prompt, which is sampled from",
    "demonstrations": "prompt and answer, of which the marked part is learnt",
    "labelled": "prompt and answer, of which the marked part is judged good or bad",
    "pairs": "a prompt with two answers, which are compared in the marked part",
    "scored_pairs": "two whole texts, each of which is given one score",
    "joined_pairs": "a prompt with two answers, which are compared in the marked part",
}
"""What an example of each format is."""


def _row(
    example: TrainingExample,
    report: RowReport,
    source: str,
    reader: ModelTokenizer,
    console: Console,
) -> Iterator[str | RichText]:
    from rlexp.rendering.token_text import token_text

    coloured = console.is_terminal and console.color_system is not None
    place = report.findings.place_of(example.number)
    label = f" · label {str(example.row['label']).lower()}" if "label" in example.row else ""
    left_out = "" if example.kept else " · left out: nothing of an answer is left"
    yield ""
    where = f" · {place}" if place != source else ""
    yield f"row {example.number + 1}{where}{label}{left_out}"
    for sequence in example.sequences:
        answer = "" if sequence.column == "prompt" else f" + {sequence.answer_length}"
        cut = f", cut to {len(sequence.ids)}" if sequence.is_cut else ""
        yield f"{sequence.column}: {sequence.start}{answer} tokens{cut}"
        yield token_text(_token_runs(sequence, reader), coloured=coloured)


def _token_runs(sequence: TokenSequence, reader: ModelTokenizer) -> list[TokenRun]:
    from rlexp.rendering.token_text import TokenRun

    special = set(reader.tokenizer.all_special_ids)
    marked = zip(sequence.ids, sequence.learnt, strict=True)
    runs = groupby(marked, key=lambda token: (token[1], token[0] in special))
    return [
        TokenRun(
            reader.tokenizer.decode(
                [token for token, _ in tokens], clean_up_tokenization_spaces=False
            ),
            learnt,
            is_special,
        )
        for (learnt, is_special), tokens in runs
    ]


def _lengths(spec: RunSpec, report: RowReport) -> Iterator[str]:
    from rlexp.data.rendering.lengths import prompt_key
    from rlexp.rendering.token_text import histogram

    longest, lengths = spec.algo.longest_example, report.lengths
    sources = spec.data.sources_by_name().items()
    limits = ", ".join(f"{prompt_key(name)}={source.max_prompt_length}" for name, source in sources)
    for title, values, limit in (
        ("prompts", lengths.prompts, limits),
        ("answers", lengths.answers, ""),
        ("prompt and answer", lengths.wholes, f"algo.max_length={longest}" if longest else ""),
    ):
        if not values:
            continue
        yield ""
        yield f"{title}, tokens: {_spread(values)}{f'; limit {limit}' if limit else ''}"
        yield from histogram(values)
        for name in spec.data.source_names:
            examples = [example for example in report.examples if example.row["source"] == name]
            if of_source := [length for example in examples for length in MEASURES[title](example)]:
                yield f"  {name}: {_spread(of_source)}"


MEASURES: dict[str, Callable[[TrainingExample], list[int]]] = {
    "prompts": lambda example: [len(example.prompt.ids)],
    "answers": lambda example: [sequence.answer_length for sequence in example.sequences],
    "prompt and answer": lambda example: [sequence.whole for sequence in example.sequences],
}
"""Tokens of an example, by what is measured."""


def _spread(values: Sequence[int]) -> str:
    ordered = sorted(values)
    most = ordered[int(0.95 * (len(ordered) - 1))]
    return f"{ordered[0]} to {ordered[-1]}, median {median(ordered):g}, 95% have at most {most}"


def _of_source(rows: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["source"] == name]


def _in_turn(examples: Sequence[TrainingExample], spec: RunSpec) -> list[TrainingExample]:
    """Return examples so that the first ones are of all sources of a mix."""
    from rlexp.data.derived.merged import in_turn

    by_source: dict[str, list[TrainingExample]] = {}
    for example in examples:
        by_source.setdefault(spec.data.name_of(example.row), []).append(example)
    return in_turn(by_source.values())


HELD_OUT = ("heldout", "heldout_pairs", "heldout_labelled", "heldout_demonstrations")
"""The held-out rows of `Splits`, as prompts and with their answers."""


def _by_source(
    splits: Splits,
    spec: RunSpec,
    notes: Callable[[Splits], Sequence[str]],
    sides: Sequence[str] = ("train",),
) -> list[str]:
    """Return notes on all rows; where they are a mix's, then those on the rows of each source.

    Args:
        splits: all rows.
        spec: the run.
        notes: on some rows.
        sides: of the splits, of which only a source's rows are looked at.
    """
    lines = [*notes(splits)]
    for name in spec.data.source_names:
        rows = {side: _of_source(getattr(splits, side), name) for side in sides}
        lines += [f"{name}: {note}" for note in notes(replace(splits, **rows))]
    return lines


def _remarks(
    spec: RunSpec, splits: Splits, report: RowReport, reader: ModelTokenizer
) -> Iterator[str]:
    from rlexp.data.rendering.overlap import (
        balance_notes,
        duplicate_notes,
        leak_notes,
        length_bias_note,
    )

    chosen, rejected = (
        [
            sequence.answer_length
            for example in report.examples
            for sequence in example.sequences
            if sequence.column == column
        ]
        for column in ("chosen", "rejected")
    )
    bias = length_bias_note(chosen, rejected)
    sections = {
        "how the rows were made": [*splits.notes, *report.notes, *reader.notes],
        "left out and cut": report.lengths.notes(spec, report.findings.place_of),
        "repeated": _by_source(splits, spec, lambda part: duplicate_notes(part.train, part)),
        "leaks": _by_source(splits, spec, leak_notes, HELD_OUT),
        "balance": [
            *_by_source(splits, spec, lambda part: balance_notes(part.train)),
            *([bias] if bias else []),
        ],
        "to look at": report.warnings(),
    }
    for title, notes in sections.items():
        if notes:
            yield ""
            yield title
            yield from (f"  {note}" for note in notes)
    if not report.warnings() and not report.problems:
        yield ""
        yield "nothing to look at: every turn is written, and answers end where sampling stops"
