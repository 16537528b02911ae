"""What is watched while a run trains, and what is done about it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from rlexp.spec.part import Part, off_as_word

GUARDS = ("reward_hacking", "kl_budget", "forgetting", "collapse", "instability", "truncation")


Action = Annotated[Literal["off", "warn", "stop"], BeforeValidator(off_as_word)]


class GuardsSpec(Part):
    """The guards: each does nothing, warns, or ends the training."""

    name: Annotated[str, BeforeValidator(off_as_word)]
    """What cards and tables call it."""
    reward_hacking: Action
    """The reward rises while held-out measures that it does not ask for fall (Gao et al. 2022,
    arXiv:2210.10760; Skalse et al. 2022, arXiv:2209.13085)."""
    kl_budget: Action
    """The policy is further from its reference than `kl_limit`."""
    forgetting: Action
    """The perplexity of held-out texts has risen by `perplexity_rise`."""
    collapse: Action
    """The policy's answers have become all alike."""
    instability: Action
    """Loss, gradient norm, ratio or KL jump."""
    truncation: Action
    """More than `cut_share` of the answers are cut at the length limit: looked for before training
    as well, where `stop` warns, and then in the first steps."""
    every: int = Field(gt=0)
    """Steps between two small looks at held-out prompts. Something suspicious in the training's
    own answers, which cost nothing, or in the look before brings one sooner."""
    prompts: int = Field(ge=8)
    """Held-out prompts of a look, one completion each, sampled with the same random numbers as
    before training."""
    texts: int = Field(ge=0)
    """Held-out texts of a look, for perplexity; 0 leaves it out."""
    answers: int = Field(ge=0)
    """Of the training's own answers, how many a step are read; 0 leaves it to the looks."""
    grammatical_fall: float = Field(gt=0, le=1)
    """Fall of the share of grammatical sentences that counts 1. Sound runs of the film reviews lose
    up to 0.07, policies that game the reward 0.3 to 1."""
    gold_fall: float = Field(gt=0)
    """Fall of a reward of `eval.gold`, or of a term of the mix, that counts 1, in standard
    deviations of the samples before training: 0.2 is a small effect, 0.5 a medium one (Cohen
    1988)."""
    reference_perplexity_rise: float = Field(gt=1)
    """Rise of the perplexity of the policy's samples to the reference that counts 1, as a factor:
    1.5 is 0.4 nats a token. Praise as people write it surprises the reference less than before."""
    perplexity_rise: float = Field(gt=1)
    """Factor by which the perplexity of held-out texts may rise. A policy that has learned to
    praise films finds blame 1.3 times as perplexing with a KL penalty, up to 1.9 times without."""
    distinct_fall: float = Field(gt=1)
    """Fall of the share of distinct pairs of tokens that is a collapse, as a factor, and that
    counts 1 for reward hacking, which takes it for 0.75 at most (Li et al. 2016,
    arXiv:1510.03055). Sound runs of the film reviews lose a quarter."""
    length_drift: float = Field(gt=1)
    """Factor of growth or shrinking of completions that counts 1, which is taken for 0.75 at most
    (Singhal et al. 2023, arXiv:2310.03716)."""
    threshold: float = Field(gt=0)
    """Reward hacking fires when its measures add up to this, each in units of the change that
    counts 1 (on a log scale for factors): a model comes apart in all of them at once. Sound runs of
    the film reviews come to 1.8 at most."""
    patience: int = Field(ge=0)
    """Steps for which they have added up to a third of that, so that an update that went too far,
    and is taken back, is not called reward hacking; twice as many where they fall again. The first
    `every` steps do not count."""
    kl_limit: float = Field(gt=0)
    """Nats a token from the reference. Learning to praise films takes 0.07; runs without a KL
    penalty that ended in gibberish reached 4."""
    entropy_fall: float = Field(gt=1)
    """Factor by which the entropy a token may fall (Cui et al. 2025, arXiv:2505.22617)."""
    zero_variance: float = Field(gt=0, le=1)
    """Share of groups whose answers all earn the same: they teach nothing (DAPO,
    arXiv:2503.14476)."""
    cut_share: float = Field(gt=0, lt=1)
    """Share of answers that are cut at the length limit."""
    spike: float = Field(gt=1)
    """How far the median of three steps lies above that of the steps before, in median absolute
    deviations of these."""
    window: int = Field(ge=4)
    """Steps that a jump is compared with."""

    def action(self, guard: str) -> Action:
        """What a guard of `GUARDS` does."""
        return getattr(self, guard)

    @property
    def may_stop(self) -> bool:
        """Whether a guard can end the training."""
        return any(self.action(guard) == "stop" for guard in GUARDS)

    def watched(self) -> tuple[str, ...]:
        """The guards that are not off."""
        return tuple(guard for guard in GUARDS if self.action(guard) != "off")
