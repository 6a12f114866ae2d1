"""``colorbench show``: details of a model, protocol, dataset or result."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colorbench.cli.shared_options import Debug, Json
from colorbench.cli.standard_output import print_result
from colorbench.errors import MissingWeightsError, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from colorbench.evaluation import ProtocolSpec
    from colorbench.results import Record


def show(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name of a model, protocol or dataset, or a result folder."),
    ],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show details of a model, protocol, dataset or result.

    Models: the model card with role, size, training data and weights. Protocols: parameters with defaults, metrics
    and presets. Results: whether a new run would reuse the result, and what has changed if not.
    """
    from colorbench.cli.console import console

    about = describe(name)
    if json:
        print_result(jsonlib.dumps(about, indent=1, ensure_ascii=False, default=str))
    else:
        _print_about(console(text_to_stderr=False), about)


def describe(name: str) -> dict[str, Any]:
    """Return the details that ``show`` prints about a name, by heading.

    Raises:
        UserError: for an unknown name, suggesting the most similar of all kinds.
    """
    from colorbench.cli.record_details import describe_record, find_record_folder
    from colorbench.data.sources.packaged import SAMPLES
    from colorbench.registry import nearest, registered

    if (folder := find_record_folder(name)) is not None:
        return describe_record(folder)
    protocols = [plugin.name for plugin in registered("protocols")]
    if name.partition("@")[0] in protocols:
        return _protocol(name)
    if name == SAMPLES:
        return _samples()
    if name in [plugin.name for plugin in registered("datasets")]:
        return _listed_dataset(name)
    if "/" in name or ":" in name:
        return _model(name)
    named = [plugin.name for kind in ("models", "datasets") for plugin in registered(kind)]
    near = nearest(name, [*protocols, *named, SAMPLES])
    raise UserError(f"unknown name {name!r}", hint=f"did you mean {near}?" if near else "`colorbench list` shows all")


def _model(name: str) -> dict[str, Any]:
    """Return what ``show`` prints about a model: card, tags and training presets."""
    from colorbench.models import colorizer_interfaces as capabilities
    from colorbench.models import load_model, model_factory, tags_of
    from colorbench.models.model_names import IMAGES, ONNX, parse_name
    from colorbench.models.weights_download import without_downloads

    try:
        with without_downloads():
            loaded = load_model(name)
    except MissingWeightsError as error:
        return _model_without_weights(name, error)
    predictions = [
        sentence
        for capability, sentence in (
            (capabilities.PredictsDistribution, "predicts a distribution (--decode, --temperature)"),
            (capabilities.HasFeatures, "has features"),
        )
        if isinstance(loaded.colorizer, capability)
    ]
    base = parse_name(name).name
    factory = None if base.startswith((IMAGES, ONNX)) else model_factory(base)
    card = loaded.card.model_dump(exclude={"title"}, exclude_defaults=True)
    return {
        "name": loaded.full_name,
        "title": loaded.card.title,
        "role": loaded.card.role,
        "package": f"{loaded.package} {loaded.package_version}" if loaded.package else None,
        **{key.replace("_", " "): value for key, value in card.items() if key != "role"},
        "weights sha256": loaded.weights_sha256,
        "decoding": dict(loaded.decoding) or None,
        "can": predictions or None,
        "tags": dict(tags_of(factory)) or None,
        "training presets": {key: str(preset) for key, preset in (getattr(factory, "presets", None) or {}).items()}
        or None,
    }


def _listed_dataset(name: str) -> dict[str, Any]:
    """Return what ``show`` prints about a named dataset."""
    from colorbench.data.named_datasets import listed_set

    found = listed_set(name)
    stems = sorted(found.checked_stems(name))
    return {
        "name": name,
        "title": found.title,
        "use": f"--data {name}=DIR",
        "images": found.n,
        "first and last": f"{stems[0]}, {stems[-1]}",
        "set sha256": found.sha256,
        "license": found.license,
        "where to get": found.where_to_get,
        "list from": found.source,
        **{f"known {kind}": ", ".join(known) for kind, known in found.known.items()},
    }


def _model_without_weights(name: str, error: MissingWeightsError) -> dict[str, Any]:
    """Return the details of a model without loading (downloading) its weights: the card of its class and its tags.

    Raises:
        MissingWeightsError: for a model whose class has no card.
    """
    from colorbench.models import ModelCard, model_factory, tags_of
    from colorbench.models.model_names import parse_name

    factory = model_factory(parse_name(name).name)
    card = getattr(factory, "card", None)
    if not isinstance(card, ModelCard):
        raise error
    facts = card.model_dump(exclude={"title", "role"}, exclude_defaults=True)
    return {
        "name": name,
        "title": card.title,
        "role": card.role,
        **{key.replace("_", " "): value for key, value in facts.items()},
        "weights": str(error),
        "tags": dict(tags_of(factory)) or None,
    }


def _protocol(name: str) -> dict[str, Any]:
    """Return what ``show`` prints about a protocol: parameters (a preset's, if named), metrics and presets.

    Raises:
        UserError: for an unknown preset.
    """
    base, at, preset = name.partition("@")
    spec = spec_of(base)
    sets = spec.preset(preset) if at else {}
    values = {**spec.parameters, **sets}
    helps = spec.parameter_help
    source = spec.preset_sources.get(preset)
    return {
        "name": name,
        "title": spec.title,
        "version": spec.version,
        "category": spec.category,
        **({"sets": dict(sets)} if at else {}),
        **(source.described(name) if source else {}),
        "parameters": {key: f"{value}; {helps[key]}" if key in helps else value for key, value in values.items()},
        "metrics": {
            metric.name: " ".join(
                word
                for word in (
                    f"[{metric.unit}]" if metric.unit else "",
                    {True: "higher is better.", False: "lower is better.", None: ""}[metric.higher_is_better],
                    metric.explanation or metric.title,
                    "Primary metric." if metric.name == spec.headline else "",
                )
                if word
            )
            for metric in spec.metrics
        },
        "presets": {
            key: ", ".join(f"{parameter}={value}" for parameter, value in spec.preset(key).items())
            for key in (() if at else spec.preset_names)
        }
        or None,
        "needs": list(spec.needs) or None,
    }


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
    known = {metric.name: metric for metric in spec.metrics if metric.explanation}
    found = {name: metric.explanation for name, metric in known.items()}
    for metric in record.metrics:
        if metric.name in known and metric.title != known[metric.name].title:
            found[metric.name] = f"{metric.title}: {found[metric.name]}"
    return found


def _samples() -> dict[str, Any]:
    """Return what ``show`` prints about the packaged images."""
    from colorbench.data import open_dataset
    from colorbench.data.sources.packaged import SAMPLES

    dataset = open_dataset(SAMPLES)
    return {"name": SAMPLES, "title": dataset.source, "images": [sample.id for sample in dataset.samples]}


def _print_about(terminal: Console, about: Mapping[str, Any]) -> None:
    """Print the details with headings on the left and values on the right."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    terminal.print(Text.assemble((about["name"], "bold"), f" · {about['title']}"), soft_wrap=True)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for heading, value in about.items():
        if heading in ("name", "title") or value is None:
            continue
        table.add_row(heading, Text("\n".join(lines_of(value))))
    terminal.print(Padding(table, (1, 0, 0, 0)))


def lines_of(value: Any) -> Iterable[str]:
    """Return a value of the details as lines of text; parts of a model are lines such as ``vgg16; use: loss``."""
    if isinstance(value, Mapping):
        return [f"{key}: {one}" for key, one in value.items()]
    if isinstance(value, list | tuple):
        return ["; ".join(_named(one)) if isinstance(one, Mapping) else str(one) for one in value]
    return [f"{value:,}" if type(value) is int else str(value)]


def _named(part: Mapping[str, Any]) -> list[str]:
    """Return the name of a part, then its other facts."""
    facts = [f"{key.replace('_', ' ')}: {one}" for key, one in part.items() if key != "name"]
    return [str(part["name"]), *facts] if "name" in part else facts
