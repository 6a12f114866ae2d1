"""Export of a model as an ONNX file with a contract beside it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from colorbench.errors import RunError, UserError
from colorbench.models.foreign_code import one_line
from colorbench.models.loaded_model import LoadedModel
from colorbench.models.onnx_contract import CardTable, InputTable, OnnxContract, OutputTable, Squash, Upsample
from colorbench.models.onnx_graph import onnx_library
from colorbench.storage import write_atomic

OPSET = 18
"""ONNX opset of 2022, which all maintained runtimes support."""
TOLERANCE = 1e-2
"""Largest accepted mean absolute difference in ab between the file and the network. It is below 1e-5 for the included
networks; single pixels of decode=mode may jump."""
NAMES = ("lightness", "ab")
"""Names of input and output."""


@dataclass(frozen=True)
class ExportForm:
    """A network as a function from L to ab, with the resizing of its model."""

    network: nn.Module
    """The network with the weights."""
    colorize: Callable[[Tensor], Tensor]
    """(N, 1, size, size) L in 0..100 -> (N, 2, h, w) CIE ab, with this network and tensor operations only."""
    size: int
    """Side of the model's working size."""
    squash: Squash
    """Kernel for resizing L to that size."""
    upsample: Upsample
    """Kernel for resizing ab to the size of the image."""
    multiple: int = 8
    """Number of which the size is a multiple."""


@runtime_checkable
class Exportable(Protocol):
    """A model that can be written as an ONNX file."""

    def export_form(self) -> ExportForm:
        """Return the function to export."""
        ...


@dataclass(frozen=True)
class Exported:
    """Result of an export."""

    file: Path
    contract: Path
    sha256: str
    difference: float
    """Largest mean absolute difference in ab between the file and the network, on noise."""


class _Function(nn.Module):
    """Wrapper module around an ExportForm for torch's exporter."""

    def __init__(self, form: ExportForm) -> None:
        super().__init__()
        self.network, self._colorize = form.network, form.colorize

    def forward(self, lightness: Tensor) -> Tensor:
        """Predict ab."""
        return self._colorize(lightness)


def export_onnx(model: LoadedModel, file: Path) -> Exported:
    """Write a model with its current decoding as ``FILE.onnx`` and ``FILE.toml``.

    Args:
        model: a model with ``export_form``, on the CPU.
        file: a path that ends in ``.onnx``; existing files are replaced.

    Raises:
        UserError: for a model without ``export_form``, another suffix, or without the extra ``onnx``.
        RunError: for a network that torch cannot export, or a file whose predictions differ from those of the network.
    """
    if file.suffix != ".onnx":
        raise UserError(f"an ONNX file ends in .onnx, not {file.name!r}", hint=f"write {file.stem}.onnx")
    if not isinstance(model.colorizer, Exportable):
        hint = "the networks of the zoo can (zoo/cic, zoo/l2, zoo/eccv16 ...); a plugin gives `export_form`"
        raise UserError(f"{model.full_name} cannot be written as an ONNX file", hint=hint)
    onnx_library("onnxscript")
    form = model.colorizer.export_form()
    function = _Function(form).eval()
    example = torch.rand(2, 1, form.size, form.size, generator=torch.Generator().manual_seed(0)) * 100
    with torch.no_grad(), one_line(f"{model.full_name} cannot be exported", hint="--debug shows where", run=True):
        expected = function(example)  # also fills caches, which must contain real tensors
        graph = _exported(function, example)
    _without_traces(graph)
    data: bytes = graph.SerializeToString(deterministic=True)
    difference = (_run_file(data, example) - expected).abs()
    if not float(difference.mean()) <= TOLERANCE:
        what = f"the file differs from {model.full_name} by {float(difference.mean()):.3g} in ab on average"
        raise RunError(what, hint="report this, with the versions of torch, onnx and onnxruntime")
    sha256 = hashlib.sha256(data).hexdigest()
    contract = _contract(model, form, sha256)
    write_atomic(file, data)
    write_atomic(file.with_suffix(".toml"), contract.to_toml().encode())
    return Exported(file, file.with_suffix(".toml"), sha256, float(difference.max()))


def _exported(function: nn.Module, example: Tensor) -> Any:
    """Export a module and return its ModelProto."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            function,
            (example,),
            dynamo=True,
            input_names=NAMES[:1],
            output_names=NAMES[1:],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _without_traces(graph: Any) -> None:
    """Remove source information that the exporter writes: lines of code, and paths of the machine."""
    for one in _described(graph):
        del one.metadata_props[:]
        one.doc_string = ""


def _described(model: Any) -> Iterator[Any]:
    yield from (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info)
    yield from (*model.graph.input, *model.graph.output)
    for function in model.functions:
        yield from (function, *function.node, *function.value_info)


def _run_file(data: bytes, example: Tensor) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {NAMES[0]: example.numpy()})[0])


def _contract(model: LoadedModel, form: ExportForm, sha256: str) -> OnnxContract:
    card = model.card
    decoding = ", ".join(f"{key}={value}" for key, value in model.decoding.items())
    notes = [f"Exported by colorbench from {model.full_name}" + (f" ({decoding})." if decoding else ".")]
    notes += [] if card.notes is None else [card.notes]
    return OnnxContract(
        card=CardTable(
            title=f"{card.title[:90]}, ONNX",
            license=card.license,
            paper=card.paper,
            pretrained=list(card.pretrained),
            training_data=card.training_data,
            training_hashes=card.training_hashes if ":" in (card.training_hashes or "") else None,
            notes=" ".join(notes),
            sha256=sha256,
        ),
        input=InputTable(
            name=NAMES[0], form="lightness", low=0, high=100, size=form.size, multiple=form.multiple, squash=form.squash
        ),
        output=OutputTable(name=NAMES[1], form="ab", upsample=form.upsample, keep="lightness"),
    )
