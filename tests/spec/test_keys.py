"""Keys of stored configs: old names, and keys that came later."""

from typing import Any

import pytest
import yaml

from rlexp.data.file import File
from rlexp.data.hub import Hub
from rlexp.runtime.paths import CONF
from rlexp.spec.keys import ADDED, with_current_names

COLUMNS = dict.fromkeys(("prompt", "completion", "chosen", "rejected", "text", "label"))


def earlier_config(name: str) -> dict[str, Any]:
    """Return a data config as it was stored before the keys of `ADDED`."""
    text = (CONF / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    config = {**yaml.safe_load(text), "path": "a/b", "columns": {**COLUMNS, "prompt": "q"}}
    lengths = {"name": "n", "max_prompt_length": 9, "max_completion_length": 9}
    return {key: value for key, value in (config | lengths).items() if key not in NEW}


NEW = {key for added in ADDED.values() for key in added} - {"columns"}


@pytest.mark.parametrize(("name", "kind"), [("file", File), ("_hub", Hub)])
def test_configs_from_before_a_key_have_its_value_of_then(name: str, kind: Any) -> None:
    """Catches: a stored run that cannot be resumed because a knob was added since."""
    config = with_current_names({"data": earlier_config(name)})["data"]
    spec = kind(**{key: value for key, value in config.items() if key != "_target_"})
    assert spec.named() == {"prompt": "q"} and spec.roles == {}


def test_fields_of_trl_that_have_become_knobs_are_found_there() -> None:
    """Catches: a stored run that is refused, or resumed without what it was told."""
    trl = {"delta": 4.0, "use_bias_correction_kl": False, "min_p": 0.1}
    stored = {"algo": {"_target_": "rlexp.algos.grpo.Grpo", "beta": 0.1, "trl": trl}}
    algo = with_current_names(stored)["algo"]
    assert algo["delta"] == 4.0 and algo["kl_importance_weights"] is False
    assert algo["trl"] == {"min_p": 0.1} and algo["entropy_coefficient"] == 0.0
    typed = {"algo": {**algo, "trl": trl}}
    assert with_current_names(typed) == typed  # today's config: a mistake that is told


def test_what_a_config_says_stays() -> None:
    """Catches: a default put in the place of what was set."""
    data = {**earlier_config("file"), "encoding": "gb18030", "roles": {"x": "user"}}
    config = with_current_names({"data": data})["data"]
    assert config["encoding"] == "gb18030" and config["roles"] == {"x": "user"}
