"""Attacks on the verdict: a pass that is not deserved."""

from __future__ import annotations

from attacks import fails, harmless

SECRET = "s3cret-6f1e02c9a7b4"
SEARCH = """
import re
secret = re.compile(bytes(reversed(b"-terc3s")) + b"[0-9a-f]{12}")

def places():
    "Memory that Python has for objects, small and large: all of what lies around what is known."
    known = [id(item) for item in gc.get_objects()]
    known += [id(bytes(size)) for size in range(500, 200000, 500)]
    return sorted({(address >> 20) + by for address in known for by in (-1, 0, 1)})

def attack():
    "A write of memory that is not there fails, where reading it would crash."
    out, into = os.pipe()
    write = ctypes.CDLL(None).write
    for place in places():
        seen = b""
        for page in range(place << 20, (place + 1) << 20, 4096):
            if write(into, ctypes.c_void_p(page), ctypes.c_size_t(4096)) > 0:
                seen += os.read(out, 4096)
        if match := secret.search(seen):
            return match[0].decode()
    return "nothing"
"""
FORGERY = {
    "os._exit at once": fails("os._exit(0)"),
    "os._exit when asked": fails("def attack(): os._exit(0)"),
    "sys.exit at once": fails("sys.exit(0)"),
    "sys.exit when asked": fails("def attack(): sys.exit(0)"),
    "os._exit where an exception is wanted": fails(
        "def attack(): os._exit(0)",
        "try:\n    attack()\nexcept BaseException:\n    pass\nelse:\n    assert False",
    ),
    "printing the answer": fails(
        """
        print("the right answer", "passed", '{"verdicts":[[true,""]],"ended":null}')
        def attack(): return None
        """
    ),
    "writing to every open file": fails(
        """
        import struct
        frame = b'{"parses":true,"verdicts":[[true,""]],"ended":null}'
        def attack():
            for file in range(256):
                refused(os.write, file, struct.pack(">I", len(frame)) + frame)
        """
    ),
    "answering before it is asked": fails(
        """
        import struct
        frames = b"".join(struct.pack(">I", len(x)) + x for x in [b'{"value":true}'] * 50)
        for file in range(3, 256): refused(os.write, file, frames)
        def attack(): return 1
        """
    ),
    "patching assert": fails(
        """
        import builtins
        class Never(BaseException): pass
        builtins.AssertionError = Never
        builtins.__build_class__ = builtins.compile = builtins.exec = None
        def attack(): return None
        """
    ),
    "patching modules": fails(
        """
        class Anything:
            def __getattr__(self, name): return lambda *a, **k: True
        for name in list(sys.modules):
            if name.startswith(("rlexp", "json", "operator", "ast", "unittest")):
                sys.modules[name] = Anything()
        def attack(): return None
        """
    ),
    "patching the messages": fails(
        """
        import rlexp.sandbox.wire, rlexp.sandbox.candidate
        rlexp.sandbox.candidate.to_wire = rlexp.sandbox.wire.to_wire = lambda *a: True
        def attack(): return None
        """
    ),
    "equal to everything": fails(
        """
        class Yes:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __bool__(self): return True
            __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__
            __hash__ = None
        def attack(): return Yes()
        """
    ),
    "a text equal to everything": fails(
        """
        class Yes(str):
            def __eq__(self, other): return True
            __hash__ = str.__hash__
        def attack(): return Yes("wrong")
        """
    ),
    "a number near everything": fails(
        """
        class Near(float):
            def __sub__(self, other): return 0.0
            __rsub__ = __sub__
            def __abs__(self): return 0.0
        def attack(): return Near(99.0)
        """,
        "assert abs(attack() - 3.25) < 1e-6",
    ),
    "an object near everything": fails(
        """
        class Near:
            def __sub__(self, other): return 0.0
            __rsub__ = __float__ = __sub__
        def attack(): return Near()
        """,
        "assert abs(attack() - 3.25) < 1e-6",
    ),
    "that contains everything": fails(
        """
        class All:
            def __contains__(self, other): return True
            def __iter__(self): return iter(())
        def attack(): return All()
        """,
        "assert 5 in attack()",
    ),
    "shadowing what tests use": fails(
        """
        def sorted(x): return 1
        def all(x): return True
        def isinstance(x, y): return True
        class math:
            isclose = staticmethod(lambda *a, **k: True)
        def attack(): return "x"
        """,
        "assert all([sorted(attack()) == [1], math.isclose(len(attack()), 2)])",
    ),
    "an exception of its own": fails(
        """
        class Passed(Exception): pass
        def attack(): raise Passed("ok")
        """
    ),
    "an exception that is none": fails("def attack(): raise StopIteration('the right answer')"),
    "searching memory": harmless(SEARCH, f"assert attack() == 'nothing', '{SECRET}'"),
    "taking the asking over": fails(
        """
        def attack():
            frame = sys._getframe().f_back
            while frame:
                for value in frame.f_locals.values():
                    if type(value).__name__ == "ProgramServer":
                        value.channel.send({"verdicts": [[True, ""]], "ended": None})
                        value.channel.send({"value": True, "changed": {"0": [1, 2]}})
                frame = frame.f_back
        """
    ),
    "nonsense instead of an answer": fails(
        """
        import struct
        def attack():
            for file in range(3, 64): refused(os.write, file, struct.pack(">I", 5) + b"[[[[[")
        """
    ),
    "changing what was not given": fails(
        """
        def attack(x):
            x.clear()
            return [0]
        """,
        "given = (3, 1)\nassert attack(list(given)) == sorted(given)",
    ),
}
