"""Sweeps: an Optuna study whose trials are runs.

`driver` is called by Hydra's sweeper, and opens the `study`. `loop` asks it for trials (`sampling`)
and hands them to the slots of `workers`, where each has a process of its own; `trial` is what
happens in there. `ownership` says whose a trial is and finds those whose process died. `space` is
what is searched. `confirmation` runs the best trials again with other seeds, and `report` shows it
all: on the terminal, in MLflow and on a page. What is private in Optuna is used in
`optuna_internals` only.
"""
