"""A padded batch says of each text what the model says of it alone, in training and in sampling."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from runs import spec_of
from small_models import small_model

from rlexp.models.load import fit_padding
from rlexp.models.padding.treatment import PaddingTreatment, UnfitModel, padding_treatment
from rlexp.models.sampling.rollout import roll_out
from rlexp.spec.errors import UserError
from rlexp.trainers.token_scores.sequences import Sequences, score_tokens

TREATMENTS = {
    "qwen2": PaddingTreatment("plain", "padded", shares=True),
    "gpt2": PaddingTreatment("positions", "padded", shares=True),
    "recurrent_gemma": PaddingTreatment("apart", "reread"),
    "openai-gpt": PaddingTreatment("positions", "reread"),
    "gptj": PaddingTreatment("plain", "padded", shares=True),
}
PROMPTS = [[5, 6, 7, 8, 9], [9, 4], [10, 11, 12], [9, 4]]


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    return {kind: small_model(kind) for kind in TREATMENTS}


def treated(kind: str) -> Any:
    """The same model again, which reads padding as it needs."""
    model = small_model(kind)
    TREATMENTS[kind].apply(model)
    return model


def both_sides(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows with padding on the left, and two columns of it on the right."""
    width = max(map(len, rows))
    ids = [[0] * (width - len(row)) + row + [0, 0] for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) + [0, 0] for row in rows]
    return torch.tensor(ids), torch.tensor(mask)


@pytest.mark.parametrize("kind", TREATMENTS)
def test_what_a_model_needs_is_measured(kind: str, models: dict[str, Any]) -> None:
    """A state or positions that read padding, of a model that is trained on nonsense then."""
    model, before = models[kind], torch.random.get_rng_state()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    assert padding_treatment(model) == TREATMENTS[kind]
    assert model.training  # and nothing else was changed
    assert "forward" not in vars(model.base_model)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    model.eval()


@pytest.mark.parametrize("kind", TREATMENTS)
def test_padded_logits_and_gradients_are_those_of_each_row(
    kind: str, models: dict[str, Any]
) -> None:
    """Rows put back in another order, or gradients that do not flow through them."""
    model = treated(kind)
    ids, mask = both_sides(PROMPTS)
    padded = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    assert padded.shape[:2] == ids.shape
    for logits, present, row in zip(padded, mask.bool(), PROMPTS, strict=True):
        alone = models[kind](input_ids=torch.tensor([row]), use_cache=False).logits[0]
        torch.testing.assert_close(logits[present], alone, atol=1e-4, rtol=1e-4)
    (gradient,) = torch.autograd.grad(
        padded[mask.bool()].logsumexp(-1).sum(), model.get_output_embeddings().weight
    )
    expected = sum(
        torch.autograd.grad(
            models[kind](input_ids=torch.tensor([row]), use_cache=False).logits.logsumexp(-1).sum(),
            models[kind].get_output_embeddings().weight,
        )[0]
        for row in PROMPTS
    )
    torch.testing.assert_close(gradient, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", TREATMENTS)
def test_sampled_log_probs_are_those_that_training_sees(kind: str) -> None:
    """A cache that padding has spoilt: what is sampled is unlikely to the model that is trained."""
    model = treated(kind)
    rollout = roll_out(
        model,
        PROMPTS,
        max_new_tokens=6,
        eos_token_ids=[1],
        pad_token_id=0,
        generator=torch.Generator().manual_seed(3),
        grouping=TREATMENTS[kind].sampling,
    )
    with torch.no_grad():
        scored = score_tokens(model, Sequences.from_rollout(rollout), 1.0, None).log_probs
    difference = (scored - rollout.log_probs) * rollout.completion_mask
    assert difference.abs().max() < 1e-3


def test_the_answers_do_not_depend_on_the_grouping(models: dict[str, Any]) -> None:
    """Random numbers that are drawn for a group instead of for a row."""
    answers = [
        roll_out(
            models["qwen2"],
            PROMPTS,
            max_new_tokens=5,
            eos_token_ids=[1],
            pad_token_id=0,
            generator=torch.Generator().manual_seed(0),
            grouping=grouping,
        ).completions()
        for grouping in ("padded", "apart", "reread")
    ]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("kind", ["gpt2", "recurrent_gemma"])
def test_a_copy_reads_with_its_own_weights(kind: str) -> None:
    """A reference that is a copy of the policy, and goes on calling the policy's body."""
    model = treated(kind)
    reference = copy.deepcopy(model)
    ids, mask = both_sides(PROMPTS)
    with torch.no_grad():
        before = reference(input_ids=ids, attention_mask=mask, use_cache=False).logits
        for weight in model.parameters():
            weight.zero_()
        after = reference(input_ids=ids, attention_mask=mask, use_cache=False).logits
    assert torch.equal(before, after)


def test_a_model_that_looks_ahead_is_refused() -> None:
    """A permutation model, causal by its config, that is trained as if it wrote."""
    with pytest.raises(UnfitModel, match="what follows"):
        padding_treatment(small_model("xlnet"))


def test_a_model_that_reads_padding_all_the_same_is_refused() -> None:
    """A head that does not hand the mask on to the body, where padding is kept from it."""
    with pytest.raises(UnfitModel, match="reads padding"):
        padding_treatment(small_model("rwkv"))


@pytest.mark.parametrize(
    ("kind", "words", "remedy"),
    [
        ("xlnet", [], "model.path=builtin:tiny"),
        ("recurrent_gemma", ["algo.rollout=transformers"], "algo.rollout=fast"),
    ],
)
def test_what_cannot_be_padded_is_refused_with_what_can(
    kind: str, words: list[str], remedy: str
) -> None:
    """A remedy that leads to the same refusal."""
    with pytest.raises(UserError) as caught:
        fit_padding(spec_of(*words), small_model(kind), [])
    (problem,) = caught.value.problems
    assert problem.remedy.removesuffix(".").endswith(remedy)
    kind = "qwen2" if remedy.startswith("model.path") else kind
    fit_padding(spec_of(*words, remedy), small_model(kind), [])


def test_people_are_told_once() -> None:
    """A note on every run of a model that padding leaves alone."""
    assert PaddingTreatment().notes() == []
    (note,) = PaddingTreatment("apart", "apart").notes()
    assert "by themselves" in note
    positions, slow = PaddingTreatment("positions", "reread").notes()
    assert "positions" in positions and "slow" in slow
