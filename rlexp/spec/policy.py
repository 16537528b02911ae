"""What the rest of the house may ask of a policy, whatever loaded it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rlexp.spec.reward import Text
from rlexp.spec.thinking import Thought

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Completion:
    """One sampled answer."""

    text: str
    """Decoded, special tokens left out."""
    prompt_ids: list[int]
    """The prompt's tokens, unpadded."""
    token_ids: list[int]
    """The answer's tokens, unpadded; the end token is the last one when `ended`."""
    ended: bool
    """False when the answer was cut at the length limit."""
    thought: Thought | None = None
    """Its thinking, where rewards are not to see that."""

    @property
    def answer(self) -> str:
        """What rewards see of the text."""
        return self.text[self.thought.characters :] if self.thought else self.text

    @property
    def answer_ids(self) -> list[int]:
        """The tokens of that, with the end token where there is one."""
        return self.token_ids[self.thought.tokens :] if self.thought else self.token_ids


class PolicyLike(Protocol):
    """A language model that can be sampled from, and compared with what it started from."""

    model: PreTrainedModel
    """A causal LM, or a PEFT model around one, which hands on all that it is asked."""
    tokenizer: Any
    """Pads on the left; has a padding token."""

    def complete(
        self,
        prompts: Sequence[Text],
        *,
        completions: int,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        batch_size: int,
    ) -> list[list[Completion]]:
        """Sample `completions` answers to each prompt; the global random state stays as it was."""
        ...

    def reference(self) -> AbstractContextManager[Any]:
        """The model as it was before training, on the policy's device, in eval mode."""
        ...
