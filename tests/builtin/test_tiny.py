"""The embedded tiny model: its cache under kills and races, its bits, and how well it learned."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import filelock
import pytest

from rlexp.builtin import grammar, tiny
from rlexp.builtin.new_model import END, PAD, SPECIAL_TOKENS
from rlexp.builtin.pretraining import Recipe
from rlexp.spec.errors import UserError

QUICK = Recipe(
    hidden_size=16, heads=2, intermediate_size=16, steps=5, batch_size=8, held_out=20, samples=20
)
ANY_TEXT = ["plain", " leading", "  two  spaces ", "a6", "é ü ß", "狐狸 🦊", "\t\r\n", "<a>&\x00"]

# A process of its own, which waits for a line from its parent at each step.
BUILDER = f"""
import sys
from pathlib import Path
from rlexp.builtin import tiny
from rlexp.builtin.pretraining import Recipe

def progress(step, steps, loss):
    print("step", step, flush=True)
    sys.stdin.readline()

print("folder", tiny.ensure_tiny_model(Path(sys.argv[1]), progress, {QUICK!r}), flush=True)
"""


def start_builder(cache: Path) -> subprocess.Popen[str]:
    """A process that has trained one step and waits for a line."""
    builder = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(cache)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert builder.stdout and builder.stdout.readline() == "step 1\n"
    return builder


def never(step: int, steps: int, loss: float) -> None:
    raise AssertionError("trained although the cache holds the model")


def bits(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def quick(cache: Path) -> Path:
    return tiny.ensure_tiny_model(cache, recipe=QUICK)


def test_second_call_does_not_train(cache: Path, quick: Path):
    """Catches a cache that is never hit, or leaves its workshop behind."""
    assert tiny.ensure_tiny_model(cache, never, QUICK) == quick
    assert {path.name for path in quick.parent.iterdir()} == {quick.name, "tiny.lock"}
    made = json.loads((quick / "recipe.json").read_text())
    assert made["steps"] == QUICK.steps and made["parameters"] > 0 and made["floor"] > 1


def test_a_torn_folder_is_made_again(tmp_path: Path, quick: Path):
    """Catches a cache that trusts a folder of which somebody deleted the weights."""
    folder = tmp_path / "models" / quick.name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert tiny.ensure_tiny_model(tmp_path, recipe=QUICK) == folder
    assert bits(folder) == bits(quick)


def test_progress_tells_every_step_and_the_caller_notices_nothing(tmp_path: Path, quick: Path):
    """Catches weights that depend on the caller's torch state, or leave it changed."""
    import torch
    from transformers.utils import logging

    threads, bars = torch.get_num_threads(), logging.is_progress_bar_enabled()
    seen: list[tuple[int, int, float]] = []
    torch.manual_seed(17)
    state = torch.get_rng_state()
    torch.set_num_threads(threads + 1)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            folder = tiny.ensure_tiny_model(tmp_path, lambda *step: seen.append(step), QUICK)
            assert torch.is_inference_mode_enabled() and not torch.is_grad_enabled()
            assert torch.is_autocast_enabled("cpu")
        assert torch.get_num_threads() == threads + 1
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled() and logging.is_progress_bar_enabled() == bars
    assert bits(folder) == bits(quick)
    assert [step[:2] for step in seen] == [(step, QUICK.steps) for step in range(1, 6)]
    assert seen[-1][2] < seen[0][2]


@pytest.mark.long
def test_a_kill_halfway_leaves_no_model_and_no_litter(tmp_path: Path, quick: Path):
    """Catches a half-made folder that passes for a model, and a lock that outlives its holder."""
    builder = start_builder(tmp_path)
    builder.kill()
    builder.communicate()
    left = list((tmp_path / "models").glob("tiny-*"))
    assert [path.name.partition(".")[2].partition("-")[0] for path in left] == ["draft"]
    folder = tiny.ensure_tiny_model(tmp_path, recipe=QUICK)
    assert list((tmp_path / "models").glob("tiny-*")) == [folder]
    assert bits(folder) == bits(quick)


def test_an_interrupted_build_cleans_up(tmp_path: Path):
    """Catches litter after Ctrl-C, which nobody would look for in a cache."""

    def interrupt(step: int, steps: int, loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.ensure_tiny_model(tmp_path, interrupt, QUICK)
    assert not list((tmp_path / "models").glob("tiny-*"))


@pytest.mark.long
def test_two_processes_train_once(
    tmp_path: Path, quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a second process that trains as well, or takes what the first has half made."""
    builder = start_builder(tmp_path)
    acquire = filelock.FileLock.acquire

    def let_the_other_go_on(lock: filelock.FileLock, *args: object, **options: object) -> object:
        assert builder.stdin
        builder.stdin.write("\n" * QUICK.steps)
        builder.stdin.close()
        return acquire(lock, *args, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(filelock.FileLock, "acquire", let_the_other_go_on)
    folder = tiny.ensure_tiny_model(tmp_path, never, QUICK)
    assert builder.stdout
    lines = builder.stdout.read().splitlines()
    assert builder.wait() == 0
    assert lines[-1] == f"folder {folder}"
    assert bits(folder) == bits(quick)


def test_another_recipe_is_another_model(cache: Path, quick: Path):
    """Catches a cache key that leaves something out."""
    other = Recipe(**{**vars(QUICK), "seed": 1})
    folder = tiny.ensure_tiny_model(cache, recipe=other)
    assert folder != quick and bits(folder) != bits(quick)
    assert quick.is_dir()


def test_the_environment_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a default root that cannot be moved, or a folder that cannot be written to untold."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("RLEXP_CACHE", str(blocked))
    with pytest.raises(UserError, match="RLEXP_CACHE") as raised:
        tiny.ensure_tiny_model(recipe=QUICK)
    assert str(blocked) in str(raised.value)


def test_any_text_survives_the_saved_tokenizer(quick: Path):
    """Catches a tokenizer that AutoTokenizer replaces by the architecture's own."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    auto = AutoTokenizer.from_pretrained(quick)
    fast = PreTrainedTokenizerFast.from_pretrained(quick)
    reviews = [review.text for review in grammar.sample_reviews(20, seed=9)]
    for text in [*ANY_TEXT, *reviews]:
        ids = auto(text)["input_ids"]
        assert ids == fast(text)["input_ids"]
        assert auto.decode(ids) == fast.decode(ids) == text
    assert auto.convert_ids_to_tokens(range(4)) == list(SPECIAL_TOKENS)
    assert (auto.eos_token_id, auto.pad_token_id) == (END, PAD)
    assert auto.bos_token is None and auto.padding_side == "left"


def test_a_prompt_and_its_completion_are_tokenized_as_their_text(quick: Path):
    """Catches pieces that reach over a space: a policy would be scored on other tokens."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(quick)
    for review in grammar.sample_reviews(50, seed=11):
        words = review.text.split(" ")
        prompt, completion = " ".join(words[:4]), " " + " ".join(words[4:])
        apart = [tokenizer(part)["input_ids"] for part in (prompt, completion)]
        assert apart[0] + apart[1] == tokenizer(review.text)["input_ids"]


@pytest.fixture(scope="module")
def real() -> Path:
    """The model that everybody uses, from the user's own cache."""
    return tiny.ensure_tiny_model()


def test_the_model_has_learned_the_language(real: Path):
    """Catches a recipe that stops short of the entropy; measured here, not read from the report.

    The loss goes the slow way: float64, one review at a time, the whole softmax, no packing.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(real)
    model = AutoModelForCausalLM.from_pretrained(real, dtype=torch.float64)
    reviews = grammar.sample_reviews(300, seed=1234)
    loss = tokens = 0.0
    with torch.no_grad():
        for review in reviews:
            end = tokenizer.eos_token_id
            ids = torch.tensor([[end, *tokenizer(review.text)["input_ids"], end]])
            log_probs = model(ids).logits[0, :-1].log_softmax(-1)
            loss -= log_probs.gather(1, ids[0, 1:, None]).sum().item()
            tokens += ids.shape[1] - 1
    floor = -sum(review.log_prob for review in reviews) / tokens
    assert 0 < loss / tokens - floor < 0.006


def test_completions_of_prompts_are_grammatical(real: Path):
    """Catches a model that speaks only after an end token, which no prompt begins with."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(real)
    model = AutoModelForCausalLM.from_pretrained(real)
    reviews = grammar.sample_reviews(200, seed=77)
    prompts = [" ".join(review.text.split()[:4]) for review in reviews]
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        written = cast(Any, model).generate(**batch, do_sample=True, top_k=0, max_new_tokens=80)
    texts = tokenizer.batch_decode(written, skip_special_tokens=True)
    assert sum(map(grammar.grammatical, texts)) / len(texts) > 0.98


def test_the_report_beside_the_weights(real: Path):
    """Catches a report that no longer says what the model is worth."""
    made = json.loads((real / "recipe.json").read_text())
    assert 0 < made["held_out_loss"] - made["floor"] < 0.006
    assert made["grammatical"] > 0.98
    assert 150_000 < made["parameters"] < 1_000_000
    assert (real / "model.safetensors").stat().st_size == pytest.approx(
        4 * made["parameters"], rel=0.05
    )
