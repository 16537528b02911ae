"""What the server of the slots imports once, so that trials are born with it.

The server is forked from, so it must have no thread of its own and no CUDA context: libraries are
told so before they are loaded, and nothing is computed here.
"""

import os
from importlib import import_module

from rlexp.offline import quieten, share_cores

SINGLE_THREADED = {
    "OPENBLAS_NUM_THREADS": "1",  # NumPy's starts its threads when it is loaded; torch has its own
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # of pyarrow's memory
}
LOADED = (
    "alembic.migration",
    "mlflow.tracking.client",
    "optuna",
    "peft",
    "rlexp.callbacks",
    "rlexp.observer",
    "rlexp.run",
    "rlexp.trial",
    "transformers",
    "trl.trainer.dpo_trainer",
    "trl.trainer.grpo_trainer",
    "trl.trainer.kto_trainer",
    "trl.trainer.reward_trainer",
    "trl.trainer.rloo_trainer",
    "trl.trainer.sft_trainer",
)

for name, value in SINGLE_THREADED.items():
    os.environ.setdefault(name, value)
quieten()
share_cores()
for module in LOADED:
    import_module(module)
