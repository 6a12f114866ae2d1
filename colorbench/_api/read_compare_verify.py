"""``compare``, ``verify`` and ``read_record``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from secrets import randbelow

from colorbench._api.arguments import Data, Model
from colorbench._api.errors_and_logging import python_errors
from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.evaluation import headline_of, record_folder
from colorbench.models import load_model
from colorbench.results import Comparison, LoadedRun, Record, load_run
from colorbench.results import read_record as read_stored
from colorbench.results.record_comparison import compare as compare_runs
from colorbench.verification import Verification
from colorbench.verification import verify as verify_folder
from colorbench.verification.record_selection import (
    Place,
    by_model,
    choose_common,
    choose_record,
    dataset_name,
    find_results,
    images_of,
)
from colorbench.verification.rerun_comparison import rerunner
from colorbench.verification.rerun_measurement import Wanted


@python_errors()
def compare(
    *records: Record | LoadedRun | Model | Path,
    protocol: str | None = None,
    data: Data = None,
    metrics: Sequence[str] = (),
    allow_unstable: bool = False,
    output: Path | str = "runs",
) -> Comparison:
    """Compare records in pairs on the same images.

    Args:
        records: two or more, one list, or a folder above them: names of models with results in ``output``
            (``"zoo/cic"``), models that were evaluated, records that ``run`` returned, folders of records, or folders
            above them. A folder above several models stands for all of them but the references. Where a model or
            folder has several records, the newest that were evaluated alike are taken.
        protocol: protocol of the records, if a folder contains several.
        data: only records of this dataset, where a folder holds several: the dataset, its folder or its name.
        metrics: names; by default all comparable metrics.
        allow_unstable: also compare by metrics that depend on very few images.
        output: folder of the records, where models or records are given and not their folders.

    Returns:
        Differences with confidence intervals, p values adjusted by Holm, and rank intervals.

    Raises:
        UserError: for fewer than two records, or records that cannot be compared.
    """
    if len(records) == 1 and isinstance(records[0], list | tuple):
        records = tuple(records[0])
    loaded: list[LoadedRun] = [one for one in records if isinstance(one, LoadedRun)]
    if len(loaded) < len(records):
        if loaded:
            raise UserError("results and folders were mixed", hint="give only folders, or only loaded results")
        places = by_model([_place(one, Path(output)) for one in records], protocol)
        source = data if data is None or isinstance(data, str | Dataset) else Path(data)
        loaded = [load_run(folder) for folder in choose_common(places, protocol, dataset_name(source))]
    headline = headline_of(loaded[0].record.protocol.name) if loaded else None
    return compare_runs(loaded, metrics=metrics, headline=headline, allow_unstable=allow_unstable)


def _place(given: object, output: Path) -> Place:
    """Return the place of what was given to ``compare`` or ``verify``."""
    if isinstance(given, Record):
        return Place(record_folder(output, given))
    if isinstance(given, Path):
        return Place(given)
    return find_results(given if isinstance(given, str) else load_model(given).full_name, output)


@python_errors()
def verify(
    record: Record | Model | Path,
    *,
    data: Data = None,
    rerun: int = 0,
    protocol: str | None = None,
    model: str | None = None,
    weights: Path | str | None = None,
    seed: int | None = None,
    device: str = "auto",
    output: Path | str = "runs",
) -> Verification:
    """Verify a record: recompute its numbers from the stored data.

    Args:
        record: its folder, a folder above it, what ``run`` returned, or a model with results in ``output`` (its name
            or object).
        data: the evaluated images, for checking the key and for ``rerun``.
        rerun: number of random images to evaluate again.
        protocol: protocol of the record, if a folder contains several.
        model: model for ``rerun``, instead of the one named in the record.
        weights: weights file of that model.
        seed: seed of the draw for ``rerun``; None: random.
        device: device for ``rerun``.
        output: folder of the records, where a model or a record is given and not its folder.

    Returns:
        All checks with their outcomes; ``holds`` is true if none failed.

    Raises:
        UserError: if there is no record. Faults of a record are failed checks.
    """
    place = _place(record, Path(output))
    source = data if data is None or isinstance(data, str | Dataset) else Path(data)
    folder = choose_record(place, protocol, dataset_name(source))
    images = images_of(folder, source, needed=rerun > 0)
    again = None
    if rerun and images is not None:
        drawn = randbelow(1 << 31) if seed is None else seed
        again = rerunner(Wanted(rerun, images, drawn, model, None if weights is None else Path(weights), device))
    return verify_folder(folder, images=images, rerun=again)


@python_errors()
def read_record(folder: Path | str) -> Record:
    """Read a stored record.

    Args:
        folder: the record's folder, or the path of its ``record.json``.

    Raises:
        UserError: for a missing or invalid record, or another schema version.
    """
    path = Path(folder)
    return read_stored(path.parent if path.name == "record.json" else path)
