"""Output at the end of a run: writing of pages and figures, printing of tables and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from colorbench.cli.console import console
from colorbench.cli.standard_output import print_result
from colorbench.errors import RunError, UserError
from colorbench.evaluation import record_folder
from colorbench.plugin_details import explanations_of, spec_of
from colorbench.reporting import as_markdown, protocols_as_markdown, write_figures, write_report
from colorbench.reporting.baseline_columns import baselines
from colorbench.reporting.classifier_agreement import scores_classified, show_classifiers
from colorbench.reporting.record_plots import record_plots
from colorbench.reporting.result_tables import ResultPrinter, meaning, measured_on
from colorbench.results import Record
from colorbench.storage import write_atomic

OPTIONS = "run.yaml"
"""Beside a record: the options of the run that made it, for ``run --config``."""


@dataclass(frozen=True)
class OutputOptions:
    """Options for printing results."""

    format: str = "text"
    """``text`` or ``markdown``."""
    explain: bool = False
    """Whether each metric is explained."""
    verbose: bool = False
    """Whether a table for each of several models is printed, too."""
    json: bool = False
    """Whether standard output is reserved for the records."""
    options: str | None = None
    """Text of the file that repeats the run."""


def show_results(
    asked: Sequence[Record], records: Sequence[Record], output: Path | None, figures: Path | None, how: OutputOptions
) -> None:
    """Write the page of each record of a run, and print the tables or, with ``json``, the records.

    One model gets a table of metrics and baselines, several models a table of models by metrics. Several protocols
    get one table each, and at the end one of models by primary metrics.

    Args:
        asked: records of the requested models.
        records: these and those of the baselines.
        output: output folder of the run; None: nothing is saved.
        figures: output folder of plots for a paper.
        how: options for printing.
    """
    closing = ResultPrinter(console(text_to_stderr=how.json))
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in asked:
        groups.setdefault(_of(record), []).append(record)
    tables = []
    several = len(groups) > 1
    for group, members in groups.items():
        spec = spec_of(members[0].protocol.name)
        explanations = explanations_of(spec, members[0])
        beside = [record for record in records if _of(record) == group]
        tables.append((beside, spec.headline))
        folders = [None if output is None else record_folder(output, record) for record in members]
        for record, folder in zip(members, folders, strict=True):
            try:
                _write(record, beside, folder, figures, explanations, spec.headline)
                if folder is not None and how.options is not None and not (folder / OPTIONS).exists():
                    write_atomic(folder / OPTIONS, how.options.encode())
            except (UserError, RunError) as error:  # a full disk, or a record on a read-only disk
                closing.console.print(f"the report could not be written: {error}", soft_wrap=True, markup=False)
        if how.format == "markdown":
            _print_markdown(closing, measured_on(members[0], "**"), as_markdown(beside, spec.headline))
            continue
        if len(members) == 1 or how.verbose:
            alone = not several and len(members) == 1
            for record, folder in zip(members, folders, strict=True):
                closing.show(record, beside, explanations, spec.headline, folder, explain=how.explain, remarked=alone)
        if len(members) > 1:
            closing.summarize(beside, spec.headline)
            if how.explain and not how.verbose:
                closing.console.print(meaning(members[0], explanations, spec.headline))
            if not several:
                closing.remark([members])
            for folder in () if how.verbose else folders:
                closing.where(folder)
            closing.console.print()
    if several and how.format == "markdown":
        _print_markdown(
            closing, f"**summary** · primary metrics · {tables[0][0][0].dataset.name}", protocols_as_markdown(tables)
        )
    elif several:
        closing.conclude(tables)
        closing.remark(list(groups.values()))
    if output is not None and how.options is not None and how.format == "text":
        # Beside a reused record are the options of the run that made it, which may be others.
        files = [record_folder(output, record) / OPTIONS for record in asked]
        for file in [one for one in files if one.is_file() and one.read_bytes() == how.options.encode()][:1]:
            closing.console.print(f"repeat: colorbench run --config {file}", soft_wrap=True)
    for identity in dict.fromkeys(record.protocol.identity_sha256 for record in asked):
        alike = [record for record in records if record.protocol.identity_sha256 == identity]
        for score in scores_classified(alike)[:1]:
            show_classifiers(closing.console, alike, score)
    if how.json:
        texts = [record.model_dump_json(indent=1) for record in asked]
        print_result(f"[{','.join(texts)}]")  # a list also of one, so that a script need not tell them apart


def _print_markdown(closing: ResultPrinter, head: str, table: str) -> None:
    # Without the console's line breaks, which would break the lines of a wide table.
    closing.console.print(f"{head}\n\n{table}\n", soft_wrap=True, markup=False, highlight=False)


def _of(record: Record) -> tuple[str, str]:
    return record.protocol.identity_sha256, record.dataset.fingerprint


def _write(
    record: Record,
    beside: Sequence[Record],
    folder: Path | None,
    figures: Path | None,
    explanations: Mapping[str, str],
    headline: str,
) -> None:
    if folder is not None:
        write_report(folder, explanations=explanations, headline=headline)
    if figures is not None:
        write_figures(record_plots(record, baselines(record, beside)), figures)
