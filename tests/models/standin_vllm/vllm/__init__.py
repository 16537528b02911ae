"""What TRL uses of vLLM, made of a transformers model: it samples, and takes weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from transformers import AutoModelForCausalLM

from rlexp.models.sampling.rollout import Rollout, roll_out

__version__ = "0.25.0"


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 16
    logprobs: int | None = None
    stop_token_ids: list[int] = field(default_factory=list)


@dataclass
class Logprob:
    logprob: float
    rank: int = 1


@dataclass
class CompletionOutput:
    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None


@dataclass
class RequestOutput:
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]


class LLM:
    """Keeps what it was made with and asked for.

    Attributes:
        made: all engines so far.
        shift: added to the log-probabilities that are told, in nats.
    """

    made: ClassVar[list[LLM]] = []
    shift: ClassVar[float] = 0.0

    def __init__(self, model: str, **options: Any) -> None:
        self.options = {"model": model, **options}
        self.model: Any = AutoModelForCausalLM.from_pretrained(model).eval()
        runner = SimpleNamespace(model=SimpleNamespace(load_weights=self._load_weights))
        worker = SimpleNamespace(driver_worker=SimpleNamespace(model_runner=runner))
        self.llm_engine = SimpleNamespace(model_executor=worker)
        self.random = torch.Generator().manual_seed(options["seed"])
        self.calls: list[tuple[SamplingParams, Rollout, dict[str, torch.Tensor]]] = []
        self.made.append(self)

    def _load_weights(self, named: list[tuple[str, torch.Tensor]]) -> None:
        ours = dict(self.model.named_parameters())
        for name, value in named:
            ours[name].data.copy_(value)

    def reset_prefix_cache(self) -> None:
        """Nothing is cached."""

    def generate(
        self, prompts: list[Any], sampling_params: SamplingParams, use_tqdm: bool
    ) -> list[RequestOutput]:
        asked, ids = sampling_params, [prompt["prompt_token_ids"] for prompt in prompts]
        rollout = roll_out(
            self.model,
            [prompt for prompt in ids for _ in range(asked.n)],
            max_new_tokens=asked.max_tokens,
            temperature=asked.temperature,
            top_k=asked.top_k,
            top_p=asked.top_p,
            eos_token_ids=asked.stop_token_ids,
            pad_token_id=0,
            generator=self.random,
        )
        weights = {name: value.clone() for name, value in self.model.named_parameters()}
        self.calls.append((asked, rollout, weights))
        answers = [
            CompletionOutput(tokens, self._told(tokens, log_probs, asked.logprobs))
            for tokens, log_probs in zip(
                rollout.completions(), rollout.completion_log_probs(), strict=True
            )
        ]
        n = asked.n
        return [RequestOutput(prompt, answers[n * i : n * (i + 1)]) for i, prompt in enumerate(ids)]

    def _told(
        self, tokens: list[int], log_probs: list[float], wanted: int | None
    ) -> list[dict[int, Logprob]] | None:
        if wanted is None:
            return None
        pairs = zip(tokens, log_probs, strict=True)
        return [{token: Logprob(value + self.shift)} for token, value in pairs]
