"""Which weights are trained: all of them, or an adapter's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from rlexp.spec.part import Part


class NoPeft(Part):
    """All weights are trained."""

    kind: Literal["none"]
    """No adapter."""


class LoraPeft(Part):
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685; DoRA: arXiv:2402.09353)."""

    kind: Literal["lora", "dora", "auto"]
    """`auto` takes LoRA only where training all weights would not fit the device's memory."""
    start: Literal["new", "continue"]
    """Where `model.path` is an adapter. `new`: it is merged into its base, and another one begins
    on that. `continue`: the same one is trained on, on its own base; `r`, `alpha` and
    `target_modules` must be its own. In both cases the reference is the model as it was."""
    r: int = Field(gt=0)
    """Rank of the update."""
    alpha: float = Field(gt=0)
    """The update is scaled by alpha / r."""
    dropout: float = Field(ge=0, lt=1)
    """Dropout on the adapter's input."""
    target_modules: str | list[str]
    """Module names that get an adapter; `all-linear` takes each linear layer but the head."""
    learning_rate_factor: float = Field(gt=0)
    """Adapters want a larger rate than whole weights: algo.learning_rate is multiplied by this."""
    save: Literal["adapter", "merged"]
    """What `model/` holds at the end: the adapter, which is small and loads on its base, or whole
    weights with the update in them. Checkpoints always hold the adapter."""


class QloraPeft(LoraPeft):
    """LoRA over weights in four bits (Dettmers et al. 2023, arXiv:2305.14314)."""

    kind: Literal["qlora"]  # pyright: ignore[reportIncompatibleVariableOverride]
    """LoRA over a base in four bits."""
    quant_type: Literal["nf4", "fp4"]
    """Four-bit data type."""
    double_quant: bool
    """Quantise the quantisation constants too: 0.4 bits a weight less."""

    @field_validator("start")
    @classmethod
    def _begins_anew(cls, start: str) -> str:
        if start == "continue":
            raise ValueError(
                "new: an adapter is merged into the whole weights before they are put into four "
                "bits, and another one begins"
            )
        return start

    @field_validator("save")
    @classmethod
    def _keeps_the_adapter(cls, save: str) -> str:
        if save == "merged":
            raise ValueError(
                "adapter: weights in four bits cannot take the update in without rounding it away; "
                "model.path=THE_RUNS_FOLDER/model merges it into the whole weights later"
            )
        return save


PeftSpec = Annotated[NoPeft | LoraPeft | QloraPeft, Field(discriminator="kind")]
