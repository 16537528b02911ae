"""Preload of the slots' server: what it imports once, every trial's process has from its start.

The server is forked from, so it must have no thread of its own and no CUDA context: libraries are
told so before they are loaded, and nothing is computed here. What libraries make when they are used
for the first time, such as the tables of a parser, is made by a few calls.
"""

import gc
import os
from importlib import import_module

from rlexp.runtime.environment import share_cores, silence_libraries

SINGLE_THREADED = {
    "OPENBLAS_NUM_THREADS": "1",  # NumPy's starts its threads when it is loaded; torch has its own
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # of pyarrow's memory
}
MODULES = (
    "alembic.command",
    "alembic.migration",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.tracking.client",
    "peft",
    "rlexp.evaluation.likelihood",
    "rlexp.models.load",
    "rlexp.models.sampling.rollout",
    "rlexp.models.saving",
    "rlexp.runner.card_writer",
    "rlexp.runner.dataset",
    "rlexp.runner.training",
    "rlexp.run",
    "rlexp.sweep.trial",
    "scipy.stats",
    "sqlalchemy.dialects.sqlite",
    "transformers.models.qwen3.modeling_qwen3",
    "trl.trainer.dpo_trainer",
    "trl.trainer.grpo_trainer",
    "trl.trainer.kto_trainer",
    "trl.trainer.reward_trainer",
    "trl.trainer.rloo_trainer",
    "trl.trainer.sft_trainer",
    "vaderSentiment.vaderSentiment",
)


def make_first_calls() -> None:
    """Do what each trial does first: read a command line, and ask a study for a trial."""
    import optuna
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from optuna.storages import RDBStorage

    from rlexp.sweep.optuna_internals import id_of_trial, record_heartbeat, set_trial_attribute

    OverridesParser.create().parse_overrides(["a=b", "a.b=[1e-3,'c']", "hydra.a=${b}"])
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = RDBStorage("sqlite://")  # in memory
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    set_trial_attribute(study, id_of_trial(trial), "owner", {})
    record_heartbeat(study, id_of_trial(trial))
    trial.report(0.0, step=1)
    study.tell(trial, 0.0)
    optuna.load_study(study_name=study.study_name, storage=storage).get_trials()
    storage.engine.dispose()
    optuna.logging.set_verbosity(before)


for name, value in SINGLE_THREADED.items():
    os.environ.setdefault(name, value)
silence_libraries()
share_cores()
for module in MODULES:
    import_module(module)
make_first_calls()
gc.freeze()  # else the first collection in each trial copies the memory that all of them share
