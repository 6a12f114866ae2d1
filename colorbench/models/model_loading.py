"""Loading of a model by name, from a file, or from a Python object.

- ``zoo/cic.small``: installed, prefix/name, with a tag if the model has several
- ``my_model.py:Warm``: a class in a file, for a one-off
- ``images:predictions/``: stored predictions of another program
- ``onnx:net.onnx``: a network in an ONNX file with a contract

Each may have options in brackets: zoo/cic[decode=mode,weights=mine.safetensors]
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from colorbench.errors import UnknownNameError, UserError, one_line_errors, path_hint
from colorbench.models.adapters import as_colorizer
from colorbench.models.distribution_decoding import with_decoding
from colorbench.models.foreign_code import one_line, usage_deferred
from colorbench.models.image_folder_model import ImageFolderModel
from colorbench.models.loaded_model import LoadedModel
from colorbench.models.model_card import ModelCard
from colorbench.models.model_names import IMAGES, ONNX, ModelName, name_of_weights, parse_name, short_name
from colorbench.models.model_sources import ModelSource, find_source, module_name
from colorbench.models.networks import networks_of
from colorbench.models.onnx_model import OnnxColorizer
from colorbench.storage import file_sha256


@one_line_errors()
def load_model(
    model: str | LoadedModel | object,
    decode: str | None = None,
    temperature: float | None = None,
    *,
    weights: Path | None = None,
    contract: str | None = None,
    device: torch.device | str | None = None,
) -> LoadedModel:
    """Load a model by name, or wrap a model object.

    Args:
        model: a name (see the head of this file), optionally with options: ``zoo/cic[decode=mode]``. A plain name is
            never looked up in the file system. Or a result of this function; or a model: an object or class with
            ``card`` and ``colorize`` or ``colorize_batch``, or an ``nn.Module`` with a ``card``, whose ``forward``
            takes lightness and returns ab.
        decode: ``annealed-mean``, ``mean`` or ``mode``, for models that predict a distribution.
        temperature: temperature of the annealed mean.
        weights: a weights file that replaces the weights of the tag.
        contract: contract of an ONNX file, instead of the one beside it: the name of an included contract, or a path.
        device: device to which the model's tensors are moved.

    Raises:
        UserError: for an unknown name, tag, option, decoding or file, or a broken or incomplete plugin.
    """
    if isinstance(model, str):
        asked = parse_name(model)
        decode = _either("decode", asked.decode, decode)
        temperature = _either("temperature", asked.temperature, temperature)
        weights, contract = _either("weights", asked.weights, weights), _either("contract", asked.contract, contract)
        loaded = _by_name(replace(asked, weights=weights, contract=contract))
    elif weights is not None or contract is not None:
        what = "a loaded model does not take a weights file and no contract"
        raise UserError(what, hint="give the model by name")
    else:
        loaded = model if isinstance(model, LoadedModel) else _of_object(model)
    loaded = with_decoding(loaded, decode, temperature)
    return loaded if device is None else loaded.to(torch.device(device))


def _either(key: str, in_brackets: Any, beside: Any) -> Any:
    if in_brackets is not None and beside is not None and in_brackets != beside:
        raise UserError(f"{key} is given twice: {in_brackets} and {beside}", hint="give it once")
    return beside if in_brackets is None else in_brackets


def _by_name(asked: ModelName) -> LoadedModel:
    name, weights = asked.name, asked.weights
    scheme = next((one for one in (IMAGES, ONNX) if name.startswith(one)), None)
    for key, given, fits in (
        ("weights file", asked.weights, scheme is None),
        ("contract, which is for ONNX files", asked.contract, scheme == ONNX),
        ("manifest, which is for stored predictions", asked.manifest, scheme == IMAGES),
    ):
        if given is not None and not fits:
            raise UserError(f"{name} does not take a {key}", hint=f"remove {given}")
    if scheme == ONNX:
        return _of_onnx_file(Path(name.removeprefix(ONNX)).expanduser(), asked.contract)
    if scheme == IMAGES:
        stored = ImageFolderModel(Path(name.removeprefix(IMAGES)), asked.manifest)
        return LoadedModel(f"{IMAGES}{short_name(stored.folder)}", None, None, stored, stored.card)
    source = find_source(name)
    tag = _resolve_tag(source)
    full_name = source.base if tag is None else f"{source.base}.{tag}"
    if weights is not None:
        # Other weights than those of the default tag, so its name would mislead.
        full_name = f"{source.base if source.asked is None else full_name}@{name_of_weights(weights, source.base)}"
    colorizer = as_colorizer(_made(source, full_name, tag, weights), full_name)
    for network in networks_of(colorizer):
        network.eval()
    card, sha256 = colorizer.card, colorizer.card.weights_sha256
    if weights is not None:
        card, sha256 = _beside(card, weights), file_sha256(weights)
    return LoadedModel(full_name, source.package, source.version, colorizer, card, sha256)


def _of_onnx_file(path: Path, contract: str | None) -> LoadedModel:
    network = OnnxColorizer(path, contract)
    name = f"{ONNX}{short_name(path)}" + (f"[contract={network.contract_name}]" if contract is not None else "")
    return LoadedModel(name, None, None, network, network.card, network.sha256)


def _of_object(model: object) -> LoadedModel:
    """Wrap a model object; it is named ``module:Net``, with the script's name for ``__main__``."""
    kind = model if inspect.isclass(model) else type(model)
    if inspect.isclass(model) and inspect.isabstract(model):
        raise UserError(f"{kind.__name__} is an abstract class, not a model")
    name = f"{module_name(kind)}:{kind.__qualname__.replace('<locals>.', '')}"
    if inspect.isclass(model):
        with one_line(f"{name} cannot be made", hint="give an object of the class"), usage_deferred():
            model = model()
    colorizer = as_colorizer(model, name)
    return LoadedModel(name, None, None, colorizer, colorizer.card, colorizer.card.weights_sha256)


def model_factory(name: str) -> Any:
    """Return the class or callable that loads a model of this name, with or without a tag.

    Its attributes ``tags``, ``presets`` and ``training`` describe the model.

    Raises:
        UserError: for an unknown name or a broken plugin.
    """
    return find_source(name).factory


def tags_of(factory: Any) -> Mapping[str, str]:
    """Return the description of each tag of a model in one line, the default first; empty for one without tags."""
    tags = getattr(factory, "tags", None)
    return tags if isinstance(tags, Mapping) else {}


def _resolve_tag(source: ModelSource) -> str | None:
    """Return the requested tag, or the model's first; None for a model without tags.

    Raises:
        UserError: for a tag that the model does not have.
    """
    tags = tags_of(source.factory)
    if source.asked is not None and source.asked not in tags:
        hint = f"it has {', '.join(tags)}" if tags else f"it has no tags; use {source.base}"
        raise UnknownNameError(f"{source.base} has no tag {source.asked!r}", hint=hint)
    return source.asked or next(iter(tags), None)


def _made(source: ModelSource, full_name: str, tag: str | None, weights: Path | None) -> Any:
    """Call the factory; its errors are reported in one line."""
    make = source.factory if tag is None else getattr(source.factory, "load", None)
    if not callable(make):
        wanted = "a class or function that makes a model" if tag is None else "a class with tags and load(tag)"
        raise UserError(f"{full_name} must be {wanted}", hint="see examples/plugin")
    keywords = {}
    if weights is not None:
        if "weights" not in _parameters(make):
            raise UserError(f"{source.base} does not take a weights file", hint="remove the weights")
        if not weights.is_file():
            raise UserError("no such weights file", where=str(weights), hint=path_hint(weights))
        keywords = {"weights": weights}
    with one_line(f"{full_name} cannot be made", hint="--debug shows where"), usage_deferred():
        return make(*(() if tag is None else (tag,)), **keywords)


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # built-in callables have no signature
        return {}


def _beside(card: ModelCard, weights: Path) -> ModelCard:
    """Return the card of a user's weights file; a hash list without a package is looked up beside it."""
    hashes = card.training_hashes
    if hashes is None or ":" in hashes:
        return card
    return card.model_copy(update={"training_hashes": str(weights.parent / hashes)})
