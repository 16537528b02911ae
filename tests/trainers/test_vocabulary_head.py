"""Log-probabilities by the head alone are those of the model, or the model is asked itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from on_policy import SmallPolicy, save_model
from peft import LoraConfig, get_peft_model
from small_models import small_model

from rlexp.models.policy import AdapterOff
from rlexp.trainers.token_scores.sequences import Sequences, score_tokens
from rlexp.trainers.token_scores.vocabulary_head import VocabularyHead, vocabulary_head


def sequences(vocabulary: int) -> Sequences:
    torch.manual_seed(0)
    ids = torch.randint(2, vocabulary, (3, 7))
    attention = torch.tensor([[0, 1, 1, 1, 1, 1, 0], [1] * 7, [1, 1, 1, 1, 0, 0, 0]])
    return Sequences(ids, attention, attention[:, 3:].float())


@pytest.mark.parametrize("kind", ["qwen2", "gpt2", "gptj"])
def test_scores_are_the_models(kind: str) -> None:
    """A position too early, padding that counts, or an entropy at another temperature."""
    model = small_model(kind).double().eval()
    batch, head = sequences(model.config.vocab_size), vocabulary_head(model)
    assert head == VocabularyHead(1.0, None)
    plain, sliced = (score_tokens(model, batch, 0.7, way, entropy=True) for way in (None, head))
    real = batch.mask.bool()
    for name in ("log_probs", "entropy"):
        value, expected = getattr(sliced, name), getattr(plain, name)
        torch.testing.assert_close(value[real].float(), expected[real], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sliced.states[real], plain.states[real])


@pytest.mark.parametrize(
    ("kind", "config", "expected"),
    [
        ("gemma2", {"final_logit_softcapping": 2.0}, VocabularyHead(1.0, 2.0)),
        ("cohere", {"logit_scale": 0.25}, VocabularyHead(0.25, None)),
    ],
)
def test_scales_and_caps_are_part_of_the_head(
    kind: str, config: dict[str, Any], expected: VocabularyHead
) -> None:
    """Gemma's bounded logits, or Cohere's scaled ones, taken for plain ones."""
    model = small_model(kind, **config).double().eval()
    ids, head = sequences(model.config.vocab_size).input_ids, vocabulary_head(model)
    batch = Sequences(ids, torch.ones_like(ids), torch.ones(3, 4))
    assert head is not None
    assert (head.scale, head.softcap) == (pytest.approx(expected.scale), expected.softcap)
    plain, sliced = (score_tokens(model, batch, 1.0, way) for way in (None, head))
    torch.testing.assert_close(sliced.log_probs.float(), plain.log_probs, rtol=1e-5, atol=1e-5)


def test_heads_that_do_more_are_not_replaced(tmp_path: Any) -> None:
    """An adapter on the head, or a layer in front of it, left out of what is trained."""
    model = SmallPolicy(save_model(tmp_path, ["a", "b"])).model
    config = LoraConfig(target_modules=["lm_head"], task_type="CAUSAL_LM")
    assert vocabulary_head(get_peft_model(model, config)) is None
    assert vocabulary_head(small_model("modernbert-decoder")) is None


def test_an_adapters_reference_is_scored_without_it(tmp_path: Any) -> None:
    """A reference whose body has the adapter on."""
    policy = SmallPolicy(save_model(tmp_path, ["a", "b"]))
    batch = sequences(policy.model.config.vocab_size)
    head = vocabulary_head(policy.model)
    expected = score_tokens(policy.model, batch, 1.0, head).log_probs
    config = LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    adapted = get_peft_model(policy.model, config)
    assert vocabulary_head(adapted) == head
    with torch.no_grad():
        off = score_tokens(AdapterOff(adapted), batch, 1.0, head).log_probs
        on = score_tokens(adapted, batch, 1.0, head).log_probs
    torch.testing.assert_close(off, expected.detach())
    assert not torch.allclose(on * batch.mask, off * batch.mask)
