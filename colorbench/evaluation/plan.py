"""Which folder a run belongs in: the one that holds, or will hold, the same numbers.

The key of a folder follows from names and sizes of the files, so that it is the same on every machine. What a key
cannot know without reading all files, ``plan.json`` tells: whether a file was touched since. Then contents are compared
with those that were scored, and a run on other contents gets a folder of its own, the next *revision*.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

import pyarrow.parquet

from colorbench.data.dataset import Dataset
from colorbench.errors import UserError
from colorbench.evaluation.identity import files_digest, folder_of, run_key
from colorbench.evaluation.pictures import LEVELS, Save
from colorbench.evaluation.store import RunFolder


@dataclass(frozen=True)
class Plan:
    """What a folder was begun for, beside its key."""

    save: Save
    anchors: bool
    """Whether differences from gray and constant are made."""
    times: str
    """Digest of the files' names, sizes and times."""

    def serves(self, wanted: Plan) -> bool:
        """Whether all that is wanted is kept here."""
        return LEVELS.index(self.save) >= LEVELS.index(wanted.save) and self.anchors >= wanted.anchors


def locate(
    output: Path,
    *,
    decides: Mapping[str, Any],
    protocol: str,
    dataset: Dataset,
    save: Save,
    anchors: bool,
    resume: bool,
    say: Callable[[str], None],
) -> tuple[RunFolder, str]:
    """The folder of a run and its key; ``plan.json`` is written there.

    Args:
        output: root of all records.
        decides: arguments of ``run_key`` but ``samples``, ``classes`` and ``revision``.
        protocol: its name.
        dataset: after any limit.
        save: pictures to keep.
        anchors: whether differences are wanted.
        resume: False: a finished run is made again in a folder beside it, an unfinished one starts from nothing.
        say: told when contents must be compared.
    """
    wanted = Plan(save, anchors, files_digest(dataset.samples, times=True))
    for revision in itertools.count():
        classes = dataset.class_names or ()
        key = run_key(**decides, samples=dataset.samples, classes=classes, revision=revision)
        name = str(decides["model"]["name"])
        folder = RunFolder(output / folder_of(name, protocol, dataset.name, key))
        if not resume and not folder.finished():
            folder.clear_shards()
        elif not resume:
            continue
        if _takes(folder, wanted, dataset, say):
            return folder, key
    raise AssertionError  # count() has no end


def _takes(folder: RunFolder, wanted: Plan, dataset: Dataset, say: Callable[[str], None]) -> bool:
    """Whether the folder is empty or holds, wholly or in part, what is wanted."""
    plan = _read(folder.plan)
    if plan is None or not (folder.finished() or folder.done()):
        if not folder.finished():
            _write(folder, wanted)
        return True
    if not plan.serves(wanted):
        return False
    if plan.times == wanted.times:
        return True
    say(f"files were touched since they were scored: comparing the contents of {len(dataset)} ({folder.path})")
    if not _same_contents(folder, dataset):
        return False
    _write(folder, Plan(plan.save, plan.anchors, wanted.times))
    return True


def _read(path: Path) -> Plan | None:
    try:
        return Plan(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise UserError("a file stands where a folder is needed", where=str(path.parent)) from error
    except (ValueError, TypeError) as error:
        raise UserError("this plan cannot be read", where=str(path), mend="move its folder away") from error


def _write(folder: RunFolder, plan: Plan) -> None:
    folder.write(folder.plan, json.dumps(asdict(plan)).encode())


def _same_contents(folder: RunFolder, dataset: Dataset) -> bool:
    """Whether all that was scored here was scored on the contents that the files have now."""
    scored: dict[str, str] = {}
    skipped = False
    if folder.finished():
        table = pyarrow.parquet.ParquetFile(folder.rows).read(columns=["id", "sha256"])
        scored = dict(zip(table["id"].to_pylist(), table["sha256"].to_pylist(), strict=True))
        skipped = len(scored) < len(dataset)
    for index in () if folder.finished() else folder.done():
        shard = folder.read_shard(index)
        scored.update(zip(shard.ids, shard.sha256s, strict=True))
        skipped = skipped or bool(shard.skipped)
    # Of a photograph that was left out nothing is stored: it may be whole by now.
    return not skipped and all(
        _sha256(sample.path) == scored[sample.id] for sample in dataset.samples if sample.id in scored
    )


def _sha256(path: Path) -> str | None:
    try:
        with open(path, "rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
