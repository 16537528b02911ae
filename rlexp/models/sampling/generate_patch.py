"""`generate` of a model, answered by rlexp's rollouts while a trainer trains.

Some of TRL's trainers know no other way to sample than `model.generate`. The method is set on the
one model that is trained, with an adapter or without, and taken away at the training's end: class,
weights and checkpoints know nothing of it.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    GenerationConfig,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.generation import GenerateDecoderOnlyOutput

from rlexp.models.sampling.kv_cache import unpadded
from rlexp.spec.errors import Problem, UserError

SUPPORTED = ("max_new_tokens", "temperature", "top_k", "top_p")
IGNORED = frozenset({"bos_token_id", "use_cache", "disable_compile", "transformers_version"})
"""Options of `generate` that do not change what is sampled after a prompt with its own tokens."""
OFF = {"repetition_penalty": 1.0, "min_p": 0.0}
"""Values of options that are switched off; None is as well."""


class InPlaceOfGenerate(TrainerCallback):
    """Replaces `generate` of a policy's model from a training's begin to its end."""

    def __init__(self, policy: Any) -> None:
        """
        Args:
            policy: a `rlexp.models.policy.Policy` whose model is the one that is trained.
        """
        self.policy = policy

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.policy.model.generate = self.generate

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        del self.policy.model.generate

    def generate(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        generation_config: GenerationConfig,
        return_dict_in_generate: bool = False,
    ) -> torch.Tensor | GenerateDecoderOnlyOutput:
        """Prompts with their answers (n, p + t), as transformers' `generate` gives them.

        Args:
            input_ids: (n, p), padded on the left.
            attention_mask: (n, p), 1 where a prompt's token stands.
            generation_config: how to sample.
            return_dict_in_generate: whether they are to be an output's `sequences`.

        Raises:
            UserError: an option that the rollouts do not know.
        """
        self._check_options(generation_config)
        sampling = {name: getattr(generation_config, name) for name in SUPPORTED}
        rollout = self.policy.roll_out_ids(unpadded(input_ids, attention_mask), **sampling)
        sequences: Any = torch.cat([input_ids, rollout.completion_ids.to(input_ids)], dim=1)
        return GenerateDecoderOnlyOutput(sequences) if return_dict_in_generate else sequences

    def _check_options(self, config: GenerationConfig) -> None:
        ours = {
            "do_sample": True,
            "eos_token_id": self.policy.eos_token_ids,
            "pad_token_id": self.policy.tokenizer.pad_token_id,
        }
        options = {**dict.fromkeys(ours), **config.to_diff_dict()}
        wrong = {
            name: value
            for name, value in options.items()
            if name not in SUPPORTED
            and name not in IGNORED
            and value not in (ours.get(name), OFF.get(name))
        }
        if wrong:
            got = ", ".join(f"{name}={value}" for name, value in wrong.items())
            want = "what rollouts outside of transformers know: length, temperature, top_k, top_p"
            remedy = "Set algo.rollout=transformers."
            raise UserError(Problem("algo.rollout", f"generation with {got}", want, remedy))
