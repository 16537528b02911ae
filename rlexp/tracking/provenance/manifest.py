"""The manifest of a run, `origin.json`: what decides its numbers beside its config.

The file stands in the run's `provenance/` folder and among its artifacts. It holds one entry an
attempt: a run that was resumed has several. Facts come in as they are known: of code and machine
when the run begins, of the rows when they are read, of the weights when they are loaded.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sysconfig
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from rlexp.runtime.files import write_atomically
from rlexp.runtime.paths import CONF
from rlexp.runtime.run_folder import MODEL, ORIGIN
from rlexp.spec import RunSpec
from rlexp.spec.files.model_folder import saved_path
from rlexp.spec.gguf import PACKAGED, gguf_file
from rlexp.spec.keys import key_values
from rlexp.tracking.provenance.environment import GitState, cpu_info, cpu_name
from rlexp.tracking.secrets import redacted, redacted_values
from rlexp.tracking.system_metrics import gpu_names

Facts = dict[str, Any]
"""Facts of one attempt: plain values, lists and dictionaries."""


ENVIRONMENT = (
    "OMP_NUM_THREADS",
    "OMP_DYNAMIC",
    "MKL_NUM_THREADS",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "KMP_DETERMINISTIC_REDUCTION",
    "ONEDNN_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ATEN_CPU_CAPABILITY",
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "PYTORCH_ENABLE_MPS_FALLBACK",
    "NCCL_ALGO",
    "NCCL_PROTO",
    "PYTHONHASHSEED",
)
"""Environment variables that can move numbers."""

_INSTRUCTIONS = ("fma", "avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")
"""Instruction sets of a CPU; libraries choose their kernels by these."""

_MODEL_FILES = (
    "*.safetensors",
    "*config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.safetensors.index.json",
    "*.model",
    "*.jinja",
)
"""Patterns of the files that transformers and PEFT read; a README may change."""

_BLOCK, _BLOCKS = 2**16, 256
_READ_WHOLE = 2**26  # bytes

_CODE = Path(__file__).parents[2]
RESULT_ROOMS = (
    "algos",
    "builtin",
    "data",
    "evaluation",
    "guards",
    "models",
    "rewards",
    "runner",
    "sandbox",
    "scoring",
    "trainers",
)
"""Rooms whose code decides a run's numbers; the others show, find and start."""


class Manifest:
    """Writes one attempt's facts into `origin.json`, beside those that stand there already."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / ORIGIN
        self._attempts: list[Facts] = [*read_attempts(self.path), {}]

    def add(self, **facts: Any) -> None:
        """Add facts of this attempt; mappings grow, everything else is replaced."""
        attempt = self._attempts[-1]
        for name, value in redacted_values(facts).items():
            merges = isinstance(value, dict) and isinstance(attempt.get(name), dict)
            attempt[name] = {**attempt[name], **value} if merges else value
        text = json.dumps({"attempts": self._attempts}, indent=1)
        # In one step, since another thread may be sending it; durably, since a power cut must not
        # leave an empty file behind for the next attempt.
        write_atomically(self.path, text, durable=True)


def read_attempts(path: Path) -> list[Facts]:
    """Return the facts of each attempt, the first one first; none when there is no such file."""
    if not path.is_file():
        return []
    return json.loads(path.read_text(encoding="utf-8"))["attempts"]


def collect_facts(spec: RunSpec, code: GitState | None) -> Facts:
    """Return what is known before torch is imported, of this machine, this code and this config."""
    config = spec.model_dump()
    paths = dict(_paths(config))
    flags = cpu_info("flags", "Features").split()
    instructions = [name for name in _INSTRUCTIONS if name in flags]
    return {
        "directory": str(Path.cwd()),
        "settings": {name: config[name] for name in ("train", "eval", "hardware")},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": {"name": cpu_name(), "count": os.cpu_count(), "instructions": instructions},
        "gpus": gpu_names(),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        "code": code_digest(),
        "git": _git_facts(code) if code else None,
        "sources": {name: _digest(path) for name, path in user_sources(spec).items()},
        "files": {key: _digest(path) for key, path in paths.items() if path.is_file()},
        "folders": {key: describe_weights(path) for key, path in paths.items() if path.is_dir()},
    }


def user_sources(spec: RunSpec) -> dict[str, Path]:
    """Return the user's own code that the spec names, by its place below the current folder.

    Installed packages are left out: their versions say as much.
    """
    installed = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib", "platlib")]
    installed = [*map(Path.resolve, installed), _CODE]
    current = Path.cwd().resolve()
    sources = {}
    for part in (spec.algo, spec.data, spec.reward, *spec.eval.gold_checked[0].values()):
        for path in map(Path.resolve, part.code_files()):
            if not any(path.is_relative_to(folder) for folder in installed):
                name = str(path.relative_to(current)) if path.is_relative_to(current) else path.name
                sources[name] = path
    return sources


def copy_sources(spec: RunSpec, folder: Path) -> bool:
    """Copy that code, secrets taken out, below `folder`; whether there is any."""
    shutil.rmtree(folder, ignore_errors=True)
    sources = user_sources(spec)
    for name, path in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8", errors="replace")
        (folder / name).write_text(redacted(text), encoding="utf-8")
    return bool(sources)


def describe_weights(folder: Path) -> dict[str, Any]:
    """Return a model's folder, its commit where it came from the hub, and the digest of its files.

    Of a file above 64 MiB the digest takes in the beginning and 256 blocks of 64 KiB, evenly
    spread: a fraction of a second, and another model's weights differ nearly everywhere.
    """
    digest = sha256()
    names = {path.name: path for pattern in _MODEL_FILES for path in folder.glob(pattern)}
    for name, path in sorted(names.items()):
        digest.update(f"{name}:{_digest(path)}\n".encode())
    commit = folder.name if folder.parent.name == "snapshots" else None  # of the hub's cache
    return {"folder": str(folder), "commit": commit, "digest": digest.hexdigest()[:32]}


def input_digests(spec: RunSpec, skipped: Collection[str] = ()) -> dict[str, str]:
    """Return the digests of the files and model folders that a config names, by key, and of the
    user's own code, by its place; `skipped` keys and the data's own left out."""
    paths = {key: path for key, path in _paths(spec.model_dump()) if key not in skipped}
    digests = {key: _digest(path) for key, path in paths.items() if path.is_file()}
    weights = {key: path for key, path in paths.items() if path.is_dir()}
    digests |= {key: describe_weights(path)["digest"] for key, path in weights.items()}
    return digests | {f"code {name}": _digest(path) for name, path in user_sources(spec).items()}


def code_digest() -> str:
    """Return the digest of rlexp's own code and configs, committed or not."""
    return _tree_digest([(_CODE, "*.py"), (CONF, "*.yaml")])


def result_code_digest() -> str:
    """Return the digest of the code that decides what a run comes to: that of `RESULT_ROOMS`."""
    return _tree_digest([(_CODE, f"{room}/**/*.py") for room in RESULT_ROOMS])


def _tree_digest(patterns: Sequence[tuple[Path, str]]) -> str:
    digest = sha256()
    for top, pattern in patterns:
        for path in sorted(top.glob(pattern) if "**" in pattern else top.rglob(pattern)):
            digest.update(f"{path.relative_to(top)}:{_digest(path)}\n".encode())
    return digest.hexdigest()[:32]


def _git_facts(code: GitState) -> Facts:
    digest = sha256(code.diff.encode()).hexdigest()[:32] if code.diff else None
    return {**asdict(code), "folder": str(code.folder), "diff": digest}


def _digest(path: Path) -> str:
    """Return the digest of a file; of a large one, of its size and of blocks that are spread."""
    size = path.stat().st_size
    digest = sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _READ_WHOLE:
            digest.update(file.read())
        else:
            for index in range(_BLOCKS + 1):
                file.seek((size - _BLOCK) * index // _BLOCKS)
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:32]


def _paths(config: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """Yield files and model folders that the config names, by key; data has its rows digested."""
    for key, value in key_values(config):
        skipped = key.startswith(("data.", "tracking.")) or key.endswith("name")
        if not skipped and isinstance(value, str) and (path := _path(value, key)):
            yield key, path


def _path(text: str, key: str) -> Path | None:
    """Return the file or the model folder that a value names, if it names one."""
    if text.startswith(PACKAGED):
        return gguf_file(text, key)
    path = Path(saved_path(text, key) if text.startswith("run:") else text).expanduser()
    try:
        if path.is_file():
            return path.resolve()
        for folder in (path, path / MODEL):
            if any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
                return folder.resolve()
    except (OSError, ValueError):
        return None  # a text that can be no path: too long, or with a null character
    return None
