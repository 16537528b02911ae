"""The loop that samples: each architecture's cache, batches that shrink, what is left untouched."""

import copy
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model

from rlexp.models.sampling import kv_cache, rollout
from rlexp.models.sampling.kv_cache import PreallocatedCacheLayer
from rlexp.models.sampling.rollout import roll_out

PAD, ENDS, VOCABULARY = 0, [1, 2], 24
PROMPTS = [[5], [7, 3, 9, 11, 4, 20], [8, 8, 6], [7, 3, 9, 11, 4, 20], [21, 5], [3] * 9, [5], [23]]

SHAPE: dict[str, Any] = dict(
    vocab_size=VOCABULARY,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
    max_position_embeddings=64,
    initializer_range=0.3,
)
CONFIGS: dict[str, Any] = {
    "qwen2": transformers.Qwen2Config(**SHAPE),
    "llama": transformers.LlamaConfig(**SHAPE),
    "gpt2": transformers.GPT2Config(  # learned absolute positions
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=0.3
    ),
    "gemma2": transformers.Gemma2Config(**SHAPE, sliding_window=4),  # every other layer forgets
    "bloom": transformers.BloomConfig(  # takes no positions
        vocab_size=VOCABULARY, hidden_size=16, n_layer=2, n_head=2, initializer_range=0.3
    ),
}


def model_of(kind: str = "qwen2") -> Any:
    torch.manual_seed(1)
    return transformers.AutoModelForCausalLM.from_config(CONFIGS[kind])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rolled(model: Any, prompts: list[list[int]] = PROMPTS, **changes: Any) -> rollout.Rollout:
    how = {"max_new_tokens": 12, "eos_token_ids": ENDS, "pad_token_id": PAD, "generator": seeded()}
    return roll_out(model, prompts, **how | changes)


def teacher_forced(model: Any, prompt: list[int], answer: list[int], temperature: float) -> Any:
    """Log-probabilities of an answer's tokens, read at once, alone and without padding."""
    with torch.no_grad():
        logits = model.eval()(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    return (logits / temperature).log_softmax(-1)[range(len(answer)), answer]


@pytest.mark.parametrize("kind", CONFIGS)
def test_log_probs_are_those_of_one_pass_over_each_answer_alone(kind):
    """Catches positions that are off under left padding, a mask that lets padding in, a cache
    whose rows are mixed up when answers end, and log-probabilities of another token."""
    model = model_of(kind)
    prompts = PROMPTS * 3
    sampled = rolled(model, prompts, temperature=0.7)
    lengths = {len(answer) for answer in sampled.completions()}
    assert len(lengths) > 3, "answers must end at different steps for this test to tell anything"
    assert sampled.prompts() == prompts
    log_probs = sampled.completion_log_probs()
    for prompt, answer, got in zip(prompts, sampled.completions(), log_probs, strict=True):
        exact = teacher_forced(model, prompt, answer, temperature=0.7)
        torch.testing.assert_close(torch.tensor(got), exact, atol=1e-5, rtol=0)


def test_an_adapter_takes_part():
    """Catches a loop that goes around a PEFT model to the weights beneath."""
    model = model_of()
    without = rolled(copy.deepcopy(model))
    model = get_peft_model(model, LoraConfig(target_modules="all-linear", init_lora_weights=False))
    sampled = rolled(model)
    assert sampled.completions() != without.completions()
    for prompt, answer, got in zip(
        PROMPTS, sampled.completions(), sampled.completion_log_probs(), strict=True
    ):
        exact = teacher_forced(model, prompt, answer, temperature=1.0)
        torch.testing.assert_close(torch.tensor(got), exact, atol=1e-5, rtol=0)


def test_shapes_and_padding():
    """Catches an end token that is cut off, tokens behind it, and a `t` longer than any answer."""
    sampled = rolled(model_of(), PROMPTS * 3)
    n, width = sampled.completion_ids.shape
    assert n == len(PROMPTS) * 3 and width == sampled.completion_mask.sum(1).max()
    assert sampled.log_probs.dtype == torch.float32 and sampled.ended.dtype == torch.bool
    assert sampled.completion_ids[sampled.completion_mask == 0].eq(PAD).all()
    assert sampled.log_probs[sampled.completion_mask == 0].eq(0).all()
    for answer, ended in zip(sampled.completions(), sampled.ended.tolist(), strict=True):
        assert (answer[-1] in ENDS) == ended and not set(answer[:-1]) & set(ENDS)
        assert ended or len(answer) == 12
    assert {answer[-1] for answer in sampled.completions()} >= set(ENDS), "each end token ends"


@pytest.mark.parametrize("keep", [0.0, 0.85, 1.0])
def test_answers_that_end_change_nothing_for_the_others(monkeypatch, keep):
    """Catches draws that move to another row when the batch shrinks: without end tokens, with
    which nothing ever leaves it, each answer must begin with the same tokens."""
    monkeypatch.setattr(rollout, "KEEP", keep)
    model = model_of()
    endless = rolled(model, PROMPTS * 3, eos_token_ids=[]).completions()
    answers = rolled(model, PROMPTS * 3).completions()
    assert any(len(answer) < 12 for answer in answers)
    for answer, whole in zip(answers, endless, strict=True):
        assert answer == whole[: len(answer)] and len(whole) == 12


def test_repeated_prompts_are_read_once_and_ended_answers_leave_the_batch():
    """Catches work that grows with the group, and rows that are computed to the end for nothing."""
    model, shapes = model_of(), []
    model.register_forward_pre_hook(
        lambda _, __, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    lengths = torch.tensor([len(answer) for answer in rolled(model, PROMPTS * 8).completions()])
    assert shapes[0] == (6, 9)
    for step, (rows, tokens) in enumerate(shapes[1:], start=1):
        writing = int((lengths > step).sum())
        assert tokens == 1 and writing <= rows < writing / rollout.KEEP
    assert shapes[-1][0] < 48


def test_the_same_seed_gives_the_same_bits():
    """Catches randomness from anywhere but the generator, and a global state that moves with it."""
    model = model_of()
    before = torch.get_rng_state()
    first, second, other = rolled(model), rolled(model), rolled(model, generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.completion_ids, second.completion_ids)
    assert torch.equal(first.log_probs, second.log_probs)
    assert first.completions() != other.completions()


def test_without_a_generator_the_global_state_decides():
    """Catches a training whose rollouts neither follow its seed nor go on after a resume."""
    model, completions = model_of(), []
    for _ in range(2):
        torch.manual_seed(5)
        completions += [rolled(model, generator=None).completions() for _ in range(2)]
    assert (
        completions[0] == completions[2]
        and completions[1] == completions[3]
        and completions[0] != completions[1]
    )


def test_everything_may_end_at_once():
    """Catches a loop that goes on with no rows, and a mask that lacks a first end token."""
    sampled = rolled(model_of(), eos_token_ids=list(range(VOCABULARY)))
    assert sampled.completion_ids.shape == (len(PROMPTS), 1)
    assert sampled.ended.all() and sampled.completion_mask.eq(1).all()
    alone = rolled(model_of(), [[5, 6]], max_new_tokens=1, eos_token_ids=[])
    assert alone.completion_ids.shape == (1, 1) and not alone.ended.any()


def test_padding_by_the_end_token_is_no_end():
    """Catches answers whose length is counted from pad tokens: GPT-2 pads with its end token."""
    sampled = rolled(model_of("gpt2"), PROMPTS * 3, pad_token_id=ENDS[0])
    same = rolled(model_of("gpt2"), PROMPTS * 3)
    assert sampled.completions() == same.completions()
    assert torch.equal(sampled.ended, same.ended)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": []}, "must be a prompt"),
        ({"prompts": [[3], []]}, "every prompt needs a token"),
        ({"temperature": 0}, "above 0, got temperature=0"),
        ({"max_new_tokens": 0}, "above 0, .* max_new_tokens=0"),
    ],
)
def test_what_cannot_be_sampled_is_refused(changes, message):
    """Catches NaN from a temperature of 0, and an answer to padding."""
    with pytest.raises(ValueError, match=message):
        rolled(model_of(), **changes)


def test_a_model_without_a_cache_of_keys_is_refused_by_name():
    """Catches an answer from a recurrent model that never saw its past."""
    config = transformers.MambaConfig(vocab_size=VOCABULARY, hidden_size=8, num_hidden_layers=1)
    with pytest.raises(TypeError, match="MambaForCausalLM takes no past_key_values"):
        rolled(transformers.AutoModelForCausalLM.from_config(config))


@pytest.mark.parametrize("kind", ["plain", "adapter", "dynamic"])
def test_training_goes_on_after_a_rollout(kind):
    """Catches modules left in eval mode or put into training mode, a cache that gradient
    checkpointing drops, and tensors of inference mode that autograd refuses, also such as the
    model makes for itself when it reads beyond its first positions."""
    model = model_of()
    if kind == "adapter":
        model = get_peft_model(model, LoraConfig(target_modules="all-linear", lora_dropout=0.5))
        model.enable_input_require_grads()
    elif kind == "dynamic":
        rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
        shape: dict[str, Any] = SHAPE | {"max_position_embeddings": 4, "rope_parameters": rope}
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape))
    plain = rolled(copy.deepcopy(model))
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    model.get_input_embeddings().eval()
    modes = [module.training for module in model.modules()]
    sampled = rolled(model)
    assert [module.training for module in model.modules()] == modes
    assert sampled.completions() == plain.completions()
    logits = model(torch.cat([sampled.prompt_ids, sampled.completion_ids], 1)).logits
    loss = (
        logits[:, -sampled.log_probs.shape[1] :].log_softmax(-1)[..., 5] * sampled.log_probs
    ).sum()
    loss.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_the_mode_comes_back_after_a_failure():
    """Catches a policy without dropout for the rest of a training that went on."""
    model = model_of().train()
    with pytest.raises(IndexError):
        rolled(model, [[VOCABULARY + 1]])
    assert all(module.training for module in model.modules())


def test_room_ahead_changes_no_keys(monkeypatch):
    """Catches columns that are overwritten, lost when the room is used up, or left from rows that
    were dropped; and a copy of everything at each step."""
    monkeypatch.setattr(kv_cache, "ROOM", 8)
    roomy: Any = PreallocatedCacheLayer()
    plain: Any = transformers.cache_utils.DynamicLayer()
    draw, copies = seeded(), 0
    for step in range(40):
        if step in (7, 23):
            rows = torch.tensor([3, 0, 0] if step == 7 else [2, 1])
            roomy.reorder_cache(rows)
            plain.reorder_cache(rows)
        n = 4 if step < 7 else 3 if step < 23 else 2
        shape = (n, 2, 5 if step == 0 else 1, 3)
        keys, values = torch.randn(shape, generator=draw), torch.randn(shape, generator=draw)
        at = roomy.keys.data_ptr() if step else 0
        got, wanted = roomy.update(keys, values), plain.update(keys, values)
        assert torch.equal(got[0], wanted[0]) and torch.equal(got[1], wanted[1])
        assert roomy.get_seq_length() == plain.get_seq_length()
        assert roomy.get_mask_sizes(1) == plain.get_mask_sizes(1)
        copies += got[0].data_ptr() != at
    assert copies <= 9
