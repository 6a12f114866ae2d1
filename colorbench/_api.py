"""For notebooks: ``colorbench.run`` and ``colorbench.load_model``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from colorbench.data.dataset import Dataset
from colorbench.data.loader import GrayPolicy
from colorbench.data.sources import open_dataset
from colorbench.errors import UserError
from colorbench.evaluation.config import RunConfig, Save
from colorbench.evaluation.resolve import get_protocol
from colorbench.evaluation.runner import run as run_request
from colorbench.models.loading import LoadedModel, load_model
from colorbench.models.reference_models import BASELINES
from colorbench.results.record import Record

__all__ = ["load_model", "run"]

Data = Dataset | Path | str | None


@overload
def run(  # type: ignore[overload-overlap]
    model: list[Any] | tuple[Any, ...],
    protocol: str = "auc",
    data: Data | Mapping[str, Data] = None,
    *,
    parameters: Mapping[str, Any] | None = None,
    decode: str | None = None,
    temperature: float | None = None,
    gray_policy: GrayPolicy = "keep",
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 16,
    device: str = "auto",
    dtype: str = "float32",
    threads: int | None = None,
    workers: int | None = None,
    save: Save = "gallery",
    output: Path | str = "runs",
    baselines: bool = True,
) -> list[Record]: ...
@overload
def run(
    model: str | LoadedModel | object,
    protocol: str = "auc",
    data: Data | Mapping[str, Data] = None,
    *,
    parameters: Mapping[str, Any] | None = None,
    decode: str | None = None,
    temperature: float | None = None,
    gray_policy: GrayPolicy = "keep",
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 16,
    device: str = "auto",
    dtype: str = "float32",
    threads: int | None = None,
    workers: int | None = None,
    save: Save = "gallery",
    output: Path | str = "runs",
    baselines: bool = True,
) -> Record: ...
def run(
    model: str | LoadedModel | object | Sequence[str | LoadedModel | object],
    protocol: str = "auc",
    data: Data | Mapping[str, Data] = None,
    *,
    parameters: Mapping[str, Any] | None = None,
    decode: str | None = None,
    temperature: float | None = None,
    gray_policy: GrayPolicy = "keep",
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 16,
    device: str = "auto",
    dtype: str = "float32",
    threads: int | None = None,
    workers: int | None = None,
    save: Save = "gallery",
    output: Path | str = "runs",
    baselines: bool = True,
) -> Record | list[Record]:
    """Measure one model, or several in one pass, under one protocol.

    Args:
        model: a name, with options or not (``"zoo/cic[decode=mode]"``); what ``load_model`` gave; or a model itself: an
            object or class with a ``card`` and ``colorize`` or ``colorize_batch``, or an ``nn.Module`` with a ``card``.
            A list of these gives a list of records.
        protocol: a name, with a preset or not.
        data: a folder or another source that ``--data`` takes; None: the packaged images. For a protocol that trains
            something, its sets by role: ``{"train": "photos/train", "test": "photos/test"}``.
        parameters: of the protocol.
        decode, temperature: of the one model named, where it predicts a distribution.
        gray_policy, limit, seed, batch_size, device, dtype, threads, workers, save, output, baselines: as the flags
            of ``colorbench run``.

    Raises:
        UserError: for anything that the caller can fix.

    Example:
        >>> import colorbench
        >>> record = colorbench.run("zoo/gray", "auc", "images/", baselines=False)
        >>> [metric.name for metric in record.metrics]
        ['auc_raw', 'auc_rebalanced', 'auc_rebalanced_stable']
    """
    roles = _datasets(data if isinstance(data, Mapping) else {"test": data}, protocol)
    models: tuple[Any, ...] = tuple(model) if isinstance(model, list | tuple) else (model,)
    request = RunConfig(
        models=models,
        protocols=(protocol,),
        data=roles.pop("test"),
        roles=roles,
        gray_policy=gray_policy,
        parameters={} if parameters is None else {protocol: parameters},
        decode=decode,
        temperature=temperature,
        seed=seed,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        threads=threads,
        workers=workers,
        save=save,
        output=Path(output),
        baselines=baselines,
        limit=limit,
    )
    records = run_request(request)
    if not records:
        raise UserError(f"{protocol} gives no record here: it asks people", hint="see `colorbench study build`")
    if not isinstance(model, list | tuple):
        return records[0]
    wanted = {one if isinstance(one, str) else getattr(one, "full_name", None) for one in models}
    return [one for one in records if one.model.name not in BASELINES or one.model.name in wanted]


def _datasets(sets: Mapping[str, Data], protocol: str) -> dict[str, Dataset]:
    """Return the datasets of a run by role.

    Raises:
        UserError: for a role that the protocol does not have, and for no images to test on.
    """
    roles = getattr(get_protocol(protocol.partition("@")[0]), "roles", ("test",))
    if unknown := [role for role in sets if role not in roles]:
        what = f"{protocol} takes no images in the role {unknown[0]!r}"
        raise UserError(what, hint=f"give {' and '.join(map(repr, roles))}")
    if "test" not in sets:
        raise UserError("there are no images in the role 'test'", hint='give {"test": DIR} too')
    return {
        role: data if isinstance(data, Dataset) else open_dataset(None if data is None else str(data))
        for role, data in sets.items()
    }
