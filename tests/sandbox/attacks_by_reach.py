"""Attacks on what lies outside: files, network, other processes, the kernel."""

from __future__ import annotations

from attacks import Attack, fails, harmless

REACH = {
    "environment": harmless(
        "def attack(): return [k for k in os.environ if k not in ('LC_CTYPE',)]",
        "assert attack() == []",
    ),
    "environment of the process": harmless(
        "def attack(): return refused(open, '/proc/self/environ')",
        "assert attack() == 'FileNotFoundError'",
        confined=True,
    ),
    "home": harmless(
        "def attack(): return [refused(os.listdir, p) for p in ('/home', '/root/.ssh', OUTSIDE)]",
        "assert set(attack()) <= {'FileNotFoundError', 'PermissionError'}",
        confined=True,
    ),
    "accounts": harmless(
        "def attack(): return [refused(open, p) for p in ('/etc/passwd', '/etc/shadow')]",
        "assert attack() == ['FileNotFoundError', 'FileNotFoundError']",
        confined=True,
    ),
    "system's folders": harmless(
        """
        places = [*sys.path, sys.prefix, "/", "/usr", "/usr/bin", "/etc", "/var/tmp", "/dev"]
        places += ["/dev/shm", "/proc", "/opt", os.path.dirname(os.__file__)]
        def attack(): return [p for p in places if "Error" not in str(refused(open, p + "/x", "w"))]
        """,
        "assert attack() == []",
    ),
    "an outside folder": harmless(
        "def attack(): return 'Error' in str(refused(open, OUTSIDE + '/mark', 'w'))",
        "assert attack() is True",
    ),
    "symbolic links": harmless(
        """
        def attack():
            refused(os.symlink, "/etc/shadow", "shadow")
            refused(os.symlink, "/", "root")
            return [refused(open, "shadow"), refused(open, "root/etc/shadow")]
        """,
        "assert attack() == ['FileNotFoundError', 'FileNotFoundError']",
        confined=True,
    ),
    "hard links": harmless(
        "def attack(): return refused(os.link, sys.executable, 'python')",
        "assert 'Error' in attack()",
    ),
    "devices": harmless(
        """
        def attack():
            made = refused(os.mknod, "disk", 0o60666, os.makedev(254, 0))
            return [made, refused(open, "/dev/mem"), refused(open, "/dev/kmsg")]
        """,
        "assert all('Error' in error for error in attack())",
        confined=True,
    ),
    "internet": harmless(
        "def attack(): return refused(socket.create_connection, ('1.1.1.1', 53), 1)",
        "assert attack() == 'PermissionError'",
    ),
    "this machine's servers": harmless(
        "def attack(): return refused(socket.create_connection, ('127.0.0.1', 22), 1)",
        "assert attack() == 'PermissionError'",
    ),
    "other kinds of socket": harmless(
        "def attack(): return {refused(socket.socket, family, 2) for family in (1, 2, 10, 16, 38)}"
        "  | {refused(socket.socket, family, 1) for family in (1, 40)}",
        "assert attack() == {'PermissionError'}",
    ),
    "signals to others": harmless(
        """
        def attack():
            for target in (1, 2, 3, os.getppid(), PARENT):
                if target not in (0, os.getpid()):
                    refused(os.kill, target, signal.SIGKILL)
            return "still here"
        """,
        "assert attack() == 'still here'",
    ),
    "signals to all": Attack(
        "def attack():\n    refused(os.kill, -1, 9)\n    refused(os.killpg, 0, 9)\n    return 1",
        "assert attack() in (1, 2)",
        True,
        True,
    ),
    "ptrace": harmless(
        "def attack(): return [syscall(101, 16, PARENT, 0), syscall(310, PARENT, 0, 0, 0, 0, 0)]",
        "assert attack() == ['EPERM', 'EPERM']",
    ),
    "the verifier's memory": harmless(
        "def attack(): return [refused(open, f'/proc/{p}/mem') for p in (1, os.getppid())]",
        "assert set(attack()) <= {'FileNotFoundError', 'PermissionError'}",
    ),
    "new namespaces": harmless(
        "def attack(): return [syscall(272, flag) for flag in (0x10000000, 0x20000, 0x40000000)]",
        "assert attack() == ['EPERM'] * 3",
    ),
    "clone into namespaces": harmless(
        "def attack(): return [syscall(56, 0x10000000 | 17, 0, 0, 0, 0), syscall(435, 0, 0)]",
        "assert attack() == ['EPERM', 'ENOSYS']",
    ),
    "mounts": harmless(
        "def attack(): return [syscall(165, 0, 0, 0, 0, 0), syscall(166, 0, 0), syscall(161, 0)]",
        "assert attack() == ['EPERM'] * 3",
    ),
    "doors to the kernel": harmless(
        "def attack(): return [syscall(n, 0, 0, 0, 0, 0) for n in (321, 323, 425, 250, 298, 175)]",
        "assert attack() == ['EPERM'] * 6",
    ),
    "the second set of numbers": fails(
        "def attack(): return [syscall(0x40000000 | 41, 2, 1, 0), 'the right answer'][1]"
    ),
    "becoming root": harmless(
        "def attack(): return refused(os.setuid, 0)",
        "assert attack() in ('PermissionError', 'OSError')",
        confined=True,
    ),
    "the machine's name and clock": harmless(
        """
        def attack():
            clock = refused(time.clock_settime, time.CLOCK_REALTIME, 0.0)
            return [refused(socket.sethostname, "x"), clock]
        """,
        "assert attack() == ['PermissionError', 'PermissionError']",
        confined=True,
    ),
    "more than the limits": harmless(
        """
        import resource
        def attack(): return [refused(resource.setrlimit, which, (-1, -1)) for which in range(10)
                              if resource.getrlimit(which)[1] != -1]
        """,
        "assert set(attack()) <= {'PermissionError', 'ValueError'}",
        confined=True,
    ),
    "a daemon": harmless(
        """
        def attack():
            if refused(os.fork) == 0:
                os.setsid()
                if os.fork() == 0:
                    for number in range(1, 32): refused(signal.signal, number, signal.SIG_IGN)
                    while True: time.sleep(1)
                os._exit(0)
            return 1
        """,
        "assert attack() == 1",
    ),
}
