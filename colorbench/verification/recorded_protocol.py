"""The installed protocol and scorer that a record names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from colorbench.data import Dataset, Sample, get_preprocessing
from colorbench.errors import OtherVersionError, UserError
from colorbench.evaluation import DatasetProtocol, ImageProtocol, ProtocolSpec, Scorer, get_protocol
from colorbench.results import LoadedRun, Metric, MetricSpec, Record, protocol_identity
from colorbench.storage import MEGABYTE, plain

_LARGEST_PARAMETER = 64 * MEGABYTE
"""Bytes of a file that a parameter may name."""


def protocol_of(record: Record) -> ImageProtocol | DatasetProtocol:
    """Return the installed protocol that a record names.

    Raises:
        UnknownNameError: for one that is not installed.
        PluginError: for one that cannot be used.
        OtherVersionError: for one of another version.
    """
    protocol = get_protocol(record.protocol.name)
    spec = protocol.spec
    if spec.version != record.protocol.version:
        what = f"protocol {spec.name} is installed in version {spec.version}, not {record.protocol.version}"
        raise OtherVersionError(what, hint="verify with the version of colorbench that made the record")
    return protocol


def scorer_of(
    record: Record, protocol: ImageProtocol, rows_of: Callable[[], Dataset], *, trusted: bool
) -> Scorer | None:
    """Return the protocol's scorer with the recorded parameters; None where they are not taken.

    Args:
        record: whose protocol.
        protocol: as installed.
        rows_of: gives the images as a data set.
        trusted: whether parameters may name files and models, which are then opened. Without, only defaults, listed
            choices, numbers and preprocessings are taken: an untrusted record opens nothing.

    Raises:
        UserError: where the protocol refuses the parameters, or they give another identity.
    """
    spec, parameters = protocol.spec, record.protocol.parameters
    if not all(_harmless(spec, name, value, trusted=trusted) for name, value in parameters.items()):
        return None
    scorer = protocol.resolve(parameters, rows_of())
    identity = protocol_identity(spec.name, spec.version, scorer.identity)
    if identity != record.protocol.identity_sha256:
        recomputed, claimed = plain(scorer.identity), record.protocol.identity
        differ = [name for name in {**recomputed, **claimed} if recomputed.get(name) != claimed.get(name)]
        what = f"the parameters have another identity here: {', '.join(sorted(differ)) or 'same text, other hash'}"
        raise UserError(what, hint="use the same files (the record contains the sha256 of the prior)")
    return scorer


def goes_image_by_image(protocol: str) -> bool:
    """Return whether a protocol of this name is installed and goes through the engine's pass."""
    try:
        return isinstance(get_protocol(protocol), ImageProtocol)
    except UserError:
        return False


def dataset_of(run: LoadedRun) -> Dataset:
    """Return the recorded images as a dataset without files, for a protocol."""
    labels = [None if pd.isna(label) else int(label) for label in run.rows["label"]]
    ids = run.rows["id"]
    samples = [Sample(id, Path(PurePosixPath(id).name), label) for id, label in zip(ids, labels, strict=True)]
    return Dataset(run.record.dataset.name, tuple(samples))


def _harmless(spec: ProtocolSpec, name: str, value: Any, *, trusted: bool) -> bool:
    text = str(value)
    if name not in spec.parameters or text == str(spec.parameters[name]):
        return True  # unknown names are refused by the protocol itself
    if text in spec.choices.get(name, ()) or text in spec.keywords.get(name, ()):
        return True
    if _is_number(text) and _is_number(str(spec.parameters[name])):
        return True
    if name == "preprocessing":
        try:
            get_preprocessing(text)
        except UserError:
            return False
        return True
    path = Path(text)
    try:
        plain_file = not path.exists() or (path.is_file() and path.stat().st_size <= _LARGEST_PARAMETER)
    except (OSError, ValueError):
        plain_file = False
    return trusted and plain_file


def spec_of(metric: Metric) -> MetricSpec:
    """Return a spec from what a record says of a metric whose protocol is not installed."""
    return MetricSpec(
        name=metric.name,
        title=metric.title,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        form=metric.form,
        comparable=metric.comparable,
        interval=metric.ci_method is not None,
        classifier=metric.classifier,
        share_of_gap=metric.share_of_gap,
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
