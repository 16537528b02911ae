"""Runs code that nobody has read: cut off from the machine, and verified from outside.

Three processes for each program, so that no pass can be forged:

    this process ──socket── zygote ─fork─ verifier ─fork─ candidate
                            (waits)       (tests)         (the program)

The **candidate** runs the program and answers questions: "what is f([3, 1])?". The **verifier**
runs the tests; names that they use and do not define are the candidate's, reached by messages of
plain data. Expected values, asserts and the verdict never enter the candidate's process, and it is
forked before the verifier has read the tests, so that they are in no memory that it could search. A
program that is fed by standard input is compared in this process. The **zygote**, a Python that
has started once, is never told anything; each program gets fresh namespaces from it.
"""
