"""``colorbench export``: write a network as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colorbench.cli.shared_options import Debug, Decode, Temperature, Weights
from colorbench.errors import UserError


def export(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model, see `colorbench list`.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.onnx", help="Output file; FILE.toml is written beside it.")
    ],
    weights: Weights = None,
    decode: Decode = None,
    temperature: Temperature = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite the files.")] = False,
    debug: Debug = False,
) -> None:
    """Write a network as an ONNX file.

    FILE.toml is the contract: it says how an image is resized for the network, and what its numbers mean. The result is
    compared with the network, and is a model itself: colorbench run --model onnx:FILE.onnx. Needs the extra `onnx`.
    """
    from colorbench.models import export_onnx, load_model
    from colorbench.storage import check_writable

    for file in (output, output.with_suffix(".toml")):
        if file.exists() and not overwrite:
            raise UserError("this file already exists", where=str(file), hint="--overwrite replaces it")
    check_writable(output.parent)
    loaded = load_model(model, weights=weights, decode=decode, temperature=temperature)
    written = export_onnx(loaded, output)
    typer.echo(f"written: {written.file} and {written.contract.name}, from {loaded.full_name}")
    typer.echo(f"at most {written.difference:.1e} in ab from the network; sha256 {written.sha256}")
