"""Puts the zygote where the machine cannot be seen: namespaces, a root of its own, no privileges.

With bubblewrap most of this has been done before Python starts. Without it, it is done here, in
the same way: a new root in memory, on which the system's folders are mounted for reading.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rlexp.sandbox import linux

DEVICES = ("null", "zero", "full", "random", "urandom")
INSIDE, NOBODY = 1000, 65534
"""User and group as programs see themselves, and as the machine sees what root starts: root's own
number is exempt from the limit on processes."""

_NAMESPACES = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWNET
_NAMESPACES |= linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP


def enter_namespaces(shown: list[str]) -> None:
    """Enter new namespaces and a new root; the caller goes on as the first process in them.

    What is shown of the machine, folders and files, stays for reading.

    Raises:
        OSError: the kernel or the administrator does not allow it.
    """
    proc = _open_proc()
    if os.getuid() == 0:
        linux.unshare(_NAMESPACES)
    else:
        user, group = os.getuid(), os.getgid()
        linux.unshare(linux.CLONE_NEWUSER | _NAMESPACES)
        _write_maps(proc, os.readlink("self", dir_fd=proc), user, group)
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    linux.die_with_parent()
    _build_root(shown)
    if os.getuid() == 0:
        _become_nobody(proc)
    os.close(proc)


def inside_bubblewrap() -> None:
    """Do what bubblewrap leaves to do: root gives itself up, and /proc is hidden."""
    if os.getuid() == 0:
        proc = _open_proc()
        _become_nobody(proc)
        os.close(proc)
    linux.unshare(linux.CLONE_NEWNS)
    if Path("/proc").is_dir():
        linux.mount("none", "/proc", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=4k,mode=555")
        linux.set_mount_attributes("/proc", linux.ATTR_RDONLY, recursive=False)


def mount_private_tmp(mib: int, packages: Sequence[str] = ()) -> None:
    """Mount an empty /tmp for what is forked from here, in a mount namespace of its own.

    Folders of packages that lie below /tmp are seen in it as before: some of their modules are
    imported late.
    """
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWPID)
    kept = {one: linux.take_mount(one) for one in packages if one.startswith("/tmp/")}  # noqa: S108
    options = f"size={mib}m,nr_inodes=4096,mode=700"
    linux.mount("none", "/tmp", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, options)  # noqa: S108
    for folder, tree in kept.items():
        Path(folder).mkdir(parents=True)
        linux.put_mount(tree, folder)


def _open_proc() -> int:
    return os.open("/proc", os.O_PATH | os.O_DIRECTORY)


def _write_maps(proc: int, process: str, user: int, group: int) -> None:
    maps = {"uid_map": f"{INSIDE} {user} 1", "gid_map": f"{INSIDE} {group} 1"}
    for name, line in {"setgroups": "deny", **maps}.items():
        file = os.open(f"{process}/{name}", os.O_WRONLY, dir_fd=proc)
        os.write(file, line.encode())
        os.close(file)


def _become_nobody(proc: int) -> None:
    """Enter a user namespace, all-powerful in it and nobody outside of it.

    The map must be written by a process that stays outside.
    """
    os.setgroups([])
    process = os.readlink("self", dir_fd=proc)
    entered_read, entered_write = os.pipe()  # its end says that the namespace has been entered
    helper = os.fork()
    if helper == 0:
        os.close(entered_write)
        os.read(entered_read, 1)
        try:
            _write_maps(proc, process, NOBODY, NOBODY)
        except OSError as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    linux.unshare(linux.CLONE_NEWUSER)
    os.close(entered_read)
    os.close(entered_write)
    _, status = os.waitpid(helper, 0)
    if status:
        raise PermissionError("the user namespace could not be given its users")
    os.setresgid(INSIDE, INSIDE, INSIDE)
    os.setresuid(INSIDE, INSIDE, INSIDE)
    linux.die_with_parent()  # changing the user has cleared it


def _build_root(shown: list[str]) -> None:
    # nothing of what follows reaches the machine's own mounts
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    # a root in memory; the old one stays below it while it is copied from
    new, old = "/tmp", "/old"  # noqa: S108
    linux.mount("none", new, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=1m,mode=755")
    Path(new + old).mkdir()
    linux.pivot_root(new, new + old)
    os.chdir("/")
    # what is shown of the machine
    for path in shown:
        _mount_for_reading(old, path)
    for name in DEVICES:
        _bind(f"{old}/dev/{name}", f"/dev/{name}")
    Path("/tmp").mkdir(exist_ok=True)  # noqa: S108
    linux.unmount(old)
    Path(old).rmdir()
    linux.set_mount_attributes("/", linux.ATTR_RDONLY, recursive=False)


def _mount_for_reading(old: str, path: str) -> None:
    source = Path(old + path)
    if source.is_symlink():
        Path(path).symlink_to(source.readlink())
    elif source.exists():
        _bind(str(source), path)
        attributes = linux.ATTR_RDONLY | linux.ATTR_NOSUID | linux.ATTR_NODEV
        linux.set_mount_attributes(path, attributes, recursive=True)


def _bind(source: str, target: str) -> None:
    if Path(source).is_dir():
        Path(target).mkdir(parents=True, exist_ok=True)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    linux.mount(source, target, None, linux.MS_BIND | linux.MS_REC)
