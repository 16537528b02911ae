"""Whether this machine is ready: devices, packages, caches, tracking store, hub

`python -m rlexp doctor [tracking.uri=URI]` exits with 0 when it is, with 1 when something has to be
put right. Nothing is installed, downloaded or changed.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.utils import canonicalize_name
from packaging.version import Version

from rlexp.cli.arguments import URI, default_uri
from rlexp.runtime import extras as known_extras
from rlexp.runtime.environment import silence_libraries
from rlexp.runtime.extras import install_command, pinned_versions, requirements
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.devices import cuda_capabilities, has_bf16
from rlexp.tracking.secrets import redacted
from rlexp.tracking.store.connection import prepare_environment, resolve
from rlexp.tracking.store.read_only import all_pages
from rlexp.tracking.store.schema import sqlite_path

MIB, GIB = 2**20, 2**30
FREE_DISK_WANTED = 2 * GIB
"""A small model's weights, its checkpoints and the caches."""
ANSWER_SECONDS = 4.0
"""How long the hub may take; a name server that is out of reach takes far longer by itself."""
SYMBOLS = {"ok": "[green]✓[/]", "note": "[yellow]•[/]", "problem": "[red]✗[/]"}


@dataclass(frozen=True)
class Check:
    """One line of the examination; `verdict` says whether it keeps runs from running."""

    subject: str
    state: str
    verdict: Literal["ok", "note", "problem"] = "ok"
    remedy: str = ""


Examination = Callable[[], Iterator[Check]]


def run(argv: list[str]) -> int:
    """Print what is here and what is not; 1 when there is a problem.

    Raises `UserError` for an argument other than `tracking.uri=URI`.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    silence_libraries()
    uri = _tracking_uri(argv)
    console = Console()
    problems = 0
    sections: dict[str, Examination] = {
        "Devices": devices,
        "Packages": check_packages,
        "Extras": extras,
        "Caches": caches,
        "Tracking store": lambda: tracking_store(uri),
        "Hub": hub,
        "Sandbox": sandbox,
    }
    for title, examine in sections.items():
        table = Table.grid(padding=(0, 2, 0, 0))
        for finding in examine():
            problems += finding.verdict == "problem"
            text = "\n".join(filter(None, (finding.state, finding.remedy)))
            table.add_row(f"  {SYMBOLS[finding.verdict]}", escape(finding.subject), escape(text))
        console.print(f"[bold]{title}[/]", table, "", sep="\n")
    put_right = f"{problems} thing(s) to put right: see ✗ above."
    console.print(put_right if problems else "Ready to run.")
    return 1 if problems else 0


def devices() -> Iterator[Check]:
    """Yield Python, the CPU, and each accelerator as its driver and as torch see it."""
    import psutil

    memory = psutil.virtual_memory()
    yield Check("Python", f"{platform.python_version()} on {platform.platform()}")
    yield Check("CPU", f"{os.cpu_count()} cores, bfloat16 {'yes' if has_bf16('cpu') else 'no'}")
    yield Check("memory", f"{memory.total / GIB:.0f} GiB, {memory.available / GIB:.0f} GiB free")
    yield from _nvidia()
    try:
        import torch
    except Exception as error:  # a broken installation raises whatever its libraries raise
        remedy = f"Install it again: {install_command()}"
        yield Check("torch", f"cannot be imported: {error}", "problem", remedy)
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    yield Check("torch", f"{torch.__version__}, built with {build}")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        yield Check("torch's GPUs", ", ".join(names))
    elif cuda_capabilities():
        remedy = "Install a torch built for CUDA, no newer than the driver; hardware=cpu goes on."
        yield Check("torch's GPUs", "none, though the driver shows some", "problem", remedy)
    if sys.platform == "darwin":
        yield Check("Apple's GPU", "yes" if torch.backends.mps.is_available() else "no")


def _nvidia() -> Iterator[Check]:
    import pynvml

    try:
        pynvml.nvmlInit()
        driver = pynvml.nvmlSystemGetDriverVersion()
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            size = f"{int(memory.total) / GIB:.0f} GiB, {int(memory.free) / GIB:.0f} GiB free"
            name = pynvml.nvmlDeviceGetName(handle)
            yield Check(f"GPU {index}", f"{name}, {size}, driver {driver}")
    except pynvml.NVMLError as error:
        yield Check("NVIDIA GPUs", f"none ({error})")
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        shown = os.environ["CUDA_VISIBLE_DEVICES"]
        yield Check("CUDA_VISIBLE_DEVICES", repr(shown), "note", "Others are hidden from runs.")


def check_packages() -> Iterator[Check]:
    """Yield each package that rlexp needs: its version against the range, and the tested one."""
    tested = pinned_versions()
    for requirement in requirements():
        name = requirement.name
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(name, "missing", "problem", install_command())
            continue
        exact = tested.get(canonicalize_name(name))
        if not requirement.specifier.contains(version, prereleases=True):
            state = f"{version}, but rlexp needs {requirement.specifier}"
            yield Check(name, state, "problem", install_command())
        elif exact and Version(version).public != exact:
            yield Check(name, f"{version} (tests run with {exact})", "note")
        else:
            yield Check(name, version)


def extras() -> Iterator[Check]:
    """Yield optional packages: here, or the command that adds them."""
    for extra, module in known_extras.MODULES.items():
        if importlib.util.find_spec(module):
            yield Check(extra, "here")
        else:
            apart = ", in an environment of its own" * (extra in known_extras.CONFLICTING)
            yield Check(extra, f"not here; to add it{apart}:", "note", install_command(extra))


def caches() -> Iterator[Check]:
    """Yield where models and data are kept, how much there is, and the room that is left."""
    import platformdirs
    from huggingface_hub import constants

    own = Path(os.environ.get("RLEXP_CACHE") or platformdirs.user_cache_dir("rlexp"))
    for name, folder in {"rlexp": own, "hub": Path(constants.HF_HUB_CACHE)}.items():
        place = next(path for path in (folder, *folder.parents) if path.is_dir())
        writable = os.access(place, os.W_OK)
        state = f"{folder}, {_size(folder) / MIB:,.0f} MiB"
        remedy = "" if writable else "Set RLEXP_CACHE or HF_HOME to a folder where you may write."
        yield Check(name, state, "ok" if writable else "problem", remedy)
    free = shutil.disk_usage(Path.cwd()).free
    scarce = free < FREE_DISK_WANTED
    remedy = "Checkpoints may not fit: train.keep_checkpoints=1, or another folder." * scarce
    yield Check("this folder", f"{free / GIB:.0f} GiB free", "note" if scarce else "ok", remedy)


def sandbox() -> Iterator[Check]:
    """Yield what model-written code is shut in by; needed by the reward `code` alone."""
    from rlexp.sandbox.choice import obstacle
    from rlexp.sandbox.means import STRONGEST_FIRST

    for means in STRONGEST_FIRST:
        why = obstacle(means)
        yield Check(means, why or "works", "note" if why else "ok")


def _size(folder: Path) -> int:
    files = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files)  # the hub's cache links each file twice


def _tracking_uri(argv: list[str]) -> str | None:
    unknown = [argument for argument in argv if not argument.startswith(f"{URI}=")]
    if unknown:
        raise UserError(Problem(unknown[0], "an argument", "tracking.uri=URI, or nothing"))
    uris = [argument.removeprefix(f"{URI}=") for argument in argv]
    if not uris:
        return default_uri()
    return None if uris[-1] == "null" else uris[-1]


def tracking_store(uri: str | None) -> Iterator[Check]:
    """Yield whether the store of `tracking=mlflow` answers, and how many runs it holds."""
    if uri is None:
        yield Check("none", "runs are kept in their own folders only")
        return
    shown = redacted(uri)
    try:
        resolved = resolve(uri)
        if resolved.startswith("sqlite:"):
            yield Check(shown, _runs_in_file(sqlite_path(resolved)))
        else:
            yield Check(shown, f"answers, {_runs_on_server(resolved)} runs")
    except UserError as error:
        yield Check(shown, redacted(str(error)), "problem")
    except Exception as error:  # each kind of store has errors of its own
        first_line = redacted(str(error)).partition("\n")[0]
        remedy = "Runs go on without it, and keep what they log in their folders."
        yield Check(shown, f"does not answer: {first_line}", "problem", remedy)


def _runs_in_file(database: Path) -> str:
    if not database.exists():
        return "not there yet: the first run makes it"
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        query = "SELECT count(*) FROM runs WHERE lifecycle_stage = 'active'"
        (count,) = connection.execute(query).fetchone()
    return f"{count} runs"


def _runs_on_server(uri: str) -> int:
    prepare_environment()  # MLflow's own defaults would wait for minutes
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return sum(1 for _ in all_pages(client.search_runs, experiments, max_results=1000))


def hub() -> Iterator[Check]:
    """Yield whether models and data can be downloaded; a run of local ones does not need it."""
    from huggingface_hub import constants

    address = constants.ENDPOINT
    if constants.HF_HUB_OFFLINE:
        yield Check(address, "not asked: HF_HUB_OFFLINE=1 is set")
        return
    if _answers(address):
        yield Check(address, "answers")
        return
    remedy = (
        "Use models and data that are here (model.path=FOLDER, data.path=FILE) or in the cache; "
        "export HF_HUB_OFFLINE=1 so that nothing waits for the hub."
    )
    yield Check(address, "does not answer", "note", remedy)


def _answers(address: str) -> bool:
    from huggingface_hub import get_session

    answered: list[bool] = []

    def ask() -> None:
        try:
            get_session().head(address, timeout=ANSWER_SECONDS)
        except Exception:  # no network, no name, no certificate: it does not answer
            return
        answered.append(True)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    return bool(answered)
