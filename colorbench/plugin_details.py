"""Details of a model or protocol that ``colorbench show`` prints, from the imported plugin.

``plugin_descriptions`` stores them for the included plugins, so that ``show`` need not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from colorbench.errors import MissingWeightsError, UserError

if TYPE_CHECKING:
    from colorbench.evaluation import ProtocolSpec
    from colorbench.models import LoadedModel
    from colorbench.results import MetricSpec, Record

EXAMPLE_MODEL = "zoo/cic"
"""Model in the example commands of protocols."""


def model_details(name: str) -> dict[str, Any]:
    """Load a model, without downloading its weights, and return its details by heading.

    If the weights would have to be downloaded, the card is that of the model's class.

    Raises:
        UserError: for an unknown name or an unusable model.
        MissingWeightsError: for weights that would have to be downloaded, if the class of the model has no card.
    """
    from colorbench.models import ModelCard, load_model, model_factory, tags_of
    from colorbench.models.model_names import IMAGES, ONNX, parse_name
    from colorbench.models.weights_download import without_downloads
    from colorbench.registry import split_tag

    base = parse_name(name).name
    factory = None if base.startswith((IMAGES, ONNX)) else model_factory(base)
    try:
        with without_downloads():
            model = load_model(name)
    except MissingWeightsError as error:
        loaded: LoadedModel | None = None
        card, address = getattr(factory, "card", None), error.where
        if not isinstance(card, ModelCard):
            raise
    else:
        loaded, card, address = model, model.card, None
    facts = card.model_dump(mode="json", exclude={"title", "role"}, exclude_defaults=True)
    default = next(iter(tags_of(factory)), None)
    return {
        "name": loaded.full_name if loaded else name if split_tag(base)[1] or not default else f"{name}.{default}",
        "title": card.title,
        "role": card.role,
        "package": f"{loaded.package} {loaded.package_version}" if loaded is not None and loaded.package else None,
        "tags": dict(tags_of(factory)) or None,
        **{key.replace("_", " "): value for key, value in facts.items()},
        "weights": "not in the cache; the first use downloads them" if loaded is None else None,
        "download": address,
        "weights sha256": card.weights_sha256 if loaded is None else loaded.weights_sha256,
        "decoding": None if loaded is None else dict(loaded.decoding) or None,
        "can": None if loaded is None else _capabilities(loaded) or None,
        "training presets": {key: str(preset) for key, preset in (getattr(factory, "presets", None) or {}).items()}
        or None,
    }


def _capabilities(loaded: LoadedModel) -> list[str]:
    """Return what the model can do beyond predicting one color per pixel."""
    from colorbench.models import colorizer_interfaces as capabilities

    return [
        sentence
        for capability, sentence in (
            (capabilities.PredictsDistribution, "predict a distribution of colors (--decode, --temperature)"),
            (capabilities.HasFeatures, "return the features of its layers (linear-probe, transfer-...)"),
        )
        if isinstance(loaded.colorizer, capability)
    ]


def protocol_details(name: str) -> dict[str, Any]:
    """Import a protocol and return its details by heading: parameters (a preset's, if named), metrics and presets.

    Raises:
        UserError: for an unknown preset.
    """
    from colorbench.registry import find

    base, at, preset = name.partition("@")
    spec = spec_of(base)
    sets = spec.preset(preset) if at else {}
    helps = spec.parameter_help
    source = spec.preset_sources.get(preset)
    roles = [f" --data {role}=DIR" for role in getattr(find("protocols", base).load(), "roles", ())]
    return {
        "name": name,
        "title": spec.title,
        "use": f"colorbench run --model {EXAMPLE_MODEL} --protocol {name}{''.join(roles)}",
        "version": spec.version,
        "category": spec.category,
        **({"sets": dict(sets)} if at else {}),
        **(source.described(name) if source else {}),
        "needs": list(spec.needs) or None,
        "metrics": {metric.name: _metric(metric, spec) for metric in spec.metrics},
        "parameters": {
            key: {"value": value, **({"meaning": helps[key]} if key in helps else {})}
            for key, value in {**spec.parameters, **sets}.items()
        },
        "presets": {
            key: ", ".join(f"{parameter}={value}" for parameter, value in spec.preset(key).items())
            for key in (() if at else spec.preset_names)
        }
        or None,
    }


def _metric(metric: MetricSpec, spec: ProtocolSpec) -> Mapping[str, Any]:
    """Return the facts of a metric, without empty ones."""
    facts = {
        "unit": metric.unit,
        "better": {True: "higher", False: "lower", None: ""}[metric.higher_is_better],
        "primary": metric.name == spec.headline,
        "meaning": spec.meaning_of(metric),
    }
    return {key: value for key, value in facts.items() if value}


def spec_of(name: str) -> ProtocolSpec:
    """Return the specification of an installed protocol, whose details are shown.

    Raises:
        UserError: for an unknown name or unusable protocol.
    """
    from colorbench.evaluation import ProtocolSpec
    from colorbench.registry import find

    plugin = find("protocols", name)
    spec = getattr(plugin.load(), "spec", None)
    if not isinstance(spec, ProtocolSpec):
        raise UserError(f"protocol {name} has no spec", where=plugin.where, hint="fix or uninstall that package")
    return spec


def explanations_of(spec: ProtocolSpec, record: Record) -> dict[str, str]:
    """Return an explanation per metric, preceded by its title if the parameters make a variant of the metric."""
    known = {metric.name: metric for metric in spec.metrics if metric.explanation or metric.name == spec.headline}
    found = {name: spec.meaning_of(metric) for name, metric in known.items()}
    for metric in record.metrics:
        if metric.name in known and metric.title != known[metric.name].title:
            found[metric.name] = f"{metric.title}: {found[metric.name]}"
    return found
