"""Distillation from a teacher with other tokens: GOLD's loss against a slow float64 loop."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from chat_tokenizers import CHATML, LLAMA3, MARKERS, byte_tokenizer, save_chat_model
from runs import SHORT, problems_of, spec_of
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from rlexp.algos.common.trl import Training
from rlexp.models.padding.treatment import padding_treatment
from rlexp.models.policy import Policy
from rlexp.models.tokenizer import ModelTokenizer
from rlexp.runner.callbacks import RestoreTrainerState

PROMPTS = [
    [{"role": "user", "content": f"Which way, {name}?"}] for name in ("Ann", "Bo", "Cy", "Di")
]
CUT = "there or left, no, I think it"  # the longest: at the limit
ANSWERS = ["Left, I think.<|im_end|>", "the other way<|im_end|>", CUT, "there it is<|im_end|>"]


def merging_tokenizer() -> Any:
    """A byte-level tokenizer that has learnt pairs of bytes, with a first token and a template of
    its own."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<s>", "</s>", *(name for name in MARKERS if name != "<|im_end|>")]
    trainer = trainers.BpeTrainer(
        vocab_size=len(special) + 256 + 20, special_tokens=special, initial_alphabet=alphabet
    )
    backend.train_from_iterator(
        ["the other way it is there, I think", "left or no way"] * 9, trainer
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<|eot_id|>", bos_token="<s>",
        padding_side="left", chat_template=LLAMA3, clean_up_tokenization_spaces=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The policy's and the teacher's."""
    root = tmp_path_factory.mktemp("across")
    policy = save_chat_model(root / "policy", byte_tokenizer(CHATML))
    return policy, save_chat_model(root / "teacher", merging_tokenizer())


@pytest.fixture(autouse=True)
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a run has it: TRL warns of what it calls experimental."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")


def words_of(folders: tuple[Path, Path], *words: str) -> list[str]:
    policy, teacher = folders
    return [
        *["algo=distill", "algo.across_tokenizers=true", f"algo.teacher={teacher}", "reward=none"],
        *["model=local", f"model.path={policy}", "peft=none", "algo.max_completion_length=30"],
        *[*SHORT, "train.batch_size=4", "train.micro_batch_size=4", *words],
    ]


def built(folders: tuple[Path, Path], folder: Path, *words: str) -> tuple[Any, Policy]:
    spec = spec_of(*words_of(folders, *words))
    spec.algo.prepare("cpu", lambda path, *_: Path(path))
    reader = ModelTokenizer.load(spec.model, folders[0])
    weights = AutoModelForCausalLM.from_pretrained(folders[0])
    policy = Policy(weights, reader.tokenizer, folders[0], spec.model, True, None, 1.0, [])
    policy.padding = padding_treatment(weights)
    policy.treat_padding(weights)
    rows = [{"prompt": prompt} for prompt in PROMPTS]
    training = Training(spec, policy, rows, folder, False, [RestoreTrainerState()])
    return spec.algo.build_trainer(training), policy


def spans(tokenizer: Any, ids: list[int]) -> list[int]:
    """The byte at which each token ends."""
    lengths = [len(piece) for piece in tokenizer.convert_ids_to_tokens(ids)]
    return [sum(lengths[: place + 1]) for place in range(len(lengths))]


def distributions(model: Any, prompt: list[int], answer: list[int], temperature: float) -> Any:
    """At each token of an answer what the model expects there, in float64."""
    return torch.stack(
        [
            (model(torch.tensor([prompt + answer[:place]])).logits[0, -1] / temperature).softmax(-1)
            for place in range(len(answer))
        ]
    )


def pieces(ends: tuple[list[int], list[int]]) -> list[tuple[list[int], list[int]]]:
    """The tokens of both between two bytes at which both end one; a rest counts as a piece."""
    cuts = [0, *sorted(set(ends[0]) & set(ends[1])), 10**9]
    groups = [
        tuple([n for n, end in enumerate(side) if low < end <= high] for side in ends)
        for low, high in pairwise(cuts)
    ]
    return [(one, other) for one, other in groups if one and other]


def merged(probabilities: Any, ids: list[int], group: list[int]) -> Any:
    *earlier, last = group
    product = torch.tensor(1.0, dtype=torch.float64)
    for place in earlier:
        product = product * probabilities[place, ids[place]]
    return product * probabilities[last]


def slow_loss(trainer: Any, policy: Policy, beta: float, temperature: float) -> Any:
    """The loss of PROMPTS and ANSWERS, piece by piece."""
    student, teacher = trainer.model.double(), trainer.teacher_model.double()
    of_student, of_teacher = policy.tokenizer, merging_tokenizer()
    own, others = of_student.get_vocab(), of_teacher.get_vocab()
    shared = [(own[name], others[name]) for name in others if name in own]
    columns = [list(side) for side in zip(*shared, strict=True)]
    sizes = [model.config.vocab_size for model in (student, teacher)]
    rest = [sorted({*range(n)} - {*side}) for n, side in zip(sizes, columns, strict=True)]
    weight = len(shared) / sizes[1]
    losses = []
    for prompt, answer in zip(PROMPTS, ANSWERS, strict=True):
        read = [
            tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)[
                "input_ids"
            ]
            for tokenizer in (of_student, of_teacher)
        ]
        wrote = [of_student(answer)["input_ids"][:-1], of_teacher(answer)["input_ids"]]
        q = distributions(student, read[0], wrote[0], temperature)
        p = distributions(teacher, read[1], wrote[1], temperature).detach()
        ends = spans(of_student, wrote[0]), spans(of_teacher, wrote[1])
        matched, unmatched = [], []
        for group, other in pieces(ends):
            one, two = merged(q, wrote[0], group), merged(p, wrote[1], other)
            # TRL takes no probability for less than this
            a, b = one[columns[0]].clamp_min(1e-8), two[columns[1]].clamp_min(1e-8)
            if beta == 1:
                matched.append((a * (a / b).log()).sum())
            else:
                mixture = beta * b + (1 - beta) * a
                matched.append(
                    beta * (b * (b / mixture).log()).sum()
                    + (1 - beta) * (a * (a / mixture).log()).sum()
                )
            c, d = (
                side[kept].sort(descending=True)[0]
                for side, kept in zip((one, two), rest, strict=True)
            )
            size = max(len(c), len(d))
            c, d = (torch.nn.functional.pad(side, (0, size - len(side))) for side in (c, d))
            unmatched.append((c - d).abs().sum())
        mean = [torch.stack(values).mean() for values in (matched, unmatched)]
        losses.append(weight * mean[0] + (1 - weight) * mean[1])
    return torch.stack(losses).mean()


@pytest.mark.parametrize("divergence", [0.4, 1.0])
def test_the_loss_is_that_of_a_slow_loop(
    divergence: float, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Logits of the next token, tokens that are aligned by their place, a teacher that reads the
    policy's markers, and a first token twice."""
    trainer, policy = built(
        folders, tmp_path, f"algo.divergence={divergence}", "algo.temperature=1.5"
    )
    seen: list[list[int]] = []

    def answer(prompts: list[list[int]], **sampling: Any) -> Any:
        seen.extend(prompts)
        order = [encoded.index(ids) for ids in prompts]
        ids = [torch.tensor(policy.tokenizer(ANSWERS[place])["input_ids"]) for place in order]
        padded = torch.nn.utils.rnn.pad_sequence(ids, True, policy.tokenizer.pad_token_id)
        return SimpleNamespace(completion_ids=padded)

    encoded = policy.encode(PROMPTS)
    policy.sampler = answer
    nothing: Any = None
    policy.in_place_of_generate().on_train_begin(nothing, nothing, nothing)
    trainer.model.train()
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    gradient = trainer.model.get_input_embeddings().weight.grad.double().clone()
    assert sorted(seen) == sorted(encoded)
    trainer.model.zero_grad()
    slow = slow_loss(trainer, policy, divergence, 1.5)
    slow.backward()
    assert loss.item() == pytest.approx(slow.item(), rel=1e-4)
    torch.testing.assert_close(
        gradient, trainer.model.get_input_embeddings().weight.grad, rtol=1e-3, atol=1e-6
    )


def test_micro_batches_are_averaged_and_a_training_goes_on(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Gradients that add up over the micro-batches; an order or a random state that begins anew."""
    words = ("train.max_steps=3", "train.micro_batch_size=2", "algo.max_completion_length=6")
    whole, _ = built(folders, tmp_path, *words)
    assert not whole.model_accepts_loss_kwargs
    whole.train()
    again, _ = built(folders, tmp_path, *words)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name


def test_what_only_a_teacher_of_the_same_tokens_can_do_is_refused(
    folders: tuple[Path, Path],
) -> None:
    """Knobs that GOLD never hears of; other tokens without a word on what to do about it."""
    words = words_of(folders)
    for more in ('algo.teacher_prompt="{prompt}!"', "++algo.trl.min_p=0.1"):
        told = problems_of(*words, more)["algo.across_tokenizers"]
        assert "algo.across_tokenizers=false" in told
    off = [word for word in words if word != "algo.across_tokenizers=true"]
    assert "algo.across_tokenizers=true" in problems_of(*off)["algo.teacher"]
