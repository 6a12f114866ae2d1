"""``colorbench.run``: evaluation of models under protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

from colorbench._api.arguments import Data, Model, Protocol, as_roles, by_protocol
from colorbench._api.errors_and_logging import LogProgress, python_errors
from colorbench.data import GrayPolicy
from colorbench.errors import UserError
from colorbench.evaluation import ProgressListener, RunConfig
from colorbench.evaluation import run as run_config
from colorbench.evaluation.requested_models_and_protocols import as_protocol, asked_protocols
from colorbench.evaluation.run_config import Save
from colorbench.models import BASELINES
from colorbench.results import Record
from colorbench.results.record_list import Records


class RunOptions(TypedDict, total=False):
    """Options of ``run``, for the type annotations of its three overloads."""

    roles: Mapping[str, Data] | None
    parameters: Mapping[str, Any] | None
    decode: str | None
    temperature: float | None
    gray_policy: GrayPolicy
    limit: int | None
    seed: int
    batch_size: int | Literal["auto"]
    device: str
    dtype: str
    threads: int | None
    workers: int | None
    save: Save
    output: Path | str
    baselines: bool
    resume: bool
    listener: ProgressListener | None


@overload
def run(  # type: ignore[overload-overlap]
    models: list[Any] | tuple[Any, ...],
    protocols: Protocol | Sequence[Protocol] = "auc",
    data: Data | Mapping[str, Data] = None,
    **options: Unpack[RunOptions],
) -> Records: ...
@overload
def run(
    models: Model,
    protocols: list[Any] | tuple[Any, ...],
    data: Data | Mapping[str, Data] = None,
    **options: Unpack[RunOptions],
) -> Records: ...
@overload
def run(
    models: Model,
    protocols: Protocol = "auc",
    data: Data | Mapping[str, Data] = None,
    **options: Unpack[RunOptions],
) -> Record: ...
@python_errors()
def run(
    models: Model | Sequence[Model],
    protocols: Protocol | Sequence[Protocol] = "auc",
    data: Data | Mapping[str, Data] = None,
    *,
    roles: Mapping[str, Data] | None = None,
    parameters: Mapping[str, Any] | None = None,
    decode: str | None = None,
    temperature: float | None = None,
    gray_policy: GrayPolicy = "keep",
    limit: int | None = None,
    seed: int = 0,
    batch_size: int | Literal["auto"] = 16,
    device: str = "auto",
    dtype: str = "float32",
    threads: int | None = None,
    workers: int | None = None,
    save: Save = "gallery",
    output: Path | str = "runs",
    baselines: bool = True,
    resume: bool = True,
    listener: ProgressListener | None = None,
) -> Record | Records:
    """Evaluate models under protocols, in one pass over the images.

    Args:
        models: one model or a list. A model is a name, optionally with options (``"zoo/cic[decode=mode]"``), a result
            of ``load_model``, or an object or class with a ``card`` and ``colorize`` or ``colorize_batch`` (or an
            ``nn.Module`` with a ``card``).
        protocols: one protocol or a list. A protocol is a name, optionally with a preset (``"auc@cic2016"``), or an
            object or class with a ``spec`` and ``resolve`` or ``evaluate``.
        data: a ``Dataset``, a folder, or another source for ``open_dataset``; None for the packaged images. A mapping
            gives a dataset per role: ``{"train": "images/train", "test": "images/val"}``.
        roles: datasets of further roles, for protocols that train: ``{"train": "images/train"}``.
        parameters: parameters of a single protocol (``{"prior": "prior.npy"}``); for several protocols one mapping per
            name (``{"auc": {"prior": "prior.npy"}}``).
        decode: ``annealed-mean``, ``mean`` or ``mode``, for a single model that predicts a distribution.
        temperature: temperature of the annealed mean.
        gray_policy: ``keep`` or ``drop`` images without color.
        limit: evaluate this many images, a fixed random subset.
        seed: seed of stochastic models.
        batch_size: largest number of images in a batch; ``auto``: found before the first shard, as large as memory
            allows.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` uses a GPU if available.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        threads: CPU threads for the model; None for torch's default.
        workers: decoding threads; None for one per core, at most 8.
        save: images to save: ``none``, ``gallery`` (a few thumbnails) or ``predictions`` (all).
        output: output folder of the records.
        baselines: whether gray, constant and ground truth are evaluated in the same pass.
        resume: whether finished records are read and unfinished runs continued.
        listener: progress listener; None: messages go to the logger ``colorbench``.

    Returns:
        The record, for one model and one protocol. A list of records (``Records``, which has ``to_dataframe()``) if
        ``models`` or ``protocols`` is a list: those of the models named, one model's protocols together; baselines
        only where they are named.

    Raises:
        UserError: for errors that the caller can fix.
        RunError: if a run failed; finished shards are kept.

    Example:
        >>> import colorbench
        >>> record = colorbench.run("zoo/gray", "auc", "images/", baselines=False)
        >>> [metric.name for metric in record.metrics]
        ['auc_raw', 'auc_rebalanced', 'auc_rebalanced_stable']
    """
    sets = as_roles(data, roles or {})
    named = tuple(models) if isinstance(models, list | tuple) else (models,)
    given = tuple(protocols) if isinstance(protocols, list | tuple) else (protocols,)
    chosen = tuple(one if isinstance(one, str) else as_protocol(one) for one in given)
    config = RunConfig(
        models=named,
        protocols=chosen,
        data=sets.pop("test"),
        roles=sets,
        gray_policy=gray_policy,
        parameters=by_protocol(parameters or {}, chosen),
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
        resume=resume,
        baselines=baselines,
        limit=limit,
    )
    for protocol, _ in asked_protocols(config):
        if not getattr(protocol, "gives_record", True):
            what = f"{protocol.spec.name} asks participants, so a run makes no record"
            raise UserError(what, hint="build the study with `colorbench study build`")
    records = run_config(config, listener or LogProgress())
    wanted = {one if isinstance(one, str) else getattr(one, "full_name", None) for one in named}
    records = [one for one in records if one.model.name not in BASELINES or one.model.name in wanted]
    several = isinstance(models, list | tuple) or isinstance(protocols, list | tuple)
    return Records(records) if several else records[0]
