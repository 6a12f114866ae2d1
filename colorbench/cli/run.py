"""``colorbench run``: measure models on images."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colorbench.cli.options import (
    Debug,
    Decode,
    Device,
    Figures,
    Json,
    Limit,
    ListFile,
    Temperature,
    Weights,
    choice,
    key_values,
)
from colorbench.cli.standard_output import print_result, standard_output_kept
from colorbench.errors import RunError, UserError

if TYPE_CHECKING:
    from colorbench.results.record import Record

ROLES = ("train", "test")


def run(
    ctx: typer.Context,
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A name that `colorbench list` shows, FILE.py:CLASS or images:DIR; 'zoo/cic[decode=mode]'.",
        ),
    ],
    protocol: Annotated[
        list[str],
        typer.Option("--protocol", "-p", metavar="NAME", help="Protocol, such as auc or auc@cic2016; repeatable."),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="[ROLE=]DIR",
            help="Dataset: a folder or a name [default: samples]; `train=DIR` and `test=DIR` for probing and transfer.",
        ),
    ] = None,
    list_file: ListFile = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="A .csv with the columns file and class_index.")
    ] = None,
    limit: Limit = None,
    gray: Annotated[str, typer.Option("--gray", metavar="keep|drop", help="Keep or drop grayscale images.")] = "keep",
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="KEY=VALUE",
            help="Protocol parameter, such as auc.prior=FILE; see `colorbench show auc`.",
        ),
    ] = None,
    weights: Weights = None,
    decode: Decode = None,
    temperature: Temperature = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed for stochastic models.")] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for results.")] = Path("runs"),
    save: Annotated[
        str,
        typer.Option(
            "--save",
            metavar="none|gallery|predictions",
            help="Images to save: none, a few thumbnails, or all predictions.",
        ),
    ] = "gallery",
    figures: Figures = None,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Also evaluate the gray, constant and ground-truth rows.")
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Resume or reuse existing results, or recompute.")
    ] = True,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, metavar="N", help="Batch size.")] = 16,
    device: Device = "auto",
    dtype: Annotated[str, typer.Option("--dtype", metavar="NAME", help="float32, bfloat16 or float16.")] = "float32",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, metavar="N", help="CPU threads [default: all cores].")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-j", min=0, metavar="N", help="Data-loading threads [default: one per core]."),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not download anything.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Evaluate models on a dataset.

    All models are evaluated by all protocols in one pass over the images. Prints a results table and writes
    OUTPUT/MODEL/PROTOCOL/DATASET-KEY/ with record.json, per-image scores, thumbnails and report.html. Interrupted
    runs resume; finished runs are read from disk.
    """
    import os

    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read by the hub's client when it is imported

    from colorbench.cli.console import console
    from colorbench.cli.interrupt import tell_when_interrupted
    from colorbench.cli.progress import ProgressBar
    from colorbench.data.sources import open_dataset
    from colorbench.evaluation.config import RunConfig
    from colorbench.evaluation.device import processes
    from colorbench.evaluation.resolve import check_roles, get_protocol
    from colorbench.evaluation.runner import run as measure
    from colorbench.models.loading import load_model
    from colorbench.storage.atomic import check_writable

    if figures is not None:
        check_writable(figures, "--figures")
    sets = by_role(data or [])
    tell_when_interrupted("run the same command to resume")
    protocols = list(dict.fromkeys(protocol))
    check_roles(sets, (get_protocol(name.partition("@")[0]) for name in protocols))
    named = list(dict.fromkeys(model))
    check_options(named, {"weights": weights, "decode": decode, "temperature": temperature})
    with standard_output_kept():  # what a plugin prints is no result
        loaded = [load_model(name, decode=decode, temperature=temperature, weights=weights) for name in named]
    request = RunConfig(
        models=loaded,
        protocols=protocols,
        data=open_dataset(sets.get("test"), list_file=list_file, labels=labels),
        roles={role: open_dataset(position) for role, position in sets.items() if role != "test"},
        gray_policy=choice(gray, ("keep", "drop"), "--gray"),
        parameters=parameters(param or [], protocols),
        seed=seed,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        threads=threads,
        workers=workers,
        save=choice(save, ("none", "gallery", "predictions"), "--save"),
        output=output,
        resume=resume,
        baselines=baselines,
        limit=limit,
        command=("colorbench", *sys.argv[1:]),
    )
    with standard_output_kept(), ProgressBar(console(text_to_stderr=True)) as bar:
        records = measure(request, bar)
    if processes()[0] == 0:  # of several processes one speaks
        names = {one.full_name for one in loaded}
        show([record for record in records if record.model.name in names], records, output, figures, json=json)


def show(asked: Sequence[Record], records: Sequence[Record], output: Path, figures: Path | None, *, json: bool) -> None:
    """Write each record's page, print its table, and the records themselves where asked.

    Args:
        asked: records of the models that were named.
        records: these and those of the baselines.
        output: of the run.
        figures: where plots for a paper go.
        json: whether the records are printed, too.
    """
    from colorbench.cli.classifier_agreement import show_classifiers
    from colorbench.cli.console import ResultPrinter, console
    from colorbench.cli.show import spec_of
    from colorbench.evaluation.runner import record_folder
    from colorbench.reporting.classifier_agreement import scores_classified
    from colorbench.reporting.format import baselines
    from colorbench.reporting.page import write_report
    from colorbench.reporting.plot_output import write_figures
    from colorbench.reporting.record_plots import record_plots

    closing = ResultPrinter(console(text_to_stderr=json))
    for record in asked:
        spec = spec_of(record.protocol.name)
        explanations = {metric.name: metric.explanation for metric in spec.metrics if metric.explanation}
        beside = [
            other
            for other in records
            if other.protocol.identity_sha256 == record.protocol.identity_sha256
            and other.dataset.fingerprint == record.dataset.fingerprint
        ]
        folder = record_folder(output, record)
        try:
            write_report(folder, explanations=explanations, headline=spec.headline)
            if figures is not None:
                write_figures(record_plots(record, baselines(record, beside)), figures)
        except (UserError, RunError) as error:  # a full disk, or a finished record on one that is read-only
            closing.console.print(f"no page or figure was written: {error}", soft_wrap=True, markup=False)
        closing.show(record, beside, explanations, spec.headline, folder)
    for identity in dict.fromkeys(record.protocol.identity_sha256 for record in asked):
        alike = [record for record in records if record.protocol.identity_sha256 == identity]
        for score in scores_classified(alike)[:1]:
            show_classifiers(closing.console, alike, score)
    if json:
        texts = [record.model_dump_json(indent=1) for record in asked]
        print_result(texts[0] if len(texts) == 1 else f"[{','.join(texts)}]")


def by_role(data: Sequence[str]) -> dict[str, str]:
    """Return the datasets by role; ``DIR`` alone is ``test=DIR``.

    Raises:
        UserError: for two sets of one role.
    """
    found: dict[str, str] = {}
    for given in data:
        role, equals, position = given.partition("=")
        # A folder may have "=" in its name.
        known = bool(equals) and role in ROLES and not Path(given).exists()
        role, position = (role, position) if known else ("test", given)
        if role in found:
            raise UserError("--data is given twice", where=given, hint="measure one set of images at a time")
        found[role] = position
    return found


def check_options(models: Sequence[str], options: Mapping[str, object]) -> None:
    """Refuse an option of a model where several models are named.

    Raises:
        UserError: saying how to write it.
    """
    for key, value in options.items():
        if value is not None and len(models) > 1:
            what = f"--{key} does not say which of {len(models)} models is meant"
            raise UserError(what, hint=f"write it with the name: -m '{models[0]}[{key}={value}]'")


def parameters(pairs: list[str], protocols: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Parse ``["auc.step=2"]`` to {"auc": {"step": 2}}; a bare key belongs to the only protocol.

    Raises:
        UserError: for a bare key where there are several protocols, or the name of one that is not run.
    """
    found: dict[str, dict[str, Any]] = {}
    for key, value in key_values(pairs, "--param").items():
        name, dot, rest = key.rpartition(".")
        if dot and name in {*protocols, *(chosen.partition("@")[0] for chosen in protocols)}:
            found.setdefault(name, {})[rest] = value
        elif dot:
            raise UserError(f"--param {key}: protocol {name!r} is not run", hint=f"choose {' or '.join(protocols)}")
        elif len(protocols) == 1:
            found.setdefault(protocols[0], {})[key] = value
        else:
            what = f"--param {key} does not say which of {len(protocols)} protocols is meant"
            raise UserError(what, hint=f"write for example --param {protocols[0]}.{key}=...")
    return found
