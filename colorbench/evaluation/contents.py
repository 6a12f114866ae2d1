"""What features are made of, by content: the weights of a model, and the files of a set."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import nn

from colorbench.data.dataset import Dataset, Sample
from colorbench.evaluation.files import write_atomic
from colorbench.evaluation.identity import files_digest
from colorbench.models.loading import LoadedModel


def modules_of(colorizer: object) -> dict[str, nn.Module]:
    """The networks of a colorizer: itself, or its attributes, by name."""
    if isinstance(colorizer, nn.Module):
        return {"": colorizer}
    inner = getattr(colorizer, "model", None)  # the short form, wrapped
    found = {name: value for name, value in vars(colorizer).items() if isinstance(value, nn.Module)}
    return found or ({} if inner is None else modules_of(inner))


def model_identity(model: LoadedModel) -> dict[str, Any]:
    """What decides a model's features: its weights by content and its code by version."""
    total = hashlib.sha256()
    for name, module in sorted(modules_of(model.colorizer).items()):
        for key, value in module.state_dict().items():
            array = value.detach().float().cpu().contiguous().numpy()
            total.update(f"{name}.{key} {array.shape}\n".encode())
            total.update(array.tobytes())
    kind = type(model.colorizer)
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "weights": total.hexdigest(),
        "file": model.weights_sha256,
        "package": model.package,
        "version": model.package_version,
    }


def contents_of(dataset: Dataset, cache: Path, workers: int = 2) -> dict[str, str | None]:
    """Id -> sha256 of the file, None for one that cannot be read; files that were not touched are not read again."""
    memo = cache / "contents" / f"{files_digest(dataset.samples, times=True)}.json"
    try:
        found: dict[str, str | None] = json.loads(memo.read_text())
        if set(found) == {sample.id for sample in dataset.samples}:
            return found
    except (OSError, ValueError):
        pass
    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = dict(zip((s.id for s in dataset.samples), pool.map(_sha256, dataset.samples), strict=True))
    write_atomic(memo, json.dumps(found).encode(), durable=False)
    return found


def contents_digest(dataset: Dataset, cache: Path, workers: int = 2) -> str:
    """sha256 over the contents of a set in any order, each with its class where it has one."""
    contents = contents_of(dataset, cache, workers)
    lines = [f"{contents[sample.id]} {_class_of(sample, dataset)}" for sample in dataset.samples]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _class_of(sample: Sample, dataset: Dataset) -> str:
    if sample.label is None:
        return ""
    return dataset.class_names[sample.label] if dataset.class_names else str(sample.label)


def _sha256(sample: Sample) -> str | None:
    try:
        with open(sample.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
