"""Token ids of answers for rewards that read them: those that were sampled, else a tokenizer's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rlexp.scoring.term_call import Batch
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.reward import ENDED, TOKENS
from rlexp.spec.text import Text

Tokenize = Callable[[Sequence[Text]], list[list[int]]]
"""From answers to their token ids, an end token behind each."""


def fill_in_tokens(batch: Batch, tokenize: Tokenize | None, reward: str) -> Batch:
    """Return a batch with the columns `TOKENS` and `ENDED` for every answer.

    Whoever sampled an answer gives its tokens. One without them, since the column or its cell is
    missing, was written by somebody else, or shortened: it is read as a whole answer, which ends.

    Raises:
        UserError: there are such answers, and no tokenizer.
    """
    given: list[list[int] | None] = list(batch.columns.get(TOKENS) or [None] * len(batch))
    ended: list[bool] = batch.columns.get(ENDED) or [True] * len(batch)
    written = [index for index, ids in enumerate(given) if ids is None]
    if written and tokenize is None:
        got = f"{reward}, which counts tokens, for answers that no model has sampled"
        want = "a model whose tokenizer reads them"
        remedy = "Leave out --no-model; or count words: reward.unit=words with reward=length."
        raise UserError(Problem("reward", got, want, remedy))
    if written and tokenize is not None:
        made = tokenize([batch.completions[index] for index in written])
        for index, ids in zip(written, made, strict=True):
            given[index] = ids
    return replace(batch, columns={**batch.columns, TOKENS: given, ENDED: ended})
