"""What is refused of `eval.benchmarks` before anything is imported, and how lm-eval's names are
found without it."""

import pytest
from benchmark_tasks import write_tasks
from runs import spec_of

from rlexp.spec.checks import benchmarks as checks
from rlexp.spec.errors import UserError
from rlexp.spec.harness import files
from rlexp.spec.harness.files import TaskFile, data_problems, task_of_file, with_absolute_paths
from rlexp.spec.harness.index import read_index

OWN = {
    "arc/arc_easy.yaml": "tag:\n  - ai2_arc\ntask: arc_easy\ndataset_path: allenai/ai2_arc\n",
    "arc/arc_hard.yaml": "include: arc_easy.yaml\ntask: arc_hard\n",
    "code/human.yaml": '"task": "human"\nunsafe_code: true\ncustom_dataset: !function utils.load\n',
    "all/_all.yaml": "group: all\ntask:\n  - arc_easy\n  - group: inner\n    task: [human]\n",
    "notes.yaml": "text: 'task: none'\n",
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A small lm-eval: the index of its tasks."""
    for name, text in OWN.items():
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    index = read_index(tmp_path / "own")
    monkeypatch.setattr(checks, "own_tasks", lambda: index)
    monkeypatch.setattr(checks, "own_tasks_folder", lambda: tmp_path / "own")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return index


def problems(*words):
    with pytest.raises(UserError) as caught:
        spec_of(f"eval.benchmarks.tasks=[{','.join(words)}]")
    return [f"{problem}" for problem in caught.value.problems]


def test_tasks_groups_and_tags_are_found(own):
    assert set(own.files) == {"arc_easy", "arc_hard", "human", "all"}
    assert own.tagged == {"ai2_arc": ["arc_easy", "arc_hard"]}  # one has it from what it includes
    names = [task.name for task in files.tasks_of_name("all", own)]
    assert names == ["arc_easy", "human"]
    [hard] = files.tasks_of_name("arc_hard", own)
    assert hard.config["dataset_path"] == "allenai/ai2_arc"


def test_a_wrong_name_gets_the_nearest(own):
    [problem] = problems("arc_esy")
    assert "Did you mean arc_easy" in problem


def test_all_that_is_wrong_is_told_at_once(own, tmp_path):
    write_tasks(tmp_path / "mine")
    told = problems("arc_esy", "human", "arc_easy", str(tmp_path / "mine" / "choise.yaml"))
    assert [problem.partition(":")[0] for problem in told] == ["eval.benchmarks.tasks"] * 4
    assert "runs model-written code" in told[1]
    assert "datasets.load_dataset('allenai/ai2_arc')" in told[2]
    assert f"Did you mean {tmp_path / 'mine' / 'choice.yaml'}?" in told[3]


def test_a_group_is_as_unsafe_as_its_tasks(own):
    assert any("human, which runs model-written code" in problem for problem in problems("all"))


def test_data_that_were_fetched_are_enough(own, tmp_path):
    (tmp_path / "cache" / "allenai___ai2_arc").mkdir(parents=True)
    assert spec_of("eval.benchmarks.tasks=[ai2_arc]").eval.benchmarks.tasks == ["ai2_arc"]


def test_files_are_found_beside_their_yaml(own, tmp_path):
    tasks = write_tasks(tmp_path / "mine")
    assert spec_of(f"eval.benchmarks.tasks=[{','.join(tasks)}]").eval.benchmarks.tasks == tasks
    (tmp_path / "mine" / "generated.jsonl").rename(tmp_path / "mine" / "generate.jsonl")
    [problem] = problems(*tasks)
    assert "generated.jsonl, which is not there" in problem
    assert "Did you mean generate.jsonl?" in problem


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("group: mine\ntask: [arc_easy]\n", "name the files of a group's tasks instead"),
        ("- a\n- b\n", "no mapping"),
        ("task: [\n", "cannot be read"),
        ("task: mine\ndataset_path: json\n", "no data_files"),
        ("include: other.yaml\ntask: mine\n", "other.yaml"),
    ],
)
def test_a_broken_file_is_told_by_what_is_wrong(own, tmp_path, text, told):
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    [problem] = problems(str(tmp_path / "mine.yaml"))
    assert told in problem


def test_nothing_is_fetched(own, tmp_path):
    kwargs = {"data_files": {"test": "https://example.org/sums.jsonl"}}
    task = TaskFile("sums", tmp_path / "s.yaml", {"dataset_path": "json", "dataset_kwargs": kwargs})
    [problem] = data_problems(task)
    assert "nothing is fetched" in problem.want


def test_paths_are_those_beside_the_yaml_and_else_those_that_lm_eval_would_find(
    tmp_path, monkeypatch
):
    there = tmp_path / "there"
    there.mkdir()
    (there / "both.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    for name in ("both.jsonl", "current.jsonl"):
        (tmp_path / name).touch()
    names = ["both.jsonl", "current.jsonl", "/far/one.jsonl"]
    config = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": names}}}
    absolute = with_absolute_paths(config, there)["dataset_kwargs"]["data_files"]["test"]
    assert absolute == [str(there / "both.jsonl"), "current.jsonl", "/far/one.jsonl"]
    assert config["dataset_kwargs"]["data_files"]["test"] == names


def test_a_task_is_named_by_its_file_and_not_by_the_files_name(tmp_path):
    write_tasks(tmp_path)
    assert task_of_file(tmp_path / "choice.yaml").name == "words_choice"


def test_without_lm_eval_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(checks, "own_tasks_folder", lambda: None)
    [problem] = problems("arc_easy")
    assert "rlexp[benchmarks]" in problem


def test_a_model_that_writes_nothing_has_no_benchmarks(own):
    with pytest.raises(UserError, match="writes nothing"):
        spec_of("algo=reward", "eval.benchmarks.tasks=[arc_easy]")


def test_checkpoints_are_not_compared_by_what_is_measured_at_the_end():
    with pytest.raises(UserError, match="before and after only"):
        spec_of("train.best_metric=eval/benchmark_arc_easy_acc", "eval.every=1")
