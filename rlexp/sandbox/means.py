"""By which means programs are cut off, and whether this machine has them."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from rlexp.sandbox.confinement import DEVICES
from rlexp.sandbox.filter import ARCHITECTURES
from rlexp.sandbox.limits import Limits

Means = Literal["bubblewrap", "namespaces", "rlimits"]

STRONGEST_FIRST: tuple[Means, ...] = ("bubblewrap", "namespaces")
"""What `auto` chooses from."""
IN_WORDS: dict[Means, str] = {
    "bubblewrap": "bubblewrap (namespaces, seccomp, rlimits)",
    "namespaces": "Linux namespaces (with seccomp, rlimits)",
    "rlimits": "rlimits and seccomp only: programs can read this user's files",
}
_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache")
_PACKAGE = Path(__file__).parents[1]
_LINUX_WANTED = (5, 14)
"""Since then the kernel counts processes for each user namespace by itself."""


def known_obstacle(means: Means) -> str | None:
    """Say why the means cannot work here, as far as that can be known without trying."""
    if means == "rlimits":
        return None if sys.platform in ("linux", "darwin") else f"{sys.platform} has no rlimits"
    if sys.platform != "linux":
        return f"it is Linux's, and this is {platform.system()}"
    if platform.machine() not in ARCHITECTURES:
        return f"it knows {' and '.join(ARCHITECTURES)}, and this is {platform.machine()}"
    major, minor = platform.release().split(".")[:2]
    if (int(major), int("".join(filter(str.isdigit, minor)))) < _LINUX_WANTED:
        return f"it needs Linux 5.14, and this is {platform.release()}"
    if means == "bubblewrap" and shutil.which("bwrap") is None:
        return "bwrap is not installed"
    return None


def command(means: Means, limits: Limits, packages: tuple[str, ...] = ()) -> list[str]:
    """Return the command that starts a zygote, whose standard input has to be a socket.

    Packages are imported once, and the folders in which packages are installed are then shown.
    """
    linter = importlib.util.find_spec("pycodestyle")
    executable = os.path.realpath(sys.executable)
    folders = _package_folders() if packages else []
    shown = [*_SYSTEM, os.path.realpath(sys.base_prefix), os.path.realpath(sys.base_exec_prefix)]
    shown += folders
    options = {"means": means, "limits": asdict(limits), "shown": _outermost(shown)}
    options |= {"packages": packages, "package_folders": folders}
    options |= {"linter": linter.origin if linter else None, "path": str(_PACKAGE.parent)}
    start = (
        f"import sys; sys.path.append({str(_PACKAGE.parent)!r}); "
        "from rlexp.sandbox.zygote import main; main()"
    )
    python = [executable, "-S", "-s", "-P", "-B", "-c", start, json.dumps(options)]
    if means != "bubblewrap":
        return python
    modules = [str(_PACKAGE / "__init__.py"), str(_PACKAGE / "sandbox")]
    files = [*_outermost(shown), *modules, *([linter.origin] if linter and linter.origin else [])]
    # The room comes first: what is shown may stand in it.
    return ["bwrap", *_room_for(packages), *_bubblewrap(files), "--", *python]


def _bubblewrap(shown: Sequence[str]) -> list[str]:
    arguments = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    arguments += ["--unshare-cgroup-try", "--as-pid-1", "--die-with-parent", "--cap-add", "ALL"]
    arguments += ["--proc", "/proc"] if os.getuid() == 0 else ["--unshare-user"]
    above = {str(parent) for path in shown for parent in Path(path).parents}
    for path in sorted({*above, "/dev", "/tmp"} - {"/"}):  # noqa: S108
        arguments += ["--dir", path]  # by itself bubblewrap would make some for its user alone
    for path in shown:
        if Path(path).is_symlink():
            arguments += ["--symlink", str(Path(path).readlink()), path]
        elif Path(path).exists():
            arguments += ["--ro-bind", path, path]
    for name in DEVICES:
        arguments += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    return [*arguments, "--remount-ro", "/"]


def _package_folders() -> list[str]:
    folders = (
        folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")
    )
    return [os.path.realpath(folder) for folder in folders if Path(folder).is_dir()]


def _room_for(packages: tuple[str, ...]) -> list[str]:
    """Return what lets packages write while they are imported: a folder in memory."""
    return ["--tmpfs", "/tmp"] if packages else []  # noqa: S108


def _outermost(paths: Sequence[str]) -> list[str]:
    """Return the paths that lie in no other one: a mount below another could not be made."""
    unique = list(dict.fromkeys(paths))
    inside = {a for a in unique for b in unique if a != b and Path(a).is_relative_to(b)}
    return [path for path in unique if path not in inside]
