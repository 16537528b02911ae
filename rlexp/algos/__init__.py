"""One file an algorithm: its knobs, and how its trainer is built."""
