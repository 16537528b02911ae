"""From a run to a name in the model registry, and from the name to the next run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from hub_server import TOKEN
from hub_server import served as served_hub
from hydra._internal.utils import get_args_parser
from mlflow import MlflowClient
from runs import SMALL, rlexp, run_folder, run_here
from safetensors.torch import load_file
from tracking_servers import served
from transformers import AutoModelForCausalLM

from rlexp.builtin import tiny
from rlexp.cli.command_line import check_command
from rlexp.commands import promote
from rlexp.models.gguf.reading import read_gguf
from rlexp.models.load import load_policy
from rlexp.models.locate import local_folder, whole_folder
from rlexp.registry import versions
from rlexp.runner.parts import model_folder_resolver
from rlexp.spec.errors import RunFailed, UserError
from rlexp.spec.run import RunSpec
from rlexp.tracking.store.connection import connect, prepare_environment

pytestmark = pytest.mark.long


TRACKED = [option for option in SMALL if option != "tracking=none"]


@pytest.fixture(scope="module")
def uri(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with a run that kept its best checkpoint, one with an adapter, one that failed."""
    prepare_environment()
    place = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{shutil.copy(tables, place / 'mlflow.db')}"
    connect(uri, "rlexp")
    store = [*TRACKED, f"tracking.uri={uri}"]
    best = ["eval.every=1", "train.best_metric=eval/perplexity", "train.best_mode=min"]
    run_here(place / "whole", "algo=dpo", "name=whole", *best, *store)
    run_here(place / "adapter", "algo=sft", "peft=lora", "name=adapter", *store)
    breaks = ["reward=python", "reward.function=posixpath:samefile"]
    with pytest.raises(RunFailed):
        run_here(place / "failed", "name=failed", *breaks, *store)
    return uri


@pytest.fixture(autouse=True)
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of the registry from before; downloads go to a cache of the test's own."""
    versions.find_version.cache_clear()
    monkeypatch.chdir(tmp_path)


def folder_at(uri: str, name: str) -> Path:
    return Path(uri.removeprefix("sqlite:///")).parent / name


def checked(*words: str, uri: str) -> list[str]:
    """What is handed to Hydra of a command line."""
    return check_command(get_args_parser().parse_args([*words, f"tracking.uri={uri}"]))


def problems(*words: str, uri: str) -> str:
    with pytest.raises(UserError) as caught:
        checked(*words, uri=uri)
    return str(caught.value)


def spec_in(folder: Path) -> RunSpec:
    return RunSpec.parse(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))


def test_the_best_checkpoint_becomes_a_version(uri: str, capsys: pytest.CaptureFixture) -> None:
    """The last weights where the best were kept; files that only this machine has, or pickles among
    them; a page without the card; the same weights as two versions; an alias that stays behind."""
    run = folder_at(uri, "whole")
    best = json.loads((run / "checkpoints" / "best.json").read_text())
    words = ["whole", "--name", "films", "--alias", "champion", f"tracking.uri={uri}"]
    assert promote.run(words) == 0
    assert best["folder"] in capsys.readouterr().out
    assert promote.run(words) == 0
    client = MlflowClient(uri)
    (version,) = client.search_model_versions("name = 'films'")
    assert version.tags["step"] == str(best["step"])
    assert float(version.tags["eval/perplexity"]) == pytest.approx(best["value"], rel=1e-5)
    assert version.run_id
    assert "## How to load it" in (version.description or "")
    found = client.get_model_version_by_alias("films", "champion")
    assert str(found.version) == str(version.version)
    models = client.search_logged_models(
        [client.get_run(version.run_id).info.experiment_id],
        filter_string=f"source_run_id = '{version.run_id}'",
    )
    (entry,) = [each for each in models if "mlflow.modelVersions" in each.tags]
    assert entry.name.startswith(best["folder"])  # the checkpoint's own, with its metrics
    assert json.loads(entry.tags["mlflow.modelVersions"]) == [{"name": "films", "version": "1"}]
    target = Path("here")
    versions.find_version("registry:films@champion", uri, "model").download(
        target, lambda name: True
    )
    names = {each.name for each in target.iterdir()}
    assert {"README.md", "model.safetensors", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".pt", ".bin", ".pth"))]
    trained = load_file(run / "checkpoints" / best["folder"] / "model.safetensors")
    for name, weight in load_file(target / "model.safetensors").items():
        assert torch.equal(weight, trained[name])
    other = ["--checkpoint", "1" if best["step"] == 2 else "2", "--alias", "champion"]
    promote.run(["whole", "--name", "films", *other, f"tracking.uri={uri}"])
    assert "until now version 1" in capsys.readouterr().out
    assert str(client.get_model_version_by_alias("films", "champion").version) == "2"


def test_mistakes_are_told_at_once(uri: str) -> None:
    """A name that MLflow refuses after the upload; a run without a model as a traceback."""
    for words, told in [
        (["whole", "--name", "a/b", "--alias", "v2"], ["a/b", "v2"]),
        (["failed", "--name", "x"], ["no complete checkpoint", "Choose another run."]),
        (["whole", "--name", "x", "--checkpoint", "9"], ["step-000001, step-000002, model"]),
        (["hole", "--name", "x"], ["hole", "whole"]),
        (["whole"], ["--name"]),
        (
            ["whole", "--gguf", "q9", "x/y.gguf", "--merged", "--alias", "a"],
            ["--gguf: got q9", "x/y.gguf", "--merged", "--alias"],
        ),
    ]:
        with pytest.raises(UserError) as caught:
            promote.run([*words, f"tracking.uri={uri}"])
        for word in told:
            assert word in str(caught.value)
    card = folder_at(uri, "whole") / "card.json"
    aside = card.rename(card.with_suffix(".aside"))
    with pytest.raises(UserError, match="python -m rlexp resume"):
        promote.run(["whole", "--name", "x", f"tracking.uri={uri}"])
    aside.rename(card)
    assert "x" not in {model.name for model in MlflowClient(uri).search_registered_models()}


@pytest.mark.slow
@pytest.mark.long
def test_a_run_begins_from_a_name(uri: str, tmp_path: Path) -> None:
    """An alias in the config of a run, which means another model the next day; a tiny model trained
    at the rate of a large one; a sweep over versions that Hydra refuses."""
    promote.run(["whole", "--name", "start", "--alias", "champion", f"tracking.uri={uri}"])
    options = ["algo=sft", *TRACKED, f"tracking.uri={uri}"]
    cache = {"RLEXP_CACHE": str(tmp_path / "cache")}
    done = rlexp("model=registry:start@champion", *options, folder=tmp_path, environment=cache)
    folder = run_folder(done, tmp_path)
    spec = spec_in(folder)
    assert (spec.name, spec.model.path) == ("sft-start-reviews-0", "registry:start/1")
    assert spec.algo.learning_rate == 1e-3
    run = MlflowClient(uri).get_run(json.loads((folder / "card.json").read_text())["run_id"])
    assert run.data.params["model.version"] == "registry:start/1"
    first = json.loads((folder_at(uri, "whole") / "checkpoints" / "best.json").read_text())
    before = json.loads((folder / "card.json").read_text())["before"]
    assert before["perplexity"] == pytest.approx(first["value"], rel=1e-5)
    sweep = checked("-m", "model=tiny,registry:start/1", "algo=sft", uri=uri)
    assert sweep[0] == "model=tiny,registry:start/1"
    by_path = checked("model=local", "model.path=registry:start@champion", uri=uri)
    assert "model.path=registry:start@champion" in by_path


def test_names_that_are_not_there(uri: str) -> None:
    """A wrong name that is found out after torch is loaded, or told without those that there are;
    a data base that is made by asking it."""
    promote.run(["whole", "--name", "known", "--alias", "champion", f"tracking.uri={uri}"])
    assert "registry:known?" in problems("model=registry:knwn@champion", uri=uri)
    told = problems("model=registry:known@chmpion", "seed=-1", uri=uri)
    assert "@champion (version 1)" in told and "seed: got -1" in told
    assert "versions 1" in problems("model=local", "model.path=registry:known/7", uri=uri)
    assert "NAME/VERSION" in problems("model=registry:a:b", uri=uri)
    absent = Path("absent.db").absolute()
    assert "absent.db" in problems("model=registry:known", uri=f"sqlite:///{absent}")
    assert not absent.exists()


def test_tags_of_a_version_cannot_switch_code_on(uri: str) -> None:
    """A registry that everybody may write to, and which decides what runs here."""
    promote.run(["whole", "--name", "tagged", f"tracking.uri={uri}"])
    told = json.dumps({"trust_remote_code": True, "license": "mit"})
    MlflowClient(uri).set_model_version_tag("tagged", "1", versions.DESCRIBED, told)
    found = versions.find_version("registry:tagged", uri, "model")
    assert found.described == {"license": "mit"}


def test_pickles_are_not_downloaded(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that run code when they are loaded, put into the registry by somebody else."""
    monkeypatch.setenv("RLEXP_CACHE", str(tmp_path / "cache"))
    promote.run(["whole", "--name", "poisoned", f"tracking.uri={uri}"])
    found = versions.find_version("registry:poisoned", uri, "model")
    Path(found.source.removeprefix("file://"), "pytorch_model.bin").write_text("evil")
    folder = local_folder("registry:poisoned", None, "model.path", registry=lambda path, key: found)
    assert (folder / "model.safetensors").is_file()
    assert not (folder / "pytorch_model.bin").exists()


def logits_of(spec: RunSpec) -> torch.Tensor:
    policy = load_policy(
        spec, "language", torch.device("cpu"), lambda *told: None, model_folder_resolver(spec)
    )
    with torch.no_grad():
        return policy.model.eval()(**policy.tokenizer("The film", return_tensors="pt")).logits


def with_path(spec: RunSpec, path: str, uri: str) -> RunSpec:
    model = spec.model.model_copy(update={"path": path, "name": "other"})
    tracking = spec.tracking.model_copy(update={"registry": uri})
    return spec.model_copy(update={"model": model, "tracking": tracking})


@pytest.fixture
def server(empty_store: Path, tmp_path: Path) -> Iterator[str]:
    """The address of an `mlflow server` that keeps the artifacts, with nothing in it."""
    with served(
        f"sqlite:///{shutil.copy(empty_store, tmp_path / 'server.db')}", tmp_path
    ) as server:
        yield server.uri


@pytest.mark.slow
def test_an_adapter_goes_to_another_machine_with_its_base(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter whose base is a path of the machine that trained it; a version whose files never
    left that machine's disk; a server that refuses the source of a version."""
    base = shutil.copytree(tiny.ensure_tiny_model(), tmp_path / "base")
    monkeypatch.setenv("RLEXP_CACHE", str(tmp_path / "here"))
    options = ["algo=sft", "peft=lora", "model=local", f"model.path={base}", *TRACKED]
    folder = run_here(tmp_path / "run", *options, f"tracking.uri={server}")
    spec = spec_in(folder)
    promote.run([str(folder), "--name", "lora", f"tracking.uri={server}"])
    trained = logits_of(with_path(spec, str(folder / "model"), server))
    for gone in (folder, base, tmp_path / "here"):
        shutil.rmtree(gone)
    monkeypatch.setenv("RLEXP_CACHE", str(tmp_path / "elsewhere"))
    elsewhere = with_path(
        spec, versions.find_version("registry:lora", server, "model").path, server
    )
    assert torch.allclose(logits_of(elsewhere), trained, atol=1e-5)


def test_an_adapter_is_merged_into_its_gguf(uri: str, capsys: pytest.CaptureFixture) -> None:
    """A file that is the untrained base: what was learnt is left behind."""
    words = ["adapter", "--gguf", "f32", "adapter.gguf", f"tracking.uri={uri}"]
    assert promote.run(words) == 0
    assert "model.path=adapter.gguf" in capsys.readouterr().out
    exported, tokenizer = read_gguf(Path("adapter.gguf"), "model.path")
    adapter = folder_at(uri, "adapter") / "model"
    base = local_folder(str(tiny.ensure_tiny_model()), None, "model.path")
    merged = AutoModelForCausalLM.from_pretrained(whole_folder(adapter, local_folder))
    untrained = AutoModelForCausalLM.from_pretrained(base)
    ids = torch.tensor([tokenizer("The film was")["input_ids"]])
    with torch.no_grad():
        logits = [model(ids).logits for model in (exported, merged, untrained)]
    assert torch.equal(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2], atol=1e-6)


def test_an_adapter_goes_to_the_hub_merged(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter whose base nobody has; weights without their card."""
    with served_hub() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        words = ["adapter", "--push", "me/films", "--yes", f"tracking.uri={uri}"]
        with pytest.raises(UserError, match="Add --merged"):
            promote.run(words)
        assert promote.run([*words, "--merged"]) == 0
        files = hub.files["me/films"]
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= files.keys()
    assert b"## How to load it" in files["README.md"]
    assert b"AutoModelForCausalLM" in files["README.md"]
