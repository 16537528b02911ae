"""Held-out benchmarks: lm-eval's tasks on the model in memory, with intervals by document."""
