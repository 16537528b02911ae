"""Sampling from the policy by vLLM, through TRL's own bridge to it (trl.generation).

vLLM holds a copy of the policy, in this process or on a server. At the beginning of each optimizer
step it gets the weights as they are then, an adapter merged into them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlexp.models.sampling.kv_cache import padded
from rlexp.models.sampling.rollout import Rollout
from rlexp.spec.algo import VllmSpec

if TYPE_CHECKING:
    from accelerate import Accelerator


class VllmRollout:
    """Called like `sampling.rollout.roll_out`, for one policy and one way to sample."""

    def __init__(
        self,
        policy: Any,
        accelerator: Accelerator,
        where: VllmSpec,
        sampling: dict[str, Any],
        *,
        longest: int,
        at_once: int,
    ) -> None:
        """
        Args:
            policy: a `rlexp.models.policy.Policy`; its model is the one that is trained.
            accelerator: of the trainer.
            where: vLLM's mode, and its share of the machine.
            sampling: max_new_tokens, temperature, top_k and top_p.
            longest: tokens of prompt and answer.
            at_once: answers of this process a step.
        """
        from trl.generation.vllm_generation import VLLMGeneration

        self._policy, self._sampling = policy, sampling
        self.vllm = VLLMGeneration(
            model=policy.model,
            accelerator=accelerator,
            processing_class=policy.tokenizer,
            mode=where.mode,
            server_host=where.server_host,
            server_port=where.server_port,
            tensor_parallel_size=where.tensor_parallel_size,
            gpu_memory_utilization=where.gpu_memory_utilization,
            max_model_length=longest,
            max_num_seqs=at_once * where.tensor_parallel_size,
            trust_remote_code=policy.spec.trust_remote_code,
            temperature=sampling["temperature"],
            top_p=sampling["top_p"],
            top_k=sampling["top_k"],
            max_completion_length=sampling["max_new_tokens"],
            # vLLM knows the end token of the model's folder only.
            generation_kwargs={"stop_token_ids": policy.eos_token_ids},
        )

    def __call__(self, prompts: list[list[int]], **sampling: Any) -> Rollout:
        """One answer to each prompt (token ids).

        Its `log_probs` are vLLM's, of the distribution that is left after top-k and top-p, and by
        its own kernels: what a ratio is formed from has to be computed by the trainer.

        Raises:
            ValueError: another way to sample than vLLM was started with.
        """
        if sampling != self._sampling:
            raise ValueError(f"vLLM samples with {self._sampling}, and was asked for {sampling}")
        prompt_ids, completions, log_probs, _ = self.vllm.generate(prompts, None, 1)
        device, pad = self._policy.model.device, self._policy.tokenizer.pad_token_id
        ids, mask = padded(prompt_ids, pad, device)
        width, ends = max(map(len, completions)), set(self._policy.eos_token_ids)
        rows = [list(answer) + [pad] * (width - len(answer)) for answer in completions]
        chosen = [[token[0] for token in answer] for answer in log_probs]
        chosen = [answer + [0.0] * (width - len(answer)) for answer in chosen]
        lengths = torch.tensor([len(answer) for answer in completions])
        return Rollout(
            prompt_ids=ids,
            prompt_mask=mask,
            completion_ids=torch.tensor(rows, device=device),
            completion_mask=(torch.arange(width) < lengths[:, None]).long().to(device),
            log_probs=torch.tensor(chosen, dtype=torch.float32, device=device),
            ended=torch.tensor([answer[-1] in ends for answer in completions], device=device),
        )


class WeightsToVllm(TrainerCallback):
    """Gives vLLM the policy's weights at the beginning of each optimizer step."""

    def __init__(self, rollout: VllmRollout) -> None:
        self.rollout = rollout

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.rollout.vllm.sync_weights()
