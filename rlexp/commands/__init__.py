"""The verbs of `python -m rlexp`, one file each: `run(argv)` gives the exit status.

The first line of a file's docstring is what `--help` says of it.
"""
