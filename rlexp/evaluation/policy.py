"""One evaluation of a policy: sample held-out prompts, score the samples, measure the drift.

The same prompts and the same random numbers serve before, during and after training, so that two
evaluations differ by the policy only.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rlexp.evaluation.ratios import averages, sample_ratios, sum_by_prompt
from rlexp.evaluation.results import Evaluation, Sample, in_groups
from rlexp.runtime.collective import compute_on_first
from rlexp.spec.eval import EvalSpec
from rlexp.spec.policy import Completion, PolicyLike
from rlexp.spec.reward import ENDED, TOKENS, Scores, Scoring, Value
from rlexp.spec.text import Text, content_of, joined

if TYPE_CHECKING:
    from torch.nn import Module

Grammatical = Callable[[str], float]


def evaluate(
    policy: PolicyLike,
    rows: Sequence[dict[str, Any]],
    reward: Scoring,
    texts: Sequence[str],
    spec: EvalSpec,
    *,
    trained: bool,
    grammatical: Grammatical | None,
) -> Evaluation:
    """Sample, score and measure; model modes and random states are left as they were.

    Args:
        rows: framed held-out rows; the first `spec.prompts` are taken.
        reward: what is missing of it is left out of means, and its share is a metric:
            `reward_missing`, and `reward_<term>_missing`.
        texts: held-out texts for perplexity; the first `spec.texts` are taken.
        trained: False while the policy still is its reference: KL is 0 without a forward.
        grammatical: share of a text's sentences that are grammatical, where the data can tell.

    Raises:
        ValueError: if there are no rows.
    """
    from rlexp.evaluation.likelihood import kl_and_surprise, text_nats

    started = time.perf_counter()
    rows, texts = rows[: spec.prompts], texts[: spec.texts]
    if not rows:
        raise ValueError("an evaluation needs held-out prompts, got none")
    with preserve_rng_and_modes(policy.model):
        groups = sample_completions(policy, rows, spec)
        completions = [completion for group in groups for completion in group]
        ids = [prompt_id for prompt_id, group in enumerate(groups) for _ in group]
        asked = [rows[prompt_id] for prompt_id in ids]
        scores = score_completions(reward, asked, completions) if reward.scores_anything else None
        gold = {
            name: score_completions(gold_reward, asked, completions).total
            for name, gold_reward in spec.gold_checked[0].items()
        }
        samples = measured_samples(asked, completions, scores, grammatical, gold, ids)
        kl, surprises = kl_and_surprise(policy, completions, spec.batch_size, trained=trained)
        forgetting = text_nats(policy, texts, spec.batch_size) if texts else None

    sizes = [len(group) for group in groups]
    ratios = sum_by_prompt(sample_ratios(samples, kl, surprises), sizes)
    ratios |= {"perplexity": forgetting} if forgetting is not None else {}
    metrics, intervals = averages(ratios, spec.bootstrap, spec.seed)
    metrics |= {f"distinct_{n}": _distinct(completions, n) for n in (1, 2)}
    totals = scores.total if scores else []
    return Evaluation(
        metrics=metrics,
        intervals=intervals,
        per_prompt_reward=[_mean(group) for group in in_groups(totals, sizes) if group],
        samples=samples,
        seconds=time.perf_counter() - started,
        ratios=ratios,
    )


@contextmanager
def preserve_rng_and_modes(model: Module) -> Iterator[None]:
    """Put a model into eval mode for the block; afterwards all modes and random states are back.

    Covers Python's, NumPy's, and torch's generators on the CPU and on all CUDA devices in use.
    """
    import numpy as np
    import torch

    modes = [(module, module.training) for module in model.modules()]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    # Asking an idle CUDA for its state would create a context of some 500 MiB on each device.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    model.eval()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for module, training in modes:
            module.training = training
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def sample_completions(
    policy: PolicyLike, rows: Sequence[dict[str, Any]], spec: EvalSpec
) -> list[list[Completion]]:
    """Sample `spec.completions` answers to each prompt."""
    return policy.complete(
        [row["prompt"] for row in rows],
        completions=spec.completions,
        max_new_tokens=spec.max_completion_length,
        temperature=spec.temperature,
        seed=spec.seed,
        batch_size=spec.batch_size,
    )


def score_completions(
    reward: Scoring, rows: Sequence[dict[str, Any]], completions: Sequence[Completion]
) -> Scores:
    """Score completions as TRL calls a reward: messages complete a conversation, a text a text."""
    prompts: list[Text] = [row["prompt"] for row in rows]
    answers: list[Text] = [
        completion.answer
        if isinstance(prompt, str)
        else [{"role": "assistant", "content": completion.answer}]
        for prompt, completion in zip(prompts, completions, strict=True)
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    given = ("prompt", "completion")
    columns = {name: [row.get(name) for row in rows] for name in names if name not in given}
    columns[TOKENS] = [completion.token_ids for completion in completions]
    columns[ENDED] = [completion.ended for completion in completions]
    # Every process has sampled the same: a judge that costs money is asked by one of them.
    return compute_on_first(lambda: reward.score(prompts, answers, columns))


def measured_samples(
    rows: Sequence[dict[str, Any]],
    completions: Sequence[Completion],
    scores: Scores | None,
    grammatical: Grammatical | None,
    gold: Mapping[str, Sequence[float | None]],
    ids: Sequence[int],
) -> list[Sample]:
    """Return completions with what was measured of them.

    Args:
        rows: that of each completion.
        completions: n of them.
        scores: the reward's; None without a reward.
        grammatical: share of a text's sentences that are grammatical, where the data can tell.
        gold: values of other rewards, (n,) each.
        ids: of the prompts.
    """
    of_text = grammatical or (lambda text: None)
    return [
        Sample(
            prompt=readable_prompt(row),
            completion=completion.text,
            reward=scores.total[index] if scores else None,
            terms={name: term[index] for name, term in scores.terms.items()} if scores else {},
            length=len(completion.answer_ids),
            ended=completion.ended,
            grammatical=of_text(joined(row.get("opening") or "", completion.answer)),
            gold={name: values[index] for name, values in gold.items()},
            prompt_id=ids[index],
            thought=completion.thought,
        )
        for index, (row, completion) in enumerate(zip(rows, completions, strict=True))
    ]


def readable_prompt(row: dict[str, Any]) -> str:
    """Return a row's prompt as people read it: the text's opening, or what was said."""
    prompt = row.get("opening") or row["prompt"]
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return content_of(prompt[0])
    return "\n".join(f"{message['role']}: {content_of(message)}" for message in prompt)


def _mean(values: Sequence[Value]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _distinct(completions: Sequence[Completion], n: int) -> float:
    """Return `distinct` of completions without their end tokens."""
    ended = ((completion.answer_ids, completion.ended) for completion in completions)
    return distinct((ids[:-1] if end else ids for ids, end in ended), n)


def distinct(texts: Iterable[Sequence[int]], n: int) -> float:
    """Return distinct n-grams over all n-grams, n 1 or 2 (Li et al. 2016, arXiv:1510.03055).

    Tokens, not words, so that languages without spaces count alike. The share falls as texts grow,
    so compare it at the same number of texts only.
    """
    grams: list[Any] = []
    for tokens in texts:
        grams += tokens if n == 1 else pairwise(tokens)
    return len(set(grams)) / len(grams) if grams else 0.0
