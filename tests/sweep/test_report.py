"""The report of a sweep: a page from whatever there is, the best configs, and how sure they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from html_tags import Tags
from optuna.distributions import FloatDistribution
from some_studies import SPACE, add, confirm, new_study, parameters, searched, trial_folder

from rlexp.rendering.svg import Plot
from rlexp.sweep.confirmation.ranking import Estimate, confirmed_trials, ranking_sentences
from rlexp.sweep.report import plots
from rlexp.sweep.report.best_configs import write_best_configs
from rlexp.sweep.report.plots import MissingPlot, plot_sections
from rlexp.sweep.report.report import write_sweep_report

ONE = {"algo.beta": SPACE["algo.beta"]}


def drawn(study: optuna.Study) -> tuple[set[str], dict[str, str]]:
    """Titles of the plots that there are, and of those that there are not, with the reason."""
    sections = list(plot_sections(study))
    drawings = [drawing for section in sections for drawing in section.drawings]
    plots = {plot.title for plot in drawings if isinstance(plot, Plot)}
    return plots, {plot.title: plot.why for plot in drawings if isinstance(plot, MissingPlot)}


def page(study: optuna.Study, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    return write_sweep_report(study, folder).page.read_text(encoding="utf-8")


def few(count: int) -> optuna.Study:
    study = new_study()
    for index in range(count):
        add(study, index / 10, params=parameters(index))
    return study


def only_failed() -> optuna.Study:
    study = new_study()
    for _ in range(3):
        add(study, state="FAIL", attrs={"error": "RunFailed: <b>out of memory</b>\nmore"})
    return study


def one_parameter() -> optuna.Study:
    study = new_study(space=ONE)
    for index in range(6):
        add(study, index / 10, params={"algo.beta": 0.1 + index / 10})
    return study


def all_alike() -> optuna.Study:
    study = new_study()
    for index in range(5):
        add(study, 0.5, params=parameters(index))
    return study


def nothing_shared() -> optuna.Study:
    """Two parameters of which each trial has one."""
    space = {"algo.a": FloatDistribution(0, 1), "algo.b": FloatDistribution(0, 1)}
    study = new_study(space=space)
    for index in range(8):
        key = ("algo.a", "algo.b")[index % 2]
        add(study, index / 10, params={key: index / 10}, space=space)
    return study


STUDIES = {
    "none": lambda: new_study(),
    "one": lambda: few(1),
    "two": lambda: few(2),
    "failed": only_failed,
    "one parameter": one_parameter,
    "alike": all_alike,
    "nothing shared": nothing_shared,
    "four objectives": lambda: searched(3, "maximize", "minimize", "minimize", "maximize"),
}


@pytest.mark.parametrize("kind", STUDIES)
@pytest.mark.slow
def test_every_study_has_a_page(kind: str, tmp_path: Path) -> None:
    """A plot that raises on a study that is young, odd or unlucky, and takes the page with it; a
    page that asks the network for something, or is torn; one that no mail would take."""
    text = page(STUDIES[kind](), tmp_path)
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    addresses = [value for _, attrs in tags.seen for key, value in attrs.items() if key == "src"]
    assert not any(str(address).startswith("http") for address in addresses)
    assert "<script" not in text and "<b>out" not in text
    assert len(text) < 5_000_000
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL).lower()


@pytest.mark.long
def test_all_plots_are_there() -> None:
    """A plot that is left out, or that says that it cannot be drawn where it can."""
    titles, missing = drawn(searched(16))
    assert missing == {}
    assert {
        "eval/reward by trial",
        "eval/reward by step",
        "What mattered to eval/reward",
        "eval/reward over the two that mattered most",
        "algo.learning_rate",
        "algo.label_smoothing",
    } <= titles


@pytest.mark.long
def test_several_objectives_have_a_front_and_plots_each() -> None:
    """Plots of the first objective only; a front of a study that has one."""
    titles, missing = drawn(searched(16, "maximize", "minimize"))
    assert {"Pareto front", "eval/reward by trial", "eval/kl by trial"} <= titles
    assert "What mattered to eval/kl" in titles and missing == {}


@pytest.mark.parametrize(
    ("kind", "draw", "why"),
    [
        ("none", plots.history_plot, "no trial is complete yet"),
        ("two", plots.importance_plot, "2 complete trials: it wants 4"),
        ("two", plots.intermediate_plot, "eval.every says how often"),
        ("one parameter", plots.contour_plot, "a single parameter"),
        ("alike", plots.importance_plot, "all trials came to the same value"),
        ("nothing shared", plots.contour_plot, "too few trials have"),
        ("four objectives", plots.pareto_plot, "4 objectives"),
    ],
)
def test_a_plot_that_cannot_be_made_says_why(kind: str, draw: Any, why: str) -> None:
    """An empty frame, or a plot that is silently gone."""
    study = STUDIES[kind]()
    of_one = draw in (plots.history_plot, plots.importance_plot, plots.contour_plot)
    drawing = draw(study, 0) if of_one else draw(study)
    assert isinstance(drawing, MissingPlot) and why in drawing.why


def test_importance_knows_which_end_is_good() -> None:
    """The parameter that makes the worst trials bad, taken for the one that makes the best good:
    Optuna takes less for better wherever it is given a target."""
    study = new_study("minimize", "maximize")
    for index in range(40):
        params = parameters(index)
        quality = 1.0 if params["algo.loss_type"] == "[ipo]" else params["algo.beta"] / 10
        add(study, 0.5, quality, params=params)
    assert next(iter(plots.slice_plots(study, 1))).title == "algo.loss_type"


def test_trials_stand_in_their_order_with_what_became_of_them(tmp_path: Path) -> None:
    """A table by number that hides the best; a pruned or failed trial without a word."""
    study = searched(16)
    trial_folder(tmp_path, study.best_trial.number)
    text = page(study, tmp_path)
    rows = re.findall(r'<tr(?: class="best")?>\s*<th scope="row">(\d+)</th>', text)
    assert int(rows[0]) == study.best_trial.number and len(rows) == 17
    assert "pruned at step 5" in text and "failed: RunFailed: it diverged" in text
    assert f'href="{study.best_trial.number}/card.html"' in text
    assert "17 trials: 12 complete, 2 pruned, 2 failed, 1 running" in text


class TestBest:
    def test_is_the_trials_config_and_says_how_to_run_it(self, tmp_path: Path) -> None:
        """The wrong trial's config; a score or a command that is not its own."""
        study = searched(16)
        number = study.best_trial.number
        trial_folder(tmp_path, number)
        (best,) = write_best_configs(study, tmp_path, [])
        assert best.file and best.file == tmp_path / "best.yaml"
        text = best.file.read_text(encoding="utf-8")
        assert yaml.safe_load(text)["algo"] == {"beta": number / 10}
        assert yaml.safe_load(text)["name"] == f"some-trial-{number:03d}"
        assert f"Trial {number} of some: eval/reward {study.best_value:.4g}" in text
        assert f"python -m rlexp rerun {tmp_path}/best.yaml" in text

    def test_of_a_front_the_first_objective_decides(self, tmp_path: Path) -> None:
        """A front in the order of its numbers; a file of a front that has become smaller."""
        study = new_study("maximize", "minimize")
        for reward, kl in ((0.1, 0.1), (0.9, 0.9), (0.5, 0.5), (0.4, 0.8)):
            trial_folder(tmp_path, add(study, reward, kl, params=parameters(0)))
        best = write_best_configs(study, tmp_path, [])
        names = {config.trial.number: config.file.name for config in best if config.file}
        assert names == {1: "best.yaml", 2: "best-2.yaml", 0: "best-3.yaml"}
        trial_folder(tmp_path, add(study, 1.0, 0.0, params=parameters(0)))
        mine = tmp_path / "best-of-all.yaml"
        mine.touch()
        write_best_configs(study, tmp_path, [])
        assert sorted(tmp_path.glob("best*.yaml")) == [mine, tmp_path / "best.yaml"]

    def test_of_a_trial_on_another_machine_says_where(self, tmp_path: Path) -> None:
        """A crash, or the second best passed off as the best."""
        study = new_study()
        add(study, 0.9, params=parameters(0), attrs={"folder": "/elsewhere/multirun/some/0"})
        (best,) = write_best_configs(study, tmp_path, [])
        assert best.file is None and "/elsewhere/multirun/some/0" in best.why

    def test_no_secret_goes_to_mlflow(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A password in the best trial's config, uploaded for all to see."""
        monkeypatch.setenv("DATABASE_PASSWORD", "open-sesame")
        study = new_study()
        folder = trial_folder(tmp_path, add(study, 0.9, params=parameters(0)))
        (folder / "config.yaml").write_text("{name: x, data: {path: 'db://open-sesame'}}")
        written = write_sweep_report(study, tmp_path)
        assert "open-sesame" in (tmp_path / "best.yaml").read_text(encoding="utf-8")
        sent = {file.name: file.read_text(encoding="utf-8") for file in written.artifacts()}
        assert set(sent) == {"best.yaml", "report.html"}
        assert not any("open-sesame" in text for text in sent.values())


class TestCertainty:
    def test_the_interval_is_students(self) -> None:
        """A normal interval, half as wide with three seeds; a variance over n."""
        estimate = Estimate.of([1.0, 2.0, 3.0])
        assert estimate.mean == 2.0
        # t(0.975, 2) = 4.30265, of a table; times the standard error 1/sqrt(3)
        assert estimate.high == pytest.approx(2.0 + 4.30265 / 3**0.5, abs=1e-4)
        assert Estimate.of([1.0]).low is None

    def sentences(self, values: dict[int, list[Any]], *directions: str) -> str:
        study = new_study(*directions or ("maximize",))
        for value in (0.9, 0.8, 0.7):
            sign = -1 if directions == ("minimize",) else 1
            add(study, sign * value, params=parameters(0))
        confirm(study, values)
        return " ".join(ranking_sentences(study, confirmed_trials(study)))

    def test_pairs_are_by_seed(self) -> None:
        """Two groups of numbers compared as if seeds had nothing in common: they overlap."""
        text = self.sentences({0: [0.5, 0.7, 0.9], 1: [0.4, 0.6, 0.81]})
        assert "Trial 0 is better than trial 1 in 3 of 3 seeds, by 0.0967" in text
        assert text.endswith("So the ranking is sure: trial 0 is the best of these.")

    def test_overlap_and_doubt_are_told(self) -> None:
        """A ranking that is called sure because its first is better in most seeds."""
        text = self.sentences({0: [0.5, 0.7, 0.9], 1: [0.6, 0.5, 0.8], 2: [0.1, 0.3, 0.5]})
        assert "better than trial 1 in 2 of 3 seeds" in text
        assert "their intervals overlap: not sure" in text
        assert "better than trial 2 in 3 of 3 seeds" in text and "the ranking is not sure" in text

    def test_luck_is_called_so(self) -> None:
        """A best trial that stays the best although all of its reruns are worse."""
        text = self.sentences({0: [0.5, 0.6, 0.7], 1: [0.8, 0.9, 1.01]})
        assert "in 0 of 3 seeds" in text and "was lucky in the sweep" in text
        assert text.endswith("So the ranking does not hold: trial 0 is not the best.")

    def test_less_can_be_better(self) -> None:
        """A loss of which the larger one is called better."""
        text = self.sentences({0: [0.1, 0.2, 0.3], 1: [0.5, 0.6, 0.71]}, "minimize")
        assert "Trial 0 is better than trial 1 in 3 of 3 seeds" in text and ": sure." in text

    def test_one_seed_and_none(self) -> None:
        """An interval from one value; a division by nothing."""
        assert "one seed says nothing" in self.sentences({0: [0.5], 1: [0.4]})
        assert "came to the same" in self.sentences({0: [0.5, 0.6], 1: [0.5, 0.6]})
        assert "no seed in common" in self.sentences({0: [0.5], 1: [None]})

    def test_the_page_shows_seeds_and_failures(self, tmp_path: Path) -> None:
        """A seed that failed and is simply not counted."""
        study = few(3)
        best = study.best_trial.number
        confirm(study, {best: [0.5, 0.7, None], 0: [0.4, 0.6, 0.5]})
        text = page(study, tmp_path)
        assert "seed 3 failed: ValueError: not this one" in text
        assert "0.600 [-0.671, 1.871]" in text and "sweep.confirm=3" not in text
