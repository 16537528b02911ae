"""Provenance of a run: code, command, packages, machine, and the knobs that people compare."""

from __future__ import annotations

import getpass
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rlexp.runtime.run_folder import GIT_DIFF, PACKAGES
from rlexp.spec import RunSpec
from rlexp.spec.files.registry_reference import is_registered
from rlexp.spec.keys import value_at
from rlexp.tracking.secrets import redacted
from rlexp.tracking.system_metrics import gpu_names

_MAIN_PACKAGES = (
    "rlexp",
    "torch",
    "trl",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "mlflow",
    "hydra-core",
)
HOST_TAG = "host"
"""The machine's name: whether a run is alive can be seen on its own machine only."""
_LONGEST_DIFF = 1_000_000
_GIT_SECONDS = 10
_CODE = (".py", ".yaml", ".yml", ".toml", ".cfg", ".jinja")
"""Suffixes of the untracked files that go into the diff: code and configs, no data."""

_PARAMS = (
    "seed",
    "algo.name",
    "model.name",
    "model.dtype",
    "peft.kind",
    "peft.r",
    "data.name",
    "data.max_completion_length",
    "reward.name",
    "curriculum.name",
    "hardware.name",
    "hardware.processes",
    "train.max_steps",
    "train.batch_size",
    "train.lr_scheduler",
)


def params(spec: RunSpec) -> dict[str, str | int | float | bool]:
    """Return the knobs that runs are compared by: a short list, and the algorithm's own.

    The whole config is an artifact; a table with 150 columns shows nothing. Keys that are null or
    no single value are left out: MLflow's parallel plot wants numbers.
    """
    parts = spec.model_dump()
    own = [f"algo.{name}" for name in type(spec.algo).model_fields if name != "trl"]
    values = {key: value_at(parts, key) for key in dict.fromkeys([*_PARAMS, *own])}
    if is_registered(path := value_at(parts, "model.path") or ""):
        values["model.version"] = path
    return {key: value for key, value in values.items() if isinstance(value, (str, int, float))}


def tags(repository: Path | None) -> dict[str, str]:
    """Return command, code, machine and versions, as tags of the MLflow run."""
    values = {
        "mlflow.user": _user(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": Path(sys.argv[0]).name,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        HOST_TAG: platform.node(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": f"{os.cpu_count()} x {cpu_name()}",
        "gpu": ", ".join(gpu_names()) or "none",
    }
    values |= {f"version.{name}": version for name, version in versions(_MAIN_PACKAGES).items()}
    if repository and (commit := _git(repository, "rev-parse", "HEAD")):
        values["mlflow.source.git.commit"] = commit.strip()
        values["git.dirty"] = str(bool(_git(repository, "status", "--porcelain"))).lower()
    return {key: redacted(value) for key, value in values.items()}


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Return installed versions of packages; those that are not installed are left out."""
    installed = {}
    for name in names:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # an optional one, or rlexp run from a checkout
    return installed


def installed_packages() -> list[str]:
    """Return every installed package as `name==version`, in the order of their names."""
    installed = {f"{dist.name}=={dist.version}" for dist in metadata.distributions()}
    return sorted(installed, key=str.lower)


@dataclass(frozen=True)
class GitState:
    """State of a git repository: a commit, and what was done to it since."""

    folder: Path
    commit: str | None
    status: list[str]
    diff: str
    """What `git apply` needs to make a checkout of the commit into it: changes, and untracked
    files of code (no others); secrets taken out, and its end cut off where it is too long."""
    restorable: bool
    """Whether nothing was taken out or cut off."""

    @classmethod
    def of(cls, repository: Path | None) -> GitState | None:
        """Return the state as it is now; None without a repository."""
        if repository is None:
            return None
        commit = _git(repository, "rev-parse", "HEAD").strip() or None
        status = _git(repository, "status", "--porcelain").splitlines()
        diff = _uncommitted(repository)
        kept = redacted(diff)[:_LONGEST_DIFF]
        return cls(repository, commit, status, kept, restorable=diff == kept)


def files(folder: Path, code: GitState | None) -> list[Path]:
    """Write `packages.txt`, and `git.diff` where there are changes, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / PACKAGES]
    written[0].write_text("\n".join(installed_packages()) + "\n", encoding="utf-8")
    if code and code.diff:
        written.append(folder / GIT_DIFF)
        written[1].write_text(code.diff, encoding="utf-8")
    return written


def _uncommitted(repository: Path) -> str:
    """Return what `git diff` says of the repository, untracked files of code among it."""
    untracked = _git(repository, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    new = [name for name in untracked if name.endswith(_CODE)]
    index = Path(_git(repository, "rev-parse", "--git-path", "index").strip())
    with tempfile.TemporaryDirectory() as scratch:
        # Told of the new files, git shows them as well; the user's own index is left as it is.
        copy = Path(scratch, "index")
        if (repository / index).is_file():
            shutil.copyfile(repository / index, copy)
        _git(repository, "add", "--intent-to-add", "--", *new, index=copy)
        options = ("--no-ext-diff", "--no-textconv", "--binary")
        return _git(repository, "diff", *options, "HEAD", index=copy)


def repository() -> Path | None:
    """Return the git repository of the current folder, else of rlexp's code, if there is one."""
    for folder in (Path.cwd(), Path(__file__).parent):
        if top := _git(folder, "rev-parse", "--show-toplevel"):
            return Path(top.strip())
    return None


def _git(folder: Path, *arguments: str, index: Path | None = None) -> str:
    """Return what git answers; nothing where there is no git, no repository or no commit."""
    try:
        process = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_SECONDS,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_INDEX_FILE": str(index)} if index else None,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return process.stdout if process.returncode == 0 else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"  # containers run under numbers that have no name


def cpu_name() -> str:
    """Return what the maker calls the processor."""
    return cpu_info("model name") or platform.processor() or platform.machine()


def cpu_info(*names: str) -> str:
    """Return the first entry of Linux's `/proc/cpuinfo` of one of these names, else nothing."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text(encoding="utf-8").splitlines() if info.is_file() else ():
        if line.startswith(names):
            return line.partition(":")[2].strip()
    return ""
