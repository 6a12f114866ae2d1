"""Cache of image features on disk, by content: computed once, resumable, and read without the images.

    <cache>/contents/<names, sizes, times>.json       sha256 of every file, so that no file is read twice to know it
    <cache>/features/<model>/<key>/conv3.float32 ...  (n, dims) in the order of the samples, and ``index.json``

The key depends on the model's fingerprint, the preprocessing, the pooling, and the contents of the files: moved or
touched images have the same features. ``done/`` lists the finished shards; an interrupted run resumes after the last of
them. Several sources (such as five draws of an untrained network) share one decoding. The index has a checksum of each
shard's rows in each layer: whenever features are read, shards with other rows are named and computed again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from colorbench.color import rgb_to_lab
from colorbench.data import Dataset, LoadedBatch, check_contents, contents_of, get_preprocessing, load_batches
from colorbench.errors import RunError, UserError
from colorbench.evaluation.devices_and_memory import smaller_batch
from colorbench.evaluation.protocol_interfaces import ThroughputMeter
from colorbench.evaluation.run_config import ExecutionConfig
from colorbench.evaluation.run_directory import folder_of_model
from colorbench.models import FeatureExtractor, FeatureSpec
from colorbench.results.feature_matrices import FeatureStore
from colorbench.results.feature_writer import FeatureWriter
from colorbench.results.shard import shard_samples, shard_start

MOST_DAMAGED = 3
"""Times that features may be damaged in one command, before a disk is taken to be broken."""


def read_features(
    sources: Sequence[FeatureExtractor],
    dataset: Dataset,
    cut: FeatureSpec,
    settings: ExecutionConfig,
    cache: Path,
    progress: ThroughputMeter,
) -> list[FeatureStore]:
    """Return the feature stores of all sources on a dataset.

    Stored features are read; missing and damaged features of all sources are computed with one decoding.

    Several processes share the shards.

    Raises:
        UserError: for a preprocessing with mixed sizes, or an unknown layer.
        RunError: for features that are not finite or that cannot be stored.
    """
    say = progress.listener.message
    if get_preprocessing(cut.preprocessing).mixed_sizes:
        raise UserError(
            "features need images of one size", hint="choose a preprocessing such as squash128 or center224"
        )
    contents = contents_of(dataset, cache, settings.workers)
    order = [contents[sample.id] for sample in dataset.samples]
    decides = {"dtype": str(settings.dtype), "gray_policy": settings.gray_policy}
    folder = cache / "features"
    makers = [FeatureWriter(one, cut, order, decides, folder / folder_of_model(one.name)) for one in sources]
    distinct = {maker.key: maker for maker in makers}.values()  # equal sources are computed once
    new: dict[str, FeatureWriter] = {}
    for maker in distinct:
        maker.tell_damaged_index(say)
    for _ in range(MOST_DAMAGED + 1):
        if lacking := [maker for maker in distinct if not maker.finished()]:
            _make(lacking, _FeaturePass(dataset, contents, cut, settings, progress))
            new.update((maker.key, maker) for maker in lacking)
        if not [maker for maker in distinct if maker.reopen_damaged(settings.claims, say)]:
            if new:
                say(f"features: {sum(map(_size, new.values())) / 1e6:,.1f} MB in {folder}, for later runs")
            return [maker.read(dataset) for maker in makers]
    what = f"stored features were damaged {MOST_DAMAGED} times after they were written"
    raise RunError(what, where=str(makers[0].folder), hint="check the disk")


def _size(maker: FeatureWriter) -> int:
    """Return the bytes of the stored features of a source."""
    size = 0
    for file in maker.folder.iterdir():
        with contextlib.suppress(OSError):  # a claim that another process has released
            size += file.stat().st_size
    return size


@dataclass(frozen=True)
class _FeaturePass:
    """What the shards of one pass over a dataset share."""

    dataset: Dataset
    contents: Mapping[str, str | None]
    """Id -> sha256 of the file; None for files that cannot be read."""
    cut: FeatureSpec
    settings: ExecutionConfig
    progress: ThroughputMeter


def _make(makers: Sequence[FeatureWriter], run: _FeaturePass) -> None:
    """Compute the missing shards of all makers, each by one of the processes that share the work."""
    samples, settings, claims, progress = run.dataset.samples, run.settings, run.settings.claims, run.progress
    todo = {index for maker in makers for index in maker.missing(len(samples))}
    progress.listener.started(sum(len(shard_samples(samples, index)) for index in todo))
    while makers := [maker for maker in makers if not maker.finished()]:
        missing = sorted({index for maker in makers for index in maker.missing(len(samples))})
        own = missing[settings.rank :: settings.processes]
        made = 0
        for index in own + [index for index in reversed(missing) if index not in set(own)]:
            held = {id(maker): claims.take(maker.ledger, f"{index:05d}") for maker in makers}
            claimed = [maker for maker in makers if held[id(maker)] is not None and maker.lacks(index)]
            try:
                if claimed:
                    run = _make_in_memory(claimed, index, run)
                    made += 1
            finally:
                for claim in held.values():
                    if claim is not None:
                        claim.release()
        for maker in makers:
            if maker.missing(len(samples)) or (claim := claims.take(maker.folder, "index")) is None:
                continue
            try:
                if not maker.finished():
                    maker.close()
                    made += 1
            finally:
                claim.release()
        if not made:  # other processes compute the rest
            progress.advance(0)
            claims.wait()


def _make_in_memory(makers: Sequence[FeatureWriter], index: int, run: _FeaturePass) -> _FeaturePass:
    """Write the features of one shard, in smaller batches where memory runs out; return the pass for the next."""
    while True:
        try:
            _make_shard(makers, index, run)
            return run
        except Exception as error:
            size = smaller_batch(error, run.settings.batch_size, run.progress.listener.message)
            if size is None:
                raise
        run = replace(run, settings=replace(run.settings, batch_size=size))


def _make_shard(makers: Sequence[FeatureWriter], index: int, run: _FeaturePass) -> None:
    """Write the features of one shard, with one decoding."""
    settings, part = run.settings, shard_samples(run.dataset.samples, index)
    position = {sample.id: shard_start(index) + i for i, sample in enumerate(part)}
    heads: list[dict[str, Any]] = []
    for maker in makers:
        maker.begin_shard()
    for batch in load_batches(
        part,
        get_preprocessing(run.cut.preprocessing),
        batch_size=settings.batch_size,
        workers=settings.workers,
        gray_policy=settings.gray_policy,
    ):
        check_contents(batch.ids, batch.sha256s, run.contents)
        heads.append(_head(batch, position))
        if batch.ids:
            lightness = rgb_to_lab(batch.rgb8.to(settings.device))[:, :1]
            for maker in makers:
                maker.add(lightness, [position[id] for id in batch.ids], batch.ids, len(run.dataset))
        run.progress.advance(len(batch.ids) + len(batch.skipped))
    for maker in makers:
        maker.close_shard(index, heads)


def _head(batch: LoadedBatch, position: Mapping[str, int]) -> dict[str, Any]:
    return {
        "positions": [position[id] for id in batch.ids],
        "sha256s": batch.sha256s,
        "gray": batch.gray,
        "sizes": batch.sizes,
        "skipped": [(position[id], reason) for id, reason in batch.skipped],
    }
