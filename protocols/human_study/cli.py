"""``colorbench study``: build, serve, export, analyze and power. Each verb imports its modules when it is called.

colorbench study build --models zoo/cic,zoo/l2 --data images/ --participants 60 -o STUDY
colorbench study serve STUDY
colorbench study analyze STUDY
"""

from __future__ import annotations

import sys
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from colorbench.cli import Debug, Device
from protocols.human_study.analysis import analysis_commands

app = typer.Typer(
    name="study",
    help="Human evaluation (real vs. fake): build, serve, analyze, power.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
)
Folder = Annotated[Path, typer.Argument(metavar="STUDY", help="The folder that `study build` wrote.")]


@app.command()
def build(
    ctx: typer.Context,
    models: Annotated[
        list[str],
        typer.Option(
            "--models",
            "--model",
            "-m",
            metavar="NAME",
            help="Models to compare; repeat the option or separate them by commas.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="STUDY", help="The study's folder, a new one.")],
    data: Annotated[
        str | None, typer.Option("--data", "-d", metavar="DIR", help="Dataset: a folder or a name.")
    ] = None,
    list_file: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="Use only the images that FILE lists, one per line.")
    ] = None,
    participants: Annotated[
        int | None,
        typer.Option("--participants", min=1, metavar="N", help="Number of participants over all methods."),
    ] = None,
    trials: Annotated[
        int, typer.Option("--trials", min=2, metavar="N", help="Trials per participant, including sentinels.")
    ] = 40,
    assignment: Annotated[
        str | None,
        typer.Option(
            "--assignment",
            metavar="within|between",
            help="Every participant sees all methods (within) or one method (between) [default: within].",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", metavar="cic2016", help="The session of the paper, 40 participants per method."),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option("--images", min=1, metavar="N", help="Test images [default: up to 200]."),
    ] = None,
    practice: Annotated[
        int, typer.Option("--practice", min=0, metavar="N", help="Practice trials with feedback.")
    ] = 10,
    sentinels: Annotated[
        float, typer.Option("--sentinels", metavar="SHARE", help="Share of trials against zoo/random.")
    ] = 0.1,
    preprocessing: Annotated[
        str | None,
        typer.Option("--preprocessing", metavar="NAME", help="From file to image: center256 (default) or squash256."),
    ] = None,
    exposure: Annotated[
        int, typer.Option("--exposure", min=50, metavar="MS", help="Exposure of each image in milliseconds.")
    ] = 1000,
    plates: Annotated[int, typer.Option("--plates", metavar="N", help="Color-vision plates, screening only.")] = 5,
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="Title shown to participants.")] = (
        "Real or fake colors?"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of all random choices.")] = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, metavar="N", help="Batch size.")] = (16),
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option("--threads", min=1, metavar="N", help="CPU threads.")] = None,
    debug: Debug = False,
) -> None:
    """Build a study: colorize the images, draw the design, write the pages.

    Edit the consent, instructions and debrief texts in STUDY/texts afterwards. Names, sizes and order of the image
    files do not reveal which image is real.
    """
    from colorbench.cli import ProgressBar, choice, console, tell_when_interrupted
    from colorbench.data import open_dataset
    from protocols.human_study.build.build_request import PRESETS, BuildRequest
    from protocols.human_study.build.build_study import build as build_study
    from protocols.human_study.build.trial_assignment import summary

    tell_when_interrupted("finished colorizations are kept; run the same command to resume")
    if preset is not None:
        choice(preset, tuple(PRESETS), "--preset")
    wanted = assignment or ("between" if preset else "within")
    request = BuildRequest(
        models=model_names(models),
        data=open_dataset(data, list_file=list_file),
        output=output,
        participants=participants,
        trials=trials,
        assignment=choice(wanted, ("within", "between"), "--assignment"),
        images=images,
        practice=practice,
        sentinel_share=sentinels,
        preprocessing=preprocessing or ("squash256" if preset else "center256"),
        seed=seed,
        title=title,
        preset=preset,
        plates=plates,
        exposure_ms=exposure,
        batch_size=batch_size,
        device=device,
        threads=threads,
        command=("colorbench", *sys.argv[1:]),
    )
    with ProgressBar(console(text_to_stderr=True)) as bar:
        for remark in request.data.remarks:
            bar.message(f"{request.data.name}: {remark}")
        design = build_study(request, bar)
    first, *rest = summary(design)
    for line in (f"{first}: {output}", *(f"  {one}" for one in rest)):
        typer.echo(line)
    typer.echo(f"edit {output / 'texts'} (at least consent.md), then run: colorbench study serve {output}")


@app.command()
def serve(
    study: Folder,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="N", help="TCP port; 0 picks a free one.")
    ] = 8642,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", metavar="URL", help="Public address behind a reverse proxy: https://..."),
    ] = None,
    prolific_code: Annotated[
        str | None, typer.Option("--prolific-code", metavar="CODE", help="Completion code of the study on Prolific.")
    ] = None,
    prolific_declined_code: Annotated[
        str | None,
        typer.Option("--prolific-declined-code", metavar="CODE", help="Its code for those who do not consent."),
    ] = None,
    lease: Annotated[
        float,
        typer.Option("--lease", min=1, metavar="MINUTES", help="Reassign an abandoned slot after this many minutes."),
    ] = 30.0,
    arrivals: Annotated[
        float,
        typer.Option(
            "--arrivals",
            min=1,
            metavar="N",
            help="Rate limit: new sessions from one address in a burst (refilled at 1/60 of it per second).",
        ),
    ] = 120.0,
    admin_token: Annotated[
        str | None,
        typer.Option(
            "--admin-token",
            metavar="TOKEN",
            envvar="COLORBENCH_ADMIN_TOKEN",
            help="Use this token instead of a generated one.",
        ),
    ] = None,
    allow_placeholder_texts: Annotated[
        bool,
        typer.Option("--allow-placeholder-texts", help="Serve the placeholder texts, for trying out a study."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Serve a study to its participants.

    One process and one database file; a response is acknowledged only after it is on disk. The server can be stopped
    and restarted at any time: participants continue where they were.
    """
    from colorbench.errors import UserError, extra_hint

    try:
        from protocols.human_study.server.serve import serve as serve_study
        from protocols.human_study.server.served_study import Options, rates_of
    except ModuleNotFoundError as error:
        what = f"serving a study needs {error.name}"
        raise UserError(what, hint=extra_hint("study")) from error
    if public_url is not None and not public_url.startswith(("https://", "http://")):
        raise UserError(f"--public-url is not an address: {public_url!r}", hint="for example https://study.example.org")
    if admin_token is not None and len(admin_token) < 16:
        raise UserError("the admin token is too short", hint="use at least 16 characters")
    options = Options(
        public_url=public_url,
        prolific_code=prolific_code,
        prolific_declined_code=prolific_declined_code,
        lease_minutes=lease,
        rates=rates_of(arrivals),
    )
    serve_study(
        study,
        host=host,
        port=port,
        options=options,
        admin_token=admin_token,
        say=_say,
        allow_placeholder_texts=allow_placeholder_texts,
    )


@app.command()
def export(study: Folder, debug: Debug = False) -> None:
    """Export the response tables to STUDY/exports, as CSV and Parquet; also while the study is served."""
    from protocols.human_study.study_folder.response_export import export as export_tables

    for path in export_tables(study):
        typer.echo(path)
    _advise(study)


def model_names(given: list[str]) -> list[str]:
    """Parse ``["a,b", "c"]`` to ["a", "b", "c"]; the name of a folder may contain a comma."""
    from colorbench.models import split_names

    names = []
    for text in given:
        stored = text.startswith("images:") and Path(text.removeprefix("images:")).exists()
        names += [text] if stored else split_names(text)
    return list(dict.fromkeys(names))


def _advise(study: Path) -> None:
    """Print what must be recomputed or removed after a withdrawal."""
    from protocols.human_study.study_folder.outdated_analyses import advice

    for line in advice(study):
        typer.echo(line, err=True)


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()


@wraps(analysis_commands.analyze)
def _analyze(study: Path, responses: Path | None = None, **options: Any) -> None:
    from protocols.human_study.study_folder.response_export import export_current

    if responses is None:
        export_current(study)  # not those of the last export
    analysis_commands.analyze(study=study, responses=responses, **options)
    _advise(study)


app.command("analyze")(_analyze)
app.command()(analysis_commands.power)
