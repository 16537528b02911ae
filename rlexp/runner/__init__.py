"""A run from inside: its parts, its rows, its callbacks, its recorder."""
