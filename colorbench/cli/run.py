"""``colorbench run``: evaluate models on a dataset."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from colorbench.cli.config_file import Config
from colorbench.cli.shared_options import (
    FORMATS,
    Contract,
    Debug,
    Decode,
    Device,
    Explain,
    Figures,
    Format,
    Json,
    Limit,
    ListFile,
    Offline,
    Temperature,
    Weights,
    choice,
    key_values,
)
from colorbench.cli.standard_output import standard_output_kept
from colorbench.errors import MissingWeightsError, ModelFailed, UserError

ROLES = ("train", "test")


def _batch_size(text: object) -> object:
    """Parse the value of ``--batch-size``.

    Raises:
        typer.BadParameter: for anything else than ``auto`` or a number from 1.
    """
    if str(text) == "auto":
        return "auto"
    if not (str(text).isdecimal() and int(str(text)) > 0):
        raise typer.BadParameter("give auto or a number of images, at least 1")
    return int(str(text))


def run(
    ctx: typer.Context,
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A name that `colorbench list` shows, FILE.py:CLASS, onnx:FILE, images:DIR; 'zoo/cic[decode=mode]'; "
            "a,b and 'zoo/*'; repeatable.",
        ),
    ],
    protocol: Annotated[
        list[str],
        typer.Option("--protocol", "-p", metavar="NAME", help="Protocol, such as auc or auc@cic2016; a,b; repeatable."),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="[ROLE=]DIR",
            help="Dataset: a folder, tar or Parquet files, or a name [default: samples]; `train=DIR` and `test=DIR` "
            "for probing and transfer.",
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
    contract: Contract = None,
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
        bool,
        typer.Option(
            "--baselines/--no-baselines", help="Also evaluate the gray, constant-color and ground-truth rows."
        ),
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Resume or reuse existing results, or recompute.")
    ] = True,
    batch_size: Annotated[
        Any,
        typer.Option(
            "--batch-size",
            "-b",
            parser=_batch_size,
            metavar="N|auto",
            help="Batch size; auto: found before the first shard, as large as memory allows.",
        ),
    ] = 16,
    device: Device = "auto",
    dtype: Annotated[str, typer.Option("--dtype", metavar="NAME", help="float32, bfloat16 or float16.")] = "float32",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, metavar="N", help="CPU threads [default: all cores].")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-j", min=0, metavar="N", help="Data-loading threads [default: one per core]."),
    ] = None,
    offline: Offline = False,
    format: Format = "text",
    explain: Explain = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Of several models, also print each one's own table.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the results alone, no messages.")] = False,
    json: Json = False,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Evaluate models on a dataset.

    All models are evaluated by all protocols in one pass over the images. Prints a results table and writes
    OUTPUT/MODEL/PROTOCOL/DATASET-KEY/ with record.json, per-image scores, thumbnails and report.html. Interrupted
    runs resume; finished runs are read from disk.
    """
    from colorbench.cli.config_file import repeating
    from colorbench.cli.console import console
    from colorbench.cli.interruption import tell_when_interrupted
    from colorbench.cli.progress_display import FINISHED, ProgressBar, RunProgressBar
    from colorbench.cli.run_output import OutputOptions, show_results
    from colorbench.data import open_dataset
    from colorbench.evaluation import RunConfig, get_protocol
    from colorbench.evaluation import run as measure
    from colorbench.evaluation.requested_models_and_protocols import check_roles
    from colorbench.models import load_model, split_names
    from colorbench.models.model_names import expand_names
    from colorbench.processes import current_launch
    from colorbench.storage import check_writable

    if figures is not None:
        check_writable(figures, "--figures")
    sets = by_role(data or [])
    tell_when_interrupted(FINISHED if resume else "run the same command to start again (--no-resume)")
    choice(format, FORMATS, "--format")
    protocols = list(dict.fromkeys(name for text in protocol for name in split_names(text)))
    check_roles(sets, (get_protocol(name.partition("@")[0]) for name in protocols))
    named = expand_names(model)
    settings = {"weights": weights, "contract": contract, "decode": decode, "temperature": temperature}
    _check_options(list(named), settings)
    loaded = []
    first = current_launch().rank == 0
    with standard_output_kept(), ProgressBar(console(text_to_stderr=True), quiet=quiet or not first) as bar:
        for name, by_pattern in named.items():  # output of a plugin is not a result
            try:
                loaded.append(load_model(name, decode, temperature, weights=weights, contract=contract))
            except MissingWeightsError as error:
                if not by_pattern:
                    raise
                bar.message(f"{name} is left out: {error}")
    if not named:
        raise UserError("the name of the model is empty", where="--model", hint="`colorbench list` shows all")
    if not loaded:
        what = f"no model of {', '.join(model)} has its weights here"
        raise UserError(what, hint="give --weights, or allow downloads")
    request = RunConfig(
        models=loaded,
        protocols=protocols,
        data=open_dataset(sets.get("test"), list_file=list_file, labels=labels),
        roles={role: open_dataset(spec) for role, spec in sets.items() if role != "test"},
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
    kind = RunProgressBar if resume else ProgressBar
    with standard_output_kept(), kind(console(text_to_stderr=True), quiet=quiet) as bar:
        failed: ModelFailed | None = None
        try:
            records = measure(request, bar)
        except ModelFailed as error:
            records, failed = list(error.records), error
    names = {one.full_name for one in loaded}
    asked = [record for record in records if record.model.name in names]
    if first and (asked or failed is None):  # only one of several processes prints
        how = OutputOptions(format, explain=explain, verbose=verbose, json=json, options=repeating(ctx))
        show_results(asked, records, output, figures, how)
    if failed is not None:
        raise failed


def by_role(data: Sequence[str]) -> dict[str, str]:
    """Split the ``ROLE=DIR`` values of ``run``; ``DIR`` alone has the role ``test``.

    Raises:
        UserError: for two datasets with one role.
    """
    found: dict[str, str] = {}
    for given in data:
        role, equals, spec = given.partition("=")
        # The name of a folder may contain "=".
        known = bool(equals) and role in ROLES and not Path(given).exists()
        role, spec = (role, spec) if known else ("test", given)
        if role in found:
            raise UserError("--data is given twice", where=given, hint="evaluate one dataset at a time")
        found[role] = spec
    return found


def _check_options(models: Sequence[str], options: Mapping[str, object]) -> None:
    """Raise for an option of ``run`` for a single model if several models are named.

    Raises:
        UserError: with the correct form.
    """
    for key, value in options.items():
        if value is not None and len(models) > 1:
            what = f"--{key} is ambiguous for {len(models)} models"
            raise UserError(what, hint=f"write it with the model name: -m '{models[0]}[{key}={value}]'")


def parameters(pairs: list[str], protocols: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Parse the parameters of ``run``, ``["auc.step=2"]`` to {"auc": {"step": 2}}.

    A bare key belongs to the only protocol.

    Raises:
        UserError: for a bare key with several protocols, or a protocol that is not run.
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
            what = f"--param {key} is ambiguous for {len(protocols)} protocols"
            raise UserError(what, hint=f"write for example --param {protocols[0]}.{key}=...")
    return found
