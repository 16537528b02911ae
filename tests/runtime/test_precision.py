"""What precision a training is in, by device, model and one measurement that is remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from runs import spec_of

from rlexp.runtime import precision
from rlexp.runtime.precision import cpu_gain, mixed_precision
from rlexp.spec.checks import hardware as checks
from rlexp.spec.errors import UserError

LARGE, SMALL = 135_000_000, 200_000


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that multiplies bfloat16 three times as fast."""
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(precision, "cpu_gain", lambda: 3.0)


@pytest.mark.parametrize(
    ("words", "device", "parameters", "expected"),
    [
        (["model=smollm2-135m"], "cpu", LARGE, "bf16"),
        (["model=smollm2-135m", "model.dtype=float32"], "cpu", LARGE, "no"),
        (["model=smollm2-135m", "hardware.mixed_precision=no"], "cpu", LARGE, "no"),
        (["model=smollm2-135m"], "cpu", SMALL, "no"),
        (["model=tiny"], "cpu", LARGE, "no"),
        (["model=smollm2-135m"], "mps", LARGE, "no"),
        (["model=tiny", "hardware.mixed_precision=bf16"], "cpu", SMALL, "bf16"),
    ],
)
def test_what_auto_takes(
    words: list[str], device: str, parameters: int, expected: str, fast: None
) -> None:
    """A tiny model, or one whose precision is typed, in another precision."""
    spec = spec_of(*words)
    assert mixed_precision(spec.hardware, spec.model, device, parameters) == expected


@pytest.mark.parametrize(("ampere", "expected"), [(True, "bf16"), (False, "fp16")])
def test_older_gpus_take_float16(
    ampere: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bfloat16 emulated on a T4."""
    monkeypatch.setattr(precision, "has_bf16", lambda device: ampere)
    spec = spec_of("model=smollm2-135m")
    assert mixed_precision(spec.hardware, spec.model, "cuda", LARGE) == expected


def test_a_cpu_on_which_bfloat16_is_slow_keeps_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flags of a CPU believed without a measurement."""
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(precision, "cpu_gain", lambda: 1.2)
    spec = spec_of("model=smollm2-135m")
    assert mixed_precision(spec.hardware, spec.model, "cpu", LARGE) == "no"


def test_the_measurement_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command in another precision because the machine was busy."""
    monkeypatch.setenv("RLEXP_CACHE", str(tmp_path))
    seconds = {torch.float32: 3.0, torch.bfloat16: 1.0}
    monkeypatch.setattr(precision, "_seconds", seconds.__getitem__)
    assert cpu_gain() == 3.0
    seconds[torch.bfloat16] = 3.0
    assert cpu_gain() == 3.0


def test_two_matrices_are_timed() -> None:
    """A measurement that fails where it is needed."""
    assert 0 < precision._seconds(torch.bfloat16) < 60


@pytest.mark.parametrize(
    ("device", "words", "remedy"),
    [
        ("cpu", [], "Set hardware.mixed_precision=bf16."),
        ("mps", [], "Set hardware.mixed_precision=bf16."),
        ("cuda", ["model.dtype=bfloat16", "peft=lora"], "Set hardware.mixed_precision=bf16."),
    ],
)
def test_float16_is_refused_where_it_cannot_work(
    device: str, words: list[str], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses that nothing scales, or gradients that cannot be unscaled, found out by divergence."""
    monkeypatch.setattr(checks, "likely_device", lambda requested: device)
    monkeypatch.setattr(checks, "has_bf16", lambda named: True)
    with pytest.raises(UserError) as caught:
        spec_of("model=smollm2-135m", "hardware.mixed_precision=fp16", *words)
    (problem,) = caught.value.problems
    assert (problem.key, problem.remedy) == ("hardware.mixed_precision", remedy)


def test_float16_is_asked_of_the_trainer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A precision that is decided on, and forgotten on the way to TRL."""
    from types import SimpleNamespace

    from rlexp.algos.common.trl import Training, common_arguments

    spec = spec_of("algo=dpo")
    model: Any = SimpleNamespace(device=torch.device("cuda"))
    policy: Any = SimpleNamespace(model=model, learning_rate_factor=1.0)
    training = Training(spec, policy, [], tmp_path, False, [], mixed_fp16=True)
    arguments = common_arguments(spec.algo, training)
    assert (arguments["fp16"], arguments["bf16"]) == (True, False)
