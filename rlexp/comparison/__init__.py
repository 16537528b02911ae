"""Runs told apart: what was asked of them, what came of it, and whether that is more than noise.

`gather` reads a run, `compare` sets runs against the first of them, `print_comparison` and
`write_comparison_page` show the result to people. All of it works on plain records, wherever they
are kept.
"""
