"""``build_files``: all files of a leaderboard from folders of records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from colorbench.storage import check_writable, write_atomic
from colorbench.verification import read_verification, verify
from leaderboards.anonymity import anonymous
from leaderboards.board_building import build
from leaderboards.board_page import page
from leaderboards.board_plots import group_plots, write_plots
from leaderboards.board_schema import Board
from leaderboards.gallery import Gallery, galleries
from leaderboards.record_collection import collect
from leaderboards.saved_images import Size
from leaderboards.table_export import board_csv, board_json, board_latex, board_markdown
from leaderboards.tradeoff_plots import tradeoffs


@dataclass(frozen=True)
class Made:
    """The files that were written, and the messages for the caller."""

    files: tuple[Path, ...]
    json_text: str
    message: tuple[str, ...]
    """Lines to print for the caller."""
    warnings: tuple[str, ...] = ()
    """Warnings, excluded records first."""
    excluded: int = 0
    """Number of excluded records."""


def build_files(
    positions: Sequence[Path],
    output: Path,
    *,
    title: str = "Colorization leaderboard",
    gallery_size: Size = "small",
    gallery_images: int | None = None,
    public: bool = False,
    anonymize: bool = False,
    verify_all: bool = False,
    verifications: Sequence[Path] = (),
    figures: Path | None = None,
) -> Made:
    """Write the files of the board: the page and its tables.

    Args:
        positions: see ``record_collection.collect``.
        output: path of the page; the tables are written beside it with the same stem.
        title: heading of the page.
        gallery_size: size of the gallery images.
        gallery_images: maximum number of gallery images of a dataset; None: see ``gallery.galleries``.
        public: leave out images whose redistribution rights are unknown or not given.
        anonymize: leave out paths, commands and names of users and hosts; see ``anonymity``.
        verify_all: verify every record.
        verifications: files of ``colorbench verify --output``.
        figures: folder for plots for a paper.

    Raises:
        UserError: if there is no usable record, or a file cannot be written.
    """
    check_writable(output.parent)
    if figures is not None:
        check_writable(figures, "--figures")
    known = [read_verification(path) for path in verifications]
    collection = collect(positions, verifications=known, verify=verify if verify_all else None)
    anonymizer = None
    if anonymize:
        collection, anonymizer = anonymous(collection)
    board, entries = build(collection, title=anonymizer.text(title) if anonymizer else title)
    thumbnails = galleries(board, entries, size=gallery_size, embed_all=not public, most=gallery_images)
    if anonymizer:
        thumbnails = [anonymizer.gallery(one) for one in thumbnails]
    drawn = group_plots(board, entries, one_legend=True)
    overview = tradeoffs(board)
    text = board_json(board)
    contents = {
        output: page(board, entries, thumbnails, drawn, overview),
        output.with_suffix(".json"): text,
        output.with_suffix(".csv"): board_csv(board),
        output.with_suffix(".md"): board_markdown(board),
        output.with_suffix(".tex"): board_latex(board),
    }
    for path, content in contents.items():
        # Not durable: lost files can be built again from the records.
        write_atomic(path, content.encode(), durable=False)
    if figures is not None:
        write_plots(board, group_plots(board, entries), overview, figures)
    size, records = output.stat().st_size, len(collection.entries)
    message = (
        f"models: {len(board.competitors)}, baselines and oracles: {len(board.references)}, records: {records}",
        f"page: {output} ({size / 1e6:.1f} MB)",
        f"tables: {', '.join(path.name for path in contents if path != output)}",
    )
    warnings = [f"! excluded: {one.where}: {one.reason}" for one in collection.excluded]
    warnings += [f"! not finished: {one.where}" for one in collection.unfinished]
    warnings += dict.fromkeys(f"! {one.dataset} ({one.evaluation}): {one.note}" for one in thumbnails if one.note)
    if unclear := [one.dataset for one in thumbnails if one.embedded and not _redistributable(board, one)]:
        shown = ", ".join(dict.fromkeys(unclear))
        warnings.append(f"! thumbnails of {shown}: rights unknown; use --public for a page that you pass on")
    return Made(tuple(contents), text, message, tuple(warnings), len(collection.excluded))


def _redistributable(board: Board, gallery: Gallery) -> bool:
    return all(board.groups[number].redistributable for number in gallery.groups)
