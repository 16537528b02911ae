"""Attacks on what the machine has: processor, memory, disk, processes."""

from __future__ import annotations

from attacks import endless, fails, harmless

FORKS = """
def attack(n=0):
    try:
        while n < 1000:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            n += 1
    except OSError:
        return n
    return n
"""
RESOURCES = {
    "forks": harmless(FORKS, "assert attack() <= 8"),
    "fork bomb": endless(
        """
        def attack():
            while True:
                refused(os.fork)
        """
    ),
    "threads": harmless(
        """
        def attack(n=0):
            try:
                while n < 1000:
                    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
                    n += 1
            except RuntimeError:
                return n
        """,
        "assert attack() <= 10",
        confined=True,
    ),
    "zombies": harmless(
        """
        def attack(n=0):
            try:
                while n < 1000:
                    if os.fork() == 0:
                        os._exit(0)
                    n += 1
            except OSError:
                return n
        """,
        "assert attack() <= 10",
    ),
    "endless loop": endless("def attack():\n    while True: pass"),
    "loop that ignores signals": endless(
        """
        def attack():
            for number in range(1, 65):
                refused(signal.signal, number, signal.SIG_IGN)
            while True:
                try:
                    while True: pass
                except BaseException: pass
        """
    ),
    "loop inside one instruction": endless("def attack():\n    return 9 ** 9 ** 9"),
    "sleep": endless("def attack():\n    time.sleep(1000)"),
    "memory at once": harmless(
        "def attack(): return refused(bytearray, 10**9)", "assert attack() == 'MemoryError'"
    ),
    "memory by and by": harmless(
        """
        def attack():
            kept = []
            try:
                while True: kept.append(bytearray(10**6))
            except MemoryError:
                return len(kept)
        """,
        "assert attack() < 256",
    ),
    "memory that no limit counts": harmless(
        "def attack(): return [refused(os.memfd_create, 'x'), syscall(29, 0, 10**9, 0o1600)]",
        "assert attack() == ['PermissionError', 'EPERM']",
    ),
    "shared memory": harmless(
        "import mmap\ndef attack(): return refused(mmap.mmap, -1, 10**9)",
        "assert attack() == 'OSError'",
    ),
    "disk": harmless(
        """
        def write():
            for number in range(100):
                with open(f"big{number}", "wb") as file: file.write(bytes(10**6))
        def attack(): return refused(write)
        """,
        "assert attack() in ('OSError', 'PermissionError')",
    ),
    "many files": harmless(
        """
        def write():
            for number in range(10**5): open(f"small{number}", "w").close()
        def attack(): return refused(write)
        """,
        "assert attack() in ('OSError', 'PermissionError')",
    ),
    "open files": harmless(
        """
        def attack():
            kept = []
            try:
                while True: kept.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                return len(kept)
        """,
        "assert attack() <= 64",
    ),
    "huge answer": fails("def attack(): return 'x' * 10**7"),
    "answer without end": endless(
        "def attack():\n    while True: yield 1", "assert list(attack()) == [1]"
    ),
    "nested answer": fails(
        "def attack():\n    deep = []\n    for _ in range(10**5): deep = [deep]\n    return deep"
    ),
    "stack": endless(
        """
        def attack():
            sys.setrecursionlimit(10**9)
            return attack()
        """
    ),
    "printing": harmless(
        "def attack():\n    print('x' * 10**7)\n    return 1", "assert attack() == 1"
    ),
}
