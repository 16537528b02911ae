"""The measuring of benchmarks: lm-eval's own loop on the model in memory, offline and unseen.

The numbers are those of lm-eval's command line on the same weights. What the training draws next,
and the modes of its modules, stay as they were.
"""

from __future__ import annotations

import copy
import io
import logging
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM

from rlexp.evaluation.benchmarks.scores import BenchmarkResults, collect_scores
from rlexp.evaluation.benchmarks.tasks import build_tasks, data_read_offline
from rlexp.evaluation.policy import preserve_rng_and_modes
from rlexp.evaluation.results import BenchmarkScore, Evaluation
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.eval import EvalSpec
from rlexp.spec.harness.files import KEY
from rlexp.spec.policy import PolicyLike


def with_benchmarks(evaluation: Evaluation, policy: PolicyLike, spec: EvalSpec) -> Evaluation:
    """Return the evaluation with the scores of `spec.benchmarks` among its metrics.

    Every process computes all of them, since a model may be spread over the processes.

    Raises:
        UserError: data that are not on this machine, or a chat template that the model lacks.
    """
    started = time.perf_counter()
    found = measure_benchmarks(policy, spec)
    return replace(
        evaluation,
        metrics=evaluation.metrics | found.metrics,
        intervals=evaluation.intervals | found.intervals,
        ratios=evaluation.ratios | found.ratios,
        benchmarks=found.scores,
        seconds=evaluation.seconds + time.perf_counter() - started,
    )


def benchmarks_note(scores: Mapping[str, BenchmarkScore]) -> str:
    """Return which tasks were measured on how many documents, for the card."""
    tasks = {score.task: score for score in scores.values()}
    words = []
    for name, score in tasks.items():
        shots = "" if score.few_shot is None else f", {score.few_shot}-shot"
        words.append(f"{name} ({score.documents} documents{shots})")
    return f"benchmarks by lm-eval {version('lm-eval')}: {', '.join(words)}"


def measure_benchmarks(policy: PolicyLike, spec: EvalSpec) -> BenchmarkResults:
    """Return what lm-eval finds of the policy's model on the tasks of `spec.benchmarks`."""
    asked = spec.benchmarks
    if asked.apply_chat_template and not policy.tokenizer.chat_template:
        want, remedy = (
            "a model with a chat template",
            "Set eval.benchmarks.apply_chat_template=false.",
        )
        got = "true, and the tokenizer has no template"
        raise UserError(Problem("eval.benchmarks.apply_chat_template", got, want, remedy))
    with preserve_rng_and_modes(policy.model), data_read_offline(), _quiet():
        loaded = _tasks(spec)
        random.seed(DEFAULT_RANDOM_SEED)
        np.random.seed(DEFAULT_OTHER_SEED)
        torch.manual_seed(DEFAULT_OTHER_SEED)
        model: Any = policy.model
        # A copy: lm-eval sets padding on the tokenizer.
        tokenizer = copy.deepcopy(policy.tokenizer)
        language_model_class: Any = HFLM  # its registry hides the signature
        language_model = language_model_class(
            pretrained=model, tokenizer=tokenizer, batch_size=asked.batch_size
        )
        results: Any = evaluate(
            language_model,
            loaded,
            limit=asked.limit,
            bootstrap_iters=0,
            apply_chat_template=asked.apply_chat_template,
            fewshot_as_multiturn=asked.apply_chat_template,
        )
        # lm-eval's aggregations, too, may draw from the global generators.
        return collect_scores(results, loaded, spec.bootstrap, spec.seed)


def _tasks(spec: EvalSpec) -> dict[str, Any]:
    """Return the tasks with their documents.

    Raises:
        UserError: documents that cannot be read offline, or a task that a check could not see
            through and that runs what models write.
    """
    try:
        loaded = build_tasks(spec.benchmarks)
    except (ValueError, OSError, KeyError) as error:  # datasets' and lm-eval's own
        cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        got = f"{', '.join(spec.benchmarks.tasks)}, of which one cannot be read: {cause}"
        raise UserError(Problem(KEY, got, "tasks whose data are on this machine")) from error
    unsafe = [name for name, task in loaded["tasks"].items() if getattr(task, "UNSAFE_CODE", False)]
    if unsafe:
        want = "tasks that run nothing that a model writes"
        raise UserError(Problem(KEY, ", ".join(unsafe), want))
    return loaded


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep lm-eval's progress bars and its words on every step from the terminal."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
