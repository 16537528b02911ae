"""Show what a run was made from: its family tree of models, reward models and samples

`python -m rlexp tree RUN`: RUN is a run's folder, id or name, or a pipeline's folder. A run's
parents are the runs that its config names, whether a pipeline wired them or a person did.
`reproduce RUN --ancestors` runs all of them again.
"""

from __future__ import annotations

from pathlib import Path

from rlexp.cli.arguments import Parser, console_of_width, store_of
from rlexp.runtime.run_folder import CONFIG, PIPELINE
from rlexp.spec.errors import Problem, UserError


def run(argv: list[str]) -> int:
    """Print the family tree of a run or a pipeline. Raises `UserError` where there is none."""
    parser = Parser("tree", __doc__)
    parser.add_argument("run", metavar="RUN", help="a run's folder, id or name, or a pipeline's")
    uri, experiment, rest = store_of(argv)
    word = parser.parse_args(rest).run

    from rlexp.pipelines.family.lineage import lineage_of
    from rlexp.pipelines.family.recorded import RecordedPipeline
    from rlexp.pipelines.family.tree import render_tree

    folder = folder_of_run(word, uri, experiment)
    if (folder / PIPELINE).is_file():
        pipeline = RecordedPipeline.read(folder)
        text = f"pipeline {pipeline.name}\n{render_tree(pipeline.stages)}"
    else:
        lineage = lineage_of(folder)
        places = {stage.name: str(stage.folder) for stage in lineage.stages}
        text = render_tree(lineage.stages, lineage.base, places)
    console_of_width(markup=False).print(text, soft_wrap=True)
    return 0


def folder_of_run(word: str, uri: str, experiment: str | None) -> Path:
    """Return the folder of a run or pipeline that a word names.

    Raises:
        UserError: there is none, or its folder is not on this machine.
    """
    place = Path(word).expanduser()
    if any((place / name).is_file() for name in (PIPELINE, CONFIG)):
        return place.resolve()
    from rlexp.tracking.query.records import Records

    with Records.open(uri, experiment) as records:
        record = records.select_one(word)
    folder = record.folder
    if folder is None or not any((folder / name).is_file() for name in (PIPELINE, CONFIG)):
        got = f"{record.name}, whose folder is not here ({folder or 'an unknown place'})"
        remedy = "Type the command on the machine that has it."
        raise UserError(Problem(word, got, "a run whose folder is here", remedy))
    return folder
