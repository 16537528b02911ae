"""Distillation from a teacher with other tokens (GOLD, Patino et al. 2025), by TRL's GOLDTrainer.

Answers are cut where both tokenizers end a token at the same byte. For each piece between two such
places, with the probabilities of the tokens before its last one multiplied in, tokens that both
vocabularies have are compared by the divergence, and the others by the distance of their sorted
probabilities (Boizard et al. 2024, arXiv:2402.12030), weighed by the share of the teacher's tokens
that are of either kind. An answer's last token is left out: endings are not taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trl.experimental.gold import GOLDConfig, GOLDTrainer

from rlexp.algos.common.policy import PolicyToTrain
from rlexp.spec.text import Text

Row = dict[str, Any]


def gold_arguments(arguments: dict[str, Any], teacher: Path, longest: int) -> GOLDConfig:
    """Return GOLD's config.

    Args:
        arguments: those that distillation shares with other trainers that sample.
        teacher: folder with the teacher's tokenizer.
        longest: tokens of the longest prompt and answer.
    """
    temperature = arguments["temperature"]
    return GOLDConfig(
        **arguments,
        lmbda=1.0,  # every answer is the policy's own
        max_length=longest,
        use_uld_loss=True,
        uld_use_hybrid_loss=True,
        uld_token_merge_strategy="bayesian",  # the other one looks at the next token's logits
        uld_student_temperature=temperature,
        uld_teacher_temperature=temperature,
        teacher_tokenizer_name_or_path=str(teacher),
    )


def prompt_texts(policy: PolicyToTrain, prompts: Sequence[Text]) -> list[str]:
    """Return prompts as texts that become the policy's own tokens, without any around them."""
    ids = policy.encode(prompts)
    options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    return [policy.tokenizer.decode(one, **options) for one in ids]


class CrossTokenizerTrainer(GOLDTrainer):
    """GOLD whose teacher reads prompts as its own chat template writes them."""

    def __init__(self, *args: Any, prompts: Sequence[Text], ends: list[int], **kwargs: Any) -> None:
        """
        Args:
            prompts: of the rows, as the data has them.
            ends: tokens that end an answer of the policy's.
        """
        super().__init__(*args, **kwargs)
        dataset: Any = self.train_dataset
        texts = dataset["original_prompt_text"]
        self._teacher_texts = dict(zip(texts, map(self._teacher_text, prompts), strict=True))
        self.generation_config.eos_token_id = ends
        # Its loss is a mean over answers: micro-batches are to be averaged as well.
        self.model_accepts_loss_kwargs = False

    def _teacher_text(self, prompt: Text) -> str:
        tokenizer: Any = self.teacher_tokenizer
        if isinstance(prompt, str):
            return prompt
        options = {"tokenize": False, "add_generation_prompt": True}
        text = str(tokenizer.apply_chat_template(prompt, **options))
        # which the tokenizer will put there
        begin = tokenizer.decode(tokenizer("")["input_ids"][:1])
        return text.removeprefix(begin) if begin != tokenizer.eos_token else text

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Return GOLD's loss, the teacher's prompts being its own."""
        texts = [self._teacher_texts[text] for text in inputs["original_prompt_text"]]
        inputs = {**inputs, "original_prompt_text": texts}
        return super().compute_loss(model, inputs, *args, **kwargs)
