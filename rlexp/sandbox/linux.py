"""System calls that Python 3.11 has no function for."""

from __future__ import annotations

import ctypes
import os
import signal

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x2000000, 0x4000000, 0x8000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 0x1, 0x2, 0x4

PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
# the same numbers on every machine type, as are all from 424 on
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC, _MOVE_MOUNT_F_EMPTY_PATH = 1, os.O_CLOEXEC, 4
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces that the flags name, for new ones."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount a file system, as mount(2) does."""
    arguments = (source.encode(), target.encode(), kind.encode() if kind else None)
    result = _libc.mount(*arguments, ctypes.c_ulong(flags), options.encode())
    _check(result, f"mount {target}")


def take_mount(source: str) -> int:
    """Return a file descriptor of what is seen at a folder, to be seen elsewhere too."""
    number, flags = ctypes.c_long(_SYS_OPEN_TREE), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    tree = _libc.syscall(number, _AT_FDCWD, source.encode(), ctypes.c_uint(flags | _AT_RECURSIVE))
    _check(tree, f"open_tree {source}")
    return tree


def put_mount(tree: int, target: str) -> None:
    """Let what `take_mount` has taken be seen at a folder; the descriptor is closed."""
    number, flags = ctypes.c_long(_SYS_MOVE_MOUNT), ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH)
    result = _libc.syscall(number, tree, b"", _AT_FDCWD, target.encode(), flags)
    os.close(tree)
    _check(result, f"move_mount {target}")


def unmount(target: str) -> None:
    """Take a mount away, at once for those who look and later for those who use it."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def set_mount_attributes(target: str, attributes: int, recursive: bool) -> None:
    """Add attributes to a mount, and to those below it; none is ever taken away."""
    fields = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    place = (_AT_FDCWD, target.encode(), _AT_RECURSIVE if recursive else 0)
    number = ctypes.c_long(_SYS_MOUNT_SETATTR)
    result = _libc.syscall(number, *place, fields, ctypes.c_size_t(32))
    _check(result, f"mount_setattr {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root; what was the root is found at `old`, which lies below."""
    number = ctypes.c_long(_SYS_PIVOT_ROOT[os.uname().machine])
    _check(_libc.syscall(number, new.encode(), old.encode()), "pivot_root")


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl PDEATHSIG")


def hide_memory() -> None:
    """Keep processes with fewer privileges from reading this one's memory, and its children's."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl DUMPABLE")


def drop_privileges() -> None:
    """Give up every capability, for good: no program that is executed gives one back."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl NO_NEW_PRIVS")
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl CAP_AMBIENT")
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    _check(_libc.capset(header, none), "capset")


class _SockFprog(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install_filter(program: bytes) -> None:
    """Let a seccomp program (an array of `struct sock_filter`) decide on every system call."""
    mode_filter, instruction_size = 2, 8
    argument = _SockFprog(len(program) // instruction_size, program)
    _check(_libc.prctl(_PR_SET_SECCOMP, mode_filter, ctypes.byref(argument), 0, 0), "seccomp")
