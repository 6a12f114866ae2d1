"""Selection of a record by path, model name, protocol and dataset; of several, the newest.

``find_results(name, results)`` finds the place of a model's records; ``choose_record(place, protocol, dataset)`` finds
one record there, and ``choose_common(places, protocol)`` one for each place, all with the same protocol, parameters and
images. The caller reports the selection.

A folder of results may hold records of several models, since ``images:DIR``, ``onnx:FILE`` and ``FILE.py:CLASS`` give
it only the last part of their paths. The model's name in the record then decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from colorbench.data import Dataset, open_dataset
from colorbench.data.sources.open_folder_or_list import dataset_name as opened_name
from colorbench.data.sources.packaged import SAMPLES
from colorbench.errors import UserError
from colorbench.evaluation.run_directory import folder_of_model
from colorbench.models.model_names import parse_name, path_of, recorded_name
from colorbench.registry import nearest, registered, split_tag
from colorbench.results import Record, read_checked_record
from colorbench.results.record_loading import find_record, record_folders

SHOWN = 4
"""Largest number of names in a message."""


class Place(NamedTuple):
    """Where records are looked for: at a path or below it, optionally only those of one model."""

    path: Path
    model: str | None = None
    """Name in the records."""


class Candidate(NamedTuple):
    """A record that could be selected."""

    folder: Path
    record: Record

    @property
    def column(self) -> tuple[str, str, str]:
        """Values that two records must share to be compared."""
        return self.record.protocol.identity_sha256, self.record.dataset.fingerprint, self.record.dataset.gray_policy


def choose_record(place: Place, protocol: str | None = None, dataset: str | None = None) -> Path:
    """Find the folder of a record at a place.

    Args:
        place: where to look.
        protocol: its name, optionally with a preset.
        dataset: restricts the selection to records on this dataset.

    Raises:
        UserError: for no record, or several of different models or protocols.
    """
    folders = _folders_of(place.path, protocol)
    if len(folders) == 1:
        return folders[0]  # not read here; the caller reports its faults
    found = _candidates(place, protocol)
    named = [one for one in found if one.record.dataset.name == dataset]
    return _newest(place.path, named or found, protocol).folder


def find_results(name: str, results: Path) -> Place:
    """Return the place for a name: an existing path, or the results of a model (``zoo/cic``, with or without tag).

    Args:
        name: a path, or the name of a model.
        results: the output folder of runs.

    Raises:
        UserError: for a model without results, or with results of several tags.
    """
    if ".py:" not in name and (name.startswith((".", "~")) or Path(name).is_absolute()):
        return Place(Path(name))
    stored = recorded_name(name)
    folder = results / folder_of_model(stored)
    tagged = sorted(folder.parent.glob(f"{folder.name}.*")) if folder.parent.is_dir() else []
    found = [folder] if folder.is_dir() else [path for path in tagged if path.is_dir()]
    if len(found) == 1:
        return Place(found[0], _model_in(found[0], name, stored))
    if found:
        names = [str(path.relative_to(results)) for path in found]
        raise UserError(f"{name} has results of several tags", where=str(results), hint=f"name {' or '.join(names)}")
    if Path(name).exists():  # checked after the results: in a checkout, zoo/cic is a folder of code
        return Place(Path(name))
    known = sorted(plugin.name for plugin in registered("models"))
    if "/" in name and ":" not in name and name.partition("/")[0] not in {one.partition("/")[0] for one in known}:
        return Place(Path(name))  # the caller reports that it is missing
    near = None if ":" in name or split_tag(name)[0] in known else nearest(name, known)
    run = f"give a folder of results, or run it first: colorbench run -m {name} -p auc -o {results}"
    hint = f"did you mean {near}?" if near else run
    raise UserError(f"no results of {name}", where=str(results), hint=hint)


def _model_in(folder: Path, name: str, stored: str) -> str | None:
    """Return the name in the records of a folder of the model with a path that is meant; None for any.

    A record has the path as it was seen from the folder of its run, so that it may end the given path.

    Args:
        folder: of the results.
        name: as given.
        stored: the name as a run from here records it.

    Raises:
        UserError: if the records are of other models, or of several that could be meant.
    """
    if (asked := path_of(parse_name(name).name)) is None:
        return None
    models = sorted({one.record.model.name for one in _readable(record_folders(folder))[0]})
    paths = {model: path_of(model) or PurePath() for model in models}
    fitting = [model for model in models if paths[model] in (path_of(stored), asked)]
    if not fitting:
        parts = Path(asked).expanduser().resolve().parts
        fitting = [model for model in models if parts[-len(paths[model].parts) :] == paths[model].parts]
    if len(fitting) == 1 or not models:
        return fitting[0] if fitting else None
    if fitting:
        raise UserError(f"{name} may be any of several models", where=str(folder), hint=f"name {' or '.join(fitting)}")
    others = ", ".join(models[:SHOWN])
    raise UserError(f"no results of {name}", where=str(folder), hint=f"the results there are of {others}")


def by_model(places: Sequence[Place], protocol: str | None = None) -> list[Place]:
    """Replace places with several models by one place for each, each once; references are left out.

    Args:
        places: where records are looked for.
        protocol: only models with records of this protocol.

    Raises:
        UserError: as ``choose_record``, and for a place with several models and protocols, if none is chosen.
    """
    found: dict[Place, None] = {}
    for place in places:
        candidates = _candidates(place, protocol)
        models = {one.record.model.name for one in candidates}
        if len(models) == 1:
            found[place._replace(model=models.pop())] = None
            continue
        candidates = [one for one in candidates if one.record.model.card.role != "reference"]
        protocols = sorted({one.record.protocol.name for one in candidates})
        if len(protocols) > 1:
            what = f"results of {len(models)} models and {len(protocols)} protocols found here"
            raise UserError(what, where=str(place.path), hint=f"choose by --protocol {' or '.join(protocols[:SHOWN])}")
        found |= dict.fromkeys(sorted({_place_of(one, place.path) for one in candidates}))
    return list(found)


def _place_of(one: Candidate, path: Path) -> Place:
    """Return the place of all records of a candidate's model at a path or below it."""
    home = one.folder.parent.parent  # <model>/<protocol>/<dataset>-<key>/record.json
    return Place(home if home.is_relative_to(path) else path, one.record.model.name)


def choose_common(places: Sequence[Place], protocol: str | None = None, dataset: str | None = None) -> list[Path]:
    """Find one record per place, with common protocol, parameters and images if possible.

    Args:
        places: where records are looked for.
        protocol: only records of this protocol.
        dataset: only records of the dataset with this name.

    Raises:
        UserError: as ``choose_record``, and where a place has no record of the dataset.
    """
    found = [_of_dataset(place.path, _candidates(place, protocol), dataset) for place in places]
    paths = [place.path for place in places]
    shared = set.intersection(*({one.column for one in each} for each in found)) if found else set()
    fitting = [[one for one in each if one.column in shared] or each for each in found]
    if len({one.record.protocol.name for each in fitting for one in each}) > 1 and protocol is None:
        # A folder with a single record determines the protocol; otherwise the newest of several protocols would be a
        # guess.
        for path, each in zip(paths, fitting, strict=True):
            _newest(path, each, protocol)
    if not shared:
        return [_newest(path, each, protocol).folder for path, each in zip(paths, fitting, strict=True)]
    # The newest common evaluation: for each column, the age of its oldest record counts.
    ages = {
        column: min(max(_age(one) for one in each if one.column == column) for each in fitting) for column in shared
    }
    column = max(ages, key=lambda one: (ages[one], one))
    return [
        _newest(path, [one for one in each if one.column == column], protocol).folder
        for path, each in zip(paths, fitting, strict=True)
    ]


def _of_dataset(path: Path, found: list[Candidate], dataset: str | None) -> list[Candidate]:
    named = [one for one in found if dataset in (None, one.record.dataset.name)]
    if not named:
        there = ", ".join(sorted({one.record.dataset.name for one in found})[:SHOWN])
        raise UserError(f"no record of the dataset {dataset} found", where=str(path), hint=f"it has records of {there}")
    return named


def _folders_of(path: Path, protocol: str | None = None) -> list[Path]:
    """List the folders of records at a path or below it, optionally of one protocol.

    Raises:
        UserError: for a path without records.
    """
    if path.is_file() or (path / "record.json").is_file() or not path.is_dir():
        return [find_record(path)]
    # Folders of protocols have their name: <model>/<protocol>/<dataset>-<key>/record.json.
    base = (protocol or "").partition("@")[0]
    folders = record_folders(path)
    return [folder for folder in folders if not base or folder.parent.name == base]


def _readable(folders: Sequence[Path]) -> tuple[list[Candidate], list[UserError]]:
    """Read the records of folders; return the readable ones, and the errors of the others."""
    found, broken = [], []
    for folder in folders:
        try:
            found.append(Candidate(folder, read_checked_record(folder)[0]))
        except UserError as error:
            broken.append(error)
    return found, broken


def _candidates(place: Place, protocol: str | None = None) -> list[Candidate]:
    """List the readable records at a place, optionally of one protocol.

    Raises:
        UserError: if there are none.
    """
    path, base, _, preset = place.path, *(protocol or "").partition("@")
    found, broken = _readable(_folders_of(path, protocol))
    if broken and not found:
        raise broken[0]
    found = [one for one in found if place.model in (None, one.record.model.name)]
    if preset:
        wanted = _preset_of(base, preset)
        found = [one for one in found if wanted.items() <= one.record.protocol.parameters.items()]
    if not found:
        of = f" of protocol {protocol}" if protocol else ""
        there = sorted({folder.parent.name for folder in _folders_of(path)} - {base})
        hint = f"it has records of {', '.join(there[:SHOWN])}" if there else "give a folder that `colorbench run` wrote"
        raise UserError(f"no record{of} found", where=str(path), hint=hint)
    return found


def _preset_of(protocol: str, preset: str) -> dict[str, str]:
    """Return the parameters of a preset as records store them.

    Raises:
        UserError: for an unknown protocol or preset.
    """
    from colorbench.evaluation import get_protocol

    spec = get_protocol(protocol).spec
    return {name: str(value) for name, value in spec.preset(preset).items()}


def _age(one: Candidate) -> tuple[str, int]:
    """Return a sort key for the age of a record: its time, and the file's time within a second."""
    return one.record.provenance.time, (one.folder / "record.json").stat().st_mtime_ns


def _newest(path: Path, found: Sequence[Candidate], protocol: str | None) -> Candidate:
    """Return the newest of several records of one model and protocol.

    Raises:
        UserError: if they belong to several.
    """
    protocols = sorted({one.record.protocol.name for one in found})
    models = sorted({one.record.model.name for one in found})
    newest = max(found, key=lambda one: _age(one))
    if len(protocols) == len(models) == 1:
        return newest
    shown = sorted(found, key=_age, reverse=True)[:SHOWN]
    hint = f"name one: {'; '.join(map(_about, shown))}"
    if len(found) > len(shown):
        hint += f"; and {len(found) - len(shown)} more"
    if len(protocols) > 1 and protocol is None:
        hint += f"; or choose by --protocol {' or '.join(protocols[:SHOWN])}"
    raise UserError(f"{len(found)} results found here", where=str(path), hint=hint)


def _about(one: Candidate) -> str:
    """Return a record's folder, with what tells it from others."""
    record = one.record
    return f"{one.folder} ({record.model.name} on {record.dataset.name}, {record.provenance.time})"


def dataset_name(data: str | Path | Dataset | None) -> str | None:
    """Return the name that records use for a given dataset, without opening it."""
    if data is None:
        return None
    if isinstance(data, Dataset):
        return data.name
    return opened_name(data)


def images_of(
    folder: Path,
    data: str | Path | Dataset | None,
    list_file: Path | None = None,
    labels: Path | None = None,
    *,
    needed: bool,
) -> Dataset | None:
    """Open the images of a record: the given ones, or the packaged ones for a record on these.

    Raises:
        UserError: if they are needed and not given.
    """
    if isinstance(data, Dataset):
        return data
    if data is not None or list_file is not None or labels is not None:
        return open_dataset(data, list_file=list_file, labels=labels)
    try:
        name = read_checked_record(folder)[0].dataset.name
    except UserError:
        return None  # a finding of its own
    if name == SAMPLES:
        return open_dataset()
    if needed:
        raise UserError("--rerun needs the images", where=name, hint="use --data DIR")
    return None
