"""Every remedy that an error prints leads past that error when it is typed.

The cases are commands with a mistake; what the mistake's remedy says is done (`remedies.py`), and
must not be answered with the same mistake. A new error whose remedy is to be typed needs a case
here, or a line in `ELSEWHERE`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from remedies import Told, Typed, advising_sites, told, ways
from remedy_cases import CASES

ELSEWHERE = {
    "rlexp/algos/common/fused_head.py:check_fused_head": "tests/algos/test_model_fits.py",
    "rlexp/algos/common/reference.py:check_reference_sync": "tests/trainers/test_reference.py",
    "rlexp/algos/common/rollouts.py:explain_missing_server": "needs vLLM",
    "rlexp/algos/common/row_sampler.py:follow_curriculum": "tests/algos/test_row_sampler.py",
    "rlexp/algos/distill.py:row_problems": "tests/algos/test_distill.py",
    "rlexp/algos/ppo.py:_critic_body": "tests/spec/test_wrong_input.py",
    "rlexp/cli/main.py:_hydra_main": "tests/cli/test_own_configs.py",
    "rlexp/cli/main.py:_run": "tests/cli/test_own_configs.py",
    "rlexp/commands/promote.py:_options": "tests/registry/test_promote.py",
    "rlexp/commands/report.py:_tracked": "tests/commands/test_report_command.py",
    "rlexp/commands/rerun.py:_tracked": "tests/commands/test_rerun.py",
    "rlexp/commands/ui.py:_check_port": "tests/commands/test_ui.py",
    "rlexp/commands/ui.py:_server": "points to doctor",
    "rlexp/curriculum/column.py:_check_numbers": "tests/curriculum/test_orders.py",
    "rlexp/curriculum/difficulty.py:difficulty": "tests/curriculum/test_orders.py",
    "rlexp/data/hub.py:_unreachable": "wants a network",
    "rlexp/evaluation/benchmarks/measure.py:measure_benchmarks": "tests/evaluation",
    "rlexp/launch/launcher.py:_launch_many": "of a process that was killed",
    "rlexp/models/adapters.py:_check_targets": "tests/models/test_adapter_stages.py",
    "rlexp/models/gguf/writing.py:_largest_error": "of a file that differs from its model",
    "rlexp/models/load.py:fit_padding": "tests/models/test_padding.py",
    "rlexp/models/locate.py:hub_folder": "wants a network",
    "rlexp/models/sampling/generate_patch.py:_check_options": "tests/models",
    "rlexp/models/sampling/rollout.py:finalise": "of a training that diverged",
    "rlexp/models/tokenizer.py:_check_markers": "tests/spec/test_thinking.py",
    "rlexp/pipelines/orders.py:check_parents": "tests/pipelines/test_pipeline_runs.py",
    "rlexp/registry/hub_push.py:push_problems": "tests/registry/test_hub_push.py",
    "rlexp/registry/promote.py:_card_of": "tests/registry/test_promote.py",
    "rlexp/registry/promote.py:choose_weights": "tests/registry/test_promote.py",
    "rlexp/registry/promote.py:stage": "tests/registry/test_promote.py",
    "rlexp/registry/versions.py:_unknown_model": "tests/registry/test_versions.py",
    "rlexp/reproduction/plan.py:_overrides": "tests/reproduction",
    "rlexp/reproduction/recorded.py:_artifact": "tests/reproduction",
    "rlexp/reproduction/reproduce.py:_check_data": "tests/reproduction",
    "rlexp/rewards/common/sandboxed.py:sandbox_problems": "needs a machine without a sandbox",
    "rlexp/rewards/judging/client.py:_refused": "tests/rewards/test_judge_endpoint.py",
    "rlexp/rewards/judging/client.py:_request": "tests/rewards/test_judge_endpoint.py",
    "rlexp/rewards/judging/endpoint_judge.py:win_shares": "the check refuses it before",
    "rlexp/rewards/reasoning_gym.py:_no_entry": "tests/rewards/test_reasoning_gym.py",
    "rlexp/runner/error_messages.py:explain_full_disk": "tests/runtime/test_checkpoints.py",
    "rlexp/runtime/device.py:_usable_device": "needs a torch that cannot use the GPU",
    "rlexp/scoring/pool.py:_answer": "tests/scoring/test_workers.py",
    "rlexp/scoring/pool.py:_pickled": "tests/scoring/test_workers.py",
    "rlexp/scoring/pool.py:_too_long": "tests/scoring/test_workers.py",
    "rlexp/scoring/pool.py:ready": "tests/scoring/test_workers.py",
    "rlexp/scoring/term_call.py:call": "tests/scoring/test_scoring.py",
    "rlexp/scoring/tokens.py:fill_in_tokens": "tests/rewards/test_tokens.py",
    "rlexp/spec/checks/benchmarks.py:_problems_of": "points to another reward",
    "rlexp/spec/checks/benchmarks.py:benchmarks_are_there": "tests/spec/test_benchmark_tasks.py",
    "rlexp/spec/gguf.py:gguf_file": "tests/models/gguf",
    "rlexp/spec/gguf.py:gguf_problems": "tests/models/gguf",
    "rlexp/sweep/study.py:open_storage": "installs a package",
    "rlexp/tracking/query/removal.py:_alive_problems": "tests/commands/test_rm.py",
    "rlexp/tracking/query/removal.py:_folder_problems": "tests/commands/test_rm.py",
    "rlexp/tracking/spool/shipper.py:tracking_address": "tests/commands/test_sync.py",
    "rlexp/tracking/store/connection.py:_check_driver": "installs a package",
    "rlexp/tracking/store/read_only.py:unreachable_error": "tests/tracking/test_records.py",
}
"""Places whose remedies are not tried here: the tests of their room, or why none can."""


NAMES_NOTHING = {
    f"rlexp/{place}"
    for place in (
        "config/hydra.py:parse_override",
        "cli/arguments.py:error",
        "spec/validation.py:unknown_choice",
        "spec/validation.py:unknown_key",
    )
}
"""Where it is refused what no remedy may advise: words that do not parse or name nothing."""


def typed_of(words: str) -> Typed:
    return Typed(tuple(words.split(" ")))


@pytest.fixture
def folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place to type commands in; what names it has to be quoted."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return here / "a folder"


def try_remedies(
    words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[set[str], list[str]]:
    """Return the places whose remedies a case has typed, and those that led nowhere."""
    substitutes, prepare = CASES[words]
    values = dict(pair.split("=") for pair in substitutes.split())
    folder.mkdir()
    monkeypatch.chdir(folder)
    prepare(folder)
    mistakes = told(typed_of(words))
    assert mistakes, "the case has no mistake"
    tried: set[str] = set()
    dead_ends = []
    answers: dict[Typed, Told] = {}
    for place, problem in mistakes.items():
        for way, command in ways(problem, typed_of(words), values).items():
            tried.add(place[1])
            if command not in answers:
                answers[command] = told(command)
            left = answers[command]
            new = {site for _, site in left.keys() - mistakes.keys()}
            if place in left or new & NAMES_NOTHING:
                dead_ends.append(f"{problem}\n  {way!r}: {' '.join(command.words)}\n  {left}")
    return tried, dead_ends


@pytest.mark.parametrize("words", CASES)
@pytest.mark.slow
def test_a_remedy_leads_past_its_error(
    words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One case alone, to see what it is answered; all together are the next test."""
    _, dead_ends = try_remedies(words, folder, monkeypatch)
    assert not dead_ends, "\n".join(dead_ends)


@pytest.mark.long
def test_every_error_that_says_what_to_type_is_tried(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Advice that does not parse, names what is not there, or ends in the same error; a new error
    whose remedy nobody has typed."""
    tried: set[str] = set()
    dead_ends: list[str] = []
    for number, words in enumerate(CASES):
        here, dead = try_remedies(words, folder.with_name(f"a folder {number}"), monkeypatch)
        tried |= here
        dead_ends += dead
    assert not dead_ends, "\n".join(dead_ends)
    sites = set(advising_sites())
    assert sites - tried - set(ELSEWHERE) == set()
    assert set(ELSEWHERE) - sites == set(), "these are gone, or say nothing to type any more"
    assert set(ELSEWHERE) & tried == set(), "these are tried here"
