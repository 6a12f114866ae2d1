"""``colorbench leaderboard`` and ``colorbench view``: build and show a leaderboard.

colorbench leaderboard build runs/ -o board.html
colorbench leaderboard build runs/ reference -o board.html      # with the shipped records
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from colorbench.cli import Debug, Figures, Json, print_result

GalleryImages = Annotated[
    int | None,
    typer.Option(
        "--gallery-images",
        min=1,
        metavar="N",
        help="Images per dataset in the gallery [default: 24, fewer if their thumbnails exceed 3.2 MB].",
    ),
]

app = typer.Typer(
    name="leaderboard",
    help="Build an HTML leaderboard.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def leaderboard() -> None:
    """Build an HTML leaderboard."""


@app.command()
def build(
    ctx: typer.Context,
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS...", help="Folders with results, at any depth; `reference`: the shipped ones."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="HTML file to write.")] = Path(
        "board.html"
    ),
    title: Annotated[
        str, typer.Option("--title", metavar="TEXT", help="Title of the page.")
    ] = "Colorization leaderboard",
    gallery_size: Annotated[
        str,
        typer.Option(
            "--gallery-size", metavar="small|large", help="160 pixels, or 320 if full predictions were saved."
        ),
    ] = "small",
    gallery_images: GalleryImages = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public", help="For passing on: leave out thumbnails of datasets whose redistribution rights are unknown."
        ),
    ] = False,
    anonymous: Annotated[
        bool,
        typer.Option(
            "--anonymous", help="For double-blind review: leave out paths, commands, and names of users and hosts."
        ),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Verify every record as `colorbench verify` does, mark those that pass and exclude those that fail.",
        ),
    ] = False,
    verification: Annotated[
        list[Path] | None,
        typer.Option(
            "--verification", metavar="FILE", help="Verification report of `colorbench verify --output`; repeatable."
        ),
    ] = None,
    figures: Figures = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Build the leaderboard page, with .json, .csv, .md and .tex tables beside it.

    Writes one self-contained HTML file. Results are compared only if protocol, version, all parameters and the images
    (by content) are equal. Unreadable results, results that contradict their own per-image scores, and results whose
    verification fails are excluded and named; the leaderboard is still written, and the exit code is 1.
    """
    from colorbench.cli import choice
    from colorbench.errors import UserError
    from leaderboards.board_files import build_files

    choice(gallery_size, ("small", "large"), "--gallery-size")
    if output.suffix not in (".html", ".htm"):
        raise UserError(f"the page must end in .html, not {output.name!r}", hint="for example -o board.html")
    made = build_files(
        results,
        output,
        title=title,
        gallery_size="large" if gallery_size == "large" else "small",
        gallery_images=gallery_images,
        public=public,
        anonymize=anonymous,
        verify_all=verify,
        verifications=verification or [],
        figures=figures,
    )
    if json:
        print_result(made.json_text)
    for line in made.message:
        typer.echo(line, err=json)
    for line in made.warnings:
        typer.echo(line, err=True)
    if made.excluded:
        raise typer.Exit(1)


def view(
    ctx: typer.Context,
    results: Annotated[
        list[Path] | None, typer.Argument(metavar="RESULTS...", help="Folders with results [default: runs].")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="N", help="Port; 0 picks a free port.")
    ] = 8765,
    gallery_images: GalleryImages = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    debug: Debug = False,
) -> None:
    """Show the leaderboard of a folder in a browser, and keep it up to date.

    The page is served on this machine alone, shows the thumbnails of your own images, and is built again as results
    arrive. Stop it with Ctrl-C.
    """
    from colorbench.errors import UserError, path_hint
    from leaderboards.live_board import LiveBoard, server

    folders = results or [Path("runs")]
    for folder in folders:
        if not folder.is_dir():
            hint = path_hint(folder, "give the --output of `colorbench run`")
            raise UserError("no such folder", where=str(folder), hint=hint)
        os.scandir(folder).close()  # one that cannot be read is refused before a page is served
    with server(LiveBoard(folders, gallery_images=gallery_images), port) as served:
        address = f"http://127.0.0.1:{served.server_address[1]}/"
        typer.echo(f"{address}  (Ctrl-C stops it)")
        if browser:
            typer.launch(address)
        served.serve_forever()
