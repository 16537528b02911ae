"""A run's reward probed without the run: for `python -m rlexp probe`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rlexp.data.load import load_data
from rlexp.models.locate import fetch, model_folder
from rlexp.models.tokenizer import answer_ids, frames_as_chat, has_own_template
from rlexp.probing.before_training import held_out_material
from rlexp.probing.earnings import RewardProbe
from rlexp.probing.material import END_TOKEN
from rlexp.probing.probe import COMMAND, probe, size_of
from rlexp.probing.verdict import ProbeVerdict, judge_probe
from rlexp.rendering.progress import Terminal
from rlexp.runner.parts import model_folder_resolver
from rlexp.runtime.device import prepare
from rlexp.runtime.environment import hub_closed, share_cores, silence_libraries
from rlexp.spec.checks.model import heads_needed
from rlexp.spec.files.devices import likely_device
from rlexp.spec.model_kind import KINDS
from rlexp.spec.rows import rows_read
from rlexp.spec.run import RunSpec
from rlexp.spec.text import Text

if TYPE_CHECKING:
    from rlexp.models.policy import Policy


def probe_run(
    spec: RunSpec, rows: int | None, with_model: bool, terminal: Terminal
) -> dict[str, tuple[RewardProbe, ProbeVerdict]]:
    """Return what the reward of a spec pays on the data of the spec, and what that means.

    The names are those of a mix's sources; what is of all prompts has none.

    Args:
        spec: of a run.
        rows: held-out prompts; None takes as many as the reward can pay for.
        with_model: whether the policy is loaded and answers as well.
        terminal: is told what takes long.

    Raises:
        UserError, RunFailed: as the run would.
    """
    silence_libraries()
    share_cores()
    splits = load_data(spec.data, rows_read(spec.algo, spec.data))
    size = size_of(spec.reward, COMMAND)
    resolve = model_folder_resolver(spec)
    policy, device = None, likely_device(spec.hardware.device)
    if with_model:
        from rlexp.models.load import load_policy

        fetch(spec.model, resolve, heads_needed(spec.algo, spec.data))
        device = prepare(spec.hardware, spec.seed)
        with terminal.bar("pre-training") as advance:
            policy = load_policy(
                spec,
                KINDS["language"].head,
                device,
                lambda step, steps, loss: advance(step, steps, f"loss {loss:.3f}"),
                resolve,
                splits.corpus,
            )
    spec.reward.prepare(device, resolve)
    chat = policy.chat if policy else _frames_as_chat(spec)
    end_token = policy.tokenizer.eos_token if policy else END_TOKEN
    tokenize = partial(answer_ids, policy.tokenizer) if policy else None
    bootstrap = (spec.eval.bootstrap, spec.eval.seed)
    probes = {}
    with hub_closed():
        for name in ("", *spec.data.source_names):
            material = held_out_material(spec, splits, rows or size.rows, chat, end_token, name)
            own = _own_answers(spec, policy, material.prompts) if policy else ()
            probed = probe(spec.reward, material, size.variants, own, bootstrap, tokenize)
            probes[name] = probed, judge_probe(probed)
    return probes


def _frames_as_chat(spec: RunSpec) -> bool:
    if spec.model.chat is not None or spec.model.shape is not None:
        return bool(spec.model.chat)
    folder = model_folder(spec.model, lambda *_: None, model_folder_resolver(spec))
    return frames_as_chat(spec.model, has_own_template(folder))


def _own_answers(spec: RunSpec, policy: Policy, prompts: list[Text]) -> list[list[str]]:
    policy.model.eval()
    evaluation = spec.eval
    groups = policy.complete(
        prompts,
        completions=1,
        max_new_tokens=evaluation.max_completion_length,
        temperature=evaluation.temperature,
        seed=evaluation.seed,
        batch_size=evaluation.batch_size,
    )
    return [[completion.answer for completion in group] for group in groups]
