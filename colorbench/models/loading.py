"""From a name to a model that can be run.

zoo/cic.small        installed: prefix/name, and a tag where the model has several
my_model.py:Warm     a class in a file, for a one-off
images:answers/      images that another program made
onnx:net.onnx        a network in an ONNX file, with its contract beside it

Each may have options in brackets: zoo/cic[decode=mode,weights=mine.safetensors]
"""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from colorbench.color import Decoding
from colorbench.errors import UnknownNameError, UserError
from colorbench.models.adapters import SimpleColorizerAdapter
from colorbench.models.card import ModelCard
from colorbench.models.guard import one_line, usage_deferred
from colorbench.models.image_folder import ImageFolderModel
from colorbench.models.interfaces import Colorizer, OnDevice
from colorbench.models.names import IMAGES, ONNX, ModelName, parse_name, short_name, with_decoding
from colorbench.models.networks import device_of, evaluation_mode, networks_of
from colorbench.models.onnx_model import OnnxColorizer
from colorbench.models.schemes import _Source, _source
from colorbench.registry import describe
from colorbench.storage import file_sha256


@dataclass
class LoadedModel:
    """A model under the name that tables print, with all that the record says of it."""

    full_name: str
    """With its resolved tag: ``zoo/cic.small``; ``zoo/cic@mine`` with ``--weights mine.safetensors``."""
    package: str | None
    """Installed package that it comes from; None for a file or a folder."""
    package_version: str | None
    """Of the package; where code can change without it (a file, an editable install), with a hash of the code."""
    colorizer: Colorizer
    card: ModelCard
    weights_sha256: str | None = None
    """Of the weights file; of stored images, over all of them, once they are prepared."""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    """decode and temperature, where the model predicts a distribution."""
    undecoded_name: str | None = None
    """The name without a decoding that was chosen; None where none was."""
    usual_decoding: Mapping[str, Any] | None = None
    """Before one was chosen."""

    @property
    def stored(self) -> ImageFolderModel | None:
        """The stored predictions that it reads; None for a model that computes them."""
        return self.colorizer if isinstance(self.colorizer, ImageFolderModel) else None

    def prepare(self, ids: tuple[str, ...]) -> None:
        """Prepare a run on the images ``ids``: stored predictions are looked up and hashed.

        Raises:
            RunError: if images are missing.
        """
        if isinstance(self.colorizer, ImageFolderModel):
            self.weights_sha256 = self.colorizer.prepare(ids)

    def to(self, device: torch.device) -> LoadedModel:
        """Move the model's tensors, where it has any: by its own method, or the networks that it holds.

        Raises:
            UserError: for a model whose own method fails.
        """
        with one_line(f"{self.full_name} cannot be moved to {device}"):
            if isinstance(self.colorizer, OnDevice):
                self.colorizer.to(device)
            else:
                for network in networks_of(self.colorizer):
                    network.to(device)
        return self

    @contextlib.contextmanager
    def at_work(self, device: torch.device) -> Iterator[None]:
        """Move the model to a device, in evaluation mode; afterwards restore its device and mode."""
        home = device_of(self.colorizer) or torch.device("cpu")
        with evaluation_mode(self.colorizer):
            try:
                self.to(device)
                yield
            finally:
                self.to(home)


def load_model(
    model: str | LoadedModel | object,
    decode: str | None = None,
    temperature: float | None = None,
    *,
    weights: Path | None = None,
    contract: str | None = None,
    device: torch.device | str | None = None,
) -> LoadedModel:
    """Load a model by name, or take one that is there.

    Args:
        model: a name (see the head of this file), with options or not: ``zoo/cic[decode=mode]``. A plain name is never
            looked up in the file system. Or what this function returned; or a model itself: an object or a class with
            ``card`` and ``colorize`` or ``colorize_batch``, or an ``nn.Module`` with a ``card``, whose ``forward``
            then takes lightness and returns ab.
        decode: ``annealed-mean``, ``mean`` or ``mode``, for models that predict a distribution.
        temperature: of the annealed mean.
        weights: a file to load in place of the tag's own weights.
        contract: of an ONNX file, in place of the one beside it: the name of a shipped one, or a path.
        device: where the model's tensors go.

    Raises:
        UserError: for an unknown name, tag, option, decoding or file, and for a plugin that is broken or incomplete.
    """
    if isinstance(model, str):
        asked = parse_name(model)
        decode = _either("decode", asked.decode, decode)
        temperature = _either("temperature", asked.temperature, temperature)
        weights, contract = _either("weights", asked.weights, weights), _either("contract", asked.contract, contract)
        loaded = _by_name(replace(asked, weights=weights, contract=contract))
    elif weights is not None or contract is not None:
        what = "a model that is loaded takes no weights file and no contract"
        raise UserError(what, hint="give the model by name")
    else:
        loaded = model if isinstance(model, LoadedModel) else _of_object(model)
    loaded = _decoded(loaded, decode, temperature)
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
            raise UserError(f"{name} takes no {key}", hint=f"leave out {given}")
    if scheme == ONNX:
        return _of_onnx_file(Path(name.removeprefix(ONNX)).expanduser(), asked.contract)
    if scheme == IMAGES:
        stored = ImageFolderModel(Path(name.removeprefix(IMAGES)), asked.manifest)
        return LoadedModel(f"{IMAGES}{short_name(stored.folder)}", None, None, stored, stored.card)
    source = _source(name)
    tag = _resolve_tag(source)
    full_name = source.base if tag is None else f"{source.base}.{tag}"
    if weights is not None:
        # Not the default tag's own weights: its name would mislead.
        full_name = f"{source.base if source.asked is None else full_name}@{weights.stem}"
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
    """Load a model object that was made elsewhere, for example in a notebook: ``notebook:Net``, or ``module:Net``."""
    kind = model if inspect.isclass(model) else type(model)
    if inspect.isclass(model) and inspect.isabstract(model):
        raise UserError(f"{kind.__name__} is an abstract class, no model")
    module = "notebook" if kind.__module__ in ("__main__", "builtins") else kind.__module__
    name = f"{module}:{kind.__qualname__.replace('<locals>.', '')}"
    if inspect.isclass(model):
        with one_line(f"{name} cannot be made", hint="give an object of the class"), usage_deferred():
            model = model()
    colorizer = as_colorizer(model, name)
    return LoadedModel(name, None, None, colorizer, colorizer.card, colorizer.card.weights_sha256)


def model_factory(name: str) -> Any:
    """Return the class or callable behind a name, with or without a tag.

    It holds ``tags``, ``presets`` and ``training``.

    Raises:
        UserError: for an unknown name or a broken plugin.
    """
    return _source(name).factory


def tags_of(factory: Any) -> Mapping[str, str]:
    """Return the one-line description of each tag, the default first; empty for a model without tags."""
    tags = getattr(factory, "tags", None)
    return tags if isinstance(tags, Mapping) else {}


def as_colorizer(model: Any, name: str) -> Colorizer:
    """Return what the engine can run, from what a plugin gave: checked, and wrapped where it has the short form.

    Raises:
        UserError: naming the model and what it lacks.
    """
    hint = "a model has a `card` and a method `colorize` or `colorize_batch`: see examples/plugin"
    with one_line(f"{name} gives no card", hint=hint):
        card = getattr(model, "card", None)
    if card is None:
        raise UserError(f"{name} has no card", hint=hint)
    if not isinstance(card, ModelCard):
        what = f"the card of {name} is a {type(card).__name__}, not a ModelCard"
        raise UserError(what, hint="write card = ModelCard(title=...), from colorbench.models")
    if (trouble := card.not_storable()) is not None:
        raise UserError(
            f"the card of {name} cannot be stored: {trouble}", hint="a record holds finite numbers and text"
        )
    if callable(getattr(model, "colorize_batch", None)):
        return model  # type: ignore[no-any-return]
    if callable(getattr(model, "colorize", None)):
        return SimpleColorizerAdapter(model)
    if isinstance(model, nn.Module):
        return SimpleColorizerAdapter(model, model)
    raise UserError(f"{name} has neither colorize nor colorize_batch", hint=hint)


def _resolve_tag(source: _Source) -> str | None:
    """Return the tag that was asked for, or the model's first; None for a model without tags.

    Raises:
        UserError: for a tag that the model does not have.
    """
    tags = tags_of(source.factory)
    if source.asked is not None and source.asked not in tags:
        hint = f"it has {', '.join(tags)}" if tags else f"it has no tags: write {source.base}"
        raise UnknownNameError(f"{source.base} has no tag {source.asked!r}", hint=hint)
    return source.asked or next(iter(tags), None)


def _made(source: _Source, full_name: str, tag: str | None, weights: Path | None) -> Any:
    """Call the factory; what it raises becomes one line."""
    make = source.factory if tag is None else getattr(source.factory, "load", None)
    if not callable(make):
        wanted = "a class or function that makes a model" if tag is None else "a class with tags and load(tag)"
        raise UserError(f"{full_name} must be {wanted}", hint="see examples/plugin")
    keywords = {}
    if weights is not None:
        if "weights" not in _parameters(make):
            raise UserError(f"{source.base} takes no weights file", hint="leave out the weights")
        if not weights.is_file():
            raise UserError("no such weights file", where=str(weights), hint="check the path")
        keywords = {"weights": weights}
    with one_line(f"{full_name} cannot be made", hint="--debug shows where"), usage_deferred():
        return make(*(() if tag is None else (tag,)), **keywords)


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # built-in callables have no signature
        return {}


def _beside(card: ModelCard, weights: Path) -> ModelCard:
    """Return the card of a weights file of the user's; a hash list without a package lies beside it."""
    hashes = card.training_hashes
    if hashes is None or ":" in hashes:
        return card
    return card.model_copy(update={"training_hashes": str(weights.parent / hashes)})


def _decoded(loaded: LoadedModel, decode: str | None, temperature: float | None) -> LoadedModel:
    """Return the model with the decoding that was asked for.

    It is recorded, and stands in the name where it is not the default.

    Raises:
        UserError: for a model without decoding, an unknown method, a temperature that is not positive or not used.
    """
    usual = _decoding(loaded)
    if decode is None and temperature is None:
        loaded.decoding = usual
        return loaded
    colorizer: Any = loaded.colorizer
    if not callable(getattr(colorizer, "with_decoding", None)):
        what = f"{loaded.full_name} predicts no distribution, so it has no decoding to choose"
        raise UserError(what, hint="leave out decode and temperature")
    if decode is not None and decode not in get_args(Decoding):
        raise UserError(f"unknown decoding {decode!r}", hint=f"choose from {', '.join(get_args(Decoding))}")
    if temperature is not None and not 0 < temperature < float("inf"):
        raise UserError(f"the temperature must be positive, got {temperature}", hint="the paper takes 0.38")
    with one_line(f"{loaded.full_name} cannot be decoded so"):
        other = colorizer.with_decoding(decode, temperature)
    changed = replace(loaded, colorizer=as_colorizer(other, loaded.full_name))
    decoding = _decoding(changed)
    if temperature is not None and "temperature" not in decoding:
        what = f"decode={decoding.get('decode', decode)} has no temperature"
        raise UserError(what, hint="leave out the temperature, or decode with annealed-mean")
    name = loaded.undecoded_name or loaded.full_name
    first = loaded.usual_decoding if loaded.usual_decoding is not None else usual
    return replace(
        changed,
        full_name=with_decoding(name, decoding, first),
        decoding=decoding,
        undecoded_name=name,
        usual_decoding=first,
    )


def _decoding(loaded: LoadedModel) -> dict[str, Any]:
    """Return how a model decodes.

    Raises:
        UserError: for what no record can hold.
    """
    with one_line(f"{loaded.full_name} does not say how it decodes"):
        decoding = dict(getattr(loaded.colorizer, "decoding", None) or loaded.decoding)
    try:
        json.dumps(decoding, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        what = f"the decoding of {loaded.full_name} cannot be stored: {describe(error)}"
        raise UserError(what, hint="a record holds finite numbers and text") from error
    return decoding
