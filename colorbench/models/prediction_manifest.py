"""Check of stored predictions against the manifest of their inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from colorbench.data import Sample
from colorbench.data.input_manifest import InputImage, Manifest
from colorbench.data.name_matching import match_names
from colorbench.errors import UserError
from colorbench.storage import file_sha256

_THREADS = 4


def check_manifest(manifest: Manifest, samples: Sequence[Sample], preprocessings: Iterable[str], where: str) -> None:
    """Raise if a manifest says that predictions were made from other images, or with another preprocessing.

    Args:
        manifest: manifest of the inputs.
        samples: the images.
        preprocessings: names for all protocols of the run.
        where: path of the manifest, for errors.

    Raises:
        UserError: with the number of images that are missing in the manifest or have other contents, and the first; or
            for inputs with another preprocessing.
    """
    made = manifest.preprocessing
    if other := [name for name in sorted(set(preprocessings)) if made not in ("native", name)]:
        what = f"the inputs were made with preprocessing {made}, and predictions are evaluated with {other[0]}"
        raise UserError(what, where=where, hint=f"evaluate with --param preprocessing={made}, or make native inputs")
    entries = _entries_of(manifest, [sample.id for sample in samples])
    if absent := [sample.id for sample in samples if sample.id not in entries]:
        what = f"{len(absent)} of {len(samples)} images are not in the manifest of the inputs, first {absent[0]}"
        raise UserError(what, where=where, hint="evaluate on the images that the inputs were made from")
    with ThreadPoolExecutor(_THREADS) as pool:
        contents = list(pool.map(_sha256, (sample.path for sample in samples)))
    changed = [
        sample.id
        for sample, sha256 in zip(samples, contents, strict=True)
        if sha256 is not None and sha256 != entries[sample.id].source_sha256
    ]
    if changed:
        what = f"{len(changed)} of {len(samples)} images are others than those that the inputs were made from"
        hint = "evaluate on those images, or make inputs and predictions again"
        raise UserError(f"{what}, first {changed[0]}", where=where, hint=hint)


def manifest_notes(manifest: Manifest, ids: Sequence[str], sha256s: Mapping[str, str]) -> Iterator[str]:
    """Yield notes for the record from the manifest of the inputs of predictions.

    Args:
        manifest: of the inputs.
        ids: of the evaluated images.
        sha256s: id -> sha256 of the file of its prediction.
    """
    made = f"gray by {manifest.gray}, preprocessing {manifest.preprocessing}"
    yield f"predictions of inputs that `colorbench inputs` wrote ({made}); their manifest agrees with the images"
    entries = _entries_of(manifest, ids)
    if same := [id for id in ids if id in entries and sha256s[id] == entries[id].sha256]:
        yield f"{len(same)} of {len(ids)} predictions are the gray inputs themselves (first {same[0]})"


def _entries_of(manifest: Manifest, ids: Sequence[str]) -> dict[str, InputImage]:
    """Return the manifest entry of each id that has one, by the rules for names of predictions."""
    by_id = {entry.id: entry for entry in manifest.images}
    return {id: by_id[name] for id, name in match_names(ids, by_id, exact_wins=True).pairs.items()}


def _sha256(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except OSError:
        return None  # skipped and reported by the pass
