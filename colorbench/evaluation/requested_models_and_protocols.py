"""Resolution of a run configuration: names are turned into loaded models, protocols and scorers, and checked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from colorbench import models as capabilities
from colorbench.data import Dataset, get_preprocessing
from colorbench.description_files import metric_hint
from colorbench.errors import PluginError, UserError
from colorbench.evaluation.protocol_interfaces import DatasetProtocol, ImageProtocol, ProtocolSpec, Scorer
from colorbench.evaluation.run_config import RunConfig
from colorbench.models import BASELINES, LoadedModel, find_overlap, load_model
from colorbench.models.foreign_code import one_line
from colorbench.models.stored_prediction_checks import prepare
from colorbench.registry import find, registered
from colorbench.results import protocol_identity
from colorbench.results.metric_spec import check_metrics
from colorbench.storage.hashes import not_storable

CAPABILITIES = {
    "HasFeatures": ("features", "features"),
    "PredictsDistribution": ("a distribution", "distribution"),
    "Samples": ("several draws", "sample"),
    "Guided": ("predictions with revealed colors", "colorize_guided"),
}
"""Interface -> what it gives, in words, and its method."""


Asked = list[tuple[ImageProtocol | DatasetProtocol, dict[str, Any]]]
"""Protocols with the given parameters, including those of a preset."""


@dataclass(frozen=True)
class Resolved:
    """Models, protocols and images of a request, loaded and checked."""

    dataset: Dataset
    """After any limit."""
    asked: Sequence[LoadedModel]
    models: Sequence[LoadedModel]
    """The requested models, followed by the baselines."""
    scorers: Sequence[tuple[ProtocolSpec, Scorer]]
    """Specs and scorers of the image protocols."""
    dataset_protocols: Sequence[tuple[DatasetProtocol, Mapping[str, Any]]]
    """The dataset protocols, with the given parameters."""


def resolve(request: RunConfig, say: Callable[[str], None], *, processes: int = 1) -> Resolved:
    """Load and check the protocols, models and images of a request, and prepare the models for the images.

    Args:
        request: the run configuration.
        say: called with messages about the files.
        processes: number of processes that share the run.

    Raises:
        UserError: for anything invalid in the request.
        RunError: for stored predictions that are missing or cannot be read.
    """
    dataset = request.data if request.limit is None else request.data.limit(request.limit)
    if not dataset.samples:
        raise UserError("there are no images", where=dataset.source or dataset.name, hint="check --data")
    protocols = asked_protocols(request)
    check_roles({"test", *request.roles}, (protocol for protocol, _ in protocols))
    scorers, full = _resolve_protocols(protocols, dataset), _dataset_protocols(protocols)
    if processes > 1 and (joint := [protocol.spec.name for protocol, _ in full if protocol.joint]):
        what = f"{joint[0]} takes all models together, in one process"
        raise UserError(what, hint="start it without torchrun or srun, or unset RANK and WORLD_SIZE")
    asked = _load_models(request)
    # Gray, constant and ground truth are baselines of image protocols; protocols that train something have their own
    # controls.
    models = [*asked, *_load_baselines(asked)] if scorers and request.baselines else asked
    preprocessings = [scorer.preprocessing for _, scorer in scorers]
    for model in models:
        prepare(model, dataset.samples, preprocessings, say)
    return Resolved(dataset, asked, models, scorers, full)


def _resolve_protocols(asked: Asked, dataset: Dataset) -> list[tuple[ProtocolSpec, Scorer]]:
    """Return specs and scorers of the requested image protocols.

    Raises:
        UserError: for an unknown parameter or value, or a value that no record can hold.
    """
    found = [(one.spec, one.resolve(given, dataset)) for one, given in asked if isinstance(one, ImageProtocol)]
    for spec, scorer in found:
        get_preprocessing(scorer.preprocessing)  # a protocol may not check the names of preprocessings
        check_metrics(spec.name, scorer.metrics)
        protocol_identity(spec.name, spec.version, scorer.identity)  # raises for values that no record can hold
        if (why := not_storable(scorer.parameters)) is not None:
            what = f"the parameters of protocol {spec.name} cannot be stored in a record: {why}"
            raise UserError(what, hint="use finite numbers and text")
    return found


def _dataset_protocols(asked: Asked) -> list[tuple[DatasetProtocol, dict[str, Any]]]:
    """Return the requested dataset protocols."""
    return [(one, given) for one, given in asked if not isinstance(one, ImageProtocol)]


def check_roles(given: Collection[str], protocols: Iterable[ImageProtocol | DatasetProtocol]) -> None:
    """Raise if a requested protocol needs a role without a dataset, or a dataset has a role that none uses.

    Args:
        given: roles with a dataset.
        protocols: all protocols of the run.

    Raises:
        UserError: naming the protocol and the role.
    """
    taken = {"test"}
    names = []
    for protocol in protocols:
        roles = getattr(protocol, "roles", ())
        if lacking := [role for role in roles if role not in given]:
            hint = f"give {' '.join(f'--data {role}=DIR' for role in roles)}"
            raise UserError(f"{protocol.spec.name} needs images for the role {lacking[0]!r}", hint=hint)
        taken |= set(roles)
        names.append(protocol.spec.name)
    if extra := [role for role in given if role not in taken]:
        verb = "takes" if len(names) == 1 else "take"
        what = f"{' and '.join(names)} {verb} no images in the role {extra[0]!r}"
        raise UserError(what, hint="give the images as --data DIR")


def asked_protocols(request: RunConfig) -> Asked:
    """Return all protocols of a request with their parameters.

    Raises:
        UserError: for an unknown protocol or preset, and for parameters of a protocol that is not run.
    """
    found: Asked = []
    used = set()
    for asked in request.protocols:
        name, at, preset = asked.partition("@") if isinstance(asked, str) else ("", "", "")
        protocol = get_protocol(name) if isinstance(asked, str) else as_protocol(asked)
        full_name, name = (asked if isinstance(asked, str) else protocol.spec.name), protocol.spec.name
        parameters = {**(protocol.spec.preset(preset) if at else {}), **request.parameters.get(name, {})}
        if full_name != name:
            parameters |= request.parameters.get(full_name, {})
        used |= {name, full_name}
        found.append((protocol, parameters))
    if unused := sorted(set(request.parameters) - used):
        raise UserError(f"parameters of a protocol that is not run: {unused[0]}", hint=f"add --protocol {unused[0]}")
    return found


def get_protocol(name: str) -> ImageProtocol | DatasetProtocol:
    """Return an installed protocol, requested by its name without preset.

    Raises:
        UserError: for an unknown name or a broken plugin.
    """
    return as_protocol(find("protocols", name, otherwise=metric_hint).load(), name)


def as_protocol(given: object, name: str | None = None) -> ImageProtocol | DatasetProtocol:
    """Return a requested protocol from an object or class.

    Raises:
        UserError: for anything that is not a protocol.
    """
    name = name or getattr(given, "__qualname__", type(given).__qualname__)
    with one_line(f"{name} cannot be made", hint="give an object of the class"):
        protocol = given() if isinstance(given, type) else given
    if not isinstance(protocol, ImageProtocol | DatasetProtocol) or not isinstance(protocol.spec, ProtocolSpec):
        hint = "give it `spec` and `resolve`, or `spec`, `roles`, `joint` and `evaluate`"
        raise PluginError(f"{name} is not a protocol", hint=hint)
    return protocol


def headline_of(protocol: str) -> str | None:
    """Return the headline metric of a protocol; None if it is not installed."""
    try:
        return get_protocol(protocol).spec.headline
    except UserError:
        return None


def name_with_preset(protocol: str, version: int, parameters: Mapping[str, Any]) -> str:
    """Return ``fidelity@ct2`` if a preset of the installed protocol sets these parameters, otherwise the plain name.

    Args:
        protocol: name of the protocol, which may not be installed.
        version: of the protocol that the parameters belong to.
        parameters: resolved.
    """
    try:
        spec = get_protocol(protocol).spec
    except UserError:
        return protocol
    return (spec.preset_of(parameters) if spec.version == version else None) or protocol


def _load_models(request: RunConfig) -> list[LoadedModel]:
    """Load the requested models, each once.

    Raises:
        UserError: for a model that cannot be loaded, or a decoding for several models at once.
    """
    decoding: dict[str, Any] = {"decode": request.decode, "temperature": request.temperature}
    chosen = {key: value for key, value in decoding.items() if value is not None}
    if chosen and len(request.models) > 1:
        key, value = next(iter(chosen.items()))
        what = f"{key}={value} is ambiguous for {len(request.models)} models"
        raise UserError(what, hint=f"write it with the model name: zoo/cic[{key}={value}]")
    loaded: list[LoadedModel] = []
    distinct = {id(model): model for model in request.models}  # the same object given twice is one model
    for model in distinct.values():
        one = model if isinstance(model, LoadedModel) and not chosen else load_model(model, **chosen)
        if any(one is other or one.colorizer is other.colorizer for other in loaded):
            continue
        if not isinstance(model, str | LoadedModel):
            # Objects of the same class, as in notebooks, need distinct names.
            same = sum(other.full_name.partition("#")[0] == one.full_name for other in loaded)
            one = replace(one, full_name=f"{one.full_name}#{same + 1}") if same else one
        find_overlap(one.card, ())  # an unreadable file of training hashes is an error before the first prediction
        loaded.append(one)
    return loaded


def _load_baselines(asked: Sequence[LoadedModel]) -> list[LoadedModel]:
    """Load the baselines gray, constant and ground truth, except those among the requested models."""
    names = {model.full_name for model in asked}
    return [load_model(name) for name in BASELINES if name not in names]


def missing_capability(spec: ProtocolSpec, model: LoadedModel) -> UserError | None:
    """Return the error for a model without a capability that a requested protocol needs; None if it has all."""
    for need in spec.needs:
        if not isinstance(model.colorizer, getattr(capabilities, need)):
            words, method = CAPABILITIES.get(need, (need, need))
            what = f"{spec.name} needs {words}, and {model.full_name} has none"
            able = _installed_with(method)
            choose = f"choose {', '.join(able)}, or " if able else ""
            return UserError(what, hint=f"{choose}give the model's class the interface {need} (method {method})")
    return None


def _installed_with(method: str) -> list[str]:
    """Return the names of the installed models whose class has a method."""
    found = []
    for plugin in registered("models"):
        with contextlib.suppress(UserError):  # another package's broken plugin
            if callable(getattr(plugin.load(), method, None)):
                found.append(plugin.name)
    return found
