"""A model registry that is only looked at: by MLflow's client and straight from its file."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mlflow import MlflowClient

from rlexp.registry.versions import _MLflowCatalogue, open_catalogue

ASKS = """
import sys
from rlexp.spec.errors import UserError
from rlexp.registry.versions import find_version
try:
    find_version("registry:film@champion", sys.argv[1], "model")
except UserError as error:
    print(error)
print("mlflow" in sys.modules)
"""


@pytest.fixture
def registry(uri: str) -> str:
    """Two models, one of them with a version that was deleted."""
    client = MlflowClient(tracking_uri=uri)
    for name in ("films", "it's empty"):
        client.create_registered_model(name)
    for number in range(1, 12):
        client.create_model_version("films", f"file:///films/{number}", tags={"step": str(number)})
    client.delete_model_version("films", "3")
    client.set_registered_model_alias("films", "champion", "11")
    return uri


@pytest.mark.long
def test_both_ways_of_reading_agree(registry: str) -> None:
    """Another release of MLflow with other tables; a deleted version; versions sorted as text."""
    read, asked = (
        open_catalogue(registry),
        _MLflowCatalogue(registry, MlflowClient(tracking_uri=registry)),
    )
    assert type(read) is not type(asked)
    assert read.models() == asked.models() == {"films": {"champion": "11"}, "it's empty": {}}
    wanted = [str(number) for number in range(1, 12) if number != 3]
    assert read.version_numbers("films") == asked.version_numbers("films") == wanted
    assert read.version_numbers("it's empty") == asked.version_numbers("it's empty") == []
    assert read.entry("films", "11") == asked.entry("films", "11")
    assert read.entry("films", "11").tags == asked.entry("films", "11").tags == {"step": "11"}


def test_a_wrong_name_is_told_without_mlflow(registry: str) -> None:
    """Seconds for an import, before a typo is answered."""
    done = subprocess.run(
        [sys.executable, "-c", ASKS, registry], capture_output=True, text=True, check=True
    )
    assert "Did you mean registry:films?" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
