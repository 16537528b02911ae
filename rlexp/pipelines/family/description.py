"""A pipeline on the page of its MLflow run: its family tree, as a picture and as text."""

from __future__ import annotations

from pathlib import Path

from rlexp.pipelines.family.recorded import RecordedPipeline
from rlexp.pipelines.family.tree import draw_tree, render_tree
from rlexp.rendering.svg import Plot
from rlexp.runtime.files import write_atomically

TREE_PICTURE = "tree.svg"


def describe_pipeline(folder: Path) -> str:
    """Write the tree's picture into a pipeline's folder; return Markdown that shows it."""
    pipeline = RecordedPipeline.read(folder)
    write_atomically(folder / TREE_PICTURE, _standalone(draw_tree(pipeline.stages)))
    picture = f"get-artifact?path={TREE_PICTURE}&run_uuid={pipeline.run_id}"
    lines = [
        f"**{pipeline.name}**: `python -m rlexp {' '.join(pipeline.words)}`",
        f"![the family tree]({picture})",
        "```",
        render_tree(pipeline.stages),
        "```",
    ]
    return "\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:])


def _standalone(picture: Plot) -> str:
    """Return a drawing that was made for a page as a file of its own."""
    return picture.svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
