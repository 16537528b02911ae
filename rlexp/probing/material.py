"""What strategies make their answers of: held-out prompts, and what is known of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rlexp.spec.reward import DataColumns, RewardSpec
from rlexp.spec.text import Text, content_of

END_TOKEN = "</s>"
WORDS_A_TOKEN = 0.75
"""Of English under a large vocabulary: as many words as this fill a token."""


@dataclass(frozen=True)
class Material:
    """n prompts.

    Attributes:
        prompts: (n,) as the reward reads them.
        asked: (n,) what people read of them: the text, or the user's last turn.
        references: (n,) a right answer to each; None where none is known.
        columns: the data's, n values each.
        words: of the longest answer that is allowed.
        forms: texts of the form that the reward asks for, without content.
        end_token: the model's, as text.
    """

    prompts: list[Text]
    asked: list[str]
    references: list[str | None]
    columns: DataColumns
    words: int
    forms: tuple[str, ...] = ()
    end_token: str = END_TOKEN

    @property
    def known_references(self) -> list[str]:
        """The different references, in their order."""
        return list(dict.fromkeys(text for text in self.references if text is not None))

    @property
    def short_answers(self) -> list[str]:
        """The references' last lines, which are all of short ones; the most frequent first."""
        lines = (text.strip().rpartition("\n")[2] for text in self.references if text is not None)
        return [line for line, _ in Counter(lines).most_common()]


def material_of(
    rows: Sequence[dict[str, Any]],
    prompts: Sequence[Text],
    references: Sequence[Text | None],
    reward: RewardSpec,
    tokens: int,
    end_token: str = END_TOKEN,
) -> Material:
    """Return the material of held-out rows.

    Args:
        rows: n, as the data has them, with the columns that rewards read.
        prompts: (n,) as the model, and so the reward, reads them.
        references: (n,) the data's own answers.
        reward: names the column of right answers, where the data has no answers of its own.
        tokens: of the longest answer that is allowed.
        end_token: the model's.
    """
    names = dict.fromkeys(name for row in rows for name in row if name != "prompt")
    columns = {name: [row.get(name) for row in rows] for name in names}
    texts = [None if text is None else last_content(text) for text in references]
    column = columns.get(reward.reference_column() or "")
    if column and not any(texts):
        texts = [_first_text(cell) for cell in column]
    asked = [row.get("opening") or last_content(row["prompt"]) for row in rows]
    words = max(1, int(tokens * WORDS_A_TOKEN))
    forms = tuple(reward.empty_forms())
    return Material([*prompts], asked, texts, columns, words, forms, end_token)


def last_content(text: Text) -> str:
    """Return a string as it is; of messages the last one's text."""
    return text if isinstance(text, str) else content_of(text[-1])


def answers_to(prompts: Iterable[Text], texts: Iterable[str]) -> list[Text]:
    """Return answers as a reward reads them: a turn to messages, a text to a text."""
    return [
        text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
        for prompt, text in zip(prompts, texts, strict=True)
    ]


def _first_text(cell: object) -> str | None:
    """Return a cell as an answer; of several the first one."""
    if isinstance(cell, list | tuple):
        return _first_text(cell[0]) if cell else None
    return None if cell is None else str(cell)
