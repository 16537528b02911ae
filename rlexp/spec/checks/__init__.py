"""What the parts of a config demand of each other.

Each check takes the parts that it names and gives the problems that it sees; it runs when those
parts are valid by themselves, so that one message is not followed by its consequences.
"""

from __future__ import annotations

from collections.abc import Callable

from rlexp.spec.checks.adapter import adapter_goes_on
from rlexp.spec.checks.algo import (
    adapter_is_trained,
    algo_fits,
    algo_fits_model,
    reference_can_follow,
    vllm_is_there,
)
from rlexp.spec.checks.algo_data import (
    algo_finds_columns,
    algo_has_reward,
    data_feeds_algo,
    gold_finds_columns,
    gold_is_right,
    reward_finds_columns,
)
from rlexp.spec.checks.benchmarks import benchmarks_are_there
from rlexp.spec.checks.curriculum import (
    column_is_there,
    order_is_free,
    pace_is_heard,
    policy_can_answer,
    weights_are_said_once,
)
from rlexp.spec.checks.eval import best_is_known, slices_are_columns, texts_are_there
from rlexp.spec.checks.hardware import (
    batch_divides,
    device_exists,
    flash_attention_is_there,
    precision_exists,
)
from rlexp.spec.checks.judge import judge_can_compare, judge_is_right, rivals_are_sampled
from rlexp.spec.checks.model import (
    adapter_fits,
    chat_template_is_there,
    model_is_there,
    model_is_whole,
    template_reads_kwargs,
    weights_can_move,
)
from rlexp.spec.checks.new_model import shape_is_right
from rlexp.spec.checks.reward import groups_are_there, penalty_is_felt
from rlexp.spec.checks.trl import check_trl
from rlexp.spec.errors import Problems

CHECKS: list[tuple[tuple[str, ...], Callable[..., Problems]]] = [
    (("algo", "data", "reward"), data_feeds_algo),
    (("algo", "reward"), algo_has_reward),
    (("algo", "data"), algo_finds_columns),
    (("data", "reward"), reward_finds_columns),
    (("eval",), gold_is_right),
    (("data", "eval"), gold_finds_columns),
    (("eval",), texts_are_there),
    (("data", "eval"), slices_are_columns),
    (("algo", "eval"), benchmarks_are_there),
    (("eval",), judge_is_right),
    (("algo", "data", "eval"), judge_can_compare),
    (("algo", "eval", "reward"), rivals_are_sampled),
    (("algo", "data", "reward"), groups_are_there),
    (("algo", "reward"), penalty_is_felt),
    (("train", "hardware"), batch_divides),
    (("hardware",), device_exists),
    (("hardware", "model"), precision_exists),
    (("model",), model_is_there),
    (("algo", "data", "model"), model_is_whole),
    (("algo", "model", "peft"), weights_can_move),
    (("algo", "model", "peft"), adapter_goes_on),
    (("model",), shape_is_right),
    (("model",), chat_template_is_there),
    (("model",), template_reads_kwargs),
    (("peft", "hardware"), adapter_fits),
    (("model", "hardware"), flash_attention_is_there),
    (("train", "eval"), best_is_known),
    (("algo",), check_trl),
    (("algo", "train", "hardware"), algo_fits),
    (("algo", "model"), algo_fits_model),
    (("algo", "hardware"), vllm_is_there),
    (("algo", "peft"), reference_can_follow),
    (("algo", "peft"), adapter_is_trained),
    (("algo", "curriculum"), pace_is_heard),
    (("algo", "curriculum", "data"), order_is_free),
    (("algo", "curriculum", "reward"), policy_can_answer),
    (("curriculum", "data"), column_is_there),
    (("curriculum", "data"), weights_are_said_once),
]
