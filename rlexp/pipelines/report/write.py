"""Writes the report of a pipeline into its folder, for people and for programs."""

from __future__ import annotations

from pathlib import Path

from rlexp.pipelines.report.page import write_pipeline_page
from rlexp.pipelines.report.report import PipelineReport, build_pipeline_report

REPORT_PAGE = "report.html"
REPORT_JSON = "report.json"


def write_pipeline_report(folder: Path, page: Path | None = None) -> PipelineReport:
    """Write the page and the JSON of a pipeline into its folder, as far as it came.

    The page goes into another file where one is named.

    Raises:
        FileNotFoundError: the folder is no pipeline's.
        UserError: a stage's config cannot be read.
    """
    report = build_pipeline_report(folder)
    report.to_json(folder / REPORT_JSON)
    write_pipeline_page(report, page or folder / REPORT_PAGE)
    return report


def report_files(folder: Path) -> list[Path]:
    """Return the files that `write_pipeline_report` writes, those that are there."""
    return [file for name in (REPORT_PAGE, REPORT_JSON) if (file := folder / name).is_file()]
