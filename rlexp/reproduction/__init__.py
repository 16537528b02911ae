"""Reproduction of a run: what it was is read from the tracking store, run once more, compared.

recorded    -> config, origin and metrics of the run, as the store has them
plan        -> the config to run now: what was left open then is held to what it turned out to be
differences -> code, packages, machine, files: what is other here, and what to type
matching    -> metric by metric, bit by bit
reproduce   -> all of it in order
"""
