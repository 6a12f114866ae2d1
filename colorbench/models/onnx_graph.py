"""Safe reading of untrusted ONNX files: no code is run, and no files are read except those beside the file.

A file may refer to weights in other files (external data) and to operators of libraries (custom operators). Weights are
read only from plain files beside it and are embedded here, so that the runtime opens no file. Only operators of ONNX
and onnxruntime are accepted; no operator library is loaded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from colorbench.errors import UserError, extra_hint, path_hint
from colorbench.storage import digest_of

LARGEST = 2**31 - 2**20
"""Largest graph with its weights in bytes: a protobuf message is limited to 2 GiB."""
STANDARD_DOMAINS = ("", "ai.onnx")
DOMAINS = (*STANDARD_DOMAINS, "ai.onnx.ml", "com.microsoft")
"""Domains of the operators that are part of onnxruntime itself."""
RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
"""Operators that use the runtime's random generator, which cannot be seeded per image."""
OUTSIDE = frozenset({("com.microsoft", "EPContext")})
"""Operators that read files, or contain code for a device."""


@dataclass(frozen=True)
class OnnxValue:
    """An input or output of a graph."""

    name: str
    dtype: str
    """Type, such as ``float32``."""
    shape: tuple[int | None, ...] | None
    """None for each free dimension, and for an unknown shape."""


@dataclass(frozen=True)
class OnnxGraph:
    """A validated ONNX file that needs no other files."""

    path: Path
    data: bytes
    """Serialized model with all of its weights."""
    files: Mapping[str, str]
    """Name -> sha256 of the file and of its weights files."""
    inputs: tuple[OnnxValue, ...]
    """Inputs of the graph, without weights."""
    outputs: tuple[OnnxValue, ...]

    @property
    def sha256(self) -> str:
        """Hash of the file; a combined hash for several files."""
        hashes = dict(self.files)
        return hashes[self.path.name] if len(hashes) == 1 else digest_of(sorted(hashes.values()))


def onnx_library(*needed: str) -> Any:
    """Import ``onnx``, after checking that ``onnxruntime`` and the ``needed`` packages are installed, too.

    Raises:
        UserError: if the extra is not installed.
    """
    try:
        onnx, *_ = (import_module(name) for name in ("onnx", "onnxruntime", *needed))
    except ImportError as error:
        what = f"ONNX files need a package that cannot be imported here: {error.name or error}"
        raise UserError(what, hint=extra_hint("onnx")) from error
    return onnx


def read_graph(path: Path) -> OnnxGraph:
    """Read and validate the graph of an ONNX file.

    Raises:
        UserError: if the extra ``onnx`` is not installed; for a file that is missing, damaged, too new or too large;
            for external data that is not in a plain file beside it; and for custom or random operators.
    """
    if not path.is_file():
        raise UserError("no such ONNX file", where=str(path), hint=path_hint(path))
    onnx = onnx_library()
    if path.stat().st_size > LARGEST:
        raise UserError("the ONNX file is larger than 2 GiB", where=str(path), hint="export it with external data")
    data = path.read_bytes()
    files = {path.name: hashlib.sha256(data).hexdigest()}
    model = _parsed(onnx, data, path)
    _check_operators(onnx, model, path)
    external = [tensor for tensor in _tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if external:
        files |= _embed(onnx, external, path)
        data = model.SerializeToString()
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [_value(onnx, one) for one in model.graph.input if one.name not in weights]
    return OnnxGraph(path, data, files, tuple(inputs), tuple(_value(onnx, one) for one in model.graph.output))


def _parsed(onnx: Any, data: bytes, path: Path) -> Any:
    if data.startswith(b"version https://git-lfs"):
        raise UserError("this is a pointer of Git LFS, not the file itself", where=str(path), hint="run `git lfs pull`")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        broken = not model.graph.node or not model.graph.output or not model.opset_import
    except Exception as error:  # DecodeError of any protobuf version
        raise UserError("this is no ONNX file, or it is damaged", where=str(path), hint="get it again") from error
    if broken:
        raise UserError("this is no ONNX file, or it is damaged", where=str(path), hint="get it again")
    return model


def _check_operators(onnx: Any, model: Any, path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    if model.ir_version > onnx.IR_VERSION:
        what = f"the file has format version {model.ir_version}; the installed onnx knows 1 to {onnx.IR_VERSION}"
        raise UserError(what, where=str(path), hint="pip install -U onnx onnxruntime")
    for one in model.opset_import:
        if one.domain in STANDARD_DOMAINS and not 1 <= one.version <= newest:
            what = f"the file has opset {one.version}; the installed onnx knows 1 to {newest}"
            raise UserError(what, where=str(path), hint="pip install -U onnx onnxruntime, or export an older opset")
    own = {(function.domain, function.name) for function in model.functions}
    for node in _nodes(model):
        operator = (node.domain, node.op_type)
        if operator in own:
            continue
        if node.domain not in DOMAINS or operator in OUTSIDE:
            what = f"the file has a custom operator, {node.domain}:{node.op_type}"
            raise UserError(what, where=str(path), hint="export it with standard operators: libraries are never loaded")
        if node.op_type in RANDOM:
            what = f"the file draws random numbers ({node.op_type}), and its predictions cannot be repeated"
            raise UserError(what, where=str(path), hint="export it without: give noise a fixed value")


def _embed(onnx: Any, tensors: Sequence[Any], path: Path) -> dict[str, str]:
    """Embed external data in the graph.

    Returns:
        Name -> sha256 of the files.

    Raises:
        UserError: for a location that is not a plain file beside the model, or missing data.
    """
    hint = "put the file with the weights beside the ONNX file, under a plain name"
    names = set()
    for tensor in tensors:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        if not name or name in (".", "..") or any(mark in name for mark in "/\\:\0"):
            what = f"the file wants its weights from {name!r}, which is not a file beside it"
            raise UserError(what, where=str(path), hint=hint)
        names.add(name)
    total = 0
    for name in sorted(names):
        file = path.with_name(name)
        if file.is_symlink() and file.resolve().parent != path.resolve().parent:
            what = f"the weights in {name} are a link out of the folder of the ONNX file"
            raise UserError(what, where=str(path), hint=hint)
        if not os.path.isfile(file):
            raise UserError(f"the weights of the ONNX file are missing: {name}", where=str(path), hint=hint)
        total += file.stat().st_size
    if total > LARGEST:
        what = f"the weights have {total / 2**30:.1f} GiB, and more than 2 GiB are not supported"
        raise UserError(what, where=str(path), hint="export the network in half precision")
    contents = {name: path.with_name(name).read_bytes() for name in names}
    for tensor in tensors:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        content = contents[entries["location"]]
        try:
            start = int(entries.get("offset", 0))
            length = int(entries.get("length", len(content) - start))
        except ValueError:
            start, length = -1, 0
        if start < 0 or length < 0 or start + length > len(content):
            what = f"the weights {tensor.name} lie outside of {entries['location']}"
            raise UserError(what, where=str(path), hint="get both files again")
        tensor.raw_data = content[start : start + length]
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return {name: hashlib.sha256(contents[name]).hexdigest() for name in sorted(names)}


def _value(onnx: Any, one: Any) -> OnnxValue:
    kind = one.type.tensor_type
    try:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except (KeyError, ValueError):  # no tensor
        dtype = "no tensor"
    shape = None
    if kind.HasField("shape"):
        dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
        shape = tuple(None if dim < 0 else dim for dim in dims)  # some exporters write -1 for a free size
    return OnnxValue(one.name, dtype, shape)


def _graphs(model: Any) -> Iterator[Any]:
    """Yield the graph, the functions of the file, and all nested graphs."""
    waiting = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for attribute in (one for node in graph.node for one in node.attribute):
            waiting += [*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs]
        # Default values of a function's attributes.
        waiting += [one.g for one in getattr(graph, "attribute_proto", ()) if one.HasField("g")]


def _nodes(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        yield from graph.node


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor in a model."""
    for graph in _graphs(model):
        sparse = list(getattr(graph, "sparse_initializer", ()))
        yield from getattr(graph, "initializer", ())
        attributes = [*(one for node in graph.node for one in node.attribute), *getattr(graph, "attribute_proto", ())]
        for attribute in attributes:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            sparse += [*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else ())]
            sparse += attribute.sparse_tensors
        for one in sparse:
            yield from (one.values, one.indices)
