"""Which system calls a program may not use: a seccomp filter (seccomp(2), "Return values").

Namespaces hide things; the filter closes doors to the kernel itself, and what no limit counts:
memory outside of address spaces (memfd, System V and POSIX queues, keys), sockets of kinds that no
network namespace holds, further namespaces, tracing. Without namespaces it does more: no other
process, no signal, no file opened for writing.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Machine types that the filter knows, by their number in <linux/audit.h>."""

_CLONE_THREAD, _CLONE_NEW = 0x10000, 0x7E020000
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_ANY = 0xFFFFFFFF


@dataclass(frozen=True)
class Denied:
    """A system call that fails.

    `numbers` are those of x86_64 and aarch64; None where the machine type has no such call. It may
    fail only where its `argument` has any of the bits `any_of`, or none of `none_of`, or is
    `equals`.
    """

    numbers: tuple[int | None, int | None]
    argument: int = 0
    any_of: int | None = None
    none_of: int | None = None
    equals: int | None = None
    error: int = errno.EPERM


def _always(*numbers: tuple[int | None, int | None]) -> tuple[Denied, ...]:
    return tuple(Denied(pair) for pair in numbers)


KERNEL = (
    *_always((101, 117), (310, 270), (311, 271), (312, 272), (438, 438)),  # tracing, others' memory
    # namespaces, mounts
    *_always((272, 97), (308, 268), (165, 40), (166, 39), (155, 41), (161, 51)),
    *_always(*((number, number) for number in (428, 429, 430, 431, 432, 433, 442, 467, 468))),
    *_always((303, 264), (304, 265)),  # files by handle
    # bpf … io_uring
    *_always((321, 280), (298, 241), (323, 282), (425, 425), (426, 426), (427, 427)),
    # memory unlimited
    *_always((319, 279), (447, 447), (29, 194), (64, 190), (68, 186), (240, 180)),
    *_always((248, 217), (249, 218), (250, 219)),  # keys
    *_always((41, 198)),  # socket; socketpair stays
    *_always((175, 105), (313, 273), (176, 106), (246, 104), (320, 294), (169, 142)),  # the machine
    *_always((135, 92), (154, None), (103, 116), (300, 262), (179, 60), (167, 224), (163, 89)),
    Denied((56, 220), any_of=_CLONE_NEW),
    Denied((435, 435), error=errno.ENOSYS),  # clone3 hides its flags; the C library tries clone
)
"""Denied to every program."""

PROCESSES = (
    *_always((57, None), (58, None), (59, 221), (322, 281)),  # fork, vfork, execve, execveat
    Denied((56, 220), none_of=_CLONE_THREAD),
)
WRITING = (
    Denied((2, None), argument=1, any_of=_WRITES),
    Denied((257, 56), argument=2, any_of=_WRITES),
    Denied((437, 437), error=errno.ENOSYS),  # openat2 hides its flags
    *_always((85, None), (76, 45), (87, None), (263, 35), (82, None), (264, 38), (316, 276)),
    *_always((83, None), (258, 34), (84, None), (88, None), (266, 36), (86, None), (265, 37)),
    *_always((90, None), (91, 52), (268, 53), (452, 452), (92, None), (93, 55), (94, None)),
    *_always((260, 54), (133, None), (259, 33), (280, 88), (132, None), (235, None), (261, None)),
    *_always((188, 5), (189, 6), (190, 7), (197, 14), (198, 15), (199, 16), (463, 463), (466, 466)),
)
OTHERS = (
    *_always((62, 129), (200, 130), (234, 131), (129, 138), (297, 240), (424, 424), (434, 434)),
    *_always((141, 140), (142, 118), (144, 119), (314, 274), (251, 30), (256, 238), (279, 239)),
    *_always((440, 440), (448, 448)),
    Denied((302, 261), any_of=_ANY),  # prlimit64 of another process
    Denied((203, 122), any_of=_ANY),  # sched_setaffinity of another process
    Denied((157, 167), equals=1),  # prctl: outlive the parent
    # fcntl, ioctl: SIGIO to whom it likes
    *(Denied((72, 25), argument=1, equals=command) for command in (8, 10, 15)),
    *(Denied((16, 29), argument=1, equals=request) for request in (0x8901, 0x8902)),
)
"""Reaching other processes: signals, priorities, limits."""


def program(denied: Iterable[Denied]) -> bytes:
    """Return the filter in the kernel's form: `struct sock_filter[]` of classic BPF.

    Raises:
        KeyError: a machine type other than `ARCHITECTURES`.
    """
    machine = os.uname().machine
    column = list(ARCHITECTURES).index(machine)
    # another architecture has other numbers: a program of it is killed
    lines = [_load(4), _jump(_EQUAL, ARCHITECTURES[machine], 1, 0), _return(_KILL), _load(0)]
    if machine == "x86_64":  # the x32 calls, a second set of numbers
        lines += [_jump(_GREATER_OR_EQUAL, 0x40000000, 0, 1), _return(_KILL)]
    for rule in denied:
        if (number := rule.numbers[column]) is not None:
            lines += _rule(rule, number)
    return b"".join([*lines, _return(_ALLOW)])


_EQUAL, _GREATER_OR_EQUAL, _ANY_BIT = 0x15, 0x35, 0x45
_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000


def _load(offset: int) -> bytes:
    """Read four bytes of `struct seccomp_data`: the number at 0, the architecture at 4."""
    return struct.pack("=HBBI", 0x20, 0, 0, offset)


def _jump(condition: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("=HBBI", condition, if_true, if_false, value)


def _return(value: int) -> bytes:
    return struct.pack("=HBBI", 0x06, 0, 0, value)


def _rule(rule: Denied, number: int) -> list[bytes]:
    deny = _return(_ERRNO | rule.error)
    if rule.any_of is not None:
        test = _jump(_ANY_BIT, rule.any_of, 0, 1)
    elif rule.none_of is not None:
        test = _jump(_ANY_BIT, rule.none_of, 1, 0)
    elif rule.equals is not None:
        test = _jump(_EQUAL, rule.equals, 0, 1)
    else:
        return [_jump(_EQUAL, number, 0, 1), deny]
    # Arguments have 64 bits, flags lie in the lower 32; afterwards the number is loaded again.
    lower_half = _load(16 + 8 * rule.argument)
    return [_jump(_EQUAL, number, 0, 4), lower_half, test, deny, _load(0)]
