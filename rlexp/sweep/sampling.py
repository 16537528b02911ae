"""A new trial of a study: asked for, owned at once, and given its parameters.

Each trial is sampled by a sampler of its own, seeded by the sweep's seed and the trial's number. So
a study samples the same whether it was interrupted or not, and two machines never sample alike; nor
do two studies whose seeds are neighbours.
"""

from __future__ import annotations

import warnings
from math import prod

import numpy as np
import optuna
from hydra.utils import instantiate
from optuna.trial import FrozenTrial

from rlexp.spec.sweep import SweepSpec
from rlexp.sweep import ownership
from rlexp.sweep.optuna_internals import current_trial, id_of_trial, live_trial, suggest
from rlexp.sweep.space.grid import grid_values, is_grid
from rlexp.sweep.space.space import CompositionCache, SearchSpace


def ask_trial(study: optuna.Study, spec: SweepSpec, space: SearchSpace) -> FrozenTrial:
    """Ask the study for a trial that has no parameters yet, and make this process its owner."""
    # Which seed is the trial's is known by its number, after this: nothing may be sampled here.
    study.sampler = trial_sampler(spec, space, number=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that heartbeats are for Optuna's own loop
        trial_id = id_of_trial(study.ask())
    # At once, since a trial without an owner is taken for dead after a grace.
    ownership.take_ownership(study, trial_id)
    return current_trial(study, trial_id)


def sample_parameters(
    study: optuna.Study,
    spec: SweepSpec,
    space: SearchSpace,
    compositions: CompositionCache,
    trial: FrozenTrial,
) -> FrozenTrial:
    """Give a trial its parameters, or those that a killed sweep left out, and its command line."""
    study.sampler = trial_sampler(spec, space, trial.number)
    live = live_trial(study, id_of_trial(trial))
    values = space.assign(
        lambda parameter: suggest(live, parameter.name, parameter.distribution), compositions
    )
    # Last, since a trial that has a command line is taken to have all its parameters.
    live.set_user_attr(ownership.OVERRIDES, space.overrides(values))
    return current_trial(study, id_of_trial(trial))


def trial_sampler(spec: SweepSpec, space: SearchSpace, number: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of the trial with this number; a grid's order is the sweep's seed's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if is_grid(spec):
            return optuna.samplers.GridSampler(grid_values(space), seed=spec.seed)
        seed = np.random.SeedSequence([spec.seed, number]).generate_state(1)[0]
        return instantiate(spec.sampler, seed=int(seed))


def max_trials(spec: SweepSpec, space: SearchSpace) -> int:
    """Return how many trials there can be: a grid's combinations, else as many as asked for."""
    return prod(map(len, grid_values(space).values())) if is_grid(spec) else spec.n_trials
