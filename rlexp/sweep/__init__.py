"""Sweeps: an Optuna study whose trials are runs.

`loop` asks the study for trials and hands them to `slots`, where each has a process of its own;
`trial` is what happens in there. `syntax` reads the `space` that is searched, `study` opens the
study, `claims` says whose a trial is and finds those whose process died, `parent` and `progress`
tell MLflow and the terminal. At the end `confirming` runs the best trials again, `confirmed` says
how sure their ranking is, and `reporting` leaves the `page`, its `plots` and the `best` configs.
"""
