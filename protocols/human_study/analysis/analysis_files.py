"""The files of an analysis: a page, tables, plots, a methods paragraph, and a record for each method."""

from __future__ import annotations

import json
from pathlib import Path

from colorbench.reporting import write_figures, write_report
from colorbench.storage import write_atomic
from protocols.human_study.analysis import analysis_tables
from protocols.human_study.analysis.analysis_page import page
from protocols.human_study.analysis.analysis_plots import plots
from protocols.human_study.analysis.fooling_rates import Analysis
from protocols.human_study.analysis.methods_text import findings, lines, methods_paragraph, note_lines
from protocols.human_study.analysis.study_metrics import HEADLINE, METRICS
from protocols.human_study.analysis.study_records import write_records

PAGE = "analysis.html"


def write(
    analysis: Analysis, study: Path, folder: Path, records: Path, command: tuple[str, ...], figures: Path | None = None
) -> list[Path]:
    """Write the files of an analysis: page, tables, plots, methods and records; return the folders of the records.

    Args:
        analysis: of the study.
        study: folder of the study.
        folder: of the page.
        records: folder of the records.
        command: command line.
        figures: folder of the plots for a paper.
    """
    drawn = plots(analysis)
    text = json.dumps(analysis_tables.as_json(analysis), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    files = {
        PAGE: page(analysis, study, drawn).encode(),
        "analysis.json": text.encode(),
        "rates.csv": analysis_tables.csv(analysis_tables.rates_table(analysis)),
        "comparisons.csv": analysis_tables.csv(analysis_tables.comparisons_table(analysis)),
        "images.csv": analysis_tables.csv(analysis_tables.images_table(analysis)),
        "methods.txt": _methods(analysis).encode(),
    }
    for name, data in files.items():
        write_atomic(folder / name, data)
    for name, drawing in drawn.items():
        drawing.write(folder / "plots" / f"{name}.svg")
    if figures is not None:
        write_figures(
            {f"{analysis.study_data.design.name}-{name}": drawing for name, drawing in drawn.items()}, figures
        )
    folders = write_records(analysis, records, study, command)
    explanations = {spec.name: spec.explanation for spec in METRICS}
    for folder_of_record in folders:
        write_report(folder_of_record, explanations=explanations, headline=HEADLINE)
    return folders


def _methods(analysis: Analysis) -> str:
    """Return ``methods.txt``: what a reader must know first, then the text for a paper."""
    texts = [*note_lines(analysis.notes), *methods_paragraph(analysis), findings(analysis)]
    return lines([text for text in texts if text])
