"""``check``: conformance checks of a model, protocol or dataset, whose kind is recognized."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from colorbench.data import Dataset
from colorbench.data.sources.packaged import SAMPLES
from colorbench.errors import UnknownNameError, UserError, one_line_errors
from colorbench.models import LoadedModel, model_factory
from colorbench.models.model_names import IMAGES, ONNX, parse_name
from colorbench.registry import nearest, registered, split_tag
from colorbench.testing.check_report import CheckReport, Kind


@one_line_errors()
def check(
    target: object,
    *,
    parameters: Mapping[str, Any] | None = None,
    data: Dataset | Mapping[str, Dataset] | None = None,
    device: str = "cpu",
    skip: Collection[str] = (),
) -> CheckReport:
    """Check a target of any kind: a model, a protocol or a dataset.

    Args:
        target: a name as for ``--model``, ``--protocol`` or ``--data``, ``file.py:Class``, a folder, or an object or
            class. Names of models and protocols take precedence over folders: write ``./auc`` for a folder of that
            name.
        parameters: parameters of a protocol.
        data: images for the check of a model or protocol.
        device: device for the check of a model.
        skip: names of checks to leave out.

    Returns:
        The report of ``check_colorizer``, ``check_protocol`` or ``check_dataset``.

    Raises:
        UserError: for a target of no kind, or an option that its kind does not have.
    """
    kind = kind_of(target)
    given = {"parameters": parameters is not None, "data": data is not None, "device": device != "cpu"}
    takes = {"model": ("data", "device"), "protocol": ("parameters", "data"), "dataset": ()}[kind]
    if unused := [name for name, is_given in given.items() if is_given and name not in takes]:
        raise UserError(f"the check of a {kind} does not take {unused[0]}", hint="remove it")
    if kind == "model":
        from colorbench.testing.colorizer_checks import check_colorizer

        images = data.get("test") if isinstance(data, Mapping) else data
        return check_colorizer(target, device=device, data=images, skip=skip)
    if kind == "protocol":
        from colorbench.testing.protocol_checks import check_protocol

        chosen = model_factory(target) if isinstance(target, str) and ":" in target else target
        return check_protocol(chosen, parameters=parameters, data=data, skip=skip)
    from colorbench.testing.dataset_checks import check_dataset

    assert isinstance(target, str | Path | Dataset)
    return check_dataset(target, skip=skip)


def kind_of(target: object) -> Kind:
    """Return the kind of a target that is to be checked.

    Raises:
        UserError: for an unknown name, suggesting the most similar, or an object of no kind.
    """
    if isinstance(target, Dataset | Path):
        return "dataset"
    if not isinstance(target, str):
        if hasattr(target, "spec"):
            return "protocol"
        if isinstance(target, LoadedModel) or any(
            hasattr(target, name) for name in ("card", "colorize", "colorize_batch")
        ):
            return "model"
        kind = target.__name__ if isinstance(target, type) else type(target).__name__
        what = f"{kind} is not a model, protocol or dataset"
        raise UserError(what, hint="a model has a `card`, a protocol a `spec`; see docs/testing-a-plugin.md")
    name = parse_name(target).name
    models, protocols = ([plugin.name for plugin in registered(kind)] for kind in ("models", "protocols"))
    if target.partition("@")[0] in protocols:
        return "protocol"
    if split_tag(name)[0] in models or name.startswith((IMAGES, ONNX)):
        return "model"
    if ".py:" in name:
        return "protocol" if hasattr(model_factory(name), "spec") else "model"
    if target == SAMPLES or Path(target).exists():
        return "dataset"
    near = nearest(target, [*models, *protocols, SAMPLES])
    hint = f"did you mean {near}?" if near else "`colorbench list` shows all; a dataset is a folder"
    raise UnknownNameError(f"unknown name {target!r}", hint=hint)
