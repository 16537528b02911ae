"""`python -m rlexp`: verbs, help and the examination of the machine."""

from __future__ import annotations

import shlex
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from packaging.requirements import Requirement

from rlexp.__main__ import main, verbs
from rlexp.commands import doctor
from rlexp.commands import help as help_command
from rlexp.config.hydra import composed_config
from rlexp.runtime.paths import CONF

CHOICES = sorted(
    (folder.name, file.stem)
    for folder in CONF.iterdir()
    if folder.name != "hydra"
    for file in folder.glob("[!_]*.yaml")
)


class TestMain:
    @pytest.mark.parametrize("typed", ["docter", "hepl"])
    def test_a_mistyped_verb_is_named(self, typed: str, capsys: pytest.CaptureFixture[str]) -> None:
        """Hydra's complaint about an override without `=`."""
        assert main([typed]) == 2
        assert (
            f"Did you mean {'doctor' if typed == 'docter' else 'help'}?" in capsys.readouterr().err
        )

    def test_a_terminal_of_ascii_gets_all_that_it_can_show(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A run that ends in UnicodeEncodeError when it prints its card."""
        terminal = TextIOWrapper(BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", terminal)
        assert main(["docter"]) == 2
        print("reward 0.05 → 0.94", flush=True)
        assert b"reward 0.05 ? 0.94" in terminal.buffer.getvalue()

    @pytest.mark.parametrize(
        "arguments", [[], ["algo=dpo"], ["-m", "seed=1,2"], ["~reward"], ["+x=1"], ["--cfg", "job"]]
    )
    def test_everything_else_is_a_run(
        self, arguments: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An override, or a flag of Hydra's, taken for a verb; a run's exit status lost."""
        seen: list[list[str]] = []
        monkeypatch.setattr("rlexp.cli.main.main", lambda argv: seen.append(argv) or 130)
        assert main(arguments) == 130
        assert seen == [arguments]

    def test_a_verbs_user_error_ends_with_2(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A traceback, or the status of a failure, for a mistake that the user can mend."""
        assert main(["doctor", "tracking.url=x"]) == 2
        assert "tracking.url=x: got an argument" in capsys.readouterr().err

    def test_every_verb_says_what_it_does(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A verb that `--help` lists without a word, or not at all."""
        assert main(["--help"]) == 0
        listed = capsys.readouterr().out.partition("Other commands")[2].splitlines()[1:]
        described = dict(line.split(maxsplit=1) for line in listed if not line.startswith("   "))
        assert sorted(described) == verbs()
        assert {"doctor", "help"} <= set(described)


class TestHelp:
    @pytest.mark.parametrize(("group", "choice"), CHOICES, ids=lambda name: name)
    def test_every_choice_has_a_description(self, group: str, choice: str) -> None:
        """A yaml whose first line is no comment; a package header shown as description."""
        description = help_command.choices(group)[choice]
        assert len(description) > 8
        assert not description.startswith(("@", "python -m"))

    def test_shows_every_group_with_its_default(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A group of `conf/` that nobody would find, or a default other than the config's."""
        help_command.run([])
        shown = capsys.readouterr().out
        config = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))
        defaults = {}
        for entry in config["defaults"]:
            defaults |= entry if isinstance(entry, dict) else {}
        for group in {group for group, _ in CHOICES}:
            default = defaults.get(group)
            assert (f"\n{group}={default} unless" if default else f"\n{group}=\n") in shown

    @pytest.mark.parametrize("key", [key for key in help_command.KEYS if not key.endswith("*")])
    def test_keys_exist(self, key: str) -> None:
        """A key that was renamed in the config but not in the help."""
        config = composed_config(["data=file", "sweep=optuna"])
        where, _, name = key.rpartition(".")
        assert name in (OmegaConf.select(config, where) if where else config)

    @pytest.mark.parametrize("command", help_command.FIRST_COMMANDS)
    def test_commands_are_valid(
        self, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A first command that a beginner copies, and that fails."""
        from hydra._internal.utils import get_args_parser

        from rlexp.cli.command_line import check_command

        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "my_reward.py").write_text("def score(prompts, completions): ...\n")
        python, flag, package, *arguments = shlex.split(command)
        assert (python, flag, package) == ("python", "-m", "rlexp")
        check_command(get_args_parser().parse_args(arguments))

    def test_imports_nothing_heavy(self) -> None:
        """Help that takes seconds."""
        code = (
            "import sys; from rlexp.__main__ import main; main(['-h']); "
            "assert not {'hydra', 'rich', 'torch', 'mlflow'} & set(sys.modules)"
        )
        subprocess.run(
            [sys.executable, "-c", code], cwd=CONF.parent, check=True, stdout=subprocess.DEVNULL
        )


@pytest.fixture
def at_rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a network, and a folder without runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("RLEXP_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("at_rest")
class TestDoctor:
    def test_a_machine_that_passes_the_tests_is_ready(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        """A problem that is none; a file that an examination leaves behind."""
        assert main(["doctor"]) == 0
        shown = capsys.readouterr().out
        assert "Ready to run." in shown
        assert "the first run makes it" in shown
        assert list(tmp_path.iterdir()) == []

    def test_packages_missing_or_out_of_range_are_problems(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A verdict of ready on a machine where nothing can run."""
        wanted = [
            Requirement("no-such-package-here"),
            Requirement("pydantic<2"),
            Requirement("rich"),
        ]
        monkeypatch.setattr(doctor, "requirements", lambda: wanted)
        assert [finding.verdict for finding in doctor.check_packages()] == [
            "problem",
            "problem",
            "ok",
        ]
        assert main(["doctor", "tracking.uri=null"]) == 1
        assert "2 thing(s) to put right" in capsys.readouterr().out

    def test_another_version_than_the_tested_one_is_no_problem(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A GPU image with its own torch refused; the build tag +cpu taken for another version."""
        monkeypatch.setattr(doctor, "requirements", lambda: [Requirement("torch")])
        assert [finding.verdict for finding in doctor.check_packages()] == ["ok"]
        monkeypatch.setattr(doctor, "pinned_versions", lambda: {"torch": "1.0"})
        assert [finding.verdict for finding in doctor.check_packages()] == ["note"]

    def test_counts_the_runs_of_a_store(self, tmp_path: Path) -> None:
        """A table of MLflow's that was renamed; a store opened for writing."""
        from mlflow.store.db.base_sql_model import Base
        from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlRun
        from sqlalchemy import create_engine
        from sqlalchemy.orm import Session

        uri = f"sqlite:///{tmp_path}/runs.db"
        engine = create_engine(uri)
        Base.metadata.create_all(engine, tables=[SqlExperiment.__table__, SqlRun.__table__])
        with Session(engine) as session:
            for name, stage in {"a": "active", "b": "active", "c": "deleted"}.items():
                session.add(SqlRun(run_uuid=name, lifecycle_stage=stage))
            session.commit()
        engine.dispose()
        assert [(f.state, f.verdict) for f in doctor.tracking_store(uri)] == [("2 runs", "ok")]

    @pytest.mark.parametrize(
        "uri",
        [
            "sqlite:///garbage.db",
            "sqlite:///no/such/folder/runs.db",
            "file:///mlruns",
            "http://ann:hunter22@127.0.0.1:9",
        ],
    )
    def test_a_store_that_does_not_answer_is_a_problem(self, uri: str, tmp_path: Path) -> None:
        """Minutes of waiting, a traceback, or a password on the terminal."""
        (tmp_path / "garbage.db").write_bytes(b"no data base" * 100)
        (finding,) = doctor.tracking_store(uri)
        assert finding.verdict == "problem"
        assert "hunter22" not in str(finding)

    def test_a_gpu_that_torch_cannot_use_is_a_problem(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Runs that go on quietly on the CPU of a GPU machine."""
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        monkeypatch.setattr(doctor, "cuda_capabilities", lambda: ((9, 0),))
        problems = [finding.subject for finding in doctor.devices() if finding.verdict == "problem"]
        assert problems == ["torch's GPUs"]
