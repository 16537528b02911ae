"""The family tree as text and as a picture."""

from __future__ import annotations

import re
from pathlib import Path

from html_tags import Tags

from rlexp.pipelines.family.recorded import RecordedStage
from rlexp.pipelines.family.tree import draw_tree, render_tree


def stage(name: str, state: str = "finished", **parents: str) -> RecordedStage:
    by_key = {key.replace("__", "."): (used,) for key, used in parents.items()}
    return RecordedStage(name, "", Path(), "", name, state, by_key, None, 65.0)


STAGES = [
    stage("sft", "used"),
    stage("reward", model__path="sft"),
    stage("dpo", "failed", model__path="sft"),
    stage("ppo", "waiting", model__path="sft", reward__path="reward"),
    stage("distill", model__path="small", algo__teacher="ppo"),
]


def test_the_tree_as_text() -> None:
    """A branch below the wrong stage; what else a stage uses, or that it failed, unsaid."""
    text = render_tree(STAGES, "tiny", {"reward": "accuracy 0.95"})
    assert text.splitlines() == [
        "tiny",
        "├─ sft        sft      1 min 05 s (was there)",
        "│  ├─ reward  reward   1 min 05 s  accuracy 0.95",
        "│  ├─ dpo     dpo      FAILED",
        "│  └─ ppo     ppo      has not run  reward from reward",
        "└─ distill    distill  1 min 05 s  teacher from ppo",
    ]


def test_a_stage_without_a_models_parent_hangs_on_what_it_uses() -> None:
    """A stage that stands nowhere."""
    lines = render_tree([stage("sample"), stage("sft", data__path="sample")]).splitlines()
    assert lines[1].startswith("└─ sample  ") and lines[2].startswith("   └─ sft  ")


def test_the_tree_as_a_picture() -> None:
    """Boxes over each other; a name that becomes markup; an arrow that is missing."""
    stages = [*STAGES, stage("<b>x&y", model__path="sft")]
    picture = draw_tree(stages, "tiny", {"sft": "0.4"})
    tags = Tags()
    tags.feed(picture.svg)
    assert not tags.open
    boxes = [attributes for tag, attributes in tags.seen if tag == "rect"]
    places = {(box["x"], box["y"]) for box in boxes}
    assert len(places) == len(boxes) == len(stages) + 1
    arrows = [attributes for tag, attributes in tags.seen if tag == "path"]
    assert len(arrows) == 1 + 1 + 1 + 2 + 2 + 1
    assert sum("stroke-dasharray" in arrow for arrow in arrows) == 2
    assert "&lt;b&gt;x&amp;y" in picture.svg and "<b>" not in picture.svg
    width, height = map(float, re.findall(r'viewBox="0 0 (\S+) (\S+)"', picture.svg)[0])
    for box in boxes:
        assert 0 <= float(box["x"] or -1) < width and 0 <= float(box["y"] or -1) < height


def test_a_tree_without_stages() -> None:
    assert render_tree([], "tiny") == "tiny"
    assert "tiny" in draw_tree([], "tiny").svg


def test_a_choice_hangs_on_what_it_chose() -> None:
    """A chosen stage that seems to have run twice."""
    best = RecordedStage(
        "best", "", Path(), "", "choice", "used", {"best_of": ("sft", "reward")}, chosen="reward"
    )
    stages = [*STAGES[:2], best, stage("ppo", model__path="best")]
    assert render_tree(stages, "tiny").splitlines()[3:] == [
        "      └─ best    choice  is reward  best of from sft",
        "         └─ ppo  ppo     1 min 05 s",
    ]
