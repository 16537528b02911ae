"""The critic: what a state is worth, from the policy's own body or from one of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rlexp.trainers.token_scores.sequences import Sequences, score_tokens
from rlexp.trainers.token_scores.vocabulary_head import vocabulary_head

WIDTH = 64
"""Of the head's hidden layer."""


class ValueHead(nn.Module):
    """Values of hidden states: normalised, one layer of tanh, and an output that begins at 0.

    A critic that first says 0 everywhere leaves the first advantages to the rewards alone. Inputs
    are scaled by 1 / size and their weights by size, so that Adam's steps move the layer as much in
    a wide body as in a narrow one and one learning rate suits both (Yang et al. 2022,
    arXiv:2203.03466, table 8).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = WIDTH / size
        self.norm = nn.LayerNorm(size)
        self.inner = nn.Linear(size, WIDTH)
        self.output = nn.Linear(WIDTH, 1)
        with torch.no_grad():
            self.inner.weight.div_(self.scale)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Return values (n, t) of states (n, t, h); in float32 also where the policy is not, for a
        bfloat16 has two digits, and advantages are differences of values."""
        with torch.autocast(states.device.type, enabled=False):
            scaled = self.norm(states.float()) * self.scale
            return self.output(self.inner(scaled).tanh()).squeeze(-1)


class ActorCritic(nn.Module):
    """Policy and critic behind one forward pass, as data parallelism wants them.

    Attributes:
        policy: a transformers causal LM, or a PEFT model around one.
        body: a transformers model without a head, for the critic alone; None shares the policy's.
        head: from the body's last hidden states to values.
        vocabulary: from the policy's to logits.
    """

    def __init__(self, policy: Any, body: Any | None) -> None:
        super().__init__()
        self.policy = policy
        self.body = body
        config = policy.config if body is None else body.config
        self.vocabulary = vocabulary_head(policy)
        self.head = ValueHead(config.get_text_config().hidden_size).to(policy.device)

    def forward(
        self, sequences: Sequences, temperature: float, entropy: bool = False
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return log-probabilities, entropies (where wanted) and values of answers, each (n, t).

        The value at a position is that of the state before the token, which is what the token's
        advantage is measured from.
        """
        scores = score_tokens(self.policy, sequences, temperature, self.vocabulary, entropy=entropy)
        states = scores.states if self.body is None else self._states(sequences)
        return scores.log_probs, scores.entropy, self.head(states)

    def critic_modules(self) -> nn.Module:
        """Return everything of the critic that is not the policy's."""
        body = {} if self.body is None else {"body": self.body}
        return nn.ModuleDict({"head": self.head, **body})

    def _states(self, sequences: Sequences) -> Tensor:
        assert self.body is not None
        output = self.body(**sequences.model_inputs(), use_cache=False)
        length = sequences.mask.shape[1]
        return output.last_hidden_state[:, -length - 1 : -1]


def trainable_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that gradients go to."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
